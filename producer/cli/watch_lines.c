/* producer/cli/watch_lines.c -- see watch_lines.h. */
#include "producer/cli/watch_lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "producer/cli/show.h"
#include "producer/cli/when.h"

static void add_clock(int64_t now_ms, struct buf *out)
{
        time_t at = (time_t)(now_ms / 1000);
        struct tm tm;
        char text[16] = "";

        if (localtime_r(&at, &tm) != NULL)
                strftime(text, sizeof(text), "%H:%M:%S", &tm);
        buf_printf(out, "%s.%03d  ", text, (int)(now_ms % 1000));
}

/* The closing brace gives way to one more member. */
static void add_json(const struct message *message, int64_t now_ms, struct buf *out)
{
        size_t from = out->len;

        message_encode(message, ENCODING_JSON, out);
        if (out->failed)
                return;
        check(out->len > from && out->data[out->len - 1] == '}');
        out->len--;
        buf_printf(out, ",\"received\":%" PRId64 "}", now_ms);
}

static void add_event(const struct event_state *state, int64_t now_ms, int64_t offset_ms,
                      struct buf *out)
{
        int64_t node_now_ms = now_ms + offset_ms;

        buf_printf(out, "%s  %s, version %" PRIu64, state->event, state->stage, state->version);
        if (state->bundle != 0)
                buf_printf(out, ", bundle %" PRIu64, state->bundle);
        /* Less would read "now", which goes without saying; clocks differ by a little, too. */
        if (state->at >= node_now_ms + 500) {
                buf_str(out, ", acts ");
                when_relative(state->at, node_now_ms, out);
        }
}

static void add_hello(const struct hello *hello, struct buf *out)
{
        buf_printf(out, "hello    node %s, session %s, %s", hello->node, hello->session,
                   hello->recovered ? "resumed" : "not resumed");
        if (hello->has_reason)
                buf_printf(out, " (%s)", reset_reason_name[hello->reason]);
}

static void add_reset(const struct reset *reset, int64_t now_ms, int64_t offset_ms, struct buf *out)
{
        buf_printf(out, "reset    %s, up to signal %" PRIu64 ", %zu event%s",
                   reset_reason_name[reset->reason], reset->token.seq, reset->n,
                   reset->n == 1 ? "" : "s");
        for (size_t i = 0; i < reset->n; i++) {
                buf_str(out, i == 0 ? ": " : "; ");
                add_event(&reset->events[i], now_ms, offset_ms, out);
        }
}

void watch_lines_message(const struct message *message, bool json, int64_t now_ms,
                         int64_t offset_ms, struct buf *out)
{
        if (json) {
                add_json(message, now_ms, out);
                return;
        }
        add_clock(now_ms, out);
        switch (message->type) {
        case MESSAGE_HELLO:
                add_hello(&message->hello, out);
                return;
        case MESSAGE_SIGNAL:
                buf_printf(out, "signal   %" PRIu64 "  %s  ", message->signal.token.seq,
                           signal_kind_name[message->signal.kind]);
                add_event(&message->signal.state, now_ms, offset_ms, out);
                return;
        case MESSAGE_RESET:
                add_reset(&message->reset, now_ms, offset_ms, out);
                return;
        case MESSAGE_GOAWAY:
                buf_printf(out, "goaway   %s, back in %.1f to %.1f s",
                           goaway_reason_name[message->goaway.reason],
                           (double)message->goaway.min_ms / 1000.0,
                           (double)message->goaway.max_ms / 1000.0);
                return;
        case MESSAGE_MESSAGE:
                buf_printf(out, "message  %s  ", message->message.id);
                show_text(message->message.body, out);
                return;
        case MESSAGE_TIME:
        case MESSAGE_SKIP:
        case MESSAGE_ACK:
        case MESSAGE_TYPES:
                return; /* the SDK keeps these to itself */
        }
}

static const char *state_name(enum kickoff_device_state state)
{
        static const char *const names[] = {
                [KICKOFF_DEVICE_WAITING] = "waiting",
                [KICKOFF_DEVICE_CONNECTING] = "connecting",
                [KICKOFF_DEVICE_CONNECTED] = "connected",
                [KICKOFF_DEVICE_STOPPED] = "stopped",
        };

        return names[state];
}

void watch_lines_state(enum kickoff_device_state state, const char *why, bool json, int64_t now_ms,
                       struct buf *out)
{
        json_t *line;
        char *text;

        if (!json) {
                add_clock(now_ms, out);
                buf_str(out, "state    ");
                show_text(why, out);
                return;
        }
        line = json_pack("{s:s, s:s, s:s?, s:I}", "t", "state", "state", state_name(state), "why",
                         why, "received", (json_int_t)now_ms);
        /* `why` may quote a peer that does not speak UTF-8. */
        if (line == NULL)
                line = json_pack("{s:s, s:s, s:I}", "t", "state", "state", state_name(state),
                                 "received", (json_int_t)now_ms);
        text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
        if (text != NULL)
                buf_str(out, text);
        free(text);
        json_decref(line);
}
