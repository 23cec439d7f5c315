/* producer/cli/watch_lines.h -- what a device saw, one line each: as text for people or as JSON for
 * programs (the message as the protocol writes it, plus `received`, Unix ms of our clock). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "device/c/kickoff_device.h"

/* `offset_ms`: the node's clock minus ours, to tell how far away "at" is. No newline at the end. */
void watch_lines_message(const struct message *message, bool json, int64_t now_ms,
                         int64_t offset_ms, struct buf *out);
void watch_lines_state(enum kickoff_device_state state, const char *why, bool json, int64_t now_ms,
                       struct buf *out);
