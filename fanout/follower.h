/* fanout/follower.h -- the Redis shell around follower_core: two links (commands, subscription), the
 * state read, range reads, the head once a second. Owns the control thread's snapshot, and the book of
 * records from which a Redis that lost some gets them back (fanout/EPOCHS.md). Yields entries and
 * snapshots to whoever serves devices; knows nothing of devices. Callbacks run from the loop, never from
 * inside follower_create() or follower_destroy(), and must not destroy the follower. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/entry.h"
#include "fanout/event.h"
#include "fanout/snapshot.h"

struct book;
struct event_base;
struct follower;

struct follower_callbacks {
        /* The log (re)starts here: forget all entries; `entries` are what is kept up to the snapshot's
         * token, in order, ending exactly there (n may be 0). Borrowed until the return. */
        void (*on_install)(void *owner, struct snapshot *snapshot, struct entry *const *entries, size_t n);
        /* The next entries, in order, without a hole; `snapshot` is the state after the last. Borrowed. */
        void (*on_entries)(void *owner, struct entry *const *entries, size_t n, struct snapshot *snapshot);
        /* The log, asked a moment ago, ended at the head this node holds, or before it. About once a
         * second. Whoever waits for an entry beyond our head waits in vain if the question was asked
         * after they came: so from the second call on. Not while entries are held back, with may_hold_back:
         * a failover may have lost their release alone, and they may have been seen. May be NULL. */
        void (*on_confirmed)(void *owner);
        /* The command link came up (before anything is read) or went down. May be NULL. */
        void (*on_link)(void *owner, bool up);
        void *owner;
};

struct follower_options {
        struct redis_address address; /* copied */
        const char *ns;          /* namespace; borrowed */
        size_t keep;             /* entries to read back at an install: the ring's capacity */
        size_t keep_max;         /* of young ones so many: how far the ring may grow; 0 = as `keep` */
        bool may_hold_back;      /* durability replicated:N: nothing is confirmed while something is held back */
        /* Test seam for "a lost pub/sub message": drop every n-th published message; 0 = none. Set by the
         * hidden environment variable KICKOFF_TEST_DROP_MESSAGES and said loudly in the log. */
        unsigned drop_every;
};

must_check enum err follower_create(struct event_base *base, const struct follower_options *options,
                                    const struct follower_callbacks *callbacks, struct follower **ret);
void follower_destroy(struct follower *follower);

bool follower_is_ready(const struct follower *follower); /* installed, links up, not stale */
const char *follower_why_not_ready(const struct follower *follower); /* a sentence; "" when ready */
/* The command link, shared with writer, reader and store; borrowed, lives as long as the follower. */
struct redis *follower_redis(struct follower *follower);
struct snapshot *follower_snapshot(struct follower *follower); /* borrowed; NULL before the first install */
/* The latest place that the log must have, for devices or a producer of this node were told of it; epoch 0 =
 * none. The writer's witness. */
struct token follower_witness(const struct follower *follower);
/* The book of records, for starter.h; borrowed, and only until the next turn of the loop. */
const struct book *follower_book(const struct follower *follower);
/* A producer is being told that this change is committed: from now on the log must have it, although it has not
 * come back to us yet. Else what is lost before any node saw it would be lost without a word. `is_replay`: the
 * same request had made it before. */
void follower_vouch(struct follower *follower, const struct token *token, const struct event *event,
                    bool is_replay);
