/* proto/message.h -- every message of the device protocol, as a struct, as JSON and as msgpack.
 * PROTOCOL.md is the normative text; the field tables in message_field.c are its counterpart: one row per
 * field (name, type, where, optional?) serves both encodings in both directions. Pure, any thread.
 *
 * Encoding writes the payload only; ws.h puts the frame around it. Decoding is strict in what it needs
 * (types, required fields, UTF-8, sizes) and skips fields it does not know, so that N and N-1 live
 * together. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "proto/names.h"
#include "proto/token.h"

#define MESSAGE_FROM_DEVICE_MAX 4096            /* bytes of payload a node accepts */
#define MESSAGE_FROM_NODE_MAX   (1024u * 1024u) /* bytes a device should accept: `reset` may be long */
#define MESSAGE_DEPTH_MAX       8               /* lists and objects inside each other */
#define MESSAGE_CONTAINERS_MAX  4096            /* lists and objects in one message, unknown fields too */
#define MESSAGE_BODY_MAX        2048            /* bytes of `message`.body */

enum encoding { ENCODING_JSON, ENCODING_MSGPACK, ENCODINGS };
extern const char *const encoding_subprotocol[ENCODINGS]; /* "kickoff.v1.json", "kickoff.v1.msgpack" */

enum message_type {
        MESSAGE_HELLO,
        MESSAGE_SIGNAL,
        MESSAGE_RESET,
        MESSAGE_GOAWAY,
        MESSAGE_TIME, /* node: t0 and t1; device: t0 alone (t1 absent) */
        MESSAGE_MESSAGE,
        MESSAGE_SKIP,
        MESSAGE_ACK,
        MESSAGE_TYPES
};
extern const char *const message_type_name[MESSAGE_TYPES]; /* what `t` says */

enum signal_kind {
        SIGNAL_START,
        SIGNAL_DELAY,
        SIGNAL_END,
        SIGNAL_CANCEL,
        SIGNAL_STAGE,
        SIGNAL_REFRESH,
        SIGNAL_CREATE,
        SIGNAL_KINDS
};
extern const char *const signal_kind_name[SIGNAL_KINDS];

enum reset_reason { RESET_NEW, RESET_TRIMMED, RESET_FORKED, RESET_UNKNOWN, RESET_REASONS };
extern const char *const reset_reason_name[RESET_REASONS];

enum goaway_reason { GOAWAY_RECYCLE, GOAWAY_DRAIN, GOAWAY_OVERLOAD, GOAWAY_REPLACED, GOAWAY_REASONS };
extern const char *const goaway_reason_name[GOAWAY_REASONS];

struct event_state { /* what a device needs to know of one event */
        char event[EVENT_ID_MAX + 1];
        char stage[STAGE_MAX + 1];
        int64_t at;        /* when to act on this stage, Unix ms */
        int64_t starts_at; /* planned start, Unix ms */
        uint64_t version;  /* of the event: rises by 1 with each change */
        uint64_t bundle;   /* bundle version; 0 = none yet */
};

struct hello {
        char node[NODE_NAME_MAX + 1];
        char session[17]; /* 16 hex digits, for logs on both sides */
        struct token token;
        int64_t now; /* node's wall clock, Unix ms */
        uint32_t ping_s, lifetime_s, ack_spread_ms;
        bool recovered;    /* true: the token was good, replay follows; false: `reset` follows */
        bool has_reason;
        enum reset_reason reason; /* why not recovered; sent only when !recovered */
        bool has_prefetch_ms;
        uint32_t prefetch_ms; /* over which span to spread a first fetch of bundles */
};

struct signal {
        struct token token; /* seq goes out both alone and in the token */
        enum signal_kind kind;
        struct event_state state; /* after this signal */
        int64_t sent;             /* when the producer's request arrived, Unix ms */
        int64_t window_ms;        /* refresh: spread the second fetch over this; 0 = absent */
};

struct reset {
        enum reset_reason reason;
        struct token token;
        struct event_state *events; /* decode: malloc'd, see message_fini */
        size_t n;
};

struct goaway {
        enum goaway_reason reason;
        uint32_t min_ms, max_ms;
};

struct time_sync {
        int64_t t0; /* device's clock when it asked */
        bool has_t1;
        int64_t t1; /* node's clock */
};

struct device_message {
        char id[65];
        char body[MESSAGE_BODY_MAX + 1]; /* UTF-8 text */
};

struct skip {
        struct token token; /* everything up to here was not for this device */
};

struct ack {
        seqno seq; /* all up to this one */
        bool has_activated_at;
        int64_t activated_at; /* when the device acted, in node time if it knows the offset, Unix ms */
};

struct message {
        enum message_type type;
        union {
                struct hello hello;
                struct signal signal;
                struct reset reset;
                struct goaway goaway;
                struct time_sync time;
                struct device_message message;
                struct skip skip;
                struct ack ack;
        };
};

/* Appends the payload to `out`. Texts must be valid UTF-8 of their size; out of memory shows in
 * out->failed. */
void message_encode(const struct message *message, enum encoding encoding, struct buf *out);

/* ERR_INVALID: not valid JSON/msgpack, a required field missing or of the wrong type, text not UTF-8 or
 * too long, deeper than MESSAGE_DEPTH_MAX. ERR_NOT_FOUND: well-formed, but `t` is unknown to this version:
 * to be ignored. ERR_NOMEM. msgpack allocates only the events of a `reset`, at most 4 bytes per byte given; JSON at most
 * 31 per byte, and up to 1 MiB on top for MESSAGE_CONTAINERS_MAX (measured with jansson 2.14: the worst
 * 4 KiB made 320 KiB, the worst MiB 31 MiB). */
must_check enum err message_decode(const void *bytes, size_t len, enum encoding encoding,
                                   struct message *ret_message);
void message_fini(struct message *message); /* frees what decode allocated; safe on any message */

/* As message_encode for one signal / skip / reset without building a struct message. */
void message_encode_signal(const struct signal *signal, enum encoding encoding, struct buf *out);
void message_encode_skip(const struct token *token, enum encoding encoding, struct buf *out);
void message_encode_reset(enum reset_reason reason, const struct token *token,
                          const struct event_state *events, size_t n, enum encoding encoding,
                          struct buf *out);
