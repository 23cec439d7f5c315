/* tests/support/redis_server.h -- a private, real redis-server for one test: on a unix socket in a
 * directory of its own, append-only file with fsync always, no port. It dies with the test.
 * KICKOFF_REDIS_SERVER in the environment names another program (tests/matrix).
 * Whatever goes wrong here stops the test with a sentence on stderr. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct test_redis;

/* More arguments for redis-server may follow, up to a NULL: test_redis_start("--requirepass", "x",
 * NULL). Waits until it answers. Also makes the process ignore SIGPIPE. */
struct test_redis *test_redis_start(const char *argument, ...);

/* For tests that need more than that: all 0 is test_redis_start. */
struct test_redis_options {
        /* A numeric address to listen at as well, on a free port that stays the same over restarts.
         * The unix socket is there all the same, and test_redis_ask uses it: it reaches a server in
         * another network namespace, and one that the network is cut off from. */
        const char *host;
        /* Runs in the new process, before it becomes redis-server: enter a network namespace, set
         * LD_PRELOAD, a limit. At each restart, too. */
        void (*in_child)(void *arg);
        void *arg;
        const char
            *dir; /* an empty directory that is there already (a mount, say); NULL = a fresh one */
        /* A configuration file to run with as it stands, instead of what the first line of this
         * page promises; only the unix socket, the directory and the arguments are added. */
        const char *conf;
        const char *sentinel; /* text of a sentinel's configuration; see tests/support/sentinel.h */
};
struct test_redis *test_redis_start_as(const struct test_redis_options *options,
                                       const char *argument, ...);
void test_redis_destroy(
    struct test_redis *redis); /* stops it and removes its directory; NULL is fine */

const char *test_redis_socket(const struct test_redis *redis); /* path */
/* unix:///..., or redis://HOST:PORT if it has a host. */
const char *test_redis_url(const struct test_redis *redis);
uint16_t test_redis_port(const struct test_redis *redis); /* 0 without a host */
const char *test_redis_dir(const struct test_redis *redis);
pid_t test_redis_pid(const struct test_redis *redis); /* 0 after a kill */

void test_redis_kill(struct test_redis *redis); /* kill -9, and waits until it is gone */
void test_redis_restart(
    struct test_redis *redis); /* kills if needed; same directory and arguments */
/* The same, but false if it ends by itself instead of answering: it refuses its data, say. */
bool test_redis_try_restart(struct test_redis *redis);
/* It has ended by itself (or was killed): then its pid is 0. */
bool test_redis_has_ended(struct test_redis *redis);
void test_redis_forget(struct test_redis *redis); /* while killed: removes all its data */
void test_redis_pause(struct test_redis *redis);  /* SIGSTOP, and waits until it is stopped */
void test_redis_resume(struct test_redis *redis); /* SIGCONT */

/* One command over a connection of its own, waited for (10 s), outside of what is being tested:
 * test_redis_ask(redis, "GET", "key", NULL). The answer as text, to be freed: strings, statuses and
 * errors
 * ("-..." ) as they are, integers in decimal, nil as "(nil)", arrays as their members joined by
 * '\n'. */
char *test_redis_ask(struct test_redis *redis, const char *argument, ...)
    __attribute__((sentinel, warn_unused_result));
/* The same when the answer does not matter; an error stops the test. */
void test_redis_do(struct test_redis *redis, const char *argument, ...) __attribute__((sentinel));
