/* gateway/conn.h -- one device socket from accept to close: its memory, its phase, its one timer,
 * its place among the worker's sessions. What is said on it is decided by guest.c (HTTP) and
 * session_io.c (WebSocket); how bytes get out, by output.c.
 *
 *   accept ─► HEAD ─► SESSION ───────────┐
 *              │ ▲                       ▼
 *              │ └── REPLYING      FINISHING ─► LINGERING ─► DEAD
 *              ├──► LOADING ─┘           ▲
 *              └─────────────────────────┘
 *
 * Nothing is freed while the loop's turn lasts: conn_close() unlinks and marks DEAD, conn_reap() at
 * the turn's end frees. So an event of the same batch that still names a closed connection finds it
 * DEAD. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "gateway/admission.h"
#include "gateway/pool.h"
#include "gateway/session.h"
#include "proto/close.h"

struct worker;
struct pending;

enum conn_phase {
        CONN_HEAD,      /* reads a request head; timer: handshake or keep-alive deadline */
        CONN_LOADING,   /* a bundle is being loaded; its head waits in `block` */
        CONN_REPLYING,  /* a reply did not fit into the socket; timer: no progress */
        CONN_SESSION,   /* let in; timer: session.due_ms */
        CONN_FINISHING, /* the last bytes are on their way; timer: short */
        CONN_LINGERING, /* our side is shut, the peer's bytes are thrown away until it closes */
        CONN_DEAD,
        CONN_PHASES
};

struct conn_name {         /* who it is, from the moment it is let in */
        uint64_t session;  /* random, in hello and in logs */
        uint32_t since_ms; /* the sessions' clock: when it came */
        uint32_t hash;     /* of `device`, in the worker's roster */
        char device[];
};

/* 120 bytes. What a broadcast touches comes first. */
struct conn {
        union {
                struct session session; /* SESSION, and after it */
                /* HEAD: in line, except while its input is being read. In the memory of the session
                 * that it is not yet. */
                struct admission_guest place;
        };
        struct pending
            *pending; /* bytes that did not fit into the socket; NULL = none (output.c) */
        int fd;
        uint32_t slot;    /* SESSION: index in the worker's conns[] */
        uint8_t phase;    /* enum conn_phase; written by conn.c alone */
        bool wants_write; /* EPOLLOUT is on: blocked, or to be continued next turn */
        bool keep_alive;  /* HTTP: another request may follow the reply under way */
        bool has_begun;   /* HEAD: the deadline is that of a head, not of keep-alive */
        bool wants_proxy; /* HEAD: a PROXY header comes first */
        uint16_t watched; /* EPOLL bits; 0 = not in the poller yet */
        struct wheel_timer timer;
        struct block *block; /* input in the making; NULL = none */
        struct conn_name *name;
        union {
                uint64_t address; /* SESSION: the key it is counted under */
                struct conn *next_dead;
        };
};

#define CONN_LINGER_MS     2000  /* for the peer's close after ours */
#define CONN_STALL_MS      15000 /* a reply that makes no progress for so long is given up */
#define CONN_KEEP_ALIVE_MS 15000

/* Takes `fd` over, in phase HEAD, without a timer. NULL = no memory; `fd` is then still the
 * caller's. */
struct conn *conn_create(struct worker *worker, int fd);
/* Watch for reading (or not, where input must wait) and, while wants_write, for room. False: the
 * kernel had no room, and the connection is closed. */
bool conn_watch(struct worker *worker, struct conn *conn, bool reads);
void conn_want_write(struct worker *worker, struct conn *conn, bool wants); /* in the poller only */
void conn_set_timer(struct worker *worker, struct conn *conn, uint64_t in_ms);
void conn_set_phase(struct worker *worker, struct conn *conn, enum conn_phase phase);

/* HEAD -> SESSION: into conns[] and the roster. `name`, whose session and device are filled, is
 * taken. False = no memory: nothing changed, `name` is the caller's. */
bool conn_enter(struct worker *worker, struct conn *conn, struct conn_name *name);

/* SESSION -> FINISHING: out of conns[], and the reason counted. What else must be said can still be
 * sent. */
void conn_leave(struct worker *worker, struct conn *conn, enum close_reason reason);
/* No more will be said: send what is pending, shut our side, wait shortly for the peer's close. */
void conn_finish(struct worker *worker, struct conn *conn);
void conn_drained(struct worker *worker, struct conn *conn); /* FINISHING: all is out */
void conn_discard(struct worker *worker, struct conn *conn); /* LINGERING: readable */
/* At once; harmless when DEAD. A session that nobody left before has GONE. */
void conn_close(struct worker *worker, struct conn *conn);
/* The same, for the socket failed with this errno. A session that took nothing for as long as
 * TCP_USER_TIMEOUT, while bytes waited for it, was too slow. */
void conn_lost(struct worker *worker, struct conn *conn, int error);
void conn_reap(struct worker *worker); /* at the end of the loop's turn */
