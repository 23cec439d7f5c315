/* loadtest/bench/peers/lws_server.c -- a broadcast server on libwebsockets as its documentation
 * says to write one: its own event loop, a list of sessions kept by ESTABLISHED and CLOSED, and
 * nothing written but in the WRITEABLE callback, which lws_callback_on_writable() asks for.
 *
 *   kickoff-bench-lws PORT GREETING_BYTES [no-pings]        kickoff-bench-lws --version
 *
 * Each device gets one text message of GREETING_BYTES when it is in; POST /publish sends its body
 * to all. Messages are shared: a session is a position in a ring of them. That is what lws_ring
 * with a tail per session is for; lws_ring itself walks the list of sessions for the oldest tail
 * whenever the last one moves on, which with 18,000 sessions would measure that walk and nothing
 * else. Who falls out of the ring is closed. Timeouts, pings (after 5 min) and limits are the
 * library's own. */
#include <libwebsockets.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define RING        1024
#define MESSAGE_MAX 16384
#define RX_MAX      512 /* devices say little; the library's default is 4 KiB for each */

struct message {
        size_t len;
        uint8_t *bytes; /* LWS_PRE of room for the frame's header before them */
};

struct session {
        struct lws_dll2 link;
        struct lws *wsi;
        uint64_t next; /* the number of the message it gets next */
        bool is_greeted;
};

static struct message greeting, ring[RING];
static uint64_t first_free; /* the number that the next message will have */
static struct lws_dll2_owner sessions;
static struct lws_context *context;
static uint8_t upload[MESSAGE_MAX]; /* one at a time: there is one producer */
static size_t upload_len;

static void message_set(struct message *message, const void *bytes, size_t len)
{
        free(message->bytes);
        message->bytes = malloc(LWS_PRE + len);
        check(message->bytes != NULL);
        memset(message->bytes, 0, LWS_PRE);
        memcpy(message->bytes + LWS_PRE, bytes, len);
        message->len = len;
}

static void publish(const void *bytes, size_t len)
{
        message_set(&ring[first_free++ % RING], bytes, len);
        lws_start_foreach_dll(struct lws_dll2 *, link, lws_dll2_get_head(&sessions))
        {
                lws_callback_on_writable(lws_container_of(link, struct session, link)->wsi);
        }
        lws_end_foreach_dll(link);
}

/* One message a time: the documentation asks for a return to the loop in between. */
static int on_writeable(struct session *session)
{
        struct message *message = &greeting;

        if (session->is_greeted) {
                if (session->next == first_free)
                        return 0; /* the library may call without having been asked */
                if (session->next + RING < first_free)
                        return -1;
                message = &ring[session->next++ % RING];
        }
        session->is_greeted = true;
        if (lws_write(session->wsi, message->bytes + LWS_PRE, message->len, LWS_WRITE_TEXT) <
            (int)message->len)
                return -1;
        if (session->next < first_free)
                lws_callback_on_writable(session->wsi);
        return 0;
}

static int on_device(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                     size_t len)
{
        struct session *session = user;

        (void)in;
        (void)len;
        if (reason == LWS_CALLBACK_ESTABLISHED) {
                session->wsi = wsi;
                session->next = first_free;
                lws_dll2_add_tail(&session->link, &sessions);
                lws_callback_on_writable(wsi);
        } else if (reason == LWS_CALLBACK_SERVER_WRITEABLE) {
                return on_writeable(session);
        } else if (reason == LWS_CALLBACK_CLOSED) {
                lws_dll2_remove(&session->link);
        }
        return 0;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t len)
{
        switch (reason) {
        case LWS_CALLBACK_HTTP:
                if (strcmp(in, "/publish") == 0 &&
                    lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0)
                        return 0;
                break;
        case LWS_CALLBACK_HTTP_BODY:
                if (len > sizeof(upload) - upload_len)
                        return -1;
                memcpy(upload + upload_len, in, len);
                upload_len += len;
                return 0;
        case LWS_CALLBACK_HTTP_BODY_COMPLETION:
                publish(upload, upload_len);
                upload_len = 0;
                if (lws_return_http_status(wsi, HTTP_STATUS_OK, NULL) != 0)
                        return -1;
                return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
        default:
                break;
        }
        return lws_callback_http_dummy(wsi, reason, user, in, len);
}

static const struct lws_protocols protocols[] = {
        { .name = "http", .callback = on_http },
        { .name = "kickoff.v1.json",
          .callback = on_device,
          .rx_buffer_size = RX_MAX,
          .per_session_data_size = sizeof(struct session) },
        { 0 },
};

static const lws_retry_bo_t no_pings = { 0 };
static volatile sig_atomic_t is_ending;

static void on_signal(int signal)
{
        (void)signal;
        is_ending = 1;
        lws_cancel_service(context);
}

int main(int argc, char **argv)
{
        struct lws_context_creation_info info = {
                .iface = "127.0.0.1",
                .protocols = protocols,
        };
        size_t size;
        char *text;

        if (argc == 2 && strcmp(argv[1], "--version") == 0) {
                puts(lws_get_library_version());
                return 0;
        }
        if (argc != 3 && !(argc == 4 && strcmp(argv[3], "no-pings") == 0)) {
                fputs("usage: kickoff-bench-lws PORT GREETING_BYTES [no-pings] | --version\n",
                      stderr);
                return 2;
        }
        size = strtoul(argv[2], NULL, 10);
        text = malloc(size + 1);
        check(text != NULL);
        memset(text, 'x', size);
        message_set(&greeting, text, size);
        free(text);
        lws_set_log_level(LLL_ERR, NULL);
        info.port = atoi(argv[1]);
        if (argc == 4)
                info.retry_and_idle_policy = &no_pings;
        context = lws_create_context(&info);
        if (context == NULL)
                return 1;
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
        while (!is_ending && lws_service(context, 0) >= 0)
                ;
        lws_context_destroy(context);
        return 0;
}
