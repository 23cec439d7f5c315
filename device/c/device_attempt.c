/* device/c/device_attempt.c -- see device_attempt.h. */
#include "device/c/device_attempt.h"

#include <stdio.h>

#include "device/c/device_next.h"
#include "device/c/device_time.h"

/* --- the list of actions -------------------------------------------------------------------- */

struct device_action *device_attempt_add(struct device_actions *out, enum device_do what,
                                         unsigned link)
{
        check(out->n < DEVICE_ACTIONS_MAX);

        struct device_action *action = &out->list[out->n++];

        *action = (struct device_action){ .what = what, .link = link };
        return action;
}

void device_attempt_say_state(const struct device_core *core, struct device_actions *out)
{
        device_attempt_add(out, DEVICE_DO_STATE, core->main)->state = device_core_state(core);
}

/* --- which way ------------------------------------------------------------------------------ */

enum device_way device_attempt_connect(struct device_core *core, unsigned link,
                                       struct device_actions *out)
{
        bool streams = core->misses >= DEVICE_CORE_MISSES && !core->no_stream;
        enum device_way way = streams ? DEVICE_STREAM : DEVICE_WEBSOCKET;

        device_attempt_add(out, DEVICE_DO_CONNECT, link)->way = way;
        return way;
}

void device_attempt_missed(struct device_core *core, enum device_way way, bool reached,
                           unsigned status)
{
        if (way == DEVICE_STREAM) {
                /* The WebSocket is as good a guess now. A node without streams is not asked again.
                 */
                core->no_stream = core->no_stream || status == 404 || status == 405;
                if (status != 429 && status != 503)
                        core->misses = DEVICE_CORE_MISSES - 1;
        } else if (status == 426) { /* something on the way has removed the Upgrade line */
                core->misses = DEVICE_CORE_MISSES;
        } else if (reached && (status == 0 || status == 501 || status == 502 || status == 200) &&
                   core->misses < DEVICE_CORE_MISSES) {
                core->misses++;
        }
}

/* Everything in the 400s says that this request will never do, but for those that speak of now, and
 * those after which there is another way to try. */
bool device_attempt_is_for_good(const struct device_core *core, enum device_way way,
                                unsigned status)
{
        if (way == DEVICE_STREAM && (status == 404 || status == 405))
                return false;
        if (way == DEVICE_WEBSOCKET && status == 426 && !core->no_stream)
                return false;
        return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
}

/* --- when ------------------------------------------------------------------------------------ */

/* "Full jitter": anywhere between 0 and the step, which doubles with each failure. Of the schemes
 * compared in M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the one
 * with the fewest calls made. */
uint64_t device_attempt_backoff_ms(struct device_core *core)
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

uint64_t device_attempt_refused_ms(struct device_core *core, const struct device_input *input)
{
        uint64_t max_s = DEVICE_CORE_RETRY_AFTER_MAX_MS / 1000;
        uint64_t s = (uint64_t)input->retry_after_s;

        if ((input->status != 429 && input->status != 503) || input->retry_after_s < 0)
                return device_attempt_backoff_ms(core);
        /* The node spreads whole seconds (RFC 9110 10.2.3 knows no fractions); without a fraction
         * of our own the herd would still arrive in ticks. */
        return (s < max_s ? s : max_s) * 1000 + rng_below(&core->rng, 1000);
}

uint64_t device_attempt_goaway_ms(struct device_core *core, const struct goaway *goaway)
{
        check(goaway->min_ms <= goaway->max_ms);
        return goaway->min_ms +
               rng_below(&core->rng, (uint64_t)goaway->max_ms - goaway->min_ms + 1);
}

/* --- the main connection is over ------------------------------------------------------------- */

void device_attempt_forget(struct device_core *core)
{
        core->reset_due = false;
        core->stable_ms = DEVICE_CORE_NEVER;
        core->leave_ms = DEVICE_CORE_NEVER;
        core->ack_ms = DEVICE_CORE_NEVER;
        core->reached = false;
        device_time_pause(core);
}

void device_attempt_stop(struct device_core *core, struct device_actions *out, const char *why)
{
        device_next_abandon(core, out);
        device_attempt_forget(core);
        core->phase = DEVICE_STOPPED;
        core->due_ms = DEVICE_CORE_NEVER;
        snprintf(out->why, sizeof(out->why), "%s", why);
        device_attempt_say_state(core, out);
}

void device_attempt_wait(struct device_core *core, struct device_now now, uint64_t delay_ms,
                         struct device_actions *out, const char *why)
{
        device_attempt_forget(core);
        if (device_next_promote(core)) {
                snprintf(out->why, sizeof(out->why), "%.150s, the next one is on its way", why);
        } else {
                core->phase = DEVICE_WAITING;
                core->due_ms = now.mono_ms + delay_ms;
                snprintf(out->why, sizeof(out->why), "%.150s, again in %.1f s", why,
                         (double)delay_ms / 1000.0);
        }
        device_attempt_say_state(core, out);
}

static void wait_backoff(struct device_core *core, struct device_now now,
                         struct device_actions *out, const char *why)
{
        device_attempt_wait(core, now, device_attempt_backoff_ms(core), out, why);
}

/* The node asked for patience without saying how much: the longest step at once. */
static void wait_longest(struct device_core *core, struct device_now now,
                         struct device_actions *out, const char *why)
{
        device_attempt_wait(core, now, rng_below(&core->rng, (uint64_t)core->backoff_max_ms + 1),
                            out, why);
}

void device_attempt_give_up(struct device_core *core, struct device_now now,
                            enum close_reason reason, struct device_actions *out, const char *why)
{
        device_attempt_add(out, DEVICE_DO_CLOSE, core->main)->reason = reason;
        wait_backoff(core, now, out, why);
}

void device_attempt_drop(struct device_core *core, struct device_now now,
                         struct device_actions *out, const char *why)
{
        device_attempt_add(out, DEVICE_DO_CUT, core->main);
        if (core->phase != DEVICE_LIVE)
                device_attempt_missed(core, core->way, core->reached, 0);
        wait_backoff(core, now, out, why);
}

void device_attempt_refused(struct device_core *core, const struct device_input *input,
                            struct device_now now, struct device_actions *out)
{
        char why[64];

        snprintf(why, sizeof(why), "refused: %u", input->status);
        device_attempt_missed(core, core->way, true, input->status);
        if (device_attempt_is_for_good(core, core->way, input->status))
                device_attempt_stop(core, out, why);
        else
                device_attempt_wait(core, now, device_attempt_refused_ms(core, input), out, why);
}

void device_attempt_failed(struct device_core *core, const struct device_input *input,
                           struct device_now now, struct device_actions *out)
{
        char why[150];

        snprintf(why, sizeof(why), "no connection: %s",
                 input->text != NULL ? input->text : "lost before the upgrade");
        device_attempt_missed(core, core->way, core->reached, 0);
        wait_backoff(core, now, out, why);
}

void device_attempt_closed(struct device_core *core, const struct device_input *input,
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
        if (core->phase != DEVICE_LIVE && input->code == 0)
                device_attempt_missed(core, core->way, core->reached, 0);
        /* What let us in has expired: the same will not do again. Or another connection of this
         * device lives, and the two would replace each other for ever; unless it is our own. */
        if (input->code == 4001 || (input->code == 4009 && !core->has_next))
                device_attempt_stop(core, out, why);
        else if (leave_ms != DEVICE_CORE_NEVER) /* the goaway says when, not the close */
                device_attempt_wait(core, now, leave_ms > now.mono_ms ? leave_ms - now.mono_ms : 0,
                                    out, why);
        else if (input->code == 1008 || input->code == 1013)
                wait_longest(core, now, out, why);
        else
                wait_backoff(core, now, out, why);
}
