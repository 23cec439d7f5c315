/* What session.h promises of the log: which frame is next, whatever the ring did meanwhile. Its
 * other promises: test_session_time.c, test_session_message.c, test_session_target.c. */
#include "gateway/session.h"

#include "base/rng.h"
#include "tests/gateway/session_fixture.h"

/* --- joining --------------------------------------------------------------------------------- */

Test(session, without_a_token_is_told_the_state_as_new)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct session session;
        struct session_action action = join_at(&session, ring, NULL, 0);

        cr_assert(eq(int, action.what, DO_HELLO));
        cr_assert(not(action.recovered));
        cr_assert(eq(int, action.reason, RESET_NEW));
        action = session_next(&session, ring, NULL);
        cr_assert(eq(int, action.what, DO_RESET));
        cr_assert(eq(int, action.reason, RESET_NEW));
        cr_assert(eq(u64, session.cursor, 5));
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        ring_destroy(ring);
}

Test(session, resumes_exactly_after_its_token)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 0, 2);
        struct session session;
        struct session_action action = join_at(&session, ring, &since, 0);

        cr_assert(eq(int, action.what, DO_HELLO));
        cr_assert(action.recovered);
        for (seqno seq = 3; seq <= 5; seq++) {
                action = session_next(&session, ring, NULL);
                cr_assert(eq(int, action.what, DO_ENTRY));
                cr_assert(eq(u64, action.seq, seq));
        }
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        log_push(ring, 6);
        cr_assert(eq(u64, session_next(&session, ring, NULL).seq, 6));
        ring_destroy(ring);
}

#define EARLIER (UINT64_C(1) << 48) /* by one generation */

Test(session, a_token_that_is_no_place_here_gets_a_reset_that_says_why)
{
        struct ring *ring = log_ring(4, 0, 10); /* keeps 7..10 */
        static const struct {
                struct token since;
                bool malformed;
                enum reset_reason reason;
        } table[] = {
                { { 0 }, true, RESET_UNKNOWN },
                { { .epoch = EPOCH - EARLIER, .seq = 8, .tag = 1 }, false, RESET_UNKNOWN },
                { { .epoch = EPOCH, .seq = 8, .tag = 77 }, false, RESET_FORKED },
                { { .epoch = EPOCH, .seq = 5, .tag = 77 }, false, RESET_TRIMMED },
        };

        for (size_t i = 0; i < countof(table); i++) {
                struct session session = { 0 };
                struct session_action action = session_join(
                    &session, &config, ring, table[i].malformed ? NULL : &table[i].since,
                    table[i].malformed, 0, 0);

                cr_assert(eq(int, action.what, DO_HELLO), "row %zu", i);
                cr_assert(not(action.recovered), "row %zu", i);
                cr_assert(eq(int, action.reason, table[i].reason), "row %zu", i);
                action = session_next(&session, ring, NULL);
                cr_assert(eq(int, action.what, DO_RESET), "row %zu", i);
                cr_assert(eq(int, action.reason, table[i].reason), "row %zu", i);
                cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING), "row %zu",
                          i);
        }
        ring_destroy(ring);
}

Test(session, the_oldest_place_still_known_resumes_and_the_one_before_is_trimmed)
{
        struct ring *ring = log_ring(4, 0, 10); /* keeps 7..10: cursor 6 has lost nothing */
        struct token six = log_token(EPOCH, 0, 6), five = log_token(EPOCH, 0, 5);
        struct session session;

        cr_assert(join_at(&session, ring, &six, 0).recovered);
        cr_assert(eq(u64, session_next(&session, ring, NULL).seq, 7));
        cr_assert(eq(int, join_at(&session, ring, &five, 0).reason, RESET_TRIMMED));
        ring_destroy(ring);
}

Test(session, ahead_of_the_node_waits_and_resumes_when_the_node_has_caught_up)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 0, 6);
        struct session session;
        struct session_action action = join_at(&session, ring, &since, 1000);

        cr_assert(eq(int, action.what, DO_NOTHING));
        cr_assert(eq(int, session.state, SESSION_WAITING));
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        cr_assert(eq(int, session_retry(&session, ring, false).what, DO_NOTHING));
        log_push(ring, 6);
        action = session_retry(&session, ring, false);
        cr_assert(eq(int, action.what, DO_HELLO));
        cr_assert(action.recovered);
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        log_push(ring, 7);
        cr_assert(eq(u64, session_next(&session, ring, NULL).seq, 7));
        ring_destroy(ring);
}

Test(session, ahead_is_a_fork_only_when_the_head_is_confirmed_and_never_before)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 0, 9);
        struct session session;
        struct session_action action;

        join_at(&session, ring, &since, 1000);
        for (int i = 0; i < 100; i++) {
                cr_assert(eq(int, session_retry(&session, ring, false).what, DO_NOTHING));
                cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        }
        action = session_retry(&session, ring, true);
        cr_assert(eq(int, action.what, DO_HELLO));
        cr_assert(not(action.recovered));
        cr_assert(eq(int, action.reason, RESET_FORKED));
        action = session_next(&session, ring, NULL);
        cr_assert(eq(int, action.what, DO_RESET));
        cr_assert(eq(int, action.reason, RESET_FORKED));
        ring_destroy(ring);
}

/* The node may follow an old primary, and the device have been at one that follows the new; of two
 * epochs of one generation either may be the one that is gone. */
static const uint64_t not_earlier[] = { EPOCH + EARLIER, EPOCH + 1, EPOCH - 1 };

Test(session, a_token_of_an_epoch_that_is_not_earlier_is_unknown_only_when_the_head_is_confirmed)
{
        for (size_t i = 0; i < countof(not_earlier); i++) {
                struct ring *ring = log_ring(8, 0, 5);
                struct token since = log_token(not_earlier[i], 0, 3);
                struct session session;
                struct session_action action = join_at(&session, ring, &since, 1000);

                cr_assert(eq(int, action.what, DO_NOTHING));
                cr_assert(eq(int, session.state, SESSION_WAITING));
                log_push(ring, 6);
                cr_assert(eq(int, session_retry(&session, ring, false).what, DO_NOTHING));
                action = session_retry(&session, ring, true);
                cr_assert(eq(int, action.what, DO_HELLO));
                cr_assert(not(action.recovered));
                cr_assert(eq(int, action.reason, RESET_UNKNOWN));
                cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_RESET));
                ring_destroy(ring);
        }
}

Test(session, a_token_of_an_epoch_that_is_not_earlier_resumes_when_the_node_has_followed)
{
        for (size_t i = 0; i < countof(not_earlier); i++) {
                struct ring *ring = log_ring(8, 0, 5);
                struct token since = log_token(not_earlier[i], 0, 3);
                struct session session;

                join_at(&session, ring, &since, 1000);
                ring_install(ring, &since, EPOCH);
                cr_assert(session_retry(&session, ring, false).recovered);
                ring_destroy(ring);
        }
}

Test(session, ahead_with_another_history_is_a_fork_once_the_node_reaches_the_number)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 3, 6);
        struct session session;
        struct session_action action;

        join_at(&session, ring, &since, 0);
        log_push(ring, 6);
        action = session_retry(&session, ring, false);
        cr_assert(eq(int, action.what, DO_HELLO));
        cr_assert(eq(int, action.reason, RESET_FORKED));
        ring_destroy(ring);
}

Test(session, ahead_for_too_long_is_sent_away_without_a_reset)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 0, 9);
        struct session session;
        struct session_action action;

        join_at(&session, ring, &since, 1000);
        cr_assert(eq(u32, session.due_ms, 1000 + SESSION_AHEAD_WAIT_MS));
        cr_assert(eq(int, session_timer(&session, &config, 3999).what, DO_NOTHING));
        action = session_timer(&session, &config, 4000);
        cr_assert(eq(int, action.what, DO_GOAWAY));
        cr_assert(eq(int, action.goaway.reason, GOAWAY_OVERLOAD));
        cr_assert(eq(int, session_next(&session, ring, NULL).what,
                     DO_NOTHING)); /* it has no place here */
        cr_assert(eq(int, session_retry(&session, ring, true).what, DO_NOTHING));
        action = session_timer(&session, &config, session.due_ms);
        cr_assert(eq(int, action.what, DO_CLOSE));
        cr_assert(eq(int, action.close, CLOSE_OVERLOAD));
        ring_destroy(ring);
}

/* --- the ring moves on ----------------------------------------------------------------------- */

Test(session, falling_out_of_the_ring_is_a_reset_once_and_too_slow_the_second_time)
{
        struct ring *ring = log_ring(4, 0, 1);
        struct session session = live_session(ring);
        struct session_action action;
        seqno seq = 1;

        while (seq < 10)
                log_push(ring, ++seq);
        action = session_next(&session, ring, NULL);
        cr_assert(eq(int, action.what, DO_RESET));
        cr_assert(eq(int, action.reason, RESET_TRIMMED));
        cr_assert(eq(u64, session.cursor, 10));
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        while (seq < 20)
                log_push(ring, ++seq);
        action = session_next(&session, ring, NULL);
        cr_assert(eq(int, action.what, DO_CLOSE));
        cr_assert(eq(int, action.close, CLOSE_TOO_SLOW));
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_NOTHING));
        ring_destroy(ring);
}

Test(session, the_last_entry_that_is_kept_is_no_overflow)
{
        struct ring *ring = log_ring(4, 0, 6); /* keeps 3..6 */
        struct token since = log_token(EPOCH, 0, 2);
        struct session session;

        join_at(&session, ring, &since, 0);
        cr_assert(eq(u64, session_next(&session, ring, NULL).seq, 3));
        cr_assert(eq(int, session.overflows, 0));
        ring_destroy(ring);
}

Test(session, frames_that_did_not_begin_are_given_out_again)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 0, 1);
        struct session session;

        join_at(&session, ring, &since, 0);
        session_next(&session, ring, NULL);

        struct session_place place = session_place(&session);

        session_next(&session, ring, NULL);
        session_next(&session, ring, NULL);
        session_rewind(&session, place);
        cr_assert(eq(u64, session_next(&session, ring, NULL).seq, 3));
        ring_destroy(ring);
}

Test(session, a_new_install_keeps_who_is_on_its_history_and_resets_the_others)
{
        struct ring *before = log_ring(8, 2, 8); /* base 2 */
        struct ring *same = log_ring(8, 4, 9), *other_epoch = NULL, *forked = NULL;
        struct ring *shorter = log_ring(8, 0, 6), *renewed = NULL;
        struct token base = log_token(EPOCH + 1, 0, 0), fork = log_token(EPOCH, 0, 5);

        cr_assert(eq(int, ring_create(8, &other_epoch), OK));
        ring_install(other_epoch, &base, 0);
        cr_assert(eq(int, ring_create(8, &renewed), OK));
        ring_install(renewed, &base, EPOCH); /* continues ours, which had lost something */
        cr_assert(eq(int, ring_create(8, &forked), OK));
        ring_install(forked, &fork, 0); /* 5 is common, 6.. are of history 1 */
        for (seqno seq = 6; seq <= 9; seq++) {
                struct entry *entry = log_entry_of(EPOCH, 1, seq == 6 ? 0 : 1, seq);

                ring_push(forked, entry);
                entry_unref(entry);
        }

        const struct {
                seqno cursor;
                const struct ring *after;
                int reset; /* -1 = none */
        } table[] = {
                { 8, same, -1 },
                { 4, same, -1 },
                { 3, same, RESET_TRIMMED },
                { 2, same, RESET_TRIMMED },
                { 8, other_epoch, RESET_UNKNOWN },
                { 8, renewed, RESET_FORKED },
                { 3, renewed, RESET_FORKED },
                { 5, forked, -1 },
                { 6, forked, RESET_FORKED },
                { 8, forked, RESET_FORKED },
                { 4, forked, RESET_TRIMMED },
                { 8, shorter, RESET_FORKED },
                { 6, shorter, -1 },
                { 2, shorter, -1 },
        };

        for (size_t i = 0; i < countof(table); i++) {
                struct session session = live_session(before);
                struct session_action action;

                session.cursor = table[i].cursor;
                session_rejudge(&session, before, table[i].after);
                action = session_next(&session, table[i].after, NULL);
                if (table[i].reset >= 0) {
                        cr_assert(eq(int, action.what, DO_RESET), "row %zu", i);
                        cr_assert(eq(int, (int)action.reason, table[i].reset), "row %zu", i);
                        cr_assert(eq(u64, session.cursor, ring_head(table[i].after)->seq));
                } else if (table[i].cursor < ring_head(table[i].after)->seq) {
                        cr_assert(eq(int, action.what, DO_ENTRY), "row %zu", i);
                        cr_assert(eq(u64, action.seq, table[i].cursor + 1), "row %zu", i);
                } else {
                        cr_assert(eq(int, action.what, DO_NOTHING), "row %zu", i);
                }
        }
        ring_destroy(before);
        ring_destroy(same);
        ring_destroy(other_epoch);
        ring_destroy(renewed);
        ring_destroy(forked);
        ring_destroy(shorter);
}

Test(session, a_place_that_left_the_ring_before_an_install_is_trimmed)
{
        struct ring *before = log_ring(4, 0, 10), *after = log_ring(16, 0, 10);
        struct session session = live_session(before);

        session.cursor = 3; /* of which `before` no longer knows the tag */
        session_rejudge(&session, before, after);
        cr_assert(eq(int, session_next(&session, after, NULL).reason, RESET_TRIMMED));
        ring_destroy(before);
        ring_destroy(after);
}

/* Contract lines 5 to 7 over random histories: what a device applies is, in order, either the next
 * number of the history it is on, or a reset to the head; never anything else. */
Test(session, never_backwards_never_a_gap_whatever_the_log_does)
{
        struct rng rng;
        unsigned resets = 0, entries = 0;

        rng_seed(&rng, 20261123);
        for (unsigned run = 0; run < 300; run++) {
                size_t capacity = 2 + rng_below(&rng, 6);
                uint64_t epoch = EPOCH;
                unsigned history = 0, histories = 0,
                         owner[200] = { 0 }; /* history of each number */
                seqno head = rng_below(&rng, 4), base = 0;
                struct ring *ring = log_ring(capacity, 0, head), *spare;
                struct session session = { 0 };
                struct token applied = { 0 }; /* what the device holds */
                bool over = false;

                session_join(&session, &config, ring, NULL, false, 0, rng_u64(&rng));
                for (unsigned step = 0; step < 60 && !over; step++) {
                        unsigned dice = (unsigned)rng_below(&rng, 20);

                        if (dice < 8 && head < 190) { /* the log grows */
                                struct entry *entry;

                                head++;
                                owner[head] = history;
                                entry = log_entry_of(epoch, history, owner[head - 1], head);
                                ring_push(ring, entry);
                                entry_unref(entry);
                        } else if (dice == 8) { /* it loses its tail, or all, and is read anew */
                                struct token token;

                                if (rng_below(&rng, 3) == 0) {
                                        epoch++;
                                        head = 0;
                                        memset(owner, 0, sizeof(owner));
                                } else {
                                        head -= rng_below(&rng, head + 1);
                                }
                                history = ++histories;
                                base =
                                    head - rng_below(&rng, (head < capacity ? head : capacity) + 1);
                                cr_assert(eq(int, ring_create(capacity, &spare), OK));
                                token = log_token(epoch, owner[base], base);
                                ring_install(spare, &token, 0);
                                for (seqno s = base + 1; s <= head; s++) {
                                        struct entry *entry =
                                            log_entry_of(epoch, owner[s], owner[s - 1], s);

                                        ring_push(spare, entry);
                                        entry_unref(entry);
                                }
                                session_rejudge(&session, ring, spare);
                                ring_destroy(ring);
                                ring = spare;
                        } else { /* the socket takes one more */
                                struct session_action action = session_next(&session, ring, NULL);

                                if (action.what == DO_ENTRY) {
                                        const struct entry *entry = ring_at(ring, action.seq);

                                        entries++;
                                        cr_assert(eq(u64, action.seq, applied.seq + 1));
                                        cr_assert(eq(u64, entry->prev_tag, applied.tag));
                                        cr_assert(
                                            eq(u64, entry->signal.token.epoch, applied.epoch));
                                        applied = entry->signal.token;
                                } else if (action.what == DO_RESET) {
                                        resets++;
                                        applied = *ring_head(ring);
                                } else if (action.what == DO_CLOSE) {
                                        over = true;
                                } else {
                                        cr_assert(eq(u64, applied.seq, ring_head(ring)->seq));
                                        cr_assert(eq(u64, applied.tag, ring_head(ring)->tag));
                                        cr_assert(eq(u64, applied.epoch, ring_head(ring)->epoch));
                                }
                        }
                }
                ring_destroy(ring);
        }
        cr_assert(gt(uint, resets, 300)); /* the dice did roll */
        cr_assert(gt(uint, entries, 1000));
}
