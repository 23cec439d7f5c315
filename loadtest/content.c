/* loadtest/content.c -- see content.h. */
#include "loadtest/content.h"

#include "loadtest/play.h"

#include <stdio.h>

#include "base/clock.h"

#define AFTERWARDS_MS 2000 /* shown in the picture after the last device has its content */

static void adjust_stampede(const struct wishes *wishes, struct swarm_options *options)
{
        options->no_prefetch = false;
        options->fetches_at_start = true;
        options->fetch_slots = wishes->devices; /* a device waits for no other one */
}

static void adjust_spread(const struct wishes *wishes, struct swarm_options *options)
{
        options->no_prefetch = false;
        options->fetch_window_ms = (uint32_t)wishes->window_ms;
}

static bool all_shown(const struct play *play, const struct swarm_counts *counts, void *unused)
{
        (void)unused;
        return counts->shown + counts->dead + counts->prefetch_failed >= counts->connected_once &&
               play_all_up_to_date(play, counts, NULL);
}

static void add_figures(struct account *account, uint64_t shown_us)
{
        const struct swarm_counts *counts = &account->report.result.counts;
        const struct series *series = &account->series;
        const struct histogram *shown = &account->report.result.timings[TIMING_SHOWN];
        uint64_t before = 0, rows = (uint64_t)(account->zero_s / series_row_s(series));

        for (uint64_t i = 0; i < rows && i < series->n; i++)
                before += series->rows[i][SERIES_REQUESTS];
        account_tile(account, "peak_requests_per_s", "prefetch requests, most in one second", "/s",
                     series_peak(series, SERIES_REQUESTS, 0, 1, NULL));
        account_tile(account, "all_shown_s", "from the signal until every screen had switched", "s",
                     (double)shown_us / 1e6);
        account_tile(account, "late_percent", "of screens switched late", "%",
                     counts->shown > 0 ? 100 * (double)counts->shown_late / (double)counts->shown
                                       : 0);
        account_tile(account, "requests_after", "prefetch requests after the signal", "",
                     (double)(series_total(series, SERIES_REQUESTS) - before));
        account_figure(account, "shown_p50_ms", "from the request to a switched screen, p50", "ms",
                       (double)histogram_percentile(shown, 50) / 1e3);
        account_figure(account, "shown_p99_ms", "from the request to a switched screen, p99", "ms",
                       (double)histogram_percentile(shown, 99) / 1e3);
        account_figure(account, "shown", "screens switched", "", (double)counts->shown);
        account_figure(account, "peak_requests_tenth", "the same in the busiest tenth of a second",
                       "/s", series_peak(series, SERIES_REQUESTS, 0, 0.1, NULL));
        account_figure(account, "shed", "prefetch requests refused, with a time to come back", "",
                       (double)counts->prefetch_shed);
        account_figure(account, "fetch_again", "prefetches begun again after a lost connection", "",
                       (double)counts->prefetch_again);
}

enum err content_run(const struct wishes *wishes, bool is_spread, struct account *account)
{
        uint64_t asked_us, shown_us = 0;
        struct play play;
        enum err err =
            play_open(&play, wishes, account, is_spread ? adjust_spread : adjust_stampede);

        if (err != OK)
                return err;
        play_connect(&play);
        play_pass(&play, "calm", 1000);
        if (play_goes_on(&play)) {
                asked_us = clock_mono_us();
                play_zero(&play, "start");
                play_signal(&play, NULL);
                play_wait(&play, is_spread ? "start" : "stampede", all_shown, NULL);
                shown_us = atomic_load(&play_board(&play)->last_shown_us);
                shown_us = shown_us > asked_us ? shown_us - asked_us : 0;
                play_pass(&play, "calm", AFTERWARDS_MS);
        }
        play_close(&play);
        add_figures(account, shown_us);
        return OK;
}

void content_judge(struct account *account, bool is_spread)
{
        const struct swarm_counts *counts = &account->report.result.counts;
        uint64_t awake = counts->devices - counts->dead;
        double requests_after = account_value(account, "requests_after");

        account_judge(
            account, counts->shown >= awake,
            "%llu of %llu screens switched, the last one %.2f s after the signal; %.1f %% "
            "were late.",
            (unsigned long long)counts->shown, (unsigned long long)awake,
            account_value(account, "all_shown_s"), account_value(account, "late_percent"));
        if (is_spread)
                account_judge(
                    account, requests_after == 0,
                    "Nobody had to ask for anything at the signal: %.0f requests after it.",
                    requests_after);
        account_judge_delivery(account);
}
