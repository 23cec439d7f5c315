/* tests/sim/sim_hold.c -- one look at a time for all that wait on a node: a small write with WAIT
 * behind it, and if enough replicas have it, release. */
#include "tests/sim/sim_hold.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

#define HOLD_LOOK_MS      100 /* as in hold.h */
#define RELEASER_EVERY_MS 1000
#define RELEASER_WAIT_MS  1000

struct waiter {
        struct waiter *next;
        struct token token;
        uint64_t deadline_ms;
        bool is_new;       /* came after the look under way had begun */
        bool is_releasing; /* an answer to its release is due */
        bool may_be_released, is_told;
        struct node *node;
        sim_hold_fn *done;
        void *owner;
        world_drop_fn *drop;
};

static void look(struct world *world, struct node *node);

static void tell(struct world *world, struct waiter *waiter, enum hold_end end)
{
        struct waiter **place = &waiter->node->waiters;

        while (*place != waiter)
                place = &(*place)->next;
        *place = waiter->next;
        waiter->is_told = true;
        if (world->over)
                waiter->drop(waiter->owner);
        else
                waiter->done(world, waiter->owner, end);
        if (!waiter->is_releasing)
                free(waiter);
}

/* --- release and look ------------------------------------------------------------------------- */

static void on_released(struct world *world, struct call *call, bool answered)
{
        struct waiter *waiter = call->owner;

        waiter->is_releasing = false;
        if (waiter->is_told)
                free(waiter);
        else if (answered && call->refused)
                waiter->may_be_released = false;
        else if (answered)
                tell(world, waiter, call->lost ? HOLD_LOST : HOLD_RELEASED);
}

static void release(struct world *world, struct waiter *waiter)
{
        struct call *call = sim_redis_new_call(CALL_RELEASE, on_released, waiter);

        waiter->is_releasing = waiter->may_be_released = true;
        call->witness = waiter->token;
        sim_redis_call(world, waiter->node, call);
}

static void on_waited(struct world *world, struct call *call, bool answered)
{
        struct node *node = call->node;

        if (call->owner != node->looking)
                return;
        node->looking = NULL;
        if (!answered || call->refused || !node->is_alive || !node->links.up[LINK_WRITES])
                return; /* the timer looks again */
        for (struct waiter *waiter = node->waiters; waiter != NULL; waiter = waiter->next) {
                if (call->replicas >= world->durability.replicas && !waiter->is_new &&
                    !waiter->is_releasing)
                        release(world, waiter);
        }
        look(world, node);
}

static void look(struct world *world, struct node *node)
{
        bool any = false;
        struct call *call;

        if (node->looking != NULL || !node->is_alive || !node->links.up[LINK_WRITES])
                return;
        for (struct waiter *waiter = node->waiters; waiter != NULL; waiter = waiter->next) {
                any = any || !waiter->is_releasing;
                waiter->is_new = false;
        }
        if (!any)
                return;
        call = sim_redis_new_call(CALL_WAIT, on_waited, NULL);
        call->owner = node->looking = call;
        call->wait_ms = HOLD_LOOK_MS;
        sim_redis_call(world, node, call);
}

/* --- who waits -------------------------------------------------------------------------------- */

static void on_timer(struct world *world, void *owner, uint64_t life, void *load)
{
        struct node *node = owner;
        struct waiter *waiter = node->waiters;

        (void)load;
        if (!node->is_alive || node->life != life)
                return;
        node->has_hold_timer = false;
        while (waiter != NULL) {
                if (world->now_ms >= waiter->deadline_ms) {
                        tell(world, waiter, waiter->may_be_released ? HOLD_UNSURE : HOLD_SHORT);
                        waiter = node->waiters; /* it may have changed altogether */
                } else {
                        waiter = waiter->next;
                }
        }
        look(world, node);
        if (node->waiters != NULL && !node->has_hold_timer) {
                node->has_hold_timer = true;
                world_in(world, HOLD_LOOK_MS, on_timer, node, life);
        }
}

void sim_hold_await(struct world *world, struct node *node, const struct token *token,
                    uint64_t deadline_ms, sim_hold_fn *done, void *owner, world_drop_fn *drop)
{
        struct waiter *waiter = calloc(1, sizeof(*waiter));

        check(waiter != NULL);
        *waiter = (struct waiter){ .next = node->waiters,
                                   .token = *token,
                                   .deadline_ms = deadline_ms,
                                   .is_new = true,
                                   .node = node,
                                   .done = done,
                                   .owner = owner,
                                   .drop = drop };
        node->waiters = waiter;
        if (!node->has_hold_timer) {
                node->has_hold_timer = true;
                world_in(world, HOLD_LOOK_MS, on_timer, node, node->life);
        }
        look(world, node);
}

void sim_hold_forget(struct world *world, struct node *node)
{
        while (node->waiters != NULL)
                tell(world, node->waiters, HOLD_UNSURE);
        node->looking = NULL;
        node->has_hold_timer = false;
}

/* --- the releaser --------------------------------------------------------------------------- */

static void forget_nothing(void *node)
{
        (void)node;
}

static void on_end(struct world *world, void *owner, enum hold_end end)
{
        struct node *node = owner;

        (void)world;
        node->is_releasing = false;
        if (end == HOLD_RELEASED || end == HOLD_LOST)
                node->held = (struct token){ .epoch = 0 };
}

static void on_tail(struct world *world, struct call *call, bool answered)
{
        struct node *node = call->node;
        struct token before = node->held;

        if (!answered || !node->is_alive)
                return;
        node->held = call->is_held ? call->result : (struct token){ .epoch = 0 };
        if (!call->is_held || !token_equal(&node->held, &before) || node->is_releasing)
                return;
        world_tell(world, WHO_NODE, node->index, "finds that %u.%t is still held back",
                   node->held.seq, node->held.tag);
        node->is_releasing = true;
        sim_hold_await(world, node, &node->held, world->now_ms + RELEASER_WAIT_MS, on_end, node,
                       forget_nothing);
}

static void on_turn(struct world *world, void *owner, uint64_t life, void *load)
{
        struct node *node = owner;

        (void)load;
        if (!node->is_alive || node->life != life)
                return;
        if (node->links.up[LINK_WRITES] && !node->is_releasing)
                sim_redis_call(world, node, sim_redis_new_call(CALL_TAIL, on_tail, node));
        world_in(world, RELEASER_EVERY_MS, on_turn, node, life);
}

void sim_hold_start_releaser(struct world *world, struct node *node)
{
        node->is_releasing = false;
        world_in(world, world_random(world, 0, RELEASER_EVERY_MS), on_turn, node, node->life);
}
