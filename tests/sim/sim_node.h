/* tests/sim/sim_node.h -- one node's control thread: the real follower core, with a copy of its
 * shell (follower.c; state_reader.c is sim_reader.c) on the simulated links; and the releaser. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/book.h"
#include "fanout/follower_core.h"
#include "fanout/snapshot.h"
#include "tests/sim/world.h"

struct worker;
struct reading;
struct waiter;

#define WORKERS_MAX 2

struct node {
        unsigned index;
        bool is_alive, is_draining;
        uint64_t life; /* rises with each start */
        uint64_t start_ms;
        int64_t wall_ahead_ms;
        struct links links;
        struct follower_core core;
        bool may_be_held;          /* as in follower.c */
        unsigned held_request;     /* the newest question for it: here an answer may be overtaken */
        struct snapshot *snapshot; /* at core.head */
        struct book *book;         /* the records of the same moment */
        struct reading *reading;   /* NULL: no state is being read */
        struct token held;         /* the releaser's: the tail that was held a second ago */
        bool is_releasing;
        struct waiter *waiters; /* sim_hold.c's */
        struct call *looking;
        bool has_hold_timer;
        struct worker *workers[WORKERS_MAX];
        unsigned n_workers;
        /* The judge's notes. */
        uint64_t answered_ms; /* when an answer of the log was last heard */
        uint64_t troubled_ms; /* when something last went wrong on its way to the log */
        uint64_t lost_ms;     /* since when it holds what the log has lost; 0 = it does not */
        struct token highest; /* where it was last */
        struct rank newest[EVENTS_AT_ALL]; /* that it told devices */
        struct rank told[EVENTS_AT_ALL];   /* that it told producers */
};

struct node *sim_node_create(struct world *world, unsigned index);
void sim_node_destroy(struct world *world, struct node *node);
int64_t sim_node_wall_ms(const struct world *world, const struct node *node);

/* From the links: one went up or down. */
void sim_node_on_links(struct world *world, struct node *node);
/* A message; NULL = one that cannot be read. */
void sim_node_on_message(struct world *world, struct node *node, struct entry *entry);

/* A producer is being told that this is committed: as follower_vouch(). */
void sim_node_vouch(struct world *world, struct node *node, const struct token *token,
                    const struct event *event, bool is_replay);

void sim_node_crash(struct world *world, struct node *node, uint64_t back_in_ms);
void sim_node_drain(struct world *world, struct node *node, uint32_t within_ms, uint32_t over_ms);
void sim_node_heal(struct world *world, struct node *node);

/* Between sim_node.c and sim_reader.c: as state_reader.h. */
struct sim_read {
        struct snapshot *snapshot; /* NULL: it failed */
        struct entry **entries;
        size_t n;
        struct book *book; /* the node's from now on, if it takes it */
};
void sim_reader_start(struct world *world, struct node *node, unsigned request);
void sim_reader_stop(struct node *node);
void sim_node_on_state(struct world *world, struct node *node, unsigned request,
                       struct sim_read *read);
