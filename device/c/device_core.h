/* device/c/device_core.h -- everything a device decides, and nothing that touches a socket: when to
 * connect, what to believe of the node, what to hand to the app, when to give up. One function
 * takes an input and the time and fills a list of actions; kickoff_device.c carries them out on
 * libwebsockets, and a simulation can carry them out on nothing at all. Pure: no I/O, no clock, no
 * allocation.
 *
 *            due            OPENED             hello
 *   WAITING ─────► CONNECTING ─────► GREETING ───────► LIVE
 *      ▲                │                │               │      refused for good, 4001, 4009, LEAVE
 *      └─── backoff ────┴────────────────┴───────────────┘ ───────────────────────────► STOPPED
 *
 * These are the states of the main connection. After a goaway a second one, the successor, is
 * opened beside it and takes its place (device_next.h). Connections are told apart by their link, 0
 * or 1: CONNECT names it, and every input about a connection and every action on one does.
 *
 * The moment the core says CLOSE or CUT it has forgotten that connection: nothing more of it may be
 * fed in.
 *
 * Its parts: device_attempt (how connections end, and when and by which way the next is made),
 * device_live (what a greeted one does), device_next (hand-over), device_place (order and repeats),
 * device_time (the clock). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "device/c/kickoff_device.h"
#include "proto/close.h"
#include "proto/message.h"
#include "proto/offset.h"

#define DEVICE_CORE_BACKOFF_MIN_MS  500u
#define DEVICE_CORE_BACKOFF_MAX_MS  30000u
#define DEVICE_CORE_CONNECT_WAIT_MS 15000u /* until the upgrade is answered */
#define DEVICE_CORE_HELLO_WAIT_MS                                       \
        15000u /* then until hello: a node may hold it back for a while \
                */
#define DEVICE_CORE_STABLE_MS          10000u /* connected for so long after hello: backoff begins anew */
#define DEVICE_CORE_RETRY_AFTER_MAX_MS 3600000u
#define DEVICE_CORE_SILENCE_EXTRA_MS   5000u   /* dead after 2 x ping_s + this without a byte */
#define DEVICE_CORE_TIME_BURST         3u      /* time requests soon after each hello ... */
#define DEVICE_CORE_TIME_EVERY_MS      600000u /* ... and then one in this time, +-10 % */
#define DEVICE_CORE_TIME_GAP_MS        1000u   /* between the first ones */
#define DEVICE_CORE_TAGS               8u /* of the newest signals, to tell a repeat from a fork */
#define DEVICE_CORE_MISSES             3u /* WebSockets that reached somebody but no hello: then the stream */
#define DEVICE_CORE_LINKS              2u
#define DEVICE_CORE_NEVER              UINT64_MAX

struct device_now {
        uint64_t mono_ms; /* for every interval */
        int64_t wall_ms;  /* for `time` requests and the offset, which are about wall clocks */
};

enum device_phase {
        DEVICE_WAITING,
        DEVICE_CONNECTING,
        DEVICE_GREETING,
        DEVICE_LIVE,
        DEVICE_STOPPED
};

enum device_way {
        DEVICE_WEBSOCKET, /* GET /v1/connect */
        DEVICE_STREAM     /* GET /v1/stream: Server-Sent Events, from the node to us alone */
};

struct device_next {             /* the successor, while has_next */
        enum device_phase phase; /* CONNECTING or GREETING */
        uint64_t due_ms;         /* when it is given up */
        struct token since;      /* what it was asked for with */
        enum device_way way;
        bool reached;
};

struct device_core { /* read it freely; only device_core.c writes it */
        struct rng rng;
        uint32_t backoff_min_ms, backoff_max_ms;
        bool no_ack;

        unsigned main; /* its link */
        enum device_phase phase;
        enum device_way way;
        bool reached; /* not LIVE yet: somebody has taken our bytes */
        bool has_next;
        struct device_next next;
        bool next_by_stream; /* the hand-over's try by WebSocket has failed */
        unsigned misses;     /* up to DEVICE_CORE_MISSES: the stream's turn */
        bool no_stream;      /* the app does not want it, or the node has none */
        unsigned attempts;   /* since the last stable connection: the step of the backoff */
        uint64_t due_ms;     /* WAITING: attempt; CONNECTING, GREETING: give up; else never */

        struct token token;  /* the cursor. Epoch, seq and tag change together or not at all */
        struct token stream; /* how far the main connection is: device_place.h */
        seqno signal_seq;    /* the newest signal the app was given; 0 = none of this history */
        uint64_t tags[DEVICE_CORE_TAGS]; /* of seq s at s % TAGS, for s in (token.seq - n_tags,
                                            token.seq] */
        unsigned n_tags;
        bool reset_due; /* hello said "not recovered": no signal counts before the reset */

        uint32_t ping_ms, ack_spread_ms; /* from hello */
        uint64_t heard_ms;               /* last byte of this connection */
        bool probed;                     /* asked for a sign of life since then */
        uint64_t stable_ms;              /* LIVE: when the backoff begins anew; never = it has */
        uint64_t leave_ms; /* LIVE: when to hand over, or close and come back, after a goaway */
        bool hands_over;   /* which of the two */

        uint64_t ack_ms; /* when the newest seq is acknowledged; never = nothing to acknowledge */
        bool ack_owed;   /* survives a lost connection */
        seqno activated_seq; /* the signal the app acted on last, and when, in the node's time */
        int64_t activated_at;

        uint64_t time_ms; /* when the next `time` request goes out */
        unsigned time_sent;
        struct offset offset;
};

enum device_input_kind {
        DEVICE_IN_TICK,    /* device_core_due() has come, or any other time */
        DEVICE_IN_REACHED, /* somebody has taken our bytes; may be left out */
        DEVICE_IN_OPENED,  /* the WebSocket is up, or the stream's answer is 200 */
        DEVICE_IN_FAILED,  /* no connection came about; text says why (may be NULL) */
        DEVICE_IN_REFUSED, /* the upgrade was answered with `status`; retry_after_s or -1 */
        DEVICE_IN_HEARD,   /* something that is not a message: a ping */
        DEVICE_IN_MESSAGE, /* decoded; borrowed */
        DEVICE_IN_GARBAGE, /* `reason` says what is wrong with a frame; text may say more (may be
                              NULL) */
        DEVICE_IN_CLOSED,  /* by the node with `code`; 0 = lost without a close frame */
        DEVICE_IN_CUT,     /* the app wants the connection cut */
        DEVICE_IN_LEAVE    /* the app is done */
};

struct device_input {
        enum device_input_kind kind;
        unsigned link; /* of all but TICK, CUT and LEAVE */
        unsigned status;
        int64_t retry_after_s;
        const struct message *message;
        enum close_reason reason;
        uint16_t code;
        const char *text;
};

enum device_do {
        DEVICE_DO_CONNECT, /* by `way`, with device_core.token as `since`, if it has an epoch */
        DEVICE_DO_ACK,     /* ack */
        DEVICE_DO_TIME,    /* time */
        DEVICE_DO_DELIVER, /* call the app's callback for the input's message */
        DEVICE_DO_CLOSE,   /* say goodbye with the close code of `reason`, forget the connection */
        DEVICE_DO_CUT,     /* drop the connection without a word */
        DEVICE_DO_STATE    /* tell the app: state, and `why` of the list */
};

struct device_action {
        enum device_do what;
        unsigned link;
        enum device_way way;
        enum close_reason reason;
        enum kickoff_device_state state;
        struct ack ack;
        struct time_sync time;
};

#define DEVICE_ACTIONS_MAX 6
struct device_actions { /* to be carried out in this order */
        unsigned n;
        struct device_action list[DEVICE_ACTIONS_MAX];
        char why[200]; /* of the one DEVICE_DO_STATE in the list */
};

/* `since` may be NULL. The first attempt is due at once. */
void device_core_init(struct device_core *core, uint32_t backoff_min_ms, uint32_t backoff_max_ms,
                      bool no_ack, const struct token *since, uint64_t seed);
/* The event stream may be taken where no WebSocket comes through; without this it never is. */
void device_core_allow_stream(struct device_core *core);
void device_core_step(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *ret_actions);
/* Monotonic time of the next TICK; DEVICE_CORE_NEVER when stopped. */
uint64_t device_core_due(const struct device_core *core);
enum kickoff_device_state device_core_state(const struct device_core *core);
/* The app has acted on `seq`. Before the ack of it, so that this can say when. */
void device_core_activated(struct device_core *core, seqno seq, struct device_now now);
/* Node's wall clock minus ours, now; 0 before the first hello. Right also after our clock was set.
 */
int64_t device_core_offset_ms(const struct device_core *core, struct device_now now);
