/* prefetch/cache_slots.c -- where a worker keeps what came: a slot for each event that was asked
 * for, in it one for each cohort. Decides nothing about answers: cache.c does. */
#include <stdlib.h>
#include <string.h>

#include "prefetch/cache_inside.h"

static void cohort_slot_free(struct event_slot *slot, struct cohort_slot *cohort)
{
        HASH_DEL(slot->cohorts, cohort);
        bundle_response_unref(cohort->response);
        free(cohort);
}

void cache_slots_free_event(struct cache *cache, struct event_slot *slot)
{
        struct cohort_slot *cohort, *next;

        HASH_ITER(hh, slot->cohorts, cohort, next)
        {
                cohort_slot_free(slot, cohort);
        }
        HASH_DEL(cache->events, slot);
        bundle_index_unref(slot->index);
        free(slot);
}

struct event_slot *cache_slots_find_event(const struct cache *cache, const char *event)
{
        struct event_slot *slot;

        HASH_FIND_STR(cache->events, event, slot);
        return slot;
}

struct cohort_slot *cache_slots_find_cohort(const struct event_slot *slot, const char *cohort)
{
        struct cohort_slot *found;

        HASH_FIND_STR(slot->cohorts, cohort, found);
        return found;
}

struct event_slot *cache_slots_add_event(struct cache *cache, const char *event)
{
        struct event_slot *slot = calloc(1, sizeof(*slot));

        if (slot == NULL)
                return NULL;
        check(strlen(event) <= EVENT_ID_MAX);
        strcpy(slot->event, event);
        HASH_ADD_STR(cache->events, event, slot);
        if (slot->hh.tbl == NULL) { /* uthash had no memory */
                free(slot);
                return NULL;
        }
        return slot;
}

struct cohort_slot *cache_slots_add_cohort(struct event_slot *slot, const char *cohort)
{
        struct cohort_slot *added = calloc(1, sizeof(*added));

        if (added == NULL)
                return NULL;
        strcpy(added->cohort, cohort);
        HASH_ADD_STR(slot->cohorts, cohort, added);
        if (added->hh.tbl == NULL) {
                free(added);
                return NULL;
        }
        return added;
}

void cache_slots_enter_epoch(struct event_slot *slot, uint64_t epoch)
{
        struct cohort_slot *cohort, *next;

        HASH_ITER(hh, slot->cohorts, cohort, next)
        {
                bundle_response_unref(cohort->response);
                cohort->response = NULL;
                cohort->failed = OK;
                cohort->retry_ms = 0;
        }
        bundle_index_unref(slot->index);
        slot->index = NULL;
        slot->epoch = epoch;
        slot->wanted = 0;
        slot->retry_ms = 0;
}

bool cache_slots_has_waiters(const struct event_slot *slot)
{
        const struct cohort_slot *cohort;

        if (!LIST_EMPTY(&slot->waiting))
                return true;
        for (cohort = slot->cohorts; cohort != NULL; cohort = cohort->hh.next) {
                if (!LIST_EMPTY(&cohort->waiting))
                        return true;
        }
        return false;
}

void cache_slots_drop_outdated(struct event_slot *slot, uint64_t previous)
{
        struct cohort_slot *cohort, *next;

        HASH_ITER(hh, slot->cohorts, cohort, next)
        {
                if (cohort->response != NULL && cohort->response->version < previous) {
                        bundle_response_unref(cohort->response);
                        cohort->response = NULL;
                }
                if (cohort->response == NULL && !cohort->is_asked && LIST_EMPTY(&cohort->waiting))
                        cohort_slot_free(slot, cohort);
        }
}
