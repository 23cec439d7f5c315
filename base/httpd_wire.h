/* base/httpd_wire.h -- inside httpd only: what evhttp (libevent 2.1) does on the wire by itself,
 * put right. It answers a malformed or too large request with a page of HTML, over which we have no
 * say, and closes with bytes unread, so that the kernel sends a reset that can overtake the answer.
 * Here such a page becomes a problem document, and the socket lingers until the client has had its
 * say. */
#pragma once

#include <jansson.h>

struct bufferevent;
struct evbuffer;
struct event_base;
struct evhttp;
struct evhttp_request;

#define HTTPD_PROBLEM_TYPE "application/problem+json"
#define HTTPD_NO_MEMORY                                                                 \
        "{\"type\":\"/problems/no-memory\",\"title\":\"Out of memory\",\"status\":503," \
        "\"detail\":\"Ask again later.\"}"

void httpd_wire_watch(struct evhttp *http); /* from now on, each of its connections */
/* An answer of our own. */
void httpd_wire_send(struct evhttp_request *request, int status, struct evbuffer *body);
/* The same in pieces: the head of a 200, a chunk (drained), the end. */
void httpd_wire_begin(struct evhttp_request *request);
void httpd_wire_chunk(struct evhttp_request *request, struct evbuffer *chunk);
void httpd_wire_end_chunks(struct evhttp_request *request);
/* Writes what the socket takes at once, without a loop. */
void httpd_wire_flush(struct bufferevent *stream);
/* No more lingering on this base. */
void httpd_wire_end(struct event_base *base);
/* A new reference; NULL when out of memory. */
json_t *httpd_wire_problem(int status, const char *slug, const char *title, const char *detail);
