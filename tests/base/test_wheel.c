/* The timing wheel against a list that is searched from end to end. */
#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/rng.h"
#include "base/wheel.h"

#define HOUR_MS 3600000

Test(wheel, timers_are_small)
{
        cr_assert(le(sz, sizeof(struct wheel_timer), 24));
}

struct clerk { /* writes down what fires */
        struct wheel *wheel;
        unsigned fired;
        struct wheel_timer *last;
        void (*also)(struct clerk *clerk, struct wheel_timer *timer);
        struct wheel_timer *other;
        uint64_t now_ms;
};

static void on_fire(void *owner, struct wheel_timer *timer)
{
        struct clerk *clerk = owner;

        cr_assert(not(wheel_is_running(timer)), "a firing timer is already stopped");
        clerk->fired++;
        clerk->last = timer;
        if (clerk->also != NULL)
                clerk->also(clerk, timer);
}

static unsigned fired_at(struct wheel *wheel, uint64_t now_ms)
{
        struct clerk clerk = { .wheel = wheel };

        wheel_advance(wheel, now_ms, on_fire, &clerk);
        return clerk.fired;
}

Test(wheel, fires_within_a_tick_after_the_deadline_and_never_before)
{
        static struct wheel wheel;

        for (uint64_t start_ms = 1000; start_ms < 1000 + 2 * WHEEL_TICK_MS; start_ms++) {
                for (uint64_t delay_ms = 0; delay_ms < 300; delay_ms += 7) {
                        struct wheel_timer timer = { 0 };
                        uint64_t at_ms = start_ms;

                        wheel_init(&wheel, 1000);
                        fired_at(&wheel, start_ms);
                        wheel_start(&wheel, &timer, start_ms + delay_ms);
                        while (fired_at(&wheel, at_ms) == 0)
                                at_ms++;
                        cr_assert(at_ms >= start_ms + delay_ms &&
                                  at_ms <= start_ms + delay_ms + WHEEL_TICK_MS);
                }
        }
}

Test(wheel, keeps_timers_of_many_turns)
{
        static struct wheel wheel;
        struct wheel_timer timer = { 0 };

        wheel_init(&wheel, 5);
        wheel_start(&wheel, &timer, 5 + HOUR_MS);
        for (uint64_t ms = 5; ms < 5 + HOUR_MS; ms += 100)
                cr_assert(eq(uint, fired_at(&wheel, ms), 0));
        cr_assert(eq(uint, fired_at(&wheel, 5 + HOUR_MS + WHEEL_TICK_MS), 1));
        cr_assert(eq(u32, wheel.count, 0));
}

Test(wheel, a_stopped_timer_does_not_fire)
{
        static struct wheel wheel;
        struct wheel_timer timer = { 0 };

        wheel_init(&wheel, 0);
        wheel_stop(&wheel, &timer);
        wheel_start(&wheel, &timer, 100);
        cr_assert(wheel_is_running(&timer));
        wheel_stop(&wheel, &timer);
        wheel_stop(&wheel, &timer);
        cr_assert(not(wheel_is_running(&timer)));
        cr_assert(eq(u32, wheel.count, 0));
        cr_assert(eq(uint, fired_at(&wheel, HOUR_MS), 0));
}

Test(wheel, starting_again_moves_the_deadline)
{
        static struct wheel wheel;
        struct wheel_timer timer = { 0 };

        wheel_init(&wheel, 0);
        wheel_start(&wheel, &timer, 100);
        wheel_start(&wheel, &timer, 10000);
        cr_assert(eq(u32, wheel.count, 1));
        cr_assert(eq(uint, fired_at(&wheel, 9999), 0));
        wheel_start(&wheel, &timer, 10000);
        cr_assert(eq(uint, fired_at(&wheel, 10000 + WHEEL_TICK_MS), 1));
}

Test(wheel, time_that_stands_still_or_goes_back_fires_nothing)
{
        static struct wheel wheel;
        struct wheel_timer timer = { 0 };

        wheel_init(&wheel, 100000);
        wheel_start(&wheel, &timer, 5); /* long due, and yet it waits for the next tick */
        cr_assert(eq(uint, fired_at(&wheel, 100000), 0));
        cr_assert(eq(uint, fired_at(&wheel, 7), 0));
        cr_assert(eq(uint, fired_at(&wheel, 100000 + WHEEL_TICK_MS), 1));
}

static void restart_for_now(struct clerk *clerk, struct wheel_timer *timer)
{
        wheel_start(clerk->wheel, timer, 0);
}

Test(wheel, a_timer_that_restarts_itself_fires_once_per_call_even_after_a_leap)
{
        static const uint64_t leaps_ms[] = { WHEEL_TICK_MS, 50 * WHEEL_TICK_MS, 24 * HOUR_MS };

        for (size_t i = 0; i < countof(leaps_ms); i++) {
                static struct wheel wheel;
                struct wheel_timer timer = { 0 };
                struct clerk clerk = { .wheel = &wheel, .also = restart_for_now };

                wheel_init(&wheel, 0);
                wheel_start(&wheel, &timer, 0);
                wheel_advance(&wheel, leaps_ms[i], on_fire, &clerk);
                cr_assert(eq(uint, clerk.fired, 1));
                wheel_advance(&wheel, leaps_ms[i] + WHEEL_TICK_MS, on_fire, &clerk);
                cr_assert(eq(uint, clerk.fired, 2));
        }
}

static void stop_other(struct clerk *clerk, struct wheel_timer *timer)
{
        wheel_stop(clerk->wheel, clerk->other == timer ? clerk->other + 1 : clerk->other);
}

Test(wheel, a_callback_may_stop_another_that_is_due_in_the_same_call)
{
        static struct wheel wheel;
        struct wheel_timer timers[2] = { { 0 } };
        struct clerk clerk = { .wheel = &wheel, .also = stop_other, .other = timers };

        wheel_init(&wheel, 0);
        wheel_start(&wheel, &timers[0], 10);
        wheel_start(&wheel, &timers[1], 500);
        wheel_advance(&wheel, 1000, on_fire, &clerk);
        cr_assert(eq(uint, clerk.fired, 1));
        cr_assert(eq(u32, wheel.count, 0));
}

static void free_it(struct clerk *clerk, struct wheel_timer *timer)
{
        (void)clerk;
        memset(timer, 0xa5, sizeof(*timer));
        free(timer);
}

Test(wheel, a_callback_may_free_its_timer)
{
        static struct wheel wheel;
        struct clerk clerk = { .wheel = &wheel, .also = free_it };

        wheel_init(&wheel, 0);
        for (int i = 0; i < 100; i++) {
                struct wheel_timer *timer = calloc(1, sizeof(*timer));

                wheel_start(&wheel, timer, (uint64_t)i % 7 * 50);
        }
        wheel_advance(&wheel, 1000, on_fire, &clerk);
        cr_assert(eq(uint, clerk.fired, 100));
}

/* --- against the model ---------------------------------------------------------------------- */

#define TIMERS 400

struct world {
        struct wheel wheel;
        struct rng rng;
        uint64_t now_ms;
        struct subject {
                struct wheel_timer timer;
                bool running;
                uint64_t due_ms;
                uint64_t started_ms;
        } subjects[TIMERS];
        unsigned running;
        bool advancing;
};

static void model_start(struct world *world, struct subject *subject)
{
        static const uint64_t spans_ms[] = { 1, 64, 100, 1000, 65536, 65600, 300000, 30 * HOUR_MS };
        uint64_t span_ms = spans_ms[rng_below(&world->rng, countof(spans_ms))];

        world->running += !subject->running;
        subject->running = true;
        subject->started_ms = world->now_ms;
        subject->due_ms = world->now_ms + rng_below(&world->rng, span_ms + 1);
        wheel_start(&world->wheel, &subject->timer, subject->due_ms);
}

static void model_stop(struct world *world, struct subject *subject)
{
        world->running -= subject->running;
        subject->running = false;
        wheel_stop(&world->wheel, &subject->timer);
}

static void model_fire(void *owner, struct wheel_timer *timer)
{
        struct world *world = owner;
        struct subject *subject = (struct subject *)timer;

        cr_assert(subject->running, "only what runs may fire");
        cr_assert(le(u64, subject->due_ms, world->now_ms), "never before the deadline");
        subject->running = false;
        world->running--;
        switch (rng_below(&world->rng, 6)) {
        case 0:
                model_start(world, subject);
                break;
        case 1:
                model_start(world, &world->subjects[rng_below(&world->rng, TIMERS)]);
                break;
        case 2:
                model_stop(world, &world->subjects[rng_below(&world->rng, TIMERS)]);
                break;
        }
}

static void expect_nothing_overdue(struct world *world)
{
        for (unsigned i = 0; i < TIMERS; i++) {
                struct subject *subject = &world->subjects[i];

                cr_assert(eq(int, subject->running, wheel_is_running(&subject->timer)));
                if (!subject->running || subject->started_ms == world->now_ms)
                        continue; /* what was started just now waits for the next call */
                cr_assert(gt(u64, subject->due_ms + WHEEL_TICK_MS, world->now_ms),
                          "fired too late");
        }
        cr_assert(eq(u32, world->wheel.count, world->running));
}

static void run_model(uint64_t seed, uint32_t first_tick)
{
        static struct world world;

        memset(&world, 0, sizeof(world));
        rng_seed(&world.rng, seed);
        world.now_ms = rng_below(&world.rng, 1u << 30);
        wheel_init(&world.wheel, world.now_ms);
        world.wheel.now_tick = first_tick; /* as after years */
        for (int step = 0; step < 4000; step++) {
                uint64_t choice = rng_below(&world.rng, 100);
                struct subject *subject = &world.subjects[rng_below(&world.rng, TIMERS)];

                if (choice < 50) {
                        model_start(&world, subject);
                        continue;
                }
                if (choice < 65) {
                        model_stop(&world, subject);
                        continue;
                }
                if (choice < 95)
                        world.now_ms += rng_below(&world.rng, 200);
                else if (choice < 99)
                        world.now_ms += rng_below(&world.rng, 70000);
                else
                        world.now_ms += rng_below(&world.rng, 40 * HOUR_MS); /* it was suspended */
                wheel_advance(&world.wheel, world.now_ms, model_fire, &world);
                expect_nothing_overdue(&world);
        }
}

Test(wheel, behaves_as_a_plain_list_would)
{
        for (uint64_t seed = 1; seed <= 20; seed++)
                run_model(seed, 0);
}

Test(wheel, behaves_the_same_when_the_tick_count_wraps)
{
        for (uint64_t seed = 21; seed <= 30; seed++)
                run_model(seed, UINT32_MAX - 3000);
}

Test(wheel, a_leap_of_centuries_fires_all_and_a_far_deadline_is_cut)
{
        static struct wheel wheel;
        struct wheel_timer timers[2] = { { 0 } };

        wheel_init(&wheel, 0);
        wheel_start(&wheel, &timers[0], UINT64_MAX);
        wheel_start(&wheel, &timers[1], 1);
        cr_assert(eq(uint, fired_at(&wheel, 8760ull * HOUR_MS), 1));
        cr_assert(eq(uint, fired_at(&wheel, 8760ull * HOUR_MS * 500), 1));
        wheel_start(&wheel, &timers[0], UINT64_MAX);
        cr_assert(eq(uint, fired_at(&wheel, UINT64_MAX), 1));
}
