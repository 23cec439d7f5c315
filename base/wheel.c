/* base/wheel.c -- one slot per tick modulo WHEEL_SLOTS; a slot's list holds timers of this turn and
 * of later ones, told apart by due_tick. Decides when a timer fires; knows nothing of what it
 * means.
 *
 * Ticks are compared only as distances from now_tick, so the 32-bit count may wrap (after 8.7
 * years). A distance is always in 1..TICKS_AHEAD_MAX. */
#include "base/wheel.h"

#include <string.h>

#include "base/check.h"

#define TICKS_AHEAD_MAX (UINT32_C(1) << 30)

static void put_in_front(struct wheel_timer **list, struct wheel_timer *timer)
{
        timer->next = *list;
        timer->link = list;
        if (*list != NULL)
                (*list)->link = &timer->next;
        *list = timer;
}

static void take_out(struct wheel_timer *timer)
{
        *timer->link = timer->next;
        if (timer->next != NULL)
                timer->next->link = timer->link;
        timer->next = NULL;
        timer->link = NULL;
}

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
        memset(wheel, 0, sizeof(*wheel));
        wheel->tick_ms = now_ms;
}

bool wheel_is_running(const struct wheel_timer *timer)
{
        return timer->link != NULL;
}

void wheel_stop(struct wheel *wheel, struct wheel_timer *timer)
{
        if (timer->link == NULL)
                return;
        take_out(timer);
        wheel->count--;
}

void wheel_start(struct wheel *wheel, struct wheel_timer *timer, uint64_t due_ms)
{
        uint64_t ahead_ms = due_ms > wheel->tick_ms ? due_ms - wheel->tick_ms : 0;
        uint64_t ticks = ahead_ms / WHEEL_TICK_MS + (ahead_ms % WHEEL_TICK_MS > 0);

        /* Already due: this tick's slot has been walked, so it is the next one's. */
        if (ticks == 0)
                ticks = 1;
        if (ticks > TICKS_AHEAD_MAX)
                ticks = TICKS_AHEAD_MAX;
        wheel_stop(wheel, timer);
        timer->due_tick = wheel->now_tick + (uint32_t)ticks;
        put_in_front(&wheel->slots[timer->due_tick % WHEEL_SLOTS], timer);
        wheel->count++;
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_fire_fn *fire, void *owner)
{
        struct wheel_timer *due = NULL, **due_end = &due;
        uint64_t ticks = now_ms > wheel->tick_ms ? (now_ms - wheel->tick_ms) / WHEEL_TICK_MS : 0;
        uint32_t walk = ticks < WHEEL_SLOTS ? (uint32_t)ticks : WHEEL_SLOTS;

        /* First gather, then fire: a callback may start timers, and one that is restarted for "now"
         * must wait for the next call instead of firing for every tick that is being caught up. */
        for (uint32_t i = 1; i <= walk; i++) {
                struct wheel_timer *timer = wheel->slots[(wheel->now_tick + i) % WHEEL_SLOTS];

                while (timer != NULL) {
                        struct wheel_timer *next = timer->next;

                        if (timer->due_tick - wheel->now_tick <= ticks) {
                                take_out(timer);
                                put_in_front(due_end, timer);
                                due_end = &timer->next;
                        }
                        timer = next;
                }
        }
        wheel->now_tick += (uint32_t)ticks;
        wheel->tick_ms += ticks * WHEEL_TICK_MS;

        /* Timers on `due` still count as running, so a callback can stop or restart those to come.
         */
        while (due != NULL) {
                struct wheel_timer *timer = due;

                wheel_stop(wheel, timer);
                fire(owner, timer);
        }
}
