/* device/c/device_http.c -- plain HTTP over libwebsockets: GET of a bundle, and the event stream
 * that stands in for a WebSocket. Turns what the library tells into inputs of the core, and into
 * the fields of `fetch`; decides nothing.
 *
 * Odd about the library, beside what device_link.c says: a body is announced (RECEIVE_CLIENT_HTTP)
 * and must then be asked for with lws_http_client_read(), which calls back with the bytes; chunks
 * are joined by then. Headers it has no number for are found by their name in lower case, with the
 * colon. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "device/c/device_lws.h"

#define READ_BYTES    4096
#define FETCH_WAIT_MS 30000u
#define BODY_MAX      (1024u * 1024u) /* of a bundle; nodes take no larger ones */
#define PATH_BYTES    256

const char device_http_stream_protocol[] = "kickoff-stream";
const char device_http_fetch_protocol[] = "kickoff-fetch";

/* The bytes that were announced; they come in another callback. -1: the connection is over. */
static int read_on(struct lws *wsi)
{
        char bytes[LWS_PRE + READ_BYTES], *at = bytes + LWS_PRE;
        int len = READ_BYTES;

        return lws_http_client_read(wsi, &at, &len) < 0 ? -1 : 0;
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
        case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
                device_link_feed_end(
                    link, &(struct device_input){ .kind = link->opened ? DEVICE_IN_CLOSED
                                                                       : DEVICE_IN_FAILED });
                return -1;
        case LWS_CALLBACK_WSI_DESTROY: /* always the last word about a connection */
                device_link_feed_end(
                    link, &(struct device_input){ .kind = link->opened ? DEVICE_IN_CLOSED
                                                                       : DEVICE_IN_FAILED });
                link->wsi = NULL;
                return 0;
        default:
                break;
        }
        return link->goodbye == GOODBYE_NONE ? 0 : -1;
}

/* --- bundles -------------------------------------------------------------------------------- */

static void end_fetch(struct kickoff_device *device)
{
        if (!device->fetch.is_busy)
                return;
        device->fetch.is_busy = false;
        kickoff_device_fetched(device);
        buf_fini(&device->fetch.copy.bytes);
}

void device_http_fetch(struct kickoff_device *device, const struct device_row *row)
{
        struct fetch *fetch = &device->fetch;
        char path[PATH_BYTES];

        *fetch = (struct fetch){ .is_busy = true,
                                 .deadline_ms = clock_mono_ms() + FETCH_WAIT_MS,
                                 .retry_after_s = -1,
                                 .max_age_s = -1 };
        buf_init(&fetch->copy.bytes);
        memcpy(fetch->event, row->state.event, sizeof(fetch->event));
        memcpy(fetch->known, row->hash, sizeof(fetch->known));
        snprintf(path, sizeof(path), "/v1/prefetch/%s%s%s", fetch->event,
                 device->cohort[0] != '\0' ? "?cohort=" : "", device->cohort);
        if (!begin(device, path, device_http_fetch_protocol, device, &fetch->wsi)) {
                fetch->wsi = NULL;
                end_fetch(device);
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
        end_fetch(device);
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
        if (lws_hdr_copy(fetch->wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_TYPE) > 0)
                snprintf(fetch->copy.content_type, sizeof(fetch->copy.content_type), "%s", text);
        if (lws_hdr_copy(fetch->wsi, text, sizeof(text), WSI_TOKEN_HTTP_CACHE_CONTROL) > 0) {
                age = strstr(text, "max-age=");
                if (age != NULL)
                        fetch->max_age_s = strtoll(age + 8, NULL, 10);
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

/* `in` moves on with what is added, so the room shrinks. */
static bool ask_for(const struct fetch *fetch, struct lws *wsi, void *in, size_t len)
{
        unsigned char *end = *(unsigned char **)in + len;
        char etag[70];

        /* Not gzip: what comes as it is needs no second look at its size. */
        if (!add_header(wsi, in, len, "accept-encoding:", "identity"))
                return false;
        if (fetch->known[0] == '\0')
                return true;
        snprintf(etag, sizeof(etag), "\"%s\"", fetch->known);
        return add_header(wsi, in, (size_t)(end - *(unsigned char **)in), "if-none-match:", etag);
}

int device_http_fetch_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                            size_t len)
{
        struct kickoff_device *device = user;
        struct fetch *fetch;

        if (device == NULL)
                return 0;
        fetch = &device->fetch;
        switch (event) {
        case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
                return ask_for(fetch, wsi, in, len) ? 0 : -1;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
                end_fetch(device);
                return 0;
        case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
                fetch->wsi = wsi;
                read_answer(fetch);
                return 0;
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
                return read_on(wsi);
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
                on_fetch_bytes(fetch, in, len);
                return 0;
        case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
                end_fetch(device);
                return -1;
        case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
        case LWS_CALLBACK_WSI_DESTROY:
                fetch->wsi = NULL;
                end_fetch(device); /* cut short: what is not whole does not have its hash either */
                return 0;
        default:
                return 0;
        }
}
