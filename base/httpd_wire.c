/* base/httpd_wire.c -- decides how evhttp's own answers look, and when a refused client's socket
 * closes; refuses to know routes and requests. Works from a callback on each connection's output:
 * bytes that httpd_wire_send() did not put there are evhttp's. */
#include "base/httpd_wire.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/httpd.h"

#define LINGER_MS 2000
/* A body and its framing. evhttp bounds neither the line before a chunk nor the lines after the
 * last. */
#define INPUT_MAX (HTTPD_BODY_MAX + 64u * 1024u)

struct lingering {
        LIST_ENTRY(lingering) entry;
        struct bufferevent
            *stream; /* our reference keeps the socket open after evhttp let go of it */
        struct event *event;
        uint64_t deadline_ms; /* monotonic */
};

/* Of this thread, as a server and its loop are. */
static _Thread_local LIST_HEAD(, lingering) all_lingering = LIST_HEAD_INITIALIZER(all_lingering);
static _Thread_local bool ours; /* whatever goes into an output now is meant */

static const struct {
        int status;
        const char *line, *slug, *title, *detail;
} refusals[] = {
        { 413, "413 Content Too Large", "too-large", "The body is too large",
          "A request body may have at most 1048576 bytes." },
        { 417, "417 Expectation Failed", "expectation-failed", "Unknown expectation",
          "The only Expect this server knows is 100-continue." },
        { 501, "501 Not Implemented", "method-not-implemented", "Unknown method",
          "See the manual for the methods each path has." },
        { 503, "503 Service Unavailable", "no-memory", "Out of memory", "Ask again later." },
        { 400, "400 Bad Request", "malformed-request", "The request is malformed",
          "It is not HTTP/1.1, or its head is larger than 16384 bytes." },
};

json_t *httpd_wire_problem(int status, const char *slug, const char *title, const char *detail)
{
        return json_pack("{s:o, s:s, s:i, s:s}", "type", json_sprintf("/problems/%s", slug),
                         "title", title, "status", status, "detail", detail);
}

/* --- lingering ----------------------------------------------------------------------------- */

static void stop_lingering(struct lingering *lingering)
{
        LIST_REMOVE(lingering, entry);
        event_free(lingering->event);
        bufferevent_decref(lingering->stream); /* closes the socket if evhttp is done with it */
        free(lingering);
}

static void on_leftover(evutil_socket_t fd, short what, void *arg)
{
        struct lingering *lingering = arg;
        char bytes[16384];

        if ((what & EV_TIMEOUT) != 0 || clock_mono_ms() >= lingering->deadline_ms ||
            recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
                stop_lingering(lingering);
}

static void linger(struct bufferevent *stream)
{
        const struct timeval silence = { LINGER_MS / 1000, 0 };
        struct lingering *lingering = calloc(1, sizeof(*lingering));

        if (lingering == NULL)
                return; /* then the answer may be overtaken by a reset */
        lingering->event = event_new(bufferevent_get_base(stream), bufferevent_getfd(stream),
                                     EV_READ | EV_PERSIST, on_leftover, lingering);
        if (lingering->event == NULL || event_add(lingering->event, &silence) != 0) {
                if (lingering->event != NULL)
                        event_free(lingering->event);
                free(lingering);
                return;
        }
        /* on_leftover() throws away what still comes; evhttp, which reads while it writes to notice
         * the end, would keep it. */
        bufferevent_setwatermark(stream, EV_READ, 0, 1);
        lingering->stream = stream;
        lingering->deadline_ms = clock_mono_ms() + LINGER_MS;
        bufferevent_incref(stream);
        LIST_INSERT_HEAD(&all_lingering, lingering, entry);
}

void httpd_wire_end(struct event_base *base)
{
        struct lingering *next;

        for (struct lingering *at = LIST_FIRST(&all_lingering); at != NULL; at = next) {
                next = LIST_NEXT(at, entry);
                if (bufferevent_get_base(at->stream) == base)
                        stop_lingering(at);
        }
}

/* --- watching ------------------------------------------------------------------------------ */

/* The status of the answer at the front of `output`; 0 if there is none. */
static int status_of(struct evbuffer *output)
{
        char line[13] = "";

        if (evbuffer_copyout(output, line, sizeof(line) - 1) != sizeof(line) - 1 ||
            strncmp(line, "HTTP/1.", 7) != 0)
                return 0;
        return atoi(line + 9);
}

static void rewrite(struct evbuffer *output, int status)
{
        size_t i = 0;
        json_t *problem;
        char *text;

        while (i + 1 < countof(refusals) && refusals[i].status != status)
                i++;
        problem = httpd_wire_problem(refusals[i].status, refusals[i].slug, refusals[i].title,
                                     refusals[i].detail);
        text = problem != NULL ? json_dumps(problem, JSON_COMPACT) : NULL;
        json_decref(problem);
        evbuffer_drain(output, evbuffer_get_length(output));
        evbuffer_add_printf(output,
                            "HTTP/1.1 %s\r\n"
                            "Content-Type: " HTTPD_PROBLEM_TYPE "\r\n"
                            "Content-Length: %zu\r\n"
                            "Cache-Control: no-store\r\n"
                            "X-Content-Type-Options: nosniff\r\n"
                            "Connection: close\r\n\r\n%s",
                            refusals[i].line, text != NULL ? strlen(text) : 0,
                            text != NULL ? text : "");
        free(text);
}

/* evhttp writes its page in pieces, each of which comes here: the document is put in anew each
 * time, and the status survives at its front. The connection closes afterwards: evhttp's pages say
 * so. */
static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
        struct bufferevent *stream = arg;
        int status;

        if (ours || info->n_added == 0)
                return;
        evbuffer_unfreeze(output, 1); /* the front is the bufferevent's own, but for this moment */
        status = status_of(output);
        if (status >= 400) { /* or else it is 100 Continue */
                ours = true;
                rewrite(output, status);
                ours = false;
        }
        evbuffer_freeze(output, 1);
        if (status >= 400 && info->orig_size == 0)
                linger(stream);
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
        if (info->n_added > 0 && evbuffer_get_length(input) > INPUT_MAX)
                (void)shutdown(bufferevent_getfd(arg),
                               SHUT_RD); /* evhttp reads the end, and drops it */
}

static struct bufferevent *on_connection(struct event_base *base, void *unused)
{
        struct bufferevent *stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

        (void)unused;
        if (stream == NULL)
                return NULL; /* evhttp makes one of its own, or gives up */
        (void)evbuffer_add_cb(bufferevent_get_output(stream), on_output, stream);
        (void)evbuffer_add_cb(bufferevent_get_input(stream), on_input, stream);
        return stream;
}

void httpd_wire_watch(struct evhttp *http)
{
        evhttp_set_bevcb(http, on_connection, NULL);
}

/* --- our own answers ----------------------------------------------------------------------- */

void httpd_wire_send(struct evhttp_request *request, int status, struct evbuffer *body)
{
        ours = true;
        evhttp_send_reply(request, status, NULL, body);
        ours = false;
}

void httpd_wire_begin(struct evhttp_request *request)
{
        ours = true;
        evhttp_send_reply_start(request, 200, NULL);
        ours = false;
}

void httpd_wire_chunk(struct evhttp_request *request, struct evbuffer *chunk)
{
        ours = true;
        evhttp_send_reply_chunk(request, chunk);
        ours = false;
}

void httpd_wire_end_chunks(struct evhttp_request *request)
{
        ours = true;
        evhttp_send_reply_end(request);
        ours = false;
}

void httpd_wire_flush(struct bufferevent *stream)
{
        struct evbuffer *output = bufferevent_get_output(stream);

        evbuffer_unfreeze(output, 1);
        (void)evbuffer_write(output, bufferevent_getfd(stream));
        evbuffer_freeze(output, 1);
}
