/* gateway/herald.h -- says to the fleet, once a second, what this node is (fanout/presence.h): how
 * many devices of which sorts, and what telling one of them takes; and reads at the same time what
 * it has been ordered (fanout/order.h). Decides nothing about either. Control thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/follower.h"
#include "fanout/order.h"
#include "fanout/presence.h"
#include "fanout/primary.h"
#include "gateway/options.h"

struct herald;
struct worker;

struct herald_options { /* all borrowed; `primary` and `follower` until herald_stop() */
        const struct options *options;
        struct primary *primary;
        struct follower *follower;
        /* An order for this run of the node. May come again while it is valid: whoever acts on it
         * knows whether it does so already. */
        void (*on_order)(void *owner, const struct order *order);
        void *owner;
};

/* This run of the node begins now. ERR_NOMEM. */
must_check enum err herald_create(const struct herald_options *options, struct herald **ret_herald);
int64_t herald_started(const struct herald *herald); /* Unix ms */
/* Once, when they run: borrowed until herald_stop(). `room`: devices they can hold. */
void herald_workers(struct herald *herald, struct worker *const *workers, unsigned n,
                    uint64_t room);
/* A worker's answer to worker_ask_audiences(), which this asks for. */
void herald_audiences(struct herald *herald, unsigned worker, const struct presence_audience *rows,
                      size_t n, uint64_t others);
void herald_tick(struct herald *herald); /* often: is it time? */
/* From now on, and at once: this node leaves, and has ended at `until` (Unix ms) at the latest. */
void herald_leave(struct herald *herald, int64_t until);
void herald_end(struct herald *herald); /* the last word, if Redis is there to hear it */
/* Answers of Redis that are still due do nothing any more. */
void herald_stop(struct herald *herald);
void herald_destroy(
    struct herald *herald); /* after the primary, whose answers name it; NULL is fine */
