/* gateway/pump.h -- what is next for a session, onto its socket: asks session_next, gathers the
 * shared frames that it names, sends as many as one system call takes, and settles with the session
 * and the tally what has begun and what is out. Private to the files that act for sessions. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "fanout/frame.h"
#include "gateway/conn.h"
#include "gateway/output.h"

/* A signal's frame with the `skip` right before it in one piece: for a broadcast that follows
 * signals which were for others, made once per worker and form. */
struct pump_joined {
        struct token token; /* the signal's */
        struct blob *frames[WIRES];
};
void pump_joined_drop(struct pump_joined *joined);

static inline enum wire pump_wire(const struct conn *conn)
{
        return conn->session.is_stream ? WIRE_STREAM : (enum wire)conn->session.encoding;
}

/* Sends what is next until there is nothing, or no room, or others must have their turn. Nothing is
 * pending. False: nothing was sent, for what there was is for others, and passing over it cost next
 * to nothing. */
bool pump_run(struct worker *worker, struct conn *conn);
/* Appends what is next to the bytes of a greeting, while it fits; what does not is still to come,
 * but for a reset: *ret_reset is its frame then, else NULL. Returns how many signals; -1 = no
 * memory. */
int pump_greet(struct worker *worker, struct conn *conn, struct buf *out, struct blob **ret_reset);
/* A skip that the device must hear before goodbye, if there is one. If it is not sent after all,
 * the session must be put back to the place that it had (session_rewind). */
void pump_add_skip(struct worker *worker, struct conn *conn, struct buf *out);
/* The newest `signals` that were for it are out, whole. */
void pump_count(struct worker *worker, const struct conn *conn, unsigned signals);

/* Broadcast, where exactly the newest entry is owed: its frame, borrowed until the log changes.
 * NULL: it is not for this session, which has all now. ERR_NOMEM: ask pump_run. */
must_check enum err pump_take_newest(struct worker *worker, struct conn *conn,
                                     struct blob **ret_frame);
/* The kernel was asked to send that frame, of `len` bytes. */
void pump_settle_newest(struct worker *worker, struct conn *conn, uint32_t len, ssize_t result);
