/* loadtest/scenario_spread.c -- what Kickoff does instead of a stampede: each device prefetches at
 * a random moment of a window, and holds its content when the signal comes. */
#include "loadtest/content.h"

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        *ret_n = 1;
        return content_run(wishes, true, &accounts[0]);
}

static void judge(struct account *accounts, unsigned n)
{
        check(n == 1);
        content_judge(&accounts[0], true);
}

const struct scenario scenario_spread = {
        .name = "spread",
        .title = "With prefetch: the spread",
        .sentence =
            "Every device prefetches at a random moment of a window; the signal finds them ready.",
        .promise = "at the signal nobody asks for anything, and every screen switches",
        .defaults = { { "nodes", "1" },
                      { "connect-rate", "2000" },
                      { "think", "300ms" },
                      { "jitter", "200ms" } },
        .run = run,
        .judge = judge,
};
