/* What a device with a wrong clock makes of the node's: as near to the truth as its samples are, and
 * however wrong its own is. The node's clock is the true one here. */
#include "loadtest/simclock.h"

#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define WALL_US 1790000000000000LL /* true, at true monotonic time 0 */
#define SKEW_MS 5000

static int64_t node_ms(uint64_t now_us)
{
        return (WALL_US + (int64_t)now_us) / 1000;
}

/* A `time` request that leaves then, with such ways. */
static void exchange(struct simclock *clock, uint64_t now_us, uint64_t there_us, uint64_t back_us)
{
        struct time_sync answer = offset_ask(&clock->offset, simclock_wall_ms(clock, now_us),
                                             simclock_mono_ms(clock, now_us));

        answer.has_t1 = true;
        answer.t1 = node_ms(now_us + there_us);
        cr_assert(offset_answer(&clock->offset, &answer,
                                simclock_mono_ms(clock, now_us + there_us + back_us)));
}

Test(simclock, is_wrong_either_way_and_no_more_than_asked_for)
{
        int64_t lowest = INT64_MAX, highest = INT64_MIN;
        struct simclock clock;
        struct rng rng;

        rng_seed(&rng, 7);
        for (unsigned i = 0; i < 1000; i++) {
                int64_t wrong;

                simclock_init(&clock, SKEW_MS, WALL_US, 0, &rng);
                wrong = simclock_wall_ms(&clock, 0) - WALL_US / 1000;
                lowest = wrong < lowest ? wrong : lowest;
                highest = wrong > highest ? wrong : highest;
                cr_assert(lt(dbl, clock.rate, 1.000051));
                cr_assert(gt(dbl, clock.rate, 0.999949));
        }
        cr_assert(ge(i64, lowest, -SKEW_MS - 1));
        cr_assert(lt(i64, lowest, -SKEW_MS * 9 / 10));
        cr_assert(le(i64, highest, SKEW_MS));
        cr_assert(gt(i64, highest, SKEW_MS * 9 / 10));
        simclock_init(&clock, 0, WALL_US, 0, &rng);
        cr_assert(eq(i64, simclock_wall_ms(&clock, 0), WALL_US / 1000));
}

Test(simclock, acts_at_once_while_it_knows_no_other_clock)
{
        struct simclock clock;
        struct rng rng;

        rng_seed(&rng, 7);
        simclock_init(&clock, SKEW_MS, WALL_US, 0, &rng);
        cr_assert(simclock_has_come(&clock, INT64_MAX, 1000));
        cr_assert(eq(u64, simclock_due_us(&clock, INT64_MAX, 1000), 1000));
}

Test(simclock, acts_at_the_moment_named_as_near_as_its_samples_are)
{
        struct rng rng;

        rng_seed(&rng, 7);
        for (unsigned i = 0; i < 300; i++) {
                uint64_t at_us = 60 * 1000000, due_us;
                struct simclock clock;

                simclock_init(&clock, SKEW_MS, WALL_US, 0, &rng);
                exchange(&clock, 1000000, 30000, 5000); /* lopsided: 12.5 ms off */
                exchange(&clock, 2000000, 1000, 1000);
                exchange(&clock, 3000000, 2000, 40000);
                due_us = simclock_due_us(&clock, node_ms(at_us), 58 * 1000000);
                /* Whole milliseconds thrice, and 57 s at 50 ppm: 2.9 ms. */
                cr_assert(lt(i64, llabs((int64_t)due_us - (int64_t)at_us), 6000), "device %u", i);
                cr_assert(simclock_has_come(&clock, node_ms(at_us), due_us + 1000));
                cr_assert(not(simclock_has_come(&clock, node_ms(at_us), due_us - 2000)));
        }
}

Test(simclock, what_has_passed_is_due_now)
{
        struct simclock clock;
        struct rng rng;

        rng_seed(&rng, 7);
        simclock_init(&clock, SKEW_MS, WALL_US, 0, &rng);
        exchange(&clock, 1000000, 1000, 1000);
        cr_assert(eq(u64, simclock_due_us(&clock, node_ms(500000), 2000000), 2000000));
}
