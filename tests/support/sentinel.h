/* tests/support/sentinel.h -- Redis Sentinel: real ones, on top of tests/support/redis_server.h, so
 * that all its functions work with them (pause, kill, restart, test_redis_ask); and one that lies,
 * for tests of what a node makes of an answer that is stale. */
#pragma once

#include <stdint.h>

#include "tests/support/redis_server.h"

struct test_sentinel_options {
        const char *host;            /* where it listens; NULL = 127.0.0.1 */
        void (*in_child)(void *arg); /* as in test_redis_options */
        void *arg;
        const char *name; /* of the primary: what follows the slash in sentinel://H:P/NAME */
        const char *primary_host;
        uint16_t primary_port;
        unsigned quorum, down_after_ms, failover_timeout_ms; /* 0 = 2, 1000, 10000 */
};
/* Knows of the primary when this returns. It finds replicas and other sentinels by itself, within
 * about two seconds: test_sentinel_until waits for that. Destroyed by test_redis_destroy. */
struct test_redis *test_sentinel_start(const struct test_sentinel_options *options);
/* Until it counts so many other sentinels and replicas; gives up after 30 s. */
void test_sentinel_until(struct test_redis *sentinel, const char *name, unsigned others,
                         unsigned replicas);
/* "10.77.1.2:6401", as it answers now; to be freed. */
char *test_sentinel_primary(struct test_redis *sentinel, const char *name);

/* -- replicas -- */
/* From now on `redis` follows the primary at that address; waits until the link is up and the data
 * is there. NULL host: it becomes a primary. */
void test_redis_follow(struct test_redis *redis, const char *host, uint16_t port);

/* -- a sentinel that says what the test wants -- */
struct fake_sentinel;
/* Listens at 127.0.0.1; a process of its own. Answers get-master-addr-by-name and SENTINEL MASTER of any
 * name with the address given last, and everything else with OK or an empty list. */
struct fake_sentinel *fake_sentinel_start(const char *host, uint16_t port);
void fake_sentinel_says(struct fake_sentinel *fake, const char *host,
                        uint16_t port); /* NULL: knows none */
/* The same, with the config-epoch that SENTINEL MASTER tells; 0 at first. */
void fake_sentinel_says_of(struct fake_sentinel *fake, const char *host, uint16_t port,
                           unsigned epoch);
uint16_t fake_sentinel_port(const struct fake_sentinel *fake);
unsigned fake_sentinel_asked(const struct fake_sentinel *fake); /* how often, so far */
void fake_sentinel_destroy(struct fake_sentinel *fake);         /* NULL is fine */
