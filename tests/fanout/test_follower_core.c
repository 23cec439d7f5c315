/* The follower's core: what it does with each input, and a property test against a small model of
 * the log that loses, doubles, delays and reorders messages, loses replies, flaps the link, and
 * loses its own tail or all of itself, or becomes an older copy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/rng.h"
#include "fanout/follower_core.h"

static struct entry *make_entry(uint64_t epoch, seqno seq, uint64_t tag, uint64_t prev)
{
        struct entry *entry = calloc(1, sizeof(*entry));

        atomic_init(&entry->refs, 1);
        entry->signal.token = (struct token){ epoch, seq, tag };
        entry->prev_tag = prev;
        return entry;
}

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

#define GENERATION(n) ((uint64_t)(n) << 48)

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

/* --- the model ------------------------------------------------------------------------------ */

#define LOG_MAX    400
#define FLIGHT_MAX 4096
#define RANGE_MAX  5 /* a small range, so that one gap takes several */

struct flight { /* something on its way to the follower, or a question on its way to the log */
        uint64_t due_ms;
        bool is_question;
        enum follower_ask ask;
        seqno range_from;
        struct follower_input input;
        struct entry *entries[RANGE_MAX];
        size_t log_len; /* STATE: copy of the log's tokens at that moment */
        struct token log[LOG_MAX + 1];
};

struct model {
        struct rng rng;
        uint64_t now_ms, next_tag;
        /* the log */
        uint64_t epoch;
        struct token base;              /* the place before `first` */
        seqno trimmed_to;               /* entries up to here are gone */
        struct entry *log[LOG_MAX + 1]; /* [seq] */
        seqno head_seq;
        /* the way */
        bool link_up, faulty;
        struct flight *flights;
        size_t n_flights;
        unsigned renewals;
        /* the follower, and what it has delivered */
        struct follower_core core;
        struct token mirror[LOG_MAX + 1]; /* [seq]; [0] is the place before the first */
        seqno mirror_from;                /* lowest known */
        unsigned installs, wanted_installs;
        unsigned delivered;
        const char *wrong;
};

static struct token log_token(const struct model *m, seqno seq)
{
        return seq == 0 ? m->base : m->log[seq]->signal.token;
}

static bool chance(struct model *m, unsigned percent)
{
        return m->faulty && rng_below(&m->rng, 100) < percent;
}

static uint64_t delay(struct model *m)
{
        if (!m->faulty)
                return 1;
        return 1 +
               (rng_below(&m->rng, 10) == 0 ? rng_below(&m->rng, 3500) : rng_below(&m->rng, 40));
}

static struct flight *launch(struct model *m, uint64_t due_ms)
{
        struct flight *flight;

        if (m->n_flights == FLIGHT_MAX) {
                m->wrong = "too many flights";
                m->n_flights--;
        }
        flight = &m->flights[m->n_flights++];
        memset(flight, 0, offsetof(struct flight, log));
        flight->due_ms = due_ms;
        return flight;
}

static void append(struct model *m)
{
        if (m->head_seq == LOG_MAX)
                return;

        struct token last = log_token(m, m->head_seq);
        struct entry *entry = make_entry(m->epoch, last.seq + 1, ++m->next_tag, last.tag);

        m->log[++m->head_seq] = entry;
        for (unsigned copies = chance(m, 10) ? 2 : 1; copies > 0; copies--) {
                if (!m->link_up || chance(m, 25))
                        continue;

                struct flight *flight = launch(m, m->now_ms + delay(m));

                flight->input = (struct follower_input){ .kind = FOLLOWER_MESSAGE, .n = 1 };
                flight->entries[0] = entry_ref(entry);
                if (chance(m, 3)) { /* published by a node whose entries we cannot read */
                        entry_unref(entry);
                        flight->entries[0] = NULL;
                        flight->input.n = 0;
                }
        }
}

static void lose_tail(struct model *m, seqno keep)
{
        while (m->head_seq > keep)
                entry_unref(m->log[m->head_seq--]);
        if (m->trimmed_to > m->head_seq)
                m->trimmed_to = m->head_seq;
}

static void begin_anew(struct model *m, uint64_t generation)
{
        lose_tail(m, 0);
        m->trimmed_to = 0;
        m->epoch = GENERATION(generation) + rng_below(&m->rng, 1000);
        m->base = (struct token){ m->epoch, 0, ++m->next_tag };
}

/* Another node found it empty, and renewed it. */
static void wipe(struct model *m)
{
        begin_anew(m, token_generation(m->epoch) + 1);
}

/* Somebody puts an old copy in its place, or opens another log apart from it. */
static void put_back(struct model *m)
{
        begin_anew(m, 1 + rng_below(&m->rng, token_generation(m->epoch)));
}

/* What kickoff.lua and renewal.c do before a state is handed over. */
static void renew_if_lost(struct model *m, const struct token *witness)
{
        bool lost = token_generation(m->epoch) <= token_generation(witness->epoch);
        unsigned generation = token_generation(witness->epoch);

        if (witness->epoch == m->epoch) {
                struct token here = { 0 };

                if (witness->seq <= m->head_seq)
                        here = log_token(m, witness->seq);
                lost = !token_equal(&here, witness);
        }
        if (!lost || witness->epoch == 0)
                return;
        if (token_generation(m->epoch) > generation)
                generation = token_generation(m->epoch);
        begin_anew(m, generation + 1);
        m->renewals++;
}

static void answer(struct model *m, const struct flight *question)
{
        struct flight *flight;

        if (!m->link_up || chance(m, 15))
                return; /* lost */
        /* Now and then it is not renewed, and what was read is handed over all the same. */
        if (question->ask == FOLLOWER_ASK_STATE && !chance(m, 20))
                renew_if_lost(m, &question->input.token);
        flight = launch(m, m->now_ms + delay(m));
        flight->input.request = question->input.request;
        flight->input.token = log_token(m, m->head_seq);
        if (chance(m, 10)) {
                flight->input.kind = FOLLOWER_FAILED;
        } else if (question->ask == FOLLOWER_ASK_HEAD) {
                flight->input.kind = FOLLOWER_HEAD;
        } else if (question->ask == FOLLOWER_ASK_RANGE) {
                seqno from =
                    question->range_from > m->trimmed_to ? question->range_from : m->trimmed_to + 1;

                flight->input.kind = FOLLOWER_RANGE;
                for (seqno seq = from; seq <= m->head_seq && flight->input.n < RANGE_MAX; seq++)
                        flight->entries[flight->input.n++] = entry_ref(m->log[seq]);
        } else {
                flight->input.kind = FOLLOWER_STATE;
                flight->log_len = m->head_seq;
                for (seqno seq = 0; seq <= m->head_seq; seq++)
                        flight->log[seq] = log_token(m, seq);
        }
}

/* Is what was delivered a beginning of the log, and can the rest still be read? */
static bool mirror_is_good(const struct model *m)
{
        seqno head = m->core.head.seq;

        if (m->core.head.epoch != m->epoch || head > m->head_seq || head < m->trimmed_to)
                return false;
        for (seqno seq = m->mirror_from; seq <= head; seq++) {
                struct token in_log = log_token(m, seq);

                if (!token_equal(&in_log, &m->mirror[seq]))
                        return false;
        }
        return true;
}

static void feed(struct model *m, struct flight *flight)
{
        struct follower_actions actions;
        struct token before = m->core.head;
        bool was_good = before.epoch != 0 && mirror_is_good(m);

        flight->input.entries = flight->entries;
        follower_step(&m->core, &flight->input, m->now_ms, &actions);
        if (actions.install) {
                if (was_good)
                        m->wrong = "install although nothing broke";
                if (before.epoch != 0 && flight->input.token.epoch != before.epoch &&
                    token_generation(flight->input.token.epoch) <= token_generation(before.epoch))
                        m->wrong = "installed an epoch that is not later";
                if (flight->input.token.epoch == before.epoch &&
                    flight->input.token.seq < before.seq)
                        m->wrong = "installed an earlier place";
                m->installs++;
                m->mirror_from = flight->input.token.seq;
                memcpy(m->mirror, flight->log, (flight->log_len + 1) * sizeof(m->mirror[0]));
                before = flight->input.token;
        }
        for (size_t i = 0; i < actions.deliver_n; i++) {
                const struct entry *entry = flight->entries[actions.deliver_from + i];
                const struct token *token = &entry->signal.token;

                if (token->epoch != before.epoch || token->seq != before.seq + 1 ||
                    entry->prev_tag != before.tag)
                        m->wrong = "delivered out of order";
                before = *token;
                m->mirror[token->seq] = *token;
                m->delivered++;
        }
        if (!token_equal(&before, &m->core.head))
                m->wrong = "head is not what was delivered";
        if (actions.ask != FOLLOWER_ASK_NOTHING) {
                struct flight *question = launch(m, m->now_ms + delay(m));

                question->is_question = true;
                question->ask = actions.ask;
                question->range_from = actions.range_from;
                question->input.request = actions.request;
                question->input.token = m->core.head; /* the witness */
        }
}

static void feed_kind(struct model *m, enum follower_input_kind kind)
{
        struct flight *flight = calloc(1, sizeof(*flight));

        flight->input.kind = kind;
        feed(m, flight);
        free(flight);
}

static void land(struct model *m)
{
        for (size_t i = 0; i < m->n_flights; i++) {
                if (m->flights[i].due_ms > m->now_ms)
                        continue;

                struct flight *flight = malloc(sizeof(*flight));

                *flight = m->flights[i];
                m->flights[i--] = m->flights[--m->n_flights]; /* and so out of order, too */
                if (flight->is_question)
                        answer(m, flight);
                else
                        feed(m, flight);
                for (size_t k = 0; k < RANGE_MAX; k++)
                        entry_unref(flight->entries[k]);
                free(flight);
        }
}

static void trouble(struct model *m)
{
        switch (rng_below(&m->rng, 60)) {
        case 0:
                lose_tail(m, m->head_seq - rng_below(&m->rng, m->head_seq + 1 - m->trimmed_to));
                break;
        case 1:
                if (rng_below(&m->rng, 4) == 0)
                        wipe(m);
                else if (rng_below(&m->rng, 4) == 0)
                        put_back(m);
                break;
        case 2:
                m->trimmed_to += rng_below(&m->rng, m->head_seq + 1 - m->trimmed_to);
                break;
        case 3:
        case 4:
                m->link_up = !m->link_up;
                feed_kind(m, m->link_up ? FOLLOWER_LINK_UP : FOLLOWER_LINK_DOWN);
                break;
        }
}

static const char *run_model(uint64_t seed, unsigned *ret_delivered, unsigned *ret_installs,
                             unsigned *ret_renewals)
{
        struct model *m = calloc(1, sizeof(*m));
        const char *wrong;

        m->flights = malloc(FLIGHT_MAX * sizeof(m->flights[0]));
        rng_seed(&m->rng, seed);
        m->now_ms = 10000;
        m->faulty = true;
        m->link_up = true;
        wipe(m);
        follower_core_init(&m->core);
        feed_kind(m, FOLLOWER_LINK_UP);
        for (unsigned i = 0; i < 400 && m->wrong == NULL; i++) {
                m->now_ms += rng_below(&m->rng, 100);
                for (uint64_t n = rng_below(&m->rng, 3); n > 0; n--)
                        append(m);
                trouble(m);
                land(m);
                feed_kind(m, FOLLOWER_TICK);
        }

        /* Quiet: nothing is lost any more. What still flies is older than any of it. */
        m->faulty = false;
        if (!m->link_up) {
                m->link_up = true;
                feed_kind(m, FOLLOWER_LINK_UP);
        }
        m->now_ms += FOLLOWER_STATE_WAIT_MS; /* a state whose answer got lost is given up by then */
        land(m);
        for (unsigned i = 0; i < 2 * FOLLOWER_HEAD_EVERY_MS / 10 && m->wrong == NULL; i++) {
                m->now_ms += 10;
                land(m);
                feed_kind(m, FOLLOWER_TICK);
        }
        if (m->wrong == NULL && (!mirror_is_good(m) || m->core.head.seq != m->head_seq))
                m->wrong = "not caught up";
        if (m->wrong == NULL && (!m->core.caught_up || follower_is_stale(&m->core, m->now_ms)))
                m->wrong = "caught up without knowing it";

        wrong = m->wrong;
        *ret_delivered += m->delivered;
        *ret_installs += m->installs;
        *ret_renewals += m->renewals;
        lose_tail(m, 0);
        for (size_t i = 0; i < m->n_flights; i++) {
                for (size_t k = 0; k < RANGE_MAX; k++)
                        entry_unref(m->flights[i].entries[k]);
        }
        free(m->flights);
        free(m);
        return wrong;
}

Test(follower_core, delivers_exactly_the_log_whatever_the_network_does)
{
        const char *asked = getenv("KICKOFF_TEST_SEED");
        uint64_t first = asked != NULL ? strtoull(asked, NULL, 10) : 1;
        uint64_t last = asked != NULL ? first : 3000;
        unsigned delivered = 0, installs = 0, renewals = 0;

        for (uint64_t seed = first; seed <= last; seed++) {
                const char *wrong = run_model(seed, &delivered, &installs, &renewals);

                cr_assert(eq(ptr, (void *)wrong, NULL), "KICKOFF_TEST_SEED=%llu: %s",
                          (unsigned long long)seed, wrong);
        }
        /* The model is of use only if much is delivered and histories do break. */
        cr_assert(asked != NULL || (delivered > 100000 && installs > 5000 && renewals > 2000),
                  "%u delivered, %u installs, %u renewals", delivered, installs, renewals);
}
