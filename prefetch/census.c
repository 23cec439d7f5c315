/* prefetch/census.c -- decides when to look, and how long a look is believed. Failure: Redis away,
 * so the last count stands until it is stale. */
#include "prefetch/census.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "fanout/presence.h"

struct look { /* under way; outlives the census if Redis is slow */
        struct census *census;
};

struct census {
        struct redis *redis;
        char ns[NAMESPACE_MAX + 1];
        census_fn *on_counted;
        void *owner;
        struct event *timer;
        struct look *look; /* NULL: none is under way */
        struct window_fleet fleet;
        uint64_t counted_ms; /* monotonic; when `fleet` was true */
};

static void look_in(struct census *census, unsigned ms)
{
        const struct timeval in = { ms / 1000, (long)(ms % 1000) * 1000 };

        (void)evtimer_add(census->timer,
                          &in); /* no memory: no more looks, and the count gets stale */
}

static void on_nodes(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct look *look = owner;
        struct census *census = look->census;
        struct window_fleet fleet = { 0 };

        free(look);
        if (census == NULL)
                return;
        census->look = NULL;
        if (err != OK) {
                look_in(census, CENSUS_SOON_MS);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (nodes[i].gone || nodes[i].ended)
                        continue;
                fleet.devices += nodes[i].devices;
                if (nodes[i].leaves == 0) /* whose devices the others will have to serve */
                        fleet.nodes++;
        }
        census->fleet = fleet;
        census->counted_ms = clock_mono_ms();
        if (census->on_counted != NULL)
                census->on_counted(census->owner, &fleet);
        look_in(census, CENSUS_EVERY_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct census *census = arg;
        struct look *look = malloc(sizeof(*look));

        (void)fd;
        (void)what;
        if (look != NULL) {
                look->census = census;
                if (presence_read(census->redis, census->ns, clock_wall_ms(), on_nodes, look) ==
                    OK) {
                        census->look = look;
                        return;
                }
        }
        free(look);
        look_in(census, CENSUS_SOON_MS);
}

enum err census_create(struct event_base *base, struct redis *redis, const char *ns,
                       census_fn *on_counted, void *owner, struct census **ret_census)
{
        struct census *census = calloc(1, sizeof(*census));

        if (census == NULL)
                return ERR_NOMEM;
        census->timer = evtimer_new(base, on_timer, census);
        if (census->timer == NULL) {
                free(census);
                return ERR_NOMEM;
        }
        check(strlen(ns) <= NAMESPACE_MAX);
        strcpy(census->ns, ns);
        census->redis = redis;
        census->on_counted = on_counted;
        census->owner = owner;
        look_in(census, CENSUS_SOON_MS);
        *ret_census = census;
        return OK;
}

void census_destroy(struct census *census)
{
        if (census == NULL)
                return;
        if (census->look != NULL)
                census->look->census = NULL;
        event_free(census->timer);
        free(census);
}

struct window_fleet census_fleet(const struct census *census)
{
        if (census->fleet.nodes == 0 || clock_mono_ms() - census->counted_ms > CENSUS_STALE_MS)
                return (struct window_fleet){ 0, 0 };
        return census->fleet;
}
