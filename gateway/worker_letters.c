/* gateway/worker_letters.c -- what the control thread tells a worker: news of the log (install,
 * entries, confirmed), drain, stop. The functions that post are the control thread's, those that
 * run are the worker's. And the one letter of the other direction: what the worker counted.
 *
 * Ring and snapshot change together, within one letter, and nothing else runs meanwhile: a reset
 * sent at any time is the state at the ring's head, exactly. */
#include "gateway/worker.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/gateway_metrics.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

#define DRAIN_SLICE 256

/* --- news of the log ------------------------------------------------------------------------- */

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

        /* Without these hundred bytes (2 MB at most, for an install after a burst) the worker's log
         * would have a hole: no going on. */
        check(news != NULL);
        news->letter.run = letter_run;
        news->posted_ms = clock_mono_ms();
        news->snapshot = snapshot != NULL ? snapshot_ref(snapshot) : NULL;
        news->n = n;
        for (size_t i = 0; i < n; i++)
                news->entries[i] = entry_ref(entries[i]);
        mailbox_post(worker->mailbox, &news->letter);
}

/* Into the ring, in order. What is young and finds no room pushes out what is young, too: then
 * memory ends before retention does, and whoever is away so long gets a reset (contract line 6). */
static void push_all(struct ring *ring, const struct news *news)
{
        uint64_t before = ring_young_lost(ring), lost;

        for (size_t i = 0; i < news->n; i++)
                ring_push(ring, news->entries[i]);
        lost = ring_young_lost(ring) - before;
        metric_add(&m_young_lost, (int64_t)lost);
        if (lost > 0 && before == 0) /* the metric tells the rest */
                log_warn("RING-FULL", "kept=%zu oldest=%llu", ring_capacity(ring),
                         (unsigned long long)ring_oldest_cursor(ring));
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
        session_io_plan(worker);
        broadcast_kick(worker);
}

/* Of the sessions here, those that a signal is for. */
static uint32_t meant(const struct worker *worker, const struct target *to)
{
        return to == NULL ? worker->n_conns : audiences_reach(worker->audiences, to);
}

static void tally_begun(struct worker *worker, struct entry *const *entries, size_t n, bool live)
{
        int64_t wall_ms = clock_wall_ms();

        /* Nobody is here, and nobody comes: the end of a drain must not wait until no signal comes.
         */
        if (worker->is_draining && worker->n_conns == 0)
                return;
        for (size_t i = n > TALLY_SIGNALS ? n - TALLY_SIGNALS : 0; i < n; i++)
                tally_begin(&worker->tally, &entries[i]->signal,
                            live ? meant(worker, entries[i]->to) : 0, live, worker->now_ms,
                            wall_ms);
}

/* Entries read back from the log: those beyond the old head go to the devices that are here, like
 * any signal; the others only to devices that come and ask. In another epoch that holds for all:
 * who is here gets the state instead. */
static void tally_installed(struct worker *worker, const struct news *news,
                            const struct token *before)
{
        size_t known = 0;

        tally_epoch(&worker->tally, snapshot_token(news->snapshot)->epoch);
        while (known < news->n && (before->epoch != worker->tally.epoch ||
                                   news->entries[known]->signal.token.seq <= before->seq))
                known++;
        tally_begun(worker, news->entries, known, false);
        tally_begun(worker, news->entries + known, news->n - known, true);
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
        ring_install(after, &base, snapshot_parent(news->snapshot));
        audiences_forget(worker->audiences);
        push_all(after, news);
        tally_installed(worker, news, ring_head(before));
        for (uint32_t i = 0; i < worker->n_conns; i++)
                session_rejudge(&worker->conns[i]->session, before, after);
        worker->ring = after;
        worker->spare = before;
        if (ring_head(before)->epoch != 0)
                ring_install(before, ring_head(before), 0);            /* gives its entries back */
        memset(worker->confirmed_ms, 0, sizeof(worker->confirmed_ms)); /* said of another head */
        settle(worker, news);
}

static void run_entries(struct letter *letter, void *owner)
{
        struct news *news = (struct news *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        push_all(worker->ring, news);
        tally_begun(worker, news->entries, news->n, true);
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

/* --- drain ----------------------------------------------------------------------------------- */

struct order { /* drain, stop */
        struct letter letter;
        uint32_t within_ms, over_ms;
};

static void post_order(struct worker *worker, letter_run_fn *order_run, uint32_t within_ms,
                       uint32_t over_ms)
{
        struct order *order = malloc(sizeof(*order));

        check(order != NULL);
        order->letter.run = order_run;
        order->within_ms = within_ms;
        order->over_ms = over_ms;
        mailbox_post(worker->mailbox, &order->letter);
}

/* The next few that are due. Downwards: who moves into a place that is told already comes from
 * further up, told as well. */
static void tell_due(struct worker *worker)
{
        uint32_t due = drain_due(&worker->drain, worker->now_ms);

        for (unsigned i = 0; i < DRAIN_SLICE && i < due; i++) {
                struct goaway goaway;
                uint32_t close_in_ms;

                drain_tell(&worker->drain, &worker->rng, worker->now_ms, &goaway, &close_in_ms);
                if (worker->drain_left > worker->n_conns)
                        worker->drain_left = worker->n_conns; /* some left without a word */
                if (worker->drain_left > 0)
                        session_io_leave(worker, worker->conns[--worker->drain_left], &goaway,
                                         close_in_ms);
        }
}

/* Also those that came in the last moment before the door was shut. */
static void close_some(struct worker *worker)
{
        for (unsigned i = 0; i < DRAIN_SLICE && worker->n_conns > 0; i++)
                session_io_close(worker, worker->conns[worker->n_conns - 1], CLOSE_DRAIN);
}

void worker_letters_drain(evutil_socket_t fd, short what, void *arg)
{
        struct worker *worker = arg;
        struct timeval in = { 0, 0 };
        bool is_last;

        (void)fd;
        (void)what;
        worker->now_ms = clock_mono_ms();
        is_last = drain_is_last(&worker->drain, worker->now_ms);
        tell_due(worker);
        if (is_last && drain_due(&worker->drain, worker->now_ms) == 0)
                close_some(worker);
        if (worker->n_conns == 0)
                return;
        if (drain_due(&worker->drain, worker->now_ms) == 0 && !is_last) {
                uint32_t in_ms = drain_next_in_ms(&worker->drain, worker->now_ms);

                in = (struct timeval){ in_ms / 1000, in_ms % 1000 * 1000 };
        }
        check(event_add(worker->on_drain, &in) == 0);
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
                worker->drain_left = worker->n_conns;
        }
        if (worker->drain_left > worker->n_conns)
                worker->drain_left = worker->n_conns;
        drain_begin(&worker->drain, worker->drain_left, order->within_ms, order->over_ms,
                    worker->now_ms);
        worker_letters_drain(-1, 0, worker);
        free(order);
}

void worker_drain(struct worker *worker, uint32_t within_ms, uint32_t over_ms)
{
        check(within_ms <= SESSION_SPAN_MAX_MS && over_ms <= SESSION_SPAN_MAX_MS);
        post_order(worker, run_drain, within_ms, over_ms);
}

/* --- stop ------------------------------------------------------------------------------------ */

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

void worker_letters_stop(struct worker *worker)
{
        post_order(worker, run_stop, 0, 0);
}

/* --- what was counted ------------------------------------------------------------------------ */

struct counted {
        struct letter letter;
        worker_tally_fn *on_tally;
        size_t n;
        struct report_part parts[];
};

static void run_counted(struct letter *letter, void *owner)
{
        struct counted *counted = (struct counted *)letter;

        counted->on_tally(owner, counted->parts, counted->n);
        free(counted);
}

void worker_letters_tally(struct worker *worker)
{
        size_t n = worker->tally.n_news;
        struct counted *counted;

        if (n == 0 || worker->options.control == NULL)
                return;
        counted = malloc(sizeof(*counted) + n * sizeof(counted->parts[0]));
        if (counted == NULL)
                return; /* it is counted still: the next time */
        counted->letter.run = run_counted;
        counted->on_tally = worker->options.on_tally;
        counted->n = tally_take(&worker->tally, counted->parts, n);
        mailbox_post(worker->options.control, &counted->letter);
}

/* --- who is here ----------------------------------------------------------------------------- */

struct sorts {
        struct letter letter;
        worker_audiences_fn *on_audiences;
        unsigned index;
        uint64_t others;
        size_t n;
        struct presence_audience rows[];
};

static void run_sorts(struct letter *letter, void *owner)
{
        struct sorts *sorts = (struct sorts *)letter;

        sorts->on_audiences(owner, sorts->index, sorts->rows, sorts->n, sorts->others);
        free(sorts);
}

static size_t smallest(const struct presence_audience *rows, size_t n)
{
        size_t found = 0;

        for (size_t i = 1; i < n; i++)
                if (rows[i].devices < rows[found].devices)
                        found = i;
        return found;
}

/* Keeps the largest as they come: there may be tens of thousands of sorts, and this thread has
 * signals to send. */
static void list_sorts(const struct audiences *audiences, struct sorts *sorts, size_t room)
{
        size_t walk = 0, least = 0;
        const char *traits[TRAITS];
        uint32_t sessions;

        while (audiences_next(audiences, &walk, traits, &sessions)) {
                struct presence_audience *row = &sorts->rows[least];

                if (sorts->n < room) {
                        row = &sorts->rows[sorts->n++];
                } else if (sessions <= row->devices) {
                        sorts->others += sessions;
                        continue;
                } else {
                        sorts->others += row->devices;
                }
                row->devices = sessions;
                for (unsigned i = 0; i < TRAITS; i++)
                        strcpy(row->traits[i], traits[i]);
                if (sorts->n == room)
                        least = smallest(sorts->rows, room);
        }
}

static void run_ask_audiences(struct letter *letter, void *owner)
{
        struct worker *worker = owner;
        size_t n = audiences_n(worker->audiences);
        size_t room = n < PRESENCE_AUDIENCES_MAX ? n : PRESENCE_AUDIENCES_MAX;
        struct sorts *sorts = malloc(sizeof(*sorts) + room * sizeof(sorts->rows[0]));

        free(letter);
        if (sorts == NULL)
                return; /* the control thread goes on with what it knows, and asks again */
        *sorts = (struct sorts){ .letter.run = run_sorts,
                                 .on_audiences = worker->options.on_audiences,
                                 .index = worker->options.index };
        list_sorts(worker->audiences, sorts, room);
        mailbox_post(worker->options.control, &sorts->letter);
}

void worker_ask_audiences(struct worker *worker)
{
        if (worker->options.on_audiences != NULL)
                post_order(worker, run_ask_audiences, 0, 0);
}

uint32_t worker_ns_per_device(const struct worker *worker)
{
        return atomic_load_explicit(&worker->ns_per_device, memory_order_relaxed);
}
