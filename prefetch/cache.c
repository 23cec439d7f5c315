/* prefetch/cache.c -- decides what one request for a bundle is answered: from what this worker
 * holds, or after a load, or with the version before, or not at all. Refuses to know Redis, HTTP
 * and other workers. Where what came is kept: cache_slots.c.
 *
 * A request finds its event and version in the worker's snapshot. If the index is as new as that
 * and the row's response belongs to it: a hit. Otherwise it waits in the slot of what is missing,
 * and is judged anew when that has come. What cannot be loaded is asked for again after RETRY_MS;
 * meanwhile the version before is served, if there is one: an old recommendation is better than
 * none. Not so for a body that came with a wrong hash: then nothing is served.
 *
 * Time is what the worker last said, so that tests and simulations own it. */
#include "prefetch/cache.h"

#include <stdlib.h>
#include <string.h>

#include "fanout/event.h"
#include "prefetch/cache_inside.h"

#define RETRY_MS 500 /* after a load that failed */

static bool is_over(const struct event_state *state)
{
        return strcmp(state->stage, event_phase_name[PHASE_ENDED]) == 0 ||
               strcmp(state->stage, event_phase_name[PHASE_CANCELLED]) == 0;
}

/* Once per signal: drop events that are over or forgotten. One that somebody still waits for stays
 * until the sweep after. */
static void sweep(struct cache *cache, const struct snapshot *snapshot)
{
        struct event_slot *slot, *next;

        if (cache->telling > 0 || token_equal(snapshot_token(snapshot), &cache->seen))
                return;
        cache->seen = *snapshot_token(snapshot);
        HASH_ITER(hh, cache->events, slot, next)
        {
                const struct event_state *state = snapshot_find(snapshot, slot->event);

                if ((state == NULL || is_over(state)) && !cache_slots_has_waiters(slot))
                        cache_slots_free_event(cache, slot);
        }
}

/* --- asking -------------------------------------------------------------------------------- */

static bool ask_for_index(struct cache *cache, struct event_slot *slot)
{
        struct ask *ask;

        if (slot->is_asked)
                return true;
        ask = ask_create(cache->port, ASK_INDEX, slot->event, slot->epoch, slot->wanted);
        if (ask == NULL)
                return false;
        slot->is_asked = true;
        loader_ask(cache->loader, ask);
        return true;
}

static bool ask_for_response(struct cache *cache, struct event_slot *slot,
                             struct cohort_slot *cohort, const struct bundle_row *row)
{
        struct ask *ask;

        if (cohort->is_asked)
                return true;
        ask = ask_create(cache->port, ASK_RESPONSE, slot->event, slot->epoch, slot->index->version);
        if (ask == NULL)
                return false;
        ask->row = *row;
        cohort->is_asked = true;
        loader_ask(cache->loader, ask);
        return true;
}

/* --- judging ------------------------------------------------------------------------------- */

struct verdict {
        enum cache_answer answer;
        struct bundle_response *response; /* CACHE_HIT; borrowed */
        struct waiting_list *list;        /* CACHE_WAITING: where */
};

static struct verdict hit_or_busy(const struct cohort_slot *cohort)
{
        struct verdict verdict = { CACHE_BUSY, NULL, NULL };

        if (cohort != NULL && cohort->response != NULL && cohort->failed != ERR_MISMATCH) {
                verdict.answer = CACHE_HIT;
                verdict.response = cohort->response;
        }
        return verdict;
}

/* The best there is without loading anything. */
static struct verdict make_do(const struct event_slot *slot, const char *wanted_cohort)
{
        const struct bundle_row *row =
            slot->index != NULL ? bundle_index_find(slot->index, wanted_cohort) : NULL;

        return hit_or_busy(row != NULL ? cache_slots_find_cohort(slot, row->cohort) : NULL);
}

static struct verdict judge_row(struct cache *cache, struct event_slot *slot,
                                const struct bundle_row *row)
{
        struct cohort_slot *cohort = cache_slots_find_cohort(slot, row->cohort);

        if (cohort == NULL)
                cohort = cache_slots_add_cohort(slot, row->cohort);
        if (cohort == NULL)
                return (struct verdict){ CACHE_BUSY, NULL, NULL };
        if (cohort->response != NULL && cohort->response->version == slot->index->version)
                return (struct verdict){ CACHE_HIT, cohort->response, NULL };
        if (cache->now_ms < cohort->retry_ms || !ask_for_response(cache, slot, cohort, row))
                return hit_or_busy(cohort);
        return (struct verdict){ CACHE_WAITING, NULL, &cohort->waiting };
}

static struct verdict judge(struct cache *cache, struct event_slot *slot, const char *wanted_cohort)
{
        const struct bundle_row *row;

        if (slot->index == NULL || slot->index->version < slot->wanted) {
                if (cache->now_ms < slot->retry_ms || !ask_for_index(cache, slot))
                        return make_do(slot, wanted_cohort);
                return (struct verdict){ CACHE_WAITING, NULL, &slot->waiting };
        }
        row = bundle_index_find(slot->index, wanted_cohort);
        if (row == NULL)
                return (struct verdict){ CACHE_NO_COHORT, NULL, NULL };
        return judge_row(cache, slot, row);
}

/* --- waiting ------------------------------------------------------------------------------- */

static bool add_waiting(struct cache *cache, struct event_slot *slot, const char *cohort,
                        void *waiter, struct waiting_list *list)
{
        struct waiting *waiting;

        if (cache->n_waiting == CACHE_WAITERS_MAX)
                return false;
        waiting = calloc(1, sizeof(*waiting));
        if (waiting == NULL)
                return false;
        check(strlen(cohort) <= COHORT_MAX);
        waiting->waiter = waiter;
        waiting->event = slot;
        strcpy(waiting->cohort, cohort);
        waiting->deadline_ms = cache->now_ms + CACHE_WAIT_MS;
        HASH_ADD_PTR(cache->waiters, waiter, waiting);
        if (waiting->hh.tbl == NULL) {
                free(waiting);
                return false;
        }
        LIST_INSERT_HEAD(list, waiting, in_slot);
        TAILQ_INSERT_TAIL(&cache->deadlines, waiting, by_deadline);
        cache->n_waiting++;
        return true;
}

static void drop_waiting(struct cache *cache, struct waiting *waiting)
{
        LIST_REMOVE(waiting, in_slot);
        TAILQ_REMOVE(&cache->deadlines, waiting, by_deadline);
        HASH_DEL(cache->waiters, waiting);
        cache->n_waiting--;
        free(waiting);
}

static void tell(struct cache *cache, struct waiting *waiting, const struct verdict *verdict)
{
        void *waiter = waiting->waiter;

        drop_waiting(cache, waiting);
        if (verdict->response != NULL)
                bundle_response_ref(
                    verdict->response); /* whoever is told may ask, and so change us */
        cache->telling++;
        cache->on_loaded(cache->owner, waiter, verdict->answer, verdict->response);
        cache->telling--;
        bundle_response_unref(verdict->response);
}

/* Judge anew all who wait in `list`. Those told may ask again, or forget others of the list, while
 * this goes on: so the list is emptied from its head, never walked. */
static void judge_waiting(struct cache *cache, struct event_slot *slot, struct waiting_list *list)
{
        struct waiting_list local = *list;
        struct waiting *waiting;

        if (LIST_EMPTY(&local))
                return;
        LIST_FIRST(&local)->in_slot.le_prev = &LIST_FIRST(&local);
        LIST_INIT(list);
        while ((waiting = LIST_FIRST(&local)) != NULL) {
                struct verdict verdict = judge(cache, slot, waiting->cohort);

                if (verdict.answer == CACHE_WAITING) {
                        LIST_REMOVE(waiting, in_slot);
                        LIST_INSERT_HEAD(verdict.list, waiting, in_slot);
                } else {
                        tell(cache, waiting, &verdict);
                }
        }
}

/* --- answers of the loader ----------------------------------------------------------------- */

static void on_index(struct cache *cache, struct event_slot *slot, struct ask *ask)
{
        slot->is_asked = false;
        if (ask->epoch == slot->epoch && ask->err != OK)
                slot->retry_ms = cache->now_ms + RETRY_MS;
        if (ask->epoch == slot->epoch && ask->err == OK &&
            (slot->index == NULL || slot->index->version < ask->index->version)) {
                uint64_t previous = slot->index != NULL ? slot->index->version : 0;

                bundle_index_unref(slot->index);
                slot->index = bundle_index_ref(ask->index);
                cache_slots_drop_outdated(slot, previous);
        }
        judge_waiting(cache, slot, &slot->waiting);
}

static void on_response(struct cache *cache, struct event_slot *slot, struct ask *ask)
{
        struct cohort_slot *cohort = cache_slots_find_cohort(slot, ask->row.cohort);

        if (cohort == NULL)
                return; /* the event was over meanwhile, and came again */
        cohort->is_asked = false;
        if (ask->epoch == slot->epoch) {
                cohort->failed = ask->err;
                if (ask->err != OK)
                        cohort->retry_ms = cache->now_ms + RETRY_MS;
                if (ask->err == OK &&
                    (cohort->response == NULL || cohort->response->version < ask->version)) {
                        bundle_response_unref(cohort->response);
                        cohort->response = bundle_response_ref(ask->response);
                }
        }
        judge_waiting(cache, slot, &cohort->waiting);
}

static void on_answer(struct letter *letter, void *unused)
{
        struct ask *ask = (struct ask *)letter;
        struct cache *cache = port_cache(ask->port);
        struct event_slot *slot = cache != NULL ? cache_slots_find_event(cache, ask->event) : NULL;

        (void)unused;
        if (slot != NULL && ask->kind == ASK_INDEX)
                on_index(cache, slot, ask);
        else if (slot != NULL)
                on_response(cache, slot, ask);
        ask_free(ask);
}

/* --- the cache ----------------------------------------------------------------------------- */

enum err cache_create(struct loader *loader, struct mailbox *own_mailbox,
                      cache_loaded_fn *on_loaded, void *owner, struct cache **ret_cache)
{
        struct cache *cache = calloc(1, sizeof(*cache));

        if (cache == NULL)
                return ERR_NOMEM;
        cache->port = port_create(own_mailbox, cache, on_answer);
        if (cache->port == NULL) {
                free(cache);
                return ERR_NOMEM;
        }
        cache->loader = loader;
        cache->on_loaded = on_loaded;
        cache->owner = owner;
        TAILQ_INIT(&cache->deadlines);
        *ret_cache = cache;
        return OK;
}

void cache_destroy(struct cache *cache)
{
        struct event_slot *slot, *next;
        struct waiting *waiting;

        if (cache == NULL)
                return;
        port_close(cache->port);
        while ((waiting = TAILQ_FIRST(&cache->deadlines)) != NULL)
                drop_waiting(cache, waiting);
        HASH_ITER(hh, cache->events, slot, next)
        {
                cache_slots_free_event(cache, slot);
        }
        free(cache);
}

enum cache_answer cache_get(struct cache *cache, const struct snapshot *snapshot, const char *event,
                            const char *cohort, void *waiter, uint64_t now_ms,
                            struct bundle_response **ret_response)
{
        const struct event_state *state;
        struct event_slot *slot;
        struct verdict verdict;
        uint64_t epoch;

        cache->now_ms = now_ms;
        if (snapshot == NULL)
                return CACHE_BUSY; /* this node does not know the events yet */
        sweep(cache, snapshot);
        state = snapshot_find(snapshot, event);
        if (state == NULL)
                return CACHE_UNKNOWN;
        if (is_over(state))
                return CACHE_OVER;
        if (state->bundle == 0)
                return CACHE_NOT_YET;
        slot = cache_slots_find_event(cache, event);
        if (slot == NULL)
                slot = cache_slots_add_event(cache, event);
        if (slot == NULL)
                return CACHE_BUSY;
        epoch = snapshot_token(snapshot)->epoch;
        if (slot->epoch != epoch)
                cache_slots_enter_epoch(slot, epoch);
        if (slot->wanted < state->bundle) {
                slot->wanted = state->bundle;
                slot->retry_ms = 0;
        }
        verdict = judge(cache, slot, cohort);
        if (verdict.answer == CACHE_WAITING &&
            !add_waiting(cache, slot, cohort, waiter, verdict.list))
                return CACHE_BUSY;
        if (verdict.answer == CACHE_HIT)
                *ret_response = verdict.response;
        return verdict.answer;
}

void cache_forget(struct cache *cache, void *waiter)
{
        struct waiting *waiting;

        HASH_FIND_PTR(cache->waiters, &waiter, waiting);
        if (waiting != NULL)
                drop_waiting(cache, waiting);
}

void cache_tick(struct cache *cache, uint64_t now_ms)
{
        struct waiting *oldest;

        cache->now_ms = now_ms;
        while ((oldest = TAILQ_FIRST(&cache->deadlines)) != NULL && oldest->deadline_ms <= now_ms) {
                struct verdict verdict = make_do(oldest->event, oldest->cohort);

                tell(cache, oldest, &verdict);
        }
}
