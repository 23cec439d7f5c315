/* fanout/hold.h -- waits until N replicas hold an entry that was appended and held back, then releases it to
 * everybody (fanout/EPOCHS.md). For writer.c, which began it, and releaser.c, which finishes what others began.
 *
 * WAIT counts up to the last write of its own connection, and stands in the way of all that comes behind it. So
 * each look is a small write and a short WAIT, sent together: it does not matter who appended the entry, nor on
 * which connection, for whatever replica has the write has all before it. One look at a time for all that wait.
 * Control thread only. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/primary.h"
#include "proto/token.h"

#define HOLD_LOOK_MS 100 /* between two looks, where the answer to the first does not bring the second */
/* One WAIT at most: so long everything behind it on the link has to wait. Each look is a new write, so replicas
 * whose answer takes longer than this never hold anything: it is longer than any way around the world and back. */
#define HOLD_WAIT_MS 400

struct event_base;
struct hold;

enum hold_end {
        HOLD_RELEASED, /* N replicas have it, everybody may */
        HOLD_SHORT,    /* too few replicas have it in time; it stays as it is */
        HOLD_LOST,     /* the log no longer has it, or is in another epoch */
        HOLD_UNSURE    /* the release was sent, or could not be, and no answer came in time */
};
/* Exactly once per accepted hold_await, never from inside it. */
typedef void hold_done_fn(void *owner, enum hold_end end);

/* `primary` and `ns` are borrowed, and outlive it. */
must_check enum err hold_create(struct event_base *base, struct primary *primary, const char *ns,
                                struct hold **ret_hold);
void hold_destroy(struct hold *hold); /* those who wait hear HOLD_UNSURE first; NULL is fine */

/* Release `token`'s entry, and so all before it, once N replicas have it. To be called from the answer, on the
 * primary's link, that told of the entry. `deadline_ms`: monotonic. */
must_check enum err hold_await(struct hold *hold, const struct token *token, uint64_t deadline_ms,
                               hold_done_fn *done, void *owner);
