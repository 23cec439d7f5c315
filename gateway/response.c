/* gateway/response.c -- one place for every head this port writes. Browsers on other sites may read
 * all of it: nothing here depends on cookies or on who asks. */
#include "gateway/response.h"

#include <string.h>

#include "proto/sse.h"
#include "proto/ws.h"

#define EVERYBODY                                                                               \
        "Access-Control-Allow-Origin: *\r\n"                                                    \
        "Access-Control-Expose-Headers: ETag, Kickoff-Bundle, Kickoff-Hash, Kickoff-Position, " \
        "Retry-After\r\n"

static const char *reason_phrase(unsigned status)
{
        static const struct {
                unsigned status;
                const char *phrase;
        } table[] = {
                { 400, "Bad Request" },
                { 403, "Forbidden" },
                { 404, "Not Found" },
                { 405, "Method Not Allowed" },
                { 406, "Not Acceptable" },
                { 410, "Gone" },
                { 426, "Upgrade Required" },
                { 429, "Too Many Requests" },
                { 431, "Request Header Fields Too Large" },
                { 501, "Not Implemented" },
                { 503, "Service Unavailable" },
                { 505, "HTTP Version Not Supported" },
        };

        for (size_t i = 0; i < countof(table); i++)
                if (table[i].status == status)
                        return table[i].phrase;
        return "Refused"; /* a client must not care (RFC 9112 4) */
}

static void add_number(struct buf *out, const char *before, uint64_t number)
{
        buf_str(out, before);
        buf_u64(out, number);
        buf_str(out, "\r\n");
}

void response_refusal(struct buf *out, const struct refusal_text *text, unsigned retry_s,
                      unsigned max_age_s, bool closes, bool head_only)
{
        char array[512];
        struct buf body;

        buf_init_fixed(&body, array, sizeof(array));
        buf_str(&body, "{\"title\":\"");
        buf_str(&body, text->title);
        buf_str(&body, "\",\"status\":");
        buf_u64(&body, text->status);
        buf_str(&body, ",\"detail\":\"");
        buf_str(&body, text->detail);
        buf_str(&body, "\"}\n");
        check(!body.failed); /* our own sentences */

        buf_str(out, "HTTP/1.1 ");
        buf_u64(out, text->status);
        buf_char(out, ' ');
        buf_str(out, reason_phrase(text->status));
        buf_str(out, "\r\nContent-Type: application/problem+json\r\n");
        add_number(out, "Content-Length: ", body.len);
        if (retry_s > 0)
                add_number(out, "Retry-After: ", retry_s);
        if (max_age_s > 0)
                add_number(out, "Cache-Control: public, max-age=", max_age_s);
        else
                buf_str(out, "Cache-Control: no-store\r\n");
        if (text->status == 405) /* HEAD may be what was refused: a session has none */
                buf_str(out, head_only ? "Allow: GET\r\n" : "Allow: GET, HEAD\r\n");
        if (text->status == 426) /* RFC 9110 15.5.22, RFC 6455 4.4; Upgrade needs Connection */
                buf_str(out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
        if (closes)
                buf_str(out, text->status == 426 ? "Connection: close, Upgrade\r\n"
                                                 : "Connection: close\r\n");
        else if (text->status == 426)
                buf_str(out, "Connection: Upgrade\r\n");
        buf_str(out, EVERYBODY "\r\n");
        if (!head_only)
                buf_add(out, body.data, body.len);
}

void response_health(struct buf *out, bool closes, bool head_only)
{
        buf_str(out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
                     "Cache-Control: no-store\r\n");
        if (closes)
                buf_str(out, "Connection: close\r\n");
        buf_str(out, head_only ? "\r\n" : "\r\nok\n");
}

static void add_etag(struct buf *out, const struct token *token)
{
        char text[TOKEN_TEXT_MAX + 1];
        size_t len = token_format(token, text);

        buf_str(out, "ETag: \"");
        buf_add(out, text, len);
        buf_str(out, "\"\r\n");
        add_number(out, "Cache-Control: public, max-age=", RESPONSE_EVENTS_MAX_AGE_S);
        buf_str(out, EVERYBODY);
}

void response_events_head(struct buf *out, const struct token *token, size_t body_len, bool closes)
{
        buf_str(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
        add_number(out, "Content-Length: ", body_len);
        add_etag(out, token);
        buf_str(out, closes ? "Connection: close\r\n\r\n" : "\r\n");
}

void response_events_304(struct buf *out, const struct token *token, bool closes)
{
        buf_str(out, "HTTP/1.1 304 Not Modified\r\n");
        add_etag(out, token);
        buf_str(out, closes ? "Connection: close\r\n\r\n" : "\r\n");
}

bool response_events_matches(const struct token *token, struct slice if_none_match)
{
        char quoted[TOKEN_TEXT_MAX + 3];
        size_t len;

        if (if_none_match.at == NULL)
                return false;
        if (slice_is(if_none_match, "*"))
                return true;
        /* A token holds neither quotes nor commas, so its quoted text can only be a whole member of
         * the list, weak or strong (RFC 9110 13.1.2 compares weakly). */
        quoted[0] = '"';
        len = 1 + token_format(token, quoted + 1);
        quoted[len++] = '"';
        return memmem(if_none_match.at, if_none_match.len, quoted, len) != NULL;
}

void response_upgrade(struct buf *out, const char key[24], bool names_subprotocol,
                      enum encoding encoding)
{
        char accept[29];

        ws_accept_key(key, accept);
        buf_str(out, "HTTP/1.1 101 Switching Protocols\r\n"
                     "Upgrade: websocket\r\n"
                     "Connection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: ");
        buf_add(out, accept, 28);
        if (names_subprotocol) {
                buf_str(out, "\r\nSec-WebSocket-Protocol: ");
                buf_str(out, encoding_subprotocol[encoding]);
        }
        buf_str(out, "\r\n\r\n");
}

void response_turned_away(struct buf *out, const char key[24], bool names_subprotocol,
                          enum encoding encoding, uint32_t min_ms, uint32_t max_ms)
{
        const struct message message = {
                .type = MESSAGE_GOAWAY,
                .goaway = { .reason = GOAWAY_OVERLOAD, .min_ms = min_ms, .max_ms = max_ms }
        };
        uint8_t header[WS_HEADER_MAX], close[2 + WS_CONTROL_MAX];
        char array[256];
        struct buf payload;

        buf_init_fixed(&payload, array, sizeof(array));
        message_encode(&message, encoding, &payload);
        check(!payload.failed);
        response_upgrade(out, key, names_subprotocol, encoding);
        buf_add(out, header,
                ws_header(header, encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY, payload.len));
        buf_add(out, payload.data, payload.len);
        buf_add(out, close, ws_close_frame(close, CLOSE_OVERLOAD));
}

/* --- event streams --------------------------------------------------------------------------- */

/* No Content-Length and no chunks: it ends when the connection does (RFC 9112 6.3), so that what is
 * broadcast is the same bytes for every stream, whatever came before. Not to be stored, nor changed
 * on the way (a proxy that compresses must gather bytes first); X-Accel-Buffering is nginx' word
 * for passing on at once. */
void response_stream(struct buf *out, const struct token *since, uint32_t come_back_ms)
{
        buf_str(out, "HTTP/1.1 200 OK\r\n"
                     "Content-Type: text/event-stream\r\n"
                     "Cache-Control: no-store, no-transform\r\n"
                     "X-Accel-Buffering: no\r\n"
                     "Connection: close\r\n" EVERYBODY "\r\n");
        sse_retry(out, come_back_ms);
        sse_block(out, since, NULL, 0);
}

void response_stream_goaway(struct buf *out, const struct goaway *goaway, struct rng *rng)
{
        const struct message message = { .type = MESSAGE_GOAWAY, .goaway = *goaway };
        uint32_t come_back_ms = goaway->min_ms;
        char array[256];
        struct buf payload;

        if (goaway->reason == GOAWAY_REPLACED)
                come_back_ms = RESPONSE_COME_BACK_NEVER_MS;
        else
                come_back_ms +=
                    (uint32_t)rng_below(rng, (uint64_t)goaway->max_ms - goaway->min_ms + 1);
        buf_init_fixed(&payload, array, sizeof(array));
        message_encode(&message, ENCODING_JSON, &payload);
        check(!payload.failed);
        sse_retry(out, come_back_ms);
        sse_block(out, NULL, payload.data, payload.len);
}
