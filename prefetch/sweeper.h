/* prefetch/sweeper.h -- deletes bundle bodies from Redis that no row names any more.
 *
 * Bodies are filed under their hash, and cohorts and events share them: one whose row was replaced may
 * still be another's. So whoever replaces a row, a publish (fanout/kickoff.lua) or a draft (store.c),
 * only notes its body and when, in the hash `replaced`; whoever names a body takes such a note away.
 *
 * Once an hour, at a moment of its own, a node that takes changes looks for notes older than the grace
 * time. Only if there are any it reads the rows of all drafts and all current bundles, event by event;
 * what one of them names keeps its body, the rest is deleted, and all these notes are taken away
 * (kickoff1_sweep). Many nodes may do so at once, and do no harm but work.
 *
 * Why nothing that is named is deleted: a row that was there before is seen when its event is read
 * (drafts before bundles, since a publish moves rows that way), and one that came later has taken the
 * note away, without which kickoff1_sweep deletes nothing. Nodes of a version without a sweeper take no
 * notes away: what one of them stores again in the seconds of a walk may have to be stored once more.
 *
 * Failure: what is not answered, or refused, ends this walk, and the next one begins anew. Bodies that
 * nobody noted (a node died between its draft and the note) stay for ever. Control thread only. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"

#define SWEEPER_EVERY_MS   (3600 * 1000u)
#define SWEEPER_GRACE_MS   (24 * 3600 * 1000LL) /* far longer than any node serves what was replaced */
#define SWEEPER_BODIES_MAX 20000u               /* of one walk; the next one takes more */

struct event_base;
struct sweeper;

/* A walk has ended. `deleted`: bodies. Borrowed from nobody; may destroy the sweeper. */
typedef void sweeper_done_fn(void *owner, enum err err, unsigned deleted);

struct sweeper_options {
        struct redis *reads, *writes; /* borrowed, and outlive the sweeper */
        const char *ns;               /* copied */
        unsigned every_ms;            /* 0 = SWEEPER_EVERY_MS */
        int64_t grace_ms;             /* 0 = SWEEPER_GRACE_MS */
        sweeper_done_fn *on_done;     /* may be NULL */
        void *owner;
};
must_check enum err sweeper_create(struct event_base *base, const struct sweeper_options *options,
                                   struct sweeper **ret_sweeper);
void sweeper_destroy(struct sweeper *sweeper); /* NULL is fine; a walk under way comes to nothing */
