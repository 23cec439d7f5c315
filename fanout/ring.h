/* fanout/ring.h -- the recent part of the log in memory: entry n stands at slot n mod capacity.
 *
 *        base              first                     head
 *   ──────┴──────────────────┬────────────────────────┤
 *   trimmed: place unknown   │ kept: entry + frames   │ (a cursor at head has all)
 *
 * A cursor c means "has everything up to and with c"; what it needs next is entry c + 1. One ring per
 * thread, each holding references to the same entries: no lock, nothing copied. */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/entry.h"
#include "proto/token.h"

#define RING_CAPACITY_DEFAULT 16384 /* entries; the contract's retention is 10,000 */

struct ring;

must_check enum err ring_create(size_t capacity, struct ring **ret_ring);
void ring_destroy(struct ring *ring); /* NULL is fine */

/* Empty the ring: the log now goes on after `base` (a snapshot's token), in an epoch that continues
 * `parent` (0 = none). Cursors of before are void. */
void ring_install(struct ring *ring, const struct token *base, uint64_t parent);
/* Takes a reference of its own. `entry` must be head + 1 in the same epoch, with head's tag as prev:
 * the follower guarantees it (checked). The oldest entry leaves when the ring is full. */
void ring_push(struct ring *ring, struct entry *entry);

const struct token *ring_head(const struct ring *ring); /* epoch 0 before the first install */
seqno ring_oldest_cursor(const struct ring *ring);      /* cursors below this have lost entries */
/* Entry `seq`, borrowed; NULL when not in the ring. */
struct entry *ring_at(const struct ring *ring, seqno seq);

enum ring_place {
        RING_KEPT,    /* replay from token.seq + 1 */
        RING_TRIMMED, /* same log, but too old */
        RING_FORKED,  /* same epoch, another history; or the epoch that ours continues: it lost entries */
        RING_UNKNOWN, /* another epoch, not of a later generation */
        RING_AHEAD    /* same epoch, beyond our head, or a later generation: this node may simply be behind.
                       * Never a reset by itself: first the head must be asked for anew (contract line 7) */
};
enum ring_place ring_judge(const struct ring *ring, const struct token *token);
