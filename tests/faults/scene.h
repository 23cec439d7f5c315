/* tests/faults/scene.h -- the usual stage of a fault: one Redis, some nodes, an event `final` under
 * way, devices on all nodes, one producer that changes the stage all the time; and the end that
 * every case shares: the producer stops, one last change is made, every device must reach it, the
 * log and each node's state are read, and the checker judges. Parts are open to the case, which
 * breaks what it is about. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/faults/checker.h"
#include "tests/faults/crew.h"
#include "tests/faults/faults.h"
#include "tests/faults/ledger.h"
#include "tests/faults/producer.h"
#include "tests/integration/harness.h"
#include "tests/support/netns.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

#define SCENE_NODES_MAX 4

struct scene_options {
        unsigned n_nodes;   /* 0 = 2 */
        unsigned n_devices; /* 0 = 8; spread over the nodes. no_crew = none */
        bool no_crew;
        unsigned
            pace_ms; /* the producer's; 0 = there is none, and the case makes its own changes */
        bool producer_no_retry;
        bool devices_roam;   /* devices reach the nodes through s->balancer, and so move to another
                                one */
        bool redis_in_space; /* Redis lives in s->space, reached over a wire that can be cut
                                (NEEDS_NETNS) */
        bool redis_proxied;  /* nodes reach Redis through s->to_redis */
        const char *const *redis_arguments; /* up to a NULL; NULL = none */
        void (*redis_in_child)(void *arg);  /* not with redis_in_space */
        void *redis_in_child_arg;
        const char *redis_dir;
        const char *const *node_arguments; /* up to a NULL */
        void (*node_in_child)(void *arg);
        void *node_in_child_arg;
        unsigned only_node; /* node_in_child is for node number only_node - 1 alone; 0 = for all */
        const char *redis_url; /* nodes are told this instead of the server's own: sentinel://... */
        const char *redis_urls[SCENE_NODES_MAX]; /* the same for one node; NULL = as above */
        /* The case has started it, and ends it: the primary of a fleet, say. The judgement reads the
         * log in s->redis, so the case puts there whoever is the primary then. */
        struct test_redis *redis;
        /* Node number far_node - 1 lives in this space, and is reached from home whatever happens to
         * the wire: through proxies that have an end in both. Not to be started again. */
        struct netns *far;
        unsigned far_node;
        struct checker_rules rules;
};

struct scene {
        struct scene_options options;
        struct ledger *ledger;
        struct netns *space; /* or NULL */
        struct test_redis *redis;
        struct tcp_proxy *to_redis; /* or NULL */
        struct tcp_proxy *balancer; /* or NULL */
        struct tcp_proxy *doors[2]; /* of the far node: devices', producers' */
        struct test_node nodes[SCENE_NODES_MAX];
        unsigned n_nodes;
        struct crew *crew;
        struct producer *producer;
        bool is_judged;
};

struct scene *scene_open(const struct scene_options *options);
/* The end described above, and everything is stopped. Findings are broken(). Figures: what was
 * counted. */
void scene_close(struct scene *scene);
/* Only the judgement, with everything still running (the producer is stopped); scene_close may
 * follow without judging again. */
void scene_judge(struct scene *scene);

/* Node i with the arguments and at the ports it had: after node_kill or node_stop. */
void scene_start_node(struct scene *scene, unsigned i);
uint64_t scene_now_us(void);
double scene_ms_since(uint64_t then_us);
/* Milliseconds until `met`, polled; gives up after PATIENCE_MS with `what`. */
double scene_ms_until(bool (*met)(void *arg), void *arg, const char *what);
/* Readiness as a load balancer sees it. */
bool scene_is_ready(const struct test_node *node);
bool scene_node_is_ready(void *node); /* the same two as conditions for scene_ms_until */
bool scene_node_is_not_ready(void *node);
/* How many times a text stands in the node's log so far. */
unsigned scene_log_count(const struct test_node *node, const char *text);
/* GET of a path at the devices' port; freed by answer_end. Status 0: no answer within 5 s. */
struct answer scene_get(const struct test_node *node, const char *path);
/* The longest time in which no change was acknowledged, among those after this moment. Only after
 * scene_judge. */
double scene_longest_pause_ms(const struct scene *scene, uint64_t from_us);
/* The path of a file beside the test programs: a LD_PRELOAD library, say. */
const char *scene_built(const char *name);
