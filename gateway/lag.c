/* gateway/lag.c -- see lag.h. Refuses to know what the probe is and who runs the ticks. */
#include "gateway/lag.h"

static void note(struct lag *lag, uint64_t late_ms)
{
        uint32_t ms = late_ms < UINT32_MAX ? (uint32_t)late_ms : UINT32_MAX;

        if (ms > lag->worst_ms)
                lag->worst_ms = ms;
}

void lag_begin(struct lag *lag, uint64_t now_ms, unsigned tick_ms)
{
        *lag = (struct lag){ .due_ms = now_ms + tick_ms, .read_ms = now_ms };
}

bool lag_tick(struct lag *lag, uint64_t now_ms, unsigned tick_ms)
{
        if (now_ms > lag->due_ms)
                note(lag, now_ms - lag->due_ms);
        lag->due_ms = now_ms + tick_ms;
        return now_ms - lag->read_ms >= LAG_EVERY_MS;
}

bool lag_probe(struct lag *lag, uint64_t now_ms)
{
        if (lag->probe_ms != 0)
                return false;
        lag->probe_ms = now_ms;
        return true;
}

void lag_probe_seen(struct lag *lag, uint64_t now_ms)
{
        if (lag->probe_ms == 0)
                return;
        note(lag, now_ms - lag->probe_ms);
        lag->probe_ms = 0;
}

uint32_t lag_read(struct lag *lag, uint64_t now_ms)
{
        uint32_t least = UINT32_MAX;

        if (lag->probe_ms != 0) /* still on its way: it will have waited at least so long */
                note(lag, now_ms - lag->probe_ms);
        lag->recent_ms[lag->n++ % LAG_READINGS] = lag->worst_ms;
        lag->worst_ms = 0;
        lag->read_ms = now_ms;
        if (lag->n < LAG_READINGS)
                return 0;
        for (unsigned i = 0; i < LAG_READINGS; i++)
                if (lag->recent_ms[i] < least)
                        least = lag->recent_ms[i];
        return least;
}
