/* device/c/device_time.c -- see device_time.h. */
#include "device/c/device_time.h"

void device_time_hello(struct device_core *core, int64_t node_wall_ms, struct device_now now)
{
        uint64_t spread = core->ack_spread_ms > DEVICE_CORE_TIME_GAP_MS ? core->ack_spread_ms
                                                                        : DEVICE_CORE_TIME_GAP_MS;

        offset_hello(&core->offset, node_wall_ms, now.mono_ms);
        core->time_sent = 0;
        /* Not at once: after a lost node, everybody says hello at the same time. */
        core->time_ms = now.mono_ms + rng_below(&core->rng, spread + 1);
}

void device_time_pause(struct device_core *core)
{
        offset_pause(&core->offset);
        core->time_ms = DEVICE_CORE_NEVER;
}

struct time_sync device_time_ask(struct device_core *core, struct device_now now)
{
        if (++core->time_sent < DEVICE_CORE_TIME_BURST)
                core->time_ms = now.mono_ms + DEVICE_CORE_TIME_GAP_MS;
        else
                core->time_ms = now.mono_ms + DEVICE_CORE_TIME_EVERY_MS -
                                DEVICE_CORE_TIME_EVERY_MS / 10 +
                                rng_below(&core->rng, DEVICE_CORE_TIME_EVERY_MS / 5 + 1);
        return offset_ask(&core->offset, now.wall_ms, now.mono_ms);
}

void device_time_answer(struct device_core *core, const struct time_sync *answer,
                        struct device_now now)
{
        (void)offset_answer(&core->offset, answer, now.mono_ms);
}
