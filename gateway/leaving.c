/* gateway/leaving.c -- see the header. */
#include "gateway/leaving.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/order.h"
#include "fanout/presence.h"
#include "gateway/node.h"

struct leaving {
        struct node *node; /* NULL: gone */
        struct redis *redis;
        const char *ns, *name;
        struct event *patience; /* runs while it is asked who else there is */
        uint64_t until_ms;      /* monotonic; 0 = not leaving */
        bool is_asking;
        uint32_t rate; /* devices a second */
};

static uint32_t left_ms(const struct leaving *leaving)
{
        uint64_t now_ms = clock_mono_ms();

        return leaving->until_ms > now_ms ? (uint32_t)(leaving->until_ms - now_ms) : 0;
}

static void go(struct leaving *leaving)
{
        uint64_t devices = node_devices(leaving->node);
        uint32_t within_ms = left_ms(leaving), over_ms = order_over_ms(devices, leaving->rate);

        log_info("DRAIN-PACED", "devices=%llu rate=%u over_ms=%u within_ms=%u",
                 (unsigned long long)devices, leaving->rate, over_ms, within_ms);
        node_drain(leaving->node, within_ms, over_ms);
}

static void know_others(struct leaving *leaving, unsigned others)
{
        if (!leaving->is_asking || leaving->node == NULL)
                return; /* too late */
        leaving->is_asking = false;
        evtimer_del(leaving->patience);
        leaving->rate = order_rate(node_devices(leaving->node), others, left_ms(leaving));
        go(leaving);
}

static void on_nodes(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct leaving *leaving = owner;

        know_others(leaving, err == OK ? presence_others(nodes, n, leaving->name) : 1);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what;
        know_others(arg, 1);
}

static void ask(struct leaving *leaving)
{
        const struct timeval in = { .tv_usec = LEAVING_ASK_MS * 1000 };

        leaving->is_asking = true;
        if (evtimer_add(leaving->patience, &in) != 0 ||
            presence_read(leaving->redis, leaving->ns, clock_wall_ms(), on_nodes, leaving) != OK)
                know_others(leaving, 1);
}

bool leaving_begin(struct leaving *leaving, uint32_t within_ms, uint32_t rate)
{
        if (leaving->until_ms != 0 && left_ms(leaving) <= within_ms)
                return false;
        leaving->until_ms = clock_mono_ms() + within_ms;
        node_set_leaving(leaving->node, clock_wall_ms() + within_ms);
        if (rate != 0) {
                leaving->is_asking = false;
                leaving->rate = rate;
                go(leaving);
        } else if (!leaving->is_asking) {
                ask(leaving);
        }
        return true;
}

bool leaving_is_on(const struct leaving *leaving)
{
        return leaving != NULL && leaving->until_ms != 0;
}

bool leaving_is_late(const struct leaving *leaving)
{
        return leaving_is_on(leaving) && left_ms(leaving) == 0;
}

enum err leaving_create(struct event_base *base, struct node *node, struct redis *redis,
                        const char *ns, const char *name, struct leaving **ret_leaving)
{
        struct leaving *leaving = calloc(1, sizeof(*leaving));

        if (leaving == NULL)
                return ERR_NOMEM;
        *leaving = (struct leaving){ .node = node, .redis = redis, .ns = ns, .name = name };
        leaving->patience = evtimer_new(base, on_patience, leaving);
        if (leaving->patience == NULL) {
                free(leaving);
                return ERR_NOMEM;
        }
        *ret_leaving = leaving;
        return OK;
}

void leaving_stop(struct leaving *leaving)
{
        if (leaving == NULL)
                return;
        leaving->node = NULL;
        evtimer_del(leaving->patience);
}

void leaving_destroy(struct leaving *leaving)
{
        if (leaving == NULL)
                return;
        event_free(leaving->patience);
        free(leaving);
}
