/* tests/producer/test_reach.c -- whom a signal would reach, from what nodes say of themselves. */
#include "producer/reach.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test(reach, counts_devices_of_living_nodes_and_those_that_drain)
{
        const struct presence nodes[] = { { .name = "a", .devices = 1000 },
                                          { .name = "b", .devices = 30, .leaves = 1 },
                                          { .name = "c", .devices = 500, .gone = true },
                                          { .name = "d", .devices = 70, .ended = true } };
        struct reach reach = reach_of(nodes, 4, NULL);

        cr_assert(eq(u64, reach.devices, 1030));
        cr_assert(eq(uint, reach.nodes, 2));
        cr_assert(not(reach.approximate));
}

Test(reach, takes_as_long_as_the_slowest_node)
{
        const struct presence nodes[] = { { .name = "a", .devices = 100000 },
                                          { .name = "b", .devices = 20000 } };

        cr_assert(eq(u64, reach_of(nodes, 2, NULL).estimated_ms,
                     100000 * REACH_US_PER_DEVICE / 1000 + REACH_BASE_MS));
        cr_assert(eq(u64, reach_of(NULL, 0, NULL).estimated_ms, REACH_BASE_MS));
}
