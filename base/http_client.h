/* base/http_client.h -- one HTTP request, waited for: what a command-line tool needs. Plain http://
 * only. Blocks its own thread (it runs a private event loop), so never call it from a loop. */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/err.h"

#define HTTP_CLIENT_HEADERS_MAX 8

struct http_header {
        const char *name, *value;
};

struct http_ask {
        const char *method; /* "GET", "POST", "PUT" */
        const char *url;    /* "http://127.0.0.1:9090/v1/events" */
        struct http_header headers[HTTP_CLIENT_HEADERS_MAX]; /* up to the first NULL name */
        const void *body;
        size_t body_len;
        unsigned timeout_ms; /* 0 = 10000 */
};

struct http_answer { /* free with http_answer_fini */
        int status;
        char *body; /* NUL-terminated, never NULL after OK */
        size_t body_len;
        char *etag, *retry_after, *content_type; /* NULL when absent */
};

/* OK for any answer, whatever its status. ERR_INVALID: bad URL. ERR_UNAVAILABLE: could not connect, so
 * nothing was sent. ERR_TIMEOUT, ERR_IO: sent, outcome unknown. */
must_check enum err http_client_ask(const struct http_ask *ask, struct http_answer *ret_answer);
void http_answer_fini(struct http_answer *answer);
