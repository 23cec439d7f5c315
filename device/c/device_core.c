/* device/c/device_core.c -- see device_core.h. Times are monotonic unless they say wall. */
#include "device/c/device_core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "device/c/device_time.h"

/* --- the list of actions -------------------------------------------------------------------- */

static struct device_action *add(struct device_actions *out, enum device_do what)
{
        check(out->n < DEVICE_ACTIONS_MAX);

        struct device_action *action = &out->list[out->n++];

        *action = (struct device_action){ .what = what };
        return action;
}

static void say_state(struct device_core *core, struct device_actions *out)
{
        add(out, DEVICE_DO_STATE)->state = device_core_state(core);
}

/* --- leaving a connection ------------------------------------------------------------------- */

static void forget_connection(struct device_core *core)
{
        core->reset_due = false;
        core->stable_ms = DEVICE_CORE_NEVER;
        core->leave_ms = DEVICE_CORE_NEVER;
        core->ack_ms = DEVICE_CORE_NEVER;
        device_time_pause(core);
}

static void stop(struct device_core *core, struct device_actions *out, const char *why)
{
        forget_connection(core);
        core->phase = DEVICE_STOPPED;
        core->due_ms = DEVICE_CORE_NEVER;
        snprintf(out->why, sizeof(out->why), "%s", why);
        say_state(core, out);
}

static void wait_ms(struct device_core *core, struct device_now now, uint64_t delay_ms,
                    struct device_actions *out, const char *why)
{
        forget_connection(core);
        core->phase = DEVICE_WAITING;
        core->due_ms = now.mono_ms + delay_ms;
        snprintf(out->why, sizeof(out->why), "%.150s, again in %.1f s", why,
                 (double)delay_ms / 1000.0);
        say_state(core, out);
}

/* "Full jitter": anywhere between 0 and the step, which doubles with each failure. Of the schemes
 * compared in M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the one
 * with the fewest calls made. */
static uint64_t backoff_ms(struct device_core *core)
{
        uint64_t step = core->backoff_min_ms;

        for (unsigned i = 0; i < core->attempts && step < core->backoff_max_ms; i++)
                step *= 2;
        if (step >= core->backoff_max_ms)
                step = core->backoff_max_ms;
        else
                core->attempts++;
        return rng_below(&core->rng, step + 1);
}

static void wait_backoff(struct device_core *core, struct device_now now,
                         struct device_actions *out, const char *why)
{
        wait_ms(core, now, backoff_ms(core), out, why);
}

/* The node asked for patience without saying how much: the longest step at once. */
static void wait_longest(struct device_core *core, struct device_now now,
                         struct device_actions *out, const char *why)
{
        wait_ms(core, now, rng_below(&core->rng, (uint64_t)core->backoff_max_ms + 1), out, why);
}

static void give_up(struct device_core *core, struct device_now now, enum close_reason reason,
                    struct device_actions *out, const char *fmt, ...) printf_like(5, 6);

static void give_up(struct device_core *core, struct device_now now, enum close_reason reason,
                    struct device_actions *out, const char *fmt, ...)
{
        char why[150];
        va_list args;

        va_start(args, fmt);
        vsnprintf(why, sizeof(why), fmt, args);
        va_end(args);
        add(out, DEVICE_DO_CLOSE)->reason = reason;
        wait_backoff(core, now, out, why);
}

/* A connection that does not answer is not worth a goodbye. */
static void drop_silent(struct device_core *core, struct device_now now, struct device_actions *out,
                        const char *why)
{
        add(out, DEVICE_DO_CUT);
        wait_backoff(core, now, out, why);
}

/* --- how an attempt or a connection ended --------------------------------------------------- */

/* Everything in the 400s says that this request will never do, but for those that speak of now. */
static bool is_refused_for_good(unsigned status)
{
        return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
}

static void on_refused(struct device_core *core, const struct device_input *input,
                       struct device_now now, struct device_actions *out)
{
        char why[64];

        snprintf(why, sizeof(why), "refused: %u", input->status);
        if (is_refused_for_good(input->status)) {
                stop(core, out, why);
        } else if ((input->status == 429 || input->status == 503) && input->retry_after_s >= 0) {
                uint64_t max_s = DEVICE_CORE_RETRY_AFTER_MAX_MS / 1000;
                uint64_t s = (uint64_t)input->retry_after_s;

                /* The node spreads whole seconds (RFC 9110 10.2.3 knows no fractions); without a
                 * fraction of our own the herd would still arrive in ticks. */
                wait_ms(core, now, (s < max_s ? s : max_s) * 1000 + rng_below(&core->rng, 1000),
                        out, why);
        } else {
                wait_backoff(core, now, out, why);
        }
}

static void on_failed(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out)
{
        char why[150];

        snprintf(why, sizeof(why), "no connection: %s",
                 input->text != NULL ? input->text : "lost before the upgrade");
        wait_backoff(core, now, out, why);
}

static void on_closed(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out)
{
        uint64_t leave_ms = core->leave_ms;
        const char *text = input->text != NULL ? input->text : "";
        char why[150];

        if (input->code == 0)
                snprintf(why, sizeof(why), "connection lost");
        else
                snprintf(why, sizeof(why), "closed %u%s%.123s", (unsigned)input->code,
                         text[0] != '\0' ? ": " : "", text);
        switch (input->code) {
        case 4001: /* what let us in has expired: the same will not do again */
        case 4009: /* another connection of this device lives: the two would replace each other for
                      ever */
                stop(core, out, why);
                return;
        }
        if (leave_ms != DEVICE_CORE_NEVER) { /* the goaway says when, not the close */
                wait_ms(core, now, leave_ms > now.mono_ms ? leave_ms - now.mono_ms : 0, out, why);
                return;
        }
        switch (input->code) {
        case 1008:
        case 1013:
                wait_longest(core, now, out, why);
                return;
        default:
                wait_backoff(core, now, out, why);
        }
}

/* --- messages ------------------------------------------------------------------------------- */

static void adopt(struct device_core *core, const struct token *token, bool keeps_history)
{
        core->token = *token;
        core->tags[token->seq % DEVICE_CORE_TAGS] = token->tag;
        if (!keeps_history)
                core->n_tags = 1;
        else if (core->n_tags < DEVICE_CORE_TAGS)
                core->n_tags++;
}

static void owe_ack(struct device_core *core, struct device_now now)
{
        core->ack_owed = true;
        /* One in the spread answers for all that came meanwhile: it names the newest. */
        if (core->ack_ms == DEVICE_CORE_NEVER)
                core->ack_ms =
                    now.mono_ms + rng_below(&core->rng, (uint64_t)core->ack_spread_ms + 1);
}

static void on_hello(struct device_core *core, const struct device_input *input,
                     struct device_now now, struct device_actions *out)
{
        const struct hello *hello = &input->message->hello;

        if (core->phase != DEVICE_GREETING) {
                give_up(core, now, CLOSE_PROTOCOL, out, "second hello");
                return;
        }
        if (hello->recovered &&
            (core->token.epoch == 0 || hello->token.epoch != core->token.epoch)) {
                give_up(core, now, CLOSE_PROTOCOL, out, "recovered, but not what we asked for");
                return;
        }
        core->phase = DEVICE_LIVE;
        core->due_ms = DEVICE_CORE_NEVER;
        core->reset_due = !hello->recovered;
        core->ping_ms = hello->ping_s < UINT32_MAX / 4000 ? hello->ping_s * 1000 : 0;
        core->ack_spread_ms = hello->ack_spread_ms;
        core->stable_ms = now.mono_ms + DEVICE_CORE_STABLE_MS;
        device_time_hello(core, hello->now, now);
        if (core->reset_due)
                core->ack_owed = false;
        if (core->ack_owed)
                owe_ack(core, now);
        snprintf(out->why, sizeof(out->why), "connected to %s, session %s, %s", hello->node,
                 hello->session, hello->recovered ? "resumed" : "from the start");
        say_state(core, out);
        add(out, DEVICE_DO_DELIVER);
}

static void on_repeat(struct device_core *core, const struct token *token, struct device_now now,
                      struct device_actions *out)
{
        if (core->token.seq - token->seq >= core->n_tags)
                give_up(core, now, CLOSE_PROTOCOL, out,
                        "signal %" PRIu64 " again, long after %" PRIu64, token->seq,
                        core->token.seq);
        else if (core->tags[token->seq % DEVICE_CORE_TAGS] != token->tag)
                give_up(core, now, CLOSE_PROTOCOL, out,
                        "signal %" PRIu64 " again, with another tag", token->seq);
        else if (!core->no_ack && core->ack_owed)
                owe_ack(core, now);
}

static void on_signal(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out)
{
        const struct token *token = &input->message->signal.token;

        if (core->reset_due) {
                give_up(core, now, CLOSE_PROTOCOL, out, "a signal where the reset was due");
        } else if (token->epoch != core->token.epoch) {
                give_up(core, now, CLOSE_PROTOCOL, out,
                        "a signal of another epoch without a reset");
        } else if (token->seq <= core->token.seq) {
                on_repeat(core, token, now, out);
        } else if (token->seq != core->token.seq + 1) {
                give_up(core, now, CLOSE_PROTOCOL, out,
                        "gap: signal %" PRIu64 " came after %" PRIu64, token->seq, core->token.seq);
        } else {
                adopt(core, token, true);
                if (!core->no_ack)
                        owe_ack(core, now);
                add(out, DEVICE_DO_DELIVER);
        }
}

/* Always believed, even when it leads back: "forget what you knew" is how a loss is told (contract
 * 6). A device that argued with it would come back with the same token for ever. Not acknowledged:
 * it answers for no signal in particular, and every new device gets one. */
static void on_reset(struct device_core *core, const struct device_input *input,
                     struct device_actions *out)
{
        adopt(core, &input->message->reset.token, false);
        core->reset_due = false;
        core->ack_owed = false;
        core->ack_ms = DEVICE_CORE_NEVER;
        core->activated_seq = 0; /* of a history that may be gone */
        add(out, DEVICE_DO_DELIVER);
}

/* Who has a session keeps it until the moment drawn, so that it misses no start meanwhile. */
static void on_goaway(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out)
{
        const struct goaway *goaway = &input->message->goaway;
        uint64_t delay_ms;
        char why[64];

        if (goaway->max_ms < goaway->min_ms) {
                give_up(core, now, CLOSE_PROTOCOL, out, "goaway with an empty span");
                return;
        }
        snprintf(why, sizeof(why), "node says goaway: %s", goaway_reason_name[goaway->reason]);
        add(out, DEVICE_DO_DELIVER);
        delay_ms =
            goaway->min_ms + rng_below(&core->rng, (uint64_t)goaway->max_ms - goaway->min_ms + 1);
        if (core->phase == DEVICE_LIVE && goaway->reason != GOAWAY_REPLACED) {
                core->leave_ms = now.mono_ms + delay_ms;
                return;
        }
        add(out, DEVICE_DO_CLOSE)->reason = CLOSE_NORMAL;
        if (goaway->reason == GOAWAY_REPLACED)
                stop(core, out, why);
        else
                wait_ms(core, now, delay_ms, out, why);
}

static void on_message(struct device_core *core, const struct device_input *input,
                       struct device_now now, struct device_actions *out)
{
        enum message_type type = input->message->type;

        /* A node may turn a device away before it greets it; everything else comes after hello. */
        if (core->phase != DEVICE_LIVE && type != MESSAGE_HELLO && type != MESSAGE_GOAWAY) {
                give_up(core, now, CLOSE_PROTOCOL, out, "the first message is not hello");
                return;
        }
        switch (type) {
        case MESSAGE_HELLO:
                on_hello(core, input, now, out);
                return;
        case MESSAGE_SIGNAL:
                on_signal(core, input, now, out);
                return;
        case MESSAGE_RESET:
                on_reset(core, input, out);
                return;
        case MESSAGE_GOAWAY:
                on_goaway(core, input, now, out);
                return;
        case MESSAGE_TIME:
                if (!input->message->time.has_t1)
                        break;
                device_time_answer(core, &input->message->time, now);
                return;
        case MESSAGE_MESSAGE:
                add(out, DEVICE_DO_DELIVER);
                return;
        case MESSAGE_SKIP:
        case MESSAGE_ACK:
        case MESSAGE_TYPES:
                break;
        }
        give_up(core, now, CLOSE_PROTOCOL, out, "a message only devices send");
}

/* --- time passes ---------------------------------------------------------------------------- */

/* Half way to the deadline after which silence means death, ask. Pings come every ping_s, so this
 * is rare; it is what finds a link that carries our bytes but not theirs, and it covers a WebSocket
 * library that answers pings without telling us. */
static uint64_t probe_due(const struct device_core *core)
{
        if (core->ping_ms == 0 || core->probed)
                return DEVICE_CORE_NEVER;
        return core->heard_ms + core->ping_ms + core->ping_ms / 2;
}

static uint64_t silence_due(const struct device_core *core)
{
        if (core->ping_ms == 0)
                return DEVICE_CORE_NEVER;
        return core->heard_ms + 2 * (uint64_t)core->ping_ms + DEVICE_CORE_SILENCE_EXTRA_MS;
}

static void tick_live(struct device_core *core, struct device_now now, struct device_actions *out)
{
        if (now.mono_ms >= silence_due(core)) {
                drop_silent(core, now, out, "nothing heard, not even pings");
                return;
        }
        if (now.mono_ms >= core->leave_ms) {
                add(out, DEVICE_DO_CLOSE)->reason = CLOSE_NORMAL;
                wait_ms(core, now, 0, out, "leaving, as the node asked");
                return;
        }
        if (now.mono_ms >= core->stable_ms) {
                core->attempts = 0;
                core->stable_ms = DEVICE_CORE_NEVER;
        }
        if (now.mono_ms >= core->ack_ms) {
                bool is_told = core->activated_seq == core->token.seq && core->activated_at != 0;

                add(out, DEVICE_DO_ACK)->ack =
                    (struct ack){ .seq = core->token.seq,
                                  .has_activated_at = is_told,
                                  .activated_at = is_told ? core->activated_at : 0 };
                core->ack_ms = DEVICE_CORE_NEVER;
                core->ack_owed = false;
        }
        if (now.mono_ms >= core->time_ms || now.mono_ms >= probe_due(core)) {
                core->probed = now.mono_ms >= probe_due(core) || core->probed;
                add(out, DEVICE_DO_TIME)->time = device_time_ask(core, now);
        }
}

static void tick(struct device_core *core, struct device_now now, struct device_actions *out)
{
        switch (core->phase) {
        case DEVICE_WAITING:
                if (now.mono_ms < core->due_ms)
                        return;
                core->phase = DEVICE_CONNECTING;
                core->due_ms = now.mono_ms + DEVICE_CORE_CONNECT_WAIT_MS;
                snprintf(out->why, sizeof(out->why), "connecting");
                say_state(core, out);
                add(out, DEVICE_DO_CONNECT);
                return;
        case DEVICE_CONNECTING:
                if (now.mono_ms >= core->due_ms)
                        drop_silent(core, now, out, "no answer to the upgrade");
                return;
        case DEVICE_GREETING:
                if (now.mono_ms >= core->due_ms)
                        drop_silent(core, now, out, "no hello");
                return;
        case DEVICE_LIVE:
                tick_live(core, now, out);
                return;
        case DEVICE_STOPPED:
                return;
        }
}

/* --- the one function ----------------------------------------------------------------------- */

static bool has_connection(const struct device_core *core)
{
        return core->phase == DEVICE_CONNECTING || core->phase == DEVICE_GREETING ||
               core->phase == DEVICE_LIVE;
}

/* LEAVE and CUT come from the app, whenever it likes. */
static void on_app(struct device_core *core, const struct device_input *input,
                   struct device_now now, struct device_actions *out)
{
        bool connected = has_connection(core);

        if (core->phase == DEVICE_STOPPED)
                return;
        if (input->kind == DEVICE_IN_LEAVE) {
                if (connected)
                        add(out, DEVICE_DO_CLOSE)->reason = CLOSE_NORMAL;
                stop(core, out, "done");
        } else if (connected) {
                drop_silent(core, now, out, "cut");
        }
}

void device_core_step(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out)
{
        out->n = 0;
        out->why[0] = '\0';
        if (input->kind == DEVICE_IN_LEAVE || input->kind == DEVICE_IN_CUT) {
                on_app(core, input, now, out);
                return;
        }
        if (input->kind == DEVICE_IN_TICK) {
                tick(core, now, out);
                return;
        }
        /* The rest is about a connection: without one, the shell has fed a dead one in. */
        check(has_connection(core));
        core->heard_ms = now.mono_ms;
        core->probed = false;
        switch (input->kind) {
        case DEVICE_IN_OPENED:
                check(core->phase == DEVICE_CONNECTING);
                core->phase = DEVICE_GREETING;
                core->due_ms = now.mono_ms + DEVICE_CORE_HELLO_WAIT_MS;
                return;
        case DEVICE_IN_FAILED:
                on_failed(core, input, now, out);
                return;
        case DEVICE_IN_REFUSED:
                on_refused(core, input, now, out);
                return;
        case DEVICE_IN_MESSAGE:
                check(core->phase != DEVICE_CONNECTING);
                on_message(core, input, now, out);
                return;
        case DEVICE_IN_GARBAGE:
                give_up(core, now, input->reason, out, "%s",
                        input->text != NULL ? input->text : close_table[input->reason].text);
                return;
        case DEVICE_IN_CLOSED:
                on_closed(core, input, now, out);
                return;
        case DEVICE_IN_HEARD:
        case DEVICE_IN_TICK:
        case DEVICE_IN_CUT:
        case DEVICE_IN_LEAVE:
                return;
        }
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

uint64_t device_core_due(const struct device_core *core)
{
        uint64_t due = core->due_ms;

        if (core->phase != DEVICE_LIVE)
                return due;
        due = earliest(due, earliest(core->stable_ms, core->ack_ms));
        due = earliest(due, core->leave_ms);
        due = earliest(due, earliest(silence_due(core), probe_due(core)));
        return earliest(due, core->time_ms);
}

enum kickoff_device_state device_core_state(const struct device_core *core)
{
        static const enum kickoff_device_state states[] = {
                [DEVICE_WAITING] = KICKOFF_DEVICE_WAITING,
                [DEVICE_CONNECTING] = KICKOFF_DEVICE_CONNECTING,
                [DEVICE_GREETING] = KICKOFF_DEVICE_CONNECTING,
                [DEVICE_LIVE] = KICKOFF_DEVICE_CONNECTED,
                [DEVICE_STOPPED] = KICKOFF_DEVICE_STOPPED,
        };

        return states[core->phase];
}

void device_core_activated(struct device_core *core, seqno seq, struct device_now now)
{
        core->activated_seq = seq;
        core->activated_at = now.wall_ms + device_core_offset_ms(core, now);
}

int64_t device_core_offset_ms(const struct device_core *core, struct device_now now)
{
        int64_t ahead_ms;

        if (!device_time_ahead(core, now.mono_ms, &ahead_ms))
                return 0;
        return ahead_ms + (int64_t)now.mono_ms - now.wall_ms;
}

void device_core_init(struct device_core *core, uint32_t backoff_min_ms, uint32_t backoff_max_ms,
                      bool no_ack, const struct token *since, uint64_t seed)
{
        *core = (struct device_core){
                .backoff_min_ms = backoff_min_ms != 0 ? backoff_min_ms : DEVICE_CORE_BACKOFF_MIN_MS,
                .backoff_max_ms = backoff_max_ms != 0 ? backoff_max_ms : DEVICE_CORE_BACKOFF_MAX_MS,
                .no_ack = no_ack,
                .phase = DEVICE_WAITING,
        };
        if (core->backoff_max_ms < core->backoff_min_ms)
                core->backoff_max_ms = core->backoff_min_ms;
        rng_seed(&core->rng, seed);
        if (since != NULL && since->epoch != 0)
                adopt(core, since, false);
        forget_connection(core);
}
