/* tests/device/contract/c/main.c -- the C SDK's driver program for the contract table: commands
 * come in on stdin, what the app sees goes out on stdout (tests/device/contract/README.md). Decides
 * nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "device/c/device_cache.h"
#include "device/c/kickoff_device.h"

#define LINE_MAX_BYTES (1024u * 1024u)
#define TURN_MS        5

static struct kickoff_device *device; /* NULL = none */
static int64_t skew_ms;

/* --- out ------------------------------------------------------------------------------------- */

static void print(json_t *line)
{
        char *text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);

        check(text != NULL);
        puts(text);
        fflush(stdout);
        free(text);
        json_decref(line);
}

static void print_message(const char *event, const struct message *message)
{
        struct buf payload = BUF_INIT;

        message_encode(message, ENCODING_JSON, &payload);
        check(!payload.failed);
        printf("{\"event\":\"%s\",\"message\":%.*s}\n", event, (int)payload.len,
               (const char *)payload.data);
        fflush(stdout);
        buf_fini(&payload);
}

static void on_hello(void *owner, const struct hello *hello)
{
        (void)owner;
        print_message("hello", &(struct message){ .type = MESSAGE_HELLO, .hello = *hello });
}

static void on_signal(void *owner, const struct signal *signal)
{
        (void)owner;
        print_message("signal", &(struct message){ .type = MESSAGE_SIGNAL, .signal = *signal });
}

static void on_reset(void *owner, const struct reset *reset)
{
        (void)owner;
        print_message("reset", &(struct message){ .type = MESSAGE_RESET, .reset = *reset });
}

static void on_message(void *owner, const struct device_message *message)
{
        (void)owner;
        print_message("message", &(struct message){ .type = MESSAGE_MESSAGE, .message = *message });
}

static void on_goaway(void *owner, const struct goaway *goaway)
{
        (void)owner;
        print_message("goaway", &(struct message){ .type = MESSAGE_GOAWAY, .goaway = *goaway });
}

static const char *const state_name[] = {
        [KICKOFF_DEVICE_WAITING] = "waiting",
        [KICKOFF_DEVICE_CONNECTING] = "connecting",
        [KICKOFF_DEVICE_CONNECTED] = "connected",
        [KICKOFF_DEVICE_STOPPED] = "stopped",
};

static void on_state(void *owner, enum kickoff_device_state state, const char *why)
{
        (void)owner;
        print(json_pack("{s:s,s:s,s:s}", "event", "state", "state", state_name[state], "why", why));
}

static void on_due(void *owner, const struct event_state *state, seqno seq)
{
        int64_t node_ms = clock_wall_ms() + skew_ms + kickoff_device_clock_offset_ms(device);

        (void)owner;
        print(json_pack("{s:s,s:I,s:s,s:s,s:I,s:I}", "event", "due", "seq", (json_int_t)seq, "of",
                        state->event, "stage", state->stage, "at", (json_int_t)state->at, "node_ms",
                        (json_int_t)node_ms));
}

/* An app keeps what it was given; bytes that have not changed are not handed over again. */
#define KEPT_MAX 16
static struct {
        char event[EVENT_ID_MAX + 1], hash[65];
        size_t len;
} kept[KEPT_MAX];

static void on_bundle(void *owner, const struct kickoff_device_bundle *bundle)
{
        size_t i = 0;

        (void)owner;
        while (i < KEPT_MAX - 1 && kept[i].event[0] != '\0' &&
               strcmp(kept[i].event, bundle->event) != 0)
                i++;
        if (bundle->bytes != NULL) {
                snprintf(kept[i].event, sizeof(kept[i].event), "%s", bundle->event);
                device_cache_hash(bundle->bytes, bundle->len, kept[i].hash);
                kept[i].len = bundle->len;
        }
        print(json_pack("{s:s,s:s,s:I,s:s,s:I,s:s}", "event", "bundle", "of", bundle->event,
                        "bundle", (json_int_t)bundle->version, "hash", kept[i].hash, "size",
                        (json_int_t)kept[i].len, "from", bundle->from_cache ? "cache" : "network"));
}

/* --- in -------------------------------------------------------------------------------------- */

static void refuse(const char *fmt, ...) printf_like(1, 2);

static void refuse(const char *fmt, ...)
{
        va_list args;

        va_start(args, fmt);
        vfprintf(stderr, fmt, args);
        va_end(args);
        fputc('\n', stderr);
        exit(2);
}

static int64_t number(const json_t *command, const char *name)
{
        return json_integer_value(json_object_get(command, name));
}

static const char *text(const json_t *command, const char *name)
{
        return json_string_value(json_object_get(command, name));
}

static void do_connect(const json_t *command)
{
        struct kickoff_device_options options = {
                .url = text(command, "url"),
                .device = text(command, "device"),
                .cohort = text(command, "cohort"),
                .platform = text(command, "platform"),
                .region = text(command, "region"),
                .app = text(command, "app"),
                .since = text(command, "since"),
                .no_ack = json_is_false(json_object_get(command, "ack")),
                .backoff_min_ms = (uint32_t)number(command, "backoff_min_ms"),
                .backoff_max_ms = (uint32_t)number(command, "backoff_max_ms"),
                .seed = (uint64_t)number(command, "seed"),
                .clock_skew_ms = number(command, "skew_ms"),
                .on_hello = on_hello,
                .on_signal = on_signal,
                .on_reset = on_reset,
                .on_message = on_message,
                .on_goaway = on_goaway,
                .on_state = on_state,
        };

        if (json_is_true(json_object_get(command, "due")))
                options.on_due = on_due;
        if (json_is_true(json_object_get(command, "prefetch")))
                options.on_bundle = on_bundle;
        skew_ms = options.clock_skew_ms;
        if (device != NULL || kickoff_device_create(&options, &device) != OK)
                refuse("connect: these options make no device");
}

static void do_ask(const json_t *command)
{
        const char *id = text(command, "id");

        if (id == NULL || device == NULL)
                refuse("ask: no id, or no device");
        print(json_pack("{s:s,s:s,s:s,s:s,s:I}", "event", "answer", "id", id, "token",
                        kickoff_device_token(device), "state",
                        state_name[kickoff_device_state_of(device)], "offset_ms",
                        (json_int_t)kickoff_device_clock_offset_ms(device)));
}

static void close_device(void)
{
        kickoff_device_destroy(device);
        device = NULL;
}

static void obey(const char *line, size_t len)
{
        json_t *command = json_loadb(line, len, 0, NULL);
        const char *what = text(command, "do");

        if (what == NULL)
                refuse("not a command: %.*s", (int)len, line);
        if (strcmp(what, "connect") == 0) {
                do_connect(command);
        } else if (strcmp(what, "ask") == 0) {
                do_ask(command);
        } else if (strcmp(what, "close") == 0) {
                close_device();
                print(json_pack("{s:s}", "event", "closed"));
        } else if (device != NULL && strcmp(what, "cut") == 0) {
                kickoff_device_cut(device);
        } else if (device != NULL && strcmp(what, "activated") == 0) {
                kickoff_device_activated(device, (seqno)number(command, "seq"));
        } else {
                refuse("cannot do: %.*s", (int)len, line);
        }
        json_decref(command);
}

/* False: the end of stdin. */
static bool read_commands(struct buf *in)
{
        char bytes[4096], *end;
        ssize_t len = read(STDIN_FILENO, bytes, sizeof(bytes));

        if (len < 0)
                return errno == EAGAIN || errno == EINTR;
        buf_add(in, bytes, (size_t)len);
        if (in->failed || in->len > LINE_MAX_BYTES)
                refuse("a line without end");
        while (in->len > 0 && (end = memchr(in->data, '\n', in->len)) != NULL) {
                size_t used = (size_t)(end - (char *)in->data) + 1;
                struct buf rest = BUF_INIT;

                obey((char *)in->data, used - 1);
                buf_add(&rest, (char *)in->data + used, in->len - used);
                buf_fini(in);
                *in = rest;
        }
        return len > 0;
}

int main(void)
{
        struct buf in = BUF_INIT;

        puts("{\"event\":\"ready\",\"sdk\":\"c\",\"can\":[\"attributes\",\"skip\",\"hand-over\","
             "\"prefetch\",\"due\",\"skew\",\"sse\"]}");
        fflush(stdout);
        if (fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK) != 0)
                refuse("stdin: %s", strerror(errno));
        while (read_commands(&in)) {
                if (device != NULL)
                        kickoff_device_service(device, TURN_MS);
                else
                        usleep(TURN_MS * 1000);
        }
        close_device();
        buf_fini(&in);
        return 0;
}
