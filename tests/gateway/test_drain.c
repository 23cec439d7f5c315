/* What drain.h promises: everybody is told in time and in a slot of its own, arrivals elsewhere are
 * level, and nobody is closed before it could leave. */
#include "gateway/drain.h"

#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "fanout/order.h"

#define BEGAN 5000000u

struct told {
        uint32_t at_ms, from_ms, until_ms, closed_ms; /* after the beginning */
};

/* Plays it through, asking when it says: who is told what, and when. */
static struct told *play(uint32_t n, uint32_t within_ms, uint32_t over_ms, uint32_t *ret_last_ms)
{
        struct told *told = calloc(n + 1, sizeof(*told));
        struct drain drain;
        struct rng rng;
        uint64_t now = BEGAN;
        uint32_t k = 0;

        cr_assert(told != NULL);
        rng_seed(&rng, n);
        drain_begin(&drain, n, within_ms, over_ms, now);
        while (!drain_is_last(&drain, now) || k < n) {
                uint32_t at = (uint32_t)(now - BEGAN);

                for (uint32_t due = drain_due(&drain, now); due > 0; due--, k++) {
                        struct goaway goaway;
                        uint32_t close_in_ms;

                        drain_tell(&drain, &rng, now, &goaway, &close_in_ms);
                        cr_assert(eq(int, goaway.reason, GOAWAY_DRAIN));
                        told[k] = (struct told){ at, at + goaway.min_ms, at + goaway.max_ms,
                                                 at + close_in_ms };
                }
                now += drain_next_in_ms(&drain, now);
                cr_assert(le(u64, now, BEGAN + within_ms + 2 * DRAIN_TICK_MS));
        }
        cr_assert(eq(u32, k, n));
        *ret_last_ms = (uint32_t)(now - BEGAN);
        return told;
}

static const struct {
        uint32_t n, within_ms, over_ms;
} plays[] = { { 0, 30000, 0 },
              { 1, 30000, 5 },
              { 3, 30000, 15 },
              { 2000, 30000, 10000 },
              { 18500, 30000, 15000 },
              { 18500, 30000, 90000 },
              { 18500, 2000, 600000 },
              { 100000, 60000, 30000 },
              { 7, 3600000, 1800000 },
              { 600, 300, 100 },
              { 5, 0, 0 },
              { 1000, 2000, UINT32_C(1) << 30 } };

Test(drain, everybody_is_told_in_order_and_with_a_quarter_of_the_time_left)
{
        for (size_t i = 0; i < countof(plays); i++) {
                uint32_t last;
                struct told *told = play(plays[i].n, plays[i].within_ms, plays[i].over_ms, &last);

                for (uint32_t k = 0; k < plays[i].n; k++) {
                        cr_assert(
                            le(u32, told[k].at_ms, plays[i].within_ms * 3 / 4 + DRAIN_TICK_MS),
                            "play %zu, device %u", i, k);
                        cr_assert(k == 0 || told[k].at_ms >= told[k - 1].at_ms);
                        cr_assert(k == 0 || told[k].from_ms >= told[k - 1].from_ms);
                }
                free(told);
        }
}

Test(drain, the_first_is_told_at_once_and_nobody_before_its_slot)
{
        uint32_t last;
        struct told *told = play(2000, 30000, 10000, &last);

        cr_assert(eq(u32, told[0].at_ms, 0));
        for (uint32_t k = 1; k < 2000; k++) {
                cr_assert(ge(u32, told[k].at_ms + 5, k * 5));
                cr_assert(le(u32, told[k].at_ms, k * 5 + 2 * DRAIN_TICK_MS));
                cr_assert(eq(u32, told[k].from_ms, told[k].at_ms)); /* it need not wait */
        }
        free(told);
}

/* Each device at a random moment of its span: no second has much more than the rate. */
static void arrivals_are_level(uint32_t n, uint32_t within_ms, uint32_t over_ms)
{
        uint32_t last, seconds = over_ms / 1000 + 20, *in = calloc(seconds, sizeof(*in));
        struct told *told = play(n, within_ms, over_ms, &last);
        uint32_t rate = (uint32_t)((uint64_t)n * 1000 / over_ms);
        struct rng rng;

        rng_seed(&rng, 1);
        for (uint32_t k = 0; k < n; k++) {
                uint64_t span = told[k].until_ms - told[k].from_ms;

                cr_assert(le(u64, span, over_ms / 10 > 250 ? over_ms / 10 : 250));
                in[(told[k].from_ms + rng_below(&rng, span + 1)) / 1000]++;
        }
        for (uint32_t s = 0; s < seconds; s++)
                cr_assert(le(u32, in[s], rate + rate / 4), "second %u of %u: %u for %u", s, seconds,
                          in[s], rate);
        free(told);
        free(in);
}

Test(drain, arrivals_elsewhere_are_level_while_there_is_time)
{
        arrivals_are_level(18500, 30000, 15000);
        arrivals_are_level(100000, 60000, 30000);
}

Test(drain, arrivals_elsewhere_are_level_even_when_this_node_is_gone_before)
{
        arrivals_are_level(18500, 10000, 60000);
        arrivals_are_level(18500, 2000, 18500);
}

Test(drain, workers_of_one_node_share_its_rate_by_what_they_have)
{
        uint32_t last, over = order_over_ms(3000, 300), per_s[20] = { 0 };
        struct told *many = play(2500, 30000, over, &last), *few = play(500, 30000, over, &last);

        cr_assert(eq(u32, over, 10000));
        for (uint32_t k = 0; k < 2500; k++)
                per_s[many[k].at_ms / 1000]++;
        for (uint32_t k = 0; k < 500; k++)
                per_s[few[k].at_ms / 1000]++;
        for (uint32_t s = 0; s < 10; s++)
                cr_assert(per_s[s] >= 270 && per_s[s] <= 330, "second %u: %u", s, per_s[s]);
        free(many);
        free(few);
}

Test(drain, nobody_is_closed_before_it_could_leave_unless_time_is_over)
{
        for (size_t i = 0; i < countof(plays); i++) {
                uint32_t last, within = plays[i].within_ms;
                struct told *told = play(plays[i].n, within, plays[i].over_ms, &last);

                for (uint32_t k = 0; k < plays[i].n; k++) {
                        cr_assert(le(u32, told[k].closed_ms, within), "play %zu", i);
                        if (told[k].until_ms + DRAIN_GRACE_MS + DRAIN_LAST_MS <= within)
                                cr_assert(
                                    ge(u32, told[k].closed_ms, told[k].until_ms + DRAIN_GRACE_MS),
                                    "play %zu, device %u", i, k);
                }
                free(told);
        }
}

/* One that everybody left meanwhile is over, too; and the rest hears 1012 before the end. */
Test(drain, the_last_word_is_said_before_the_end)
{
        for (size_t i = 0; i < countof(plays); i++) {
                uint32_t last;

                free(play(plays[i].n, plays[i].within_ms, plays[i].over_ms, &last));
                if (plays[i].within_ms >= 2000) {
                        cr_assert(lt(u32, last, plays[i].within_ms - 2 * DRAIN_TICK_MS));
                        cr_assert(ge(u32, last, plays[i].within_ms - DRAIN_LAST_MS));
                }
        }
}

Test(drain, a_rate_says_how_long_it_takes)
{
        cr_assert(eq(u32, order_over_ms(18500, 1850), 10000));
        cr_assert(eq(u32, order_over_ms(0, 1), 0));
        cr_assert(eq(u32, order_over_ms(UINT32_MAX, 1), UINT32_C(1) << 30));
}
