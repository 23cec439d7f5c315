/* gateway/session_io.h -- does on the socket what session.c decides: the upgrade and its first
 * frames in one send, the frames that are next, pings and goodbyes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/conn.h"
#include "gateway/door.h"
#include "gateway/output.h"
#include "proto/ws.h"

struct worker;

/* HEAD -> SESSION. False = no memory: nothing was sent, still HEAD. After true the connection may
 * be DEAD. */
must_check bool session_io_upgrade(struct worker *worker, struct conn *conn,
                                   const struct door_verdict *verdict);
void session_io_writable(struct worker *worker, struct conn *conn);
void session_io_timer(struct worker *worker, struct conn *conn);
/* Broadcast asks: send what is next, if the socket takes it. True if anything was tried. */
bool session_io_visit(struct worker *worker, struct conn *conn);
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
