/* base/httpd.h -- a small JSON-over-HTTP server on evhttp, for people and tools, not for devices:
 * routes with {placeholders}, body limit, bearer token, problem details (RFC 9457), and replies that may
 * come later, or have no end (httpd_stream_begin). Only httpd*.c include event2/http.h on the server side.
 * One thread: base's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct httpd;
struct httpd_request;

#define HTTPD_PLACEHOLDERS_MAX 4
#define HTTPD_BODY_MAX         (1024u * 1024u) /* bytes; one more is answered 413 */

enum httpd_method { HTTPD_GET = 1, HTTPD_POST = 2, HTTPD_PUT = 4, HTTPD_DELETE = 8 };

/* Answer now, or keep `request` and answer later, exactly once, with one of the httpd_reply functions.
 * If the client goes away first, the request stays valid and the reply is dropped. */
typedef void httpd_handler_fn(void *owner, struct httpd_request *request);

struct httpd_route {
        enum httpd_method method;
        const char *path; /* "/v1/events/{id}/start" */
        httpd_handler_fn *handler;
        bool open; /* needs no token: health checks */
};

struct httpd_options {
        const char *host; /* address to bind */
        uint16_t port;    /* 0 = any; ask httpd_port() */
        const char *token; /* bearer token every route but the open ones asks for; NULL = none. Borrowed */
        unsigned timeout_s; /* for reading a request and writing the answer; 0 = 30 */
};

/* `routes` is borrowed until destroy. The process must ignore SIGPIPE: done in here. A path that exists with another method gives 405 with Allow,
 * anything else 404, both as problem details. On ERR_IO *ret_why is a sentence (address in use ...). */
must_check enum err httpd_create(struct event_base *base, const struct httpd_options *options,
                                 const struct httpd_route *routes, size_t n, void *owner,
                                 struct httpd **ret_httpd, const char **ret_why);
/* Requests not yet answered get 503 if they are questions; else 504, for they may have changed something. */
void httpd_destroy(struct httpd *httpd);
uint16_t httpd_port(const struct httpd *httpd);

/* What was asked. Texts are borrowed until the reply; NULL when absent. */
const char *httpd_placeholder(const struct httpd_request *request, unsigned i); /* percent-decoded */
const char *httpd_query(const struct httpd_request *request, const char *name); /* percent-decoded */
const char *httpd_header(const struct httpd_request *request, const char *name);
const char *httpd_peer(const struct httpd_request *request); /* address as text */
const char *httpd_body(struct httpd_request *request, size_t *ret_len);

/* Headers go before the reply. */
void httpd_add_header(struct httpd_request *request, const char *name, const char *value);
void httpd_reply(struct httpd_request *request, int status, const char *content_type, const void *body,
                 size_t len);
/* Takes `json`'s reference. */
void httpd_reply_json(struct httpd_request *request, int status, json_t *json);
/* application/problem+json: `slug` names the type ("/problems/<slug>"), `detail` says what to do next.
 * `extra` (may be NULL, reference taken) adds members. */
void httpd_reply_problem(struct httpd_request *request, int status, const char *slug, const char *title,
                         const char *detail, json_t *extra);

/* --- replies without an end: server-sent events and their like (httpd_stream.c) -----------------
 *
 * A stream is sent in HTTP's chunks and has no timeout, as long as its reader takes what it is sent. Memory per
 * stream is bounded by HTTPD_STREAM_UNSENT_MAX and one send: a reader who has so much waiting for it already is
 * dropped at the next send, as is one who takes nothing for 30 s while something waits. */
#define HTTPD_STREAM_UNSENT_MAX (256u * 1024u) /* bytes */

/* The reader went away, was dropped, or the server is being destroyed: the request is not yours any more. Exactly
 * once unless httpd_stream_end came first; never from inside httpd_stream_begin, _send or _end. */
typedef void httpd_stream_closed_fn(void *owner);

/* Instead of a reply: 200 with the headers added before. From here on `request` is the stream's handle, until
 * `on_close` or httpd_stream_end. false: there will be no stream, all is answered (a HEAD; out of memory), and
 * on_close is not called. */
must_check bool httpd_stream_begin(struct httpd_request *request, const char *content_type,
                                   httpd_stream_closed_fn *on_close, void *owner);
/* `bytes` are copied. To a reader who is gone or slow: nothing is sent, and on_close comes soon. */
void httpd_stream_send(struct httpd_request *stream, const void *bytes, size_t len);
/* What was sent still goes out, then the connection is free for another request. */
void httpd_stream_end(struct httpd_request *stream);
