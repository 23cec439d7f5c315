/* fanout/primary.h -- the link on which this node writes, and whether what is written there keeps what the
 * durability mode promises (contract lines 1 and 8). One per node: writer, releaser, presence and report
 * use it. WAIT stands in the way of everything behind it on a connection, so following and reading have
 * links of their own.
 *
 * Once a second, and after each connect, the server is asked who it is (INFO) and how it is set up
 * (durability.h), and it is written to (the node's presence). What is found:
 *   a replica                          -> the link is dropped and the primary sought anew
 *   another run id or replication id   -> said in the log and counted: the follower compares the log as always
 *   settings that cannot keep the mode -> not writable; at start the node must not run at all (on_refused)
 *   fewer replicas than the mode names -> not writable
 *   refuses writes (NOREPLICAS: cut off from its replicas; MISCONF, OOM, READONLY) -> not writable, not ready: a
 *                                         stale primary is told from a live one by this
 * Control thread only. */
#pragma once

#include <stdbool.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/durability.h"

struct event_base;
struct primary;

#define PRIMARY_ASK_EVERY_MS 1000

struct primary_callbacks {
        /* The settings cannot keep the mode; `why` names the lines to change. May come more than once. */
        void (*on_refused)(void *owner, const char *why);
        /* The link came up, before anything was asked. May be NULL. */
        void (*on_up)(void *owner);
        void *owner;
};

struct primary_options {
        struct redis_address address; /* copied */
        const char *ns;               /* borrowed */
        struct durability durability;
};

must_check enum err primary_create(struct event_base *base, const struct primary_options *options,
                                   const struct primary_callbacks *callbacks, struct primary **ret_primary);
void primary_destroy(struct primary *primary); /* NULL is fine */

struct redis *primary_redis(struct primary *primary); /* borrowed, lives as long */
const struct durability *primary_durability(const struct primary *primary);
/* May changes be written now? NULL if so, else a sentence: the link, the settings, the replicas, refusals. */
const char *primary_why_not_writable(const struct primary *primary);
/* Is this a live primary whose settings were verified? NULL if so. The replicas do not matter here. */
const char *primary_why_not_sound(const struct primary *primary);

/* The answer to a write of the once-a-second kind (presence); NULL: none came. */
void primary_heard(struct primary *primary, const struct redis_reply *reply);
