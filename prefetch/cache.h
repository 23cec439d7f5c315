/* prefetch/cache.h -- a worker's half of the node's bundle cache: what this worker has already seen of each
 * event's bundles, answered without lock or allocation; a miss is asked of the loader once, however many
 * requests wait for it. Worker thread only.
 *
 * Bodies are shared between workers by reference. A new bundle version makes an event's index stale; rows
 * whose hash did not change keep their response. If Redis is away, the stale version is served. Memory:
 * every cohort that was asked for, of events that are neither ended nor cancelled; unknown cohorts take
 * none, since they fall back to `default` within the index. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "fanout/snapshot.h"
#include "prefetch/bundle.h"
#include "prefetch/loader.h"
#include "prefetch/response.h"

#define CACHE_WAIT_MS     2000 /* a waiting request is answered 503 after this */
#define CACHE_WAITERS_MAX 20000

struct cache;

enum cache_answer {
        CACHE_HIT,     /* *ret_response, borrowed until the loop turns */
        CACHE_WAITING, /* on_loaded will be called for `waiter` */
        CACHE_UNKNOWN, /* no such event: 404 */
        CACHE_NOT_YET, /* the event has no bundle yet: 404 with a lifetime */
        CACHE_OVER,    /* ended or cancelled: 410 */
        CACHE_NO_COHORT, /* neither this cohort nor `default`: 404 */
        CACHE_BUSY     /* cannot be loaded now: 503 with Retry-After */
};

/* What was waited for has come or will not come: any answer but CACHE_WAITING; response only with
 * CACHE_HIT, borrowed. On the worker's thread, never from inside cache_get. */
typedef void cache_loaded_fn(void *owner, void *waiter, enum cache_answer answer,
                             struct bundle_response *response);

must_check enum err cache_create(struct loader *loader, struct mailbox *own_mailbox,
                                 cache_loaded_fn *on_loaded, void *owner, struct cache **ret_cache);
void cache_destroy(struct cache *cache); /* waiters are forgotten; after the loader answers no more */

/* `snapshot` is the worker's current one. */
enum cache_answer cache_get(struct cache *cache, const struct snapshot *snapshot, const char *event,
                            const char *cohort, void *waiter, uint64_t now_ms,
                            struct bundle_response **ret_response);
void cache_forget(struct cache *cache, void *waiter); /* the waiter is going away */
void cache_tick(struct cache *cache, uint64_t now_ms); /* about 4 times a second: deadlines */
