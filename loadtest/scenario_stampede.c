/* loadtest/scenario_stampede.c -- what Kickoff is there to prevent: nobody prefetches, and all
 * fetch their content when they are told of the start. */
#include "loadtest/content.h"

static enum err run(const struct wishes *wishes, struct account *accounts, unsigned *ret_n)
{
        *ret_n = 1;
        return content_run(wishes, false, &accounts[0]);
}

static void judge(struct account *accounts, unsigned n)
{
        check(n == 1);
        content_judge(&accounts[0], false);
}

const struct scenario scenario_stampede = {
        .name = "stampede",
        .title = "Without prefetch: the stampede",
        .sentence = "Nobody prefetches: at the signal every device fetches its content at once.",
        .promise = "even so every screen switches in the end, and no signal is lost",
        .defaults = { { "nodes", "1" },
                      { "connect-rate", "2000" },
                      { "think", "300ms" },
                      { "jitter", "200ms" } },
        .run = run,
        .judge = judge,
};
