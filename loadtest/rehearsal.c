/* loadtest/rehearsal.c -- see rehearsal.h. Each step waits until every device is through, or until
 * nothing has moved for the patience given; then the run goes on, and the report tells what is
 * missing. */
#include "loadtest/rehearsal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "loadtest/fleet.h"

#define POLL_MS 100

struct run {
        struct rehearsal *plan;
        struct report *report;
        struct fleet *fleet;
        struct report_progress progress;
        uint64_t began_us;
        uint64_t version; /* of the event */
        unsigned changes; /* asked for so far */
        bool is_broken;   /* a process ended early */
};

typedef bool done_fn(const struct run *run, const struct swarm_counts *counts);

static bool is_interrupted(const struct run *run)
{
        return *run->plan->stop != 0;
}

static bool all_settled(const struct run *run, const struct swarm_counts *counts)
{
        uint64_t fetched = counts->prefetched + counts->prefetch_failed;

        return counts->connected_once + counts->gave_up >= run->plan->devices &&
               (run->plan->swarm.no_prefetch || fetched >= counts->connected_once);
}

static bool all_at_head(const struct run *run, const struct swarm_counts *counts)
{
        /* A count made before the head moved says nothing about the new one. */
        return counts->judged_seq == run->report->head.seq * fleet_processes(run->fleet) &&
               counts->at_head >= counts->connected_once;
}

static bool none_owing(const struct run *run, const struct swarm_counts *counts)
{
        return all_at_head(run, counts) && counts->owing == 0;
}

static bool never(const struct run *run, const struct swarm_counts *counts)
{
        (void)run;
        (void)counts;
        return false;
}

/* patience_ms 0: for ever. False when it ended without being done. */
static bool wait_until(struct run *run, const char *what, done_fn *done, int64_t patience_ms,
                       bool with_head)
{
        uint64_t best = 0, moved_ms = clock_mono_ms();
        struct swarm_counts counts = { 0 };
        bool is_done = false;

        while (!is_done && !is_interrupted(run) && !run->is_broken) {
                uint64_t sum;

                run->is_broken = !fleet_poll(run->fleet, POLL_MS);
                counts = fleet_counts(run->fleet);
                is_done = done(run, &counts);
                sum = counts.connected_once + counts.prefetched + counts.tally.delivered +
                      counts.acks;
                if (sum > best)
                        moved_ms = clock_mono_ms();
                best = sum > best ? sum : best;
                if (patience_ms > 0 && clock_mono_ms() - moved_ms > (uint64_t)patience_ms)
                        break;
                report_progress_show(&run->progress, what, &counts, with_head);
        }
        return is_done;
}

static int64_t wall_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void set_head(struct run *run, const struct token *head)
{
        struct swarm_board *board = fleet_board(run->fleet);

        run->report->head = *head;
        atomic_store(&board->head_seq, UINT64_MAX); /* nobody is there while the two are changing */
        atomic_store(&board->head_epoch, head->epoch);
        atomic_store(&board->head_seq, head->seq);
}

/* stage NULL = start. False when it could not be done: the run ends then. */
static bool change(struct run *run, const char *stage)
{
        struct rehearsal *plan = run->plan;
        struct swarm_board *board = fleet_board(run->fleet);
        struct token head;

        atomic_store(&board->asked_us[run->changes++], wall_us());
        if (admin_change(&plan->admin, plan->swarm.event, stage, run->version, &head,
                         &run->version) != OK) {
                run->report->trouble = plan->admin.why;
                return false;
        }
        set_head(run, &head);
        wait_until(run, stage == NULL ? "start" : stage, all_at_head, plan->patience_ms, true);
        return !is_interrupted(run) && !run->is_broken;
}

static void connect_all(struct run *run)
{
        const struct swarm_board *board = fleet_board(run->fleet);
        uint64_t welcomed, prefetched;

        wait_until(run, "connect", all_settled, run->plan->patience_ms, false);
        welcomed = atomic_load(&board->last_welcome_us);
        prefetched = atomic_load(&board->last_prefetch_us);
        run->report->connect_us = welcomed > run->began_us ? welcomed - run->began_us : 0;
        run->report->prefetch_us = prefetched > run->began_us ? prefetched - run->began_us : 0;
}

static bool play(struct run *run)
{
        char stage[STAGE_MAX + 1];

        connect_all(run);
        if (is_interrupted(run) || run->is_broken)
                return false;
        if (!change(run, NULL)) {
                run->report->is_started = run->report->trouble == NULL;
                return false;
        }
        run->report->is_started = true;
        for (unsigned i = 1; i <= run->plan->stages; i++) {
                snprintf(stage, sizeof(stage), "rehearsal-%u", i);
                if (!change(run, stage))
                        return false;
                run->report->stages++;
        }
        return true;
}

/* Others may have changed something since: the newest entry of the log is what all should have. And
 * acks go out spread over the span that hello named: the delivery report should have them all. */
static void settle(struct run *run)
{
        struct witness log;

        if (run->report->head.epoch == 0)
                return;
        witness_init(&log);
        if (admin_read_log(&run->plan->admin, run->report->head.seq, &log) == OK && log.n > 0)
                set_head(run, &log.tokens[log.n - 1]);
        witness_fini(&log);
        wait_until(run, "finish", none_owing, run->plan->patience_ms, true);
}

static void prove(struct run *run, const struct witness *seen)
{
        struct report *report = run->report;
        seqno lowest = SEQNO_MAX;
        struct witness log;

        for (size_t i = 0; i < seen->n; i++)
                if (seen->tokens[i].seq > 0 && seen->tokens[i].seq < lowest)
                        lowest = seen->tokens[i].seq;
        witness_init(&log);
        report->is_log_known =
            !seen->failed &&
            admin_read_log(&run->plan->admin, lowest == SEQNO_MAX ? 0 : lowest - 1, &log) == OK;
        if (report->is_log_known)
                report->foreign_to_log = witness_foreign(seen, &log);
        if (log.n > 0) {
                report->first_seq = log.tokens[0].seq;
                report->last_seq = log.tokens[log.n - 1].seq;
        }
        witness_fini(&log);
}

/* The event as it is, or a new one. */
static enum err find_event(struct run *run)
{
        struct rehearsal *plan = run->plan;
        struct admin_event event;
        enum err err = admin_find(&plan->admin, plan->swarm.event, &event);

        if (err == OK && !event.exists)
                err = admin_make(&plan->admin, plan->swarm.event, plan->bundle_bytes, &event);
        if (err != OK)
                return err;
        if (strcmp(event.stage, "scheduled") != 0) {
                snprintf(plan->admin.why, sizeof(plan->admin.why),
                         "event %s is %s already: a rehearsal needs one that can still be started",
                         plan->swarm.event, event.stage);
                return ERR_CONFLICT;
        }
        if (event.bundle == 0 && !plan->swarm.no_prefetch) {
                snprintf(plan->admin.why, sizeof(plan->admin.why),
                         "event %s has no bundle to prefetch: load one with `kickoff prefetch load "
                         "%s DIR`, or rehearse with --no-prefetch",
                         plan->swarm.event, plan->swarm.event);
                return ERR_CONFLICT;
        }
        run->version = event.version;
        return OK;
}

static enum err find_node(struct run *run)
{
        struct rehearsal *plan = run->plan;

        for (unsigned i = 0; i < plan->swarm.n_targets; i++)
                if (net_answers(&plan->swarm.targets[i], 3000))
                        return OK;
        snprintf(plan->admin.why, sizeof(plan->admin.why), "ws://%s: nobody answers there",
                 plan->swarm.targets[0].host);
        return ERR_UNAVAILABLE;
}

enum err rehearsal_run(struct rehearsal *rehearsal, struct report *ret_report)
{
        static const char *const encodings[] = { "json", "msgpack", "both" };
        struct run run = { .plan = rehearsal, .report = ret_report };
        struct witness seen;
        enum err err = find_node(&run);

        if (err == OK)
                err = find_event(&run);
        if (err != OK)
                return err;
        *ret_report = (struct report){ .event = rehearsal->swarm.event,
                                       .encodings = encodings[rehearsal->swarm.encodings],
                                       .devices = rehearsal->devices,
                                       .no_prefetch = rehearsal->swarm.no_prefetch };
        report_progress_init(&run.progress);
        run.began_us = clock_mono_us();
        rehearsal->swarm.run = (uint32_t)rng_secure_u64();
        err =
            fleet_start(&rehearsal->swarm, rehearsal->devices, net_raise_descriptors(), &run.fleet);
        if (err != OK) {
                snprintf(rehearsal->admin.why, sizeof(rehearsal->admin.why),
                         "the herd's processes could not be started: %s", err_name(err));
                return err;
        }
        atomic_store(&fleet_board(run.fleet)->base_version, run.version);
        ret_report->processes = fleet_processes(run.fleet);
        if (play(&run) && rehearsal->hold) {
                wait_until(&run, "hold", never, 0, true);
                ret_report->interrupted = false; /* that is how holding ends */
        } else {
                ret_report->interrupted = is_interrupted(&run);
        }
        if (!ret_report->interrupted && ret_report->trouble == NULL)
                settle(&run);
        witness_init(&seen);
        ret_report->is_complete = fleet_finish(run.fleet, &ret_report->result, &seen);
        report_progress_end(&run.progress);
        prove(&run, &seen);
        witness_fini(&seen);
        fleet_destroy(run.fleet);
        return OK;
}
