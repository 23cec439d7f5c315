/* tests/sim/invariants_end.c -- the questions that are asked once, when all has been quiet for a
 * while. */
#include <inttypes.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_conn.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/sim_node.h"

/* Of the quiet's 60 s: ping, pong awaited, goaway, and what a node waits after it. */
#define GONE_BY_MS 59000
/* Of one node, in 50 s: its head once a second, and late wishes of producers. */
#define QUIET_ASKS_MAX 120

static void expect_nodes(struct world *world)
{
        struct token head = model_data(sim_redis_primary(world)->model)->meta;

        for (unsigned i = 0; i < world->n_nodes; i++) {
                const struct node *node = world->nodes[i];

                if (!token_equal(&node->core.head, &head) ||
                    follower_is_stale(&node->core, world->now_ms))
                        invariants_broken(
                            world, "line 5 at_least_once",
                            "node %u did not catch up: at %" PRIu64 " of %" PRIu64 "%s", i,
                            node->core.head.seq, head.seq,
                            follower_is_stale(&node->core, world->now_ms) ? ", stale" : "");
        }
}

static void expect_device(struct world *world, const struct device *device)
{
        struct token head = model_data(sim_redis_primary(world)->model)->meta;

        if (!invariants_lacks_nothing(world, device, &head))
                invariants_broken(world, "line 5 at_least_once",
                                  "device %u did not catch up: at %" PRIu64 " of %" PRIu64,
                                  device->index, device->place.seq, head.seq);
}

static void remember(struct rank *most, const struct rank *rank)
{
        if (rank->generation > most->generation ||
            (rank->generation == most->generation && rank->version > most->version))
                *most = *rank;
}

void invariants_at_quiet(struct world *world)
{
        for (unsigned i = 0; i < world->n_nodes; i++) {
                const struct node *node = world->nodes[i];

                if (!node->is_alive || node->is_draining)
                        continue;
                for (unsigned event = 0; event < EVENTS_AT_ALL; event++) {
                        remember(&world->remembered[event], &node->newest[event]);
                        remember(&world->remembered[event], &node->told[event]);
                }
        }
}

/* What a living node remembered when the quiet began, and what was acknowledged and not lost, is
 * there, or something later. */
static void expect_kept(struct world *world)
{
        const struct model *model = sim_redis_primary(world)->model;

        for (unsigned event = 0; event < EVENTS_AT_ALL; event++) {
                const struct rank *rank = &world->remembered[event];
                struct past past = { .signal.state.version = rank->version,
                                     .token.epoch = (uint64_t)rank->generation << 48 };

                past.signal.state.event[0] = 'e';
                past.signal.state.event[1] = (char)('0' + event);
                if (rank->version > 0 && !invariants_is_kept(model, &past))
                        invariants_broken(world, "line 7 nothing_forgotten",
                                          "version %" PRIu64
                                          " of e%u, which a node remembered, is gone",
                                          rank->version, event);
        }
        for (unsigned i = 0; i < world->history.n; i++) {
                const struct past *past = &world->history.pasts[i];

                if (past->acknowledged && (past->on & 1u << world->primary) != 0 &&
                    !invariants_is_kept(model, past))
                        invariants_broken(world, "line 1 durable",
                                          "%" PRIu64 " was acknowledged, was not lost, and is gone",
                                          past->token.seq);
        }
}

void invariants_soon_after_quiet(struct world *world)
{
        world->asks_in_quiet = world->counted_asks;
        expect_nodes(world);
        for (unsigned i = 0; i < world->n_devices; i++) {
                const struct device *device = world->devices[i];
                const struct sim_conn *conn = sim_device_conn(device);

                if (conn != NULL && conn->at_node && !conn->is_cut &&
                    device->core.phase == DEVICE_LIVE && conn->opened_ms + 3000 < world->now_ms)
                        expect_device(world, device);
        }
}

void invariants_at_the_end(struct world *world)
{
        uint64_t asks = world->counted_asks - world->asks_in_quiet;

        expect_nodes(world);
        expect_kept(world);
        if (asks > world->n_nodes * QUIET_ASKS_MAX)
                invariants_broken(world, "line 11 bounds",
                                  "%u nodes asked Redis %" PRIu64 " times while nothing happened",
                                  world->n_nodes, asks);
        for (const struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next) {
                if (conn->at_node && !conn->at_device &&
                    world->now_ms - conn->opened_ms >= GONE_BY_MS &&
                    world->now_ms - conn->left_ms >= 1000)
                        invariants_broken(world, "line 11 bounds",
                                          "a node holds a connection that device %u left long ago",
                                          conn->device->index);
        }
        for (unsigned i = 0; i < world->n_devices; i++) {
                const struct device *device = world->devices[i];

                if (device->core.phase == DEVICE_LIVE || world->lifetime_ms < 1800000)
                        expect_device(world, device);
                else
                        invariants_broken(world, "line 10 any_node_may_die",
                                          "device %u is not connected", i);
        }
}
