/* device/c/device_place.h -- where the device is in the log, and what a message says of that: is it
 * the next one, one it has had, or one that cannot be (PROTOCOL.md section 5). Pure, as
 * device_core.
 *
 * Two places are kept. `token` is the device's: what the app has been given. `stream` is the
 * connection's: what this node has sent. They are the same but after a hand-over: the second
 * connection was asked for from an older place, and until it has caught up it repeats what the
 * first one still delivered. The order is judged by the stream, what the app sees by the token. */
#pragma once

#include <stdbool.h>

#include "device/c/device_core.h"

enum device_place_verdict {
        DEVICE_PLACE_NEW,    /* taken: the token has moved */
        DEVICE_PLACE_REPEAT, /* the app has had it */
        DEVICE_PLACE_WRONG /* this node and this device disagree about history; core is as it was */
};

/* A connection begins, asked for with `since`. */
void device_place_begin(struct device_core *core, const struct token *since);
/* This is the device's place now, whatever was before. */
void device_place_adopt(struct device_core *core, const struct token *token);
/* `why` (a sentence) is written for WRONG only. */
must_check enum device_place_verdict device_place_signal(struct device_core *core,
                                                         const struct token *token, char *why,
                                                         size_t why_size);
must_check enum device_place_verdict
device_place_skip(struct device_core *core, const struct token *token, char *why, size_t why_size);
