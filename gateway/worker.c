/* gateway/worker.c -- the thread: its parts, its loop, its timers. Decides the order of things:
 * letters of the control thread (worker_letters.c) change the ring, then the broadcast walks;
 * sockets are served in between; at the end of each turn the dead are reaped. */
#include "gateway/worker.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
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
#include "prefetch/window.h"

#define ACCEPT_BUSY_BATCH \
        16               /* per turn while a broadcast walks: signals go first (contract line 12) */
#define CACHE_TICKS    4 /* cache_tick every so many wheel ticks: 256 ms */
#define TALLY_EVERY_MS 250 /* and the control thread's 500: an ack is in Redis within a second */

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

        if (__builtin_expect(ptr == &worker->overload, 0)) {
                overload_probed(worker);
                return;
        }
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

static void on_accepted(void *owner, const struct listener_guest *guests, unsigned n)
{
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        metric_add(&m_accepted, n);
        for (unsigned i = 0; i < n; i++) {
                struct conn *conn = conn_create(worker, guests[i].fd);

                if (conn == NULL) {
                        metric_add(&m_no_memory, 1);
                        close(guests[i].fd);
                        continue;
                }
                guest_arrive(worker, conn, &guests[i].address);
        }
}

static unsigned accept_batch(void *owner)
{
        const struct worker *worker = owner;
        uint32_t room = admission_room(&worker->admission, worker->now_ms);
        unsigned batch = worker->broadcast.is_walking ? ACCEPT_BUSY_BATCH : LISTENER_BATCH;

        return room < batch ? room : batch;
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
        overload_tick(worker);
}

static void on_loaded(void *owner, void *waiter, enum cache_answer answer,
                      struct bundle_response *response)
{
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        guest_loaded(worker, waiter, answer, response);
}

static void on_tally(evutil_socket_t fd, short what, void *arg)
{
        struct worker *worker = arg;

        (void)fd;
        (void)what;
        worker->is_telling = false;
        worker_letters_tally(
            worker); /* if there was no memory for it, the turn's end tries again */
}

/* --- the end of a turn ----------------------------------------------------------------------- */

/* Only while there is something to tell. */
static void keep_telling(struct worker *worker)
{
        static const struct timeval in = { .tv_usec = TALLY_EVERY_MS * 1000 };

        if (worker->is_telling || worker->tally.n_news == 0 || worker->options.control == NULL)
                return;
        worker->is_telling = true;
        check(event_add(worker->on_tally, &in) == 0);
}

/* Only while some timer runs, or something is shed: a node without devices sleeps. */
static void keep_ticking(struct worker *worker)
{
        static const struct timeval each = { .tv_usec = WHEEL_TICK_MS * 1000 };
        bool wanted = worker->wheel.count > 0 || worker->ladder.step != LADDER_CALM;

        if (wanted == worker->is_ticking)
                return;
        worker->is_ticking = wanted;
        if (wanted) {
                overload_begin(worker);
                check(event_add(worker->on_tick, &each) == 0);
        } else {
                overload_end(worker);
                event_del(worker->on_tick);
        }
}

static void end_turn(struct worker *worker)
{
        uint32_t busy = 0;

        conn_reap(worker);
        /* Whoever stands in line has a timer, so there is a turn soon after its time is up. */
        if (worker->listener != NULL && admission_room(&worker->admission, worker->now_ms) > 0)
                listener_go_on(worker->listener);
        keep_ticking(worker);
        keep_telling(worker);
        worker_devices_turn(worker);
        for (unsigned phase = CONN_LOADING; phase < CONN_DEAD; phase++)
                busy += worker->in_phase[phase];
        metric_set(&m_guests, worker->in_phase[CONN_HEAD] + (int64_t)busy - worker->n_conns);
        if (worker->is_draining &&
            busy == 0) { /* whoever only holds a keep-alive open has nothing to lose */
                worker_letters_tally(worker);
                atomic_store_explicit(&worker->is_empty, true, memory_order_release);
        }
}

static void *run(void *arg)
{
        struct worker *worker = arg;

        sender_begin(worker->sender);
        metric_set(&m_uring, sender_is_open(worker->sender));
        while (!worker->is_stopping) {
                check(event_base_loop(worker->base, EVLOOP_ONCE) == 0);
                end_turn(worker);
        }
        sender_end(worker->sender);
        metric_set(&m_uring, 0);
        return NULL;
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
                err = overload_init(worker);
        if (err == OK)
                err = broadcast_init(worker);
        if (err == OK)
                err = worker_devices_init(worker);
        if (err != OK)
                return err;
        worker->on_tick = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
        worker->on_drain = evtimer_new(worker->base, worker_letters_drain, worker);
        worker->on_tally = evtimer_new(worker->base, on_tally, worker);
        return worker->on_tick != NULL && worker->on_drain != NULL && worker->on_tally != NULL
                   ? OK
                   : ERR_NOMEM;
}

static enum err create_ring(const struct worker_options *options, struct ring **ret_ring)
{
        enum err err = ring_create(options->ring_capacity, ret_ring);

        if (err == OK && options->ring_capacity_max > options->ring_capacity)
                ring_let_grow(*ret_ring, options->ring_capacity_max);
        return err;
}

static enum err create_parts(struct worker *worker)
{
        enum err err = create_loop(worker);

        if (err == OK)
                err = create_ring(&worker->options, &worker->ring);
        if (err == OK)
                err = create_ring(&worker->options, &worker->spare);
        if (err == OK)
                err = audiences_create(&worker->audiences);
        if (err == OK && worker->options.loader != NULL)
                err = cache_create(worker->options.loader, worker->mailbox, on_loaded, worker,
                                   &worker->cache);
        if (err != OK)
                return err;
        worker->frame = pool_take(&worker->pool);
        return worker->frame != NULL ? OK : ERR_NOMEM;
}

static enum err create_sender(struct worker *worker, const char **ret_why)
{
        static _Thread_local char sentence[160];
        const char *why = "the kernel lets us";
        enum err err = sender_create(worker->options.io, &worker->sender, &why);

        if (err != OK) {
                snprintf(sentence, sizeof(sentence), "--io uring: %s; auto would use send()", why);
                *ret_why = sentence;
        } else if (worker->options.index == 0) { /* the others find the same */
                log_info("BROADCAST-BY", "io=%s why=%s", worker->sender ? "io_uring" : "send",
                         log_quote(why));
        }
        return err;
}

static void free_parts(struct worker *worker)
{
        listener_destroy(worker->listener);
        if (worker->on_tally != NULL)
                event_free(worker->on_tally);
        if (worker->on_drain != NULL)
                event_free(worker->on_drain);
        if (worker->on_tick != NULL)
                event_free(worker->on_tick);
        broadcast_fini(worker);
        worker_devices_fini(worker);
        sender_destroy(worker->sender);
        if (worker->cache != NULL)
                cache_destroy(worker->cache);
        poller_destroy(worker->poller);
        overload_fini(worker);
        if (worker->base != NULL) {
                mailbox_destroy(worker->mailbox);
                event_base_free(worker->base);
        }
        snapshot_unref(worker->snapshot);
        ring_destroy(worker->ring);
        ring_destroy(worker->spare);
        pump_joined_drop(&worker->joined);
        audiences_destroy(worker->audiences);
        pool_give(&worker->pool, worker->frame);
        pool_fini(&worker->pool);
        admission_fini(&worker->admission);
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
        worker->overload.probe = -1;
        if (worker->options.ring_capacity == 0)
                worker->options.ring_capacity = RING_CAPACITY_DEFAULT;
        worker->session_config.ping_ms = options->ping_ms;
        worker->session_config.lifetime_ms = options->lifetime_ms;
        worker->session_config.lifetime = &worker->lifetime;
        worker->start_ms = worker->now_ms = clock_mono_ms();
        rng_seed(&worker->rng, rng_secure_u64());
        if (worker->options.admission.handshakes == 0)
                worker->options.admission.handshakes = WORKER_HANDSHAKES;
        admission_init(&worker->admission, &worker->options.admission, rng_secure_u64(),
                       worker->now_ms);
        wheel_init(&worker->wheel, worker->now_ms);
        err = create_parts(worker);
        if (err == OK)
                err = create_sender(worker, ret_why);
        if (err == OK) {
                const struct listener_options listen = { .host = options->host,
                                                         .port = options->port,
                                                         .dead_after_ms =
                                                             options->dead_after_ms > 0
                                                                 ? options->dead_after_ms
                                                                 : LISTENER_DEAD_AFTER_MS,
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

enum ladder_step worker_overload(const struct worker *worker)
{
        return overload_step(&worker->overload);
}

uint32_t worker_gauge(const struct worker *worker, enum ladder_gauge gauge)
{
        return overload_at(&worker->overload, gauge);
}

uint64_t worker_devices(const struct worker *worker)
{
        return atomic_load_explicit(&worker->devices, memory_order_relaxed);
}

uint32_t worker_prefetch_ms(const struct worker *worker)
{
        const _Atomic uint64_t *expected = worker->options.expected;
        uint32_t rate = worker->options.prefetch_rate;

        return window_ms(worker_devices(worker),
                         expected != NULL ? atomic_load_explicit(expected, memory_order_relaxed)
                                          : 0,
                         rate != 0 ? rate : WINDOW_RATE_DEFAULT);
}

bool worker_is_empty(const struct worker *worker)
{
        return atomic_load_explicit(&worker->is_empty, memory_order_acquire);
}

void worker_destroy(struct worker *worker)
{
        if (worker == NULL)
                return;
        worker_letters_stop(worker);
        check(pthread_join(worker->thread, NULL) == 0);
        free_parts(worker);
}
