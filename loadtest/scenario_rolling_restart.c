/* loadtest/scenario_rolling_restart.c -- nodes are told to drain, each by an operator who asks
 * another one, and restarted, one after the other while signals go out. Others' nodes are restarted
 * by whoever runs them, while this looks on for --for. */
#include "loadtest/play.h"

#include <stdio.h>
#include <sys/wait.h>

#include "base/clock.h"

#define DRAIN_WITHIN_MS 30000
#define END_PATIENCE_MS 120000 /* a drain may take its time */

struct restarts {
        unsigned asked, in_order, again; /* nodes */
        double longest_s;                /* from the order to its end */
};

static bool all_in(const struct play *play, const struct swarm_counts *counts, void *unused)
{
        (void)unused;
        (void)play;
        return counts->open >= counts->connected_once;
}

static bool wait_end(struct play *play, unsigned i, int *ret_status)
{
        uint64_t until_ms = clock_mono_ms() + END_PATIENCE_MS;

        while (play_goes_on(play) && clock_mono_ms() < until_ms) {
                if (nodes_has_ended(play->nodes, i, ret_status))
                        return true;
                play_pass(play, "drain", 20);
        }
        return false;
}

static bool wait_ready(struct play *play, unsigned i)
{
        uint64_t until_ms = clock_mono_ms() + END_PATIENCE_MS;
        int status;

        while (play_goes_on(play) && clock_mono_ms() < until_ms &&
               !nodes_has_ended(play->nodes, i, &status)) {
                if (nodes_is_ready(play->nodes, i))
                        return true;
                play_pass(play, "restart", 50);
        }
        return false;
}

static bool restart(struct play *play, unsigned i, struct restarts *restarts)
{
        double began_s = play_s(play), took_s;
        char label[40];
        int status = 0;

        snprintf(label, sizeof(label), "%s down", nodes_name(play->nodes, i));
        progress_say(&play->progress, "kickoff drain %s", nodes_name(play->nodes, i));
        if (i == 0)
                play_zero(play, label);
        else
                play_mark(play, label);
        restarts->asked++;
        if (admin_drain(&play->admin, nodes_name(play->nodes, i), DRAIN_WITHIN_MS) != OK) {
                play->account->report.trouble = play->admin.why;
                return false;
        }
        if (!wait_end(play, i, &status))
                return false;
        took_s = play_s(play) - began_s;
        restarts->longest_s = took_s > restarts->longest_s ? took_s : restarts->longest_s;
        restarts->in_order += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (nodes_start_again(play->nodes, i) != OK || !wait_ready(play, i))
                return false;
        restarts->again++;
        snprintf(label, sizeof(label), "%s up", nodes_name(play->nodes, i));
        play_mark(play, label);
        return play_wait(play, "return", all_in, NULL);
}

static void play_restarts(struct play *play, struct restarts *restarts)
{
        const struct wishes *wishes = play->wishes;

        play_connect(play);
        if (!play_goes_on(play))
                return;
        play_mark(play, "start");
        play_tell(play, NULL);
        play_signals(play, (uint64_t)wishes->every_ms, false);
        play_pass(play, "calm", 1000);
        if (play->nodes == NULL) {
                progress_say(&play->progress,
                             "these nodes are not ours: restart them now, one after the other");
                play_zero(play, "yours to restart");
                play_pass(play, "restart", wishes->for_ms);
        }
        for (unsigned i = 0; play->nodes != NULL && i < wishes->nodes; i++)
                if (!restart(play, i, restarts))
                        break;
        play_pass(play, "calm", 1000);
}

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        struct account *account = &accounts[0];
        const struct swarm_counts *counts = &account->report.result.counts;
        struct restarts restarts = { 0 };
        struct play play;
        enum err err;

        if (wishes->nodes == 1) {
                snprintf(
                    account->why, sizeof(account->why),
                    "one node alone cannot be restarted without a gap: give --nodes 2 or more");
                return ERR_INVALID;
        }
        err = play_check_room(wishes, wishes->nodes - 1, account);
        if (err != OK)
                return err;
        err = play_open(&play, wishes, account, NULL);
        if (err != OK)
                return err;
        play_restarts(&play, &restarts);
        play_close(&play);
        account_tile(account, "signals", "signals went out meanwhile", "",
                     (double)account->report.stages + 1);
        account_tile(account, "moves", "times a device moved to another node", "",
                     (double)counts->reconnects);
        account_tile(account, "longest_end_s",
                     "from the order to drain to the end of a node, at most", "s",
                     restarts.longest_s);
        account_figure(account, "asked_to_end", "nodes asked to end", "", restarts.asked);
        account_figure(account, "ended_in_order", "of these, ended in order", "",
                       restarts.in_order);
        account_figure(account, "again", "and were there again", "", restarts.again);
        account_figure(account, "nodes", "nodes of ours", "", wishes->nodes);
        account_figure(account, "goaways", "devices asked to move", "", (double)counts->goaways);
        account_figure(account, "unannounced", "connections that ended without a word", "",
                       (double)counts->lost_connections);
        *ret_n = 1;
        return OK;
}

static void judge(struct account *accounts, unsigned n)
{
        struct account *account = &accounts[0];
        double nodes = account_value(account, "nodes");

        check(n == 1);
        if (nodes == 0) {
                account_judge(account, true,
                              "The nodes were others' to restart: %.0f times a device moved, %.0f "
                              "connections ended without a word.",
                              account_value(account, "moves"),
                              account_value(account, "unannounced"));
                account_judge_delivery(account);
                return;
        }
        account_judge(
            account,
            account_value(account, "again") == nodes &&
                account_value(account, "ended_in_order") == nodes,
            "%.0f of %.0f nodes ended in order, the slowest after %.1f s; %.0f were there "
            "again.",
            account_value(account, "ended_in_order"), nodes,
            account_value(account, "longest_end_s"), account_value(account, "again"));
        account_judge(
            account, account_value(account, "unannounced") == 0,
            "%.0f times a device was asked to move before its node went; %.0f connections "
            "ended without a word.",
            account_value(account, "goaways"), account_value(account, "unannounced"));
        account_judge_delivery(account);
}

const struct scenario scenario_rolling_restart = {
        .name = "rolling-restart",
        .title = "Nodes are restarted under signals",
        .sentence =
            "Nodes are told to drain, end, and are started again, one after the other, while "
            "signals go out.",
        .promise = "no device has a gap, and none loses its node without having been asked to move",
        .defaults = { { "nodes", "3" },
                      { "devices", "6000" },
                      { "connect-rate", "3000" },
                      { "every", "200ms" },
                      { "for", "2m" } },
        .run = run,
        .judge = judge,
};
