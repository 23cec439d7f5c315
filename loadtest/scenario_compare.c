/* loadtest/scenario_compare.c -- stampede and spread, one after the other with the same devices on
 * the same kind of nodes, for one picture. */
#include "loadtest/content.h"

#include <stdio.h>

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        enum err err;

        if (wishes->event != NULL) {
                snprintf(accounts[0].why, sizeof(accounts[0].why),
                         "compare plays two events, each of its own: leave --event out");
                return ERR_INVALID;
        }
        err = content_run(wishes, false, &accounts[0]);
        *ret_n = 1;
        if (err != OK || *wishes->stop != 0)
                return err;
        err = content_run(wishes, true, &accounts[1]);
        if (err != OK)
                snprintf(accounts[0].why, sizeof(accounts[0].why), "%s", accounts[1].why);
        else
                *ret_n = 2;
        return err;
}

static void judge(struct account *accounts, unsigned n)
{
        double without = account_value(&accounts[0], "peak_requests_per_s"), with;

        check(n == 2);
        with = account_value(&accounts[1], "peak_requests_per_s");
        account_judge(
            &accounts[1],
            with > 0 &&
                    with<
                        without,
                        "At its peak the spread asked %.0f times a second, the stampede %.0f: %.1f "
                        "times as often.",
                        with, without, with> 0
                ? without / with
                : 0);
        account_judge(&accounts[1],
                      account_value(&accounts[1], "late_percent") <=
                          account_value(&accounts[0], "late_percent"),
                      "Late screens: %.1f %% with prefetch, %.1f %% without.",
                      account_value(&accounts[1], "late_percent"),
                      account_value(&accounts[0], "late_percent"));
        content_judge(&accounts[0], false);
        content_judge(&accounts[1], true);
}

const struct scenario scenario_compare = {
        .name = "compare",
        .title = "With and without prefetch",
        .sentence =
            "The stampede, then the spread, with the same number of devices: one picture of both.",
        .promise = "prefetch flattens the peak, and no screen is later for it",
        .runs = { "without prefetch", "with prefetch" },
        .defaults = { { "nodes", "1" },
                      { "connect-rate", "2000" },
                      { "think", "300ms" },
                      { "jitter", "200ms" } },
        .run = run,
        .judge = judge,
};
