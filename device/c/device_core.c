/* device/c/device_core.c -- see device_core.h. Times are monotonic unless they say wall. */
#include "device/c/device_core.h"

#include <stdio.h>

#include "device/c/device_attempt.h"
#include "device/c/device_live.h"
#include "device/c/device_next.h"
#include "device/c/device_place.h"
#include "device/c/device_time.h"

/* --- time passes ---------------------------------------------------------------------------- */

static void tick(struct device_core *core, struct device_now now, struct device_actions *out)
{
        switch (core->phase) {
        case DEVICE_WAITING:
                if (now.mono_ms < core->due_ms)
                        return;
                core->phase = DEVICE_CONNECTING;
                core->due_ms = now.mono_ms + DEVICE_CORE_CONNECT_WAIT_MS;
                core->reached = false;
                device_place_begin(core, &core->token);
                snprintf(out->why, sizeof(out->why), "connecting");
                device_attempt_say_state(core, out);
                core->way = device_attempt_connect(core, core->main, out);
                return;
        case DEVICE_CONNECTING:
                if (now.mono_ms >= core->due_ms)
                        device_attempt_drop(core, now, out, "no answer to the upgrade");
                return;
        case DEVICE_GREETING:
                if (now.mono_ms >= core->due_ms)
                        device_attempt_drop(core, now, out, "no hello");
                return;
        case DEVICE_LIVE:
                device_live_tick(core, now, out);
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
                        device_attempt_add(out, DEVICE_DO_CLOSE, core->main)->reason = CLOSE_NORMAL;
                device_attempt_stop(core, out, "done");
        } else if (connected) {
                device_next_abandon(core, out);
                device_attempt_drop(core, now, out, "cut");
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
        if (core->has_next && input->link != core->main) {
                device_next_step(core, input, now, out);
                return;
        }
        /* The rest is about the main one: without it, the shell has fed a dead one in. */
        check(has_connection(core) && input->link == core->main);
        core->heard_ms = now.mono_ms;
        core->probed = false;
        switch (input->kind) {
        case DEVICE_IN_REACHED:
                core->reached = true;
                return;
        case DEVICE_IN_OPENED:
                check(core->phase == DEVICE_CONNECTING);
                core->phase = DEVICE_GREETING;
                core->due_ms = now.mono_ms + DEVICE_CORE_HELLO_WAIT_MS;
                return;
        case DEVICE_IN_FAILED:
                device_attempt_failed(core, input, now, out);
                return;
        case DEVICE_IN_REFUSED:
                device_attempt_refused(core, input, now, out);
                return;
        case DEVICE_IN_MESSAGE:
                check(core->phase != DEVICE_CONNECTING);
                device_live_message(core, input, now, out);
                return;
        case DEVICE_IN_GARBAGE:
                device_attempt_give_up(core, now, input->reason, out,
                                       input->text != NULL ? input->text
                                                           : close_table[input->reason].text);
                return;
        case DEVICE_IN_CLOSED:
                device_attempt_closed(core, input, now, out);
                return;
        case DEVICE_IN_HEARD:
        case DEVICE_IN_TICK:
        case DEVICE_IN_CUT:
        case DEVICE_IN_LEAVE:
                return;
        }
}

uint64_t device_core_due(const struct device_core *core)
{
        return core->phase == DEVICE_LIVE ? device_live_due(core) : core->due_ms;
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

        if (!offset_ahead(&core->offset, now.mono_ms, &ahead_ms))
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
                .no_stream = true,
        };
        if (core->backoff_max_ms < core->backoff_min_ms)
                core->backoff_max_ms = core->backoff_min_ms;
        rng_seed(&core->rng, seed);
        if (since != NULL && since->epoch != 0)
                device_place_adopt(core, since);
        device_attempt_forget(core);
}

void device_core_allow_stream(struct device_core *core)
{
        core->no_stream = false;
}
