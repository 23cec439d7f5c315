/* tests/sim/model_redis.h -- what fanout/kickoff.lua does to Redis, as a small pure program: the
 * log, its meta, the events, the request keys, and the journal (the append-only file, or what a
 * replica is sent) they all follow from. Losing a tail is cutting the journal and doing the rest
 * again; a replica is a model that takes over the lines of another. Texts go in and out as they do
 * in Redis; test_model.c gives both the same commands and compares every answer.
 *
 * Left out: bundle bodies, what stands in the audit trail, permissions, and that a request key is forgotten after 24 h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "fanout/answer.h"
#include "fanout/entry.h"
#include "fanout/event.h"
#include "proto/names.h"
#include "proto/token.h"

struct model;

struct model_record { /* of one event; shared by whoever refers to it */
        unsigned refs;
        char event[EVENT_ID_MAX + 1];
        char *text;
        uint64_t epoch, version; /* what `text` says */
        struct event *parsed;    /* the owner's: as nodes read it; freed with the record */
        unsigned past;           /* the owner's: 1 + its place in the history; 0 = from a node */
};

struct model_record *model_record_create(const char *event, const char *text, uint64_t epoch,
                                         uint64_t version);
struct model_record *model_record_ref(struct model_record *record);
void model_record_unref(struct model_record *record); /* NULL is fine */

enum model_op_kind {
        MODEL_APPEND,
        MODEL_RELEASE,
        MODEL_RENEW,
        MODEL_TOUCH, /* a write that changes nothing of ours: so that WAIT has something to wait for
                      */
        MODEL_DRAFT,
        MODEL_TRIM,
        MODEL_WIPE,
        MODEL_LOSE_META
};

struct model_op { /* one line of the journal; may stand in several, if they are replicas */
        enum model_op_kind kind;
        unsigned refs;
        struct token token;           /* APPEND: its place; RENEW: the new one; RELEASE: the mark */
        uint64_t parent;              /* RENEW */
        uint64_t prev;                /* APPEND: the tag before it */
        char event[EVENT_ID_MAX + 1]; /* APPEND, DRAFT */
        struct model_record *record, *before; /* APPEND: after and before; before NULL = none */
        struct model_record **records;        /* RENEW: what the caller knew better */
        size_t n_records;
        bool held;    /* APPEND */
        int64_t sent; /* APPEND: as in `body` */
        char *body;
        char key[REQUEST_KEY_MAX + 1], fingerprint[65]; /* APPEND; empty = none */
        bool publish;                                   /* APPEND */
        seqno trim_below; /* TRIM, APPEND: entries below this go; 0 = none */
        uint64_t key_hash;
        /* The owner's notes. */
        struct entry *entry; /* as nodes read it; released with the op */
        unsigned past;       /* its place in the history, see history.h */
};

struct model_append {
        const char *event, *body;    /* copied */
        struct model_record *record; /* a reference is taken if it is appended */
        uint64_t expected;
        int64_t sent; /* what `body` says */
        uint64_t tag;
        bool publish, held;
        const char *key, *fingerprint; /* fingerprint empty: no request key */
        size_t events_max;
        seqno keep_entries;
        int64_t keep_ms, now;
        struct token witness;
};

enum model_answer {
        MODEL_COMMITTED,
        MODEL_HELD,
        MODEL_REPLAYED,
        MODEL_REPLAYED_HELD,
        MODEL_MISMATCH,
        MODEL_MOVED,
        MODEL_LOST,
        MODEL_MIXED,
        MODEL_STALE,
        MODEL_FULL,
        MODEL_NODRAFTS
};

struct model_renew {
        uint64_t expected, fresh_epoch, fresh_tag;
        struct token witness;
        struct model_record *const *records; /* references are taken to what is merged */
        size_t n;
};

enum model_renewal {
        MODEL_RENEWED,
        MODEL_INTACT,
        MODEL_CHANGED,
        MODEL_RENEWAL_HELD,
        MODEL_TOO_LATE
};

struct model *model_create(void);
void model_destroy(struct model *model);

/* The functions of kickoff.lua. Pointers stay good until the next change or cut. A witness with
 * epoch 0 is none. */
struct place model_head(const struct model *model, const struct token *witness);
/* The records at that place; *ret_lost: the log lost what the witness holds. */
size_t model_state(const struct model *model, const struct token *witness, size_t max,
                   struct model_record *ret_records[], bool *ret_lost);
size_t model_range(const struct model *model, seqno from, seqno to, size_t max,
                   const struct token *witness, struct model_op *ret_ops[]);
/* The event's record, and the line of a request key (may be NULL); NULL = none. */
void model_lookup(const struct model *model, const char *event, const char *key,
                  struct model_record **ret_record, struct model_op **ret_request, bool *ret_held);
/* COMMITTED, HELD, REPLAYED*: the line; STALE: *ret_record is what is there, or NULL. Else
 * untouched. */
enum model_answer model_append(struct model *model, const struct model_append *append,
                               struct model_op **ret_op, struct model_record **ret_record);
/* How many entries that released, which are the last ones up to the token; false: the log lost it.
 */
bool model_release(struct model *model, const struct token *token, size_t *ret_n);
/* The last entry, whether or not it is held. */
struct token model_tail(const struct model *model, bool *ret_held);
enum model_renewal model_renew(struct model *model, const struct model_renew *renew);

/* What else may happen to this Redis. */
void model_touch(struct model *model);
void model_draft(struct model *model, const char *event);
void model_trim(struct model *model, seqno below); /* XTRIM MINID below-0 */
void model_wipe(struct model *model);
void model_lose_meta(struct model *model); /* the key `meta` is gone, the others are not */

size_t model_journal(const struct model *model); /* lines in it */
struct model_op *model_line(const struct model *model, size_t i);
void model_cut(struct model *model, size_t lines); /* only the first `lines` ever happened */
/* As a replica: line i of the other, which has the same lines before it. */
void model_follow(struct model *model, const struct model *other, size_t i);
size_t model_common(const struct model *a, const struct model *b); /* lines that both begin with */

/* Between model_redis.c and model_functions.c: the data as it is. */
struct model_data {
        struct token meta; /* epoch 0 = none; the last entry */
        uint64_t parent;
        bool has_mark;
        seqno mark;
        uint64_t mark_tag;
        struct model_op **log, **requests; /* borrowed lines; one per entry, key */
        struct model_record **events;      /* borrowed from lines; one per event */
        size_t n_log, log_size, n_events, events_size, n_requests, requests_size;
        const struct model_op *drafts[EVENTS_MAX];
        size_t n_drafts;
        size_t n_audits; /* entries in the audit trail: one per append, whatever became of it later */
};
const struct model_data *model_data(const struct model *model);
size_t model_find_event(const struct model_data *data, const char *event); /* n_events: none */
size_t model_find_draft(const struct model_data *data, const char *event);
/* The op's content is taken over; what is in it, too. */
struct model_op *model_write(struct model *model, const struct model_op *line);
