/* gateway/main.c -- kickoffd: puts the parts together, and takes them apart again in reverse. The
 * only file that sees both the gateway and what producers use.
 *
 *   options -> private redis-server (unless --redis) -> node (follower, workers) -> writer -> admin
 * API -> loop
 *
 * SIGINT or SIGTERM: no new devices and no new changes, `goaway` to the devices that are here, end
 * when they are gone and every change is answered, or after --drain. A second signal ends it at
 * once. The same when an operator says so through the admin API of any node (fanout/order.h). Exit
 * status 0 after a signal, 1 if it could not run or go on, 2 for wrong options. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "base/log.h"
#include "fanout/fanout_metrics.h"
#include "fanout/starter.h"
#include "fanout/writer.h"
#include "gateway/embedded_redis.h"
#include "gateway/gateway_metrics.h"
#include "gateway/leaving.h"
#include "gateway/node.h"
#include "gateway/options.h"
#include "prefetch/sweeper.h"
#include "producer/admin.h"

/* Of the drain tick, 20 ms each. */
#define IDLE_TICKS     2 /* the last answer leaves in the turn after it was given */
#define FAREWELL_TICKS 2 /* and the last presence in those after that */

_Static_assert(ORDER_WITHIN_MIN_MS > ADMIN_ANSWER_MS, "whoever asked before gets an answer");

struct kickoffd {
        struct options options;
        struct event_base *base;
        struct embedded_redis *redis;
        struct node *node;
        struct writer *writer;
        struct starter *starter; /* of whoever takes changes, and ... */
        struct sweeper *sweeper; /* ... likewise */
        struct admin *admin;
        struct event *on_int, *on_term, *drain_tick;
        struct leaving *leaving;
        bool was_told;                       /* by a signal: the next one ends it at once */
        unsigned idle_ticks, farewell_ticks; /* in a row; since the last word */
        bool was_ready; /* once ready, a Redis that cannot keep its promise only stops writes */
        int exit_status;
};

static void end(struct kickoffd *k, int status)
{
        if (status != 0)
                k->exit_status = status;
        event_base_loopbreak(k->base);
}

static void on_redis_died(void *owner, const char *why)
{
        struct kickoffd *k = owner;

        log_error("REDIS-DIED", "why=%s", log_quote(why));
        end(k, 1);
}

static void on_durability_refused(void *owner, const char *why)
{
        struct kickoffd *k = owner;
        char mode[DURABILITY_TEXT_MAX + 1];

        if (k->was_ready)
                return; /* why_not_writable refuses changes until it is mended */
        durability_format(&k->options.durability, mode);
        fprintf(stderr, "kickoffd: --durability %s: %s\n", mode, why);
        end(k, 1);
}

static const char *why_not_ready(void *owner)
{
        const struct kickoffd *k = owner;

        return leaving_is_on(k->leaving) ? "draining: this node is leaving"
                                         : node_why_not_ready(k->node);
}

static const char *why_not_writable(void *owner)
{
        const struct kickoffd *k = owner;

        return leaving_is_on(k->leaving)
                   ? "this node is leaving: nothing was done; ask another node"
                   : node_why_not_writable(k->node);
}

static uint32_t refresh_ms(void *owner)
{
        return node_refresh_ms(((const struct kickoffd *)owner)->node);
}

static void on_ready(void *owner)
{
        ((struct kickoffd *)owner)->was_ready = true;
}

static void on_drain_tick(evutil_socket_t fd, short what, void *arg)
{
        struct kickoffd *k = arg;

        (void)fd;
        (void)what;
        if (k->farewell_ticks > 0) {
                if (++k->farewell_ticks > FAREWELL_TICKS)
                        end(k, 0);
                return;
        }
        k->idle_ticks = node_is_empty(k->node) && !admin_is_busy(k->admin) ? k->idle_ticks + 1 : 0;
        if (k->idle_ticks >= IDLE_TICKS || leaving_is_late(k->leaving)) {
                node_say_ended(k->node);
                k->farewell_ticks = 1;
        }
}

static void leave(struct kickoffd *k, const char *why, uint32_t within_ms, uint32_t rate)
{
        const struct timeval often = { .tv_usec = 20 * 1000 };

        if (!leaving_begin(k->leaving, within_ms, rate))
                return;
        log_info("NODE-LEAVES", "why=%s devices=%llu within_ms=%u", why,
                 (unsigned long long)node_devices(k->node), within_ms);
        if (event_add(k->drain_tick, &often) != 0)
                end(k, 0);
}

static void on_order(void *owner, const struct order *order)
{
        struct kickoffd *k = owner;

        if (!leaving_is_on(k->leaving)) /* one is enough: it is read again and again */
                leave(k, "order", order->within_ms, order->rate);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
        struct kickoffd *k = arg;

        (void)what;
        if (k->was_told || !k->leaving) {
                log_warn("NODE-ENDS-NOW", "signal=%d devices=%llu", (int)sig,
                         (unsigned long long)node_devices(k->node));
                end(k, 0);
                return;
        }
        k->was_told = true;
        leave(k, sig == SIGINT ? "SIGINT" : "SIGTERM", k->options.drain_ms, 0);
}

static bool watch_signals(struct kickoffd *k)
{
        k->on_int = evsignal_new(k->base, SIGINT, on_signal, k);
        k->on_term = evsignal_new(k->base, SIGTERM, on_signal, k);
        k->drain_tick = event_new(k->base, -1, EV_PERSIST, on_drain_tick, k);
        return k->on_int && k->on_term && k->drain_tick && evsignal_add(k->on_int, NULL) == 0 &&
               evsignal_add(k->on_term, NULL) == 0;
}

static struct token witness(void *owner)
{
        const struct kickoffd *k = owner;

        return follower_witness(node_follower(k->node));
}

static void on_committed(void *owner, const struct token *token, const struct event *event,
                         bool is_replay)
{
        const struct kickoffd *k = owner;

        follower_vouch(node_follower(k->node), token, event, is_replay);
}

static enum err start_admin(struct kickoffd *k, const char **ret_why)
{
        struct admin_options options = {
                .host = k->options.admin.host,
                .port = k->options.admin.port,
                .token = k->options.admin_token[0] ? k->options.admin_token : NULL,
                .ns = k->options.ns,
                .redis = follower_redis(node_follower(k->node)),
                .writes = primary_redis(node_primary(k->node)),
                .why_not_ready = why_not_ready,
                .why_not_writable = why_not_writable,
                .refresh_ms = refresh_ms,
                .name = k->options.name,
                .courier = node_courier(k->node),
                .on_order = on_order,
                .owner = k,
        };
        const struct writer_options writer = { .primary = node_primary(k->node),
                                               .ns = k->options.ns,
                                               .witness = witness,
                                               .on_committed = on_committed,
                                               .owner = k };
        enum err err;

        if (!k->options.has_admin)
                return OK;
        err = writer_create(k->base, &writer, &k->writer);
        if (err != OK)
                return err;
        err =
            starter_create(k->base,
                           &(struct starter_options){ node_follower(k->node), node_primary(k->node),
                                                      k->writer, k->options.name },
                           &k->starter);
        if (err != OK)
                return err;
        err = sweeper_create(
            k->base,
            &(struct sweeper_options){ .reads = options.redis, .writes = options.writes, .ns = k->options.ns },
            &k->sweeper);
        if (err != OK)
                return err;
        options.writer = k->writer;
        err = admin_create(k->base, &options, &k->admin, ret_why);
        if (err == OK)
                log_info("ADMIN-LISTENS", "listen=%s:%u token=%s", options.host,
                         admin_port(k->admin), options.token ? "needed" : "none");
        return err;
}

static enum err start(struct kickoffd *k, const char **ret_why)
{
        struct redis_address address = k->options.redis;
        enum err err = OK;

        if (k->options.embedded)
                err = embedded_redis_start(k->base, k->options.data,
                                           k->options.durability.mode == DURABILITY_FSYNC,
                                           on_redis_died, k, &address, &k->redis, ret_why);
        if (err == OK)
                err = node_create(
                    k->base, &k->options, &address,
                    &(struct node_callbacks){ on_ready, on_durability_refused, on_order, k },
                    &k->node, ret_why);
        if (err == OK)
                err = leaving_create(k->base, k->node, primary_redis(node_primary(k->node)),
                                     k->options.ns, k->options.name, &k->leaving);
        if (err == OK)
                err = start_admin(k, ret_why);
        return err;
}

static void stop(struct kickoffd *k)
{
        leaving_stop(k->leaving);
        admin_destroy(k->admin);
        if (k->writer)
                writer_destroy(k->writer);
        starter_destroy(k->starter);
        sweeper_destroy(k->sweeper);
        node_destroy(k->node);
        leaving_destroy(k->leaving);
        embedded_redis_stop(k->redis);
        if (k->on_int)
                event_free(k->on_int);
        if (k->on_term)
                event_free(k->on_term);
        if (k->drain_tick)
                event_free(k->drain_tick);
        if (k->base)
                event_base_free(k->base);
        options_fini(&k->options);
        libevent_global_shutdown();
}

int main(int argc, char **argv)
{
        struct kickoffd k = { 0 };
        const char *why = "out of memory";

        switch (options_parse(argc, argv, &k.options)) {
        case OPTION_RUN:
                break;
        case OPTION_DONE:
                return 0;
        case OPTION_WRONG:
                return 2;
        }
        signal(SIGPIPE, SIG_IGN);
        fanout_metrics_register();
        gateway_metrics_register();
        if (evthread_use_pthreads() != 0 || (k.base = event_base_new()) == NULL ||
            !watch_signals(&k) || start(&k, &why) != OK) {
                fprintf(stderr, "kickoffd: %s\n", why);
                k.exit_status = 1;
        } else {
                event_base_dispatch(k.base);
        }
        stop(&k);
        log_info("NODE-ENDED", "status=%d", k.exit_status);
        return k.exit_status;
}
