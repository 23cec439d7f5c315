/* gateway/session_device.h -- what is said to one device alone by somebody else than its own
 * session: a producer's message, or that it has connected again elsewhere. Worker's thread. */
#pragma once

#include <stdbool.h>

#include "base/check.h"
#include "fanout/device.h"
#include "gateway/conn.h"

/* Is there at most one frame that waits for room in its socket? */
bool session_device_takes(const struct conn *conn);
/* Writes it; what does not fit waits, behind at most one frame. Only after session_device_takes().
 * False: the connection was lost, and is closed. */
must_check bool session_device_message(struct worker *worker, struct conn *conn,
                                       const struct device_message *message);
/* goaway `replaced`, and close 4009. Who was told to come back anyway (recycle, drain, overload)
 * has most probably done so, with a second connection before it closes the first: it is told
 * nothing new, only closed (1001). */
void session_device_replace(struct worker *worker, struct conn *conn);
void session_device_describe(const struct worker *worker, const struct conn *conn,
                             struct device_answer *ret_answer); /* cohort, transport */
