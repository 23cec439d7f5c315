/* tests/sim/sim_worker.h -- one worker of a node: the real rings, with a copy of what worker.c does
 * with them. Its connections are sim_conn.c's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/snapshot.h"
#include "fanout/ring.h"
#include "gateway/audience.h"
#include "gateway/drain.h"
#include "gateway/lifetime.h"
#include "tests/sim/world.h"

struct node;
struct device;
struct sim_conn;

struct worker {
        struct node *node;
        unsigned index;
        struct ring *ring, *spare;
        struct audiences *audiences;
        struct snapshot *snapshot;
        uint64_t confirmed_ms[2];
        struct lifetime lifetime;
        int64_t planned_ahead_ms; /* the node's wall clock when these windows were made */
        struct drain drain;
        uint64_t last_letter_ms;
};

struct worker *sim_worker_create(struct world *world, struct node *node, unsigned index);
void sim_worker_destroy(struct worker *worker);

/* Letters of the control thread; they arrive later, in order. */
void sim_worker_install(struct world *world, struct worker *worker, struct snapshot *snapshot,
                        struct entry *const *entries, size_t n);
void sim_worker_entries(struct world *world, struct worker *worker, struct entry *const *entries,
                        size_t n, struct snapshot *snapshot);
void sim_worker_confirmed(struct world *world, struct worker *worker);
void sim_worker_drain(struct world *world, struct worker *worker, uint32_t within_ms,
                      uint32_t over_ms);
/* The windows in which no session ends by itself, anew. */
void sim_worker_plan(struct world *world, struct worker *worker);
void sim_worker_lose_all(struct world *world, struct worker *worker, bool silently);

/* A device asks to be let in. NULL: refused with 503. `since` may be NULL. */
struct sim_conn *sim_worker_accept(struct world *world, struct worker *worker,
                                   struct device *device, const struct token *since,
                                   bool malformed);
