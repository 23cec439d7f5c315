/* Replies without an end, against a client that reads, hangs up, or never reads. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/httpd.h"

struct bench {
        struct event_base *base;
        struct httpd *httpd;
        struct httpd_request *stream; /* NULL: none, or closed */
        bool refused;                 /* httpd_stream_begin said no */
        unsigned closed;
        int fd; /* the client's */
        char answer[65536];
        size_t len;
};

static void on_closed(void *owner)
{
        struct bench *b = owner;

        b->closed++;
        b->stream = NULL;
}

static void handle_live(void *owner, struct httpd_request *request)
{
        struct bench *b = owner;

        httpd_add_header(request, "X-Kind", "live");
        if (httpd_stream_begin(request, "text/event-stream", on_closed, b))
                b->stream = request;
        else
                b->refused = true;
}

static void handle_ok(void *owner, struct httpd_request *request)
{
        (void)owner;
        httpd_reply(request, 200, "text/plain", "ok\n", 3);
}

static const struct httpd_route routes[] = {
        { HTTPD_GET, "/live", handle_live, false },
        { HTTPD_GET, "/ok", handle_ok, false },
};

static void setup(struct bench *b)
{
        const struct httpd_options options = { .host = "127.0.0.1" };
        const char *why;

        *b = (struct bench){ .base = event_base_new(), .fd = -1 };
        cr_assert(eq(
            int, httpd_create(b->base, &options, routes, countof(routes), b, &b->httpd, &why), OK));
}

static void teardown(struct bench *b)
{
        if (b->fd >= 0)
                close(b->fd);
        httpd_destroy(b->httpd);
        event_base_free(b->base);
}

static void say(struct bench *b, const char *bytes)
{
        if (b->fd < 0) {
                struct sockaddr_in address = { .sin_family = AF_INET,
                                               .sin_port = htons(httpd_port(b->httpd)) };

                address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                b->fd = socket(AF_INET, SOCK_STREAM, 0);
                cr_assert(eq(int, connect(b->fd, (struct sockaddr *)&address, sizeof(address)), 0));
        }
        cr_assert(eq(sz, (size_t)send(b->fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes)));
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        (void)arg;
}

static void turn(struct bench *b)
{
        const struct timeval tick = { 0, 1000 };

        event_base_once(b->base, -1, EV_TIMEOUT, on_tick, NULL, &tick);
        event_base_loop(b->base, EVLOOP_ONCE);
}

/* Until the client has been told `text`. A broken test ends by its time limit. */
static void expect_to_read(struct bench *b, const char *text)
{
        while (strstr(b->answer, text) == NULL) {
                ssize_t n =
                    recv(b->fd, b->answer + b->len, sizeof(b->answer) - 1 - b->len, MSG_DONTWAIT);

                if (n > 0)
                        b->len += (size_t)n;
                b->answer[b->len] = '\0';
                turn(b);
        }
}

static void open_stream(struct bench *b, const char *version)
{
        char head[64];

        snprintf(head, sizeof(head), "GET /live HTTP/%s\r\nHost: t\r\n\r\n", version);
        say(b, head);
        while (b->stream == NULL)
                turn(b);
}

Test(httpd_stream, sends_each_piece_as_it_comes_and_tells_when_the_reader_goes, .timeout = 30)
{
        struct bench b;

        setup(&b);
        open_stream(&b, "1.1");
        httpd_stream_send(b.stream, "data: one\n\n", 11);
        expect_to_read(&b, "b\r\ndata: one\n\n\r\n");
        cr_assert(strncmp(b.answer, "HTTP/1.1 200 ", 13) == 0, "%s", b.answer);
        cr_assert(strstr(b.answer, "Content-Type: text/event-stream\r\n") != NULL, "%s", b.answer);
        cr_assert(strstr(b.answer, "Cache-Control: no-store\r\n") != NULL, "%s", b.answer);
        cr_assert(strstr(b.answer, "X-Kind: live\r\n") != NULL, "%s", b.answer);
        httpd_stream_send(b.stream, "", 0); /* not the last chunk */
        httpd_stream_send(b.stream, "data: two\n\n", 11);
        expect_to_read(&b, "b\r\ndata: two\n\n\r\n");
        cr_assert(eq(uint, b.closed, 0));
        close(b.fd);
        b.fd = -1;
        while (b.closed == 0)
                turn(&b);
        teardown(&b);
        cr_assert(eq(uint, b.closed, 1));
}

Test(httpd_stream, ended_leaves_the_connection_to_the_next_request, .timeout = 30)
{
        struct bench b;

        setup(&b);
        open_stream(&b, "1.1");
        httpd_stream_send(b.stream, "bye", 3);
        httpd_stream_end(b.stream);
        expect_to_read(&b, "3\r\nbye\r\n0\r\n\r\n");
        say(&b, "GET /ok HTTP/1.1\r\nHost: t\r\n\r\n");
        expect_to_read(&b, "\r\n\r\nok\n");
        teardown(&b);
        cr_assert(eq(uint, b.closed, 0)); /* whoever ends it knows */
}

Test(httpd_stream, drops_a_reader_who_does_not_read_with_bounded_memory, .timeout = 60)
{
        static char piece[32 * 1024];
        struct bench b;
        unsigned sent = 0;

        setup(&b);
        open_stream(&b, "1.1");
        /* The kernel holds some megabytes, and no more. */
        for (; b.closed == 0; sent++) {
                httpd_stream_send(b.stream, piece, sizeof(piece));
                turn(&b);
                cr_assert(lt(uint, sent, 4096), "128 MiB for somebody who does not read");
        }
        cr_assert(gt(uint, sent, HTTPD_STREAM_UNSENT_MAX / sizeof(piece)));
        teardown(&b);
        cr_assert(eq(uint, b.closed, 1));
}

Test(httpd_stream, lets_nobody_die_in_the_middle_of_a_send, .timeout = 30)
{
        static char piece[HTTPD_STREAM_UNSENT_MAX + 1];
        struct bench b;

        setup(&b);
        open_stream(&b, "1.1");
        for (unsigned i = 0; i < 100; i++) /* dropped at the second, without a turn of the loop */
                httpd_stream_send(b.stream, piece, sizeof(piece));
        cr_assert(eq(uint, b.closed, 0));
        cr_assert(b.stream != NULL);
        while (b.closed == 0)
                turn(&b);
        teardown(&b);
}

Test(httpd_stream, serves_http_1_0_and_head, .timeout = 30)
{
        struct bench b;

        setup(&b);
        open_stream(&b, "1.0");
        httpd_stream_send(b.stream, "plain", 5);
        expect_to_read(&b, "\r\n\r\nplain");
        httpd_stream_end(b.stream);
        while (recv(b.fd, b.answer, sizeof(b.answer), MSG_DONTWAIT) != 0) /* the end is the end */
                turn(&b);
        close(b.fd);
        b.fd = -1;
        b.len = 0;
        b.answer[0] = '\0';
        say(&b, "HEAD /live HTTP/1.1\r\nHost: t\r\n\r\n");
        expect_to_read(&b, "\r\n\r\n");
        cr_assert(b.refused);
        teardown(&b);
        cr_assert(eq(uint, b.closed, 0));
}

Test(httpd_stream, destroyed_server_tells_the_owner_and_ends_the_reply, .timeout = 30)
{
        static const char *const versions[] = { "1.1", "1.0" };

        for (size_t i = 0; i < countof(versions); i++) {
                struct bench b;
                ssize_t n;

                setup(&b);
                open_stream(&b, versions[i]);
                httpd_stream_send(b.stream, "last", 4);
                httpd_destroy(b.httpd);
                cr_assert(eq(uint, b.closed, 1));
                event_base_free(b.base);
                while ((n = recv(b.fd, b.answer + b.len, sizeof(b.answer) - 1 - b.len, 0)) > 0)
                        b.len += (size_t)n;
                cr_expect(strstr(b.answer, "last") != NULL, "%s: %s", versions[i], b.answer);
                close(b.fd);
        }
}
