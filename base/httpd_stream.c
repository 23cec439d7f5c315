/* base/httpd_stream.c -- decides how long a reader may be slow; refuses to know what it is sent.
 *
 * Happy path: begin -> the head -> send, send ... -> the reader hangs up -> evhttp notices the end
 * of its connection (it reads while it writes, to that end) -> httpd_stream_gone -> the owner's
 * on_close. A slow reader's socket is shut down, which evhttp then notices in the same way: so
 * there is one way out, and nothing is freed inside a send. */
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/httpd_inside.h"
#include "base/httpd_wire.h"

#define WRITE_TIMEOUT_S 30

static struct bufferevent *wire_of(const struct httpd_request *stream)
{
        return evhttp_connection_get_bufferevent(evhttp_request_get_connection(stream->raw));
}

bool httpd_stream_begin(struct httpd_request *request, const char *content_type,
                        httpd_stream_closed_fn *on_close, void *owner)
{
        const struct timeval write_timeout = { WRITE_TIMEOUT_S, 0 };

        check(on_close != NULL);
        if (request->gone || evhttp_request_get_command(request->raw) == EVHTTP_REQ_HEAD) {
                httpd_reply(request, 200, content_type, NULL, 0);
                return false;
        }
        httpd_add_header(request, "Content-Type", content_type);
        httpd_add_common_headers(request);
        request->on_stream_close = on_close;
        request->stream_owner = owner;
        /* A reader has nothing to say for hours: only what is not taken may time out. */
        bufferevent_set_timeouts(wire_of(request), NULL, &write_timeout);
        httpd_wire_begin(request->raw);
        return true;
}

void httpd_stream_send(struct httpd_request *stream, const void *bytes, size_t len)
{
        struct evbuffer *chunk;

        check(stream->on_stream_close != NULL);
        if (stream->dropped || len == 0) /* an empty chunk would be the last one: RFC 9112, 7.1 */
                return;
        chunk = evbuffer_new();
        if (evbuffer_get_length(bufferevent_get_output(wire_of(stream))) >
                HTTPD_STREAM_UNSENT_MAX ||
            chunk == NULL || evbuffer_add(chunk, bytes, len) != 0) {
                stream->dropped = true;
                (void)shutdown(bufferevent_getfd(wire_of(stream)), SHUT_RDWR);
        } else {
                httpd_wire_chunk(stream->raw, chunk);
        }
        if (chunk != NULL)
                evbuffer_free(chunk);
}

static void end(struct httpd_request *stream)
{
        struct evhttp_connection *connection = evhttp_request_get_connection(stream->raw);

        evhttp_connection_set_closecb(connection, NULL, NULL);
        evhttp_connection_set_timeout(connection, stream->httpd->timeout_s);
        stream->raw->flags &= ~EVHTTP_USER_OWNED; /* evhttp frees it when all is out */
        httpd_wire_end_chunks(stream->raw);
        httpd_request_free(stream);
}

void httpd_stream_end(struct httpd_request *stream)
{
        check(stream->on_stream_close != NULL);
        end(stream);
}

void httpd_stream_stop(struct httpd_request *stream)
{
        httpd_stream_closed_fn *on_close = stream->on_stream_close;
        struct bufferevent *wire = wire_of(stream);
        void *owner = stream->stream_owner;

        bufferevent_incref(wire); /* HTTP/1.0: evhttp may end the connection at once */
        end(stream);
        httpd_wire_flush(wire); /* no loop will run for it any more */
        bufferevent_decref(wire);
        on_close(owner);
}

/* evhttp has taken the request off its connection if that broke, and frees it itself if it is
 * ending in order. */
void httpd_stream_gone(struct httpd_request *stream)
{
        httpd_stream_closed_fn *on_close = stream->on_stream_close;
        struct evhttp_request *raw = stream->raw;
        void *owner = stream->stream_owner;

        if (evhttp_request_get_connection(raw) == NULL)
                evhttp_request_free(raw);
        else
                raw->flags &= ~EVHTTP_USER_OWNED;
        httpd_request_free(stream);
        on_close(owner);
}
