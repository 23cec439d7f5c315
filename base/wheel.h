/* base/wheel.h -- a hashed timing wheel (Varghese and Lauck, SOSP 1987, scheme 6): start, stop and
 * restart a timer in O(1) with no allocation, for hundreds of thousands of them on one thread. Time
 * is whatever the caller passes (monotonic ms), cut into ticks of WHEEL_TICK_MS: a timer fires at or
 * up to one tick after its deadline, never before. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_MS 64
#define WHEEL_SLOTS   1024 /* one turn = 65.5 s; a longer timer stays in its slot for more turns */

struct wheel_timer { /* embed it; zero-filled means stopped */
        struct wheel_timer *next, **link; /* own slot's list; link is NULL when stopped */
        uint32_t due_tick;
};

struct wheel {
        struct wheel_timer *slots[WHEEL_SLOTS];
        uint64_t tick_ms;  /* monotonic time at which now_tick began */
        uint32_t now_tick; /* ticks handed out so far; may wrap */
        uint32_t count;    /* running timers */
};

/* Called for each due timer, which is already stopped: it may be restarted, or freed, and other
 * timers may be started and stopped. Timers due in one call fire in no promised order. */
typedef void wheel_fire_fn(void *owner, struct wheel_timer *timer);

void wheel_init(struct wheel *wheel, uint64_t now_ms);
/* A deadline more than two years (2^30 ticks) ahead is cut to that. */
void wheel_start(struct wheel *wheel, struct wheel_timer *timer, uint64_t due_ms); /* restarts if running */
void wheel_stop(struct wheel *wheel, struct wheel_timer *timer);                   /* harmless if stopped */
bool wheel_is_running(const struct wheel_timer *timer);
/* Fire all that is due at now_ms; what a callback starts waits for the next call. A leap of hours (a suspended machine) costs one walk of the wheel. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_fire_fn *fire, void *owner);
