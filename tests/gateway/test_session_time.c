/* What session.h promises of time: pings, the end of a lifetime, and leaving. */
#include "gateway/session.h"

#include "base/rng.h"
#include "tests/gateway/session_fixture.h"

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
