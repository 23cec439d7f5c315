/* device/c/device_link.c -- the library's side of the SDK: turns what libwebsockets tells into
 * inputs of the core, and what the core wants into calls of libwebsockets. Decides nothing.
 *
 * A `link` is one attempt to connect and the connection it became. device->link[] are those the
 * core knows of, two during a hand-over; a link that the core has given up stays in the list until
 * the library is done with it (a close handshake may take seconds), deaf and with a `goodbye` set.
 *
 * Odd things about the library, as of 4.1.6 (Debian 12) and 4.3.5 (Debian 13):
 * - 4.1.6 rewrites close codes it does not know, 1012 and 1013 among them, to 1002 before it tells
 *   us (its client-parser-ws.c). The text beside the code survives: close_table tells them apart.
 * - WSI_DESTROY goes to the first protocol of the list, whatever the connection was bound to.
 * - It answers pings without telling us, but asks us to write afterwards: a writeable callback that
 *   we did not ask for means that something was heard.
 * - The timeout of lws_service() is ignored; a scheduled `sul` bounds the wait. One that fires on
 *   the way into poll() does not, so it also cancels the wait.
 * - Extensions are offered only if the application passes them. We do not: nothing is compressed.
 */
#include <stdlib.h>
#include <string.h>

#include "device/c/device_lws.h"

#define PATH_MAX_BYTES 1024
#define RX_CHUNK       4096
#define RX_KEEP_BYTES  65536 /* a larger buffer is given back after the message */
#define TX_MAX         256   /* bytes: an ack or a time request is about 50 */
#define GOODBYE_WAIT_S 5

struct device_library {
        struct lws_context *context;
        lws_sorted_usec_list_t timer; /* bounds the wait of one turn */
};

/* --- links ---------------------------------------------------------------------------------- */

/* Not from inside a callback about this link: there, the callback's return value does it. From inside
 * one about another link it waits for the library's next turn, for to close a socket moves others in
 * the table that is being gone through. */
static void link_cut(struct link *link, bool is_inside_another)
{
        link->goodbye = GOODBYE_CUT;
        if (link->wsi != NULL)
                lws_set_timeout(link->wsi, PENDING_TIMEOUT_USER_REASON_BASE,
                                is_inside_another ? LWS_TO_KILL_ASYNC : LWS_TO_KILL_SYNC);
}

static void free_link(struct link *link)
{
        buf_fini(&link->rx);
        device_sse_fini(&link->sse);
        free(link);
}

void device_link_reap(struct kickoff_device *device)
{
        struct link **at = &device->links;

        while (*at != NULL) {
                struct link *link = *at;

                if (link->wsi != NULL) {
                        at = &link->next;
                        continue;
                }
                *at = link->next;
                free_link(link);
        }
}

static void ask_writeable(struct link *link)
{
        if (link->wsi == NULL || !link->opened)
                return;
        link->asked_writeable = true;
        lws_callback_on_writable(link->wsi);
}

void device_link_send(struct kickoff_device *device, const struct device_action *action)
{
        struct link *link = device->link[action->link];

        if (link == NULL)
                return;
        if (action->what == DEVICE_DO_ACK) {
                link->has_ack = true;
                link->ack = action->ack;
        } else {
                link->has_time = true;
                link->time = action->time;
        }
        ask_writeable(link);
}

/* The core has forgotten the connection. In a callback about it, what the callback returns ends it.
 */
void device_link_leave(struct kickoff_device *device, const struct device_action *action,
                       const struct link *inside)
{
        struct link *link = device->link[action->link];

        device->link[action->link] = NULL;
        if (link == NULL)
                return;
        if (action->what == DEVICE_DO_CLOSE && link->opened && link->way == DEVICE_WEBSOCKET) {
                link->goodbye = GOODBYE_CLOSE;
                link->reason = action->reason;
                if (link != inside && link->wsi != NULL) {
                        ask_writeable(link);
                        /* It may never become writeable. */
                        lws_set_timeout(link->wsi, PENDING_TIMEOUT_USER_REASON_BASE,
                                        GOODBYE_WAIT_S);
                }
        } else if (link == inside) {
                link->goodbye = GOODBYE_CUT;
        } else {
                link_cut(link, inside != NULL);
        }
}

static bool is_known(const struct link *link)
{
        return link->device->link[link->number] == link;
}

void device_link_feed(struct link *link, const struct device_input *input)
{
        struct device_input about = *input;

        about.link = link->number;
        if (is_known(link))
                kickoff_device_feed(link->device, &about, link);
}

void device_link_feed_end(struct link *link, const struct device_input *input)
{
        struct device_input about = *input;

        if (!is_known(link))
                return;
        about.link = link->number;
        link->device->link[link->number] = NULL;
        kickoff_device_feed(link->device, &about, link);
}

void device_link_feed_garbage(struct link *link, enum close_reason reason, const char *text)
{
        device_link_feed(link, &(struct device_input){
                                   .kind = DEVICE_IN_GARBAGE, .reason = reason, .text = text });
}

/* --- what the library tells us -------------------------------------------------------------- */

/* Only the form in seconds (RFC 9110 10.2.3); a date would need our clock to be right. */
int64_t device_link_retry_after(struct lws *wsi)
{
        char text[12];
        int64_t seconds = 0;
        int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_RETRY_AFTER);

        if (len <= 0)
                return -1;
        for (int i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -1;
                seconds = seconds * 10 + (text[i] - '0');
        }
        return seconds;
}

void device_link_note_answer(struct link *link)
{
        unsigned status = lws_http_client_http_response(link->wsi);

        if (status == 0)
                return;
        link->status = status;
        link->retry_after_s = device_link_retry_after(link->wsi);
}

void device_link_not_opened(struct link *link, const char *text, size_t len)
{
        char why[100];
        size_t n = len < sizeof(why) ? len : sizeof(why) - 1;

        device_link_note_answer(link);
        if (text != NULL)
                memcpy(why, text, n);
        why[text != NULL ? n : 0] = '\0';
        if (link->status != 0 && link->status != 101)
                device_link_feed_end(
                    link, &(struct device_input){ .kind = DEVICE_IN_REFUSED,
                                                  .status = link->status,
                                                  .retry_after_s = link->retry_after_s });
        else
                device_link_feed_end(link,
                                     &(struct device_input){ .kind = DEVICE_IN_FAILED,
                                                             .text = why[0] != '\0' ? why : NULL });
}

static void on_peer_close(struct link *link, const unsigned char *payload, size_t len)
{
        char text[124] = "";
        unsigned code = len >= 2 ? (unsigned)payload[0] * 256 + payload[1] : 1005;

        if (len > 2 && len - 2 < sizeof(text))
                memcpy(text, payload + 2, len - 2);
        for (size_t i = 0; code == 1002 && i < countof(close_table); i++) {
                if (text[0] != '\0' && strcmp(text, close_table[i].text) == 0)
                        code = close_table[i].code;
        }
        device_link_feed_end(link, &(struct device_input){ .kind = DEVICE_IN_CLOSED,
                                                           .code = (uint16_t)code,
                                                           .text = text });
}

void device_link_feed_bytes(struct link *link, const void *bytes, size_t len,
                            enum encoding encoding)
{
        struct message message;

        switch (message_decode(bytes, len, encoding, &message)) {
        case OK:
                device_link_feed(
                    link, &(struct device_input){ .kind = DEVICE_IN_MESSAGE, .message = &message });
                message_fini(&message);
                return;
        case ERR_NOT_FOUND: /* of a later version: to be ignored */
                device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_HEARD });
                return;
        case ERR_NOMEM:
                device_link_feed_garbage(link, CLOSE_INTERNAL, "out of memory");
                return;
        default:
                device_link_feed_garbage(link, CLOSE_BAD_DATA, NULL);
        }
}

static void on_receive(struct link *link, const char *bytes, size_t len)
{
        enum encoding encoding = link->device->options.encoding;
        bool is_last =
            lws_is_final_fragment(link->wsi) != 0 && lws_remaining_packet_payload(link->wsi) == 0;

        if (!is_known(link))
                return;
        if (lws_is_first_fragment(link->wsi) != 0)
                buf_clear(&link->rx);
        if ((lws_frame_is_binary(link->wsi) != 0) != (encoding == ENCODING_MSGPACK)) {
                device_link_feed_garbage(link, CLOSE_DATA_TYPE, NULL);
                return;
        }
        if (len > MESSAGE_FROM_NODE_MAX - link->rx.len) {
                device_link_feed_garbage(link, CLOSE_TOO_BIG, NULL);
                return;
        }
        buf_add(&link->rx, bytes, len);
        if (link->rx.failed) {
                buf_fini(&link->rx);
                device_link_feed_garbage(link, CLOSE_INTERNAL, "out of memory");
                return;
        }
        if (!is_last)
                return;
        device_link_feed_bytes(link, link->rx.data, link->rx.len, encoding);
        if (link->rx.capacity > RX_KEEP_BYTES)
                buf_fini(&link->rx);
}

/* One message per turn, as the library wants it. Returns -1 if the socket broke. */
static int on_writeable(struct link *link)
{
        struct kickoff_device *device = link->device;
        unsigned char frame[LWS_PRE + TX_MAX];
        struct message message;
        struct buf payload;

        if (!link->asked_writeable) {
                device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_HEARD });
                return 0;
        }
        link->asked_writeable = false;
        if (!is_known(link) || (!link->has_ack && !link->has_time))
                return 0;
        if (link->has_time) { /* first: its round trip is being measured */
                message = (struct message){ .type = MESSAGE_TIME, .time = link->time };
                link->has_time = false;
        } else {
                message = (struct message){ .type = MESSAGE_ACK, .ack = link->ack };
                link->has_ack = false;
        }
        buf_init_fixed(&payload, frame + LWS_PRE, TX_MAX);
        message_encode(&message, device->options.encoding, &payload);
        check(!payload.failed);
        if (lws_write(link->wsi, frame + LWS_PRE, payload.len,
                      device->options.encoding == ENCODING_MSGPACK ? LWS_WRITE_BINARY
                                                                   : LWS_WRITE_TEXT) < 0)
                return -1;
        if (link->has_ack)
                ask_writeable(link);
        return 0;
}

/* What a callback about this link must return: -1 makes the library end it. */
static int end_of_callback(struct link *link)
{
        if (link->goodbye == GOODBYE_CLOSE) {
                const struct close_row *row = &close_table[link->reason];

                lws_close_reason(link->wsi, (enum lws_close_status)row->code,
                                 (unsigned char *)(uintptr_t)row->text, strlen(row->text));
        }
        return link->goodbye == GOODBYE_NONE ? 0 : -1;
}

void device_link_end(struct link *link)
{
        device_link_feed_end(
            link,
            &(struct device_input){ .kind = link->opened ? DEVICE_IN_CLOSED : DEVICE_IN_FAILED });
}

static void on_gone(struct wire *wire)
{
        struct link *link = (struct link *)wire;

        device_link_end(link);
        link->wsi = NULL;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                    size_t len)
{
        struct link *link = user;

        /* Events of the context, not of a connection, come without a link. */
        if (link == NULL)
                return 0;
        switch (event) {
        case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: /* somebody takes our bytes */
                device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_REACHED });
                return 0;
        case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP: /* the answer's head is there, whatever it says
                                                    */
                link->wsi = wsi;
                device_link_note_answer(link);
                return 0;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
                link->wsi = wsi;
                device_link_not_opened(link, in, len);
                return 0;
        case LWS_CALLBACK_CLIENT_ESTABLISHED:
                link->opened = true;
                device_link_feed(link, &(struct device_input){ .kind = DEVICE_IN_OPENED });
                return end_of_callback(link);
        case LWS_CALLBACK_CLIENT_RECEIVE:
                if (link->goodbye == GOODBYE_NONE)
                        on_receive(link, in, len);
                return end_of_callback(link);
        case LWS_CALLBACK_CLIENT_WRITEABLE:
                if (link->goodbye == GOODBYE_NONE && on_writeable(link) != 0)
                        return -1;
                return end_of_callback(link);
        case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
                on_peer_close(link, in, len);
                return 0; /* the library answers the close frame */
        case LWS_CALLBACK_CLIENT_CLOSED:
                device_link_end(link);
                return 0;
        default:
                return 0;
        }
}

/* --- connecting ----------------------------------------------------------------------------- */

static const char websocket_protocol[] = "kickoff";

/* The first in the list is told of things that are nobody's, and of the end of every connection,
 * whatever that was bound to: `user` may be a link or the fetch, of which only the wire is known here. */
static int on_any(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                  size_t len)
{
        struct wire *wire = user;

        (void)wsi, (void)in, (void)len;
        if (event == LWS_CALLBACK_WSI_DESTROY && wire != NULL)
                wire->gone(wire);
        return 0;
}

static const struct lws_protocols protocols[] = {
        { .name = "any", .callback = on_any },
        { .name = websocket_protocol, .callback = on_event, .rx_buffer_size = RX_CHUNK },
        { .name = device_http_stream_protocol, .callback = device_http_stream_event },
        { .name = device_http_fetch_protocol, .callback = device_http_fetch_event },
        { .name = NULL },
};

static void add_parameter(struct buf *out, const char *name, const char *value)
{
        if (value[0] != '\0')
                buf_printf(out, "&%s=%s", name, value);
}

/* The ids hold only characters that need no escape in a query (proto/names.h). */
static void connect_path(const struct kickoff_device *device, enum device_way way,
                         char path[PATH_MAX_BYTES])
{
        struct buf out;

        buf_init_fixed(&out, path, PATH_MAX_BYTES);
        buf_printf(&out, "/v1/%s?device=%s", way == DEVICE_STREAM ? "stream" : "connect",
                   device->device);
        add_parameter(&out, "cohort", device->cohort);
        add_parameter(&out, "platform", device->platform);
        add_parameter(&out, "region", device->region);
        add_parameter(&out, "app", device->app);
        add_parameter(&out, "since", device->token_text);
        if (device->options.no_ack)
                buf_str(&out, "&ack=0");
        check(!out.failed);
}

void device_link_where(const struct kickoff_device *device, struct lws_client_connect_info *info)
{
        info->context = device->library->context;
        info->address = device->url.host;
        info->port = device->url.port;
        info->host = device->url.authority;
        /* A redirect could lead anywhere; Kickoff never sends one. */
        info->ssl_connection =
            LCCSCF_HTTP_NO_FOLLOW_REDIRECT | (device->url.tls ? LCCSCF_USE_SSL : 0);
}

static bool begin_websocket(struct link *link, const char *path)
{
        struct lws_client_connect_info info = {
                .path = path,
                .protocol = encoding_subprotocol[link->device->options.encoding],
                .local_protocol_name = websocket_protocol,
                .ietf_version_or_minus_one = -1,
                .userdata = link,
                .pwsi = &link->wsi,
        };

        device_link_where(link->device, &info);
        return lws_client_connect_via_info(&info) != NULL;
}

void device_link_connect(struct kickoff_device *device, const struct device_action *action)
{
        struct link *link = calloc(1, sizeof(*link));
        char path[PATH_MAX_BYTES];

        if (link == NULL) {
                kickoff_device_feed(device,
                                    &(struct device_input){ .kind = DEVICE_IN_FAILED,
                                                            .link = action->link,
                                                            .text = "out of memory" },
                                    NULL);
                return;
        }
        link->wire.gone = on_gone;
        link->device = device;
        link->number = action->link;
        link->way = action->way;
        link->retry_after_s = -1;
        buf_init(&link->rx);
        device_sse_init(&link->sse);
        link->next = device->links;
        device->links = device->link[link->number] = link;
        connect_path(device, link->way, path);
        if (link->way == DEVICE_STREAM ? !device_http_stream(link, path)
                                       : !begin_websocket(link, path)) {
                /* Early failures come without a callback. */
                link->wsi = NULL;
                device_link_feed_end(link,
                                     &(struct device_input){ .kind = DEVICE_IN_FAILED,
                                                             .text = "refused, or no such host" });
        }
}

/* --- the loop -------------------------------------------------------------------------------- */

static void on_timer(lws_sorted_usec_list_t *timer)
{
        struct device_library *library = lws_container_of(timer, struct device_library, timer);

        lws_cancel_service(library->context);
}

void device_link_turn(struct kickoff_device *device, uint64_t wait_ms)
{
        if (wait_ms == 0) {
                (void)lws_service(device->library->context, -1);
                return;
        }
        lws_sul_schedule(device->library->context, 0, &device->library->timer, on_timer,
                         (lws_usec_t)wait_ms * LWS_US_PER_MS);
        (void)lws_service(device->library->context, 0);
        lws_sul_cancel(&device->library->timer);
}

static struct lws_context *create_context(bool tls)
{
        struct lws_context_creation_info info = {
                .port = CONTEXT_PORT_NO_LISTEN,
                .protocols = protocols,
                .options = tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0,
                .timeout_secs = DEVICE_CORE_CONNECT_WAIT_MS / 1000,
                .connect_timeout_secs = DEVICE_CORE_CONNECT_WAIT_MS / 1000,
                /* Otherwise its tables are sized for as many sockets as the process may open. */
                .fd_limit_per_thread = 16,
        };

        lws_set_log_level(0, NULL); /* all it has to say comes through on_state */
        return lws_create_context(&info);
}

enum err device_link_open(struct kickoff_device *device)
{
        struct device_library *library = calloc(1, sizeof(*library));

        if (library == NULL)
                return ERR_NOMEM;
        library->context = create_context(device->url.tls);
        if (library->context == NULL) {
                free(library);
                return ERR_NOMEM;
        }
        device->library = library;
        return OK;
}

void device_link_wake(struct kickoff_device *device)
{
        lws_cancel_service(device->library->context);
}

void device_link_close(struct kickoff_device *device)
{
        lws_context_destroy(device->library->context);
        free(device->library);
        for (struct link *link = device->links; link != NULL; link = device->links) {
                device->links = link->next;
                free_link(link);
        }
}
