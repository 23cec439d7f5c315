/* gateway/node.h -- the control thread's view of a node: the follower feeds the workers, the loader feeds
 * their bundle caches, presence tells the fleet. Composed in main.c with whatever producers use.
 *
 *   follower ──entries, snapshots──► worker 0..N-1 (threads)
 *      └── Redis link ── loader
 *   primary ── Redis link for writes ── presence, releaser, and whatever producers use
 *
 * Control thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/courier.h"
#include "fanout/follower.h"
#include "fanout/order.h"
#include "fanout/primary.h"
#include "gateway/options.h"

struct event_base;
struct node;

struct node_callbacks {
        /* Ready for devices: at first, and again whenever it was not for a while. */
        void (*on_ready)(void *owner);
        /* The Redis behind us cannot keep the durability asked for; `why` names the line to change. At
         * start the node must then not run at all (contract line 1); later, changes are refused by
         * node_why_not_writable until it is mended, which is noticed by itself. May come more than once. */
        void (*on_refused)(void *owner, const char *why);
        /* Somebody wants this node to leave (fanout/order.h). May come again while it does. */
        void (*on_order)(void *owner, const struct order *order);
        void *owner;
};

/* Starts the workers. On an error *ret_why is a sentence that says what to do. `options` is borrowed, the
 * callbacks are copied, and run from the loop. */
must_check enum err node_create(struct event_base *base, const struct options *options,
                                const struct redis_address *redis, const struct node_callbacks *callbacks,
                                struct node **ret_node, const char **ret_why);
void node_destroy(struct node *node); /* NULL is fine */

struct follower *node_follower(struct node *node);
struct primary *node_primary(struct node *node);
struct courier *node_courier(struct node *node);
uint16_t node_port(const struct node *node); /* as bound */
uint64_t node_devices(const struct node *node);
/* Over which span all devices of the fleet should fetch a bundle that has changed. */
uint32_t node_refresh_ms(const struct node *node);
/* Ready to be sent devices to: log installed, Redis a live primary whose settings were verified, and not so
 * overloaded that nobody new is let in. */
bool node_is_ready(const struct node *node);
const char *node_why_not_ready(const struct node *node); /* a sentence; "" when ready */
/* May changes be written now? A sentence if not, NULL if so. Too few replicas are a reason here, but none not
 * to be ready. */
const char *node_why_not_writable(const struct node *node);

/* Stop accepting and send every device away `within_ms`, told one after the other over `over_ms` (drain.h). Once
 * more: at this pace from here on. */
void node_drain(struct node *node, uint32_t within_ms, uint32_t over_ms);
/* Presence says from now on, and at once, that this node leaves and has ended at `until` (Unix ms) at the latest. */
void node_set_leaving(struct node *node, int64_t until);
void node_say_ended(struct node *node); /* the last word, if Redis is there to hear it */
bool node_is_empty(const struct node *node); /* all have gone, and what they said is in Redis */
