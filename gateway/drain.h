/* gateway/drain.h -- the pace at which a worker sends its devices away: whom it tells when, the
 * span each is given to come back in, and when the node closes for those that did not leave. Pure:
 * no I/O, no clock; refuses to know sessions. worker_letters.c acts, and the simulation in its
 * place.
 *
 * Each of the n devices of a worker has a slot, slots lie evenly over `over_ms`, and all workers of
 * a node have the same `over_ms`: so they share the node's rate by how many they have, and need not
 * speak. A device is told in its slot, and comes back at a random moment of the `span` after it: a
 * tenth of over_ms, long enough that arrivals elsewhere are level although telling goes in ticks,
 * and short beside the whole.
 *
 *   0        slots: one device each         over                      within
 *   ├─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┤                    ├─────┤
 *   └►told  └►told: comes back in [0, span]                        last: the rest is closed
 *
 * If there is not enough time for the rate (over_ms beyond three quarters of within_ms), the
 * devices that were not told by then are told all at once, each with the slot that it would have
 * had: min_ms is what is left until then. They may be closed long before, but a device comes back
 * when its goaway said, not when it was closed (PROTOCOL.md, `goaway`): arrivals elsewhere stay
 * level even after this node is gone. Worker thread, each its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "proto/message.h"

#define DRAIN_TICK_MS     50  /* told in lumps of so long, at least */
#define DRAIN_SPAN_MIN_MS 250 /* a few ticks, and the jitter of a network */
#define DRAIN_SPAN_MAX_MS 10000
#define DRAIN_GRACE_MS    3000 /* to close by itself, after the moment it drew has come */
#define DRAIN_LAST_MS     500  /* before the end: a tenth of within_ms, but no more than this */

struct drain {
        uint64_t began_ms; /* monotonic */
        uint32_t n, told;  /* devices */
        uint32_t within_ms, over_ms, span_ms;
};

/* `n` devices are to leave `within_ms`, told over `over_ms`: that of the whole node, its devices by
 * its rate (order_over_ms). */
void drain_begin(struct drain *drain, uint32_t n, uint32_t within_ms, uint32_t over_ms,
                 uint64_t now_ms);

/* How many are to be told now, each with drain_tell(). */
uint32_t drain_due(const struct drain *drain, uint64_t now_ms);
/* The next one: what it is told, and when it is to be closed if it has not left by itself. */
void drain_tell(struct drain *drain, struct rng *rng, uint64_t now_ms, struct goaway *ret_goaway,
                uint32_t *ret_close_in_ms);
/* When to ask drain_due() and drain_is_last() again. */
uint32_t drain_next_in_ms(const struct drain *drain, uint64_t now_ms);
/* Whoever is still here is to be closed now, so that it hears a reason (1012) before the end. */
bool drain_is_last(const struct drain *drain, uint64_t now_ms);
