/* tests/sim/faults.c -- draws what a run suffers from, and is the nemesis: a few times a second it
 * may strike at the large things. */
#include "tests/sim/faults.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_device.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

static const char *const fault_name[FAULT_KINDS] = {
#define X(name) [name] = #name,
        FAULTS(X)
#undef X
};

void faults_draw(struct world *world)
{
        bool any = !world_chance(world, 50); /* some runs are all fine */
        unsigned share = (unsigned)world_random(world, 50, 600);

        for (unsigned i = 0; i < FAULT_KINDS && any; i++) {
                static const unsigned rates[2][4] = { { 5, 20, 100, 300 }, { 2, 10, 40, 150 } };
                bool loses = i == FAULT_REDIS_ROLLBACK || i == FAULT_REDIS_WIPE ||
                             i == FAULT_REDIS_LOSE_META;

                if (world_chance(world, loses ? share / 2 : share))
                        world->faults.rate[i] =
                            rates[i >= FAULT_FIRST_OF_NEMESIS][world_random(world, 0, 3)];
        }
        /* Who deletes `meta` by hand deletes the mark: nobody knows any more what is held back. */
        if (world->durability.mode == DURABILITY_REPLICATED)
                world->faults.rate[FAULT_REDIS_LOSE_META] = 0;
}

bool faults_strike(struct world *world, enum fault fault)
{
        return world->faults.rate[fault] > 0 && !world->quiet &&
               world_chance(world, world->faults.rate[fault]);
}

bool faults_may_lose(const struct world *world)
{
        const unsigned *rate = world->faults.rate;

        return rate[FAULT_REDIS_ROLLBACK] > 0 || rate[FAULT_REDIS_WIPE] > 0 ||
               rate[FAULT_REDIS_LOSE_META] > 0 ||
               (rate[FAULT_REDIS_CRASH] > 0 && world->durability.mode == DURABILITY_MEMORY) ||
               (rate[FAULT_FAILOVER] + rate[FAULT_REDIS_CRASH] > 0 && world->n_servers > 1);
}

void faults_print(const struct world *world)
{
        char mode[DURABILITY_TEXT_MAX + 1];

        durability_format(&world->durability, mode);
        printf("seed %llu: %s, %u servers, %u nodes, %u devices, %u producers, ring of %zu%s\n"
               "faults:",
               (unsigned long long)world->seed, mode, world->n_servers, world->n_nodes,
               world->n_devices, world->n_producers, world->ring_capacity,
               world->wire ? ", real frames" : "");
        for (unsigned i = 0; i < FAULT_KINDS; i++) {
                if (world->faults.rate[i] > 0)
                        printf(" %s=%u", fault_name[i] + strlen("FAULT_"), world->faults.rate[i]);
        }
        putchar('\n');
}

/* --- the nemesis ---------------------------------------------------------------------------- */

static void promote(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        if (!world->quiet)
                sim_replication_failover(world);
}

static void crash(struct world *world, struct server *server)
{
        size_t lines = model_journal(server->model);

        /* What is written but not synced may be there or not. */
        sim_redis_crash(world, server, world_random(world, server->synced, lines), false);
}

static void strike_redis(struct world *world, struct server *server, enum fault fault)
{
        size_t lines = model_journal(server->model);

        switch (fault) {
        case FAULT_REDIS_CRASH:
                crash(world, server);
                if (world_chance(world, 300))
                        world_in(world, world_random(world, 300, 3000), promote, NULL, 0);
                break;
        case FAULT_REDIS_ROLLBACK:
                if (lines > 0)
                        lines -= world_random(world, 1, lines < 10 ? lines : 10);
                sim_redis_crash(world, server, lines, true);
                break;
        case FAULT_REDIS_PAUSE:
                sim_redis_pause(world, server, world_random(world, 100, 4000));
                break;
        case FAULT_REDIS_WIPE:
        case FAULT_REDIS_LOSE_META:
                sim_redis_wipe(world, server, fault == FAULT_REDIS_LOSE_META);
                break;
        default:
                sim_redis_trim(world, server);
                break;
        }
}

static void strike_replica(struct world *world, struct server *server, enum fault fault)
{
        if (fault == FAULT_FAILOVER) {
                if (world_chance(world, 400) && sim_redis_primary(world)->is_up)
                        crash(world, sim_redis_primary(world));
                world_in(world, world_random(world, 0, 3000), promote, NULL, 0);
        } else if (server->is_primary || !server->is_up) {
                return;
        } else if (fault == FAULT_REPLICA_CRASH) {
                crash(world, server);
        } else {
                server->stalled_until_ms = world->now_ms + world_random(world, 100, 6000);
        }
}

static void strike_node(struct world *world, struct node *node, enum fault fault)
{
        switch (fault) {
        case FAULT_LINK_CUT:
                sim_redis_cut(world, node, world_chance(world, 500) ? LINK_CALLS : LINK_MESSAGES);
                break;
        case FAULT_LINK_SILENT:
                sim_redis_silence(world, node, world_random(world, 50, 6000));
                break;
        case FAULT_NODE_CRASH:
                sim_node_crash(world, node, world_random(world, 100, 5000));
                break;
        default:
                /* Often there is not time enough for the pace. */
                sim_node_drain(world, node, (uint32_t)world_random(world, 0, 5000),
                               (uint32_t)world_random(world, 0, 8000));
                break;
        }
}

static void strike(struct world *world, enum fault fault)
{
        struct node *node = world->nodes[world_random(world, 0, world->n_nodes - 1)];
        struct device *device = world->devices[world_random(world, 0, world->n_devices - 1)];
        struct server *server = &world->servers[world_random(world, 0, world->n_servers - 1)];
        int64_t jump_ms = (int64_t)world_random(world, 0, 20000000) - 10000000;

        if (fault <= FAULT_NODE_DRAIN) {
                if (node->is_alive)
                        strike_node(world, node, fault);
        } else if (fault <= FAULT_REDIS_TRIM) {
                /* While it waits for its disk only a crash can reach it. */
                if (server->is_up && server->is_primary &&
                    (fault == FAULT_REDIS_CRASH || world->now_ms >= server->still_until_ms))
                        strike_redis(world, server, fault);
        } else if (fault <= FAULT_FAILOVER) {
                if (world->n_servers > 1)
                        strike_replica(world, server, fault);
        } else if (fault == FAULT_CLOCK_JUMP) {
                if (world_chance(world, 500))
                        node->wall_ahead_ms += jump_ms;
                else
                        sim_device_jump(device, jump_ms);
        } else {
                sim_device_suffer(world, device, fault);
        }
}

static void turn(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        if (world->quiet)
                return;
        for (unsigned fault = FAULT_FIRST_OF_NEMESIS; fault < FAULT_KINDS; fault++) {
                if (faults_strike(world, (enum fault)fault))
                        strike(world, (enum fault)fault);
        }
        world_in(world, world_random(world, 50, 700), turn, NULL, 0);
}

void faults_start(struct world *world)
{
        world_in(world, 300, turn, NULL, 0);
}
