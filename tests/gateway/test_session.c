/* What session.h promises: which frame is next, whatever the ring did meanwhile; and when it ends.
 */
#include "gateway/session.h"

#include "base/rng.h"
#include "tests/gateway/log_fixture.h"

static const struct session_config config = { .ping_ms = 50000, .lifetime_ms = 1800000 };

static struct session_action join_at(struct session *session, const struct ring *ring,
                                     const struct token *since, uint32_t now_ms)
{
        memset(session, 0, sizeof(*session));
        return session_join(session, &config, ring, since, false, now_ms, 0);
}

static struct session live_session(const struct ring *ring)
{
        struct token head = *ring_head(ring);
        struct session session;

        cr_assert(eq(int, join_at(&session, ring, &head, 0).what, DO_HELLO));
        return session;
}

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

/* The node may follow an old primary, and the device have been at one that follows the new; of two epochs of
 * one generation either may be the one that is gone. */
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

/* --- time --------------------------------------------------------------------------------------
 */

Test(session, pings_and_is_closed_when_no_pong_comes)
{
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = live_session(ring);
        uint32_t pinged_ms = session.due_ms;
        struct session_action action = session_timer(&session, &config, pinged_ms);

        cr_assert(eq(int, action.what, DO_PING));
        cr_assert(eq(u32, session.due_ms, pinged_ms + SESSION_PONG_WAIT_MS));
        cr_assert(eq(int, session_timer(&session, &config, session.due_ms - 1).what, DO_NOTHING));
        action = session_timer(&session, &config, pinged_ms + SESSION_PONG_WAIT_MS);
        cr_assert(eq(int, action.what, DO_CLOSE));
        cr_assert(eq(int, action.close, CLOSE_IDLE));
        ring_destroy(ring);
}

Test(session, a_pong_keeps_it_until_the_next_ping)
{
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = live_session(ring);
        uint32_t pinged_ms = session.due_ms;

        session_timer(&session, &config, pinged_ms);
        session_pong(&session);
        cr_assert(eq(int, session_timer(&session, &config, session.due_ms).what, DO_NOTHING));
        cr_assert(eq(u32, session.due_ms, pinged_ms + config.ping_ms));
        cr_assert(eq(int, session_timer(&session, &config, session.due_ms).what, DO_PING));
        ring_destroy(ring);
}

Test(session, pings_more_often_than_the_pong_deadline_still_wait_for_it)
{
        const struct session_config fast = { .ping_ms = 5000, .lifetime_ms = 1800000 };
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = { 0 };
        uint32_t pinged_ms, pings = 0;
        struct session_action action = { 0 };

        session_join(&session, &fast, ring, NULL, false, 0, 0);
        pinged_ms = session.due_ms;
        while (action.what != DO_CLOSE) {
                action = session_timer(&session, &fast, session.due_ms);
                pings += action.what == DO_PING;
                cr_assert(le(u32, session.due_ms, pinged_ms + SESSION_PONG_WAIT_MS));
        }
        cr_assert(eq(u32, pings, 1));
        cr_assert(eq(u32, session.due_ms, pinged_ms + SESSION_PONG_WAIT_MS));
        ring_destroy(ring);
}

Test(session, first_pings_and_ends_are_spread_by_the_jitter)
{
        struct ring *ring = log_ring(8, 0, 1);
        struct session early = { 0 }, late = { 0 };

        session_join(&early, &config, ring, NULL, false, 100, 0);
        session_join(&late, &config, ring, NULL, false, 100, UINT64_MAX);
        cr_assert(eq(u32, early.next_ping_ms, 101));
        cr_assert(eq(u32, late.next_ping_ms, 100 + config.ping_ms));
        cr_assert(eq(u32, early.ends_ms, 100 + config.lifetime_ms));
        cr_assert(ge(u32, late.ends_ms, 100 + config.lifetime_ms / 10 * 9));
        cr_assert(le(u32, late.ends_ms, 100 + config.lifetime_ms / 10 * 9 + 1));
        ring_destroy(ring);
}

Test(session, at_the_end_of_its_lifetime_it_is_asked_to_come_back_then_closed)
{
        const struct session_config no_pings = { .lifetime_ms = 60000 };
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = { 0 };
        struct session_action action;

        session_join(&session, &no_pings, ring, NULL, false, 0, 0);
        cr_assert(eq(u32, session.due_ms, 60000));
        action = session_timer(&session, &no_pings, 60000);
        cr_assert(eq(int, action.what, DO_GOAWAY));
        cr_assert(eq(int, action.goaway.reason, GOAWAY_RECYCLE));
        session_next(&session, ring, NULL); /* the reset that it still was to get */
        log_push(ring, 2);
        cr_assert(eq(u64, session_next(&session, ring, NULL).seq, 2)); /* no gap until the end */
        cr_assert(eq(u32, session.due_ms, 60000 + SESSION_RECYCLE_MS + SESSION_LEAVE_WAIT_MS));
        action = session_timer(&session, &no_pings, session.due_ms);
        cr_assert(eq(int, action.what, DO_CLOSE));
        cr_assert(eq(int, action.close, CLOSE_GOING));
        ring_destroy(ring);
}

/* A window of `guard_ms` around `start_ms` of the sessions' clock. */
static struct lifetime windows_around(uint32_t start_ms, uint32_t guard_ms)
{
        const struct event_state event = { .event = "final",
                                           .stage = "scheduled",
                                           .starts_at = 1000000000 + start_ms };
        struct lifetime lifetime;

        lifetime_plan(&lifetime, &event, 1, guard_ms, 1000000000, 0);
        return lifetime;
}

Test(session, near_a_planned_start_its_end_is_moved_behind_it)
{
        struct lifetime lifetime = windows_around(1800000, 300000);
        const struct session_config guarded = { .lifetime_ms = 1800000, .lifetime = &lifetime };
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = { 0 };

        session_join(&session, &guarded, ring, NULL, false, 0, 0);
        cr_assert(eq(int, session_timer(&session, &guarded, 1800000).what, DO_NOTHING));
        cr_assert(gt(u32, session.due_ms, 1800000 + 300000));
        cr_assert(eq(int, session.state, SESSION_LIVE));

        /* The event is delayed meanwhile: so is the window, and the end once more. */
        uint32_t first = session.due_ms;

        lifetime = windows_around(first, 300000);
        cr_assert(eq(int, session_timer(&session, &guarded, first).what, DO_NOTHING));
        cr_assert(gt(u32, session.due_ms, first + 300000));
        cr_assert(eq(int, session_timer(&session, &guarded, session.due_ms).what, DO_GOAWAY));
        ring_destroy(ring);
}

Test(session, no_chain_of_starts_holds_it_for_longer_than_twice_its_lifetime)
{
        struct ring *ring = log_ring(8, 0, 1);

        for (uint32_t guard_ms = 1000; guard_ms <= LIFETIME_GUARD_MAX_MS; guard_ms *= 3) {
                struct lifetime lifetime = { 0 };
                const struct session_config guarded = { .ping_ms = 50000,
                                                        .lifetime_ms = 1800000,
                                                        .lifetime = &lifetime };
                struct session_action action = { .what = DO_NOTHING };
                struct session session = { 0 };

                session_join(&session, &guarded, ring, NULL, false, 0, rng_secure_u64());
                while (action.what != DO_GOAWAY) {
                        lifetime = windows_around(session.due_ms, guard_ms); /* always now */
                        action = session_timer(&session, &guarded, session.due_ms);
                        session_pong(&session);
                        cr_assert(le(u32, session.ends_ms, 2 * guarded.lifetime_ms), "guard %u",
                                  guard_ms);
                }
        }
        ring_destroy(ring);
}

Test(session, neither_pings_nor_lifetime_means_it_stays)
{
        const struct session_config forever = { 0 };
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = { 0 };
        uint32_t now_ms = 0;

        session_join(&session, &forever, ring, NULL, false, now_ms, 0);
        for (int i = 0; i < 20; i++) {
                cr_assert(gt(u32, session.due_ms - now_ms, 86400000));
                now_ms = session.due_ms;
                cr_assert(eq(int, session_timer(&session, &forever, now_ms).what, DO_NOTHING));
        }
        ring_destroy(ring);
}

Test(session, deadlines_hold_across_the_wrap_of_the_clock)
{
        struct ring *ring = log_ring(8, 0, 1);
        struct session session = { 0 };
        uint32_t start_ms = UINT32_MAX - 1000;

        session_join(&session, &config, ring, NULL, false, start_ms, UINT64_C(0x80000000));
        cr_assert(lt(u32, session.due_ms, start_ms)); /* wrapped */
        cr_assert(eq(int, session_timer(&session, &config, start_ms + 10).what, DO_NOTHING));
        cr_assert(eq(int, session_timer(&session, &config, session.due_ms).what, DO_PING));
        ring_destroy(ring);
}

Test(session, leaving_is_said_once_and_closes_with_its_reason)
{
        static const enum close_reason close[GOAWAY_REASONS] = { CLOSE_GOING, CLOSE_DRAIN,
                                                                 CLOSE_OVERLOAD, CLOSE_REPLACED };
        struct ring *ring = log_ring(8, 0, 1);

        for (int reason = 0; reason < GOAWAY_REASONS; reason++) {
                const struct goaway goaway = { .reason = (enum goaway_reason)reason,
                                               .max_ms = 5000 };
                struct session session = live_session(ring);
                struct session_action action = session_leave(&session, &goaway, 100);

                cr_assert(eq(int, action.what, DO_GOAWAY));
                cr_assert(eq(u32, action.goaway.max_ms, 5000));
                cr_assert(eq(int, session_leave(&session, &goaway, 200).what, DO_NOTHING));
                cr_assert(eq(u32, session.due_ms, 100 + 5000 + SESSION_LEAVE_WAIT_MS));
                action = session_timer(&session, &config, session.due_ms);
                cr_assert(eq(int, action.what, DO_CLOSE));
                cr_assert(eq(int, action.close, close[reason]));
                cr_assert(eq(int, session_leave(&session, &goaway, 300).what, DO_NOTHING));
                cr_assert(eq(int, session_timer(&session, &config, 900000).what, DO_NOTHING));
        }
        ring_destroy(ring);
}

/* --- messages ----------------------------------------------------------------------------------
 */

Test(session, an_ack_counts_up_to_what_was_sent_and_never_down)
{
        static const struct {
                seqno ack, acked, from; /* acked - from: how many are new */
        } table[] = { { 3, 3, 0 }, { 2, 3, 3 }, { 3, 3, 3 },        { 5, 5, 3 },
                      { 5, 5, 5 }, { 6, 5, 5 }, { SEQNO_MAX, 5, 5 } };
        struct ring *ring = log_ring(8, 0, 5);
        struct session session = live_session(ring);

        session.acked = 0;
        for (size_t i = 0; i < countof(table); i++) {
                const struct message ack = { .type = MESSAGE_ACK, .ack = { .seq = table[i].ack } };

                struct session_action action = session_message(&session, &ack, ring, NULL, 0);

                cr_assert(eq(u64, session.acked, table[i].acked), "row %zu", i);
                if (table[i].from == table[i].acked) {
                        cr_assert(eq(int, action.what, DO_NOTHING), "row %zu", i);
                        continue;
                }
                cr_assert(eq(int, action.what, DO_ACKED), "row %zu", i);
                cr_assert(eq(u64, action.acked_from, table[i].from), "row %zu", i);
                cr_assert(eq(u64, action.seq, table[i].acked), "row %zu", i);
        }
        ring_destroy(ring);
}

static struct session_action ack_of(struct session *session, const struct ring *ring, seqno seq)
{
        const struct message ack = { .type = MESSAGE_ACK, .ack = { .seq = seq } };

        return session_message(session, &ack, ring, NULL, 0);
}

Test(session, a_reset_leaves_nothing_to_acknowledge_before_it)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct session session = { 0 };
        struct session_action action;

        session_join(&session, &config, ring, NULL, false, 0, 0);
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_RESET));
        cr_assert(eq(int, ack_of(&session, ring, 5).what, DO_NOTHING));
        log_push(ring, 6);
        cr_assert(eq(int, session_next(&session, ring, NULL).what, DO_ENTRY));
        action = ack_of(&session, ring, 6);
        cr_assert(eq(int, action.what, DO_ACKED));
        cr_assert(eq(u64, action.acked_from, 5));
        ring_destroy(ring);
}

Test(session, who_resumes_acknowledges_what_came_after_and_its_own_place_if_that_is_what_it_says)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH, 0, 3);

        for (int owed = 0; owed < 2; owed++) {
                struct session session = { 0 };
                struct session_action action;

                session_join(&session, &config, ring, &since, false, 0, 0);
                cr_assert(eq(int, ack_of(&session, ring, 2).what, DO_NOTHING));
                if (owed != 0) { /* the connection broke before its ack of 3 was out */
                        action = ack_of(&session, ring, 3);
                        cr_assert(eq(int, action.what, DO_ACKED));
                        cr_assert(eq(u64, action.acked_from, 2));
                        cr_assert(eq(u64, action.seq, 3));
                        cr_assert(eq(int, ack_of(&session, ring, 3).what, DO_NOTHING), "once");
                }
                while (session_next(&session, ring, NULL).what == DO_ENTRY)
                        ;
                action = ack_of(&session, ring, 5);
                cr_assert(eq(int, action.what, DO_ACKED));
                cr_assert(eq(u64, action.acked_from, 3),
                          "what it had before it came is not counted");
                cr_assert(eq(int, ack_of(&session, ring, 5).what, DO_NOTHING));
        }
        ring_destroy(ring);
}

Test(session, asked_for_the_time_it_answers)
{
        const struct message time = { .type = MESSAGE_TIME, .time = { .t0 = -42 } };
        struct ring *ring = log_ring(8, 0, 5);
        struct session session = live_session(ring);
        struct session_action action = session_message(&session, &time, ring, NULL, 0);

        cr_assert(eq(int, action.what, DO_TIME));
        cr_assert(eq(i64, action.t0, -42));
        ring_destroy(ring);
}

Test(session, what_only_nodes_say_ends_the_session)
{
        static const struct message table[] = {
                { .type = MESSAGE_HELLO },   { .type = MESSAGE_SIGNAL },
                { .type = MESSAGE_RESET },   { .type = MESSAGE_GOAWAY },
                { .type = MESSAGE_MESSAGE }, { .type = MESSAGE_TIME, .time = { .has_t1 = true } },
                { .type = MESSAGE_SKIP },
        };
        struct ring *ring = log_ring(8, 0, 5);

        for (size_t i = 0; i < countof(table); i++) {
                struct session session = live_session(ring);
                struct session_action action = session_message(&session, &table[i], ring, NULL, 0);

                cr_assert(eq(int, action.what, DO_CLOSE), "row %zu", i);
                cr_assert(eq(int, action.close, CLOSE_BAD_DATA), "row %zu", i);
                cr_assert(eq(int, session.state, SESSION_CLOSED), "row %zu", i);
        }
        ring_destroy(ring);
}

Test(session, the_burst_and_the_rate_are_allowed_and_one_more_is_not)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct session session = live_session(ring);
        uint32_t now_ms = 1000;
        struct session_action action;

        for (int i = 0; i < SESSION_BURST; i++)
                cr_assert(eq(int, session_noise(&session, now_ms).what, DO_NOTHING));
        for (int i = 0; i < 100; i++) { /* then at exactly the rate */
                now_ms += 1000 / SESSION_MESSAGES_PER_S;
                cr_assert(eq(int, session_noise(&session, now_ms).what, DO_NOTHING), "%d", i);
        }
        action = session_noise(&session, now_ms + 1);
        cr_assert(eq(int, action.what, DO_CLOSE));
        cr_assert(eq(int, action.close, CLOSE_POLICY));
        ring_destroy(ring);
}

Test(session, messages_more_often_than_a_token_is_made_do_not_starve_the_bucket)
{
        struct ring *ring = log_ring(8, 0, 5);
        struct session session = live_session(ring);
        uint32_t sent = 0;

        /* A quarter faster than the rate: what each fraction of a token adds must not be lost. */
        for (uint32_t now_ms = 0; now_ms < 3000; now_ms += 40, sent++)
                cr_assert(eq(int, session_noise(&session, now_ms).what, DO_NOTHING), "%u", now_ms);
        cr_assert(eq(u32, sent, 75));
        ring_destroy(ring);
}
