/* The histogram against a sorted list of the same values. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/histogram.h"
#include "base/rng.h"

#define LARGEST ((UINT64_C(1) << 35) - 1)

Test(histogram, is_empty_at_first)
{
        static struct histogram h;

        histogram_init(&h);
        cr_assert(eq(u64, h.min, UINT64_MAX));
        cr_assert(eq(u64, histogram_percentile(&h, 0), 0));
        cr_assert(eq(u64, histogram_percentile(&h, 100), 0));
}

/* Alone in a histogram with a much larger value, a value is told as the upper edge of its bucket.
 */
static uint64_t edge_of(uint64_t value)
{
        static struct histogram h;

        histogram_init(&h);
        histogram_record(&h, value);
        histogram_record(&h, UINT64_MAX);
        return histogram_percentile(&h, 50);
}

static void expect_told_within_bounds(uint64_t value)
{
        uint64_t edge = edge_of(value);

        cr_assert(edge >= value && (double)(edge - value) <= 0.016 * (double)value, "%llu as %llu",
                  (unsigned long long)value, (unsigned long long)edge);
}

Test(histogram, tells_any_value_within_1_6_percent)
{
        struct rng rng;

        rng_seed(&rng, 3);
        for (uint64_t value = 0; value < 5000; value++)
                expect_told_within_bounds(value);
        for (unsigned bit = 7; bit < 35; bit++) {
                expect_told_within_bounds(UINT64_C(1) << bit);
                expect_told_within_bounds((UINT64_C(1) << bit) - 1);
                expect_told_within_bounds((UINT64_C(1) << bit) + 1);
        }
        for (int i = 0; i < 20000; i++)
                expect_told_within_bounds(rng_below(&rng, UINT64_C(1) << (1 + i % 35)));
        expect_told_within_bounds(LARGEST);
}

Test(histogram, is_exact_below_128)
{
        for (uint64_t value = 0; value < 128; value++)
                cr_assert(eq(u64, edge_of(value), value));
        cr_assert(eq(u64, edge_of(128), 129));
}

Test(histogram, buckets_follow_each_other_without_hole_or_overlap)
{
        cr_assert(eq(u64, histogram_upper(0), 0));
        cr_assert(eq(u64, histogram_upper(HISTOGRAM_BUCKETS - 1), LARGEST));
        for (size_t i = 0; i + 2 < HISTOGRAM_BUCKETS; i++) {
                uint64_t upper = histogram_upper(i);

                cr_assert(lt(u64, upper, histogram_upper(i + 1)));
                cr_assert(eq(u64, edge_of(upper), upper));
                cr_assert(eq(u64, edge_of(upper + 1), histogram_upper(i + 1)));
        }
}

Test(histogram, larger_values_count_as_the_largest_but_max_is_exact)
{
        static struct histogram h;

        histogram_init(&h);
        histogram_record(&h, LARGEST + 1);
        histogram_record(&h, UINT64_MAX / 2);
        cr_assert(eq(u64, h.counts[HISTOGRAM_BUCKETS - 1], 2));
        cr_assert(eq(u64, h.max, UINT64_MAX / 2));
        cr_assert(eq(u64, histogram_percentile(&h, 100), UINT64_MAX / 2));
        cr_assert(eq(u64, histogram_percentile(&h, 50), LARGEST));
}

static int by_value(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

Test(histogram, percentiles_are_those_of_the_sorted_list)
{
        static const double percents[] = { 0, 0.1, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99, 100 };
        static struct histogram h;
        static uint64_t values[20000];
        struct rng rng;

        for (unsigned round = 0; round < 30; round++) {
                size_t n = round == 0 ? 1 : round == 1 ? 1000 : 1 + round * 600;

                rng_seed(&rng, round);
                histogram_init(&h);
                for (size_t i = 0; i < n; i++) {
                        values[i] = rng_u64(&rng) >> (29 + rng_below(&rng, 34));
                        histogram_record(&h, values[i]);
                }
                qsort(values, n, sizeof(values[0]), by_value);
                cr_assert(eq(u64, h.min, values[0]));
                cr_assert(eq(u64, h.max, values[n - 1]));
                for (size_t i = 0; i < countof(percents); i++) {
                        /* Hundredths of a percent are whole numbers: no rounding in the model. */
                        size_t per_10000 = (size_t)lround(percents[i] * 100);
                        size_t rank = (per_10000 * n + 9999) / 10000;
                        uint64_t expected = values[rank == 0 ? 0 : rank - 1];
                        uint64_t told = histogram_percentile(&h, percents[i]);

                        cr_assert(told >= expected && told <= h.max &&
                                      (double)(told - expected) <= 0.016 * (double)expected,
                                  "round %u, p%g of %zu", round, percents[i], n);
                }
        }
}

Test(histogram, adding_two_is_recording_all_in_one)
{
        static struct histogram a, b, all;
        struct rng rng;

        histogram_init(&a);
        histogram_init(&b);
        histogram_init(&all);
        rng_seed(&rng, 11);
        for (int i = 0; i < 5000; i++) {
                uint64_t value = rng_u64(&rng) >> (rng_below(&rng, 64));

                histogram_record(i % 3 ? &a : &b, value);
                histogram_record(&all, value);
        }
        histogram_add(&a, &b);
        cr_assert(memcmp(&a, &all, sizeof(all)) == 0);
        histogram_init(&b);
        histogram_add(&a, &b);
        cr_assert(memcmp(&a, &all, sizeof(all)) == 0, "adding nothing changes nothing");
}

Test(histogram, a_percentage_beyond_100_is_our_bug, .signal = SIGABRT)
{
        static struct histogram h;

        histogram_init(&h);
        histogram_percentile(&h, 100.1);
}
