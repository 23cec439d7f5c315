/* fanout/ring.h -- the recent part of the log in memory: entry n stands at slot n mod capacity. It keeps the
 * newest `capacity` entries whatever their age and, if it may grow, those that are young beyond that.
 *
 *        base              first                     head
 *   ──────┴──────────────────┬────────────────────────┤
 *   trimmed: place unknown   │ kept: entry + frames   │ (a cursor at head has all)
 *
 * A cursor c means "has everything up to and with c"; what it needs next is entry c + 1. One ring per
 * thread, each holding references to the same entries: no lock, nothing copied. Pure: an entry's age is
 * told by the `sent` of the newest one, so a log in which nothing happens forgets nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/entry.h"
#include "proto/token.h"

#define RING_CAPACITY_DEFAULT 16384 /* entries; the contract's retention is 10,000 */
/* How far a burst may make it grow. Costs about 700 bytes per entry for all workers of a node together, and 8 to 16
 * bytes per entry for each: 185 MB and 2 MB when full; 400 more for each entry that went to an event stream. Beyond
 * it the oldest leave however young they are. */
#define RING_CAPACITY_MAX 262144
/* The contract's retention is 24 h since a device was told; `sent` is when the change was asked for, which is
 * a little earlier, by the clock of a node, which may be a little off. So an hour more. */
#define RING_YOUNG_MS (25 * 3600 * 1000LL)

struct ring;

must_check enum err ring_create(size_t capacity, struct ring **ret_ring);
void ring_destroy(struct ring *ring); /* NULL is fine */

/* From now on young entries are kept beyond `capacity`, up to `capacity_max` (at least that). The array doubles
 * when it must, and halves when three quarters of it are free. Without memory to grow it goes on as it is. */
void ring_let_grow(struct ring *ring, size_t capacity_max);
static inline bool ring_is_young(int64_t sent, int64_t newest_sent)
{
        return newest_sent - sent < RING_YOUNG_MS;
}

/* Empty the ring: the log now goes on after `base` (a snapshot's token), in an epoch that continues
 * `parent` (0 = none). Cursors of before are void. */
void ring_install(struct ring *ring, const struct token *base, uint64_t parent);
/* Takes a reference of its own. `entry` must be head + 1 in the same epoch, with head's tag as prev:
 * the follower guarantees it (checked). The oldest entry leaves when the ring is full. Old ones beyond
 * `capacity` leave by and by: no push has more than a few to free. */
void ring_push(struct ring *ring, struct entry *entry);

const struct token *ring_head(const struct ring *ring); /* epoch 0 before the first install */
seqno ring_oldest_cursor(const struct ring *ring);      /* cursors below this have lost entries */
size_t ring_capacity(const struct ring *ring);          /* as it is now */
/* Entries that left although they were young, since it was created: it was as large as it may be, or there was
 * no memory. Whose place was before them gets a reset: told, never silent. */
uint64_t ring_young_lost(const struct ring *ring);
/* Entry `seq`, borrowed; NULL when not in the ring. */
struct entry *ring_at(const struct ring *ring, seqno seq);

enum ring_place {
        RING_KEPT,    /* replay from token.seq + 1 */
        RING_TRIMMED, /* same log, but too old */
        RING_FORKED,  /* same epoch, another history; or the epoch that ours continues: it lost entries */
        RING_UNKNOWN, /* an epoch of an earlier generation */
        RING_AHEAD    /* same epoch, beyond our head, or another one, not of an earlier generation: this node may
                       * simply be behind. Never a reset by itself: first the head must be asked for anew
                       * (contract line 7) */
};
enum ring_place ring_judge(const struct ring *ring, const struct token *token);
