/* tests/sim/world.h -- one run: a seed, a clock that jumps from happening to happening, one source
 * of randomness, and everybody who takes part. Same seed, same run, on any machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "tests/sim/faults.h"
#include "tests/sim/history.h"
#include "tests/sim/sim_redis.h"
#include "tests/sim/trace.h"

#define NODES_MAX     3
#define DEVICES_MAX   8
#define PRODUCERS_MAX 3
#define EVENTS_AT_ALL 6 /* ids that producers use */

#define WALL_START_MS INT64_C(1790000000000)

/* The judge's notes on one device: where it was last, in each of the last epochs. */
#define EPOCHS_NOTED 8
struct notes {
        struct note {
                struct token last;
                uint64_t newest[EVENTS_AT_ALL]; /* version of each event */
        } of[EPOCHS_NOTED];
        unsigned next;
};

struct node;
struct device;
struct producer;
struct sim_conn;

typedef void world_fn(struct world *world, void *owner, uint64_t argument, void *load);
typedef void world_drop_fn(void *load); /* the run ended before its time came */

struct due {
        uint64_t at_ms, order;
        world_fn *fn;
        void *owner;
        uint64_t argument;
        void *load;
        world_drop_fn *drop;
};

struct world {
        uint64_t seed;
        struct rng rng;
        uint64_t now_ms, step;
        struct due *dues; /* a heap by (at_ms, order) */
        size_t n_dues, dues_size;
        uint64_t next_order;
        struct trace trace;

        struct faults faults;
        bool quiet;        /* nothing goes wrong any more */
        uint64_t quiet_ms; /* since then */
        bool over;
        bool wire; /* records and entries go through their texts, devices decode the real frames */
        size_t ring_capacity, range_count;
        unsigned ping_ms, lifetime_ms, guard_ms;

        struct history history;
        struct durability durability;
        struct server servers[SERVERS_MAX];
        unsigned n_servers, primary; /* whom the sentinels say it is */
        bool breaks_links; /* a call without an answer in time breaks its link, as in base/redis.c;
                              else it is only given up */
        struct node *nodes[NODES_MAX];
        struct device *devices[DEVICES_MAX];
        struct producer *producers[PRODUCERS_MAX];
        unsigned n_nodes, n_devices, n_producers;
        struct sim_conn *conns; /* every one there ever was */
        unsigned n_conns, n_keys;
        uint64_t counted_asks;  /* of the log, by all nodes */
        uint64_t asks_in_quiet; /* the same, soon after the quiet began */
        uint64_t counted_signals, counted_resets, counted_commits; /* that this run was worth it */
        uint64_t counted_renewals, counted_failovers, counted_skips;
        /* What living nodes remembered when the quiet began: (generation, version) of each event.
         */
        struct rank {
                unsigned generation;
                uint64_t version;
        } remembered[EVENTS_AT_ALL];
};

struct world_options {
        uint64_t seed;
        bool trace;
};

/* Runs it to its end. On a broken promise the process ends with status 1, see invariants.h. */
struct world *world_run(const struct world_options *options);
void world_destroy(struct world *world);

/* In `in_ms`, call fn. Happenings of the same moment come in the order they were asked for. */
void world_in(struct world *world, uint64_t in_ms, world_fn *fn, void *owner, uint64_t argument);
/* The same with a load that is fn's to free, or drop's if the run ends first. */
void world_send(struct world *world, uint64_t in_ms, world_fn *fn, void *owner, uint64_t argument,
                void *load, world_drop_fn *drop);

uint64_t world_random(struct world *world, uint64_t from, uint64_t to); /* both possible */
bool world_chance(struct world *world, unsigned per_thousand);
uint64_t world_u64(struct world *world); /* never 0: for tags and epochs */

#define world_tell(world, who, index, what, ...) \
        trace_add(&(world)->trace,               \
                  &(struct happening){           \
                      (world)->now_ms, (world)->step, who, index, what, { __VA_ARGS__ } })
