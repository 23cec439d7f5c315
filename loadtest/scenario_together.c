/* loadtest/scenario_together.c -- the same start twice, to devices whose clocks are all wrong: once
 * for now, so that each switches when it has been told, and once announced ahead, so that each
 * switches at the moment named. */
#include "loadtest/play.h"

#include <stdio.h>

#define CALM_MS      500
#define TOGETHER_MS  50 /* what eyes side by side take for the same moment */
#define FIRST_SHARE  1  /* the middle 98 of 100 are told apart: one machine plays all, and stutters */
#define LAST_SHARE   99

static void adjust(const struct wishes *wishes, struct swarm_options *options)
{
        options->keeps_time = true;
        options->skew_ms = (uint32_t)wishes->skew_ms;
        options->no_prefetch = true; /* it is about when, not about what */
}

static bool all_know_the_time(const struct play *play, const struct swarm_counts *counts,
                              void *unused)
{
        (void)play, (void)unused;
        return counts->timed + counts->dead >= counts->connected_once;
}

static bool all_have_acted(const struct play *play, const struct swarm_counts *counts, void *unused)
{
        (void)unused;
        return counts->acted + counts->dead >= counts->connected_once &&
               play_all_up_to_date(play, counts, NULL);
}

static double ms(int64_t us)
{
        return (double)us / 1e3;
}

static void add_figures(struct account *account, int64_t lead_ms)
{
        const struct moments *moments = &account->report.result.moments;
        int64_t early = moments_percentile(moments, FIRST_SHARE),
                late = moments_percentile(moments, LAST_SHARE);

        account_tile(account, "apart_98_ms", "within which 98 of 100 devices switched", "ms",
                     ms(late - early));
        account_tile(account, "apart_ms", "between the first device that switched and the last",
                     "ms", moments->total > 0 ? ms(moments->last_us - moments->first_us) : 0);
        account_tile(account, "switched_p50_ms", "from the moment named to the switch, p50", "ms",
                     ms(moments_percentile(moments, 50)));
        account_tile(account, "switched_p99_ms", "from the moment named to the switch, p99", "ms",
                     ms(late));
        account_figure(account, "switched_first_ms",
                       "the first device switched; negative: before the moment named", "ms",
                       ms(moments->first_us));
        account_figure(account, "switched_last_ms", "the last device switched", "ms",
                       ms(moments->last_us));
        account_figure(account, "lead_ms", "so long before that moment it was announced", "ms",
                       (double)lead_ms);
}

static enum err run_once(const struct wishes *wishes, int64_t lead_ms, struct account *account)
{
        struct play play;
        enum err err = play_open(&play, wishes, account, adjust);

        if (err != OK)
                return err;
        play_connect(&play);
        play_wait(&play, "clocks", all_know_the_time, NULL);
        play_pass(&play, "calm", CALM_MS);
        if (play_goes_on(&play)) {
                play.lead_ms = lead_ms;
                play_zero(&play, "start");
                play_signal(&play, NULL);
                play_wait(&play, "start", all_have_acted, NULL);
        }
        play_close(&play);
        add_figures(account, lead_ms);
        return OK;
}

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        enum err err;

        if (wishes->event != NULL) {
                snprintf(accounts[0].why, sizeof(accounts[0].why),
                         "together plays two events, each of its own: leave --event out");
                return ERR_INVALID;
        }
        err = run_once(wishes, 0, &accounts[0]);
        *ret_n = 1;
        if (err != OK || *wishes->stop != 0)
                return err;
        err = run_once(wishes, wishes->lead_ms, &accounts[1]);
        if (err != OK)
                snprintf(accounts[0].why, sizeof(accounts[0].why), "%s", accounts[1].why);
        else
                *ret_n = 2;
        return err;
}

static void judge(struct account *accounts, unsigned n)
{
        double without = account_value(&accounts[0], "apart_98_ms"),
               with = account_value(&accounts[1], "apart_98_ms");

        check(n == 2);
        account_judge(&accounts[1], with <= TOGETHER_MS,
                      "Announced %.1f s ahead, 98 of 100 devices switched within %.1f ms; told at "
                      "the moment itself, within %.1f ms.",
                      account_value(&accounts[1], "lead_ms") / 1e3, with, without);
        for (unsigned i = 0; i < n; i++) {
                const struct swarm_counts *counts = &accounts[i].report.result.counts;
                uint64_t awake = accounts[i].report.devices - counts->dead;

                account_judge(&accounts[i], counts->acted >= awake && counts->timed >= awake,
                              "%llu of %llu devices switched; %llu knew the node's time by then.",
                              (unsigned long long)counts->acted, (unsigned long long)awake,
                              (unsigned long long)counts->timed);
                account_judge_delivery(&accounts[i]);
        }
}

const struct scenario scenario_together = {
        .name = "together",
        .title = "Announced ahead, or told at the moment",
        .sentence = "The same start twice, to devices whose clocks are wrong: for now, and announced "
                    "ahead; when does each of them switch?",
        .promise = "announced ahead, 98 of 100 screens switch within 50 ms, however wrong their clocks",
        .runs = { "told at the moment", "announced ahead" },
        .defaults = { { "nodes", "1" }, { "connect-rate", "2000" } },
        .run = run,
        .judge = judge,
};
