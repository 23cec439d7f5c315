#include "loadtest/moments.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct moments moments, other;

Test(moments, of_none_there_is_nothing_to_tell)
{
        cr_assert(eq(i64, moments_percentile(&moments, 99), 0));
        cr_assert(eq(dbl, moments_share(&moments, 0), 0));
        moments_add(&moments, &other);
        cr_assert(zero(u64, moments.total));
}

Test(moments, are_told_before_and_after_to_a_step)
{
        for (int64_t us = -50000; us < 50000; us += 1000)
                moments_record(&moments, us);
        cr_assert(eq(u64, moments.total, 100));
        cr_assert(eq(i64, moments.first_us, -50000));
        cr_assert(eq(i64, moments.last_us, 49000));
        cr_assert(eq(i64, moments_percentile(&moments, 0), -50000));
        cr_assert(eq(i64, moments_percentile(&moments, 1), -50000));
        cr_assert(eq(i64, moments_percentile(&moments, 50), -1000 + MOMENTS_STEP_US));
        cr_assert(eq(i64, moments_percentile(&moments, 100), 49000), "never beyond the last");
        cr_assert(eq(dbl, moments_share(&moments, -50001), 0));
        cr_assert(eq(dbl, moments_share(&moments, 0), 50));
        cr_assert(eq(dbl, moments_share(&moments, 60000), 100));
}

Test(moments, far_out_ones_count_at_the_edge_and_keep_their_own_time)
{
        moments_record(&moments, -90LL * 1000000);
        moments_record(&moments, -MOMENTS_BEFORE_US);
        moments_record(&moments, MOMENTS_AFTER_US - 1);
        moments_record(&moments, MOMENTS_AFTER_US);
        moments_record(&moments, 90LL * 1000000);
        cr_assert(eq(u32, moments.counts[0], 2));
        cr_assert(eq(u32, moments.counts[MOMENTS_BINS - 1], 3));
        cr_assert(eq(i64, moments.first_us, -90LL * 1000000));
        cr_assert(eq(i64, moments.last_us, 90LL * 1000000));
}

Test(moments, of_several_processes_add_up)
{
        moments_record(&moments, 100);
        moments_record(&other, -700);
        moments_record(&other, 900);
        moments_add(&moments, &other);
        cr_assert(eq(u64, moments.total, 3));
        cr_assert(eq(i64, moments.first_us, -700));
        cr_assert(eq(i64, moments.last_us, 900));
        cr_assert(eq(dbl, moments_share(&moments, 250), 200.0 / 3));
}
