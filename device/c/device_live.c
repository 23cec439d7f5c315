/* device/c/device_live.c -- see device_live.h. */
#include "device/c/device_live.h"

#include <stdio.h>

#include "device/c/device_attempt.h"
#include "device/c/device_next.h"
#include "device/c/device_place.h"
#include "device/c/device_time.h"

static void break_off(struct device_core *core, struct device_now now, struct device_actions *out,
                      const char *why)
{
        device_attempt_give_up(core, now, CLOSE_PROTOCOL, out, why);
}

/* --- messages ------------------------------------------------------------------------------- */

static void owe_ack(struct device_core *core, struct device_now now)
{
        core->ack_owed = true;
        /* One in the spread answers for all that came meanwhile: it names the newest. The stream
         * leads one way only. */
        if (core->ack_ms == DEVICE_CORE_NEVER && core->way == DEVICE_WEBSOCKET)
                core->ack_ms =
                    now.mono_ms + rng_below(&core->rng, (uint64_t)core->ack_spread_ms + 1);
}

bool device_live_may_greet(const struct token *since, const struct hello *hello)
{
        return !hello->recovered || (since->epoch != 0 && hello->token.epoch == since->epoch);
}

void device_live_hello(struct device_core *core, const struct hello *hello, struct device_now now,
                       struct device_actions *out)
{
        core->phase = DEVICE_LIVE;
        core->due_ms = DEVICE_CORE_NEVER;
        core->heard_ms = now.mono_ms;
        core->probed = false;
        core->reset_due = !hello->recovered;
        core->ping_ms = hello->ping_s < UINT32_MAX / 4000 ? hello->ping_s * 1000 : 0;
        core->ack_spread_ms = hello->ack_spread_ms;
        core->stable_ms = now.mono_ms + DEVICE_CORE_STABLE_MS;
        core->misses = core->way == DEVICE_STREAM ? DEVICE_CORE_MISSES : 0;
        device_time_hello(core, hello->now, now);
        if (core->way == DEVICE_STREAM)
                device_time_pause(core);
        if (core->reset_due)
                core->ack_owed = false;
        if (core->ack_owed)
                owe_ack(core, now);
        snprintf(out->why, sizeof(out->why), "connected to %s%s, session %s, %s", hello->node,
                 core->way == DEVICE_STREAM ? " (event stream)" : "", hello->session,
                 hello->recovered ? "resumed" : "from the start");
        device_attempt_say_state(core, out);
        device_attempt_add(out, DEVICE_DO_DELIVER, core->main);
}

static void on_hello(struct device_core *core, const struct hello *hello, struct device_now now,
                     struct device_actions *out)
{
        if (core->phase != DEVICE_GREETING)
                break_off(core, now, out, "second hello");
        else if (!device_live_may_greet(&core->stream, hello))
                break_off(core, now, out, "recovered, but not what we asked for");
        else
                device_live_hello(core, hello, now, out);
}

static void on_signal(struct device_core *core, const struct signal *signal, struct device_now now,
                      struct device_actions *out)
{
        char why[120];

        switch (device_place_signal(core, &signal->token, why, sizeof(why))) {
        case DEVICE_PLACE_NEW:
                if (!core->no_ack)
                        owe_ack(core, now);
                device_attempt_add(out, DEVICE_DO_DELIVER, core->main);
                return;
        case DEVICE_PLACE_REPEAT:
                if (!core->no_ack && core->ack_owed)
                        owe_ack(core, now);
                return;
        case DEVICE_PLACE_WRONG:
                break_off(core, now, out, why);
                return;
        }
}

/* Nothing to act on, and nothing to acknowledge; but an ack that is owed names what the app had,
 * and the node ignores a number that it has not sent as a signal. */
static void on_skip(struct device_core *core, const struct token *token, struct device_now now,
                    struct device_actions *out)
{
        char why[120];

        if (device_place_skip(core, token, why, sizeof(why)) == DEVICE_PLACE_WRONG)
                break_off(core, now, out, why);
}

/* Always believed, even when it leads back: "forget what you knew" is how a loss is told (contract
 * 6). A device that argued with it would come back with the same token for ever. Not acknowledged:
 * it answers for no signal in particular, and every new device gets one. */
static void on_reset(struct device_core *core, const struct reset *reset, struct device_now now,
                     struct device_actions *out)
{
        device_next_void(core, now, out);
        device_place_adopt(core, &reset->token);
        core->reset_due = false;
        core->ack_owed = false;
        core->ack_ms = DEVICE_CORE_NEVER;
        core->signal_seq = core->activated_seq = 0; /* of a history that may be gone */
        device_attempt_add(out, DEVICE_DO_DELIVER, core->main);
}

static void on_replaced(struct device_core *core, struct device_now now, struct device_actions *out,
                        const char *why)
{
        device_attempt_add(out, DEVICE_DO_CLOSE, core->main)->reason = CLOSE_NORMAL;
        if (core->has_next) /* by our own successor; or else that one will be told */
                device_attempt_wait(core, now, 0, out, why);
        else
                device_attempt_stop(core, out, why);
}

/* Who has a session keeps it until the moment drawn, so that it misses no start meanwhile. */
static void on_goaway(struct device_core *core, const struct goaway *goaway, struct device_now now,
                      struct device_actions *out)
{
        uint64_t delay_ms;
        char why[64];

        if (goaway->max_ms < goaway->min_ms) {
                break_off(core, now, out, "goaway with an empty span");
                return;
        }
        snprintf(why, sizeof(why), "node says goaway: %s", goaway_reason_name[goaway->reason]);
        device_attempt_add(out, DEVICE_DO_DELIVER, core->main);
        if (goaway->reason == GOAWAY_REPLACED) {
                on_replaced(core, now, out, why);
                return;
        }
        delay_ms = device_attempt_goaway_ms(core, goaway);
        if (core->phase != DEVICE_LIVE) {
                device_attempt_add(out, DEVICE_DO_CLOSE, core->main)->reason = CLOSE_NORMAL;
                device_attempt_wait(core, now, delay_ms, out, why);
        } else if (!core->has_next) { /* else it is leaving already */
                core->leave_ms = now.mono_ms + delay_ms;
                /* A node short of sockets is not asked for two. */
                core->hands_over = goaway->reason != GOAWAY_OVERLOAD;
        }
}

void device_live_message(struct device_core *core, const struct device_input *input,
                         struct device_now now, struct device_actions *out)
{
        const struct message *message = input->message;

        /* A node may turn a device away before it greets it; everything else comes after hello. */
        if (core->phase != DEVICE_LIVE && message->type != MESSAGE_HELLO &&
            message->type != MESSAGE_GOAWAY) {
                break_off(core, now, out, "the first message is not hello");
                return;
        }
        switch (message->type) {
        case MESSAGE_HELLO:
                on_hello(core, &message->hello, now, out);
                return;
        case MESSAGE_SIGNAL:
                on_signal(core, &message->signal, now, out);
                return;
        case MESSAGE_SKIP:
                on_skip(core, &message->skip.token, now, out);
                return;
        case MESSAGE_RESET:
                on_reset(core, &message->reset, now, out);
                return;
        case MESSAGE_GOAWAY:
                on_goaway(core, &message->goaway, now, out);
                return;
        case MESSAGE_TIME:
                if (!message->time.has_t1)
                        break;
                device_time_answer(core, &message->time, now);
                return;
        case MESSAGE_MESSAGE:
                device_attempt_add(out, DEVICE_DO_DELIVER, core->main);
                return;
        case MESSAGE_ACK:
        case MESSAGE_TYPES:
                break;
        }
        break_off(core, now, out, "a message only devices send");
}

/* --- time passes ---------------------------------------------------------------------------- */

/* Half way to the deadline after which silence means death, ask. Pings come every ping_s, so this
 * is rare; it is what finds a link that carries our bytes but not theirs, and it covers a WebSocket
 * library that answers pings without telling us. */
static uint64_t probe_due(const struct device_core *core)
{
        if (core->ping_ms == 0 || core->probed || core->way == DEVICE_STREAM)
                return DEVICE_CORE_NEVER;
        return core->heard_ms + core->ping_ms + core->ping_ms / 2;
}

static uint64_t silence_due(const struct device_core *core)
{
        if (core->ping_ms == 0)
                return DEVICE_CORE_NEVER;
        return core->heard_ms + 2 * (uint64_t)core->ping_ms + DEVICE_CORE_SILENCE_EXTRA_MS;
}

static void send_ack(struct device_core *core, struct device_actions *out)
{
        bool is_told = core->activated_seq == core->signal_seq && core->activated_at != 0;

        device_attempt_add(out, DEVICE_DO_ACK, core->main)->ack =
            (struct ack){ .seq = core->signal_seq,
                          .has_activated_at = is_told,
                          .activated_at = is_told ? core->activated_at : 0 };
        core->ack_ms = DEVICE_CORE_NEVER;
        core->ack_owed = false;
}

void device_live_tick(struct device_core *core, struct device_now now, struct device_actions *out)
{
        if (now.mono_ms >= silence_due(core)) {
                device_attempt_drop(core, now, out, "nothing heard, not even pings");
                return;
        }
        if (now.mono_ms >= core->leave_ms) {
                if (!core->hands_over) {
                        device_attempt_add(out, DEVICE_DO_CLOSE, core->main)->reason = CLOSE_NORMAL;
                        device_attempt_wait(core, now, 0, out, "leaving, as the node asked");
                        return;
                }
                device_next_begin(core, now, out);
        }
        device_next_tick(core, now, out);
        if (now.mono_ms >= core->stable_ms) {
                core->attempts = 0;
                core->stable_ms = DEVICE_CORE_NEVER;
        }
        if (now.mono_ms >= core->ack_ms)
                send_ack(core, out);
        if (now.mono_ms >= core->time_ms || now.mono_ms >= probe_due(core)) {
                core->probed = now.mono_ms >= probe_due(core) || core->probed;
                device_attempt_add(out, DEVICE_DO_TIME, core->main)->time =
                    device_time_ask(core, now);
        }
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

uint64_t device_live_due(const struct device_core *core)
{
        uint64_t due = earliest(core->stable_ms, core->ack_ms);

        due = earliest(due, core->leave_ms);
        due = earliest(due, earliest(silence_due(core), probe_due(core)));
        if (core->has_next)
                due = earliest(due, core->next.due_ms);
        return earliest(due, core->time_ms);
}
