/* Signals for some devices, whole path: a producer names a cohort at one node, devices of two
 * cohorts hang at two. What the others are sent is read off their sockets, byte by byte. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

/* --- one device, as bytes -------------------------------------------------------------------- */

static void read_all(int fd, void *into, size_t len)
{
        if (recv(fd, into, len, MSG_WAITALL) != (ssize_t)len)
                give_up("the node said less than it should");
}

static struct message next(int fd)
{
        struct message message;
        uint8_t head[2], more[8];
        size_t len;
        char *text;

        read_all(fd, head, 2);
        len = head[1] & 0x7f;
        if (len >= 126) {
                size_t n = len == 126 ? 2 : 8;

                read_all(fd, more, n);
                len = 0;
                for (size_t i = 0; i < n; i++)
                        len = len << 8 | more[i];
        }
        text = malloc(len + 1);
        read_all(fd, text, len);
        cr_assert(eq(int, message_decode(text, len, ENCODING_JSON, &message), OK));
        free(text);
        return message;
}

static void expect_signal(int fd, seqno seq, enum signal_kind kind)
{
        struct message message = next(fd);

        cr_assert(eq(int, message.type, MESSAGE_SIGNAL));
        cr_assert(eq(u64, message.signal.token.seq, seq));
        cr_assert(eq(int, message.signal.kind, kind));
}

static struct token expect_skip(int fd, seqno seq)
{
        struct message message = next(fd);

        cr_assert(eq(int, message.type, MESSAGE_SKIP));
        cr_assert(eq(u64, message.skip.token.seq, seq));
        return message.skip.token;
}

static bool is_silent(int fd)
{
        char byte;

        return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Past hello, and the reset if it gives no token; `device` with the parameters after it. */
static int join(const struct test_node *node, const char *device)
{
        const struct timeval patience = { PATIENCE_MS / 1000, 0 };
        int fd = raw_connect(node, 0);
        struct message message;

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        raw_upgrade(fd, device, "");
        message = next(fd);
        cr_assert(eq(int, message.type, MESSAGE_HELLO));
        if (!message.hello.recovered) {
                message = next(fd);
                cr_assert(eq(int, message.type, MESSAGE_RESET));
                message_fini(&message);
        }
        return fd;
}

/* --- the reports ----------------------------------------------------------------------------- */

struct wanted {
        const struct test_node *node;
        seqno seq;
        int connected, written, acked;
};

static int count(const json_t *report, const char *name)
{
        return (int)json_integer_value(json_object_get(report, name));
}

static bool says(void *arg)
{
        const struct wanted *wanted = arg;
        struct answer answer;
        char path[64];
        bool met;

        snprintf(path, sizeof(path), "/v1/signals/%llu", (unsigned long long)wanted->seq);
        answer = ask(wanted->node, "GET", path, NULL, NULL);

        const json_t *report = json_object_get(answer.json, "report");

        met = answer.status == 200 && count(report, "connected") == wanted->connected &&
              count(report, "written") == wanted->written &&
              count(report, "acked") == wanted->acked;
        answer_end(&answer);
        return met;
}

static void expect_report(const struct test_node *node, seqno seq, int connected, int written,
                          int acked)
{
        struct wanted wanted = { node, seq, connected, written, acked };

        wait_until(says, &wanted, "the report of a signal for some");
}

static void say_ack(int fd, unsigned seq)
{
        uint8_t frame[64] = { 0x81, 0x80, 0, 0, 0, 0 }; /* masked with zeros */
        int n = snprintf((char *)frame + 6, sizeof(frame) - 6, "{\"t\":\"ack\",\"seq\":%u}", seq);

        frame[1] = (uint8_t)(0x80 | n);
        cr_assert(eq(i64, send(fd, frame, (size_t)n + 6, 0), (int64_t)n + 6));
}

/* --- the tests ------------------------------------------------------------------------------- */

Test(target, one_cohort_is_told_and_the_other_hears_nothing_until_something_is_for_it)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node nodes[2] = { { 0 } };
        char query[160] = "tv-2&cohort=b&since=";
        struct token place;
        int a, b;

        for (int i = 0; i < 2; i++)
                node_start(&nodes[i], "--redis", test_redis_url(redis), "--name", i ? "n2" : "n1",
                           NULL);
        create_event(&nodes[0], "final"); /* signal 1 */
        a = join(&nodes[0], "tv-1&cohort=a&platform=tv");
        b = join(&nodes[0], "tv-2&cohort=b&platform=tv");

        change(&nodes[0], "POST", "/v1/events/final/start", "{\"cohorts\":[\"a\"]}");
        expect_signal(a, 2, SIGNAL_START);
        change(&nodes[0], "POST", "/v1/events/final/stage",
               "{\"stage\":\"half\",\"cohorts\":[\"a\"]}");
        expect_signal(a, 3, SIGNAL_STAGE);
        change(
            &nodes[0], "POST", "/v1/events/final/stage",
            "{\"stage\":\"second\",\"attributes\":{\"platform\":[\"web\"]}}"); /* 4: for nobody */
        say_ack(a, 3);
        expect_report(&nodes[0], 2, 1, 1, 1);
        expect_report(&nodes[0], 3, 1, 1, 1);
        cr_assert(is_silent(b), "not one byte since its reset");

        change(&nodes[0], "POST", "/v1/events/final/refresh", "{\"window\":\"1s\"}");
        expect_skip(a, 4);
        expect_signal(a, 5, SIGNAL_REFRESH);
        place = expect_skip(b, 4);
        expect_signal(b, 5, SIGNAL_REFRESH);
        say_ack(b, 5); /* runs past three that were not for it */
        expect_report(&nodes[0], 5, 2, 2, 1);
        expect_report(&nodes[0], 2, 1, 1, 1);
        cr_assert(is_silent(a) && is_silent(b));
        close(b);

        /* The place of a signal that was not for it is a place like any other, at another node too.
         */
        change(&nodes[0], "POST", "/v1/events/final/stage",
               "{\"stage\":\"extra\",\"cohorts\":[\"a\"]}");
        expect_signal(a, 6, SIGNAL_STAGE);
        change(&nodes[1], "POST", "/v1/events/final/end", "{}");
        expect_signal(a, 7, SIGNAL_END);
        token_format(&place, query + strlen(query));
        b = join(&nodes[1], query);
        expect_signal(b, 5, SIGNAL_REFRESH);
        expect_skip(b, 6);
        expect_signal(b, 7, SIGNAL_END);
        cr_assert(is_silent(b));
        close(a);
        close(b);
        for (int i = 0; i < 2; i++)
                node_end(&nodes[i]);
        test_redis_destroy(redis);
}

struct audience { /* of a dry run */
        const struct test_node *node;
        const char *body;
        int devices;
};

static bool would_reach(void *arg)
{
        const struct audience *wanted = arg;
        struct answer answer =
            ask(wanted->node, "POST", "/v1/events/final/start?dry_run=1", wanted->body, NULL);
        bool met = answer.status == 200 && count(answer.json, "devices") == wanted->devices;

        answer_end(&answer);
        return met;
}

Test(target, a_dry_run_counts_those_that_a_signal_would_be_for)
{
        struct test_node node = { 0 };
        struct audience rows[] = {
                { &node, "{\"cohorts\":[\"a\"]}", 2 },
                { &node, "{\"cohorts\":[\"a\"],\"attributes\":{\"platform\":[\"tv\"]}}", 1 },
                { &node, "{\"cohorts\":[\"nobody\"]}", 0 },
                { &node, "{}", 3 },
        };
        int fds[3];

        node_start(&node, "--workers=2", NULL);
        create_event(&node, "final");
        fds[0] = join(&node, "tv-1&cohort=a&platform=tv");
        fds[1] = join(&node, "tv-2&cohort=a");
        fds[2] = join(&node, "tv-3&cohort=b&platform=tv");
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                wait_until(would_reach, &rows[i], rows[i].body);
        for (int i = 0; i < 3; i++)
                close(fds[i]);
        node_end(&node);
}
