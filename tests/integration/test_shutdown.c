/* What a node owes to those who wait when it is told to leave, and that nothing of it touches what
 * is gone already: the latter is for the sanitizers to say. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

#define COHORTS 24

/* Sends a whole request; the answer is read later, or never. */
static int begin(const struct test_node *node, uint16_t port, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int begin(const struct test_node *node, uint16_t port, const char *fmt, ...)
{
        struct test_node there = *node;
        char text[512];
        va_list args;
        int len, fd;

        va_start(args, fmt);
        len = vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        there.port = port;
        fd = raw_connect(&there, 0);
        if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
                give_up("the node does not take a request");
        return fd;
}

static int begin_post(const struct test_node *node, const char *path, const char *key)
{
        return begin(node, node->admin_port,
                     "POST %s HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %s\r\n"
                     "Content-Length: 0\r\n\r\n",
                     path, key);
}

/* The node has read what was sent before: it takes connections in order. */
static void barrier(const struct test_node *node)
{
        struct answer answer = ask(node, "GET", "/healthz", NULL, NULL);

        cr_assert(eq(int, answer.status, 200));
        answer_end(&answer);
}

static void read_answer(int fd, char *text, size_t size)
{
        const struct timeval limit = { PATIENCE_MS / 1000, 0 };
        size_t len = 0;
        ssize_t n;

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        while (len + 1 < size && (n = recv(fd, text + len, size - len - 1, 0)) > 0)
                len += (size_t)n;
        text[len] = '\0';
        close(fd);
}

Test(shutdown, a_change_under_way_is_answered_with_its_key_before_the_node_ends)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        char text[4096];
        int fd;

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        test_redis_do(redis, "CLIENT", "PAUSE", "600000", "WRITE", NULL);
        fd = begin_post(&node, "/v1/events/final/start", "the-key");
        barrier(&node);
        cr_assert(eq(int, node_stop(&node, SIGTERM), 0));
        read_answer(fd, text, sizeof(text));
        cr_assert(strncmp(text, "HTTP/1.1 504", 12) == 0, "%s", text);
        cr_assert(strstr(text, "\"request_key\":\"the-key\"") != NULL, "%s", text);
        node_end(&node);
        test_redis_destroy(redis);
}

static void put_bundles(const struct test_node *node)
{
        char path[96], body[32];

        for (int i = 0; i < COHORTS; i++) {
                snprintf(path, sizeof(path), "/v1/events/final/bundles/c%d", i);
                snprintf(body, sizeof(body), "{\"i\":%d}", i);
                (void)change(node, "PUT", path, body);
        }
        (void)change(node, "POST", "/v1/events/final/bundles", "{}");
}

/* Changes, drafts, questions and prefetches that nobody holds yet, all waiting for a Redis that is
 * stopped; the node is told to leave in the midst of it. */
static void leave_under_load(unsigned round, struct rng *rng)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        int fds[4 * COHORTS];
        size_t n = 0;

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        put_bundles(&node);
        test_redis_pause(redis);
        for (int i = 0; i < COHORTS; i++) {
                char key[32];

                snprintf(key, sizeof(key), "k%d", i);
                fds[n++] = begin_post(&node, "/v1/events/final/start", key);
                fds[n++] = begin(&node, node.admin_port,
                                 "PUT /v1/events/final/bundles/c%d HTTP/1.1\r\nHost: localhost\r\n"
                                 "Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
                                 i);
                fds[n++] =
                    begin(&node, node.admin_port, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                          i % 3 == 0   ? "/v1/nodes"
                          : i % 3 == 1 ? "/v1/signals"
                                       : "/v1/events/final/bundles");
                fds[n++] =
                    begin(&node, node.port,
                          "GET /v1/prefetch/final?cohort=c%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
        }
        barrier(&node);
        usleep((useconds_t)rng_below(rng, 30000)); /* some moment: none of them may do harm */
        if (round % 3 == 1)
                test_redis_resume(redis); /* answers come while all is taken apart */
        kill(node.pid, SIGTERM);
        if (round % 3 == 2)
                test_redis_kill(redis);
        if (round % 2 == 0) /* the second signal ends it at once */
                usleep((useconds_t)rng_below(rng, 30000));
        cr_assert(eq(int, node_stop(&node, round % 2 == 0 ? SIGTERM : 0), 0), "round %u", round);
        while (n > 0)
                close(fds[--n]);
        node_end(&node);
        test_redis_destroy(redis);
}

Test(shutdown, whoever_waits_for_a_silent_redis_does_not_hold_the_node_nor_harm_it)
{
        struct rng rng;

        rng_seed(&rng, 1);
        for (unsigned round = 0; round < 6; round++)
                leave_under_load(round, &rng);
}
