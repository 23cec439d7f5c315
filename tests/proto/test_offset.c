/* How far a clock is off: the reckoning alone. When devices ask is tests/device/test_time.c's. */
#include "proto/offset.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define NODE_MS 1790000000000

/* A request that leaves at `mono_ms`, takes so long there and back, by a node whose wall clock is
 * NODE_MS + mono_ms. */
static bool exchange(struct offset *offset, uint64_t mono_ms, uint64_t there_ms, uint64_t back_ms)
{
        struct time_sync answer = offset_ask(offset, -5000, mono_ms);

        answer.has_t1 = true;
        answer.t1 = NODE_MS + (int64_t)(mono_ms + there_ms);
        return offset_answer(offset, &answer, mono_ms + there_ms + back_ms);
}

static int64_t ahead(const struct offset *offset, uint64_t mono_ms)
{
        int64_t ms = 0;

        cr_assert(offset_ahead(offset, mono_ms, &ms));
        return ms;
}

Test(offset, nothing_is_known_then_what_hello_said_then_what_was_measured)
{
        struct offset offset = { .n = 0 };
        int64_t ms = 77;

        cr_assert(not(offset_ahead(&offset, 1000, &ms)));
        cr_assert(eq(i64, ms, 77));
        offset_hello(&offset, NODE_MS + 1000 - 40, 1000);
        cr_assert(eq(i64, ahead(&offset, 1000), NODE_MS - 40));
        cr_assert(exchange(&offset, 2000, 10, 10));
        cr_assert(eq(i64, ahead(&offset, 2020), NODE_MS));
}

Test(offset, is_off_by_half_of_what_the_ways_differ_by_and_the_shortest_trip_is_believed)
{
        struct offset offset = { .n = 0 };

        cr_assert(exchange(&offset, 1000, 300, 100));
        cr_assert(eq(i64, ahead(&offset, 1400), NODE_MS + 100));
        cr_assert(exchange(&offset, 2000, 2, 0));
        cr_assert(exchange(&offset, 3000, 50, 250));
        cr_assert(eq(i64, ahead(&offset, 3300), NODE_MS + 1));
}

Test(offset, the_ninth_sample_takes_the_place_of_the_first)
{
        struct offset offset = { .n = 0 };

        cr_assert(exchange(&offset, 1000, 0, 0));
        for (unsigned i = 0; i < OFFSET_SAMPLES; i++) {
                cr_assert(eq(i64, ahead(&offset, 1500), NODE_MS), "sample %u", i);
                cr_assert(exchange(&offset, 1100 + i, 60, 20));
        }
        cr_assert(eq(i64, ahead(&offset, 1500), NODE_MS + 20));
        cr_assert(eq(uint, offset.n, OFFSET_SAMPLES));
}

Test(offset, what_nobody_asked_or_what_took_too_long_is_no_answer)
{
        struct offset offset = { .n = 0 };
        struct time_sync answer = { .t0 = 0, .has_t1 = true, .t1 = 9 };

        cr_assert(not(offset_answer(&offset, &answer, 1000)), "nothing was asked");
        answer = offset_ask(&offset, 5, 1000);
        cr_assert(not(offset_answer(&offset, &answer, 1001)), "without t1");
        answer.has_t1 = true;
        answer.t0 = 6;
        cr_assert(not(offset_answer(&offset, &answer, 1001)), "another request's");
        answer.t0 = 5;
        offset_pause(&offset);
        cr_assert(not(offset_answer(&offset, &answer, 1001)), "of a connection that is gone");
        cr_assert(exchange(&offset, 1000, OFFSET_WAIT_MS, 0), "as long as it may take");
        cr_assert(not(exchange(&offset, 20000, OFFSET_WAIT_MS, 1)), "and longer");
        cr_assert(eq(uint, offset.n, 1));
}
