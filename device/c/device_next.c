/* device/c/device_next.c -- see device_next.h. */
#include "device/c/device_next.h"

#include "device/c/device_attempt.h"
#include "device/c/device_live.h"

static unsigned other_link(const struct device_core *core)
{
        return 1 - core->main;
}

static void forget_next(struct device_core *core)
{
        core->has_next = false;
        core->next = (struct device_next){ .due_ms = DEVICE_CORE_NEVER };
}

void device_next_begin(struct device_core *core, struct device_now now, struct device_actions *out)
{
        check(core->phase == DEVICE_LIVE && !core->has_next);
        /* The way back from the stream: one try by WebSocket at each hand-over. */
        if (core->way == DEVICE_STREAM && !core->next_by_stream)
                core->misses = DEVICE_CORE_MISSES - 1;
        core->leave_ms = DEVICE_CORE_NEVER;
        core->has_next = true;
        core->next = (struct device_next){
                .phase = DEVICE_CONNECTING,
                .due_ms = now.mono_ms + DEVICE_CORE_CONNECT_WAIT_MS,
                .since = core->token,
                .way = device_attempt_connect(core, other_link(core), out),
        };
}

/* The main connection goes on meanwhile, so there is no hurry. */
static void try_later(struct device_core *core, struct device_now now, uint64_t delay_ms)
{
        core->next_by_stream = core->way == DEVICE_STREAM;
        forget_next(core);
        core->leave_ms = now.mono_ms + delay_ms;
}

/* The main connection ends when its node ends it; what then follows is decided then. */
static void try_no_more(struct device_core *core)
{
        forget_next(core);
        core->leave_ms = DEVICE_CORE_NEVER;
}

static void miss(struct device_core *core, struct device_now now)
{
        device_attempt_missed(core, core->next.way, core->next.reached, 0);
        try_later(core, now, device_attempt_backoff_ms(core));
}

static void on_next_refused(struct device_core *core, const struct device_input *input,
                            struct device_now now)
{
        enum device_way way = core->next.way;

        device_attempt_missed(core, way, true, input->status);
        if (device_attempt_is_for_good(core, way, input->status))
                try_no_more(core);
        else
                try_later(core, now, device_attempt_refused_ms(core, input));
}

static void on_next_closed(struct device_core *core, const struct device_input *input,
                           struct device_now now)
{
        if (input->code == 4001 || input->code == 4009)
                try_no_more(core);
        else
                miss(core, now);
}

static void on_next_goaway(struct device_core *core, const struct goaway *goaway,
                           struct device_now now, struct device_actions *out)
{
        device_attempt_add(out, DEVICE_DO_DELIVER, other_link(core));
        device_attempt_add(out, DEVICE_DO_CLOSE, other_link(core))->reason = CLOSE_NORMAL;
        if (goaway->reason == GOAWAY_REPLACED || goaway->max_ms < goaway->min_ms)
                try_no_more(core);
        else
                try_later(core, now, device_attempt_goaway_ms(core, goaway));
}

static void on_next_message(struct device_core *core, const struct device_input *input,
                            struct device_now now, struct device_actions *out)
{
        const struct message *message = input->message;

        if (message->type == MESSAGE_GOAWAY) {
                on_next_goaway(core, &message->goaway, now, out);
        } else if (message->type == MESSAGE_HELLO &&
                   device_live_may_greet(&core->next.since, &message->hello)) {
                unsigned old = core->main;

                device_attempt_add(out, DEVICE_DO_CLOSE, old)->reason = CLOSE_NORMAL;
                device_attempt_forget(core);
                (void)device_next_promote(core);
                device_live_hello(core, &message->hello, now, out);
        } else {
                device_attempt_add(out, DEVICE_DO_CLOSE, other_link(core))->reason = CLOSE_PROTOCOL;
                try_later(core, now, device_attempt_backoff_ms(core));
        }
}

void device_next_step(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out)
{
        switch (input->kind) {
        case DEVICE_IN_REACHED:
                core->next.reached = true;
                return;
        case DEVICE_IN_OPENED:
                check(core->next.phase == DEVICE_CONNECTING);
                core->next.phase = DEVICE_GREETING;
                core->next.due_ms = now.mono_ms + DEVICE_CORE_HELLO_WAIT_MS;
                return;
        case DEVICE_IN_FAILED:
                miss(core, now);
                return;
        case DEVICE_IN_REFUSED:
                on_next_refused(core, input, now);
                return;
        case DEVICE_IN_CLOSED:
                on_next_closed(core, input, now);
                return;
        case DEVICE_IN_MESSAGE:
                check(core->next.phase == DEVICE_GREETING);
                on_next_message(core, input, now, out);
                return;
        case DEVICE_IN_GARBAGE:
                device_attempt_add(out, DEVICE_DO_CLOSE, other_link(core))->reason = input->reason;
                try_later(core, now, device_attempt_backoff_ms(core));
                return;
        case DEVICE_IN_HEARD:
        case DEVICE_IN_TICK:
        case DEVICE_IN_CUT:
        case DEVICE_IN_LEAVE:
                return;
        }
}

void device_next_tick(struct device_core *core, struct device_now now, struct device_actions *out)
{
        if (!core->has_next || now.mono_ms < core->next.due_ms)
                return;
        device_attempt_add(out, DEVICE_DO_CUT, other_link(core));
        miss(core, now);
}

bool device_next_promote(struct device_core *core)
{
        if (!core->has_next)
                return false;
        core->main = other_link(core);
        core->phase = core->next.phase;
        core->due_ms = core->next.due_ms;
        core->way = core->next.way;
        core->reached = core->next.reached;
        core->stream = core->next.since;
        core->next_by_stream = false;
        forget_next(core);
        return true;
}

void device_next_abandon(struct device_core *core, struct device_actions *out)
{
        if (!core->has_next)
                return;
        device_attempt_add(out, DEVICE_DO_CUT, other_link(core));
        forget_next(core);
}

void device_next_void(struct device_core *core, struct device_now now, struct device_actions *out)
{
        if (!core->has_next)
                return;
        device_next_abandon(core, out);
        try_later(core, now, device_attempt_backoff_ms(core));
}
