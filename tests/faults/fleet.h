/* tests/faults/fleet.h -- a primary with replicas and three sentinels, on one machine's loopback or
 * each in a network of its own, so that wires between them can be cut. Servers and sentinels are
 * open to the case, which kills and parts them. */
#pragma once

#include <stdbool.h>

#include "tests/support/netns.h"
#include "tests/support/redis_server.h"
#include "tests/support/sentinel.h"

#define FLEET_SERVERS_MAX   3
#define FLEET_SENTINELS     3
#define FLEET_DOWN_AFTER_MS 3000

struct fleet_options {
        unsigned n_replicas; /* 0 = 1 */
        bool no_sentinels;
        /* NEEDS_NETNS: server i in space[i], the first sentinel with the first primary, the others
         * in space[n]. */
        bool in_spaces;
        const char *min_replicas; /* to write, with a max-lag of 2 s; NULL = 0 */
};

struct fleet {
        unsigned n; /* servers */
        struct netns *space[FLEET_SERVERS_MAX + 1];
        struct test_redis *server[FLEET_SERVERS_MAX]; /* the first is the primary, at first */
        struct test_redis *sentinel[FLEET_SENTINELS]; /* or NULL */
        char host[FLEET_SERVERS_MAX][32];
        char sentinels_url[200]; /* sentinel://... */
        char servers_url[200];   /* redis://h1,h2... */
};

void fleet_open(struct fleet *fleet, const struct fleet_options *options);
void fleet_end(struct fleet *fleet);

/* The first server is no primary for the last sentinel any more (the one that is never cut off with
 * it), and the one that is says so itself. Returns it. Gives up after PATIENCE_MS. */
struct test_redis *fleet_until_failed_over(struct fleet *fleet);
/* Until `redis` is a replica whose link is up. Not for one that a sentinel is about to turn into
 * one: with that it closes all its connections. */
void fleet_until_follows(struct test_redis *redis);
/* Until both have, or had at some moment, the same last entry of the log, or none. */
void fleet_until_same(struct test_redis *primary, struct test_redis *replica);
/* Until INFO replication of it has this text. */
void fleet_until_says(struct test_redis *redis, const char *text);
