/* fanout/state_reader.h -- reads, in many steps, what an install needs: the state of all events at one
 * place of the log, and the entries that lead up to it. Before that it sees to it that the log has all that
 * this node knows, and has it renewed if it has not (fanout/EPOCHS.md). For follower.c alone. Control thread
 * only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/book.h"
#include "fanout/entry.h"
#include "fanout/snapshot.h"

struct event_base;
struct state_reader;

/* A node that must read very many entries back over a slow link becomes ready with fewer. Two thirds of
 * what the core waits for a state (FOLLOWER_STATE_WAIT_MS). */
#define STATE_READER_BACK_MS   20000
#define STATE_READER_SPREAD_MS 500 /* all but a node's first read begin within a random part of this */

struct state_read {
        struct snapshot *snapshot;
        /* In order, without a hole, ending exactly at the snapshot's token; n may be 0. Their records are
         * in the book, and no longer with them. */
        struct entry *const *entries;
        size_t n;
        struct book *book; /* the records of all events: the owner's from now on */
};

/* OK: `read` is borrowed until the return, but for the book. Else it is NULL, and `why` is a sentence. */
typedef void state_reader_fn(void *owner, enum err err, const struct state_read *read, const char *why);

struct state_reader_options {
        struct event_base *base; /* all borrowed until the end */
        struct redis *redis;
        const char *ns;
        size_t keep;             /* entries, whatever their age */
        size_t keep_max;         /* of those that are young (ring.h) so many; 0 = no more than `keep` */
        uint32_t back_ms;        /* no longer than this for more than `keep`; 0 = STATE_READER_BACK_MS */
        struct token mine;       /* what this node holds; epoch 0 = nothing */
        const struct book *book; /* what it remembers; must not change meanwhile */
        bool *lost_said;         /* set once a loss was said in the log: for this owner, once is enough */
};

/* `done` comes exactly once, never from inside here, unless it is stopped first. */
must_check enum err state_reader_start(const struct state_reader_options *options, state_reader_fn *done,
                                       void *owner, struct state_reader **ret_reader);
/* No `done` any more. Not for one that is done. NULL is fine. */
void state_reader_stop(struct state_reader *reader);
