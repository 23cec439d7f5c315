/* tests/sim/sim_node.h -- one node's control thread: the real follower core, with a copy of its
 * shell (follower.c, state_reader.c) on the simulated links; and the writer's steps for producers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/follower_core.h"
#include "fanout/snapshot.h"
#include "tests/sim/world.h"

struct worker;

#define WORKERS_MAX 2

struct node {
        unsigned index;
        bool is_alive, is_draining;
        uint64_t life; /* rises with each start */
        uint64_t start_ms;
        int64_t wall_ahead_ms;
        struct links links;
        struct follower_core core;
        struct snapshot *snapshot; /* at core.head */
        struct worker *workers[WORKERS_MAX];
        unsigned n_workers;
        /* The judge's notes. */
        uint64_t answered_ms; /* when an answer of the log was last heard */
        struct notes notes;
};

struct node *sim_node_create(struct world *world, unsigned index);
void sim_node_destroy(struct world *world, struct node *node);
int64_t sim_node_wall_ms(const struct world *world, const struct node *node);

/* From the links: both are up, or one went down. */
void sim_node_on_links(struct world *world, struct node *node);
/* A message; NULL = one that cannot be read. */
void sim_node_on_message(struct world *world, struct node *node, struct entry *entry);

void sim_node_crash(struct world *world, struct node *node, uint64_t back_in_ms);
void sim_node_drain(struct world *world, struct node *node, uint32_t within_ms);
void sim_node_heal(struct world *world, struct node *node);
