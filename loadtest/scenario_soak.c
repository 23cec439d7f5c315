/* loadtest/scenario_soak.c -- a long while with what a long while brings: devices drop out and come
 * back, signals go out at random. Does the memory of the nodes grow? */
#include "loadtest/play.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"

/* Judged is the second half of the run, for in the first one the pools fill. A node may not grow by
 * more than this in it: both, since a small node's first page of anything is a large share. */
#define GROWTH_MAX_SHARE 0.10
#define GROWTH_MAX_BYTES (4.0 * 1024 * 1024)
#define JUDGED_S         60 /* a shorter run tells its slope and is not judged by it */

static void add_slopes(struct account *account)
{
        double half_s = account->lasted_s / 2, slope = 0, share = 0, bytes = 0;

        for (unsigned i = 0; i < account->watch.n; i++) {
                const struct watch_process *process = &account->watch.processes[i];
                double per_minute = watch_slope(process, half_s), grown, last;

                if (process->n == 0)
                        continue;
                last = process->points[process->n - 1].bytes;
                grown = per_minute * (account->lasted_s - half_s) / 60;
                slope = per_minute > slope || i == 0 ? per_minute : slope;
                bytes = fmax(bytes, grown);
                share = fmax(share, last > 0 ? grown / last : 0);
        }
        account_tile(account, "slope_kib_per_min", "memory of the node that grew most, second half",
                     "KiB/min", slope / 1024);
        account_figure(account, "grown_bytes", "it grew by, in the second half", "B", bytes);
        account_figure(account, "grown_share", "of its memory", "", share);
}

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        struct account *account = &accounts[0];
        const struct swarm_counts *counts = &account->report.result.counts;
        struct play play;
        enum err err = play_open(&play, wishes, account, NULL);

        if (err != OK)
                return err;
        play_connect(&play);
        if (play_goes_on(&play)) {
                play_zero(&play, "start");
                play_tell(&play, NULL);
                atomic_store(&play_board(&play)->churn, wishes->churn);
                play_signals(&play, (uint64_t)wishes->every_ms, true);
                play_pass(&play, "soak", wishes->for_ms);
                atomic_store(&play_board(&play)->churn, 0);
        }
        play_close(&play);
        account_tile(account, "soaked_min", "minutes", "", account->lasted_s / 60);
        account_tile(account, "signals", "signals, at random", "",
                     (double)account->report.stages + 1);
        account_tile(account, "churned", "times a device dropped out", "", (double)counts->churned);
        account_figure(account, "delivered", "signals delivered", "",
                       (double)counts->tally.delivered);
        account_figure(account, "reconnects", "times a device came back", "",
                       (double)counts->reconnects);
        add_slopes(account);
        *ret_n = 1;
        return OK;
}

static void judge(struct account *accounts, unsigned n)
{
        struct account *account = &accounts[0];
        double share = account_value(account, "grown_share");
        double bytes = account_value(account, "grown_bytes");
        bool is_judged = account->lasted_s >= JUDGED_S && account->watch.n > 0;

        check(n == 1);
        account_judge(account, !is_judged || share <= GROWTH_MAX_SHARE || bytes <= GROWTH_MAX_BYTES,
                      "%s %.0f KiB a minute over the second half%s.",
                      account->watch.n > 0 ? "The node that grew most grew by"
                                           : "Nodes that are not ours are not watched:",
                      account_value(account, "slope_kib_per_min"),
                      is_judged ? "" : " (too short a run to judge by)");
        account_judge_delivery(account);
}

const struct scenario scenario_soak = {
        .name = "soak",
        .title = "A long while",
        .sentence =
            "For a long while devices drop out and come back, and signals go out at random.",
        .promise = "nothing is lost, and the memory of the nodes stays where it is",
        .defaults = { { "nodes", "2" },
                      { "devices", "2000" },
                      { "connect-rate", "2000" },
                      { "every", "5s" },
                      { "for", "10m" },
                      { "churn", "20%" },
                      { "jitter", "200ms" } },
        .run = run,
        .judge = judge,
};
