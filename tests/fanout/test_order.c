/* What order.h promises: an order reaches the run of the node it was given to, and no other. */
#include "fanout/order.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static const struct order given = {
        .started = 1795463990123, .given = 1795463999000, .within_ms = 60000, .rate = 500
};

Test(order, is_for_one_run_of_a_node)
{
        cr_assert(order_holds(&given, given.started, given.given + 1000));
        cr_assert(not(order_holds(&given, given.started + 1, given.given + 1000)));
        cr_assert(not(order_holds(&given, 0, given.given + 1000)));
}

Test(order, is_void_a_minute_after_it_was_given)
{
        cr_assert(order_holds(&given, given.started, given.given + ORDER_VALID_MS - 1));
        cr_assert(not(order_holds(&given, given.started, given.given + ORDER_VALID_MS)));
        cr_assert(order_holds(&given, given.started, given.given - 2000)); /* clocks differ */
        cr_assert(not(order_holds(&given, given.started, given.given - ORDER_VALID_MS)));
}

Test(order, all_are_told_in_half_of_the_time_but_others_are_spared)
{
        cr_assert(eq(u32, order_rate(18500, 2, 30000), 1234)); /* 18,500 in 15 s */
        cr_assert(eq(u32, order_rate(18500, 2, 4000), 4000));  /* two others take no more */
        cr_assert(
            eq(u32, order_rate(18500, 50, 4000), 10000)); /* 50 others might take the double */
        cr_assert(eq(u32, order_rate(3, 2, 60000), 400)); /* three devices need no 30 s */
        cr_assert(eq(u32, order_rate(0, 2, 60000), 400));
        cr_assert(eq(u32, order_rate(20000, 0, 4000), 10000)); /* nobody to spare */
        cr_assert(eq(u32, order_rate(3, 0, 60000), 200));
        cr_assert(eq(u32, order_rate(UINT64_MAX / 2000, 0, 0), ORDER_RATE_MAX));
}
