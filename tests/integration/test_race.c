/* Two producers that want to change the same version of one event at the same moment: one does, and
 * the other is told so (contract line 13). Over the real admin API of two nodes on one Redis. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

#define ROUNDS 1000

struct producer {
        const struct test_node *node;
        unsigned index;
        int fd; /* kept open: the race is about changes, not connections */
        unsigned won, lost, odd;
        int status[ROUNDS];
};

static pthread_barrier_t line_up;

static int connect_to(const struct test_node *node)
{
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(node->admin_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct timeval patience = { PATIENCE_MS / 1000, 0 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
                give_up("cannot connect to the admin API");
        return fd;
}

/* One answer with its Content-Length; its status. */
static int receive(int fd)
{
        char text[16384];
        size_t len = 0;

        for (;;) {
                ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
                const char *end, *length;

                if (n <= 0)
                        give_up("no answer to a change");
                len += (size_t)n;
                text[len] = '\0';
                end = strstr(text, "\r\n\r\n");
                length = strcasestr(text, "\r\nContent-Length: ");
                if (end && length &&
                    len >= (size_t)(end + 4 - text) + strtoul(length + 18, NULL, 10))
                        return atoi(text + strlen("HTTP/1.1 "));
        }
}

/* Refresh the event, if it is still at this version. */
static int refresh_if(struct producer *p, unsigned version)
{
        char request[512];
        int n = snprintf(request, sizeof(request),
                         "POST /v1/events/final/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                         "Idempotency-Key: p%u-%u\r\nIf-Match: \"%u\"\r\nContent-Length: 0\r\n\r\n",
                         p->index, version, version);

        if (send(p->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
                give_up("cannot send a change");
        return receive(p->fd);
}

static void *race(void *arg)
{
        struct producer *p = arg;

        for (unsigned round = 0; round < ROUNDS; round++) {
                pthread_barrier_wait(&line_up); /* each round raises the version by one */
                p->status[round] = refresh_if(p, round + 1);
                p->won += p->status[round] == 200;
                p->lost += p->status[round] == 409;
                p->odd += p->status[round] != 200 && p->status[round] != 409;
        }
        return NULL;
}

Test(race, two_producers_racing_a_thousand_times_have_one_winner_each_time)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node nodes[2] = { { 0 } };
        static struct producer producers[2];
        pthread_t threads[2];
        struct answer answer;

        pthread_barrier_init(&line_up, NULL, 2);
        for (unsigned i = 0; i < 2; i++)
                node_start(&nodes[i], "--redis", test_redis_url(redis), NULL);
        create_event(&nodes[0], "final"); /* version 1 */
        for (unsigned i = 0; i < 2; i++) {
                producers[i] =
                    (struct producer){ &nodes[i], i, connect_to(&nodes[i]), 0, 0, 0, { 0 } };
                pthread_create(&threads[i], NULL, race, &producers[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
                pthread_join(threads[i], NULL);
                close(producers[i].fd);
        }
        for (unsigned round = 0; round < ROUNDS; round++)
                cr_assert(
                    eq(int,
                       (producers[0].status[round] == 200) + (producers[1].status[round] == 200),
                       1),
                    "round %u: %d and %d", round, producers[0].status[round],
                    producers[1].status[round]);
        cr_assert(eq(uint, producers[0].odd + producers[1].odd, 0));
        cr_assert(eq(uint, producers[0].won + producers[1].won, ROUNDS));
        cr_assert(eq(uint, producers[0].lost + producers[1].lost, ROUNDS));
        answer = ask(&nodes[1], "GET", "/v1/events/final", NULL, NULL);
        cr_assert(
            eq(int, (int)json_integer_value(json_object_get(answer.json, "version")), ROUNDS + 1));
        answer_end(&answer);
        for (unsigned i = 0; i < 2; i++)
                node_end(&nodes[i]);
        test_redis_destroy(redis);
        pthread_barrier_destroy(&line_up);
}
