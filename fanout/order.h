/* fanout/order.h -- what an operator tells a node that may be another than the one that was asked:
 * to send its devices away and end. One hash, one field per node: who gives an order writes it, the
 * node reads its own field together with each heartbeat (presence.h), and acts at once.
 *
 * An order is for one run of a node: it names when that run began (presence.started), so that none
 * ever drains the node that was started in its place; and it is void ORDER_VALID_MS after it was
 * given, so that a node that was cut off does not leave when nobody thinks of it any more. Presence
 * is the acknowledgement: the node's record says `draining`. So nothing need be deleted: a field is
 * overwritten by the next order, and goes with the record of a node that is forgotten.
 *
 * How fast is decided here, too, by whoever gives the order, who then can say what will happen.
 * Control thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"

#define ORDER_VALID_MS      60000
#define ORDER_WITHIN_MS     60000 /* without `within` */
#define ORDER_WITHIN_MIN_MS 2000
#define ORDER_WITHIN_MAX_MS (3600 * 1000)
#define ORDER_RATE_MAX      1000000

/* Devices a second that each other node is given: at least, since slower makes it no gentler, and
 * at most. A core takes some 20,000 handshakes a second (loadtest/RESULTS.md), so the most is a
 * tenth of what a node has, beside what it does otherwise. */
#define ORDER_NODE_RATE_MIN 200
#define ORDER_NODE_RATE_MAX 2000

struct order {
        int64_t started; /* Unix ms: the run of the node it is for */
        int64_t given;   /* Unix ms */
        uint32_t within_ms;
        uint32_t rate; /* devices a second; never 0 */
};

/* The rate at which `devices` of a node are told to leave for `others` living nodes: such that all
 * are told in half of the time, but for each other node at least ORDER_NODE_RATE_MIN and never more
 * than ORDER_NODE_RATE_MAX. With no other node there is nobody to spare: told in half of the time.
 * Pure. */
uint32_t order_rate(uint64_t devices, unsigned others, uint32_t within_ms);
/* The time in which `devices` are told at `rate` a second; 12 days at most. Pure. */
uint32_t order_over_ms(uint64_t devices, uint32_t rate);
/* Of `within_ms`: when all have been told at the latest, whatever the rate. Pure. */
uint32_t order_told_by_ms(uint32_t within_ms);
/* Is it for the run of a node that began at `started`, and still valid? Pure. */
bool order_holds(const struct order *order, int64_t started, int64_t now);

/* `on_reply` hears Redis' answer. */
must_check enum err order_write(struct redis *redis, const char *ns, const char *node,
                                const struct order *order, redis_reply_fn *on_reply, void *owner);
must_check enum err order_read(struct redis *redis, const char *ns, const char *node,
                               redis_reply_fn *on_reply, void *owner);
/* What order_read's reply says. False: there is none, or none that makes sense. */
bool order_parse(const struct redis_reply *reply, struct order *ret_order);
