/* tests/producer/test_reach.c -- whom a signal would reach, from what nodes say of themselves. */
#include "producer/reach.h"

#include <jansson.h>
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

Test(reach, goes_by_what_a_node_has_measured)
{
        const struct presence nodes[] = { { .name = "a", .devices = 100000, .us_per_device = 2.5 },
                                          { .name = "b", .devices = 20000, .us_per_device = 20 } };

        cr_assert(eq(u64, reach_of(nodes, 2, NULL).estimated_ms, 400 + REACH_BASE_MS));
}

Test(reach, of_a_node_that_says_nonsense_is_a_day_at_most)
{
        const struct presence nodes[] = {
                { .name = "a", .devices = UINT64_MAX / 4, .us_per_device = 1e6 },
        };

        cr_assert(eq(u64, reach_of(nodes, 1, NULL).estimated_ms, 86400000));
}

Test(reach, of_a_signal_for_some_counts_those_and_says_where_it_cannot_know)
{
        const struct presence_audience sorts[] = { { { "default", "tv" }, 300 },
                                                   { { "default", "web" }, 50 } };
        const struct presence nodes[] = {
                { .name = "a", .devices = 350, .audiences = sorts, .n_audiences = 2 },
                { .name = "old", .devices = 7 },
        };
        struct target *to = NULL;
        const char *why;
        json_t *attributes = json_pack("{s:[s]}", "platform", "tv");
        struct reach reach;

        cr_assert(eq(int, target_parse(NULL, attributes, &to, &why), OK));
        reach = reach_of(nodes, 1, to);
        cr_assert(eq(u64, reach.devices, 300));
        cr_assert(not(reach.approximate));
        reach = reach_of(nodes, 2, to);
        cr_assert(eq(u64, reach.devices, 307), "of a node that does not say, all count");
        cr_assert(reach.approximate);
        cr_assert(not(reach_of(nodes, 2, NULL).approximate), "everyone is not a matter of sorts");
        target_destroy(to);
        json_decref(attributes);
}
