/* device/c/device_next.h -- the hand-over after a goaway: a second connection (the successor) is
 * opened while the first (the main one) still delivers, and takes its place with its hello. A part
 * of device_core. Pure.
 *
 *   leave_ms has come        hello of the successor
 *   LIVE ──────────────► LIVE + successor ──────────────► LIVE, the successor is the main one;
 *                             │         │                        the old one is closed with 1000
 *      the successor fails ◄──┘         └──► the main one ends: the successor goes on in its place,
 *      tried again later, the main one       wherever it is (CONNECTING or GREETING)
 *      lives on
 *
 * The node takes the second connection of a device for a reason to end the first (`replaced`,
 * 4009). While a successor is under way, that is therefore no reason to stop: if it was indeed
 * another device, then it is the successor that is told so. */
#pragma once

#include "device/c/device_core.h"

/* The moment drawn after a goaway has come. */
void device_next_begin(struct device_core *core, struct device_now now, struct device_actions *out);
/* An input about the successor. */
void device_next_step(struct device_core *core, const struct device_input *input,
                      struct device_now now, struct device_actions *out);
void device_next_tick(struct device_core *core, struct device_now now, struct device_actions *out);
/* The main connection is gone. Whether there was a successor to take its place. */
bool device_next_promote(struct device_core *core);
/* Cuts the successor off, if there is one. */
void device_next_abandon(struct device_core *core, struct device_actions *out);
/* The main one was reset: the successor was asked for from a place that is void. Begun anew. */
void device_next_void(struct device_core *core, struct device_now now, struct device_actions *out);
