/* tests/sim/world.c -- the clock: a heap of what is due, and the loop that empties it. */
#include "tests/sim/world.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/invariants.h"
#include "tests/sim/memo.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_producer.h"
#include "tests/sim/sim_conn.h"

#define CONVERGE_SOON_MS 10000 /* whoever is connected then has all */
#define CONVERGE_MS      60000 /* everybody is connected then, and has all */

/* --- randomness ----------------------------------------------------------------------------- */

uint64_t world_random(struct world *world, uint64_t from, uint64_t to)
{
        return from + rng_below(&world->rng, to - from + 1);
}

bool world_chance(struct world *world, unsigned per_thousand)
{
        return rng_below(&world->rng, 1000) < per_thousand;
}

uint64_t world_u64(struct world *world)
{
        return rng_u64(&world->rng) | 1;
}

#define WAYS 4 /* half the depth of a binary heap, and neighbours share cache lines */

/* --- the heap ------------------------------------------------------------------------------- */

static bool is_before(const struct due *a, const struct due *b)
{
        return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push(struct world *world, const struct due *due)
{
        size_t i = world->n_dues++;

        if (i == world->dues_size) {
                world->dues_size = world->dues_size > 0 ? world->dues_size * 2 : 256;
                world->dues = realloc(world->dues, world->dues_size * sizeof(world->dues[0]));
                check(world->dues != NULL);
        }
        for (; i > 0 && is_before(due, &world->dues[(i - 1) / WAYS]); i = (i - 1) / WAYS)
                world->dues[i] = world->dues[(i - 1) / WAYS];
        world->dues[i] = *due;
}

static struct due pop(struct world *world)
{
        struct due first = world->dues[0], last = world->dues[--world->n_dues];
        size_t i = 0;

        for (;;) {
                size_t child = WAYS * i + 1, end = child + WAYS;

                if (end > world->n_dues)
                        end = world->n_dues;
                for (size_t other = child + 1; other < end; other++) {
                        if (is_before(&world->dues[other], &world->dues[child]))
                                child = other;
                }
                if (child >= world->n_dues || !is_before(&world->dues[child], &last))
                        break;
                world->dues[i] = world->dues[child];
                i = child;
        }
        if (world->n_dues > 0)
                world->dues[i] = last;
        return first;
}

void world_send(struct world *world, uint64_t in_ms, world_fn *fn, void *owner, uint64_t argument,
                void *load, world_drop_fn *drop)
{
        push(world, &(struct due){ world->now_ms + in_ms, world->next_order++, fn, owner, argument,
                                   load, drop });
}

void world_in(struct world *world, uint64_t in_ms, world_fn *fn, void *owner, uint64_t argument)
{
        world_send(world, in_ms, fn, owner, argument, NULL, NULL);
}

/* --- a run ---------------------------------------------------------------------------------- */

static void end(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        invariants_at_the_end(world);
        world->over = true;
}

static void look_soon(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        invariants_soon_after_quiet(world);
}

static void begin_quiet(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        world->quiet = true;
        world->quiet_ms = world->now_ms;
        world_tell(world, WHO_NEMESIS, 0, "quiet: nothing goes wrong from here on");
        invariants_at_quiet(world);
        sim_redis_heal(world);
        for (unsigned i = 0; i < world->n_nodes; i++)
                sim_node_heal(world, world->nodes[i]);
        for (unsigned i = 0; i < world->n_devices; i++)
                sim_device_heal(world, world->devices[i]);
        world_in(world, CONVERGE_SOON_MS, look_soon, NULL, 0);
        world_in(world, CONVERGE_MS, end, NULL, 0);
}

static void draw_servers(struct world *world)
{
        uint64_t mode = world_random(world, 0, 9);

        world->n_servers =
            world_chance(world, 500) ? 1 : (unsigned)world_random(world, 2, SERVERS_MAX);
        world->durability.mode = DURABILITY_MEMORY;
        if (mode >= 7) {
                world->durability.mode = DURABILITY_REPLICATED;
                world->durability.replicas = mode == 9 ? 2 : 1;
                world->n_servers = world->durability.replicas + 1;
                if (world->n_servers < SERVERS_MAX && world_chance(world, 600))
                        world->n_servers++;
        } else if (mode >= 3) {
                world->durability.mode = DURABILITY_FSYNC;
        }
}

static void draw(struct world *world)
{
        static const size_t capacities[] = { 4, 8, 16, 64, 256 };
        static const size_t counts[] = { 2, 7, 64, FOLLOWER_RANGE_COUNT };

        world->now_ms = world_random(world, 1000, 100000000);
        world->n_nodes = (unsigned)world_random(world, 1, NODES_MAX);
        world->n_devices = (unsigned)world_random(world, 1, DEVICES_MAX);
        world->n_producers = (unsigned)world_random(world, 1, PRODUCERS_MAX);
        world->ring_capacity = capacities[world_random(world, 0, countof(capacities) - 1)];
        world->range_count = counts[world_random(world, 0, countof(counts) - 1)];
        world->ping_ms = (unsigned)world_random(world, 1, 5) * 1000;
        world->lifetime_ms =
            world_chance(world, 300) ? (unsigned)world_random(world, 5, 60) * 1000 : 1800000;
        world->guard_ms =
            world_chance(world, 700) ? (unsigned)world_random(world, 1, 40) * 1000 : 0;
        world->wire = world_chance(world, 62);
        draw_servers(world);
        faults_draw(world);
}

struct world *world_run(const struct world_options *options)
{
        struct world *world = calloc(1, sizeof(*world));

        check(world != NULL);
        world->seed = options->seed;
        world->trace.aloud = options->trace;
        rng_seed(&world->rng, options->seed);
        history_init(&world->history);
        invariants_watch(world);
        draw(world);
        memo_begin(world->wire);
        if (options->trace)
                faults_print(world);
        sim_redis_start(world);
        for (unsigned i = 0; i < world->n_nodes; i++)
                world->nodes[i] = sim_node_create(world, i);
        for (unsigned i = 0; i < world->n_devices; i++)
                world->devices[i] = sim_device_create(world, i);
        for (unsigned i = 0; i < world->n_producers; i++)
                world->producers[i] = sim_producer_create(world, i);
        faults_start(world);
        world_in(world, world_random(world, 3000, 30000), begin_quiet, NULL, 0);
        while (!world->over) {
                struct due due = pop(world);

                check(due.at_ms >= world->now_ms);
                world->now_ms = due.at_ms;
                world->step++;
                due.fn(world, due.owner, due.argument, due.load);
        }
        return world;
}

void world_destroy(struct world *world)
{
        for (unsigned i = 0; i < world->n_nodes; i++)
                sim_node_destroy(world, world->nodes[i]);
        while (world->n_dues > 0) {
                struct due due = pop(world);

                if (due.drop != NULL)
                        due.drop(due.load);
        }
        for (unsigned i = 0; i < world->n_producers; i++)
                sim_producer_destroy(world->producers[i]);
        for (unsigned i = 0; i < world->n_devices; i++)
                sim_device_destroy(world->devices[i]);
        sim_conn_free_all(world);
        sim_redis_fini(world);
        history_fini(&world->history);
        invariants_watch(NULL);
        free(world->dues);
        free(world);
}
