/* device/c/device_attempt.h -- how an attempt or a connection ends, and when and by which way the
 * next is made. A part of device_core, which alone calls it (with device_next.c). Pure.
 *
 * Two ways lead to a node: the WebSocket, and the event stream (GET /v1/stream) for networks whose
 * boxes let no WebSocket through. The stream is tried only after DEVICE_CORE_MISSES attempts that
 * reached somebody and still did not come to a hello; a node that is simply away reaches nobody,
 * and leads no fleet to the lesser way. A device on the stream stays there when it comes back after
 * a loss, and tries the WebSocket once at each hand-over. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device/c/device_core.h"

struct device_action *device_attempt_add(struct device_actions *out, enum device_do what,
                                         unsigned link);
void device_attempt_say_state(const struct device_core *core, struct device_actions *out);
/* Nothing of the main connection counts any more. */
void device_attempt_forget(struct device_core *core);
/* CONNECT on `link` by the way that is due; returns it. */
enum device_way device_attempt_connect(struct device_core *core, unsigned link,
                                       struct device_actions *out);
/* It came to nothing: after this status (0 = none), and had it reached somebody? */
void device_attempt_missed(struct device_core *core, enum device_way way, bool reached,
                           unsigned status);
/* The step of the backoff, drawn; one more failure is counted. */
uint64_t device_attempt_backoff_ms(struct device_core *core);
/* Will the same request never do? */
bool device_attempt_is_for_good(const struct device_core *core, enum device_way way,
                                unsigned status);
/* How long to wait after a refusal that is not for good. */
uint64_t device_attempt_refused_ms(struct device_core *core, const struct device_input *input);
uint64_t device_attempt_goaway_ms(struct device_core *core, const struct goaway *goaway);

/* --- the main connection is over: each of these leaves the core WAITING (or with the successor in
 * its place, if a hand-over is under way) or STOPPED */

void device_attempt_stop(struct device_core *core, struct device_actions *out, const char *why);
void device_attempt_wait(struct device_core *core, struct device_now now, uint64_t delay_ms,
                         struct device_actions *out, const char *why);
/* Says goodbye with `reason`. */
void device_attempt_give_up(struct device_core *core, struct device_now now,
                            enum close_reason reason, struct device_actions *out, const char *why);
/* Without a word: whoever does not answer is not worth a goodbye. */
void device_attempt_drop(struct device_core *core, struct device_now now,
                         struct device_actions *out, const char *why);
void device_attempt_refused(struct device_core *core, const struct device_input *input,
                            struct device_now now, struct device_actions *out);
void device_attempt_failed(struct device_core *core, const struct device_input *input,
                           struct device_now now, struct device_actions *out);
void device_attempt_closed(struct device_core *core, const struct device_input *input,
                           struct device_now now, struct device_actions *out);
