/* What lag.h promises: bursts and pauses are no lag, a queue that is never empty is. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "gateway/lag.h"

#define TICK 64

/* Ticks from *at on for `ms`, each `late_ms` after it was due, and the probe back after `probe_ms`.
 * Returns the last reading. */
static uint32_t run(struct lag *lag, uint64_t *at, uint64_t ms, unsigned late_ms, unsigned probe_ms)
{
        uint64_t until = *at + ms;
        uint32_t last = 0;

        while (*at < until) {
                *at += TICK + late_ms;
                if (lag->probe_ms != 0 && *at >= lag->probe_ms + probe_ms)
                        lag_probe_seen(lag, lag->probe_ms + probe_ms);
                if (!lag_tick(lag, *at, TICK))
                        continue;
                last = lag_read(lag, *at);
                lag_probe(lag, *at);
        }
        return last;
}

Test(lag, punctual_ticks_and_an_empty_queue_are_none)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        cr_assert(zero(u32, run(&lag, &at, 5000, 0, 0)));
}

Test(lag, one_long_turn_is_none)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        run(&lag, &at, 5000, 0, 0);
        run(&lag, &at, 1, 30000, 0);
        cr_assert(zero(u32, run(&lag, &at, 500, 0, 0)));
}

Test(lag, turns_that_take_long_for_a_second_are)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        run(&lag, &at, 2000, 0, 0);
        cr_assert(eq(u32, run(&lag, &at, 1500, 300, 0), 300));
        cr_assert(zero(u32, run(&lag, &at, 300, 0, 0))); /* caught up: at once */
}

Test(lag, a_queue_in_which_the_probe_waits_for_a_second_is)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        run(&lag, &at, 2000, 0, 0);
        cr_assert(ge(u32, run(&lag, &at, 2000, 0, 150), 150));
        cr_assert(zero(u32, run(&lag, &at, 600, 0, 0)));
}

Test(lag, a_probe_that_never_comes_back_is)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        cr_assert(gt(u32, run(&lag, &at, 3000, 0, 1000000), 1000));
}

Test(lag, nothing_is_known_in_the_first_second)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        cr_assert(zero(u32, run(&lag, &at, 3 * LAG_EVERY_MS, 60, 200)));
        cr_assert(gt(u32, run(&lag, &at, 1000, 60, 200), 0));
}

Test(lag, sleep_is_none)
{
        uint64_t at = 1000;
        struct lag lag;

        lag_begin(&lag, at, TICK);
        run(&lag, &at, 5000, 300, 0);
        at += 3600000;
        lag_begin(&lag, at, TICK);
        cr_assert(zero(u32, run(&lag, &at, 2000, 0, 0)));
}
