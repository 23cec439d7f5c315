/* device/c/kickoff_device.c -- the hands of device_core: libwebsockets, and the app's callbacks.
 * Decides nothing but how to say things to the library. The only file that includes
 * libwebsockets.h.
 *
 * A `link` is one attempt to connect and the connection it became. device->link is the one the core
 * knows of; a link that the core has given up stays in the list until the library is done with it
 * (a close handshake may take seconds), deaf and with a `goodbye` set.
 *
 * Odd things about the library, as of 4.1.6 (Debian 12) and 4.3.5 (Debian 13):
 * - It rewrites close codes it does not know, 1012 and 1013 among them, to 1002 before it tells us
 * (4.1.6, client-parser-ws.c). The text beside the code survives, so close_table's texts tell them
 * apart.
 * - It answers pings without telling us, but asks us to write afterwards. A writeable callback that
 * we did not ask for therefore means that something was heard.
 * - The timeout of lws_service() is ignored; a scheduled `sul` bounds the wait. One that fires on
 * the way into poll() does not, so it also cancels the wait.
 * - Extensions are offered only if the application passes them: we do not, so nothing is
 * compressed. */
#include "device/c/kickoff_device.h"

#include <stdlib.h>
#include <string.h>

#include <libwebsockets.h>

#include "base/clock.h"
#include "device/c/device_core.h"
#include "device/c/device_url.h"

#define PATH_MAX_BYTES  512
#define RX_CHUNK        4096
#define RX_KEEP_BYTES   65536 /* a larger buffer is given back after the message */
#define TX_MAX          256   /* bytes: an ack or a time request is about 50 */
#define GOODBYE_WAIT_S  5
#define DESTROY_WAIT_MS 1000u /* kickoff_device_destroy waits so long for the close handshake */

enum goodbye { GOODBYE_NONE, GOODBYE_CLOSE, GOODBYE_CUT };

struct link {
        struct link *next;
        struct kickoff_device *device;
        struct lws *wsi; /* NULL = the library is done with it */
        bool opened;
        bool asked_writeable;
        enum goodbye goodbye;
        enum close_reason reason; /* GOODBYE_CLOSE */
        unsigned status;          /* of the upgrade's answer; 0 = none yet */
        int64_t retry_after_s;    /* -1 = not said */
};

struct kickoff_device {
        struct kickoff_device_options options; /* texts point into `texts` */
        char device[DEVICE_ID_MAX + 1], cohort[COHORT_MAX + 1];
        struct device_url url;
        struct device_core core;
        char token_text[TOKEN_TEXT_MAX + 1];
        struct lws_context *lws;
        lws_sorted_usec_list_t timer;
        struct link *links, *link;
        struct buf rx;
        bool has_ack,
            has_time; /* waiting for the socket to take them; a newer one replaces an older */
        struct ack ack;
        struct time_sync time;
        bool cut_wanted;
};

static struct device_now now(void)
{
        return (struct device_now){ .mono_ms = clock_mono_ms(), .wall_ms = clock_wall_ms() };
}

/* --- links ---------------------------------------------------------------------------------- */

static void link_connect(struct kickoff_device *device);

/* Not from inside a callback about this link: there, the callback's return value does it. */
static void link_cut(struct link *link)
{
        link->goodbye = GOODBYE_CUT;
        if (link->wsi != NULL)
                lws_set_timeout(link->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

static void reap_links(struct kickoff_device *device)
{
        struct link **at = &device->links;

        while (*at != NULL) {
                struct link *link = *at;

                if (link->wsi != NULL) {
                        at = &link->next;
                        continue;
                }
                *at = link->next;
                free(link);
        }
}

static void ask_writeable(struct link *link)
{
        if (link->wsi == NULL || !link->opened)
                return;
        link->asked_writeable = true;
        lws_callback_on_writable(link->wsi);
}

/* --- carrying out what the core decided ----------------------------------------------------- */

static void deliver(struct kickoff_device *device, const struct message *message)
{
        const struct kickoff_device_options *to = &device->options;

        switch (message->type) {
        case MESSAGE_HELLO:
                if (to->on_hello != NULL)
                        to->on_hello(to->owner, &message->hello);
                return;
        case MESSAGE_SIGNAL:
                if (to->on_signal != NULL)
                        to->on_signal(to->owner, &message->signal);
                return;
        case MESSAGE_RESET:
                if (to->on_reset != NULL)
                        to->on_reset(to->owner, &message->reset);
                return;
        case MESSAGE_GOAWAY:
                if (to->on_goaway != NULL)
                        to->on_goaway(to->owner, &message->goaway);
                return;
        case MESSAGE_MESSAGE:
                if (to->on_message != NULL)
                        to->on_message(to->owner, &message->message);
                return;
        case MESSAGE_TIME:
        case MESSAGE_ACK:
        case MESSAGE_TYPES:
                check(!"the core delivers only what has a callback");
        }
}

/* The core has forgotten the connection; `inside` = we are in a callback about it, which will end
 * it. */
static void leave_link(struct kickoff_device *device, const struct device_action *action,
                       bool inside)
{
        struct link *link = device->link;

        device->link = NULL;
        device->has_ack = device->has_time = false;
        if (link == NULL)
                return;
        if (action->what == DEVICE_DO_CLOSE && link->opened) {
                link->goodbye = GOODBYE_CLOSE;
                link->reason = action->reason;
                if (!inside) {
                        ask_writeable(link);
                        /* It may never become writeable. */
                        lws_set_timeout(link->wsi, PENDING_TIMEOUT_USER_REASON_BASE,
                                        GOODBYE_WAIT_S);
                }
        } else if (inside) {
                link->goodbye = GOODBYE_CUT;
        } else {
                link_cut(link);
        }
}

static void act(struct kickoff_device *device, const struct device_actions *todo,
                const struct message *message, bool inside)
{
        for (unsigned i = 0; i < todo->n; i++) {
                const struct device_action *action = &todo->list[i];

                switch (action->what) {
                case DEVICE_DO_CONNECT:
                        link_connect(device);
                        break;
                case DEVICE_DO_ACK:
                        device->has_ack = true;
                        device->ack = action->ack;
                        ask_writeable(device->link);
                        break;
                case DEVICE_DO_TIME:
                        device->has_time = true;
                        device->time = action->time;
                        ask_writeable(device->link);
                        break;
                case DEVICE_DO_DELIVER:
                        deliver(device, message);
                        break;
                case DEVICE_DO_CLOSE:
                case DEVICE_DO_CUT:
                        leave_link(device, action, inside);
                        break;
                case DEVICE_DO_STATE:
                        if (device->options.on_state != NULL)
                                device->options.on_state(device->options.owner, action->state,
                                                         todo->why);
                        break;
                }
        }
}

static void feed(struct kickoff_device *device, const struct device_input *input, bool inside)
{
        struct device_actions todo;

        device_core_step(&device->core, input, now(), &todo);
        if (device->core.token.epoch != 0)
                token_format(&device->core.token, device->token_text);
        act(device, &todo, input->message, inside);
}

/* The current link is over, one way or another: the core is told once. */
static void feed_end(struct link *link, const struct device_input *input)
{
        struct kickoff_device *device = link->device;

        if (device->link != link)
                return;
        device->link = NULL;
        device->has_ack = device->has_time = false;
        feed(device, input, true);
}

/* --- what the library tells us -------------------------------------------------------------- */

/* Only the form in seconds (RFC 9110 10.2.3); a date would need our clock to be right. */
static int64_t read_retry_after(struct lws *wsi)
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

static void note_answer(struct link *link)
{
        unsigned status = lws_http_client_http_response(link->wsi);

        if (status == 0)
                return;
        link->status = status;
        link->retry_after_s = read_retry_after(link->wsi);
}

static void on_not_opened(struct link *link, const char *text, size_t len)
{
        char why[100];
        size_t n = len < sizeof(why) ? len : sizeof(why) - 1;

        note_answer(link);
        if (text != NULL)
                memcpy(why, text, n);
        why[text != NULL ? n : 0] = '\0';
        if (link->status != 0 && link->status != 101)
                feed_end(link, &(struct device_input){ .kind = DEVICE_IN_REFUSED,
                                                       .status = link->status,
                                                       .retry_after_s = link->retry_after_s });
        else
                feed_end(link, &(struct device_input){ .kind = DEVICE_IN_FAILED,
                                                       .text = why[0] != '\0' ? why : NULL });
}

static void on_peer_close(struct link *link, const unsigned char *payload, size_t len)
{
        char text[124] = "";
        uint16_t code = len >= 2 ? (uint16_t)(payload[0] << 8 | payload[1]) : 1005;

        if (len > 2 && len - 2 < sizeof(text))
                memcpy(text, payload + 2, len - 2);
        for (size_t i = 0; code == 1002 && i < countof(close_table); i++) {
                if (text[0] != '\0' && strcmp(text, close_table[i].text) == 0)
                        code = close_table[i].code;
        }
        feed_end(link,
                 &(struct device_input){ .kind = DEVICE_IN_CLOSED, .code = code, .text = text });
}

static void on_frame(struct kickoff_device *device)
{
        struct message message;
        enum err err =
            message_decode(device->rx.data, device->rx.len, device->options.encoding, &message);

        switch (err) {
        case OK:
                feed(device,
                     &(struct device_input){ .kind = DEVICE_IN_MESSAGE, .message = &message },
                     true);
                message_fini(&message);
                return;
        case ERR_NOT_FOUND: /* of a later version: to be ignored */
                feed(device, &(struct device_input){ .kind = DEVICE_IN_HEARD }, true);
                return;
        case ERR_NOMEM:
                feed(device,
                     &(struct device_input){ .kind = DEVICE_IN_GARBAGE,
                                             .reason = CLOSE_INTERNAL,
                                             .text = "out of memory" },
                     true);
                return;
        default:
                feed(device,
                     &(struct device_input){ .kind = DEVICE_IN_GARBAGE, .reason = CLOSE_BAD_DATA },
                     true);
        }
}

static void on_receive(struct link *link, const char *bytes, size_t len)
{
        struct kickoff_device *device = link->device;
        bool is_first = lws_is_first_fragment(link->wsi) != 0;
        bool is_last =
            lws_is_final_fragment(link->wsi) != 0 && lws_remaining_packet_payload(link->wsi) == 0;
        bool is_binary = lws_frame_is_binary(link->wsi) != 0;
        struct device_input garbage = { .kind = DEVICE_IN_GARBAGE };

        if (device->link != link)
                return;
        if (is_first)
                buf_clear(&device->rx);
        if (is_binary != (device->options.encoding == ENCODING_MSGPACK)) {
                garbage.reason = CLOSE_DATA_TYPE;
                feed(device, &garbage, true);
                return;
        }
        if (len > MESSAGE_FROM_NODE_MAX - device->rx.len) {
                garbage.reason = CLOSE_TOO_BIG;
                feed(device, &garbage, true);
                return;
        }
        buf_add(&device->rx, bytes, len);
        if (device->rx.failed) {
                buf_fini(&device->rx);
                garbage.reason = CLOSE_INTERNAL;
                garbage.text = "out of memory";
                feed(device, &garbage, true);
                return;
        }
        if (!is_last)
                return;
        on_frame(device);
        if (device->rx.capacity > RX_KEEP_BYTES)
                buf_fini(&device->rx);
}

/* One message per turn, as the library wants it. Returns -1 if the socket broke. */
static int on_writeable(struct link *link)
{
        struct kickoff_device *device = link->device;
        unsigned char frame[LWS_PRE + TX_MAX];
        struct message message;
        struct buf payload;

        if (!link->asked_writeable && device->link == link) {
                feed(device, &(struct device_input){ .kind = DEVICE_IN_HEARD }, true);
                return 0;
        }
        link->asked_writeable = false;
        if (device->link != link || (!device->has_ack && !device->has_time))
                return 0;
        if (device->has_time) { /* first: its round trip is being measured */
                message = (struct message){ .type = MESSAGE_TIME, .time = device->time };
                device->has_time = false;
        } else {
                message = (struct message){ .type = MESSAGE_ACK, .ack = device->ack };
                device->has_ack = false;
        }
        buf_init_fixed(&payload, frame + LWS_PRE, TX_MAX);
        message_encode(&message, device->options.encoding, &payload);
        check(!payload.failed);
        if (lws_write(link->wsi, frame + LWS_PRE, payload.len,
                      device->options.encoding == ENCODING_MSGPACK ? LWS_WRITE_BINARY
                                                                   : LWS_WRITE_TEXT) < 0)
                return -1;
        if (device->has_ack)
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

static void on_gone(struct link *link)
{
        feed_end(link, &(struct device_input){ .kind = link->opened ? DEVICE_IN_CLOSED
                                                                    : DEVICE_IN_FAILED });
}

static int on_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                    size_t len)
{
        struct link *link = user;

        /* Events of the context, not of a connection, come without a link. */
        if (link == NULL)
                return 0;
        switch (event) {
        case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP: /* the answer's head is there, whatever it says
                                                    */
                link->wsi = wsi;
                note_answer(link);
                return 0;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
                link->wsi = wsi;
                on_not_opened(link, in, len);
                return 0;
        case LWS_CALLBACK_CLIENT_ESTABLISHED:
                link->opened = true;
                if (link->device->link == link)
                        feed(link->device, &(struct device_input){ .kind = DEVICE_IN_OPENED },
                             true);
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
                on_gone(link);
                return 0;
        case LWS_CALLBACK_WSI_DESTROY: /* always the last word about a connection */
                on_gone(link);
                link->wsi = NULL;
                return 0;
        default:
                return 0;
        }
}

/* --- connecting ----------------------------------------------------------------------------- */

static const struct lws_protocols protocols[] = {
        { .name = "kickoff", .callback = on_event, .rx_buffer_size = RX_CHUNK },
        { .name = NULL },
};

/* The ids hold only characters that need no escape in a query (proto/names.h). */
static void connect_path(const struct kickoff_device *device, char path[PATH_MAX_BYTES])
{
        struct buf out;

        buf_init_fixed(&out, path, PATH_MAX_BYTES);
        buf_printf(&out, "/v1/connect?device=%s", device->device);
        if (device->cohort[0] != '\0')
                buf_printf(&out, "&cohort=%s", device->cohort);
        if (device->token_text[0] != '\0')
                buf_printf(&out, "&since=%s", device->token_text);
        if (device->options.no_ack)
                buf_str(&out, "&ack=0");
        check(!out.failed);
}

static void link_connect(struct kickoff_device *device)
{
        struct link *link = calloc(1, sizeof(*link));
        char path[PATH_MAX_BYTES];

        if (link == NULL) {
                feed(device,
                     &(struct device_input){ .kind = DEVICE_IN_FAILED, .text = "out of memory" },
                     false);
                return;
        }
        link->device = device;
        link->retry_after_s = -1;
        link->next = device->links;
        device->links = device->link = link;
        connect_path(device, path);

        struct lws_client_connect_info info = {
                .context = device->lws,
                .address = device->url.host,
                .port = device->url.port,
                .host = device->url.authority,
                .path = path,
                .protocol = encoding_subprotocol[device->options.encoding],
                .local_protocol_name = protocols[0].name,
                .ietf_version_or_minus_one = -1,
                .userdata = link,
                .pwsi = &link->wsi,
                /* A redirect could lead anywhere; Kickoff never sends one. */
                .ssl_connection =
                    LCCSCF_HTTP_NO_FOLLOW_REDIRECT | (device->url.tls ? LCCSCF_USE_SSL : 0),
        };

        if (lws_client_connect_via_info(&info) == NULL) {
                /* Early failures come without a callback. */
                link->wsi = NULL;
                feed_end(link, &(struct device_input){ .kind = DEVICE_IN_FAILED,
                                                       .text = "refused, or no such host" });
        }
}

/* --- service -------------------------------------------------------------------------------- */

static void on_timer(lws_sorted_usec_list_t *timer)
{
        struct kickoff_device *device = lws_container_of(timer, struct kickoff_device, timer);

        lws_cancel_service(device->lws);
}

/* One turn of the library's loop, of at most wait_ms. */
static void turn(struct kickoff_device *device, uint64_t wait_ms)
{
        if (wait_ms == 0) {
                (void)lws_service(device->lws, -1);
                return;
        }
        lws_sul_schedule(device->lws, 0, &device->timer, on_timer,
                         (lws_usec_t)wait_ms * LWS_US_PER_MS);
        (void)lws_service(device->lws, 0);
        lws_sul_cancel(&device->timer);
}

void kickoff_device_service(struct kickoff_device *device, unsigned timeout_ms)
{
        uint64_t wait_ms = timeout_ms;

        reap_links(device);
        if (device->cut_wanted) {
                device->cut_wanted = false;
                feed(device, &(struct device_input){ .kind = DEVICE_IN_CUT }, false);
        }
        if (clock_mono_ms() >= device_core_due(&device->core))
                feed(device, &(struct device_input){ .kind = DEVICE_IN_TICK }, false);

        uint64_t due_ms = device_core_due(&device->core), now_ms = clock_mono_ms();

        if (due_ms <= now_ms)
                wait_ms = 0;
        else if (due_ms - now_ms < wait_ms)
                wait_ms = due_ms - now_ms;
        turn(device, wait_ms);
}

void kickoff_device_wake(struct kickoff_device *device)
{
        lws_cancel_service(device->lws);
}

void kickoff_device_cut(struct kickoff_device *device)
{
        device->cut_wanted = true; /* at the next service call: this may be one of our callbacks */
}

/* --- life ----------------------------------------------------------------------------------- */

static enum err copy_name(char *to, const char *from, size_t max)
{
        size_t len = strlen(from);

        if (!name_is_valid(from, len, max))
                return ERR_INVALID;
        memcpy(to, from, len + 1);
        return OK;
}

static enum err read_options(struct kickoff_device *device,
                             const struct kickoff_device_options *options, struct token *ret_since)
{
        enum err err;

        if (options->url == NULL || options->device == NULL || options->encoding >= ENCODINGS)
                return ERR_INVALID;
        err = device_url_parse(options->url, &device->url);
        if (err == OK)
                err = copy_name(device->device, options->device, DEVICE_ID_MAX);
        if (err == OK && options->cohort != NULL)
                err = copy_name(device->cohort, options->cohort, COHORT_MAX);
        if (err == OK && options->since != NULL && options->since[0] != '\0')
                err = token_parse(options->since, strlen(options->since), ret_since);
        if (err != OK)
                return err;
        device->options = *options;
        device->options.url = device->options.device = NULL; /* the copies count */
        device->options.cohort = device->options.since = NULL;
        return OK;
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

enum err kickoff_device_create(const struct kickoff_device_options *options,
                               struct kickoff_device **ret_device)
{
        struct kickoff_device *device = calloc(1, sizeof(*device));
        struct token since = { .epoch = 0 };
        enum err err = ERR_NOMEM;

        if (device == NULL)
                return ERR_NOMEM;
        err = read_options(device, options, &since);
        if (err != OK)
                goto fail_device;
        device->lws = create_context(device->url.tls);
        if (device->lws == NULL) {
                err = ERR_NOMEM;
                goto fail_device;
        }
        buf_init(&device->rx);
        device_core_init(&device->core, options->backoff_min_ms, options->backoff_max_ms,
                         options->no_ack, &since,
                         options->seed != 0 ? options->seed : rng_secure_u64());
        if (since.epoch != 0)
                token_format(&since, device->token_text);
        *ret_device = device;
        return OK;
fail_device:
        free(device);
        return err;
}

void kickoff_device_destroy(struct kickoff_device *device)
{
        uint64_t until_ms = clock_mono_ms() + DESTROY_WAIT_MS;

        if (device == NULL)
                return;
        device->options = (struct kickoff_device_options){ .encoding = device->options.encoding };
        feed(device, &(struct device_input){ .kind = DEVICE_IN_LEAVE }, false);
        reap_links(device);
        for (uint64_t at = clock_mono_ms(); device->links != NULL && at < until_ms;
             at = clock_mono_ms()) {
                turn(device, until_ms - at);
                reap_links(device);
        }
        lws_context_destroy(device->lws);
        for (struct link *link = device->links; link != NULL; link = device->links) {
                device->links = link->next;
                free(link);
        }
        buf_fini(&device->rx);
        free(device);
}

const char *kickoff_device_token(const struct kickoff_device *device)
{
        return device->token_text;
}

enum kickoff_device_state kickoff_device_state_of(const struct kickoff_device *device)
{
        return device_core_state(&device->core);
}

int64_t kickoff_device_clock_offset_ms(const struct kickoff_device *device)
{
        return device_core_offset_ms(&device->core, now());
}
