/* device/c/device_time.h -- the clock part of device_core: when to ask the node for its time. What the
 * answers are worth is reckoned in proto/offset.h. Pure, as device_core. */
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
