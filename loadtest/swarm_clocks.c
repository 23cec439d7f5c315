/* loadtest/swarm_clocks.c -- see swarm_clocks.h. */
#include "loadtest/swarm_clocks.h"

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "loadtest/due.h"
#include "loadtest/simclock.h"

/* As the SDKs ask: device/c/device_core.h, device_time.c. */
#define ASKS_SOON    3
#define ASK_GAP_MS   1000u
#define ASK_EVERY_MS 600000u

struct clocked { /* beside the device of the same index */
        struct wheel_timer ask_timer;
        struct simclock clock;
        int64_t at_ms;
        uint8_t asked; /* since hello, up to ASKS_SOON */
        bool is_timed; /* counted as one that knows the time */
        bool is_planned, has_acted;
};

struct swarm_clocks {
        struct wheel asks;
        struct due due; /* who acts; a device is in it again whenever it has reckoned anew */
        struct clocked devices[];
};

static struct clocked *clocked_of(struct swarm *swarm, const struct device *device)
{
        return &swarm->clocks->devices[device - swarm->devices];
}

static int64_t wall_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- knowing the time ------------------------------------------------------------------------ */

static void ask_in(struct swarm *swarm, struct clocked *clocked, uint64_t ms)
{
        wheel_start(&swarm->clocks->asks, &clocked->ask_timer, swarm->now_ms + ms);
}

void swarm_clocks_hello(struct swarm *swarm, struct device *device, int64_t node_ms)
{
        uint64_t spread = swarm->ack_spread_ms > ASK_GAP_MS ? swarm->ack_spread_ms : ASK_GAP_MS;
        struct clocked *clocked;

        if (swarm->clocks == NULL)
                return;
        clocked = clocked_of(swarm, device);
        offset_hello(&clocked->clock.offset, node_ms,
                     simclock_mono_ms(&clocked->clock, clock_mono_us()));
        clocked->asked = 0;
        ask_in(swarm, clocked, rng_below(&swarm->rng, spread + 1));
}

static void on_ask_timer(void *owner, struct wheel_timer *timer)
{
        struct swarm *swarm = owner;
        struct clocked *clocked =
            (struct clocked *)(void *)((char *)timer - offsetof(struct clocked, ask_timer));
        struct device *device = &swarm->devices[clocked - swarm->clocks->devices];
        struct message message = { .type = MESSAGE_TIME };
        uint64_t now_us = clock_mono_us();

        if (device->state != DEVICE_OPEN || device->is_dead)
                return;
        if (clocked->asked < ASKS_SOON)
                clocked->asked++;
        ask_in(swarm, clocked,
               clocked->asked < ASKS_SOON
                   ? ASK_GAP_MS
                   : ASK_EVERY_MS * 9 / 10 + rng_below(&swarm->rng, ASK_EVERY_MS / 5 + 1));
        message.time =
            offset_ask(&clocked->clock.offset, simclock_wall_ms(&clocked->clock, now_us),
                       simclock_mono_ms(&clocked->clock, now_us));
        (void)swarm_device_say(swarm, device, &message); /* else it has lost its connection */
}

void swarm_clocks_pause(struct swarm *swarm, struct device *device)
{
        struct clocked *clocked;

        if (swarm->clocks == NULL)
                return;
        clocked = clocked_of(swarm, device);
        wheel_stop(&swarm->clocks->asks, &clocked->ask_timer);
        offset_pause(&clocked->clock.offset);
}

/* --- acting ---------------------------------------------------------------------------------- */

static void act(struct swarm *swarm, struct clocked *clocked)
{
        clocked->has_acted = true;
        swarm->result.counts.acted++;
        moments_record(&swarm->result.moments, wall_us() - clocked->at_ms * 1000);
}

/* Now, if it is time; otherwise it is asked again when it should be. */
static void act_when_due(struct swarm *swarm, struct clocked *clocked)
{
        uint64_t now_us = clock_mono_us();

        if (!clocked->is_planned || clocked->has_acted)
                return;
        if (simclock_has_come(&clocked->clock, clocked->at_ms, now_us))
                act(swarm, clocked);
        else
                check(due_put(&swarm->clocks->due,
                              simclock_due_us(&clocked->clock, clocked->at_ms, now_us),
                              (uint32_t)(clocked - swarm->clocks->devices)));
}

void swarm_clocks_plan(struct swarm *swarm, struct device *device, int64_t at_ms)
{
        struct clocked *clocked;

        if (swarm->clocks == NULL || device->is_dead)
                return;
        clocked = clocked_of(swarm, device);
        clocked->at_ms = at_ms;
        clocked->is_planned = true;
        act_when_due(swarm, clocked);
}

void swarm_clocks_answer(struct swarm *swarm, struct device *device, const struct time_sync *answer)
{
        struct clocked *clocked;

        if (swarm->clocks == NULL)
                return;
        clocked = clocked_of(swarm, device);
        if (!offset_answer(&clocked->clock.offset, answer,
                           simclock_mono_ms(&clocked->clock, clock_mono_us())))
                return;
        if (!clocked->is_timed && clocked->clock.offset.n >= ASKS_SOON) {
                clocked->is_timed = true;
                swarm->result.counts.timed++;
        }
        act_when_due(swarm, clocked); /* it may be earlier than it thought */
}

int swarm_clocks_wait_ms(const struct swarm *swarm, int most_ms)
{
        uint64_t now_us = clock_mono_us(), next_us;

        if (swarm->clocks == NULL)
                return most_ms;
        next_us = due_next_us(&swarm->clocks->due);
        if (next_us <= now_us)
                return 0;
        /* Rounded down: the rest of the last millisecond is spent awake. */
        return (next_us - now_us) / 1000 < (uint64_t)most_ms ? (int)((next_us - now_us) / 1000)
                                                             : most_ms;
}

void swarm_clocks_tick(struct swarm *swarm)
{
        uint32_t who;

        if (swarm->clocks == NULL)
                return;
        wheel_advance(&swarm->clocks->asks, swarm->now_ms, on_ask_timer, swarm);
        while (due_take(&swarm->clocks->due, clock_mono_us(), &who))
                act_when_due(swarm, &swarm->clocks->devices[who]);
}

/* --- life ------------------------------------------------------------------------------------ */

enum err swarm_clocks_create(struct swarm *swarm)
{
        const struct swarm_options *options = &swarm->options;
        uint64_t now_us = clock_mono_us();
        int64_t now_wall_us = wall_us();

        if (!options->keeps_time)
                return OK;
        swarm->clocks =
            calloc(1, sizeof(*swarm->clocks) + options->n * sizeof(swarm->clocks->devices[0]));
        if (swarm->clocks == NULL)
                return ERR_NOMEM;
        wheel_init(&swarm->clocks->asks, swarm->now_ms);
        due_init(&swarm->clocks->due);
        for (uint32_t i = 0; i < options->n; i++)
                simclock_init(&swarm->clocks->devices[i].clock, options->skew_ms, now_wall_us,
                              now_us, &swarm->rng);
        return OK;
}

void swarm_clocks_destroy(struct swarm *swarm)
{
        if (swarm->clocks == NULL)
                return;
        due_fini(&swarm->clocks->due);
        free(swarm->clocks);
        swarm->clocks = NULL;
}
