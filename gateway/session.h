/* gateway/session.h -- one connected device, as a cursor over the shared log: decides what it is
 * sent next and when it must go. Pure: no I/O, no clock, no allocation; conn.c acts on what is
 * decided here, and the simulation drives it without sockets.
 *
 *            ring_judge(since)
 *   JOINING ──── kept / reset ───────────► LIVE ── goaway said ──► LEAVING ──► CLOSED
 *      └── ahead of this node ─► WAITING ───┘
 *
 * In LIVE the same question is asked for broadcast, replay, a slow reader and a reset: "the socket
 * takes more: what is next?" Nothing is queued per device. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fanout/ring.h"
#include "gateway/audience.h"
#include "gateway/lifetime.h"
#include "proto/close.h"
#include "proto/message.h"

enum session_state {
        SESSION_JOINING,
        SESSION_WAITING,
        SESSION_LIVE,
        SESSION_LEAVING,
        SESSION_CLOSED
};

#define SESSION_AHEAD_WAIT_MS  3000  /* WAITING: no confirmed head within this: goaway overload */
#define SESSION_PONG_WAIT_MS   20000 /* a ping unanswered for so long ends the session */
#define SESSION_LEAVE_WAIT_MS  10000 /* after goaway: beyond max_ms, the node closes by itself */
#define SESSION_MESSAGES_PER_S 20    /* token bucket: more is CLOSE_POLICY */
#define SESSION_BURST          40

#define SESSION_RECYCLE_MS  10000 /* end of lifetime: the device comes back within this */
#define SESSION_END_SPREAD  10    /* the end comes within the last tenth of the lifetime */
#define SESSION_OVERLOAD_MS 10000 /* the same for goaway overload */

/* 48 bytes, and millions of them. All times are ms after the node's start in 32 bits: they wrap
 * after 49 days, so they are compared by their signed difference. */
struct session {
        union {
                struct {              /* has_place */
                        seqno cursor; /* has been sent (or has begun to be sent) all up to here */
                        seqno acked;  /* device said so, or it had them when it came; never beyond
                                         cursor */
                };
                struct token waiting; /* WAITING: the token that is ahead of us */
        };
        uint32_t due_ms;       /* next thing the timer is for */
        uint32_t ends_ms;      /* end of lifetime, perhaps moved behind a planned start */
        uint32_t next_ping_ms; /* when the next ping is due */
        uint32_t bucket_ms;    /* token bucket: when it was last filled */
        uint8_t state, encoding, bucket;
        uint8_t
            held; /* by how much the end was moved: in 255ths of the lifetime, at most all of it */
        uint16_t audience; /* its number in the worker's audience.h; set by whoever lets it in */
        uint8_t overflows : 2;
        uint8_t pending_reset : 3; /* 0, or 1 + enum reset_reason: the cursor is void, reset comes
                                      first */
        uint8_t leaving : 3;       /* LEAVING: enum goaway_reason */
        bool wants_ack : 1, pinged : 1;
        bool is_stream : 1;  /* Server-Sent Events: no input, no acks, no pongs (session_io.c) */
        bool owes_place : 1; /* resumed, and has acked nothing yet: see session_message */
        bool
            owes_skip : 1; /* the entry at the cursor was not for it, and it has not been told so */
        bool is_replaying : 1; /* resumed, and has not had all that was there since */
        bool has_place : 1;    /* of the log, or will by a reset: its token has been judged */
};

struct session_config {                  /* one per worker, shared by its sessions */
        uint32_t ping_ms, lifetime_ms;   /* 0 = never; at most SESSION_SPAN_MAX_MS */
        const struct lifetime *lifetime; /* when none ends by itself; NULL = it may at any time */
};
#define SESSION_SPAN_MAX_MS                                                   \
        (UINT32_C(1) << 30) /* 12 days: well within half of the clock's range \
                             */

enum session_do {
        DO_NOTHING,
        DO_HELLO, /* recovered, reason: send hello, then ask session_next */
        DO_ENTRY, /* send the frame of entry `seq` */
        DO_SKIP,  /* send the `skip` up to `seq`: what it was not sent until there was not for it */
        DO_AGAIN, /* much was passed over: let others have their turn, then ask again */
        DO_RESET, /* send the snapshot's reset frame with `reason` */
        DO_PING,
        DO_TIME,   /* answer with t0 and t1 */
        DO_ACKED,  /* the device has all of (acked_from, seq], which it had not said in this session
                    */
        DO_GOAWAY, /* goaway */
        DO_CLOSE   /* close */
};

struct session_action {
        enum session_do what;
        seqno seq, acked_from;
        enum reset_reason reason;
        bool recovered;
        struct goaway goaway;
        enum close_reason close;
        int64_t t0;
};

/* The device is let in. `session` is zero-filled but for encoding and wants_ack. `since` is NULL
 * without a token; `malformed` when it had one that does not parse. The ring has been installed.
 * Returns DO_HELLO, or DO_NOTHING (WAITING). `jitter` is a random number that spreads pings and
 * lifetime. */
struct session_action session_join(struct session *session, const struct session_config *config,
                                   const struct ring *ring, const struct token *since,
                                   bool malformed, uint32_t now_ms, uint64_t jitter);
/* WAITING only: the ring has grown, or (`confirmed`) its head is known to be the log's.
 * DO_HELLO/NOTHING. */
struct session_action session_retry(struct session *session, const struct ring *ring,
                                    bool confirmed);

/* The socket takes more: DO_ENTRY (the cursor moves: the frame will be finished whatever comes),
 * DO_SKIP, DO_RESET (the cursor moves to the head), DO_CLOSE (second overflow), DO_AGAIN,
 * DO_NOTHING (has all). Entries that are not for it are passed over without a word. It is told of
 * them by one DO_SKIP right before the next DO_ENTRY, and at the end of a replay: so nobody is
 * woken for what is not for him. `audiences` NULL: all entries are for everyone. */
struct session_action session_next(struct session *session, const struct ring *ring,
                                   struct audiences *audiences);

/* Goodbye is about to be said: true if `skip` up to *ret_seq belongs before it, which then is as
 * good as sent. Not if that place has left the ring: nobody can name it any more, and the token
 * the device has is as good. */
bool session_take_skip(struct session *session, const struct ring *ring, seqno *ret_seq);

struct session_place { /* how far what it was sent reaches */
        seqno cursor;
        bool owes_skip, is_replaying;
};
static inline struct session_place session_place(const struct session *session)
{
        return (struct session_place){ session->cursor, session->owes_skip, session->is_replaying };
}
/* Of what session_next gave out since, nothing after this place has begun to be sent: it is still
 * to come. The place is that of before, or that right after one of the answers. */
void session_rewind(struct session *session, struct session_place place);
/* The newest entry up to `from`, and above `floor`, that is for it or left the ring; `floor` =
 * none. */
seqno session_newest(const struct session *session, const struct ring *ring,
                     struct audiences *audiences, seqno from, seqno floor);

/* The ring was re-installed. `before` is the ring as it was: the session's place is judged by tag.
 */
void session_rejudge(struct session *session, const struct ring *before, const struct ring *after);

/* A message came. DO_NOTHING, DO_TIME, DO_ACKED, DO_CLOSE. Each signal is in one DO_ACKED of a
 * session at most, and none is that the device had before it came: with the one exception of the
 * newest one for it up to its own place, if the first thing it acks is that. A device whose
 * connection broke before it could ack does so. Between acked_from and seq may be signals that were
 * not for it. */
struct session_action session_message(struct session *session, const struct message *message,
                                      const struct ring *ring, struct audiences *audiences,
                                      uint32_t now_ms);
/* A ping, or a message whose type this version does not know: nothing but its share of the token
 * bucket. DO_NOTHING, DO_CLOSE. */
struct session_action session_noise(struct session *session, uint32_t now_ms);
void session_pong(struct session *session);
/* The timer fired (due_ms has come). DO_PING, DO_GOAWAY, DO_CLOSE, DO_NOTHING; due_ms is set anew.
 * An end that falls into a window of config->lifetime is moved behind it (`held` grows), by one
 * lifetime in all at most: a chain of events holds no session for longer than twice its lifetime.
 */
struct session_action session_timer(struct session *session, const struct session_config *config,
                                    uint32_t now_ms);
/* Say goodbye: DO_GOAWAY; due_ms is when the node closes by itself (the caller may bring it
 * forward). DO_NOTHING when it has been said already or the session is closed. */
struct session_action session_leave(struct session *session, const struct goaway *goaway,
                                    uint32_t now_ms);
