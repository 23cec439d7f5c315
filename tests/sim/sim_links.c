/* tests/sim/sim_links.c -- a node's two links: how they come about, break, and fall silent. */
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

#define DEADLINE_MS      2000 /* as in base/redis.c */
#define RECONNECT_MAX_MS 1000
#define RECONNECT_MIN_MS 50

bool sim_redis_is_silent(const struct world *world, const struct node *node)
{
        return world->now_ms < node->links.silent_until_ms;
}

static void on_try(struct world *world, void *owner, uint64_t generation_and_kind, void *load);

static void try_later(struct world *world, struct node *node, enum link_kind kind)
{
        world_in(world, world_random(world, RECONNECT_MIN_MS, RECONNECT_MAX_MS), on_try, node,
                 node->links.generation[kind] * LINKS + kind);
}

static void on_try(struct world *world, void *owner, uint64_t generation_and_kind, void *load)
{
        enum link_kind kind = (enum link_kind)(generation_and_kind % LINKS);
        struct node *node = owner;

        (void)load;
        if (node->links.generation[kind] != generation_and_kind / LINKS || !node->is_alive)
                return;
        if (!world->server.is_up || sim_redis_is_silent(world, node) ||
            world->now_ms < world->server.still_until_ms) {
                try_later(world, node, kind);
                return;
        }
        node->links.up[kind] = true;
        sim_node_on_links(world, node);
}

void sim_redis_connect(struct world *world, struct node *node)
{
        for (unsigned kind = 0; kind < LINKS; kind++) {
                node->links.generation[kind]++;
                try_later(world, node, (enum link_kind)kind);
        }
}

void sim_redis_cut(struct world *world, struct node *node, enum link_kind kind)
{
        if (!node->links.up[kind])
                return;
        world_tell(world, WHO_NODE, node->index, "lost its link for %s",
                   trace_text(kind == LINK_CALLS ? "calls" : "messages"));
        node->links.up[kind] = false;
        node->links.generation[kind]++;
        if (kind == LINK_CALLS)
                sim_redis_finish_waiting(world, node);
        sim_node_on_links(world, node);
        try_later(world, node, kind);
}

/* The sign of life on the messages link, once a second, is without an answer for too long. */
static void on_no_life(struct world *world, void *owner, uint64_t generation, void *load)
{
        struct node *node = owner;

        (void)load;
        if (node->links.generation[LINK_MESSAGES] == generation && sim_redis_is_silent(world, node))
                sim_redis_cut(world, node, LINK_MESSAGES);
}

void sim_redis_silence(struct world *world, struct node *node, uint64_t ms)
{
        world_tell(world, WHO_NODE, node->index, "its links swallow all for %u ms", ms);
        node->links.silent_until_ms = world->now_ms + ms;
        world_in(world, DEADLINE_MS + world_random(world, 0, 1000), on_no_life, node,
                 node->links.generation[LINK_MESSAGES]);
}

void sim_redis_forget(struct world *world, struct node *node)
{
        for (unsigned kind = 0; kind < LINKS; kind++) {
                node->links.up[kind] = false;
                node->links.generation[kind]++;
        }
        sim_redis_finish_waiting(world, node);
}
