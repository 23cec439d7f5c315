/* The checker sees what it is there for: each ledger here is a good one with one thing wrong in it.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/faults/checker.h"

#define EPOCH 0xe1

static struct token token(seqno seq)
{
        return (struct token){ EPOCH, seq, 0x1000 + seq };
}

static void tell(struct ledger *ledger, enum ledger_kind kind, const char *device,
                 struct token place, const char *stage, uint64_t version)
{
        struct event_state state = { .version = version };
        struct ledger_line line = { .kind = kind,
                                    .token = place,
                                    .signal_kind = SIGNAL_STAGE,
                                    .events = &state,
                                    .n_events = 1 };

        strcpy(line.name, device);
        strcpy(state.event, "final");
        strcpy(state.stage, stage);
        ledger_add(ledger, &line);
}

static void acknowledge(struct ledger *ledger, const char *key, seqno seq)
{
        struct token place = token(seq);
        char mark[16];

        snprintf(mark, sizeof(mark), "m%u", (unsigned)seq);
        ledger_asked(ledger, key, "final", mark);
        ledger_answered(ledger, key, 200, &place, "final", seq);
}

/* Number n is version n of `final` at stage mN. */
static void signal_to(struct ledger *ledger, const char *device, seqno seq)
{
        char mark[16];

        snprintf(mark, sizeof(mark), "m%u", (unsigned)seq);
        tell(ledger, LEDGER_SIGNAL, device, token(seq), mark, seq);
}

static void state_to(struct ledger *ledger, enum ledger_kind kind, const char *device, seqno seq)
{
        char mark[16];

        snprintf(mark, sizeof(mark), "m%u", (unsigned)seq);
        tell(ledger, kind, device, token(seq), mark, seq);
}

/* tv-0 and tv-1 come at number 1; `a` makes 2, `b` makes 3. `but` leaves one delivery out. */
static struct ledger *good_but(const char *device, seqno missing)
{
        struct ledger *ledger = ledger_create();

        for (int i = 0; i < 2; i++)
                state_to(ledger, LEDGER_RESET, i ? "tv-1" : "tv-0", 1);
        acknowledge(ledger, "a", 2);
        acknowledge(ledger, "b", 3);
        for (seqno seq = 2; seq <= 3; seq++)
                for (int i = 0; i < 2; i++)
                        if (!device || strcmp(device, i ? "tv-1" : "tv-0") != 0 || seq != missing)
                                signal_to(ledger, i ? "tv-1" : "tv-0", seq);
        return ledger;
}

static void end(struct ledger *ledger, seqno seq)
{
        for (seqno i = 1; i <= seq; i++)
                state_to(ledger, LEDGER_LOG, "log", i);
        state_to(ledger, LEDGER_TRUTH, "node", seq);
}

static void judged(struct ledger *ledger, const char *finding)
{
        struct findings findings;
        bool found = false;

        checker_judge(ledger, NULL, &findings);
        for (unsigned i = 0; i < findings.n && i < FINDINGS_MAX; i++)
                found = found || (finding && strstr(findings.text[i], finding));
        if (!finding)
                cr_assert(findings.n == 0, "found without reason: %s", findings.text[0]);
        else
                cr_assert(found, "not found: %s; but %u others, first: %s", finding, findings.n,
                          findings.text[0]);
        ledger_destroy(ledger);
}

Test(checker, finds_nothing_where_nothing_is_wrong)
{
        struct ledger *ledger = good_but(NULL, 0);

        end(ledger, 3);
        judged(ledger, NULL);
}

Test(checker, line_1_an_acknowledged_signal_that_left_the_log)
{
        struct ledger *ledger = good_but(NULL, 0);

        state_to(ledger, LEDGER_LOG, "log", 1);
        state_to(ledger, LEDGER_LOG, "log", 2);
        state_to(ledger, LEDGER_TRUTH, "node", 3);
        judged(ledger, "line 1: number 3");
}

Test(checker, line_2_a_refused_request_that_is_a_signal)
{
        struct ledger *ledger = good_but(NULL, 0);

        ledger_asked(ledger, "c", "final", "m4");
        ledger_answered(ledger, "c", 503, NULL, NULL, 0);
        signal_to(ledger, "tv-0", 4);
        signal_to(ledger, "tv-1", 4);
        end(ledger, 4);
        judged(ledger, "line 2: request c");
}

Test(checker, line_3_an_unknown_request_may_be_a_signal_once)
{
        struct ledger *ledger = good_but(NULL, 0);

        ledger_asked(ledger, "c", "final", "m4");
        ledger_answered(ledger, "c", 0, NULL, NULL, 0);
        signal_to(ledger, "tv-0", 4);
        signal_to(ledger, "tv-1", 4);
        end(ledger, 4);
        judged(ledger, NULL);
}

Test(checker, line_3_a_refusal_that_was_none)
{
        struct ledger *ledger = good_but(NULL, 0);
        struct token place = token(4);

        ledger_asked(ledger, "c", "final", "m4");
        ledger_answered(ledger, "c", 503, NULL, NULL, 0);
        usleep(1000); /* the lines are compared by their microsecond */
        signal_to(ledger, "tv-0", 4);
        signal_to(ledger, "tv-1", 4);
        usleep(1000);
        ledger_asked(ledger, "c", "final", "m4");
        ledger_answered(ledger, "c", 200, &place, "final", 4);
        end(ledger, 4);
        judged(ledger, "line 3: request c was refused, and number 4 came of it");
}

Test(checker, line_3_one_key_with_two_signals)
{
        struct ledger *ledger = good_but(NULL, 0);

        tell(ledger, LEDGER_SIGNAL, "tv-0", token(4), "m3", 4);
        judged(ledger, "line 3: request b made 2 signals");
}

Test(checker, line_3_one_key_with_two_answers)
{
        struct ledger *ledger = good_but(NULL, 0);
        struct token other = token(2);

        ledger_answered(ledger, "b", 200, &other, "final", 2);
        judged(ledger, "line 3: request b was acknowledged as number 3 and as number 2");
}

Test(checker, line_4_a_hole_in_the_numbers)
{
        judged(good_but("tv-1", 2), "line 4: tv-1 had number 3 after 1");
}

Test(checker, line_4_one_number_with_two_tags)
{
        struct ledger *ledger = good_but("tv-1", 3);
        struct token forked = token(3);

        forked.tag++;
        tell(ledger, LEDGER_SIGNAL, "tv-1", forked, "m3", 3);
        judged(ledger, "line 4: number 3 has one tag with");
}

Test(checker, line_4_what_the_sdk_had_to_refuse)
{
        struct ledger *ledger = good_but(NULL, 0);
        struct ledger_line line = { .kind = LEDGER_LOST, .name = "tv-0" };

        strcpy(line.text, "gap: signal 9 came after 3");
        ledger_add(ledger, &line);
        judged(ledger, "line 4: tv-0 was sent what it had to refuse");
}

Test(checker, line_5_a_device_that_never_had_it)
{
        judged(good_but("tv-1", 3), "line 5: tv-1 never had number 3 of request b");
}

Test(checker, line_5_is_not_owed_to_a_device_that_is_away)
{
        struct ledger *ledger = good_but("tv-1", 3);

        ledger_device(ledger, LEDGER_LEFT, "tv-1", NULL);
        end(ledger, 3);
        judged(ledger, NULL);
}

Test(checker, line_6_a_reset_stands_in_for_signals)
{
        struct ledger *ledger = good_but("tv-1", 3);

        state_to(ledger, LEDGER_RESET, "tv-1", 3);
        end(ledger, 3);
        judged(ledger, NULL);
}

Test(checker, line_6_but_not_with_an_older_state)
{
        struct ledger *ledger = good_but("tv-1", 3);

        tell(ledger, LEDGER_RESET, "tv-1", token(3), "m2", 2);
        judged(ledger, "line 6: tv-1 was reset in the stead of number 3, but to a state older");
}

Test(checker, line_6_a_device_that_ends_with_another_state)
{
        struct ledger *ledger = good_but(NULL, 0);

        tell(ledger, LEDGER_TRUTH, "node", token(3), "other", 3);
        judged(ledger, "line 6: tv-0 ends with final at m3");
}

Test(checker, line_7_an_older_version_after_a_newer)
{
        struct ledger *ledger = good_but(NULL, 0);

        tell(ledger, LEDGER_SIGNAL, "tv-0", token(4), "m1", 1);
        judged(ledger, "line 7: tv-0 had version 1 of final after 3");
}

Test(checker, line_7_a_reset_that_leads_back_within_the_epoch)
{
        struct ledger *ledger = good_but(NULL, 0);

        state_to(ledger, LEDGER_RESET, "tv-0", 2);
        judged(ledger, "line 7: tv-0 was reset to number 2 after 3 of the same epoch");
}

Test(checker, line_7_another_epoch_without_a_reset)
{
        struct ledger *ledger = good_but(NULL, 0);
        struct token foreign = { EPOCH + 1, 4, 9 };

        tell(ledger, LEDGER_SIGNAL, "tv-0", foreign, "m4", 4);
        judged(ledger, "line 7: tv-0 had a signal of another epoch");
}

/* A new epoch that begins before the acknowledged signal: silent loss, unless the rules say that
 * the fault takes signals away and telling is enough. */
Test(checker, a_loss_counts_unless_it_may_be_told)
{
        const struct checker_rules may = { .loss_may_be_told = true };
        struct token fresh = { EPOCH + 1, 1, 7 };
        struct findings strict, told;
        struct ledger *ledger = good_but("tv-1", 3);

        tell(ledger, LEDGER_RESET, "tv-1", fresh, "m2", 2);
        checker_judge(ledger, NULL, &strict);
        checker_judge(ledger, &may, &told);
        cr_assert(gt(u32, strict.n, 0));
        cr_assert(eq(u32, told.n, 0), "%s", told.text[0]);
        ledger_destroy(ledger);
}

Test(checker, two_tags_of_one_number_count_unless_the_log_may_fork)
{
        const struct checker_rules may = { .loss_may_be_told = true, .numbers_may_fork = true };
        struct token forked = token(3), fresh = { EPOCH + 1, 1, 7 };
        struct findings strict, told, untold;
        struct ledger *ledger = good_but("tv-1", 3);

        forked.tag++;
        tell(ledger, LEDGER_SIGNAL, "tv-1", forked, "fork", 3);
        checker_judge(ledger, &may, &untold);
        tell(ledger, LEDGER_RESET, "tv-1", fresh, "m2", 2);
        checker_judge(ledger, NULL, &strict);
        checker_judge(ledger, &may, &told);
        cr_assert(gt(u32, strict.n, 0));
        cr_assert(eq(u32, told.n, 0), "%s", told.text[0]);
        cr_assert(gt(u32, untold.n, 0)); /* it may not go without saying */
        ledger_destroy(ledger);
}
