/* device/c/device_time.c -- see device_time.h. Offsets are kept against the monotonic clock, so
 * that a device whose wall clock is set (at boot, by a user, by its own NTP) is not wrong until the
 * next sample. */
#include "device/c/device_time.h"

#define BURST_GAP_MS 1000u /* between the requests after a hello */
#define DRIFT_MS_PER_HOUR \
        180u /* 50 ppm, what cheap crystals do; RFC 5905 assumes 15 for computers */

void device_time_hello(struct device_core *core, int64_t node_wall_ms, struct device_now now)
{
        uint64_t spread = core->ack_spread_ms > BURST_GAP_MS ? core->ack_spread_ms : BURST_GAP_MS;

        core->has_hello_clock = true;
        core->hello_ahead_ms = node_wall_ms - (int64_t)now.mono_ms;
        core->time_sent = 0;
        core->time_open = false;
        /* Not at once: after a lost node, everybody says hello at the same time. */
        core->time_ms = now.mono_ms + rng_below(&core->rng, spread + 1);
}

void device_time_pause(struct device_core *core)
{
        core->time_open = false;
        core->time_ms = DEVICE_CORE_NEVER;
}

struct time_sync device_time_ask(struct device_core *core, struct device_now now)
{
        core->time_open = true;
        core->time_t0 = now.wall_ms;
        core->time_left_ms = now.mono_ms;
        if (++core->time_sent < DEVICE_CORE_TIME_BURST)
                core->time_ms = now.mono_ms + BURST_GAP_MS;
        else
                core->time_ms = now.mono_ms + DEVICE_CORE_TIME_EVERY_MS -
                                DEVICE_CORE_TIME_EVERY_MS / 10 +
                                rng_below(&core->rng, DEVICE_CORE_TIME_EVERY_MS / 5 + 1);
        return (struct time_sync){ .t0 = now.wall_ms };
}

void device_time_answer(struct device_core *core, const struct time_sync *answer,
                        struct device_now now)
{
        uint64_t rtt_ms = now.mono_ms - core->time_left_ms;

        /* The answer to a request given up for a newer one; its round trip is not known any more.
         */
        if (!core->time_open || answer->t0 != core->time_t0)
                return;
        core->time_open = false;
        if (rtt_ms > DEVICE_CORE_TIME_WAIT_MS)
                return;

        int64_t halfway_ms = (int64_t)(core->time_left_ms + rtt_ms / 2);

        core->samples[core->next_sample] = (struct device_sample){
                .ahead_ms = answer->t1 - halfway_ms,
                .rtt_ms = (uint32_t)rtt_ms,
                .taken_ms = now.mono_ms,
        };
        core->next_sample = (core->next_sample + 1) % DEVICE_CORE_SAMPLES;
        if (core->n_samples < DEVICE_CORE_SAMPLES)
                core->n_samples++;
}

/* How far off this sample may be by now, in ms. */
static uint64_t sample_error(const struct device_sample *sample, uint64_t mono_ms)
{
        return sample->rtt_ms / 2 + (mono_ms - sample->taken_ms) * DRIFT_MS_PER_HOUR / 3600000;
}

bool device_time_ahead(const struct device_core *core, uint64_t mono_ms, int64_t *ret_ahead_ms)
{
        const struct device_sample *best = NULL;

        for (unsigned i = 0; i < core->n_samples; i++) {
                const struct device_sample *sample = &core->samples[i];

                if (best == NULL || sample_error(sample, mono_ms) < sample_error(best, mono_ms))
                        best = sample;
        }
        if (best != NULL)
                *ret_ahead_ms = best->ahead_ms;
        else if (core->has_hello_clock)
                *ret_ahead_ms = core->hello_ahead_ms;
        return best != NULL || core->has_hello_clock;
}
