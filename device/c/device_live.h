/* device/c/device_live.h -- a connection that has been greeted: what its messages do, when it
 * acknowledges, asks for the time, falls silent, leaves. A part of device_core. Pure. */
#pragma once

#include <stdbool.h>

#include "device/c/device_core.h"

/* Is this the hello of a node that was asked with `since`? */
bool device_live_may_greet(const struct token *since, const struct hello *hello);
/* The main connection is LIVE from here on; delivers the hello. */
void device_live_hello(struct device_core *core, const struct hello *hello, struct device_now now,
                       struct device_actions *out);
/* A message of the main connection, in GREETING or LIVE. */
void device_live_message(struct device_core *core, const struct device_input *input,
                         struct device_now now, struct device_actions *out);
void device_live_tick(struct device_core *core, struct device_now now, struct device_actions *out);
uint64_t device_live_due(const struct device_core *core);
