/* tests/sim/sim_hold.h -- hold.c and releaser.c once more: waits until N replicas hold an entry,
 * then releases it; also those that others left behind. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/world.h"

struct node;

enum hold_end { HOLD_RELEASED, HOLD_SHORT, HOLD_LOST, HOLD_UNSURE }; /* as in hold.h */
typedef void sim_hold_fn(struct world *world, void *owner, enum hold_end end);

/* `done` comes exactly once, unless the run ends first: then `drop` does. */
void sim_hold_await(struct world *world, struct node *node, const struct token *token,
                    uint64_t deadline_ms, sim_hold_fn *done, void *owner, world_drop_fn *drop);
/* The node dies: whoever waits is unsure. */
void sim_hold_forget(struct world *world, struct node *node);
void sim_hold_start_releaser(struct world *world, struct node *node);
