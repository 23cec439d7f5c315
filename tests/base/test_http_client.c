/* The waiting HTTP client against our server, and against servers that misbehave, each on a thread.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/http_client.h"
#include "base/httpd.h"

static void handle_echo(void *owner, struct httpd_request *request)
{
        const char *query = httpd_query(request, "q"), *header = httpd_header(request, "X-Test");
        size_t len;

        (void)owner;
        (void)httpd_body(request, &len);
        httpd_add_header(request, "ETag", "\"e1\"");
        httpd_add_header(request, "Retry-After", "3");
        httpd_reply_json(request, 201,
                         json_pack("{s:i,s:s,s:s}", "len", (int)len, "q",
                                   query != NULL ? query : "", "header",
                                   header != NULL ? header : ""));
}

static void handle_silence(void *owner, struct httpd_request *request)
{
        (void)owner;
        (void)request;
}

static void handle_empty(void *owner, struct httpd_request *request)
{
        (void)owner;
        httpd_reply(request, 204, NULL, NULL, 0);
}

static const struct httpd_route routes[] = {
        { HTTPD_GET, "/echo", handle_echo, false },
        { HTTPD_POST, "/echo", handle_echo, false },
        { HTTPD_PUT, "/echo", handle_echo, false },
        { HTTPD_DELETE, "/echo", handle_empty, false },
        { HTTPD_POST, "/silence", handle_silence, false },
        { HTTPD_GET, "/", handle_echo, false },
};

struct server {
        struct event_base *base;
        struct httpd *httpd;
        pthread_t thread;
        atomic_bool ready, stop;
        int port;
};

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        struct server *server = arg;

        (void)fd;
        (void)what;
        atomic_store(&server->ready, true);
        if (atomic_load(&server->stop))
                event_base_loopbreak(server->base);
}

static void *run_server(void *arg)
{
        const struct timeval tick = { 0, 2000 };
        const struct httpd_options options = { .host = "127.0.0.1" };
        struct server *server = arg;
        struct event *event;
        const char *why;

        server->base = event_base_new();
        if (httpd_create(server->base, &options, routes, countof(routes), server, &server->httpd,
                         &why) != OK)
                abort();
        server->port = httpd_port(server->httpd);
        event = event_new(server->base, -1, EV_PERSIST, on_tick, server);
        event_add(event, &tick);
        event_base_dispatch(server->base);
        event_free(event);
        httpd_destroy(server->httpd);
        event_base_free(server->base);
        return NULL;
}

static void start(struct server *server)
{
        memset(server, 0, sizeof(*server));
        pthread_create(&server->thread, NULL, run_server, server);
        while (!atomic_load(&server->ready))
                usleep(1000);
}

static void stop(struct server *server)
{
        atomic_store(&server->stop, true);
        pthread_join(server->thread, NULL);
}

static enum err ask(int port, const char *method, const char *target, const void *body, size_t len,
                    unsigned timeout_ms, struct http_answer *ret_answer)
{
        char url[256];
        const struct http_ask question = { .method = method,
                                           .url = url,
                                           .headers = { { "X-Test", "yes" } },
                                           .body = body,
                                           .body_len = len,
                                           .timeout_ms = timeout_ms };

        snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, target);
        return http_client_ask(&question, ret_answer);
}

Test(http_client, brings_the_answer_with_its_headers)
{
        static const char *const with_body[] = { "POST", "PUT" };
        struct http_answer answer;
        static struct server server; /* not on the stack, which a failing test leaves */

        start(&server);
        cr_assert(eq(int, ask(server.port, "GET", "/echo?q=a%20b", NULL, 0, 0, &answer), OK));
        cr_assert(eq(int, answer.status, 201));
        cr_assert(eq(str, answer.body, "{\"len\":0,\"q\":\"a b\",\"header\":\"yes\"}"));
        cr_assert(eq(sz, answer.body_len, strlen(answer.body)));
        cr_assert(eq(str, answer.etag, "\"e1\""));
        cr_assert(eq(str, answer.retry_after, "3"));
        cr_assert(eq(str, answer.content_type, "application/json"));
        http_answer_fini(&answer);
        for (size_t i = 0; i < countof(with_body); i++) {
                cr_assert(
                    eq(int, ask(server.port, with_body[i], "/echo", "abc", 3, 0, &answer), OK));
                cr_assert(strstr(answer.body, "\"len\":3") != NULL, "%s", answer.body);
                http_answer_fini(&answer);
        }
        cr_assert(eq(int, ask(server.port, "DELETE", "/echo", NULL, 0, 0, &answer), OK));
        cr_assert(eq(int, answer.status, 204));
        cr_assert(eq(str, answer.body, ""));
        cr_assert(answer.etag == NULL && answer.retry_after == NULL);
        http_answer_fini(&answer);
        cr_assert(eq(int, ask(server.port, "GET", "", NULL, 0, 0, &answer), OK)); /* "/" is meant */
        cr_assert(eq(int, answer.status, 201));
        http_answer_fini(&answer);
        cr_assert(eq(int, ask(server.port, "GET", "/nothing", NULL, 0, 0, &answer), OK));
        cr_assert(eq(int, answer.status, 404));
        cr_assert(eq(str, answer.content_type, "application/problem+json"));
        http_answer_fini(&answer);
        stop(&server);
}

Test(http_client, hears_the_refusal_of_a_body_it_is_still_sending)
{
        size_t len = 16u << 20;
        char *body = calloc(1, len);
        struct http_answer answer;
        static struct server server; /* not on the stack, which a failing test leaves */

        start(&server);
        for (int i = 0; i < 20; i++) {
                cr_assert(eq(int, ask(server.port, "POST", "/echo", body, len, 0, &answer), OK));
                cr_assert(eq(int, answer.status, 413));
                http_answer_fini(&answer);
        }
        free(body);
        stop(&server);
}

Test(http_client, tells_nothing_was_sent_from_outcome_unknown)
{
        struct http_answer answer = { .status = 99 };
        static struct server server; /* not on the stack, which a failing test leaves */
        int port;

        start(&server);
        port = server.port;
        cr_assert(eq(int, ask(port, "POST", "/silence", "x", 1, 100, &answer), ERR_TIMEOUT));
        stop(&server);
        cr_assert(eq(int, ask(port, "POST", "/echo", "x", 1, 0, &answer), ERR_UNAVAILABLE));
        cr_assert(eq(int, answer.status, 99)); /* untouched */
}

static void *run_rude(void *arg)
{
        int listener = *(int *)arg, fd = accept(listener, NULL, NULL);
        char bytes[1024];

        if (recv(fd, bytes, sizeof(bytes), 0) <= 0)
                abort();
        static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
        if (send(fd, half, strlen(half), MSG_NOSIGNAL) != (ssize_t)strlen(half))
                abort();
        close(fd);
        return NULL;
}

Test(http_client, does_not_pass_half_an_answer_for_one)
{
        struct sockaddr_in address = { .sin_family = AF_INET };
        socklen_t len = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        struct http_answer answer;
        pthread_t thread;

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        cr_assert(zero(int, bind(listener, (struct sockaddr *)&address, sizeof(address))));
        cr_assert(zero(int, listen(listener, 1)));
        getsockname(listener, (struct sockaddr *)&address, &len);
        pthread_create(&thread, NULL, run_rude, &listener);
        cr_assert(eq(int, ask(ntohs(address.sin_port), "POST", "/", "x", 1, 0, &answer), ERR_IO));
        pthread_join(thread, NULL);
        close(listener);
}

Test(http_client, refuses_what_is_no_plain_http_url)
{
        static const char *const bad[] = {
                "",
                "x",
                "/v1",
                "127.0.0.1:80",
                "https://127.0.0.1/",
                "ftp://127.0.0.1/",
                "http://",
                "http:///x",
                "http://u:p@127.0.0.1/",
                "http://127.0.0.1:99999/",
                "http://127.0.0.1:0/",
                "http://127.0.0.1/a b",
                "http://127.0.0.1/\r\nX: y",
                "http://127.0.0.1/#x",
        };

        for (size_t i = 0; i < countof(bad); i++) {
                const struct http_ask question = { .method = "GET",
                                                   .url = bad[i],
                                                   .timeout_ms = 100 };
                struct http_answer answer;

                cr_expect(eq(int, http_client_ask(&question, &answer), ERR_INVALID), "%s", bad[i]);
        }
}

Test(http_client, refuses_a_header_with_a_line_break)
{
        const struct http_ask question = { .method = "GET",
                                           .url = "http://127.0.0.1:1/",
                                           .headers = { { "X-A", "b\r\nX-Evil: c" } } };
        struct http_answer answer;

        cr_assert(eq(int, http_client_ask(&question, &answer), ERR_INVALID));
}

Test(http_client, tells_a_host_without_address_from_a_bad_url)
{
        const struct http_ask question = { .method = "GET",
                                           .url = "http://no-such-host.invalid/",
                                           .timeout_ms = 2000 };
        struct http_answer answer;

        cr_assert(eq(int, http_client_ask(&question, &answer), ERR_UNAVAILABLE));
}
