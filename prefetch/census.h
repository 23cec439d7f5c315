/* prefetch/census.h -- how many devices and nodes the fleet has, as far as this node knows: read
 * from the nodes' presence now and then. What is older than CENSUS_STALE_MS counts as not known.
 * Control thread only. */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "prefetch/window.h"

/* Each look reads the records of all nodes: of 500 nodes, some hundred kilobytes. */
#define CENSUS_EVERY_MS 10000
#define CENSUS_SOON_MS  1000 /* after one that failed, and the first */
#define CENSUS_STALE_MS 35000

struct event_base;
struct census;

/* After each look that came to something; may be NULL. */
typedef void census_fn(void *owner, const struct window_fleet *fleet);

/* `redis` is borrowed and outlives the census. */
must_check enum err census_create(struct event_base *base, struct redis *redis, const char *ns,
                                  census_fn *on_counted, void *owner, struct census **ret_census);
void census_destroy(
    struct census *census); /* NULL is fine; a look under way comes back to nobody */
/* nodes == 0: not known. */
struct window_fleet census_fleet(const struct census *census);
