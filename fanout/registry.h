/* fanout/registry.h -- which node holds which device, as a record per device in Redis
 * (`device:<id>`: n node, s session, t when it came, g when it went), and the channels on which
 * nodes speak to each other.
 *
 * A cache, never the truth: a record may be missing, late, or of a node that is gone. Only a node
 * knows whom it holds, so whoever reads a record asks that node, and whoever finds none asks all
 * (courier.h).
 *
 * Of two records the one that came later stays. Nodes' clocks are not compared: a node says how
 * long ago a device came, and Redis takes that from its own clock (kickoff1_arrive). The loser's
 * node is told over its channel, by the function itself; a caller that lost is told so, and asks
 * before it believes it: the record may be of a session that has gone.
 *
 * A link of its own for all this, and one to listen: signals, reads and presence wait for none of
 * it. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "proto/names.h"

struct event_base;
struct registry;

struct registry_options {
        struct redis_address address; /* copied */
        const char *ns, *node;        /* borrowed */
        uint32_t keep_s;              /* a record that nobody renews expires after this */
        /* A message for this node, or for all. Bytes are borrowed. */
        redis_message_fn *on_heard;
        /* The link came up: what Redis knows of this node's devices may be old, or nothing. */
        void (*on_up)(void *owner);
        void *owner;
};

must_check enum err registry_create(struct event_base *base, const struct registry_options *options,
                                    struct registry **ret_registry);
/* No callback comes after it. NULL is fine. */
void registry_destroy(struct registry *registry);
bool registry_is_up(const struct registry *registry);    /* can speak and listen */
struct redis *registry_redis(struct registry *registry); /* its link for commands; borrowed */

struct registry_row {
        const char *device;
        uint64_t session;
        uint64_t age_ms; /* arrive: how long ago it came */
};

struct registry_lost { /* rows[row] is not written: this one came later, says the record */
        size_t row;
        char node[NODE_NAME_MAX + 1];
        uint64_t session;
};
/* `err`: OK; ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_IO: written or not, nobody knows. `lost` is
 * borrowed. */
typedef void registry_arrived_fn(void *owner, enum err err, const struct registry_lost *lost,
                                 size_t n);

#define REGISTRY_ROWS_MAX 256 /* of one call */

/* These devices are at this node. OK: `done` comes once. */
must_check enum err registry_arrive(struct registry *registry, const struct registry_row *rows,
                                    size_t n, registry_arrived_fn *done, void *owner);
/* These sessions are at `node` no more: their records, if they are still the same, say when they
 * went. That is now, or, if nobody knows (`unseen`), when they came. Nobody is told if it does not
 * go well: a record is only a hint. */
void registry_leave(struct registry *registry, const char *node, const struct registry_row *rows,
                    size_t n, bool unseen);

struct registry_route {
        bool is_there; /* false: it went, or there is no record */
        char node[NODE_NAME_MAX + 1];
        uint64_t session;
        int64_t came, went; /* Unix ms, Redis' clock; 0 = not known */
};
typedef void registry_route_fn(void *owner, enum err err, const struct registry_route *route);
must_check enum err registry_route(struct registry *registry, const char *device,
                                   registry_route_fn *done, void *owner);

/* To the node of this name, or to all that listen (NULL). `receivers` counts the nodes that got it,
 * this one too. */
typedef void registry_said_fn(void *owner, enum err err, unsigned receivers);
must_check enum err registry_say(struct registry *registry, const char *node, const char *text,
                                 size_t len, registry_said_fn *done,
                                 void *owner); /* done may be NULL */
