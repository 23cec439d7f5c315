/* loadtest/scenario_connect_storm.c -- the door: everybody arrives in the same moment. */
#include "loadtest/play.h"

static void adjust(const struct wishes *wishes, struct swarm_options *options)
{
        (void)wishes;
        options->no_prefetch = true;
}

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        struct account *account = &accounts[0];
        const struct swarm_counts *counts = &account->report.result.counts;
        struct play play;
        enum err err = play_open(&play, wishes, account, adjust);

        if (err != OK)
                return err;
        play_connect(&play);
        if (play_goes_on(&play)) {
                play_mark(&play, "all in");
                play_mark(&play, "start");
                play_tell(&play, NULL);
        }
        play_close(&play);
        account_tile(account, "connected", "devices in", "", (double)counts->connected_once);
        account_tile(account, "all_in_s", "until the last one was in", "s",
                     (double)account->report.connect_us / 1e6);
        account_tile(account, "peak_in_per_s", "sessions opened in the best second", "/s",
                     series_peak(&account->series, SERIES_WELCOMES, 0, 1, NULL));
        account_tile(account, "tries_per_device", "connections begun per device", "",
                     counts->devices > 0 ? (double)counts->connects / (double)counts->devices : 0);
        *ret_n = 1;
        return OK;
}

static void judge(struct account *accounts, unsigned n)
{
        const struct swarm_counts *counts = &accounts[0].report.result.counts;

        check(n == 1);
        account_judge(&accounts[0], counts->connected_once == counts->devices,
                      "%llu devices came at once, and %llu got in, the last one after %.1f s.",
                      (unsigned long long)counts->devices,
                      (unsigned long long)counts->connected_once,
                      account_value(&accounts[0], "all_in_s"));
        account_judge_delivery(&accounts[0]);
}

const struct scenario scenario_connect_storm = {
        .name = "connect-storm",
        .title = "Everybody arrives at once",
        .sentence =
            "All devices connect in the same moment, as after a goal that everybody heard of.",
        .promise =
            "nobody is lost at the door: who is refused is told when to come back, and gets in",
        .defaults = { { "nodes", "1" }, { "connect-rate", "0" } },
        .run = run,
        .judge = judge,
};
