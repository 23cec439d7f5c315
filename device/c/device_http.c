/* device/c/device_http.c -- plain HTTP over libwebsockets: GET of a bundle, and the event stream
 * that stands in for a WebSocket. Turns what the library tells into inputs of the core, and into
 * the fields of `fetch`; decides nothing.
 *
 * Odd about the library, beside what device_link.c says: a body is announced (RECEIVE_CLIENT_HTTP)
 * and must then be asked for with lws_http_client_read(), which calls back with the bytes; chunks
 * are joined by then. An answer without a length, 304 among them, it takes to end with the
 * connection; one of length 0 it completes, but forgets to close. Headers it has no number for are
 * found by their name in lower case, with the colon. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/gzip.h"
#include "device/c/device_lws.h"

#define READ_BYTES    4096
#define FETCH_WAIT_MS 30000u
#define BODY_MAX      (1024u * 1024u) /* of a bundle, packed or not; nodes take no larger ones */
#define PATH_BYTES    256
#define MAX_AGE_MAX_S 86400 /* a node that says more is not believed */

const char device_http_stream_protocol[] = "kickoff-stream";
const char device_http_fetch_protocol[] = "kickoff-fetch";

/* The bytes that were announced; they come in another callback. -1: the connection is over. */
static int read_on(struct lws *wsi)
{
        char bytes[LWS_PRE + READ_BYTES], *at = bytes + LWS_PRE;
        int len = READ_BYTES;

        return lws_http_client_read(wsi, &at, &len) < 0 ? -1 : 0;
}

/* For a callback to return. It closes the connection, and the timer does where the library forgets to.
 */
static int close_soon(struct lws *wsi)
{
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
        return -1;
}

/* False: no room; there are several hundred bytes of it. */
static bool add_header(struct lws *wsi, void *in, size_t len, const char *name, const char *value)
{
        unsigned char **at = in;

        return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                           (const unsigned char *)value, (int)strlen(value), at,
                                           *at + len) == 0;
}

static bool begin(struct kickoff_device *device, const char *path, const char *protocol,
                  void *owner, struct lws **wsi)
{
        struct lws_client_connect_info info = {
                .path = path,
                .method = "GET",
                .alpn = "http/1.1",
                .local_protocol_name = protocol,
                .protocol = protocol,
                .userdata = owner,
                .pwsi = wsi,
        };

        device_link_where(device, &info);
        info.origin = NULL;
        return lws_client_connect_via_info(&info) != NULL;
}

/* --- the event stream ----------------------------------------------------------------------- */

bool device_http_stream(struct link *link, const char *path)
{
        return begin(link->device, path, device_http_stream_protocol, link, &link->wsi);
}

static void on_stream_bytes(struct link *link, const char *bytes, size_t len)
{
        while (len > 0 && link->goodbye == GOODBYE_NONE) {
                size_t used = 0;

                switch (device_sse_read(&link->sse, bytes, len, MESSAGE_FROM_NODE_MAX, &used)) {
                case DEVICE_SSE_EVENT:
                        device_link_feed_bytes(link, link->sse.data.data, link->sse.data.len,
                                               ENCODING_JSON);
                        break;
                case DEVICE_SSE_COMMENT:
                        device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_HEARD });
                        break;
                case DEVICE_SSE_BROKEN:
                        device_link_feed_garbage(link, CLOSE_TOO_BIG, NULL);
                        return;
                case DEVICE_SSE_MORE:
                        break;
                }
                bytes += used;
                len -= used;
        }
}

static void on_stream_answer(struct link *link)
{
        device_link_note_answer(link);
        if (link->status == 200) {
                link->opened = true;
                lws_set_timeout(link->wsi, NO_PENDING_TIMEOUT,
                                0); /* silence is the core's matter */
                device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_OPENED });
        } else {
                device_link_not_opened(link, NULL, 0);
                link->goodbye = GOODBYE_CUT;
        }
}

int device_http_stream_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                             size_t len)
{
        struct link *link = user;

        if (link == NULL)
                return 0;
        switch (event) {
        case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
                if (!add_header(wsi, in, len, "accept:", "text/event-stream"))
                        return -1;
                device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_REACHED });
                return 0;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
                link->wsi = wsi;
                device_link_not_opened(link, in, len);
                return 0;
        case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
                link->wsi = wsi;
                on_stream_answer(link);
                break;
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
                if (link->goodbye == GOODBYE_NONE && read_on(wsi) != 0)
                        return -1;
                break;
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
                on_stream_bytes(link, in, len);
                break;
        case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
                device_link_end(link);
                return close_soon(wsi);
        case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
                device_link_end(link);
                return -1;
        default:
                break;
        }
        return link->goodbye == GOODBYE_NONE ? 0 : -1;
}

/* --- bundles -------------------------------------------------------------------------------- */

/* A few packed bytes can stand for very many, so the limit holds for what comes out, too. */
static void unpack(struct fetch *fetch)
{
        struct buf *bytes = &fetch->copy.bytes, plain = BUF_INIT;

        if (gzip_unpack(bytes->data, bytes->len, BODY_MAX, &plain) != OK)
                fetch->is_broken = true;
        buf_fini(bytes);
        *bytes = plain;
}

static void end_fetch(struct fetch *fetch)
{
        if (!fetch->is_busy)
                return;
        fetch->is_busy = false;
        if (fetch->is_packed && fetch->status == 200 && !fetch->is_broken)
                unpack(fetch);
        kickoff_device_fetched(fetch->device);
        buf_fini(&fetch->copy.bytes);
}

static void on_gone(struct wire *wire)
{
        struct fetch *fetch = (struct fetch *)wire;

        fetch->wsi = NULL;
        end_fetch(fetch); /* cut short: what is not whole does not have its hash either */
}

void device_http_fetch(struct kickoff_device *device, const struct device_row *row)
{
        struct fetch *fetch = &device->fetch;
        char path[PATH_BYTES];

        *fetch = (struct fetch){ .wire.gone = on_gone,
                                 .device = device,
                                 .is_busy = true,
                                 .deadline_ms = clock_mono_ms() + FETCH_WAIT_MS,
                                 .retry_after_s = -1,
                                 .max_age_s = -1 };
        buf_init(&fetch->copy.bytes);
        memcpy(fetch->event, row->state.event, sizeof(fetch->event));
        memcpy(fetch->known, row->hash, sizeof(fetch->known));
        snprintf(path, sizeof(path), "/v1/prefetch/%s%s%s", fetch->event,
                 device->cohort[0] != '\0' ? "?cohort=" : "", device->cohort);
        if (!begin(device, path, device_http_fetch_protocol, fetch, &fetch->wsi)) {
                fetch->wsi = NULL;
                end_fetch(fetch);
        }
}

void device_http_check(struct kickoff_device *device)
{
        struct fetch *fetch = &device->fetch;

        if (!fetch->is_busy || clock_mono_ms() < fetch->deadline_ms)
                return;
        fetch->status = 0;
        fetch->is_broken = true;
        if (fetch->wsi != NULL)
                lws_set_timeout(fetch->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
        end_fetch(fetch);
}

static bool read_header(struct lws *wsi, const char *name, char *text, size_t size)
{
        int len = lws_hdr_custom_length(wsi, name, (int)strlen(name));

        return len > 0 && (size_t)len < size &&
               lws_hdr_custom_copy(wsi, text, (int)size, name, (int)strlen(name)) > 0;
}

static void read_answer(struct fetch *fetch)
{
        char text[128];
        const char *age;

        fetch->status = lws_http_client_http_response(fetch->wsi);
        fetch->retry_after_s = device_link_retry_after(fetch->wsi);
        if (read_header(fetch->wsi, "kickoff-bundle:", text, sizeof(text)))
                fetch->copy.version = strtoull(text, NULL, 10);
        if (read_header(fetch->wsi, "kickoff-hash:", text, sizeof(text)) &&
            strncmp(text, "sha-256=", 8) == 0 && strlen(text + 8) == 64)
                memcpy(fetch->expected, text + 8, 65);
        if (lws_hdr_total_length(fetch->wsi, WSI_TOKEN_HTTP_CONTENT_ENCODING) > 0) {
                fetch->is_packed = lws_hdr_copy(fetch->wsi, text, sizeof(text),
                                                WSI_TOKEN_HTTP_CONTENT_ENCODING) > 0 &&
                                   strcasecmp(text, "gzip") == 0;
                fetch->is_broken = !fetch->is_packed;
        }
        if (lws_hdr_copy(fetch->wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_TYPE) > 0)
                snprintf(fetch->copy.content_type, sizeof(fetch->copy.content_type), "%s", text);
        if (lws_hdr_copy(fetch->wsi, text, sizeof(text), WSI_TOKEN_HTTP_CACHE_CONTROL) > 0) {
                age = strstr(text, "max-age=");
                if (age != NULL)
                        fetch->max_age_s = strtoll(age + 8, NULL, 10);
                if (fetch->max_age_s > MAX_AGE_MAX_S)
                        fetch->max_age_s = MAX_AGE_MAX_S;
        }
}

static void on_fetch_bytes(struct fetch *fetch, const void *bytes, size_t len)
{
        if (len > BODY_MAX - fetch->copy.bytes.len)
                fetch->is_broken = true;
        else
                buf_add(&fetch->copy.bytes, bytes, len);
        fetch->is_broken = fetch->is_broken || fetch->copy.bytes.failed;
}

/* `in` moves on with what is added, so the room shrinks. The tags are those of the bytes as they are
 * and packed (PROTOCOL.md section 8): whichever the node would send, we hold them. */
static bool ask_for(const struct fetch *fetch, struct lws *wsi, void *in, size_t len)
{
        unsigned char *end = *(unsigned char **)in + len;
        char tags[2 * sizeof(fetch->known) + 16];

        if (!add_header(wsi, in, len, "accept-encoding:", "gzip"))
                return false;
        if (fetch->known[0] == '\0')
                return true;
        snprintf(tags, sizeof(tags), "\"%s\", \"%s-gzip\"", fetch->known, fetch->known);
        return add_header(wsi, in, (size_t)(end - *(unsigned char **)in), "if-none-match:", tags);
}

int device_http_fetch_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                            size_t len)
{
        struct fetch *fetch = user;

        if (fetch == NULL)
                return 0;
        switch (event) {
        case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
                return ask_for(fetch, wsi, in, len) ? 0 : -1;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
                end_fetch(fetch);
                return 0;
        case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
                fetch->wsi = wsi;
                read_answer(fetch);
                if (fetch->status == 200 && !fetch->is_broken)
                        return 0;
                end_fetch(fetch); /* there is nothing in its body that we need */
                return -1;
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
                return read_on(wsi);
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
                if (fetch->is_busy)
                        on_fetch_bytes(fetch, in, len);
                return fetch->is_busy && !fetch->is_broken ? 0 : -1;
        case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
                end_fetch(fetch);
                return close_soon(wsi);
        default:
                return 0;
        }
}
