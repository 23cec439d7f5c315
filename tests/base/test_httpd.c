/* The HTTP server against a client that writes raw bytes, on a thread of its own. */
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

#include "base/buf.h"
#include "base/httpd.h"

struct bench {
        struct event_base *base;
        struct httpd *httpd;
        unsigned calls;
        size_t body_len;
        size_t sent; /* by the last client */
        char seen[256];
        struct httpd_request *kept;
};

struct client { /* sends all, then reads to the end; or hangs up without reading */
        uint16_t port;
        const char *bytes;
        size_t len;
        bool hang_up;
        size_t sent; /* bytes before the other side broke it off */
        struct buf answer;
        atomic_bool done;
};

static void handle_echo(void *owner, struct httpd_request *request)
{
        struct bench *b = owner;
        const char *id = httpd_placeholder(request, 0), *query = httpd_query(request, "q");

        b->calls++;
        (void)httpd_body(request, &b->body_len);
        snprintf(b->seen, sizeof(b->seen), "id=%s q=%s x=%s peer=%s", id != NULL ? id : "-",
                 query != NULL ? query : "-",
                 httpd_header(request, "x-test") != NULL ? httpd_header(request, "x-test") : "-",
                 httpd_peer(request));
        httpd_reply_json(request, 200, json_pack("{s:s}", "seen", b->seen));
}

static void handle_two(void *owner, struct httpd_request *request)
{
        struct bench *b = owner;

        b->calls++;
        snprintf(b->seen, sizeof(b->seen), "%s+%s", httpd_placeholder(request, 0),
                 httpd_placeholder(request, 1));
        httpd_reply(request, 204, NULL, NULL, 0);
}

static void handle_keep(void *owner, struct httpd_request *request)
{
        struct bench *b = owner;

        b->calls++;
        b->kept = request;
}

static void handle_conflict(void *owner, struct httpd_request *request)
{
        (void)owner;
        httpd_add_header(request, "Retry-After", "7");
        httpd_add_header(request, "X-Evil", "a\r\nSet-Cookie: b");
        httpd_reply_problem(request, 409, "version-conflict", "It changed", "Read it again.",
                            json_pack("{s:i,s:s}", "version", 4, "status", "not mine"));
}

static const struct httpd_route routes[] = {
        { HTTPD_GET, "/", handle_echo, false },
        { HTTPD_GET, "/v1/events", handle_echo, false },
        { HTTPD_POST, "/v1/events", handle_echo, false },
        { HTTPD_GET, "/v1/events/{id}", handle_echo, false },
        { HTTPD_PUT, "/v1/events/{id}/bundles/{cohort}", handle_two, false },
        { HTTPD_POST, "/keep", handle_keep, false },
        { HTTPD_GET, "/conflict", handle_conflict, false },
        { HTTPD_GET, "/healthz", handle_echo, true },
};

static struct bench *setup(const char *token)
{
        const struct httpd_options options = { .host = "127.0.0.1", .token = token };
        struct bench *b = calloc(1, sizeof(*b));
        const char *why;

        b->base = event_base_new();
        cr_assert(eq(
            int, httpd_create(b->base, &options, routes, countof(routes), b, &b->httpd, &why), OK));
        return b;
}

static void teardown(struct bench *b)
{
        httpd_destroy(b->httpd);
        event_base_free(b->base);
        free(b);
}

static int dial(uint16_t port)
{
        const struct timeval wait = { 20, 0 };
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
                abort();
        return fd;
}

static void *run_client(void *arg)
{
        struct client *client = arg;
        int fd = dial(client->port);
        ssize_t n;
        char bytes[4096];

        while (client->sent < client->len) {
                n = send(fd, client->bytes + client->sent, client->len - client->sent,
                         MSG_NOSIGNAL);
                if (n <= 0)
                        break;
                client->sent += (size_t)n;
        }
        while (!client->hang_up && (n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
                buf_add(&client->answer, bytes, (size_t)n);
        close(fd);
        atomic_store(&client->done, true);
        return NULL;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        (void)arg;
}

static void turn(struct bench *b)
{
        const struct timeval tick = { 0, 2000 };

        event_base_once(b->base, -1, EV_TIMEOUT, on_tick, NULL, &tick);
        event_base_loop(b->base, EVLOOP_ONCE);
}

/* The whole answer, to be freed. The connection is closed by the server, since every request here
 * that does not break the rules says Connection: close. */
static char *ask_bytes(struct bench *b, const char *bytes, size_t len)
{
        struct client client = { .port = httpd_port(b->httpd), .bytes = bytes, .len = len };
        pthread_t thread;

        pthread_create(&thread, NULL, run_client, &client);
        while (!atomic_load(&client.done))
                turn(b);
        pthread_join(thread, NULL);
        b->sent = client.sent;
        buf_str(&client.answer, "");
        return buf_take(&client.answer);
}

static char *ask(struct bench *b, const char *method_and_target, const char *headers,
                 const char *body)
{
        struct buf request = BUF_INIT;
        char *answer;

        buf_printf(&request, "%s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s", method_and_target,
                   headers);
        if (body != NULL)
                buf_printf(&request, "Content-Length: %zu\r\n", strlen(body));
        buf_printf(&request, "\r\n%s", body != NULL ? body : "");
        answer = ask_bytes(b, request.data, request.len);
        buf_fini(&request);
        return answer;
}

static int status_of(const char *answer)
{
        return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static void expect_status(struct bench *b, const char *target, const char *headers, int status)
{
        char *answer = ask(b, target, headers, NULL);

        cr_expect(eq(int, status_of(answer), status), "%s: %s", target, answer);
        free(answer);
}

/* Frees `answer`. */
static void expect_problem(char *answer, int status, const char *slug)
{
        const char *body = strstr(answer, "\r\n\r\n");
        char type[64];
        json_t *problem;

        cr_assert(eq(int, status_of(answer), status), "%s", answer);
        cr_expect(strstr(answer, "Content-Type: application/problem+json\r\n") != NULL, "%s",
                  answer);
        cr_expect(strstr(answer, "Cache-Control: no-store\r\n") != NULL, "%s", answer);
        cr_expect(strstr(answer, "X-Content-Type-Options: nosniff\r\n") != NULL, "%s", answer);
        cr_assert(body != NULL);
        problem = json_loads(body + 4, JSON_REJECT_DUPLICATES, NULL);
        cr_assert(problem != NULL, "%s", answer);
        snprintf(type, sizeof(type), "/problems/%s", slug);
        cr_expect(eq(str, (char *)json_string_value(json_object_get(problem, "type")), type));
        cr_expect(eq(int, (int)json_integer_value(json_object_get(problem, "status")), status));
        cr_expect(json_string_length(json_object_get(problem, "title")) > 3);
        cr_expect(strlen(json_string_value(json_object_get(problem, "detail"))) > 5);
        json_decref(problem);
        free(answer);
}

Test(httpd, hands_the_handler_what_was_asked)
{
        struct bench *b = setup(NULL);
        char *answer = ask(b, "GET /v1/events/a%2Fb%20c?q=x+y%26z&r=", "X-Test: yes\r\n", NULL);

        cr_assert(eq(int, status_of(answer), 200));
        cr_assert(eq(str, b->seen, "id=a/b c q=x y&z x=yes peer=127.0.0.1"));
        cr_assert(strstr(answer, "Content-Type: application/json\r\n") != NULL, "%s", answer);
        cr_assert(strstr(answer, "Cache-Control: no-store\r\n") != NULL, "%s", answer);
        cr_assert(strstr(answer, "X-Content-Type-Options: nosniff\r\n") != NULL, "%s", answer);
        cr_assert(strstr(answer, "{\"seen\":\"id=a/b c") != NULL, "%s", answer);
        free(answer);
        answer = ask(b, "PUT /v1/events/final/bundles/sports%2dfans", "", "x");
        cr_assert(eq(int, status_of(answer), 204));
        cr_assert(eq(str, b->seen, "final+sports-fans"));
        free(answer);
        teardown(b);
}

Test(httpd, finds_routes_exactly)
{
        static const struct {
                const char *target;
                int status;
        } cases[] = {
                { "GET /", 200 },
                { "GET /v1/events", 200 },
                { "GET /v1/events?x=1", 200 },
                { "GET /v1/%65vents", 200 },
                { "GET http://t/v1/events", 200 },
                { "GET /v1/events/", 404 },
                { "GET //v1/events", 404 },
                { "GET /v1", 404 },
                { "GET /v1/events/a/b", 404 },
                { "GET /v1%2Fevents", 404 },
                { "GET /V1/events", 404 },
                { "GET /nothing", 404 },
                { "GET /v1/events/../events", 404 },
                { "DELETE /v1/events", 405 },
                { "PATCH /v1/events", 405 },
                { "OPTIONS /v1/events", 405 },
                { "TRACE /v1/events", 405 },
                { "GET /v1/events/a%00b", 400 },
                { "GET /v1/events/a%0", 400 },
                { "GET /v1/events/a%zz", 400 },
                { "GET /%00", 400 },
                { "GET /v1/events?q=a%00b", 400 },
                { "GET /v1/events?q", 400 },
                { "OPTIONS *", 400 },
                { "GET /1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4", 400 },
        };
        struct bench *b = setup(NULL);

        for (size_t i = 0; i < countof(cases); i++)
                expect_status(b, cases[i].target, "", cases[i].status);
        teardown(b);
}

Test(httpd, tells_the_methods_of_a_path)
{
        struct bench *b = setup(NULL);
        char *answer = ask(b, "DELETE /v1/events", "", NULL);

        cr_assert(strstr(answer, "Allow: GET, HEAD, POST\r\n") != NULL, "%s", answer);
        expect_problem(answer, 405, "method-not-allowed");
        expect_problem(ask(b, "GET /nothing", "", NULL), 404, "not-found");
        teardown(b);
}

Test(httpd, answers_head_as_get_without_a_body)
{
        struct bench *b = setup(NULL);
        char *get = ask(b, "GET /v1/events/one", "", NULL);
        char *head = ask(b, "HEAD /v1/events/one", "", NULL);
        const char *length = strstr(get, "Content-Length: ");
        char line[64];

        cr_assert(length != NULL);
        snprintf(line, sizeof(line), "%.*s\r\n", (int)strcspn(length, "\r"), length);
        cr_assert(eq(int, status_of(head), 200));
        cr_assert(strstr(head, line) != NULL, "%s", head);
        cr_assert(eq(str, strstr(head, "\r\n\r\n"), "\r\n\r\n"));
        cr_assert(eq(uint, b->calls, 2));
        free(get);
        free(head);
        expect_status(b, "HEAD /nothing", "", 404);
        teardown(b);
}

Test(httpd, wants_the_token_but_for_open_routes)
{
        static const struct {
                const char *target, *headers;
                int status;
        } cases[] = {
                { "GET /v1/events", "Authorization: Bearer secret-token\r\n", 200 },
                { "GET /v1/events", "Authorization: bearer secret-token\r\n", 200 },
                { "GET /v1/events", "", 401 },
                { "GET /v1/events", "Authorization: Bearer \r\n", 401 },
                { "GET /v1/events", "Authorization: Bearer secret-toke\r\n", 401 },
                { "GET /v1/events", "Authorization: Bearer secret-tokem\r\n", 401 },
                { "GET /v1/events", "Authorization: Bearer secret-tokens\r\n", 401 },
                { "GET /v1/events", "Authorization: Basic secret-token\r\n", 401 },
                { "GET /v1/events", "Authorization: secret-token\r\n", 401 },
                { "GET /healthz", "", 200 },
                { "HEAD /healthz", "", 200 },
                { "POST /healthz", "", 405 },
                { "GET /nothing", "", 401 },
                { "DELETE /v1/events", "", 401 },
                { "GET /nothing", "Authorization: Bearer secret-token\r\n", 404 },
        };
        struct bench *b = setup("secret-token");
        char *answer;

        for (size_t i = 0; i < countof(cases); i++)
                expect_status(b, cases[i].target, cases[i].headers, cases[i].status);
        answer = ask(b, "GET /v1/events", "", NULL);
        cr_assert(strstr(answer, "WWW-Authenticate: Bearer realm=") != NULL, "%s", answer);
        expect_problem(answer, 401, "unauthorized");
        teardown(b);
}

Test(httpd, says_problems_with_their_extra_members_and_headers_without_line_breaks)
{
        struct bench *b = setup(NULL);
        char *answer = ask(b, "GET /conflict", "", NULL);

        cr_assert(strstr(answer, "Retry-After: 7\r\n") != NULL, "%s", answer);
        cr_assert(strstr(answer, "Set-Cookie") == NULL, "%s", answer);
        cr_assert(strstr(answer, "\"version\":4") != NULL, "%s", answer);
        expect_problem(answer, 409, "version-conflict"); /* extra could not change the status */
        teardown(b);
}

static char *post_of(size_t len, bool chunked, size_t *ret_len)
{
        struct buf request = BUF_INIT;
        char *body = malloc(len);

        memset(body, 'x', len);
        buf_str(&request, "POST /v1/events HTTP/1.1\r\nHost: t\r\nConnection: close\r\n");
        if (!chunked) {
                buf_printf(&request, "Content-Length: %zu\r\n\r\n", len);
                buf_add(&request, body, len);
        } else {
                buf_str(&request, "Transfer-Encoding: chunked\r\n\r\n");
                for (size_t at = 0, n; at < len; at += n) {
                        n = len - at < 100000 ? len - at : 100000;
                        buf_printf(&request, "%zx\r\n", n);
                        buf_add(&request, body, n);
                        buf_str(&request, "\r\n");
                }
                buf_str(&request, "0\r\n\r\n");
        }
        free(body);
        *ret_len = request.len;
        return buf_take(&request);
}

Test(httpd, takes_a_body_at_the_limit_and_says_413_past_it)
{
        struct bench *b = setup(NULL);

        for (int chunked = 0; chunked < 2; chunked++) {
                static const size_t over[] = { 1, 100000, 8u << 20 };
                size_t len;
                char *bytes = post_of(HTTPD_BODY_MAX, chunked, &len), *answer;

                answer = ask_bytes(b, bytes, len);
                cr_expect(eq(int, status_of(answer), 200), "%s", answer);
                cr_expect(eq(sz, b->body_len, HTTPD_BODY_MAX));
                free(answer);
                free(bytes);
                b->calls = 0;
                for (size_t i = 0; i < countof(over); i++) {
                        bytes = post_of(HTTPD_BODY_MAX + over[i], chunked, &len);
                        expect_problem(ask_bytes(b, bytes, len), 413, "too-large");
                        cr_expect(eq(sz, b->sent, len)); /* no reset on the way to the answer */
                        free(bytes);
                }
                cr_expect(eq(uint, b->calls, 0));
        }
        teardown(b);
}

Test(httpd, says_what_is_wrong_with_a_broken_request)
{
        static const struct {
                const char *bytes;
                int status;
                const char *slug;
        } cases[] = {
                { "\r\nnonsense\r\n\r\n", 400, "malformed-request" },
                { "GET / HTTP/9.9.9\r\n\r\n", 400, "malformed-request" },
                { "GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "malformed-request" },
                { "POST /v1/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400,
                  "malformed-request" },
                { "POST /v1/events HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400,
                  "malformed-request" },
                { "POST /v1/events HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "0\r\n\r\n",
                  400, "malformed-request" },
                { "POST /v1/events HTTP/1.1\r\nExpect: magic\r\nContent-Length: 1\r\n\r\nx", 417,
                  "expectation-failed" },
                { "BREW / HTTP/1.1\r\n\r\n", 501, "method-not-implemented" },
                { "POST /v1/events HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nxxx", 413,
                  "too-large" },
                { "POST /v1/events HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n",
                  413, "too-large" },
        };
        struct bench *b = setup(NULL);

        for (size_t i = 0; i < countof(cases); i++)
                expect_problem(ask_bytes(b, cases[i].bytes, strlen(cases[i].bytes)),
                               cases[i].status, cases[i].slug);
        cr_assert(eq(uint, b->calls, 0));
        teardown(b);
}

Test(httpd, bounds_the_head)
{
        struct bench *b = setup(NULL);
        struct buf header = BUF_INIT;

        buf_str(&header, "X-Test: ");
        while (header.len < 16000)
                buf_char(&header, 'x');
        buf_str(&header, "\r\n");
        expect_status(b, "GET /v1/events", header.data, 200);
        buf_clear(&header);
        buf_str(&header, "X-Test: ");
        while (header.len < 17000)
                buf_char(&header, 'x');
        buf_str(&header, "\r\n");
        expect_problem(ask(b, "GET /v1/events", header.data, NULL), 400, "malformed-request");
        buf_fini(&header);
        teardown(b);
}

/* evhttp itself bounds neither: the line of a chunk's size, the lines after the last chunk. */
Test(httpd, bounds_the_framing_of_chunks)
{
        static const char *const starts[] = { "1;", "0\r\nX-A: " };
        struct bench *b = setup(NULL);

        for (size_t i = 0; i < countof(starts); i++) {
                struct buf request = BUF_INIT;
                char *answer;

                buf_printf(&request,
                           "POST /v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                           starts[i]);
                while (request.len < 32u << 20)
                        buf_str(&request,
                                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
                answer = ask_bytes(b, request.data, request.len);
                /* Cut off long before the end, or refused. */
                cr_expect(b->sent < request.len || status_of(answer) / 100 == 4, "%s", answer);
                free(answer);
                buf_fini(&request);
        }
        cr_assert(eq(uint, b->calls, 0));
        expect_status(b, "GET /v1/events", "", 200);
        teardown(b);
}

Test(httpd, serves_many_requests_on_one_connection)
{
        static const char two[] =
            "GET /v1/events/1 HTTP/1.1\r\nHost: t\r\n\r\n"
            "POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
            "GET /v1/events/2 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        struct bench *b = setup(NULL);
        char *answer = ask_bytes(b, two, strlen(two));

        cr_assert(eq(uint, b->calls, 3));
        cr_assert(strstr(answer, "id=1 ") != NULL && strstr(answer, "id=2 ") != NULL, "%s", answer);
        free(answer);
        teardown(b);
}

#define KEEP \
        "POST /keep HTTP/1.1\r\nHost: t\r\nConnection: close\r\nX-Test: yes\r\nContent-Length: 2\r\n\r\n{}"

static void start_client(struct bench *b, struct client *client, pthread_t *thread, bool hang_up)
{
        *client = (struct client){
                .port = httpd_port(b->httpd), .bytes = KEEP, .len = strlen(KEEP), .hang_up = hang_up
        };
        pthread_create(thread, NULL, run_client, client);
        while (b->kept == NULL)
                turn(b);
}

Test(httpd, may_answer_later)
{
        struct bench *b = setup(NULL);
        struct client client;
        pthread_t thread;
        size_t len;

        start_client(b, &client, &thread, false);
        for (int i = 0; i < 5; i++)
                turn(b);
        cr_assert(not(atomic_load(&client.done)));
        cr_assert(eq(str, (char *)httpd_header(b->kept, "X-Test"), "yes")); /* texts stay, too */
        cr_assert(strncmp(httpd_body(b->kept, &len), "{}", 2) == 0);
        httpd_reply(b->kept, 200, "text/plain", "late", 4);
        while (!atomic_load(&client.done))
                turn(b);
        pthread_join(thread, NULL);
        cr_assert(strstr(client.answer.data, "\r\n\r\nlate") != NULL, "%s", client.answer.data);
        buf_fini(&client.answer);
        teardown(b);
}

Test(httpd, drops_the_late_answer_to_a_client_that_went_away)
{
        struct bench *b = setup(NULL);
        struct client client;
        pthread_t thread;
        size_t len;

        for (int i = 0; i < 3; i++) {
                start_client(b, &client, &thread, true);
                pthread_join(thread, NULL);
                for (int j = 0; j < 5; j++)
                        turn(b);
                cr_assert(strncmp(httpd_body(b->kept, &len), "{}", 2) == 0);
                cr_assert(eq(str, (char *)httpd_header(b->kept, "X-Test"), "yes"));
                httpd_reply_problem(b->kept, 503, "slow", "Too late", "Ask again.", NULL);
                b->kept = NULL;
                for (int j = 0; j < 5; j++)
                        turn(b);
        }
        expect_status(b, "GET /v1/events", "", 200);
        teardown(b);
}

Test(httpd, destroyed_tells_those_who_wait_that_nobody_knows)
{
        struct bench *b = setup(NULL);
        struct client client, gone;
        pthread_t thread, gone_thread;
        struct httpd_request *first;

        start_client(b, &client, &thread, false);
        first = b->kept;
        b->kept = NULL;
        start_client(b, &gone, &gone_thread, true);
        cr_assert(ne(ptr, first, b->kept));
        pthread_join(gone_thread, NULL);
        httpd_destroy(b->httpd);
        pthread_join(thread, NULL); /* no loop runs any more */
        buf_str(&client.answer, "");
        expect_problem(buf_take(&client.answer), 504, "stopping"); /* of a POST */
        event_base_free(b->base);
        free(b);
}

Test(httpd, destroyed_while_clients_send_is_safe)
{
        static const char *const parts[] = {
                "",
                "GET",
                "GET / HTTP/1.1\r\nHost",
                KEEP,
                "POST /v1/events HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
                "nonsense\r\n\r\n"
        };
        struct bench *b = setup(NULL);
        int fds[countof(parts)];

        for (size_t i = 0; i < countof(parts); i++) {
                fds[i] = dial(httpd_port(b->httpd));
                cr_assert(
                    eq(sz, (size_t)send(fds[i], parts[i], strlen(parts[i]), 0), strlen(parts[i])));
        }
        while (b->kept == NULL)
                turn(b);
        teardown(b);
        for (size_t i = 0; i < countof(parts); i++)
                close(fds[i]);
}

Test(httpd, says_why_it_cannot_listen)
{
        struct bench *b = setup(NULL);
        struct httpd_options options = { .host = "127.0.0.1", .port = httpd_port(b->httpd) };
        struct httpd *second = NULL;
        const char *why = NULL;

        cr_assert(eq(int, httpd_create(b->base, &options, routes, 1, b, &second, &why), ERR_IO));
        cr_assert(strstr(why, "in use") != NULL, "%s", why);
        options.host = "192.0.2.1"; /* TEST-NET-1: nobody's */
        why = NULL;
        cr_assert(eq(int, httpd_create(b->base, &options, routes, 1, b, &second, &why), ERR_IO));
        cr_assert(why != NULL && strlen(why) > 10);
        cr_assert(second == NULL);
        httpd_destroy(NULL);
        teardown(b);
}
