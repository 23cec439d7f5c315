/* gateway/session_io.h -- does on the socket what session.c decides: the upgrade and its first
 * frames in one send, the frames that are next (one by one, or a broadcast's put by and sent
 * together), pings and goodbyes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/conn.h"
#include "gateway/door.h"
#include "gateway/output.h"
#include "proto/ws.h"

struct worker;

/* HEAD -> SESSION, by the upgrade or as an event stream. False = no memory: nothing was sent, still
 * HEAD. After true the connection may be DEAD. */
must_check bool session_io_upgrade(struct worker *worker, struct conn *conn,
                                   const struct door_verdict *verdict);
void session_io_writable(struct worker *worker, struct conn *conn);
void session_io_timer(struct worker *worker, struct conn *conn);
/* The windows in which no session ends by itself: anew, since the state has changed. */
void session_io_plan(struct worker *worker);
enum visit {
        VISIT_IDLE,  /* it has all, or goes on by itself when there is room */
        VISIT_TRIED, /* what is next was offered to its socket */
        VISIT_PUT_BY /* the worker's sender has it: session_io_send_put_by() must follow in this
                        slice */
};

/* Broadcast asks: send what is next, if the socket takes it. */
enum visit session_io_visit(struct worker *worker, struct conn *conn);
/* Sends what visits have put by since the last time, at most SENDER_BATCH frames, in one system
 * call. Nothing may happen in between but visits to other sessions. */
void session_io_send_put_by(struct worker *worker);
/* Says goodbye, and closes by itself in `close_in_ms` at the latest. One that leaves already is
 * left alone. */
void session_io_leave(struct worker *worker, struct conn *conn, const struct goaway *goaway,
                      uint32_t close_in_ms);
/* Of the session's data frames. */
enum ws_opcode session_io_opcode(const struct conn *conn);
/* Bytes, or one message, that concern this device alone. OUTPUT_FULL: it has not read for long;
 * nothing was taken. */
enum output session_io_send(struct worker *worker, struct conn *conn, const void *bytes,
                            size_t len);
enum output session_io_say(struct worker *worker, struct conn *conn, const struct message *message);
/* Says why, and ends. */
void session_io_close(struct worker *worker, struct conn *conn, enum close_reason reason);
