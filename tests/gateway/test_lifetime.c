/* What lifetime.h promises: no end of old age around a planned start, no herd behind it. */
#include "gateway/lifetime.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define MINUTE   60000u
#define GUARD    (5 * MINUTE)
#define WALL     INT64_C(1795463990123) /* when the sessions' clock shows NOW */
#define NOW      1000000u
#define WHOLE    (2 * GUARD + LIFETIME_LEAVING_MS) /* a window */
#define NO_BOUND (24 * 60 * MINUTE)

static struct event_state event_in(const char *stage, int64_t in_ms)
{
        struct event_state event = { .event = "final", .at = 1, .starts_at = WALL + in_ms };

        strcpy(event.stage, stage);
        return event;
}

static struct lifetime plan_of(const struct event_state *events, size_t n)
{
        struct lifetime lifetime = { .n = 99 };

        lifetime_plan(&lifetime, events, n, GUARD, WALL, NOW);
        return lifetime;
}

static bool may_end(const struct lifetime *lifetime, uint32_t at_ms)
{
        return lifetime_postpone(lifetime, at_ms, 0, NO_BOUND, at_ms) == 0;
}

Test(lifetime, no_session_ends_within_the_guard_of_a_start_nor_is_asked_to_just_before)
{
        const struct event_state event = event_in("scheduled", 20 * MINUTE);
        struct lifetime lifetime = plan_of(&event, 1);
        uint32_t start = NOW + 20 * MINUTE;

        for (uint32_t at = NOW; at < start + 20 * MINUTE; at += 500) {
                bool is_near = at >= start - GUARD - LIFETIME_LEAVING_MS && at < start + GUARD;

                cr_assert(eq(int, may_end(&lifetime, at), !is_near), "%d s from the start",
                          (int)(at - start) / 1000);
        }
}

Test(lifetime, without_a_guard_or_without_a_start_to_come_all_ends_are_free)
{
        const struct event_state events[] = { event_in("ended", MINUTE),
                                              event_in("cancelled", MINUTE),
                                              event_in("scheduled", -(int64_t)GUARD),
                                              event_in("live", MINUTE) }; /* since 1970 */
        struct lifetime lifetime = plan_of(events, 4);

        cr_assert(eq(u32, lifetime.n, 0));
        lifetime_plan(&lifetime, &(struct event_state){ .stage = "scheduled", .starts_at = WALL },
                      1, 0, WALL, NOW);
        cr_assert(eq(u32, lifetime.n, 0));
        cr_assert(may_end(&lifetime, NOW));
}

Test(lifetime, a_start_that_is_announced_or_overdue_has_its_window)
{
        struct event_state event = event_in("live", -60 * (int64_t)MINUTE);
        struct lifetime lifetime;

        event.at = WALL + 10 * MINUTE; /* live from then on: what was planned is no matter */
        lifetime = plan_of(&event, 1);
        cr_assert(not(may_end(&lifetime, NOW + 10 * MINUTE)));
        cr_assert(may_end(&lifetime, NOW));
        event = event_in("scheduled", -(int64_t)MINUTE);
        lifetime = plan_of(&event, 1);
        cr_assert(not(may_end(&lifetime, NOW)));
        event = event_in("warm-up", 0);
        lifetime = plan_of(&event, 1);
        cr_assert(not(may_end(&lifetime, NOW)));
}

Test(lifetime, a_delayed_event_has_moved_its_window)
{
        struct event_state event = event_in("scheduled", MINUTE);
        struct lifetime lifetime = plan_of(&event, 1);

        cr_assert(not(may_end(&lifetime, NOW)));
        event.starts_at += 30 * MINUTE;
        lifetime = plan_of(&event, 1);
        cr_assert(may_end(&lifetime, NOW));
        cr_assert(not(may_end(&lifetime, NOW + 31 * MINUTE)));
}

/* Those of one window, one each ms: no tenth of the span behind it gets more than a fifth of them.
 */
Test(lifetime, who_is_held_back_goes_behind_the_window_as_evenly_as_before_it)
{
        const struct event_state event = event_in("scheduled", GUARD + LIFETIME_LEAVING_MS);
        struct lifetime lifetime = plan_of(&event, 1);
        unsigned tenths[10] = { 0 };

        for (uint32_t i = 0; i < 10000; i++) {
                uint32_t at = NOW + i * (WHOLE / 10000);
                uint32_t end = at + lifetime_postpone(&lifetime, at, 0, NO_BOUND, i);

                cr_assert(ge(u32, end, NOW + WHOLE));
                cr_assert(lt(u32, end, NOW + 2 * WHOLE));
                tenths[(uint64_t)(end - NOW - WHOLE) * 10 / WHOLE]++;
        }
        for (unsigned i = 0; i < 10; i++)
                cr_assert(tenths[i] > 800 && tenths[i] < 1200, "tenth %u: %u", i, tenths[i]);
}

Test(lifetime, a_short_window_squeezes_nobody_together)
{
        struct event_state event = event_in("scheduled", 30000);
        struct lifetime lifetime;
        uint32_t least = UINT32_MAX, most = 0;

        lifetime_plan(&lifetime, &event, 1, 1000, WALL, NOW);
        for (uint32_t i = 0; i < 1000; i++) {
                uint32_t by = lifetime_postpone(&lifetime, NOW + 30000, 3 * MINUTE, NO_BOUND, i);

                least = by < least ? by : least;
                most = by > most ? by : most;
        }
        cr_assert(ge(u32, least, 1000));
        cr_assert(gt(u32, most - least, 2 * MINUTE));
        cr_assert(le(u32, most, 1000 + 3 * MINUTE));
}

Test(lifetime, behind_one_window_is_not_within_the_next)
{
        struct event_state events[40];
        struct lifetime lifetime;

        /* 23 minutes apart, in no order, and more than are kept. */
        for (unsigned i = 0; i < 40; i++)
                events[i] = event_in("scheduled", (int64_t)(i * 17 % 40) * 23 * MINUTE);
        lifetime = plan_of(events, 40);
        cr_assert(eq(u32, lifetime.n, LIFETIME_WINDOWS));
        for (uint32_t i = 0; i < 2000; i++) {
                uint32_t by = lifetime_postpone(&lifetime, NOW, 0, NO_BOUND, i);

                cr_assert(gt(u32, by, 0));
                cr_assert(may_end(&lifetime, NOW + by));
        }
}

Test(lifetime, windows_that_touch_are_one)
{
        const struct event_state events[] = { event_in("scheduled", 40 * MINUTE),
                                              event_in("scheduled", 20 * MINUTE),
                                              event_in("scheduled", 30 * MINUTE) };
        struct lifetime lifetime = plan_of(events, 3);

        cr_assert(eq(u32, lifetime.n, 1));
        cr_assert(
            eq(u32, lifetime.windows[0].from_ms, NOW + 20 * MINUTE - GUARD - LIFETIME_LEAVING_MS));
        cr_assert(eq(u32, lifetime.windows[0].until_ms, NOW + 40 * MINUTE + GUARD));
}

Test(lifetime, nobody_is_held_for_longer_than_the_bound)
{
        const struct event_state event = event_in("scheduled", 0);
        struct lifetime lifetime = plan_of(&event, 1);

        cr_assert(eq(u32, lifetime_postpone(&lifetime, NOW, 0, 1234, 1), 1234));
        cr_assert(eq(u32, lifetime_postpone(&lifetime, NOW, 0, 0, 1), 0));
}

Test(lifetime, the_clock_of_the_sessions_may_wrap)
{
        const struct event_state event = event_in("scheduled", 2 * MINUTE);
        struct lifetime lifetime;
        uint32_t now = UINT32_MAX - MINUTE;

        lifetime_plan(&lifetime, &event, 1, GUARD, WALL, now);
        for (uint32_t i = 0; i < 7 * MINUTE; i += 1000)
                cr_assert(not(may_end(&lifetime, now + i)));
        cr_assert(may_end(&lifetime, now + 7 * MINUTE));
}
