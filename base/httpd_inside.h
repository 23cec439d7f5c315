/* base/httpd_inside.h -- what the files of httpd share; nobody else includes it. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

#include "base/httpd.h"

struct httpd_request {
        LIST_ENTRY(httpd_request) entry;
        struct httpd *httpd;
        struct evhttp_request *raw;                 /* ours to free once `gone` */
        bool gone;                                  /* the connection does not exist any more */
        char *placeholders[HTTPD_PLACEHOLDERS_MAX]; /* point into `path` */
        char *path;                                 /* copy, cut up and decoded in place */
        struct evkeyvalq query;
        char peer[64];
        httpd_stream_closed_fn *on_stream_close; /* NULL: not a stream */
        void *stream_owner;
        bool dropped; /* a stream whose reader was too slow: on_close is on its way */
};

struct httpd {
        struct event_base *base;
        struct evhttp *http;
        struct evhttp_bound_socket *bound;
        const struct httpd_route *routes;
        size_t n;
        const char *token;
        void *owner;
        int timeout_s;
        LIST_HEAD(, httpd_request) unanswered; /* and streams */
};

void httpd_request_free(struct httpd_request *request); /* ours; evhttp's is left as it is */
void httpd_add_common_headers(struct httpd_request *request);

/* --- httpd_stream.c -----------------------------------------------------------------------------
 */

void httpd_stream_gone(
    struct httpd_request *stream); /* evhttp's connection is ending; tells the owner */
void httpd_stream_stop(struct httpd_request *stream); /* the server is ending; the same */
