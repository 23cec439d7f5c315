/* tests/producer/test_live.c -- the live stream against a real redis-server and readers of raw
 * bytes, all on one loop. What its messages look like to a person is tests/browser's business. */
#include "producer/live.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <event2/event.h>

#include "base/clock.h"
#include "base/httpd.h"
#include "base/redis.h"
#include "fanout/presence.h"
#include "tests/support/redis_server.h"

#define NS "t"

struct reader {
        int fd;
        char text[1 << 18];
        size_t len;
};

struct bench {
        struct event_base *base;
        struct test_redis *server;
        struct redis *redis;
        struct admin_options options;
        struct live *live;
        struct httpd *httpd;
};

static void handle_live(void *owner, struct httpd_request *request)
{
        live_join(((struct bench *)owner)->live, request);
}

static const struct httpd_route routes[] = { { HTTPD_GET, "/v1/live", handle_live, false } };

static const char *why_not_ready(void *owner)
{
        (void)owner;
        return "it is only a test";
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        (void)arg;
}

static void turn(struct bench *b)
{
        const struct timeval tick = { 0, 5000 };

        event_base_once(b->base, -1, EV_TIMEOUT, on_tick, NULL, &tick);
        event_base_loop(b->base, EVLOOP_ONCE);
}

static void setup(struct bench *b)
{
        struct redis_options redis = { .name = "commands", .timeout_ms = 30000 };
        const struct httpd_options httpd = { .host = "127.0.0.1" };
        struct presence node = { .name = "n1", .devices = 4711, .seen = clock_wall_ms() };
        const char *why;

        memset(b, 0, sizeof(*b));
        b->server = test_redis_start(NULL);
        b->base = event_base_new();
        cr_assert(eq(int, redis_parse_url(test_redis_url(b->server), &redis.address, &why), OK));
        cr_assert(eq(int, redis_create(b->base, &redis, &b->redis), OK));
        while (!redis_is_up(b->redis))
                turn(b);
        cr_assert(eq(int, presence_write(b->redis, NS, &node, NULL, NULL), OK));
        b->options = (struct admin_options){
                .ns = NS, .redis = b->redis, .name = "n1", .why_not_ready = why_not_ready
        };
        cr_assert(eq(int, live_create(b->base, &b->options, &b->live), OK));
        cr_assert(eq(
            int, httpd_create(b->base, &httpd, routes, countof(routes), b, &b->httpd, &why), OK));
}

static void teardown(struct bench *b)
{
        httpd_destroy(b->httpd);
        live_destroy(b->live);
        redis_destroy(b->redis); /* reads under way come back to a live that is gone */
        event_base_free(b->base);
        test_redis_destroy(b->server);
}

static struct reader *join(struct bench *b)
{
        static const char request[] = "GET /v1/live HTTP/1.1\r\nHost: t\r\n\r\n";
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(httpd_port(b->httpd)) };
        struct reader *reader = calloc(1, sizeof(*reader));

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        reader->fd = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert(eq(int, connect(reader->fd, (struct sockaddr *)&address, sizeof(address)), 0));
        cr_assert(send(reader->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0);
        return reader;
}

static void leave(struct reader *reader)
{
        close(reader->fd);
        free(reader);
}

static unsigned times(const struct reader *reader, const char *text)
{
        unsigned n = 0;

        for (const char *at = reader->text; (at = strstr(at, text)) != NULL; at++)
                n++;
        return n;
}

/* Until it has been told `text` so often. A broken test ends by its time limit. */
static void expect(struct bench *b, struct reader *reader, const char *text, unsigned often)
{
        while (times(reader, text) < often) {
                ssize_t n = recv(reader->fd, reader->text + reader->len,
                                 sizeof(reader->text) - 1 - reader->len, MSG_DONTWAIT);

                if (n > 0)
                        reader->len += (size_t)n;
                cr_assert(n != 0, "closed after: %s", reader->text);
                turn(b);
        }
}

static long calls_of(struct bench *b, const char *command)
{
        char *info = test_redis_ask(b->server, "INFO", "commandstats", NULL), name[64];
        const char *at;
        long calls = 0;

        snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
        at = strstr(info, name);
        if (at != NULL)
                calls = strtol(at + strlen(name), NULL, 10);
        free(info);
        return calls;
}

Test(live, reads_redis_once_for_all_streams_and_not_at_all_for_none, .timeout = 120)
{
        struct reader *readers[10];
        struct bench b;
        long before, after;

        setup(&b);
        for (unsigned i = 0; i < 40; i++)
                turn(&b);
        cr_assert(eq(long, calls_of(&b, "hgetall"), 0)); /* nobody looks */
        for (size_t i = 0; i < countof(readers); i++)
                readers[i] = join(&b);
        for (size_t i = 0; i < countof(readers); i++)
                expect(&b, readers[i], "\"devices\":4711", 1);
        before = calls_of(&b, "hgetall");
        expect(&b, readers[0], "event: status", times(readers[0], "event: status") + 3);
        after = calls_of(&b, "hgetall");
        /* Nodes are read with each status: about 3 for all, where 10 readers alone had made 30. */
        cr_assert(gt(long, after, before));
        cr_assert(le(long, after - before, 5));
        for (size_t i = 0; i < countof(readers); i++)
                leave(readers[i]);
        teardown(&b);
}

Test(live, begins_with_what_is_known_already, .timeout = 60)
{
        struct reader *first, *second;
        struct bench b;

        setup(&b);
        first = join(&b);
        expect(&b, first, "\"devices\":4711", 1);
        second = join(&b);
        expect(&b, second, "event: nodes", 1);
        expect(&b, second, "event: status", 1);
        cr_assert(strstr(second->text, "Content-Type: text/event-stream") != NULL);
        cr_assert(strstr(second->text, "\"why_not_ready\":\"it is only a test\"") != NULL);
        leave(first);
        leave(second);
        teardown(&b);
}

Test(live, refuses_one_stream_more_than_it_can_hold, .timeout = 120)
{
        struct reader *readers[LIVE_STREAMS_MAX], *more;
        struct bench b;

        setup(&b);
        for (size_t i = 0; i < countof(readers); i++) {
                readers[i] = join(&b);
                expect(&b, readers[i], "HTTP/1.1 200", 1);
        }
        more = join(&b);
        expect(&b, more, "HTTP/1.1 503", 1);
        expect(&b, more, "too-many-streams", 1);
        cr_assert(strstr(more->text, "Retry-After: ") != NULL);
        leave(more);
        leave(readers[0]); /* room again, once that was noticed */
        do {
                more = join(&b);
                expect(&b, more, "HTTP/1.1 ", 1);
                if (strstr(more->text, "HTTP/1.1 200") != NULL)
                        break;
                leave(more);
        } while (true);
        leave(more);
        for (size_t i = 1; i < countof(readers); i++)
                leave(readers[i]);
        teardown(&b);
}

Test(live, says_that_redis_is_away_and_of_when_the_rest_is, .timeout = 120)
{
        struct reader *reader;
        const char *told, *after;
        struct bench b;

        setup(&b);
        reader = join(&b);
        expect(&b, reader, "\"devices\":4711", 1);
        expect(&b, reader, "\"redis\":true", 1);
        test_redis_kill(b.server);
        expect(&b, reader, "\"redis\":false", 2);
        told = strstr(reader->text, "\"redis\":false");
        after = strstr(told + 1, "\"redis\":false");
        /* The same moment in both: nothing was read since. */
        told = strstr(told, "\"as_of\"");
        after = strstr(after, "\"as_of\"");
        cr_assert(told != NULL && after != NULL);
        cr_assert(eq(int, strncmp(told, after, strcspn(told, "}")), 0));
        leave(reader);
        teardown(&b);
}

Test(live, destroyed_in_the_middle_of_a_read_is_safe, .timeout = 60)
{
        struct reader *reader;
        struct bench b;

        setup(&b);
        test_redis_pause(b.server);
        reader = join(&b);
        expect(&b, reader, "event: status", 2);
        teardown(&b);
        leave(reader);
}
