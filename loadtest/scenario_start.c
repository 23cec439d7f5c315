/* loadtest/scenario_start.c -- the rehearsal of the evening itself: connect, prefetch, start,
 * stages. By default against nodes that are there already. */
#include "loadtest/play.h"

#include <stdio.h>

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        char stage[STAGE_MAX + 1];
        struct play play;
        bool is_told;
        enum err err = play_open(&play, wishes, &accounts[0], NULL);

        if (err != OK)
                return err;
        play_connect(&play);
        if (play_goes_on(&play))
                play_zero(&play, "start");
        is_told = play_goes_on(&play) && (play_tell(&play, NULL) || play_goes_on(&play));
        for (unsigned i = 1; is_told && i <= wishes->stages; i++) {
                snprintf(stage, sizeof(stage), "rehearsal-%u", i);
                is_told = play_tell(&play, stage) || play_goes_on(&play);
        }
        if (is_told && wishes->hold) {
                play.is_held = true;
                play_pass(&play, "hold", INT64_MAX / 4);
        }
        play_close(&play);
        *ret_n = 1;
        return OK;
}

static void judge(struct account *accounts, unsigned n)
{
        check(n == 1);
        account_judge_delivery(&accounts[0]);
}

const struct scenario scenario_start = {
        .name = "start",
        .title = "An event starts",
        .sentence =
            "Devices connect, prefetch and wait; then the event starts, and every one of them "
            "is told.",
        .promise = "every device that got in is told, in order, by the log's own numbers and tags",
        .run = run,
        .judge = judge,
};
