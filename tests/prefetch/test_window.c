/* tests/prefetch/test_window.c -- the span over which devices spread their fetches, at its limits.
 */
#include "prefetch/window.h"

#include <math.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/rng.h"

Test(window, is_devices_by_rate)
{
        static const struct {
                uint64_t own, share;
                uint32_t rate, ms;
        } rows[] = {
                { 0, 0, 5000, 0 }, /* nobody is here: at once */
                { 1, 0, 5000, 0 },
                { 5, 0, 5000, 1 },
                { 18500, 0, 5000, 3700 },
                { 200000, 0, 5000, 40000 },
                { 100, 18500, 5000, 3700 }, /* a node just started: the others are about to come */
                { 18500, 100, 5000, 3700 }, /* a node that has more than its share */
                { 599, 0, 1, 599000 },
                { 600, 0, 1, WINDOW_MAX_MS },
                { 601, 0, 1, WINDOW_MAX_MS },
                { UINT64_MAX, 0, 1, WINDOW_MAX_MS },
                { 0, UINT64_MAX, WINDOW_RATE_MAX, WINDOW_MAX_MS },
                { 600, 0, 0, WINDOW_MAX_MS }, /* a rate of 0 divides nothing */
                { 599999999, 0, WINDOW_RATE_MAX, 599999 },
        };

        for (size_t i = 0; i < countof(rows); i++)
                cr_expect(eq(u32, window_ms(rows[i].own, rows[i].share, rows[i].rate), rows[i].ms),
                          "row %zu", i);
}

Test(window, the_share_of_a_node_is_rounded_up_and_unknown_is_none)
{
        cr_assert(eq(u64, window_share(&(struct window_fleet){ 1000, 0 }), 0));
        cr_assert(eq(u64, window_share(&(struct window_fleet){ 0, 3 }), 0));
        cr_assert(eq(u64, window_share(&(struct window_fleet){ 1000, 3 }), 334));
        cr_assert(eq(u64, window_share(&(struct window_fleet){ 999, 3 }), 333));
        cr_assert(eq(u64, window_share(&(struct window_fleet){ UINT64_MAX, 1 }), UINT64_MAX));
}

Test(window, a_refresh_is_never_at_once_and_cautious_where_the_fleet_is_not_known)
{
        const struct window_fleet unknown = { 0, 0 }, small = { 10, 2 }, large = { 1000000, 4 };

        cr_assert(eq(u32, window_refresh_ms(0, &small, 5000, 60000), WINDOW_REFRESH_MIN_MS));
        cr_assert(eq(u32, window_refresh_ms(0, &large, 5000, 60000), 50000));
        cr_assert(eq(u32, window_refresh_ms(10, &unknown, 5000, 60000), 60000));
        cr_assert(eq(u32, window_refresh_ms(500000, &unknown, 5000, 60000), 100000));
        cr_assert(eq(u32, window_refresh_ms(0, &large, 1, 60000), WINDOW_MAX_MS));
}

/* Devices that come while others still do: the header's formula. */
Test(window, a_storm_that_is_still_coming_does_not_break_the_rate_by_more_than_the_logarithm)
{
        enum { DEVICES = 200000, RATE = 5000, COME = 20000, SECONDS = 60 };
        static unsigned fetches[SECONDS];
        unsigned most = 0;
        struct rng rng;

        rng_seed(&rng, 3);
        for (unsigned k = 1; k <= DEVICES; k++) {
                double at =
                    (double)k / COME + (double)rng_below(&rng, window_ms(k, 0, RATE) + 1) / 1000;

                if (at < SECONDS)
                        fetches[(unsigned)at]++;
        }
        for (unsigned i = 0; i < SECONDS; i++)
                most = fetches[i] > most ? fetches[i] : most;
        cr_assert(lt(dbl, most, 1.05 * RATE * log(1 + (double)COME / RATE)));
}
