/* The follower's core: what it does with each input. What it makes of many at random is
 * test_follower_model.c's question. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "fanout/follower_core.h"
#include "tests/fanout/bare_entry.h"

static struct follower_actions step(struct follower_core *core, struct follower_input input,
                                    uint64_t now_ms)
{
        struct follower_actions actions;

        follower_step(core, &input, now_ms, &actions);
        return actions;
}

static struct follower_actions plain(struct follower_core *core, enum follower_input_kind kind,
                                     uint64_t now_ms)
{
        return step(core, (struct follower_input){ .kind = kind }, now_ms);
}

static struct follower_actions told(struct follower_core *core, enum follower_input_kind kind,
                                    struct token token, unsigned request, uint64_t now_ms)
{
        return step(core,
                    (struct follower_input){ .kind = kind, .token = token, .request = request },
                    now_ms);
}

static struct follower_actions range(struct follower_core *core, struct entry **entries, size_t n,
                                     struct token token, unsigned request, uint64_t now_ms)
{
        return step(core,
                    (struct follower_input){ .kind = FOLLOWER_RANGE,
                                             .entries = entries,
                                             .n = n,
                                             .token = token,
                                             .request = request },
                    now_ms);
}

static struct follower_actions message(struct follower_core *core, struct entry *entry,
                                       uint64_t now_ms)
{
        struct entry *entries[] = { entry };
        struct follower_actions actions = step(
            core, (struct follower_input){ .kind = FOLLOWER_MESSAGE, .entries = entries, .n = 1 },
            now_ms);

        entry_unref(entry);
        return actions;
}

/* Installed at 7.3.<tag 30> and confirmed there, at time 1000. */
static struct follower_core following(void)
{
        struct follower_core core;
        struct follower_actions actions;
        struct token at = { 7, 3, 30 };

        follower_core_init(&core);
        actions = plain(&core, FOLLOWER_LINK_UP, 1000);
        actions = told(&core, FOLLOWER_STATE, at, actions.request, 1000);
        actions = told(&core, FOLLOWER_HEAD, at, actions.request, 1000);
        cr_assert(actions.confirmed);
        return core;
}

Test(follower_core, begins_with_the_state_and_asks_the_head_after_it)
{
        struct follower_core core;
        struct follower_actions actions;
        struct token at = { 7, 3, 30 };

        follower_core_init(&core);
        cr_assert(follower_is_stale(&core, 0));
        actions = plain(&core, FOLLOWER_TICK, 900);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_NOTHING));
        actions = plain(&core, FOLLOWER_LINK_UP, 1000);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE));
        cr_assert(not(actions.install));
        actions = told(&core, FOLLOWER_STATE, at, actions.request, 1000);
        cr_assert(actions.install);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD));
        cr_assert(not(core.caught_up));
        actions = told(&core, FOLLOWER_HEAD, at, actions.request, 1000);
        cr_assert(actions.confirmed);
        cr_assert(core.caught_up);
        cr_assert(not(follower_is_stale(&core, 3000)));
        cr_assert(follower_is_stale(&core, 3001));
}

/* The answer tells of the log as it was somewhere between question and answer: only the question's
 * time is safe to count from (contract line 8). */
Test(follower_core, a_late_answer_confirms_the_head_as_of_its_question)
{
        struct follower_core core = following();
        struct token at = { 7, 3, 30 };
        struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);

        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD));
        actions = told(&core, FOLLOWER_HEAD, at, actions.request, 3900);
        cr_assert(actions.confirmed);
        cr_assert(not(follower_is_stale(&core, 4000)));
        cr_assert(follower_is_stale(&core, 4001));
}

Test(follower_core, delivers_the_next_message_and_drops_a_repeat)
{
        struct follower_core core = following();

        cr_assert(eq(sz, message(&core, make_entry(7, 4, 40, 30), 1001).deliver_n, 1));
        cr_assert(eq(u64, core.head.seq, 4));
        cr_assert(eq(sz, message(&core, make_entry(7, 4, 40, 30), 1002).deliver_n, 0));
        cr_assert(eq(u64, core.repeats, 1));
        cr_assert(eq(int, core.trust, FOLLOWER_SURE));
}

Test(follower_core, reads_a_gap_back_before_anything_newer)
{
        struct follower_core core = following();
        struct follower_actions actions = message(&core, make_entry(7, 6, 60, 50), 1001);
        struct entry *entries[] = { make_entry(7, 4, 40, 30), make_entry(7, 5, 50, 40),
                                    make_entry(7, 6, 60, 50) };

        cr_assert(eq(sz, actions.deliver_n, 0));
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_RANGE));
        cr_assert(eq(u64, actions.range_from, 4));
        cr_assert(eq(u64, core.gaps, 1));

        /* The first two also come late as messages, while the range is on its way. */
        cr_assert(eq(sz, message(&core, make_entry(7, 4, 40, 30), 1002).deliver_n, 1));
        actions = range(&core, entries, 3, (struct token){ 7, 6, 60 }, actions.request, 1003);
        cr_assert(eq(sz, actions.deliver_from, 1));
        cr_assert(eq(sz, actions.deliver_n, 2));
        cr_assert(eq(u64, core.head.seq, 6));
        cr_assert(core.caught_up);
        for (size_t i = 0; i < 3; i++)
                entry_unref(entries[i]);
}

Test(follower_core, notices_a_lost_last_message_with_the_next_head)
{
        struct follower_core core = following();
        struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);

        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD));
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 4, 40 }, actions.request, 2001);
        cr_assert(not(actions.confirmed));
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_RANGE));
}

Test(follower_core, an_old_message_of_another_history_never_causes_an_install)
{
        struct follower_core core = following();
        struct follower_actions actions = message(&core, make_entry(6, 9, 90, 80), 1001);

        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD));
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 3, 30 }, actions.request, 1002);
        cr_assert(actions.confirmed);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_NOTHING));
}

/* What the log says about its end that proves ours is not its history. Head asked at 7.3.30. */
static const struct token breaks[] = {
        { 8, 3, 30 }, { 7, 3, 31 }, { 7, 2, 20 }, { 8, 9, 90 }, { 0, 0, 0 }
};

Test(follower_core, reads_the_state_anew_when_the_log_contradicts_us)
{
        for (size_t i = 0; i < countof(breaks); i++) {
                struct follower_core core = following();
                struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);

                actions = told(&core, FOLLOWER_HEAD, breaks[i], actions.request, 2001);
                cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE), "row %zu", i);
                cr_assert(not(follower_is_stale(&core, 2001)));
        }
}

/* Installed at generation 3, number 5; then the log contradicts it, and this is the state that is
 * read. */
static const struct {
        struct token state;
        bool forward;
} states[] = {
        { { GENERATION(3), 6, 60 }, true }, /* beyond what was trimmed or cannot be read */
        { { GENERATION(3), 5, 50 }, true },      { { GENERATION(3), 5, 51 }, false },
        { { GENERATION(3), 4, 40 }, false },     { { GENERATION(3) + 1, 9, 90 }, false },
        { { GENERATION(2) + 9, 9, 90 }, false }, { { GENERATION(4), 0, 10 }, true },
        { { GENERATION(9) + 1, 3, 30 }, true },  { { 0, 0, 0 }, false },
};

Test(follower_core, never_installs_an_earlier_place_or_an_epoch_that_is_not_later)
{
        for (size_t i = 0; i < countof(states); i++) {
                struct token at = { GENERATION(3), 5, 50 };
                struct follower_core core;
                struct follower_actions actions;

                follower_core_init(&core);
                actions = plain(&core, FOLLOWER_LINK_UP, 1000);
                actions = told(&core, FOLLOWER_STATE, at, actions.request, 1000);
                actions = told(&core, FOLLOWER_HEAD, (struct token){ GENERATION(3), 2, 20 },
                               actions.request, 3000);
                cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE));

                actions = told(&core, FOLLOWER_STATE, states[i].state, actions.request, 3001);
                cr_assert(eq(int, actions.install, states[i].forward), "row %zu", i);
                cr_assert(token_equal(&core.head, states[i].forward ? &states[i].state : &at),
                          "row %zu", i);
                cr_assert(eq(u64, core.forks, states[i].forward ? 1 : 0), "row %zu", i);
                if (states[i].forward)
                        continue;
                /* As after an error: again, and not at once. */
                cr_assert(eq(int, actions.ask, FOLLOWER_ASK_NOTHING), "row %zu", i);
                actions = plain(&core, FOLLOWER_TICK, 3001 + FOLLOWER_STATE_EVERY_MS);
                cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE), "row %zu", i);
        }
}

Test(follower_core, knows_a_lost_tail_that_was_refilled_past_our_place_by_its_tag)
{
        struct follower_core core = following();
        struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);
        struct entry *entries[] = { make_entry(7, 4, 41, 31), make_entry(7, 5, 51, 41) };

        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 5, 51 }, actions.request, 2001);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_RANGE));
        actions = range(&core, entries, 2, (struct token){ 7, 5, 51 }, actions.request, 2002);
        cr_assert(eq(sz, actions.deliver_n, 0));
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE));
        entry_unref(entries[0]);
        entry_unref(entries[1]);
}

Test(follower_core, reads_the_state_anew_beyond_an_entry_that_is_trimmed_or_unreadable)
{
        for (int trimmed = 0; trimmed < 2; trimmed++) {
                struct follower_core core = following();
                struct follower_actions actions = message(&core, make_entry(7, 6, 60, 50), 2001);
                struct entry *entries[] = { make_entry(7, 6, 60, 50) };

                actions = range(&core, entries, (size_t)trimmed, (struct token){ 7, 6, 60 },
                                actions.request, 2002);
                cr_assert(eq(sz, actions.deliver_n, 0));
                cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE));
                entry_unref(entries[0]);
        }
}

Test(follower_core, messages_while_the_head_is_on_its_way_are_no_contradiction)
{
        struct follower_core core = following();
        struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);
        unsigned request = actions.request;

        message(&core, make_entry(7, 4, 40, 30), 2001);
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 3, 30 }, request, 2002);
        cr_assert(actions.confirmed);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_NOTHING));
}

/* The link for commands sees the refilled log, while late messages still bring the lost one. */
Test(follower_core, an_answer_of_another_history_than_the_messages_since_confirms_nothing)
{
        static const struct {
                seqno seq;
                uint64_t tag;
                bool confirms;
        } answers[] = { { 3, 30, true },  { 4, 40, true }, { 4, 41, false }, { 5, 50, true },
                        { 5, 51, false }, { 6, 60, true }, { 6, 61, false } };

        for (size_t i = 0; i < countof(answers); i++) {
                struct follower_core core = following();
                struct follower_actions asked = plain(&core, FOLLOWER_TICK, 2000), actions;

                message(&core, make_entry(7, 4, 40, 30), 2001);
                message(&core, make_entry(7, 5, 50, 40), 2002);
                message(&core, make_entry(7, 6, 60, 50), 2003);
                actions =
                    told(&core, FOLLOWER_HEAD, (struct token){ 7, answers[i].seq, answers[i].tag },
                         asked.request, 2004);
                cr_assert(eq(int, actions.confirmed, answers[i].confirms), "row %zu", i);
                if (!answers[i].confirms) {
                        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD), "row %zu", i);
                        actions = told(&core, FOLLOWER_HEAD,
                                       (struct token){ 7, answers[i].seq, answers[i].tag },
                                       actions.request, 2005);
                        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE), "row %zu", i);
                }
        }
}

Test(follower_core, more_messages_since_the_question_than_can_be_compared_confirm_nothing)
{
        for (seqno n = FOLLOWER_TRAIL; n <= FOLLOWER_TRAIL + 2; n++) {
                struct follower_core core = following();
                struct follower_actions asked = plain(&core, FOLLOWER_TICK, 2000), actions;
                seqno last = 3 + n;

                for (seqno seq = 4; seq <= last; seq++)
                        message(&core, make_entry(7, seq, seq * 10, (seq - 1) * 10), 2001);
                /* The last but one: at the limit, and beyond. */
                actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, last - 1, (last - 1) * 10 },
                               asked.request, 2002);
                cr_assert(eq(int, actions.confirmed, n <= FOLLOWER_TRAIL + 1), "%llu",
                          (unsigned long long)n);
        }
}

/* Told a producer, and lost before it came to any node. */
Test(follower_core, what_a_producer_was_told_of_must_be_in_the_log)
{
        struct follower_core core = following();
        struct token vouched = { 7, 4, 40 };
        struct follower_actions actions;

        follower_core_vouch(&core, &vouched, false);
        cr_assert(token_equal(follower_core_witness(&core), &vouched));
        actions = plain(&core, FOLLOWER_TICK, 2000);
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 3, 30 }, actions.request, 2001);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE));

        core = following(); /* refilled by somebody who did not know */
        follower_core_vouch(&core, &vouched, false);
        message(&core, make_entry(7, 4, 41, 30), 1500);
        cr_assert(eq(u64, core.head.seq, 3));
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 4, 41 }, core.request, 1501);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_STATE));

        core = following(); /* a question from before is no proof */
        actions = plain(&core, FOLLOWER_TICK, 2000);
        follower_core_vouch(&core, &vouched, false);
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 3, 30 }, actions.request, 2001);
        cr_assert(actions.confirmed);
        cr_assert(eq(sz, message(&core, make_entry(7, 4, 40, 30), 2002).deliver_n, 1));
        cr_assert(token_equal(follower_core_witness(&core), &core.head));

        follower_core_vouch(&core, &(struct token){ 6, 9, 90 },
                            false); /* of an epoch that is over */
        cr_assert(token_equal(follower_core_witness(&core), &core.head));
}

/* Two primaries at once: the one we wrote to has another log than the one we look a request up in.
 */
Test(follower_core, an_old_request_found_again_does_not_take_the_place_of_what_was_vouched_for)
{
        struct follower_core core = following();
        struct token vouched = { 7, 4, 40 }, found = { 7, 6, 61 };

        follower_core_vouch(&core, &vouched, false);
        follower_core_vouch(&core, &found, true);
        cr_assert(token_equal(follower_core_witness(&core), &vouched));
        cr_assert(eq(int, plain(&core, FOLLOWER_TICK, 2000).ask, FOLLOWER_ASK_STATE));

        core = following(); /* alone, it is vouched for as any other */
        follower_core_vouch(&core, &found, true);
        cr_assert(token_equal(follower_core_witness(&core), &found));
}

Test(follower_core, a_gap_heard_of_after_the_question_outlives_the_answer)
{
        struct follower_core core = following();
        struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);
        unsigned request = actions.request;

        message(&core, make_entry(7, 6, 60, 50), 2001);
        actions = told(&core, FOLLOWER_HEAD, (struct token){ 7, 3, 30 }, request, 2002);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_RANGE));
        cr_assert(not(core.caught_up));
}

Test(follower_core, ignores_the_answer_to_a_request_given_up)
{
        struct follower_core core = following();
        struct follower_actions first = plain(&core, FOLLOWER_TICK, 2000);
        struct follower_actions second = plain(&core, FOLLOWER_TICK, 4000);

        cr_assert(eq(int, second.ask, FOLLOWER_ASK_HEAD));
        first = told(&core, FOLLOWER_HEAD, (struct token){ 9, 9, 9 }, first.request, 4001);
        cr_assert(eq(int, first.ask, FOLLOWER_ASK_NOTHING));
        cr_assert(eq(int, core.trust, FOLLOWER_SURE));
}

Test(follower_core, waits_after_an_error_instead_of_spinning)
{
        struct follower_core core = following();
        struct follower_actions actions = plain(&core, FOLLOWER_TICK, 2000);

        actions = told(&core, FOLLOWER_FAILED, (struct token){ 0 }, actions.request, 2001);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_NOTHING));
        actions = plain(&core, FOLLOWER_TICK, 2001 + FOLLOWER_RETRY_MS);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD));
}

Test(follower_core, keeps_its_place_over_a_link_that_breaks_and_asks_when_it_is_back)
{
        struct follower_core core = following();
        struct follower_actions actions;

        actions = plain(&core, FOLLOWER_LINK_DOWN, 1500);
        cr_assert(eq(u64, core.head.seq, 3));
        actions = plain(&core, FOLLOWER_TICK, 9000);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_NOTHING));
        cr_assert(follower_is_stale(&core, 9000));
        actions = plain(&core, FOLLOWER_LINK_UP, 9500);
        cr_assert(eq(int, actions.ask, FOLLOWER_ASK_HEAD));
}
