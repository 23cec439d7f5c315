/* fanout/presence.h -- which nodes there are: each writes one small record a second into a Redis hash; a
 * record older than PRESENCE_GONE_MS is a node that died. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "proto/names.h"
#include "proto/target.h"
#include "proto/token.h"

#define PRESENCE_EVERY_MS 1000
#define PRESENCE_GONE_MS  5000
#define PRESENCE_FORGET_MS (3600 * 1000LL) /* a node away for so long is deleted from the hash */

#define PRESENCE_AUDIENCES_MAX 256 /* sorts of devices that a node lists; the rest is one number */

struct presence_audience { /* devices of one sort */
        char traits[TRAITS][TRAIT_MAX + 1]; /* empty = not said */
        uint64_t devices;
};

struct presence {
        char name[NODE_NAME_MAX + 1];
        char listen[64];  /* address devices connect to */
        char version[32]; /* of the program */
        uint64_t devices; /* sessions held */
        seqno seq;        /* head this node holds */
        int64_t started;  /* Unix ms: tells one run of a node from the next; 0 = it did not say */
        int64_t seen;     /* Unix ms when written */
        uint64_t room;    /* sessions it can hold; 0 = it did not say */
        int64_t leaves;   /* Unix ms: it drains, and ends at this time at the latest; 0 = it stays */
        bool ended;       /* its last word: drained, it ends now */
        bool gone;        /* read: older than PRESENCE_GONE_MS */
        /* Measured, and smoothed: its devices times this is how long a broadcast to all of them takes it, its workers
         * being at it together. 0 = it has not told enough of them yet. */
        double us_per_device;
        /* The sorts with most devices; a second behind `devices`. Borrowed: read ones are gone after the callback. */
        const struct presence_audience *audiences;
        size_t n_audiences;
        uint64_t other_devices; /* of sorts that are not listed */
};

/* How many of its devices a signal is for; NULL = everyone. *ret_exact is false where it cannot be known (sorts that
 * are not listed, or a node that does not say): all of those count. */
uint64_t presence_reach(const struct presence *node, const struct target *to, bool *ret_exact);

/* What a person calls it: "up", "draining", "ended", "gone". */
const char *presence_state(const struct presence *node);

/* `on_reply` hears Redis' answer, which tells whether it takes writes (primary_heard); may be NULL. */
must_check enum err presence_write(struct redis *redis, const char *ns, const struct presence *mine,
                                   redis_reply_fn *on_reply, void *owner);
typedef void presence_fn(void *owner, enum err err, const struct presence *nodes, size_t n);
/* Living nodes but `name` that stay: where its devices can go. */
unsigned presence_others(const struct presence *nodes, size_t n, const char *name);
/* Sorted by name; nodes forgotten (see above) are deleted on the way. */
must_check enum err presence_read(struct redis *redis, const char *ns, int64_t now, presence_fn *done,
                                  void *owner);
