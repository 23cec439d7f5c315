/* gateway/node.c -- see the header. Happy path: create -> links up -> settings verified, log
 * installed -> ready. Redis away, or not the live primary it should be: devices stay and are served
 * from memory; readiness says so, and changes are refused. */
#include "gateway/node.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "fanout/event.h"
#include "fanout/fanout_metrics.h"
#include "fanout/releaser.h"
#include "fanout/reporter.h"
#include "fanout/ring.h"
#include "gateway/devices.h"
#include "gateway/gateway_metrics.h"
#include "gateway/herald.h"
#include "gateway/listener.h"
#include "gateway/worker.h"
#include "prefetch/census.h"
#include "prefetch/loader.h"

#define TICK_MS 100 /* how soon readiness is noticed */
/* Descriptors that are not for devices: Redis, admin, files, guests. */
#define FDS_RESERVED LISTENER_FDS_FOR_GUESTS

struct node {
        const struct options *options;
        struct primary *primary;
        struct releaser *releaser; /* NULL: nothing is held back in this mode */
        struct follower *follower;
        struct loader *loader;
        struct mailbox *mailbox; /* from the workers: what they counted */
        struct reporter *reporter;
        struct devices *devices; /* by id, here and at other nodes */
        struct census *census;
        _Atomic uint64_t expected; /* devices of the fleet for each worker here; 0 = not known */
        struct herald *herald;     /* says what this node is */
        struct worker **workers;
        unsigned n_workers;
        struct event *tick;
        struct node_callbacks callbacks;
        bool was_ready;
};

static struct metric m_ready =
    METRIC_GAUGE("kickoff_ready", "1 when this node is ready for devices.");
static struct metric *const metrics[] = { &m_ready };

static void on_refused(void *owner, const char *why)
{
        struct node *node = owner;

        node->callbacks.on_refused(node->callbacks.owner, why);
}

static void on_install(void *owner, struct snapshot *snapshot, struct entry *const *entries,
                       size_t n)
{
        struct node *node = owner;

        reporter_epoch(node->reporter, snapshot_token(snapshot)->epoch);
        for (unsigned i = 0; i < node->n_workers; i++)
                worker_install(node->workers[i], snapshot, entries, n);
}

static void on_entries(void *owner, struct entry *const *entries, size_t n,
                       struct snapshot *snapshot)
{
        struct node *node = owner;

        for (unsigned i = 0; i < node->n_workers; i++)
                worker_entries(node->workers[i], entries, n, snapshot);
}

static void on_confirmed(void *owner)
{
        struct node *node = owner;

        for (unsigned i = 0; i < node->n_workers; i++)
                worker_confirmed(node->workers[i]);
}

static void on_counted(void *owner, const struct window_fleet *fleet)
{
        struct node *node = owner;

        atomic_store_explicit(&node->expected, window_share(fleet) / node->options->workers,
                              memory_order_relaxed);
}

static void on_tally(void *owner, const struct report_part *parts, size_t n)
{
        struct node *node = owner;

        for (size_t i = 0; i < n; i++)
                reporter_add(node->reporter, &parts[i]);
}

static void on_roll(void *owner, struct worker_roll *roll)
{
        devices_roll(((struct node *)owner)->devices, roll);
}

static void on_audiences(void *owner, unsigned index, const struct presence_audience *rows,
                         size_t n, uint64_t others)
{
        struct node *node = owner;

        herald_audiences(node->herald, index, rows, n, others);
}

/* Of the worker that sheds most, and has most of each gauge. */
static void tell_overload(const struct node *node)
{
        enum ladder_step step = LADDER_CALM;

        for (unsigned i = 0; i < node->n_workers; i++)
                if (worker_overload(node->workers[i]) > step)
                        step = worker_overload(node->workers[i]);
        metric_set(&m_overload_step, step);
        for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES; gauge++) {
                uint32_t most = 0;

                for (unsigned i = 0; i < node->n_workers; i++)
                        if (worker_gauge(node->workers[i], gauge) > most)
                                most = worker_gauge(node->workers[i], gauge);
                metric_set(&m_gauges[gauge], most);
        }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        struct node *node = arg;
        bool ready = node_is_ready(node);

        (void)fd;
        (void)what;
        metric_set(&m_ready, ready);
        tell_overload(node);
        metric_set(&fanout_metric_writable, node_why_not_writable(node) == NULL);
        if (ready != node->was_ready) {
                if (ready) {
                        node->callbacks.on_ready(node->callbacks.owner);
                        log_info("NODE-READY", "node=%s listen=%s:%u workers=%u",
                                 node->options->name, node->options->listen.host, node_port(node),
                                 node->n_workers);
                } else {
                        log_warn("NODE-NOT-READY", "node=%s why=%s", node->options->name,
                                 log_quote(node_why_not_ready(node)));
                }
        }
        node->was_ready = ready;
        herald_tick(node->herald);
}

static uint64_t device_limit(const struct options *options)
{
        struct rlimit limit;
        uint64_t fits = 1000000;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                if (limit.rlim_cur < limit.rlim_max) {
                        limit.rlim_cur = limit.rlim_max;
                        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
                                log_warn("FD-LIMIT", "why=%s", log_quote(strerror(errno)));
                        getrlimit(RLIMIT_NOFILE, &limit);
                }
                if (limit.rlim_cur <= FDS_RESERVED)
                        fits = 1;
                else if (limit.rlim_cur - FDS_RESERVED < fits)
                        fits = limit.rlim_cur - FDS_RESERVED;
        }
        if (options->max_devices > fits)
                log_warn("FD-LIMIT", "max_devices=%llu descriptors_allow=%llu",
                         (unsigned long long)options->max_devices, (unsigned long long)fits);
        return options->max_devices && options->max_devices < fits ? options->max_devices : fits;
}

/* Workers share the port among themselves by SO_REUSEPORT, which would let a second node of the
 * same user take half of our devices without a word. So the port is tried once without it. */
static bool port_is_taken(const struct endpoint *listen)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                  .ai_flags = AI_NUMERICHOST | AI_PASSIVE };
        struct addrinfo *address;
        char port[8];
        int fd, on = 1;
        bool taken = false;

        snprintf(port, sizeof(port), "%u", listen->port);
        if (listen->port == 0 || getaddrinfo(listen->host, port, &hints, &address) != 0)
                return false;
        fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
                setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
                taken = bind(fd, address->ai_addr, address->ai_addrlen) != 0 && errno == EADDRINUSE;
                close(fd);
        }
        freeaddrinfo(address);
        return taken;
}

/* Each worker tells of so many at a time that all together keep the node's pace. */
static unsigned roll_share(unsigned workers)
{
        unsigned each = ROLL_PER_SECOND * ROLL_EVERY_MS / 1000 / workers;

        return each > 0 ? each : 1;
}

static enum err start_workers(struct node *node, const char **ret_why)
{
        const struct options *options = node->options;
        const uint64_t room = device_limit(options);
        struct worker_options w = {
                .host = options->listen.host,
                .port = options->listen.port,
                .ping_ms = options->ping_ms,
                .lifetime_ms = options->lifetime_ms,
                .dead_after_ms = options->dead_after_ms,
                .guard_ms = options->guard_ms,
                .ack_spread_ms = options->ack_spread_ms,
                .prefetch_rate = (options->prefetch_rate + options->workers - 1) / options->workers,
                .expected = &node->expected,
                .ring_capacity = RING_CAPACITY_DEFAULT,
                .ring_capacity_max = RING_CAPACITY_MAX,
                .rules = { .origins = options->origins, .n_origins = options->n_origins },
                .admission = admission_share(&options->admission, options->workers),
                .proxies = &options->proxies,
                .io = options->io,
                .loader = node->loader,
                .control = node->mailbox,
                .on_tally = on_tally,
                .on_audiences = on_audiences,
                .one_per_device = true,
                .on_roll = on_roll,
                .roll_max = roll_share(options->workers),
        };

        if (port_is_taken(&options->listen)) {
                *ret_why =
                    "--listen: the address is in use by another program; give another HOST:PORT";
                return ERR_IO;
        }
        strcpy(w.node, options->name);
        w.max_devices = room / options->workers;
        if (w.max_devices == 0)
                w.max_devices = 1;
        node->workers = calloc(options->workers, sizeof(*node->workers));
        if (!node->workers) {
                *ret_why = "out of memory";
                return ERR_NOMEM;
        }
        for (w.index = 0; w.index < options->workers; w.index++) {
                enum err err = worker_create(&w, &node->workers[w.index], ret_why);

                if (err != OK)
                        return err;
                node->n_workers++;
                /* With port 0 the first worker finds a free one, the others join it there. */
                w.port = worker_port(node->workers[0]);
        }
        herald_workers(node->herald, node->workers, node->n_workers, room);
        return OK;
}

enum err node_create(struct event_base *base, const struct options *options,
                     const struct redis_address *redis, const struct node_callbacks *callbacks,
                     struct node **ret_node, const char **ret_why)
{
        const struct timeval often = { .tv_usec = TICK_MS * 1000 };
        const char *drop = getenv("KICKOFF_TEST_DROP_MESSAGES");
        struct node *node = calloc(1, sizeof(*node));
        struct follower_options f = { .address = *redis,
                                      .ns = options->ns,
                                      .keep = RING_CAPACITY_DEFAULT,
                                      .keep_max = RING_CAPACITY_MAX,
                                      .may_hold_back = options->durability.replicas > 0 };
        const struct follower_callbacks from_log = { .on_install = on_install,
                                                     .on_entries = on_entries,
                                                     .on_confirmed = on_confirmed,
                                                     .owner = node };
        const struct primary_options p = { .address = *redis,
                                           .ns = options->ns,
                                           .durability = options->durability };
        const struct primary_callbacks from_primary = { .on_refused = on_refused, .owner = node };
        enum err err = ERR_NOMEM;

        *ret_why = "out of memory";
        if (!node)
                return ERR_NOMEM;
        node->options = options;
        node->callbacks = *callbacks;
        metrics_register(metrics, countof(metrics));
        if (drop)
                f.drop_every = (unsigned)atoi(drop);
        err = primary_create(base, &p, &from_primary, &node->primary);
        if (err == OK && options->durability.replicas > 0)
                err = releaser_create(base, node->primary, options->ns, options->name,
                                      &node->releaser);
        if (err == OK)
                err = follower_create(base, &f, &from_log, &node->follower);
        if (err == OK)
                err = herald_create(&(struct herald_options){ .options = options,
                                                              .primary = node->primary,
                                                              .follower = node->follower,
                                                              .on_order = callbacks->on_order,
                                                              .owner = callbacks->owner },
                                    &node->herald);
        if (err != OK)
                goto fail;
        err = loader_create(base, follower_redis(node->follower), options->ns, &node->loader);
        if (err != OK)
                goto fail;
        err = mailbox_create(base, node, &node->mailbox);
        if (err == OK)
                err = reporter_create(base, primary_redis(node->primary), options->ns,
                                      options->name, herald_started(node->herald), &node->reporter);
        if (err != OK)
                goto fail;
        err = census_create(base, primary_redis(node->primary), options->ns, on_counted, node,
                            &node->census);
        if (err != OK)
                goto fail;
        err = devices_create(&(struct devices_options){ .base = base,
                                                        .address = *redis,
                                                        .ns = options->ns,
                                                        .node = options->name,
                                                        .uses_registry = options->uses_registry,
                                                        .lifetime_ms = options->lifetime_ms,
                                                        .mailbox = node->mailbox },
                             &node->devices);
        if (err != OK)
                goto fail;
        err = start_workers(node, ret_why);
        if (err != OK)
                goto fail;
        devices_workers(node->devices, node->workers, node->n_workers);
        node->tick = event_new(base, -1, EV_PERSIST, on_tick, node);
        if (!node->tick || event_add(node->tick, &often) != 0) {
                err = ERR_NOMEM;
                goto fail;
        }
        *ret_node = node;
        return OK;

fail:
        node_destroy(node);
        return err;
}

void node_destroy(struct node *node)
{
        if (!node)
                return;
        if (node->herald)
                herald_stop(node->herald); /* answers still due find nothing below */
        if (node->tick)
                event_free(node->tick);
        if (node->devices)
                devices_workers(node->devices, NULL, 0);
        for (unsigned i = 0; i < node->n_workers; i++)
                worker_destroy(node->workers[i]);
        free(node->workers);
        mailbox_destroy(node->mailbox); /* what still waits in it goes to reporter and devices */
        devices_destroy(node->devices);
        reporter_destroy(node->reporter);
        census_destroy(node->census);
        if (node->loader)
                loader_destroy(node->loader);
        if (node->follower)
                follower_destroy(node->follower);
        releaser_destroy(node->releaser);
        primary_destroy(node->primary);
        herald_destroy(node->herald);
        free(node);
}

struct primary *node_primary(struct node *node)
{
        return node->primary;
}

struct courier *node_courier(struct node *node)
{
        return devices_courier(node->devices);
}

struct follower *node_follower(struct node *node)
{
        return node->follower;
}

uint16_t node_port(const struct node *node)
{
        return worker_port(node->workers[0]);
}

uint64_t node_devices(const struct node *node)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < node->n_workers; i++)
                sum += worker_devices(node->workers[i]);
        return sum;
}

uint32_t node_refresh_ms(const struct node *node)
{
        struct window_fleet fleet = census_fleet(node->census);

        return window_refresh_ms(node_devices(node), &fleet, node->options->prefetch_rate,
                                 EVENT_WINDOW_DEFAULT_MS);
}

const char *node_why_not_writable(const struct node *node)
{
        static char text[256]; /* one control thread asks */
        const char *why = primary_why_not_writable(node->primary);

        if (why)
                return why;
        why = follower_why_not_ready(node->follower);
        if (!why[0])
                return NULL;
        snprintf(text, sizeof(text), "this node does not follow the log at present: %s", why);
        return text;
}

/* Every worker refuses all who come. Before that balancers should send here: of those who come,
 * some are let in, and the others are told when to come back. */
static bool is_overloaded(const struct node *node)
{
        for (unsigned i = 0; i < node->n_workers; i++)
                if (worker_overload(node->workers[i]) < LADDER_NO_RESUMES)
                        return false;
        return node->n_workers > 0;
}

const char *node_why_not_ready(const struct node *node)
{
        const char *why = follower_why_not_ready(node->follower);

        if (why[0])
                return why;
        why = primary_why_not_sound(node->primary);
        if (why)
                return why;
        return is_overloaded(node) ? "overloaded: nobody new is let in" : "";
}

bool node_is_ready(const struct node *node)
{
        return node_why_not_ready(node)[0] == '\0';
}

void node_drain(struct node *node, uint32_t within_ms, uint32_t over_ms)
{
        for (unsigned i = 0; i < node->n_workers; i++)
                worker_drain(node->workers[i], within_ms, over_ms);
}

void node_set_leaving(struct node *node, int64_t until)
{
        herald_leave(node->herald, until);
}

void node_say_ended(struct node *node)
{
        herald_end(node->herald);
}

bool node_is_empty(const struct node *node)
{
        for (unsigned i = 0; i < node->n_workers; i++)
                if (!worker_is_empty(node->workers[i]))
                        return false;
        return reporter_is_idle(node->reporter);
}
