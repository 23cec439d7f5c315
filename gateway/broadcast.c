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

#define SLICE_SENDS 256
#define SLICE_US    2000
/* The clock is read after so many sends, or so many sessions that need nothing: about 100 us. */
#define SENDS_A_LOOK  16
#define VISITS_A_LOOK 1024

static void begin_pass(struct worker *worker)
{
        struct broadcast *broadcast = &worker->broadcast;

        broadcast->from = broadcast->at < worker->n_conns ? broadcast->at : 0;
        broadcast->at = broadcast->from;
        broadcast->wrapped = false;
        broadcast->again = false;
}

static void walked(struct worker *worker)
{
        struct broadcast *broadcast = &worker->broadcast;

        broadcast->is_walking = false;
        metric_add(&m_broadcasts, 1);
        metric_add(&m_broadcast_us, (int64_t)(clock_mono_us() - broadcast->began_us));
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

static void slice(struct worker *worker)
{
        static const struct timeval at_once = { 0, 0 };
        struct broadcast *broadcast = &worker->broadcast;
        uint64_t until_us = clock_mono_us() + SLICE_US;
        unsigned sends = 0, visits = 0;

        while (has_next(worker)) {
                struct conn *conn = worker->conns[broadcast->at];
                bool has_sent = session_io_visit(worker, conn), looks;

                /* If it left while it was visited, another one stands here now. */
                if (broadcast->at < worker->n_conns && worker->conns[broadcast->at] == conn)
                        broadcast->at++;
                sends += has_sent;
                looks = has_sent ? sends % SENDS_A_LOOK == 0 : ++visits % VISITS_A_LOOK == 0;
                if (sends == SLICE_SENDS || (looks && clock_mono_us() >= until_us)) {
                        /* A timer, for libevent runs those after it has asked for events again. */
                        check(event_add(broadcast->more, &at_once) == 0);
                        return;
                }
        }
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
