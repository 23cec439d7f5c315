/* device/c/device_time.h -- the clock part of device_core: when to ask the node for its time, and
 * what to make of the answers. The arithmetic is that of NTP's clock filter (RFC 5905 section 10):
 * of the last eight samples the one with the smallest round trip is the one with the smallest
 * error, an old sample losing worth by the rate at which clocks drift. Pure, as device_core. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device/c/device_core.h"

/* Connected: the node's clock as hello told it, and requests soon. */
void device_time_hello(struct device_core *core, int64_t node_wall_ms, struct device_now now);
/* Connection gone: no requests, and an answer still on its way will never come. */
void device_time_pause(struct device_core *core);
/* A request leaves now; the next one is planned. */
struct time_sync device_time_ask(struct device_core *core, struct device_now now);
void device_time_answer(struct device_core *core, const struct time_sync *answer,
                        struct device_now now);
/* Node's wall clock minus our monotonic clock. False before the first hello. */
bool device_time_ahead(const struct device_core *core, uint64_t mono_ms, int64_t *ret_ahead_ms);
