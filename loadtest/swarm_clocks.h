/* loadtest/swarm_clocks.h -- inside of a swarm: devices with clocks of their own (loadtest/simclock.h).
 * They ask the node for its time as the SDKs do, and when they are told of the start they act at its
 * `at`, as they reckon that, or at once if it has passed. When each of them truly did is in the swarm's
 * `moments`. A swarm without `keeps_time` has none of it: all of these then do nothing. For swarm.c and
 * swarm_*.c only. */
#pragma once

#include "loadtest/swarm_device.h"

must_check enum err swarm_clocks_create(struct swarm *swarm); /* ERR_NOMEM */
void swarm_clocks_destroy(struct swarm *swarm);

void swarm_clocks_hello(struct swarm *swarm, struct device *device, int64_t node_ms);
void swarm_clocks_answer(struct swarm *swarm, struct device *device, const struct time_sync *answer);
void swarm_clocks_pause(struct swarm *swarm, struct device *device); /* its connection is gone */
/* It has been told to act at `at_ms`; a newer word takes the place of an older one. Once it has acted
 * that is that. */
void swarm_clocks_plan(struct swarm *swarm, struct device *device, int64_t at_ms);

/* How long to sleep, `most_ms` at most, so that nobody acts late. */
int swarm_clocks_wait_ms(const struct swarm *swarm, int most_ms);
void swarm_clocks_tick(struct swarm *swarm); /* once a turn: who asks, who acts */
