/* gateway/leaving.h -- how a node leaves, on a signal or on an operator's order (fanout/order.h):
 * not ready any more, which /readyz and presence say; then its devices are sent away at a pace that
 * the rest of the fleet can take; at an end when the node is empty, or at the deadline. main.c asks
 * whether it is over.
 *
 *   leaving_begin ─► readiness off ─► how many others are there? ─► node_drain ─► empty, or
 * deadline (an order says the rate)
 *
 * Control thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct node;
struct redis;
struct leaving;

/* How many others there are is asked once: without an answer within this, it is taken for one. */
#define LEAVING_ASK_MS 300

/* `node`, `redis`, `ns` and `name` are borrowed. ERR_NOMEM. */
must_check enum err leaving_create(struct event_base *base, struct node *node, struct redis *redis,
                                   const char *ns, const char *name, struct leaving **ret_leaving);
/* Before the node; answers still due do nothing then. NULL is fine. */
void leaving_stop(struct leaving *leaving);
void leaving_destroy(struct leaving *leaving); /* after the node; NULL is fine */

/* `rate` in devices a second, 0: by order_rate() from what is known of the fleet. Once begun it can
 * only be made shorter: a later end than the one that is set changes nothing, and false says so. */
bool leaving_begin(struct leaving *leaving, uint32_t within_ms, uint32_t rate);
bool leaving_is_on(const struct leaving *leaving);   /* NULL: no */
bool leaving_is_late(const struct leaving *leaving); /* the deadline has come */
