/* prefetch/cache_inside.h -- what cache.c (what a request is answered) and cache_slots.c (where
 * what came is kept) share; nobody else includes it. The worker's thread only.
 *
 *   event slot: the newest index that came     -- asks of its own, requests that wait for an index
 *     cohort slot: the newest response that came -- the same, for one row
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "prefetch/cache.h"
#include "prefetch/port.h"

struct waiting { /* one request */
        void *waiter;
        struct event_slot *event;
        char cohort[COHORT_MAX + 1]; /* as asked, known or not */
        uint64_t deadline_ms;
        LIST_ENTRY(waiting) in_slot;
        TAILQ_ENTRY(waiting) by_deadline;
        UT_hash_handle hh;
};
LIST_HEAD(waiting_list, waiting);

struct cohort_slot {
        char cohort[COHORT_MAX + 1];
        struct bundle_response *response; /* the newest that came; NULL = none yet */
        bool is_asked;
        enum err failed;   /* of the last load; OK = it did not */
        uint64_t retry_ms; /* not asked again before */
        struct waiting_list waiting;
        UT_hash_handle hh;
};

struct event_slot {
        char event[EVENT_ID_MAX + 1];
        uint64_t epoch;             /* of the log all versions here belong to */
        uint64_t wanted;            /* newest version a request asked for */
        struct bundle_index *index; /* the newest that came; NULL = none yet */
        bool is_asked;
        uint64_t retry_ms;
        struct waiting_list waiting;
        struct cohort_slot *cohorts;
        UT_hash_handle hh;
};

struct cache {
        struct loader *loader;
        struct port *port;
        cache_loaded_fn *on_loaded;
        void *owner;
        struct event_slot *events;
        struct waiting *waiters;                      /* all of them, by `waiter` */
        TAILQ_HEAD(deadline_list, waiting) deadlines; /* all wait equally long: oldest first */
        unsigned n_waiting;
        unsigned telling;  /* on_loaded calls on the stack: slots stay where they are */
        struct token seen; /* of the snapshot that the last sweep looked at */
        uint64_t now_ms;   /* what the worker last said */
};

/* cache_slots.c. Found: NULL = not there. Added: NULL = no memory. */
struct event_slot *cache_slots_find_event(const struct cache *cache, const char *event);
struct event_slot *cache_slots_add_event(struct cache *cache, const char *event);
void cache_slots_free_event(struct cache *cache, struct event_slot *slot); /* nobody waits in it */
struct cohort_slot *cache_slots_find_cohort(const struct event_slot *slot, const char *cohort);
struct cohort_slot *cache_slots_add_cohort(struct event_slot *slot, const char *cohort);
/* Another epoch: versions begin anew, so nothing that is here can be compared with them. */
void cache_slots_enter_epoch(struct event_slot *slot, uint64_t epoch);
bool cache_slots_has_waiters(const struct event_slot *slot);
/* A newer index has come: what is older than the one before it, `previous`, will not be served
 * again. */
void cache_slots_drop_outdated(struct event_slot *slot, uint64_t previous);
