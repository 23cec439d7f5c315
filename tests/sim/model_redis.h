/* tests/sim/model_redis.h -- what fanout/kickoff.lua does to Redis, as a small pure program: the
 * log, its meta, the events, the request keys, and the journal (the append-only file) they all
 * follow from. Losing a tail is cutting the journal and doing the rest again. Texts go in and out
 * as they do in Redis; test_model.c gives both the same commands and compares every answer.
 *
 * Left out: bundle bodies, permissions, and that a request key is forgotten after 24 h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "fanout/entry.h"
#include "fanout/event.h"
#include "proto/names.h"
#include "proto/token.h"

struct model;

enum model_op_kind {
        MODEL_OPEN,
        MODEL_APPEND,
        MODEL_DRAFT,
        MODEL_TRIM,
        MODEL_WIPE,
        MODEL_LOSE_META
};

struct model_op { /* one line of the journal */
        enum model_op_kind kind;
        struct token opened; /* OPEN, and an APPEND that found no log: the place before the first */
        struct token token;  /* APPEND */
        uint64_t prev;       /* APPEND: the tag before it */
        char event[EVENT_ID_MAX + 1]; /* APPEND, DRAFT */
        uint64_t version;             /* APPEND: of the event, after it */
        int64_t sent;                 /* APPEND: as in `body` */
        char *record, *body;
        char key[REQUEST_KEY_MAX + 1], fingerprint[65]; /* APPEND; empty = none */
        bool publish;                                   /* APPEND */
        seqno trim_below; /* TRIM, APPEND: entries below this go; 0 = none */
        uint64_t key_hash;
        /* The owner's notes. */
        struct event *parsed; /* `record` as nodes read it; released with the op */
        struct entry *entry;  /* `body` as nodes read it; released with the op */
        bool unreadable;      /* as if written by a newer version */
        unsigned past;        /* its place in the history, see history.h */
};

struct model_append {
        const char *event, *record, *body; /* copied */
        uint64_t expected, version;        /* version: what `record` says */
        int64_t sent;                      /* what `body` says */
        uint64_t tag, fresh_epoch, fresh_tag;
        bool publish;
        const char *key, *fingerprint; /* fingerprint empty: no request key */
        size_t events_max;
        seqno keep_entries;
        int64_t keep_ms, now;
};

enum model_answer {
        MODEL_COMMITTED,
        MODEL_REPLAYED,
        MODEL_MISMATCH,
        MODEL_STALE,
        MODEL_FULL,
        MODEL_NODRAFTS
};

struct model *model_create(void);
void model_destroy(struct model *model);

/* The functions of kickoff.lua. Pointers stay good until the next change or cut. */
struct token model_open(struct model *model, uint64_t fresh_epoch, uint64_t fresh_tag);
struct token model_head(const struct model *model); /* epoch 0 = no log */
/* The lines whose records are what the hash of events holds. */
size_t model_state(const struct model *model, size_t max, const struct model_op *ret_ops[]);
size_t model_range(const struct model *model, seqno from, seqno to, size_t max,
                   struct model_op *ret_ops[]);
/* Of an event, and of a request key (may be NULL): the lines that wrote them; NULL = none. */
void model_lookup(const struct model *model, const char *event, const char *key,
                  const struct model_op **ret_event, const struct model_op **ret_request);
/* COMMITTED, REPLAYED: the line; STALE: that of what is there, or NULL. Else untouched. */
enum model_answer model_append(struct model *model, const struct model_append *append,
                               const struct model_op **ret_op);

/* What else may happen to this Redis. */
void model_draft(struct model *model, const char *event);
void model_trim(struct model *model, seqno below); /* XTRIM MINID below-0 */
void model_wipe(struct model *model);
void model_lose_meta(struct model *model); /* the key `meta` is gone, the others are not */

size_t model_journal(const struct model *model); /* lines in it */
struct model_op *model_line(const struct model *model, size_t i);
void model_cut(struct model *model, size_t lines); /* only the first `lines` ever happened */
