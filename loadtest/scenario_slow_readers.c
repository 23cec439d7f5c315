/* loadtest/scenario_slow_readers.c -- some devices read slowly or not at all: do the others notice?
 * The same devices over the same connections, twice in turn: all read; then the slow ones sleep.
 * While they sleep nothing is expected of them; afterwards they must be whole again. */
#include "loadtest/play.h"

#include <stdio.h>

/* Often in turn, so that what else goes on on the machine meets both alike; and so briefly asleep
 * that nobody is ended for it (TCP_USER_TIMEOUT, 20 s) unless the machine is very busy. */
#define ROUNDS 5
/* More than this is harm beyond what two measurements on one machine differ by. */
#define RATIO_MAX 2.0
#define NOISE_MS  20.0

static bool play_phase(struct play *play, const char *name, unsigned signals, bool is_asleep)
{
        struct swarm_board *board = play_board(play);
        char stage[STAGE_MAX + 1];

        atomic_store(&board->is_asleep, is_asleep);
        atomic_store(&board->is_beside, is_asleep);
        if (!play_wait(play, name, play_all_up_to_date, NULL))
                return false;
        play_mark(play, name);
        for (unsigned i = 0; i < signals; i++) {
                snprintf(stage, sizeof(stage), "rehearsal-%u", play->changes);
                if (!play_tell(play, stage))
                        return false;
        }
        return true;
}

static double p99_ms(const struct account *account, enum swarm_timing timing)
{
        return (double)histogram_percentile(&account->report.result.timings[timing], 99) / 1e3;
}

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        struct account *account = &accounts[0];
        uint64_t excused = 0;
        double without, with;
        struct play play;
        enum err err = play_open(&play, wishes, account, NULL);

        if (err != OK)
                return err;
        atomic_store(&play_board(&play)->is_asleep, 0);
        play_connect(&play);
        if (play_goes_on(&play) && play_tell(&play, NULL)) {
                for (unsigned i = 0; i < ROUNDS; i++) {
                        if (!play_phase(&play, "all read", wishes->stages, false) ||
                            !play_phase(&play, "some sleep", wishes->stages, true))
                                break;
                        excused = play_counts(&play).excused;
                }
        }
        play_close(&play);
        without = p99_ms(account, TIMING_STAGE);
        with = p99_ms(account, TIMING_BESIDE);
        account_tile(account, "p99_without_ms", "the others' p99 while all read", "ms", without);
        account_tile(account, "p99_beside_ms", "the others' p99 beside slow ones", "ms", with);
        account_tile(account, "ratio", "times as long as while all read", "",
                     without > 0 ? with / without : 0);
        account_tile(account, "slow", "devices read slowly or not at all", "", (double)excused);
        account_figure(account, "too_slow", "closed for being too slow (4008)", "",
                       (double)account->report.result.counts.too_slow);
        *ret_n = 1;
        return OK;
}

static void judge(struct account *accounts, unsigned n)
{
        struct account *account = &accounts[0];
        double without = account_value(account, "p99_without_ms");
        double with = account_value(account, "p99_beside_ms");

        check(n == 1);
        account_judge(account, account_value(account, "slow") > 0 && with > 0,
                      "%.0f of %u devices read slowly or not at all.",
                      account_value(account, "slow"), account->report.devices);
        account_judge(account, with <= without * RATIO_MAX || with - without < NOISE_MS,
                      "Beside them the others were told within %.1f ms (p99), without them within "
                      "%.1f ms: %.2f times.",
                      with, without, account_value(account, "ratio"));
        account_judge_delivery(account);
}

const struct scenario scenario_slow_readers = {
        .name = "slow-readers",
        .title = "Some devices do not read",
        .sentence = "One in ten devices reads slowly or nothing, in turn with all reading.",
        .promise =
            "the others are told as soon as without them, and the slow ones are whole afterwards",
        .defaults = { { "nodes", "1" },
                      { "devices", "4000" },
                      { "slow", "10%" },
                      { "signals", "20" },
                      { "connect-rate", "3000" } },
        .run = run,
        .judge = judge,
};
