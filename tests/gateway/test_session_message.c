/* What session.h promises of what a device says: acks, questions, and too much of it. */
#include "gateway/session.h"

#include "tests/gateway/session_fixture.h"

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

/* Its place is not known yet, and the token that it waits with is no cursor. */
Test(session, an_ack_of_one_that_waits_says_nothing_and_changes_nothing)
{
        static const seqno said[] = { 0, 1, 3, 4, 5, SEQNO_MAX };
        struct ring *ring = log_ring(8, 0, 5);
        struct token since = log_token(EPOCH + 1, 0, 3);
        struct session session;

        join_at(&session, ring, &since, 0);
        cr_assert(eq(int, session.state, SESSION_WAITING));
        for (size_t i = 0; i < countof(said); i++)
                cr_assert(eq(int, ack_of(&session, ring, said[i]).what, DO_NOTHING), "%zu", i);
        ring_install(ring, &since, EPOCH); /* the node has followed */
        cr_assert(session_retry(&session, ring, false).recovered);
        cr_assert(eq(u64, session.cursor, 3));
        cr_assert(eq(u64, session.acked, 3));
        ring_destroy(ring);
}

Test(session, one_that_leaves_while_it_waits_is_sent_nothing_and_heard_no_more)
{
        const struct goaway goaway = { .reason = GOAWAY_DRAIN };
        struct ring *ring = log_ring(8, 0, 5), *after = log_ring(8, 0, 6);
        struct token since = log_token(EPOCH + 1, 0, 3);
        struct session session;
        seqno seq;

        join_at(&session, ring, &since, 0);
        cr_assert(eq(int, session_leave(&session, &goaway, 0).what, DO_GOAWAY));
        cr_assert(not(session_take_skip(&session, ring, &seq)));
        session_rejudge(&session, ring, after);
        cr_assert(eq(int, session_next(&session, after, NULL).what, DO_NOTHING));
        cr_assert(eq(int, session_retry(&session, after, true).what, DO_NOTHING));
        for (seq = 0; seq <= 6; seq++)
                cr_assert(eq(int, ack_of(&session, after, seq).what, DO_NOTHING));
        ring_destroy(ring);
        ring_destroy(after);
}
