/* loadtest/play.c -- see play.h. Each step waits until every device is through, or until nothing
 * has moved for the patience given; then the scenario goes on, and the account tells what is
 * missing. */
#include "loadtest/play.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"

#define POLL_MS      100
#define WATCH_MS     100
#define NODE_DEVICES 18500 /* what the descriptors of one process leave for devices */

static bool is_interrupted(const struct play *play)
{
        return *play->wishes->stop != 0;
}

bool play_goes_on(const struct play *play)
{
        return !is_interrupted(play) && !play->is_broken && play->account->report.trouble == NULL;
}

double play_s(const struct play *play)
{
        return (double)(clock_mono_us() - play->origin_us) / 1e6;
}

struct swarm_counts play_counts(const struct play *play)
{
        return fleet_counts(play->fleet);
}

struct swarm_board *play_board(struct play *play)
{
        return fleet_board(play->fleet);
}

void play_mark(struct play *play, const char *label)
{
        account_mark(play->account, play_s(play), label);
}

void play_zero(struct play *play, const char *label)
{
        play->account->zero_s = play_s(play);
        snprintf(play->account->zero_label, sizeof(play->account->zero_label), "%s", label);
        play_mark(play, label);
}

/* --- signals -------------------------------------------------------------------------------- */

static int64_t wall_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void set_head(struct play *play, const struct token *head)
{
        struct swarm_board *board = fleet_board(play->fleet);

        play->account->report.head = *head;
        atomic_store(&board->head_seq, UINT64_MAX); /* nobody is there while the two are changing */
        atomic_store(&board->head_epoch, head->epoch);
        atomic_store(&board->head_seq, head->seq);
}

bool play_signal(struct play *play, const char *stage)
{
        struct report *report = &play->account->report;
        struct token head;

        if (play->changes < SWARM_CHANGES_MAX)
                atomic_store(&fleet_board(play->fleet)->asked_us[play->changes], wall_us());
        play->changes++;
        if (admin_change(&play->admin, play->event, stage, stage == NULL ? play->lead_ms : 0,
                         play->version, &head, &play->version) != OK) {
                report->trouble = play->admin.why;
                return false;
        }
        set_head(play, &head);
        if (stage == NULL)
                report->is_started = true;
        else
                report->stages++;
        return true;
}

void play_signals(struct play *play, uint64_t every_ms, bool at_random)
{
        play->every_ms = every_ms;
        play->at_random = at_random;
        play->due_ms = every_ms > 0 ? clock_mono_ms() + every_ms : 0;
}

static void signal_when_due(struct play *play)
{
        double pause = (double)play->every_ms;
        char stage[STAGE_MAX + 1];

        if (play->due_ms == 0 || clock_mono_ms() < play->due_ms)
                return;
        snprintf(stage, sizeof(stage), "rehearsal-%u", play->changes);
        if (!play_signal(play, stage)) {
                play->due_ms = 0;
                return;
        }
        if (play->at_random)
                pause *= -log((double)(rng_below(&play->rng, 1 << 20) + 1) / (1 << 20));
        play->due_ms = clock_mono_ms() + (uint64_t)pause;
}

/* --- waiting -------------------------------------------------------------------------------- */

static void take_turn(struct play *play, const char *what)
{
        struct swarm_counts counts;
        uint64_t now_ms;

        signal_when_due(play);
        play->is_broken = !fleet_poll(play->fleet, POLL_MS);
        now_ms = clock_mono_ms();
        if (now_ms >= play->watch_ms) {
                play->watch_ms = now_ms + WATCH_MS;
                for (unsigned i = 0; play->nodes != NULL && i < play->account->watch.n; i++)
                        watch_set(&play->account->watch, i, nodes_pid(play->nodes, i));
                watch_sample(&play->account->watch, play_s(play));
        }
        counts = fleet_counts(play->fleet);
        progress_show(&play->progress, what, play_s(play), &counts, fleet_series(play->fleet));
}

bool play_wait(struct play *play, const char *what, play_done_fn *done, void *arg)
{
        uint64_t best = 0, moved_ms = clock_mono_ms();
        struct swarm_counts counts;

        while (play_goes_on(play)) {
                uint64_t sum;

                take_turn(play, what);
                counts = fleet_counts(play->fleet);
                if (done(play, &counts, arg))
                        return true;
                sum = counts.connected_once + counts.prefetched + counts.tally.delivered +
                      counts.acks + counts.reconnects + counts.told + counts.shown + counts.timed +
                      counts.acted;
                if (sum > best)
                        moved_ms = clock_mono_ms();
                best = sum > best ? sum : best;
                if (play->wishes->patience_ms > 0 &&
                    clock_mono_ms() - moved_ms > (uint64_t)play->wishes->patience_ms)
                        return false;
        }
        return false;
}

void play_pass(struct play *play, const char *what, int64_t ms)
{
        uint64_t until_ms = clock_mono_ms() + (uint64_t)(ms > 0 ? ms : 0);

        while (play_goes_on(play) && clock_mono_ms() < until_ms)
                take_turn(play, what);
}

static bool all_settled(const struct play *play, const struct swarm_counts *counts, void *unused)
{
        uint64_t fetched = counts->prefetched + counts->prefetch_failed;

        (void)unused;
        return counts->connected_once + counts->gave_up >= play->wishes->devices &&
               (play->swarm.no_prefetch || play->swarm.fetches_at_start ||
                fetched + counts->dead >= counts->connected_once);
}

bool play_all_up_to_date(const struct play *play, const struct swarm_counts *counts, void *unused)
{
        (void)unused;
        /* A count made before the head moved says nothing about the new one. */
        return counts->judged_seq ==
                   play->account->report.head.seq * fleet_processes(play->fleet) &&
               counts->at_head + counts->excused >= counts->connected_once;
}

static bool none_owing(const struct play *play, const struct swarm_counts *counts, void *unused)
{
        return play_all_up_to_date(play, counts, unused) && counts->owing == 0;
}

bool play_connect(struct play *play)
{
        const struct swarm_board *board = fleet_board(play->fleet);
        struct report *report = &play->account->report;
        bool is_done = play_wait(play, "connect", all_settled, NULL);
        uint64_t welcomed = atomic_load(&board->last_welcome_us),
                 prefetched = atomic_load(&board->last_prefetch_us);

        report->connect_us = welcomed > play->origin_us ? welcomed - play->origin_us : 0;
        report->prefetch_us = prefetched > play->origin_us ? prefetched - play->origin_us : 0;
        return is_done;
}

bool play_tell(struct play *play, const char *stage)
{
        return play_signal(play, stage) &&
               play_wait(play, stage == NULL ? "start" : stage, play_all_up_to_date, NULL);
}

/* --- opening -------------------------------------------------------------------------------- */

static enum err find_node(struct play *play)
{
        for (unsigned i = 0; i < play->n_targets; i++)
                if (net_answers(&play->targets[i], 3000))
                        return OK;
        snprintf(play->account->why, sizeof(play->account->why), "ws://%s: nobody answers there",
                 play->targets[0].host);
        return ERR_UNAVAILABLE;
}

enum err play_check_room(const struct wishes *wishes, unsigned left, struct account *account)
{
        if (wishes->nodes == 0 || wishes->devices <= left * NODE_DEVICES)
                return OK;
        snprintf(account->why, sizeof(account->why),
                 "%u devices are more than %u node%s can hold, %d each: give --nodes %u or fewer "
                 "--devices",
                 wishes->devices, left, left == 1 ? "" : "s", NODE_DEVICES,
                 (wishes->devices + NODE_DEVICES - 1) / NODE_DEVICES + wishes->nodes - left);
        return ERR_INVALID;
}

static enum err find_nodes(struct play *play)
{
        const struct wishes *wishes = play->wishes;
        const struct nodes_options options = { .n = wishes->nodes,
                                               .workers = wishes->workers,
                                               .program = wishes->kickoffd };
        enum err err;

        play->admin = (struct admin){ .url = wishes->admin_url, .bearer = wishes->bearer };
        play->n_targets = wishes->n_targets;
        if (wishes->nodes == 0) {
                memcpy(play->targets, wishes->targets,
                       wishes->n_targets * sizeof(*wishes->targets));
                return find_node(play);
        }
        err = play_check_room(wishes, wishes->nodes, play->account);
        if (err != OK)
                return err;
        progress_say(&play->progress,
                     "starting %u node%s on free ports, and a keeper with a private Redis",
                     wishes->nodes, wishes->nodes == 1 ? "" : "s");
        err = nodes_start(&options, &play->nodes, play->account->why);
        if (err != OK)
                return err;
        play->admin = (struct admin){ .url = nodes_admin(play->nodes) };
        play->n_targets = wishes->nodes;
        nodes_targets(play->nodes, play->targets);
        for (unsigned i = 0; i < wishes->nodes; i++)
                watch_add(&play->account->watch, nodes_name(play->nodes, i),
                          nodes_pid(play->nodes, i));
        return OK;
}

/* The event as it is, or a new one. */
static enum err find_event(struct play *play)
{
        const struct wishes *wishes = play->wishes;
        char *why = play->account->why;
        struct admin_event event;
        enum err err;

        if (wishes->event != NULL)
                snprintf(play->event, sizeof(play->event), "%s", wishes->event);
        else
                snprintf(play->event, sizeof(play->event), "herd-%08x",
                         (unsigned)(rng_secure_u64() >> 32));
        err = admin_find(&play->admin, play->event, &event);
        if (err == OK && !event.exists)
                err = admin_make(&play->admin, play->event, wishes->bundle_bytes, &event);
        if (err != OK) {
                snprintf(why, sizeof(play->account->why), "%s", play->admin.why);
                return err;
        }
        if (strcmp(event.stage, "scheduled") != 0) {
                snprintf(why, sizeof(play->account->why),
                         "event %s is %s already: a rehearsal needs one that can still be started",
                         play->event, event.stage);
                return ERR_CONFLICT;
        }
        if (event.bundle == 0 && !wishes->no_prefetch) {
                snprintf(why, sizeof(play->account->why),
                         "event %s has no bundle to prefetch: load one with `kickoff prefetch load "
                         "%s DIR`, or rehearse with --no-prefetch",
                         play->event, play->event);
                return ERR_CONFLICT;
        }
        play->version = event.version;
        return OK;
}

static enum err start_herd(struct play *play, play_adjust_fn *adjust)
{
        const struct wishes *wishes = play->wishes;
        enum err err;

        play->swarm = (struct swarm_options){
                .run = (uint32_t)rng_secure_u64(),
                .targets = play->targets,
                .n_targets = play->n_targets,
                .event = play->event,
                .encodings = wishes->encodings,
                .cohorts = wishes->cohorts,
                .no_ack = wishes->no_ack,
                .no_prefetch = wishes->no_prefetch,
                .late_ms = (uint32_t)wishes->late_ms,
                .model = wishes->model,
                .connects_per_s = wishes->connects_per_s,
        };
        if (adjust != NULL)
                adjust(wishes, &play->swarm);
        err = fleet_start(&play->swarm, wishes->devices, net_raise_descriptors(), &play->fleet);
        if (err != OK) {
                snprintf(play->account->why, sizeof(play->account->why),
                         "the herd's processes could not be started: %s", err_name(err));
                return err;
        }
        play->origin_us = atomic_load(&fleet_board(play->fleet)->origin_us);
        atomic_store(&fleet_board(play->fleet)->base_version, play->version);
        atomic_store(&fleet_board(play->fleet)->is_asleep, 1);
        return OK;
}

enum err play_open(struct play *play, const struct wishes *wishes, struct account *account,
                   play_adjust_fn *adjust)
{
        static const char *const encodings[] = { "json", "msgpack", "both" };
        enum err err;

        *play = (struct play){ .wishes = wishes, .account = account };
        progress_init(&play->progress, wishes->is_quiet);
        rng_seed(&play->rng, rng_secure_u64());
        err = find_nodes(play);
        if (err == OK)
                err = find_event(play);
        if (err == OK)
                err = start_herd(play, adjust);
        if (err != OK) {
                nodes_stop(play->nodes);
                return err;
        }
        snprintf(account->event, sizeof(account->event), "%s", play->event);
        account->report.event = account->event;
        account->report.encodings = encodings[wishes->encodings];
        account->report.devices = wishes->devices;
        account->report.no_prefetch = play->swarm.no_prefetch;
        account->report.processes = fleet_processes(play->fleet);
        return OK;
}

/* --- closing -------------------------------------------------------------------------------- */

/* Others may have changed something since: the newest entry of the log is what all should have.
 * Who slept wakes, and must catch up. And acks go out spread over the span that hello named: the
 * delivery report should have them all. */
static void settle(struct play *play)
{
        struct report *report = &play->account->report;
        struct witness log;

        play_signals(play, 0, false);
        atomic_store(&fleet_board(play->fleet)->is_asleep, 0);
        if (report->head.epoch == 0)
                return;
        witness_init(&log);
        if (admin_read_log(&play->admin, report->head.seq, &log) == OK && log.n > 0)
                set_head(play, &log.tokens[log.n - 1]);
        witness_fini(&log);
        play_wait(play, "finish", none_owing, NULL);
}

static void prove(struct play *play, const struct witness *seen)
{
        struct report *report = &play->account->report;
        seqno lowest = SEQNO_MAX;
        struct witness log;

        for (size_t i = 0; i < seen->n; i++)
                if (seen->tokens[i].seq > 0 && seen->tokens[i].seq < lowest)
                        lowest = seen->tokens[i].seq;
        witness_init(&log);
        report->is_log_known =
            !seen->failed &&
            admin_read_log(&play->admin, lowest == SEQNO_MAX ? 0 : lowest - 1, &log) == OK;
        if (report->is_log_known)
                report->foreign_to_log = witness_foreign(seen, &log);
        if (log.n > 0) {
                report->first_seq = log.tokens[0].seq;
                report->last_seq = log.tokens[log.n - 1].seq;
        }
        witness_fini(&log);
}

void play_close(struct play *play)
{
        struct account *account = play->account;
        struct report *report = &account->report;
        struct witness seen;

        if (play_goes_on(play) || play->is_held)
                settle(play);
        if (report->trouble != NULL) {
                snprintf(account->why, sizeof(account->why), "%s", report->trouble);
                report->trouble = account->why; /* the play's memory goes */
        }
        report->interrupted = is_interrupted(play) && !play->is_held;
        account->lasted_s = play_s(play);
        witness_init(&seen);
        report->is_complete = fleet_finish(play->fleet, &report->result, &seen);
        progress_end(&play->progress);
        prove(play, &seen);
        witness_fini(&seen);
        fleet_take_series(play->fleet, &account->series);
        fleet_destroy(play->fleet);
        nodes_stop(play->nodes);
        account_add_common(account);
}
