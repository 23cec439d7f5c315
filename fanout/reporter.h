/* fanout/reporter.h -- writes this node's parts of the delivery reports (report.h): adds up what
 * the workers counted, and sends what changed to Redis at most every REPORTER_EVERY_MS, all signals
 * in one pipeline. Absolute values, so a write that is repeated does no harm; one that failed is
 * repeated. Redis away: it is kept, for the last REPORTER_SIGNALS signals. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/report.h"

#define REPORTER_EVERY_MS  500
#define REPORTER_GATHER_MS 50 /* after the first news: the other workers' are about to come */
#define REPORTER_SIGNALS   64
#define REPORTER_KEPT_S    86400

struct event_base;
struct reporter;

/* `redis` is borrowed, and may be destroyed before or after the reporter; `ns` and `node` are
 * borrowed. `started`: of this process, as in its presence. ERR_NOMEM. */
must_check enum err reporter_create(struct event_base *base, struct redis *redis, const char *ns,
                                    const char *node, int64_t started,
                                    struct reporter **ret_reporter);
void reporter_destroy(struct reporter *reporter); /* what is not written is lost; NULL is fine */
/* The log goes on in this epoch: parts of another are dropped, also those that still come. */
void reporter_epoch(struct reporter *reporter, uint64_t epoch);
/* What was counted since the last call. */
void reporter_add(struct reporter *reporter, const struct report_part *more);
/* Nothing waits to be written, or it cannot be, for Redis is away. */
bool reporter_is_idle(const struct reporter *reporter);
