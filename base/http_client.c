/* base/http_client.c -- decides whether a request that failed can have reached the server, since
 * that is what its caller must know before trying again. Refuses to know what is asked: no
 * redirects, no cookies, no second attempt.
 *
 * Happy path: a private event base, one evhttp connection, one request, the loop until its
 * callback. evhttp tells a refused connection and a broken one alike, so we watch the output:
 * evhttp puts the request there when the connection stands, hence nothing in it means that nothing
 * was sent. */
#include "base/http_client.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include "base/buf.h"

#define DEFAULT_TIMEOUT_MS 10000
#define ANSWER_MAX         (64u * 1024u * 1024u) /* bytes of a body */
#define HEADERS_MAX        65536

struct exchange {
        struct event_base *base;
        struct evhttp_connection *connection;
        bool started; /* something was put into the connection: it may have been sent */
        bool timed_out;
        bool done; /* on_answer was called: perhaps before the loop even ran */
        bool answered;
        bool no_memory;
        struct http_answer answer;
};

static const struct {
        const char *name;
        enum evhttp_cmd_type type;
} methods[] = {
        { "GET", EVHTTP_REQ_GET }, { "HEAD", EVHTTP_REQ_HEAD },     { "POST", EVHTTP_REQ_POST },
        { "PUT", EVHTTP_REQ_PUT }, { "DELETE", EVHTTP_REQ_DELETE },
};

static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
        struct exchange *exchange = arg;

        if (info->n_added > 0)
                exchange->started = true;
        /* Sent, or given up: from here on an end that comes too early is an error. libevent 2.1
         * would wait for ever after half a body while this flag stands. */
        if (info->n_deleted > 0 && evbuffer_get_length(output) == 0)
                (void)evhttp_connection_set_flags(exchange->connection, 0);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
        struct exchange *exchange = arg;

        (void)fd;
        (void)what;
        exchange->timed_out = true;
        event_base_loopbreak(exchange->base);
}

static char *copy_header(struct exchange *exchange, struct evhttp_request *request,
                         const char *name)
{
        const char *value = evhttp_find_header(evhttp_request_get_input_headers(request), name);
        char *copy = value != NULL ? strdup(value) : NULL;

        if (value != NULL && copy == NULL)
                exchange->no_memory = true;
        return copy;
}

/* `request` is NULL, or has no status, when there is no answer. evhttp frees it after the call. */
static void on_answer(struct evhttp_request *request, void *arg)
{
        struct exchange *exchange = arg;
        struct http_answer *answer = &exchange->answer;
        struct evbuffer *body;

        exchange->done = true;
        event_base_loopbreak(exchange->base);
        if (request == NULL || evhttp_request_get_response_code(request) == 0)
                return;
        body = evhttp_request_get_input_buffer(request);
        answer->status = evhttp_request_get_response_code(request);
        answer->body_len = evbuffer_get_length(body);
        answer->body = malloc(answer->body_len + 1);
        if (answer->body == NULL) {
                exchange->no_memory = true;
                return;
        }
        (void)evbuffer_copyout(body, answer->body, answer->body_len);
        answer->body[answer->body_len] = '\0';
        answer->etag = copy_header(exchange, request, "ETag");
        answer->retry_after = copy_header(exchange, request, "Retry-After");
        answer->content_type = copy_header(exchange, request, "Content-Type");
        exchange->answered = true;
}

/* Makes the request with its headers; NULL when a header has a line break or memory is out. */
static struct evhttp_request *make_request(const struct http_ask *ask, const struct evhttp_uri *uri,
                                           struct exchange *exchange)
{
        struct evhttp_request *request = evhttp_request_new(on_answer, exchange);
        struct evkeyvalq *headers;
        struct buf host = BUF_INIT;
        bool good;

        if (request == NULL)
                return NULL;
        headers = evhttp_request_get_output_headers(request);
        buf_str(&host, evhttp_uri_get_host(uri));
        if (evhttp_uri_get_port(uri) != -1) {
                buf_char(&host, ':');
                buf_u64(&host, (uint64_t)evhttp_uri_get_port(uri));
        }
        good = !host.failed && evhttp_add_header(headers, "Host", host.data) == 0 &&
               evhttp_add_header(headers, "Connection", "close") == 0;
        buf_fini(&host);
        for (int i = 0; i < HTTP_CLIENT_HEADERS_MAX && ask->headers[i].name != NULL && good; i++)
                good = evhttp_add_header(headers, ask->headers[i].name, ask->headers[i].value) == 0;
        if (good && ask->body_len > 0)
                good = evbuffer_add(evhttp_request_get_output_buffer(request), ask->body,
                                    ask->body_len) == 0;
        if (!good) {
                evhttp_request_free(request);
                return NULL;
        }
        return request;
}

static struct evhttp_connection *make_connection(struct exchange *exchange,
                                                 const struct evhttp_uri *uri, unsigned timeout_ms)
{
        const char *host = evhttp_uri_get_host(uri);
        int port = evhttp_uri_get_port(uri);
        size_t len = strlen(host);
        struct bufferevent *stream = bufferevent_socket_new(exchange->base, -1, 0);
        struct evhttp_connection *connection;
        char name[256];

        if (stream == NULL)
                return NULL;
        if (host[0] == '[') /* the brackets are the URL's, not the address's */
                snprintf(name, sizeof(name), "%.*s", (int)(len - 2), host + 1);
        else
                snprintf(name, sizeof(name), "%s", host);
        connection = evhttp_connection_base_bufferevent_new(exchange->base, NULL, stream, name,
                                                            port == -1 ? 80 : (ev_uint16_t)port);
        if (connection == NULL) {
                bufferevent_free(stream);
                return NULL;
        }
        exchange->connection = connection;
        (void)evbuffer_add_cb(bufferevent_get_output(stream), on_output, exchange);
        /* A server may refuse a body and close while we send it: what it said still counts. */
        (void)evhttp_connection_set_flags(connection, EVHTTP_CON_READ_ON_WRITE_ERROR);
        evhttp_connection_set_timeout(connection,
                                      (int)(timeout_ms / 1000 + 2)); /* ours comes first */
        evhttp_connection_set_max_headers_size(connection, HEADERS_MAX);
        evhttp_connection_set_max_body_size(connection, ANSWER_MAX);
        return connection;
}

static enum err run(struct exchange *exchange, unsigned timeout_ms)
{
        const struct timeval wait = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
        struct event *timer = evtimer_new(exchange->base, on_timeout, exchange);

        if (timer == NULL || event_add(timer, &wait) != 0) {
                if (timer != NULL)
                        event_free(timer);
                return ERR_NOMEM;
        }
        if (!exchange->done)
                event_base_dispatch(exchange->base);
        event_free(timer);
        if (exchange->no_memory)
                return ERR_NOMEM;
        if (exchange->answered)
                return OK;
        if (!exchange->started)
                return ERR_UNAVAILABLE;
        return exchange->timed_out ? ERR_TIMEOUT : ERR_IO;
}

static enum err ask_parsed(const struct http_ask *ask, const struct evhttp_uri *uri,
                           enum evhttp_cmd_type type, struct exchange *exchange)
{
        unsigned timeout_ms = ask->timeout_ms != 0 ? ask->timeout_ms : DEFAULT_TIMEOUT_MS;
        struct evhttp_request *request = make_request(ask, uri, exchange);
        const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
        struct evhttp_connection *connection;
        struct buf target = BUF_INIT;
        enum err err = ERR_NOMEM;

        if (request == NULL)
                return ERR_INVALID;
        connection = make_connection(exchange, uri, timeout_ms);
        if (connection == NULL) {
                evhttp_request_free(request);
                return ERR_NOMEM;
        }
        buf_str(&target, path[0] != '\0' ? path : "/");
        if (query != NULL) {
                buf_char(&target, '?');
                buf_str(&target, query);
        }
        if (target.failed)
                evhttp_request_free(request);
        else if (evhttp_make_request(connection, request, type, target.data) == 0) /* takes it */
                err = run(exchange, timeout_ms);
        buf_fini(&target);
        evhttp_connection_free(connection);
        return err;
}

static bool is_usable(const struct evhttp_uri *uri)
{
        const char *scheme = evhttp_uri_get_scheme(uri), *host = evhttp_uri_get_host(uri);

        return scheme != NULL && strcasecmp(scheme, "http") == 0 && host != NULL &&
               host[0] != '\0' && strlen(host) < 256 && evhttp_uri_get_userinfo(uri) == NULL &&
               evhttp_uri_get_fragment(uri) == NULL && evhttp_uri_get_port(uri) != 0;
}

enum err http_client_ask(const struct http_ask *ask, struct http_answer *ret_answer)
{
        struct exchange exchange = { 0 };
        struct evhttp_uri *uri = evhttp_uri_parse(ask->url);
        enum err err = ERR_INVALID;
        size_t method = 0;

        while (method < countof(methods) && strcmp(methods[method].name, ask->method) != 0)
                method++;
        check(method < countof(methods));
        (void)signal(SIGPIPE, SIG_IGN); /* libevent writes without MSG_NOSIGNAL */
        if (uri != NULL && is_usable(uri)) {
                exchange.base = event_base_new();
                err = exchange.base == NULL ? ERR_NOMEM
                                            : ask_parsed(ask, uri, methods[method].type, &exchange);
        }
        if (err == OK)
                *ret_answer = exchange.answer;
        else
                http_answer_fini(&exchange.answer);
        if (exchange.base != NULL)
                event_base_free(exchange.base);
        if (uri != NULL)
                evhttp_uri_free(uri);
        return err;
}

void http_answer_fini(struct http_answer *answer)
{
        free(answer->body);
        free(answer->etag);
        free(answer->retry_after);
        free(answer->content_type);
        *answer = (struct http_answer){ 0 };
}
