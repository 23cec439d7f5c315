/* loadtest/simclock.c -- see simclock.h. */
#include "loadtest/simclock.h"

#include <math.h>

#define UPTIME_MAX_US (30LL * 86400 * 1000000) /* its monotonic clock has counted so long at most */

/* Uniform from -1 to 1. */
static double either_way(struct rng *rng)
{
        return 2 * ((double)rng_below(rng, (1u << 30) + 1u) / (double)(1u << 30)) - 1;
}

void simclock_init(struct simclock *clock, uint32_t skew_ms, int64_t wall_us, uint64_t now_us,
                   struct rng *rng)
{
        *clock = (struct simclock){
                .born_us = now_us,
                .mono_us = (int64_t)rng_below(rng, UPTIME_MAX_US),
                .wall_us = wall_us + (int64_t)(either_way(rng) * 1000 * skew_ms),
                .rate = 1 + either_way(rng) * SIMCLOCK_DRIFT_PPM * 1e-6,
        };
}

/* What its crystal has counted since then. */
static int64_t counted_us(const struct simclock *clock, uint64_t now_us)
{
        return (int64_t)((double)(int64_t)(now_us - clock->born_us) * clock->rate);
}

uint64_t simclock_mono_ms(const struct simclock *clock, uint64_t now_us)
{
        return (uint64_t)(clock->mono_us + counted_us(clock, now_us)) / 1000;
}

int64_t simclock_wall_ms(const struct simclock *clock, uint64_t now_us)
{
        return (clock->wall_us + counted_us(clock, now_us)) / 1000;
}

bool simclock_has_come(const struct simclock *clock, int64_t at_ms, uint64_t now_us)
{
        uint64_t mono_ms = simclock_mono_ms(clock, now_us);
        int64_t ahead_ms;

        return !offset_ahead(&clock->offset, mono_ms, &ahead_ms) ||
               (int64_t)mono_ms + ahead_ms >= at_ms;
}

uint64_t simclock_due_us(const struct simclock *clock, int64_t at_ms, uint64_t now_us)
{
        int64_t ahead_ms, wait_us;

        if (simclock_has_come(clock, at_ms, now_us) ||
            !offset_ahead(&clock->offset, simclock_mono_ms(clock, now_us), &ahead_ms))
                return now_us;
        wait_us = (at_ms - ahead_ms) * 1000 - clock->mono_us - counted_us(clock, now_us);
        return now_us + (uint64_t)ceil((double)(wait_us > 0 ? wait_us : 0) / clock->rate);
}
