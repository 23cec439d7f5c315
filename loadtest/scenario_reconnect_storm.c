/* loadtest/scenario_reconnect_storm.c -- a node dies with its devices: kill -9 for nodes of ours,
 * for others' a cut of all our connections to the last of them. While they are away, a signal is
 * sent. */
#include "loadtest/play.h"

#include <stdio.h>

#include "base/clock.h"

#include "loadtest/model.h"

struct loss {
        uint64_t expected;   /* devices that will notice */
        uint64_t lost, back; /* counters before */
};

static uint64_t lost_so_far(const struct swarm_counts *counts)
{
        return counts->lost_connections + counts->closed_by_node + counts->cut;
}

static uint64_t on_node(const struct play *play, unsigned victim)
{
        uint64_t n = 0;

        for (uint32_t i = victim; i < play->wishes->devices; i += play->n_targets)
                n += model_role(&play->wishes->model, i) == MODEL_BRISK;
        return n;
}

static bool all_back(const struct play *play, const struct swarm_counts *counts, void *arg)
{
        const struct loss *loss = arg;
        uint64_t lost = lost_so_far(counts) - loss->lost;

        return lost >= loss->expected && counts->reconnects - loss->back >= lost &&
               counts->open >= counts->connected_once && play_all_up_to_date(play, counts, NULL);
}

static void strike(struct play *play, unsigned victim)
{
        struct swarm_board *board = play_board(play);

        if (play->nodes != NULL) {
                progress_say(&play->progress, "kill -9 %s", nodes_name(play->nodes, victim));
                play_zero(play, "kill -9");
                nodes_kill(play->nodes, victim);
                return;
        }
        progress_say(&play->progress,
                     "these nodes are not ours to kill: cutting all connections to ws://%s",
                     play->targets[victim].host);
        play_zero(play, "cut");
        atomic_store(&board->cut_target, victim);
        atomic_fetch_add(&board->cut_round, 1);
}

static void play_storm(struct play *play, struct loss *loss, bool *ret_is_back,
                       uint64_t *ret_back_us)
{
        unsigned victim = play->n_targets - 1;
        struct swarm_counts counts;
        uint64_t struck_us, back_us;

        if (!play_connect(play) && !play_goes_on(play))
                return;
        play_mark(play, "start");
        play_tell(play, NULL);
        play_pass(play, "calm", 2000); /* so that the storm stands alone in the picture */
        if (!play_goes_on(play))
                return;
        counts = play_counts(play);
        *loss = (struct loss){ .expected = on_node(play, victim),
                               .lost = lost_so_far(&counts),
                               .back = counts.reconnects };
        struck_us = clock_mono_us();
        strike(play, victim);
        if (!play_signal(play, "while-away"))
                return;
        *ret_is_back = play_wait(play, "storm", all_back, loss);
        back_us = atomic_load(&play_board(play)->last_back_us);
        *ret_back_us = back_us > struck_us ? back_us - struck_us : 0;
        if (*ret_is_back)
                play_mark(play, "all back");
        play_pass(play, "calm", 1000);
}

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        struct account *account = &accounts[0];
        const struct histogram *back = &account->report.result.timings[TIMING_BACK];
        struct loss loss = { 0 };
        uint64_t back_us = 0;
        bool is_back = false;
        struct play play;
        enum err err;

        if (wishes->nodes == 1) {
                snprintf(account->why, sizeof(account->why),
                         "with one node there is none to come back to: give --nodes 2 or more");
                return ERR_INVALID;
        }
        err = play_check_room(wishes, wishes->nodes - 1, account);
        if (err != OK)
                return err;
        err = play_open(&play, wishes, account, NULL);
        if (err != OK)
                return err;
        play_storm(&play, &loss, &is_back, &back_us);
        play_close(&play);
        account_tile(account, "struck", "devices lost their node", "", (double)loss.expected);
        account_tile(account, "back_s", "until the last one was back", "s", (double)back_us / 1e6);
        account_tile(account, "storm_dials_per_s", "connections begun, most in one second of it",
                     "/s", series_peak(&account->series, SERIES_DIALS, account->zero_s, 1, NULL));
        account_tile(account, "storm_back_per_s", "devices back, most in one second", "/s",
                     series_peak(&account->series, SERIES_BACK, account->zero_s, 1, NULL));
        account_figure(account, "away_p50_ms", "without a session, p50", "ms",
                       (double)histogram_percentile(back, 50) / 1e3);
        account_figure(account, "away_p99_ms", "without a session, p99", "ms",
                       (double)histogram_percentile(back, 99) / 1e3);
        account_figure(account, "is_back", "all were back (1) or not (0)", "", is_back);
        *ret_n = 1;
        return OK;
}

static void judge(struct account *accounts, unsigned n)
{
        struct account *account = &accounts[0];
        const struct simtally *tally = &account->report.result.counts.tally;
        uint64_t resets = 0;

        check(n == 1);
        for (unsigned i = 0; i < RESET_REASONS; i++)
                resets += tally->resets[i];
        account_judge(
            account, account_value(account, "is_back") != 0 && account_value(account, "struck") > 0,
            account_value(account, "is_back") != 0
                ? "%.0f devices lost their node, and all were back within %.1f s."
                : "%.0f devices lost their node, and some had not come back after %.1f s.",
            account_value(account, "struck"), account_value(account, "back_s"));
        account_judge(account, resets == 0,
                      "They came back by their tokens: %llu had to begin anew.",
                      (unsigned long long)resets);
        account_judge_delivery(account);
}

const struct scenario scenario_reconnect_storm = {
        .name = "reconnect-storm",
        .title = "A node dies",
        .sentence =
            "One of several nodes is killed with all its devices; a signal goes out while they "
            "are away.",
        .promise =
            "all come back by their tokens, paced, and get what they missed: nothing is lost",
        .defaults = { { "nodes", "3" }, { "devices", "9000" }, { "connect-rate", "3000" } },
        .run = run,
        .judge = judge,
};
