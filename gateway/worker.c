/* gateway/worker.c -- the thread: its loop, its letters, its timers. Decides the order of things:
 * letters of the control thread (install, entries, confirmed, drain, stop) change the ring, then
 * the broadcast walks; sockets are served in between; at the end of each turn the dead are reaped.
 *
 * Ring and snapshot change together, within one letter, and nothing else runs meanwhile: a reset
 * sent at any time is the state at the ring's head, exactly. */
#include "gateway/worker.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/gateway_metrics.h"
#include "gateway/guest.h"
#include "gateway/output.h"
#include "gateway/session_input.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

#define DRAIN_SLICE 256
#define ACCEPT_BUSY_BATCH \
        16            /* per turn while a broadcast walks: signals go first (contract line 12) */
#define CACHE_TICKS 4 /* cache_tick every so many wheel ticks: 256 ms */

/* --- sockets --------------------------------------------------------------------------------- */

static void turn(void *owner)
{
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
}

static void on_ready(void *owner, void *ptr, uint32_t what)
{
        struct worker *worker = owner;
        struct conn *conn = ptr;

        switch ((enum conn_phase)conn->phase) {
        case CONN_SESSION:
                if (what & EPOLLOUT)
                        session_io_writable(worker, conn);
                if (conn->phase == CONN_SESSION && (what & ~(uint32_t)EPOLLOUT) != 0)
                        session_input_readable(worker, conn); /* it finds out what the matter is */
                break;
        case CONN_HEAD:
                guest_readable(worker, conn);
                break;
        case CONN_LOADING: /* of what is watched now, nothing is good news */
                conn_close(worker, conn);
                break;
        case CONN_REPLYING:
                if (what & (EPOLLHUP | EPOLLERR))
                        conn_close(worker, conn);
                else
                        guest_writable(worker, conn);
                break;
        case CONN_FINISHING:
                if (what & (EPOLLHUP | EPOLLERR))
                        conn_close(worker, conn);
                else if (output_flush(worker, conn) == OUTPUT_SENT)
                        conn_drained(worker, conn);
                break;
        case CONN_LINGERING:
                conn_discard(worker, conn);
                break;
        case CONN_DEAD: /* closed earlier in this very batch */
        case CONN_PHASES:
                break;
        }
}

static void on_accepted(void *owner, const int *fds, unsigned n)
{
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        metric_add(&m_accepted, n);
        for (unsigned i = 0; i < n; i++) {
                struct conn *conn = conn_create(worker, fds[i]);

                if (conn == NULL) {
                        metric_add(&m_no_memory, 1);
                        close(fds[i]);
                        continue;
                }
                guest_arrive(worker, conn);
        }
}

static unsigned accept_batch(void *owner)
{
        const struct worker *worker = owner;

        return worker->broadcast.is_walking ? ACCEPT_BUSY_BATCH : LISTENER_BATCH;
}

/* --- time ------------------------------------------------------------------------------------ */

static void on_due(void *owner, struct wheel_timer *timer)
{
        struct worker *worker = owner;
        struct conn *conn = (struct conn *)((char *)timer - offsetof(struct conn, timer));

        switch ((enum conn_phase)conn->phase) {
        case CONN_SESSION:
                session_io_timer(worker, conn);
                break;
        case CONN_HEAD:
        case CONN_LOADING:
        case CONN_REPLYING:
                guest_timer(worker, conn);
                break;
        case CONN_FINISHING:
        case CONN_LINGERING:
                conn_close(worker, conn);
                break;
        case CONN_DEAD:
        case CONN_PHASES:
                check(false); /* a dead connection has no timer */
        }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        struct worker *worker = arg;

        (void)fd;
        (void)what;
        worker->now_ms = clock_mono_ms();
        wheel_advance(&worker->wheel, worker->now_ms, on_due, worker);
        if (worker->cache != NULL && ++worker->ticks % CACHE_TICKS == 0)
                cache_tick(worker->cache, worker->now_ms);
}

static void on_loaded(void *owner, void *waiter, enum cache_answer answer,
                      struct bundle_response *response)
{
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        guest_loaded(worker, waiter, answer, response);
}

/* --- the end of a turn ----------------------------------------------------------------------- */

/* Only while some timer runs: a node without devices sleeps. */
static void keep_ticking(struct worker *worker)
{
        static const struct timeval each = { .tv_usec = WHEEL_TICK_MS * 1000 };
        bool wanted = worker->wheel.count > 0;

        if (wanted == worker->is_ticking)
                return;
        worker->is_ticking = wanted;
        if (wanted)
                check(event_add(worker->on_tick, &each) == 0);
        else
                event_del(worker->on_tick);
}

static void end_turn(struct worker *worker)
{
        uint32_t busy = 0;

        conn_reap(worker);
        keep_ticking(worker);
        for (unsigned phase = CONN_LOADING; phase < CONN_DEAD; phase++)
                busy += worker->in_phase[phase];
        metric_set(&m_guests, worker->in_phase[CONN_HEAD] + (int64_t)busy - worker->n_conns);
        if (worker->is_draining &&
            busy == 0) /* whoever only holds a keep-alive open has nothing to lose */
                atomic_store_explicit(&worker->is_empty, true, memory_order_release);
}

static void *run(void *arg)
{
        struct worker *worker = arg;

        while (!worker->is_stopping) {
                check(event_base_loop(worker->base, EVLOOP_ONCE) == 0);
                end_turn(worker);
        }
        return NULL;
}

/* --- letters --------------------------------------------------------------------------------- */

struct news { /* install, entries, confirmed */
        struct letter letter;
        uint64_t posted_ms; /* monotonic */
        struct snapshot *snapshot;
        size_t n;
        struct entry *entries[];
};

static void post_news(struct worker *worker, letter_run_fn *letter_run, struct snapshot *snapshot,
                      struct entry *const *entries, size_t n)
{
        struct news *news = malloc(sizeof(*news) + n * sizeof(news->entries[0]));

        /* Without these hundred bytes the worker's log would have a hole: no going on. */
        check(news != NULL);
        news->letter.run = letter_run;
        news->posted_ms = clock_mono_ms();
        news->snapshot = snapshot != NULL ? snapshot_ref(snapshot) : NULL;
        news->n = n;
        for (size_t i = 0; i < n; i++)
                news->entries[i] = entry_ref(entries[i]);
        mailbox_post(worker->mailbox, &news->letter);
}

/* The news' reference to the snapshot becomes the worker's; ring and snapshot agree again. */
static void settle(struct worker *worker, struct news *news)
{
        snapshot_unref(worker->snapshot);
        worker->snapshot = news->snapshot;
        check(token_equal(snapshot_token(worker->snapshot), ring_head(worker->ring)));
        for (size_t i = 0; i < news->n; i++)
                entry_unref(news->entries[i]);
        free(news);
        broadcast_kick(worker);
}

static void run_install(struct letter *letter, void *owner)
{
        struct news *news = (struct news *)letter;
        struct worker *worker = owner;
        struct ring *before = worker->ring, *after = worker->spare;
        struct token base = *snapshot_token(news->snapshot);

        worker->now_ms = clock_mono_ms();
        if (news->n > 0) {
                base.seq = news->entries[0]->signal.token.seq - 1;
                base.tag = news->entries[0]->prev_tag;
        }
        ring_install(after, &base);
        for (size_t i = 0; i < news->n; i++)
                ring_push(after, news->entries[i]);
        for (uint32_t i = 0; i < worker->n_conns; i++)
                session_rejudge(&worker->conns[i]->session, before, after);
        worker->ring = after;
        worker->spare = before;
        if (ring_head(before)->epoch != 0)
                ring_install(before, ring_head(before));               /* gives its entries back */
        memset(worker->confirmed_ms, 0, sizeof(worker->confirmed_ms)); /* said of another head */
        settle(worker, news);
}

static void run_entries(struct letter *letter, void *owner)
{
        struct news *news = (struct news *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        for (size_t i = 0; i < news->n; i++)
                ring_push(worker->ring, news->entries[i]);
        settle(worker, news);
}

static void run_confirmed(struct letter *letter, void *owner)
{
        struct news *news = (struct news *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        worker->confirmed_ms[1] = worker->confirmed_ms[0];
        worker->confirmed_ms[0] = news->posted_ms;
        free(news);
        if (worker->n_waiting > 0) { /* whoever still waits after the walk counts itself again */
                worker->n_waiting = 0;
                broadcast_kick(worker);
        }
}

/* --- drain ----------------------------------------------------------------------------------- */

struct order { /* drain, stop */
        struct letter letter;
        uint32_t within_ms;
};

static void drain_slice(evutil_socket_t fd, short what, void *arg)
{
        static const struct timeval at_once = { 0, 0 };
        struct worker *worker = arg;
        struct goaway goaway = { .reason = GOAWAY_DRAIN };

        (void)fd;
        (void)what;
        worker->now_ms = clock_mono_ms();
        if (worker->drained_by_ms > worker->now_ms)
                goaway.max_ms = (uint32_t)(worker->drained_by_ms - worker->now_ms);
        /* Downwards: who moves into a place that is told already comes from further up, told as
         * well. */
        for (unsigned i = 0; i < DRAIN_SLICE && worker->drain_left > 0; i++) {
                worker->drain_left--;
                if (worker->drain_left < worker->n_conns)
                        session_io_leave(worker, worker->conns[worker->drain_left], &goaway,
                                         (uint32_t)rng_below(&worker->rng, goaway.max_ms + 1ULL));
        }
        if (worker->drain_left > 0)
                check(event_add(worker->on_drain, &at_once) == 0);
}

static void run_drain(struct letter *letter, void *owner)
{
        struct order *order = (struct order *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        if (!worker->is_draining) {
                worker->is_draining = true;
                listener_destroy(worker->listener);
                worker->listener = NULL;
                worker->drained_by_ms = worker->now_ms + order->within_ms;
                worker->drain_left = worker->n_conns;
                drain_slice(-1, 0, worker);
        }
        free(order);
}

static void close_at_once(void *owner, struct wheel_timer *timer)
{
        conn_close(owner, (struct conn *)((char *)timer - offsetof(struct conn, timer)));
}

static void run_stop(struct letter *letter, void *owner)
{
        struct worker *worker = owner;

        listener_destroy(worker->listener);
        worker->listener = NULL;
        /* Every living connection has a timer running, and the wheel knows them all. */
        wheel_advance(&worker->wheel, worker->now_ms + SESSION_SPAN_MAX_MS * 2ULL, close_at_once,
                      worker);
        check(worker->wheel.count == 0 && worker->n_conns == 0);
        conn_reap(worker);
        metric_set(&m_guests, 0);
        worker->is_stopping = true;
        free(letter);
}

static void post_order(struct worker *worker, letter_run_fn *order_run, uint32_t within_ms)
{
        struct order *order = malloc(sizeof(*order));

        check(order != NULL);
        order->letter.run = order_run;
        order->within_ms = within_ms;
        mailbox_post(worker->mailbox, &order->letter);
}

/* --- the control thread's side --------------------------------------------------------------- */

static enum err create_loop(struct worker *worker)
{
        struct event_config *config = event_config_new();
        enum err err;

        if (config == NULL)
                return ERR_NOMEM;
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* one thread alone */
        worker->base = event_base_new_with_config(config);
        event_config_free(config);
        if (worker->base == NULL)
                return ERR_NOMEM;
        err = mailbox_create(worker->base, worker, &worker->mailbox);
        if (err == OK)
                err = poller_create(worker->base, turn, on_ready, worker, &worker->poller);
        if (err == OK)
                err = broadcast_init(worker);
        if (err != OK)
                return err;
        worker->on_tick = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
        worker->on_drain = evtimer_new(worker->base, drain_slice, worker);
        return worker->on_tick != NULL && worker->on_drain != NULL ? OK : ERR_NOMEM;
}

static enum err create_parts(struct worker *worker)
{
        enum err err = create_loop(worker);

        if (err == OK)
                err = ring_create(worker->options.ring_capacity, &worker->ring);
        if (err == OK)
                err = ring_create(worker->options.ring_capacity, &worker->spare);
        if (err == OK && worker->options.loader != NULL)
                err = cache_create(worker->options.loader, worker->mailbox, on_loaded, worker,
                                   &worker->cache);
        if (err != OK)
                return err;
        worker->frame = pool_take(&worker->pool);
        return worker->frame != NULL ? OK : ERR_NOMEM;
}

static void free_parts(struct worker *worker)
{
        listener_destroy(worker->listener);
        if (worker->on_drain != NULL)
                event_free(worker->on_drain);
        if (worker->on_tick != NULL)
                event_free(worker->on_tick);
        broadcast_fini(worker);
        if (worker->cache != NULL)
                cache_destroy(worker->cache);
        poller_destroy(worker->poller);
        if (worker->base != NULL) {
                mailbox_destroy(worker->mailbox);
                event_base_free(worker->base);
        }
        snapshot_unref(worker->snapshot);
        ring_destroy(worker->ring);
        ring_destroy(worker->spare);
        pool_give(&worker->pool, worker->frame);
        pool_fini(&worker->pool);
        free(worker->conns);
        free(worker);
}

enum err worker_create(const struct worker_options *options, struct worker **ret_worker,
                       const char **ret_why)
{
        struct worker *worker = calloc(1, sizeof(*worker));
        enum err err;

        *ret_why = "out of memory";
        if (worker == NULL)
                return ERR_NOMEM;
        gateway_metrics_register();
        worker->options = *options;
        if (worker->options.ring_capacity == 0)
                worker->options.ring_capacity = RING_CAPACITY_DEFAULT;
        worker->session_config.ping_ms = options->ping_ms;
        worker->session_config.lifetime_ms = options->lifetime_ms;
        worker->start_ms = worker->now_ms = clock_mono_ms();
        rng_seed(&worker->rng, rng_secure_u64());
        wheel_init(&worker->wheel, worker->now_ms);
        err = create_parts(worker);
        if (err == OK) {
                const struct listener_options listen = { .host = options->host,
                                                         .port = options->port,
                                                         .on_accepted = on_accepted,
                                                         .batch = accept_batch,
                                                         .owner = worker };

                err = listener_create(worker->base, &listen, &worker->listener, ret_why);
                if (err == OK)
                        worker->port = listener_port(worker->listener);
        }
        if (err == OK && pthread_create(&worker->thread, NULL, run, worker) != 0) {
                *ret_why = "the system refuses another thread";
                err = ERR_IO;
        }
        if (err != OK) {
                free_parts(worker);
                return err;
        }
        *ret_worker = worker;
        return OK;
}

uint16_t worker_port(const struct worker *worker)
{
        return worker->port;
}

void worker_install(struct worker *worker, struct snapshot *snapshot, struct entry *const *entries,
                    size_t n)
{
        post_news(worker, run_install, snapshot, entries, n);
}

void worker_entries(struct worker *worker, struct entry *const *entries, size_t n,
                    struct snapshot *snapshot)
{
        post_news(worker, run_entries, snapshot, entries, n);
}

void worker_confirmed(struct worker *worker)
{
        post_news(worker, run_confirmed, NULL, NULL, 0);
}

uint64_t worker_devices(const struct worker *worker)
{
        return atomic_load_explicit(&worker->devices, memory_order_relaxed);
}

void worker_drain(struct worker *worker, uint32_t within_ms)
{
        check(within_ms <= SESSION_SPAN_MAX_MS);
        post_order(worker, run_drain, within_ms);
}

bool worker_is_empty(const struct worker *worker)
{
        return atomic_load_explicit(&worker->is_empty, memory_order_acquire);
}

void worker_destroy(struct worker *worker)
{
        if (worker == NULL)
                return;
        post_order(worker, run_stop, 0);
        check(pthread_join(worker->thread, NULL) == 0);
        free_parts(worker);
}
