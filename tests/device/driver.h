/* tests/device/driver.h -- drives a device_core as a node and a network would, on a clock of the
 * test's. */
#pragma once

#include <string.h>

#include "device/c/device_core.h"

#define EPOCH 0xe0e0e0e0e0e0e0e0u

struct driver {
        struct device_core core;
        struct device_now now;
        struct device_actions did; /* of the last step */
        unsigned link;             /* the connection that speaks: 0, until a hand-over */
};

static inline struct token token_at(seqno seq)
{
        return (struct token){ .epoch = EPOCH, .seq = seq, .tag = 0x1000 + seq };
}

static inline void step(struct driver *d, struct device_input input)
{
        input.link = d->link;
        device_core_step(&d->core, &input, d->now, &d->did);
}

static inline const struct device_action *did(const struct driver *d, enum device_do what)
{
        for (unsigned i = 0; i < d->did.n; i++) {
                if (d->did.list[i].what == what)
                        return &d->did.list[i];
        }
        return NULL;
}

static inline bool does(const struct driver *d, enum device_do what)
{
        return did(d, what) != NULL;
}

static inline void pass_ms(struct driver *d, uint64_t ms)
{
        d->now.mono_ms += ms;
        d->now.wall_ms += (int64_t)ms;
}

static inline void tick(struct driver *d)
{
        step(d, (struct device_input){ .kind = DEVICE_IN_TICK });
}

/* Lets time jump to what the core waits for next. */
static inline void tick_when_due(struct driver *d)
{
        uint64_t due = device_core_due(&d->core);

        check(due != DEVICE_CORE_NEVER);
        if (due > d->now.mono_ms)
                pass_ms(d, due - d->now.mono_ms);
        tick(d);
}

static inline void start(struct driver *d, const struct token *since, uint64_t seed)
{
        memset(d, 0, sizeof(*d));
        d->now = (struct device_now){ .mono_ms = 1000, .wall_ms = 1790000000000 };
        device_core_init(&d->core, 0, 0, false, since, seed);
}

static inline void hear(struct driver *d, const struct message *message)
{
        step(d, (struct device_input){ .kind = DEVICE_IN_MESSAGE, .message = message });
}

static inline void hear_hello(struct driver *d, seqno head, bool recovered)
{
        struct message hello = { .type = MESSAGE_HELLO,
                                 .hello = { .node = "a1",
                                            .session = "0123456789abcdef",
                                            .token = token_at(head),
                                            .now = d->now.wall_ms + 5000,
                                            .ping_s = 50,
                                            .lifetime_s = 1800,
                                            .ack_spread_ms = 2000,
                                            .recovered = recovered } };

        hear(d, &hello);
}

static inline void hear_signal_with(struct driver *d, struct token token)
{
        struct message signal = { .type = MESSAGE_SIGNAL, .signal = { .token = token } };

        hear(d, &signal);
}

static inline void hear_signal(struct driver *d, seqno seq)
{
        hear_signal_with(d, token_at(seq));
}

static inline void hear_skip_with(struct driver *d, struct token token)
{
        struct message skip = { .type = MESSAGE_SKIP, .skip = { .token = token } };

        hear(d, &skip);
}

static inline void hear_goaway(struct driver *d, enum goaway_reason reason, uint32_t min_ms,
                               uint32_t max_ms)
{
        struct message goaway = { .type = MESSAGE_GOAWAY,
                                  .goaway = {
                                      .reason = reason, .min_ms = min_ms, .max_ms = max_ms } };

        hear(d, &goaway);
}

static inline void hear_reset_with(struct driver *d, struct token token)
{
        struct message reset = { .type = MESSAGE_RESET, .reset = { .token = token } };

        hear(d, &reset);
}

static inline void open_up(struct driver *d)
{
        tick_when_due(d);
        check(did(d, DEVICE_DO_CONNECT) != NULL);
        step(d, (struct device_input){ .kind = DEVICE_IN_OPENED });
}

/* Connected and resumed after `seq`. */
static inline void start_live(struct driver *d, seqno seq)
{
        struct token since = token_at(seq);

        start(d, &since, 7);
        open_up(d);
        hear_hello(d, seq + 2, true);
        check(d->core.phase == DEVICE_LIVE);
}

static inline void lose(struct driver *d)
{
        step(d, (struct device_input){ .kind = DEVICE_IN_CLOSED });
}

static inline uint64_t wait_of(const struct driver *d)
{
        check(d->core.phase == DEVICE_WAITING);
        return d->core.due_ms - d->now.mono_ms;
}

/* A goaway has come and its moment too: the successor is on its way, on the other link. */
static inline void start_handing_over(struct driver *d, seqno seq)
{
        start_live(d, seq);
        hear_goaway(d, GOAWAY_RECYCLE, 1000, 1000);
        while (!does(d, DEVICE_DO_CONNECT))
                tick_when_due(d);
        check(did(d, DEVICE_DO_CONNECT)->link == 1);
}

static inline void open_next(struct driver *d)
{
        d->link = 1;
        step(d, (struct device_input){ .kind = DEVICE_IN_OPENED });
}
