/* base/httpd.c -- decides which handler gets a request, and who may ask at all; refuses to know
 * what the routes mean. What evhttp answers by itself is httpd_wire.c's business.
 *
 * Happy path: on_request -> a struct httpd_request around evhttp's own -> token -> route -> handler
 * -> one httpd_reply, now or later, which ends the struct, or a stream (httpd_stream.c). While a
 * handler thinks, evhttp neither reads nor writes, so a client that went away is usually found out
 * by the reply; should evhttp drop the connection before, on_close hears of it, and the reply then
 * only frees. */
#include "base/httpd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <openssl/crypto.h>

#include "base/httpd_inside.h"
#include "base/httpd_wire.h"

#define HEADERS_MAX       16384 /* bytes */
#define DEFAULT_TIMEOUT_S 30

/* --- paths --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. False on a bad %XX, and on %00, which would hide the rest of the text from a C program.
 */
static bool percent_decode(char *text)
{
        char *to = text;

        for (const char *from = text; *from != '\0'; from++, to++) {
                int high, low;

                *to = *from;
                if (*from != '%')
                        continue;
                high = hex_digit(from[1]);
                low = high < 0 ? -1 : hex_digit(from[2]);
                if (low < 0 || high + low == 0)
                        return false;
                *to = (char)(high * 16 + low);
                from += 2;
        }
        *to = '\0';
        return true;
}

/* Cuts "/a/b" into "a" and "b", decoded after cutting, so that %2F never makes a new segment. */
static bool cut_path(char *path, char *segments[], unsigned max, unsigned *ret_n)
{
        unsigned n = 0;

        if (path[0] != '/')
                return false;
        for (char *segment = path + 1, *end; segment != NULL; segment = end) {
                end = strchr(segment, '/');
                if (end != NULL)
                        *end++ = '\0';
                if (n == max || !percent_decode(segment))
                        return false;
                segments[n++] = segment;
        }
        *ret_n = n;
        return true;
}

static bool route_matches(const char *pattern, char *const segments[], unsigned n,
                          char *ret_placeholders[])
{
        unsigned i = 0, found = 0;

        for (const char *at = pattern + 1;; at++) {
                size_t len = strcspn(at, "/");

                if (i == n)
                        return false;
                if (at[0] == '{') {
                        check(found < HTTPD_PLACEHOLDERS_MAX);
                        if (segments[i][0] == '\0')
                                return false;
                        ret_placeholders[found++] = segments[i];
                } else if (strlen(segments[i]) != len || memcmp(segments[i], at, len) != 0) {
                        return false;
                }
                i++;
                at += len;
                if (*at == '\0')
                        return i == n;
        }
}

/* --- who may ask --------------------------------------------------------------------------- */

static bool token_is_right(const struct httpd *httpd, const struct httpd_request *request)
{
        const char *given = httpd_header(request, "Authorization");
        size_t len = strlen(httpd->token);
        bool same_length;

        if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0)
                return false;
        given += 7;
        same_length = strlen(given) == len;
        /* The same work whatever was given; only the length can be learnt from the time it takes.
         */
        return (CRYPTO_memcmp(same_length ? given : httpd->token, httpd->token, len) == 0) &
               same_length;
}

static void refuse_unauthorized(struct httpd_request *request)
{
        bool given = httpd_header(request, "Authorization") != NULL;

        /* RFC 6750, 3: no error code for a request that brought no token at all. */
        httpd_add_header(request, "WWW-Authenticate",
                         given ? "Bearer realm=\"admin\", error=\"invalid_token\""
                               : "Bearer realm=\"admin\"");
        httpd_reply_problem(request, 401, "unauthorized", "A token is needed",
                            given ? "The token is not the one this server was started with."
                                  : "Send the header \"Authorization: Bearer TOKEN\".",
                            NULL);
}

/* --- requests ------------------------------------------------------------------------------ */

static const struct {
        enum evhttp_cmd_type type;
        enum httpd_method method;
        const char *name;
} methods[] = {
        { EVHTTP_REQ_GET, HTTPD_GET, "GET" },          { EVHTTP_REQ_HEAD, HTTPD_GET, "HEAD" },
        { EVHTTP_REQ_POST, HTTPD_POST, "POST" },       { EVHTTP_REQ_PUT, HTTPD_PUT, "PUT" },
        { EVHTTP_REQ_DELETE, HTTPD_DELETE, "DELETE" },
};

static void refuse_method(struct httpd_request *request, unsigned allowed)
{
        char detail[96], allow[64] = "";

        for (size_t i = 0; i < countof(methods); i++) {
                if ((allowed & methods[i].method) == 0)
                        continue;
                if (allow[0] != '\0')
                        strcat(allow, ", ");
                strcat(allow, methods[i].name);
        }
        snprintf(detail, sizeof(detail), "Allowed here: %s.", allow);
        httpd_add_header(request, "Allow", allow);
        httpd_reply_problem(request, 405, "method-not-allowed", "This path has no such method",
                            detail, NULL);
}

static void refuse_malformed(struct httpd_request *request, const char *detail)
{
        httpd_add_header(request, "Connection", "close");
        httpd_reply_problem(request, 400, "malformed-request", "The request is malformed", detail,
                            NULL);
}

static void dispatch(struct httpd *httpd, struct httpd_request *request)
{
        char *segments[32];
        enum httpd_method method = 0;
        const struct httpd_route *route = NULL;
        unsigned allowed = 0, n;
        bool open = false;

        for (size_t i = 0; i < countof(methods); i++)
                if (methods[i].type == evhttp_request_get_command(request->raw))
                        method = methods[i].method;
        if (!cut_path(request->path, segments, countof(segments), &n)) {
                refuse_malformed(request, "The path has a bad %XX, %00, or more than 32 parts.");
                return;
        }
        for (size_t i = 0; i < httpd->n && route == NULL; i++) {
                char *placeholders[HTTPD_PLACEHOLDERS_MAX] = { NULL };

                if (!route_matches(httpd->routes[i].path, segments, n, placeholders))
                        continue;
                allowed |= httpd->routes[i].method;
                open |= httpd->routes[i].open;
                if (httpd->routes[i].method != method)
                        continue;
                route = &httpd->routes[i];
                open = route->open;
                memcpy(request->placeholders, placeholders, sizeof(placeholders));
        }
        /* Before 404 and 405, so that a stranger learns nothing of the routes. */
        if (httpd->token != NULL && !open && !token_is_right(httpd, request))
                refuse_unauthorized(request);
        else if (route != NULL)
                route->handler(httpd->owner, request);
        else if (allowed != 0)
                refuse_method(request, allowed);
        else
                httpd_reply_problem(request, 404, "not-found", "There is no such path",
                                    "See /openapi.yaml or the manual for the paths there are.",
                                    NULL);
}

void httpd_request_free(struct httpd_request *request)
{
        LIST_REMOVE(request, entry);
        evhttp_clear_headers(&request->query);
        free(request->path);
        free(request);
}

static void on_close(struct evhttp_connection *connection, void *arg)
{
        struct httpd_request *request = arg;

        (void)connection;
        request->gone = true;
        if (request->on_stream_close != NULL)
                httpd_stream_gone(request);
}

static struct httpd_request *request_create(struct httpd *httpd, struct evhttp_request *raw)
{
        const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(raw));
        struct httpd_request *request = calloc(1, sizeof(*request));

        if (request == NULL)
                return NULL;
        request->path = strdup(path != NULL ? path : "");
        if (request->path == NULL) {
                free(request);
                return NULL;
        }
        TAILQ_INIT(&request->query);
        request->httpd = httpd;
        request->raw = raw;
        snprintf(request->peer, sizeof(request->peer), "%s", raw->remote_host);
        /* evhttp must not free it before us; ended by letting go of it in give(). */
        evhttp_request_own(raw);
        evhttp_connection_set_closecb(evhttp_request_get_connection(raw), on_close, request);
        LIST_INSERT_HEAD(&httpd->unanswered, request, entry);
        return request;
}

static void on_request(struct evhttp_request *raw, void *arg)
{
        struct httpd *httpd = arg;
        struct httpd_request *request = request_create(httpd, raw);
        const char *query;

        if (request == NULL) {
                evhttp_send_error(raw, 503, NULL); /* httpd_wire makes a problem document of it */
                return;
        }
        query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(raw));
        if (query != NULL && query[0] != '\0' &&
            (strstr(query, "%00") != NULL || evhttp_parse_query_str(query, &request->query) != 0)) {
                refuse_malformed(request, "The query is not NAME=VALUE&NAME=VALUE.");
                return;
        }
        /* RFC 9112, 6.3: two ways to say where the body ends are an attempt to smuggle. */
        if (httpd_header(request, "Transfer-Encoding") != NULL &&
            httpd_header(request, "Content-Length") != NULL) {
                refuse_malformed(request,
                                 "Transfer-Encoding and Content-Length exclude each other.");
                return;
        }
        dispatch(httpd, request);
}

const char *httpd_placeholder(const struct httpd_request *request, unsigned i)
{
        return i < HTTPD_PLACEHOLDERS_MAX ? request->placeholders[i] : NULL;
}

const char *httpd_query(const struct httpd_request *request, const char *name)
{
        return evhttp_find_header(&request->query, name);
}

const char *httpd_header(const struct httpd_request *request, const char *name)
{
        return evhttp_find_header(evhttp_request_get_input_headers(request->raw), name);
}

const char *httpd_peer(const struct httpd_request *request)
{
        return request->peer;
}

const char *httpd_body(struct httpd_request *request, size_t *ret_len)
{
        struct evbuffer *body = evhttp_request_get_input_buffer(request->raw);
        const char *bytes = (const char *)evbuffer_pullup(body, -1);

        *ret_len = bytes != NULL ? evbuffer_get_length(body) : 0;
        return bytes != NULL ? bytes : "";
}

/* --- replies ------------------------------------------------------------------------------- */

void httpd_add_header(struct httpd_request *request, const char *name, const char *value)
{
        (void)evhttp_add_header(evhttp_request_get_output_headers(request->raw), name, value);
}

void httpd_add_common_headers(struct httpd_request *request)
{
        httpd_add_header(request, "Cache-Control", "no-store");
        httpd_add_header(request, "X-Content-Type-Options", "nosniff");
}

/* Lets go of the request: evhttp sends it, and frees it afterwards. */
static void give(struct httpd_request *request, int status, struct evbuffer *body)
{
        struct evhttp_request *raw = request->raw;

        if (request->gone) {
                evhttp_request_free(raw);
        } else {
                evhttp_connection_set_closecb(evhttp_request_get_connection(raw), NULL, NULL);
                raw->flags &= ~EVHTTP_USER_OWNED;
                httpd_wire_send(raw, status, body);
        }
        httpd_request_free(request);
}

void httpd_reply(struct httpd_request *request, int status, const char *content_type,
                 const void *body, size_t len)
{
        struct evbuffer *bytes = evbuffer_new();
        bool head = evhttp_request_get_command(request->raw) == EVHTTP_REQ_HEAD;

        if (bytes == NULL || (!head && evbuffer_add(bytes, body, len) != 0)) {
                status = 503;
                head = false;
                len = 0;
        }
        if (content_type != NULL)
                httpd_add_header(request, "Content-Type", content_type);
        httpd_add_common_headers(request);
        if (head && status != 204 && status != 304) {
                char number[24];

                snprintf(number, sizeof(number), "%zu", len);
                httpd_add_header(request, "Content-Length", number);
        }
        give(request, status, bytes);
        if (bytes != NULL)
                evbuffer_free(bytes);
}

static void reply_dumped(struct httpd_request *request, int status, const char *content_type,
                         json_t *json)
{
        char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

        json_decref(json);
        if (text == NULL) /* out of memory; a constant still can be sent */
                httpd_reply(request, 503, HTTPD_PROBLEM_TYPE, HTTPD_NO_MEMORY,
                            strlen(HTTPD_NO_MEMORY));
        else
                httpd_reply(request, status, content_type, text, strlen(text));
        free(text);
}

void httpd_reply_json(struct httpd_request *request, int status, json_t *json)
{
        reply_dumped(request, status, "application/json", json);
}

void httpd_reply_problem(struct httpd_request *request, int status, const char *slug,
                         const char *title, const char *detail, json_t *extra)
{
        json_t *problem = httpd_wire_problem(status, slug, title, detail);

        if (problem != NULL && extra != NULL && json_object_update_missing(problem, extra) != 0) {
                json_decref(problem);
                problem = NULL;
        }
        json_decref(extra);
        reply_dumped(request, status, HTTPD_PROBLEM_TYPE, problem);
}

/* --- the server ---------------------------------------------------------------------------- */

static const char *why_not_bound(int error)
{
        switch (error) {
        case EADDRINUSE:
                return "the address is in use: another program listens there";
        case EADDRNOTAVAIL:
                return "this machine has no such address";
        case EACCES:
                return "listening there needs more rights: ports below 1024 are for root";
        default:
                return "cannot listen there: is it an address of this machine?";
        }
}

enum err httpd_create(struct event_base *base, const struct httpd_options *options,
                      const struct httpd_route *routes, size_t n, void *owner,
                      struct httpd **ret_httpd, const char **ret_why)
{
        struct httpd *httpd = calloc(1, sizeof(*httpd));
        unsigned timeout_s = options->timeout_s != 0 ? options->timeout_s : DEFAULT_TIMEOUT_S;

        if (httpd == NULL)
                return ERR_NOMEM;
        httpd->http = evhttp_new(base);
        if (httpd->http == NULL)
                goto free_httpd;
        (void)signal(SIGPIPE, SIG_IGN); /* libevent writes without MSG_NOSIGNAL */
        httpd->base = base;
        httpd->routes = routes;
        httpd->n = n;
        httpd->token = options->token;
        httpd->owner = owner;
        LIST_INIT(&httpd->unanswered);
        httpd->timeout_s = (int)timeout_s;
        evhttp_set_timeout(httpd->http, httpd->timeout_s);
        evhttp_set_max_headers_size(httpd->http, HEADERS_MAX);
        evhttp_set_max_body_size(httpd->http, HTTPD_BODY_MAX);
        evhttp_set_default_content_type(httpd->http, NULL);
        /* All that evhttp can name come to on_request: a 405 is better than evhttp's 501. */
        evhttp_set_allowed_methods(httpd->http, 0x1ff);
        evhttp_set_gencb(httpd->http, on_request, httpd);
        httpd_wire_watch(httpd->http);
        errno = 0;
        httpd->bound = evhttp_bind_socket_with_handle(httpd->http, options->host, options->port);
        if (httpd->bound == NULL) {
                *ret_why = why_not_bound(errno);
                evhttp_free(httpd->http);
                free(httpd);
                return ERR_IO;
        }
        *ret_httpd = httpd;
        return OK;

free_httpd:
        free(httpd);
        return ERR_NOMEM;
}

static bool is_question(const struct httpd_request *request)
{
        enum evhttp_cmd_type type = evhttp_request_get_command(request->raw);

        return type == EVHTTP_REQ_GET || type == EVHTTP_REQ_HEAD;
}

void httpd_destroy(struct httpd *httpd)
{
        if (httpd == NULL)
                return;
        while (!LIST_EMPTY(&httpd->unanswered)) {
                struct httpd_request *request = LIST_FIRST(&httpd->unanswered);
                struct bufferevent *stream = request->gone
                                                 ? NULL
                                                 : evhttp_connection_get_bufferevent(
                                                       evhttp_request_get_connection(request->raw));

                if (request->on_stream_close != NULL) {
                        httpd_stream_stop(request);
                        continue;
                }
                httpd_add_header(request, "Connection", "close");
                /* 503 says that nothing was done: of what may change something nobody knows. */
                httpd_reply_problem(request, is_question(request) ? 503 : 504, "stopping",
                                    "This server is stopping",
                                    "Whether the request was carried out is not known. Ask again.",
                                    NULL);
                if (stream != NULL)
                        httpd_wire_flush(stream); /* no loop will run for it any more */
        }
        httpd_wire_end(httpd->base);
        evhttp_free(httpd->http);
        free(httpd);
}

uint16_t httpd_port(const struct httpd *httpd)
{
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);

        check(getsockname(evhttp_bound_socket_get_fd(httpd->bound), (struct sockaddr *)&address,
                          &len) == 0);
        if (address.ss_family == AF_INET6)
                return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}
