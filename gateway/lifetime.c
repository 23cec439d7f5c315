/* gateway/lifetime.c -- see the header. Times are compared by their difference from now, since the
 * sessions' clock wraps after 49 days. */
#include "gateway/lifetime.h"

#include <string.h>

#include "base/check.h"

#define HORIZON_MS \
        (24 * 3600 * 1000) /* made anew long before: only windows near now are asked for */

static int32_t away(uint32_t when_ms, uint32_t now_ms)
{
        return (int32_t)(when_ms - now_ms);
}

/* Into the list, as one with those it touches. If there is no room, the latest is left out. */
static void add(struct lifetime *lifetime, struct lifetime_window window, uint32_t now_ms)
{
        struct lifetime_window *all = lifetime->windows;
        unsigned first = 0, last;

        while (first < lifetime->n && away(all[first].until_ms, window.from_ms) < 0)
                first++;
        for (last = first; last < lifetime->n && away(all[last].from_ms, window.until_ms) <= 0;
             last++) {
                if (away(all[last].from_ms, now_ms) < away(window.from_ms, now_ms))
                        window.from_ms = all[last].from_ms;
                if (away(all[last].until_ms, now_ms) > away(window.until_ms, now_ms))
                        window.until_ms = all[last].until_ms;
        }
        if (first == last) {
                if (first == LIFETIME_WINDOWS)
                        return;
                if (lifetime->n == LIFETIME_WINDOWS)
                        lifetime->n--;
        }
        memmove(&all[first + 1], &all[last], (lifetime->n - last) * sizeof(all[0]));
        lifetime->n = lifetime->n - (last - first) + 1;
        all[first] = window;
}

/* Stage keys are the names of the phases (fanout/event.h) or a producer's own, such as a warm-up
 * before the start or a half-time after it: for those the plan is all there is. */
static bool starts_at(const struct event_state *event, int64_t *ret_ms)
{
        if (strcmp(event->stage, "ended") == 0 || strcmp(event->stage, "cancelled") == 0)
                return false;
        *ret_ms = strcmp(event->stage, "live") == 0 ? event->at : event->starts_at;
        return true;
}

void lifetime_plan(struct lifetime *lifetime, const struct event_state *events, size_t n,
                   uint32_t guard_ms, int64_t wall_ms, uint32_t now_ms)
{
        check(guard_ms <= LIFETIME_GUARD_MAX_MS);
        lifetime->planned_ms = now_ms;
        lifetime->n = 0;
        for (size_t i = 0; guard_ms != 0 && i < n; i++) {
                int64_t start_ms, in_ms;

                if (!starts_at(&events[i], &start_ms))
                        continue;
                in_ms = start_ms - wall_ms;
                if (in_ms + guard_ms <= 0 || in_ms > HORIZON_MS)
                        continue;
                add(lifetime,
                    (struct lifetime_window){
                        now_ms + (uint32_t)(in_ms - guard_ms - LIFETIME_LEAVING_MS),
                        now_ms + (uint32_t)(in_ms + guard_ms) },
                    now_ms);
        }
}

/* The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014): near seeds give unrelated numbers. */
static uint64_t mix(uint64_t x)
{
        x += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

uint32_t lifetime_postpone(const struct lifetime *lifetime, uint32_t now_ms, uint32_t least_span_ms,
                           uint32_t most_ms, uint64_t seed)
{
        uint32_t end_ms = now_ms;

        for (unsigned i = 0; i < lifetime->n; i++) {
                const struct lifetime_window *window = &lifetime->windows[i];
                uint32_t span_ms = window->until_ms - window->from_ms;

                if (away(window->from_ms, end_ms) > 0 || away(window->until_ms, end_ms) <= 0)
                        continue;
                if (span_ms < least_span_ms)
                        span_ms = least_span_ms;
                seed = mix(seed);
                end_ms = window->until_ms + (uint32_t)((seed >> 32) * span_ms >> 32);
        }
        return end_ms - now_ms < most_ms ? end_ms - now_ms : most_ms;
}
