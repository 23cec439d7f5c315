/* What a device knows of the node's clock. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/device/driver.h"

/* The next request is answered by a node whose wall clock is `ahead_ms` ahead, over a network that
 * needs `there_ms` and `back_ms`. */
static void exchange(struct driver *d, int64_t ahead_ms, uint64_t there_ms, uint64_t back_ms)
{
        struct message answer = { .type = MESSAGE_TIME };

        do {
                tick_when_due(d);
        } while (did(d, DEVICE_DO_TIME) == NULL);
        answer.time.t0 = did(d, DEVICE_DO_TIME)->time.t0;
        pass_ms(d, there_ms);
        answer.time.has_t1 = true;
        answer.time.t1 = d->now.wall_ms + ahead_ms;
        pass_ms(d, back_ms);
        hear(d, &answer);
}

Test(device_time, is_zero_before_the_first_hello_and_about_right_after_it)
{
        struct driver d;

        start(&d, NULL, 7);
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 0));
        open_up(&d);
        hear_hello(&d, 1, false); /* 5 s ahead */
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 5000));
}

Test(device_time, asks_three_times_soon_after_hello_and_then_every_ten_minutes)
{
        struct driver d;
        uint64_t hello_ms, at_ms;

        start_live(&d, 41);
        hello_ms = d.now.mono_ms;
        for (int i = 0; i < 3; i++)
                exchange(&d, 0, 1, 1);
        cr_assert(lt(u64, d.now.mono_ms - hello_ms, 5000));
        for (int i = 0; i < 3; i++) {
                at_ms = d.now.mono_ms;
                d.core.ping_ms = 0; /* no probes in between */
                exchange(&d, 0, 1, 1);
                cr_assert(ge(u64, d.now.mono_ms - at_ms, 540000));
                cr_assert(le(u64, d.now.mono_ms - at_ms, 660010));
        }
}

Test(device_time, trusts_the_sample_with_the_shortest_round_trip)
{
        struct driver d;

        start_live(&d, 41);
        exchange(&d, 300, 400, 20); /* lopsided: looks 490 ahead */
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 490));
        exchange(&d, 300, 3, 3);
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 300));
        exchange(&d, 300, 10, 500);
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 300));
}

Test(device_time, prefers_a_fresh_sample_to_a_good_one_that_has_drifted)
{
        struct driver d;

        start_live(&d, 41);
        d.core.ping_ms = 0;
        exchange(&d, 300, 1, 1);
        for (int i = 0; i < 6; i++)
                exchange(&d, 450, 30, 30);
        /* 40 minutes at 50 ppm may be 120 ms: the first sample is worth less than 30 ms of path */
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 450));
}

Test(device_time, stays_right_when_the_own_wall_clock_is_set)
{
        struct driver d;

        start_live(&d, 41);
        exchange(&d, 300, 3, 3);
        d.now.wall_ms -= 3600000;
        cr_assert(eq(i64, device_core_offset_ms(&d.core, d.now), 3600300));
}

Test(device_time, ignores_answers_it_did_not_ask_for_or_that_took_too_long)
{
        struct driver d;
        struct message answer = { .type = MESSAGE_TIME,
                                  .time = { .t0 = 1, .has_t1 = true, .t1 = 99 } };

        start_live(&d, 41);
        hear(&d, &answer);
        cr_assert(eq(int, d.core.offset.n, 0));
        d.core.ping_ms = 0;
        exchange(&d, 300, 11000, 11000);
        cr_assert(eq(int, d.core.offset.n, 0));
}
