/* tests/sim/sim_conn.h -- one connection: at the node's end a real session, with a copy of what
 * session_io.c and output.c do for it; in the middle a socket, which is a queue of frames of
 * limited length; at the other end a device, which takes them out one by one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/output.h"
#include "gateway/session.h"
#include "tests/sim/sim_worker.h"

enum frame_kind {
        FRAME_UPGRADE,
        FRAME_HELLO,
        FRAME_ENTRY,
        FRAME_SKIP,
        FRAME_RESET,
        FRAME_PING,
        FRAME_TIME,
        FRAME_GOAWAY,
        FRAME_CLOSE
};

struct frame {
        enum frame_kind kind;
        struct entry *entry;       /* a reference; SKIP: NULL if it has left the ring */
        struct snapshot *snapshot; /* a reference */
        enum reset_reason reason;  /* HELLO, RESET */
        struct token token;        /* HELLO, SKIP */
        bool recovered;            /* HELLO */
        struct goaway goaway;
        enum close_reason close;
        int64_t t0, t1; /* TIME; HELLO: t1 is now */
};

#define SOCKET_MAX 24 /* frames */

struct sim_conn {
        struct sim_conn *next;
        struct worker *worker;
        struct device *device;
        unsigned link;     /* the device's number of it */
        bool at_node;      /* the node holds its end; it is a session until closing */
        bool at_device;    /* the device holds its end */
        bool is_cut;       /* nothing passes any more, and nobody is told */
        bool is_closing;   /* the last frame is on its way */
        bool was_passed;   /* by a drain: it was told, if it was not leaving already */
        bool heard_goaway; /* it was said to it, at least */
        struct session session;
        uint64_t timer_ms;
        bool wants_write;
        struct frame pending[PENDING_MAX];
        unsigned n_pending;
        struct frame queue[SOCKET_MAX]; /* sent, not read */
        unsigned first, n_queue, size;
        bool is_reading;             /* the read of queue[first] is on its way */
        uint64_t opened_ms, pong_ms; /* pong_ms: the last one, or opened_ms */
        uint64_t left_ms;            /* the device did */
};

/* 503 or not was decided before. `since` may be NULL. */
struct sim_conn *sim_conn_open(struct world *world, struct worker *worker, struct device *device,
                               const struct token *since, bool malformed);
void sim_conn_free_all(struct world *world); /* at the end */

/* Broadcast asks: what is next for you? */
void sim_conn_visit(struct world *world, struct sim_conn *conn);
void sim_conn_leave(struct world *world, struct sim_conn *conn, const struct goaway *goaway,
                    uint32_t close_in_ms);
void sim_conn_close(struct world *world, struct sim_conn *conn, enum close_reason reason);

/* From the device's end; nothing happens if the node's is gone. */
void sim_conn_hear(struct world *world, struct sim_conn *conn, const struct message *message);
void sim_conn_pong(struct world *world, struct sim_conn *conn);
/* The node's end is no more. */
void sim_conn_gone(struct world *world, struct sim_conn *conn);
/* The device takes the next frame out of the socket; it is dropped with sim_conn_drop(). False:
 * none. */
bool sim_conn_take(struct world *world, struct sim_conn *conn, struct frame *ret_frame);
void sim_conn_drop(struct frame *frame);

/* Between sim_conn.c and sim_socket.c: as in output.h, in frames. */
enum output sim_socket_send(struct world *world, struct sim_conn *conn, struct frame *frames,
                            unsigned n, enum output_keep how, unsigned *ret_begun);
enum output sim_socket_say(struct world *world, struct sim_conn *conn, struct frame frame);
enum output sim_socket_flush(struct world *world, struct sim_conn *conn);
void sim_socket_want_write(struct world *world, struct sim_conn *conn, bool wants);
void sim_socket_lose(struct world *world, struct sim_conn *conn);
world_fn sim_conn_on_writable; /* the owner is the connection */
