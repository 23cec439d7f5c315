/* tests/sim/sim_links.c -- a node's links: how they come about, break, and fall silent. Each finds
 * a primary by itself; while the brain is split, not all of them the same. */
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

#define DEADLINE_MS      2000 /* as in base/redis.c */
#define RECONNECT_MAX_MS 1000
#define RECONNECT_MIN_MS 50

static const char *const link_name[LINKS] = { "following", "messages", "writing" };

bool sim_redis_is_silent(const struct world *world, const struct node *node)
{
        return world->now_ms < node->links.silent_until_ms;
}

/* Whom this link takes for the primary. A replica that is asked says that it is none. */
static struct server *find_primary(struct world *world, struct node *node)
{
        unsigned believes = node->links.believes;

        if (world_chance(world, 50) || !world->servers[believes].is_primary)
                believes = node->links.believes = world->primary;
        return &world->servers[believes];
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
        struct links *links = &node->links;
        struct server *server;

        (void)load;
        if (links->generation[kind] != generation_and_kind / LINKS || !node->is_alive)
                return;
        server = find_primary(world, node);
        if (!server->is_up || !server->is_primary || sim_redis_is_silent(world, node) ||
            world->now_ms < server->still_until_ms) {
                try_later(world, node, kind);
                return;
        }
        links->up[kind] = true;
        links->server[kind] = server->index;
        links->since_ms[kind] = world->now_ms;
        sim_node_on_links(world, node);
}

void sim_redis_connect(struct world *world, struct node *node)
{
        node->links.believes = world->primary;
        for (unsigned kind = 0; kind < LINKS; kind++) {
                node->links.generation[kind]++;
                try_later(world, node, (enum link_kind)kind);
        }
}

void sim_redis_cut(struct world *world, struct node *node, enum link_kind kind)
{
        if (!node->links.up[kind])
                return;
        world_tell(world, WHO_NODE, node->index, "lost its link for %s to redis %u",
                   trace_text(link_name[kind]), node->links.server[kind]);
        node->links.up[kind] = false;
        node->links.generation[kind]++;
        sim_redis_finish_waiting(world, node, kind);
        sim_node_on_links(world, node);
        try_later(world, node, kind);
}

void sim_redis_cut_all(struct world *world, unsigned server)
{
        for (unsigned i = 0; i < world->n_nodes; i++) {
                struct node *node = world->nodes[i];

                for (unsigned kind = 0; kind < LINKS && node->is_alive; kind++) {
                        if (node->links.server[kind] == server)
                                sim_redis_cut(world, node, (enum link_kind)kind);
                }
        }
}

/* The sign of life on a link, once a second, is without an answer for too long. */
static void on_no_life(struct world *world, void *owner, uint64_t generation_and_kind, void *load)
{
        enum link_kind kind = (enum link_kind)(generation_and_kind % LINKS);
        struct node *node = owner;

        (void)load;
        if (node->links.generation[kind] == generation_and_kind / LINKS &&
            sim_redis_is_silent(world, node))
                sim_redis_cut(world, node, kind);
}

void sim_redis_silence(struct world *world, struct node *node, uint64_t ms)
{
        world_tell(world, WHO_NODE, node->index, "its links swallow all for %u ms", ms);
        node->links.silent_until_ms = world->now_ms + ms;
        for (unsigned kind = LINK_MESSAGES; kind < LINKS; kind++)
                world_in(world, DEADLINE_MS + world_random(world, 0, 1000), on_no_life, node,
                         node->links.generation[kind] * LINKS + kind);
}

void sim_redis_forget(struct world *world, struct node *node)
{
        for (unsigned kind = 0; kind < LINKS; kind++) {
                node->links.up[kind] = false;
                node->links.generation[kind]++;
                sim_redis_finish_waiting(world, node, (enum link_kind)kind);
        }
}
