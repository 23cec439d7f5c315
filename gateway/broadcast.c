/* gateway/broadcast.c -- a pass visits every session once, from a start that differs each time, so
 * that nobody is always last. It is cut into slices, between which the loop serves everything else.
 *
 * Sessions come and go meanwhile. A new one is at the head when it joins. When one leaves, the last
 * of conns[] takes its place; if that one had not been visited yet and the place had, it would be
 * missed: then, as when the log grows meanwhile, the pass is followed by another. A walk ends after
 * a pass in which nothing of the kind happened; so at its end every session has all, or is blocked
 * and goes on by itself. */
#include "gateway/broadcast.h"

#include <event2/event.h>

#include "base/clock.h"
#include "gateway/gateway_metrics.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

#define SLICE_US  2000
#define BATCH_MIN 32
/* The clock is read after so many sends, or so many sessions that need nothing: about 100 us. */
#define SENDS_A_LOOK  16
#define VISITS_A_LOOK 1024
#define TOLD_ENOUGH   64 /* devices, for a walk to be worth measuring */

static void begin_pass(struct worker *worker)
{
        struct broadcast *broadcast = &worker->broadcast;

        broadcast->from = broadcast->at < worker->n_conns ? broadcast->at : 0;
        broadcast->at = broadcast->from;
        broadcast->wrapped = false;
        broadcast->again = false;
}

/* Of walks in which enough were told that the walk itself does not count. Smoothed, for one walk in
 * which much else was to do says little of the next. */
static void measure(struct worker *worker, uint64_t took_us)
{
        uint32_t told = worker->broadcast.told, before;
        uint64_t ns;

        if (told < TOLD_ENOUGH)
                return;
        ns = took_us * 1000 / told;
        before = atomic_load_explicit(&worker->ns_per_device, memory_order_relaxed);
        if (before != 0)
                ns = (before * UINT64_C(3) + ns) / 4;
        atomic_store_explicit(&worker->ns_per_device, ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX,
                              memory_order_relaxed);
}

static void walked(struct worker *worker)
{
        struct broadcast *broadcast = &worker->broadcast;
        uint64_t took_us = clock_mono_us() - broadcast->began_us;

        broadcast->is_walking = false;
        metric_add(&m_broadcasts, 1);
        metric_add(&m_broadcast_us, (int64_t)took_us);
        measure(worker, took_us);
}

/* True if another session is at `at`. */
static bool has_next(struct worker *worker)
{
        struct broadcast *broadcast = &worker->broadcast;

        for (;;) {
                if (broadcast->at < worker->n_conns &&
                    (!broadcast->wrapped || broadcast->at < broadcast->from))
                        return true;
                if (!broadcast->wrapped) {
                        broadcast->wrapped = true;
                        broadcast->at = 0;
                } else if (broadcast->again && worker->n_conns > 0) {
                        begin_pass(worker);
                } else {
                        return false;
                }
        }
}

/* Until the slice is full, its time is over, or the walk. */
static void visit_some(struct worker *worker, uint64_t until_us)
{
        struct broadcast *broadcast = &worker->broadcast;
        unsigned sends = 0, tries = 0, idle = 0;
        bool looks = false;

        while (sends < broadcast->batch && !(looks && clock_mono_us() >= until_us) &&
               has_next(worker)) {
                struct conn *conn = worker->conns[broadcast->at];
                enum visit visit = session_io_visit(worker, conn);

                /* If it left while it was visited, another one stands here now. */
                if (broadcast->at < worker->n_conns && worker->conns[broadcast->at] == conn)
                        broadcast->at++;
                sends += visit != VISIT_IDLE;
                broadcast->told += visit != VISIT_IDLE;
                looks = visit == VISIT_TRIED  ? ++tries % SENDS_A_LOOK == 0
                        : visit == VISIT_IDLE ? ++idle % VISITS_A_LOOK == 0
                                              : false;
        }
}

/* What was put by is sent in one call, whose length nobody can cut once it has begun: so the next
 * is cut by how long this one took. */
static void fit_batch(struct broadcast *broadcast, uint64_t took_us)
{
        if (took_us > 2 * SLICE_US && broadcast->batch > BATCH_MIN)
                broadcast->batch /= 2;
        else if (took_us < SLICE_US && broadcast->batch < SENDER_BATCH)
                broadcast->batch *= 2;
}

static void slice(struct worker *worker)
{
        static const struct timeval at_once = { 0, 0 };
        struct broadcast *broadcast = &worker->broadcast;
        uint64_t began_us = clock_mono_us();

        visit_some(worker, began_us + SLICE_US);
        if (sender_waiting(worker->sender) > 0) {
                session_io_send_put_by(worker);
                fit_batch(broadcast, clock_mono_us() - began_us);
        }
        /* Asked only now: whoever was lost among those put by may have moved somebody. */
        if (has_next(worker)) /* a timer, for libevent runs those after it has asked for events */
                check(event_add(broadcast->more, &at_once) == 0);
        else
                walked(worker);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
        struct worker *worker = arg;

        (void)fd;
        (void)what;
        worker->now_ms = clock_mono_ms();
        slice(worker);
}

enum err broadcast_init(struct worker *worker)
{
        worker->broadcast.more = evtimer_new(worker->base, on_more, worker);
        worker->broadcast.batch = SENDER_BATCH;
        return worker->broadcast.more != NULL ? OK : ERR_NOMEM;
}

void broadcast_fini(struct worker *worker)
{
        if (worker->broadcast.more != NULL)
                event_free(worker->broadcast.more);
}

void broadcast_kick(struct worker *worker)
{
        struct broadcast *broadcast = &worker->broadcast;

        if (broadcast->is_walking) {
                broadcast->again = true;
                return;
        }
        broadcast->is_walking = true;
        broadcast->began_us = clock_mono_us();
        broadcast->told = 0;
        broadcast->at = (uint32_t)rng_below(&worker->rng, worker->n_conns);
        begin_pass(worker);
        slice(worker);
}

static bool is_visited(const struct broadcast *broadcast, uint32_t slot)
{
        if (broadcast->wrapped)
                return slot >= broadcast->from || slot < broadcast->at;
        return slot >= broadcast->from && slot < broadcast->at;
}

void broadcast_moved(struct worker *worker, uint32_t slot, uint32_t last)
{
        struct broadcast *broadcast = &worker->broadcast;

        if (broadcast->is_walking && slot != last && is_visited(broadcast, slot) &&
            !is_visited(broadcast, last))
                broadcast->again = true;
}
