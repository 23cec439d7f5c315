/* What a session is sent when not all of the log is for it. */
#include "gateway/session.h"

#include "tests/gateway/target_fixture.h"

#define TO_A "{\"cohorts\":[\"a\"]}"
#define TO_B "{\"cohorts\":[\"b\"]}"

static const struct session_config config = { .ping_ms = 50000, .lifetime_ms = 1800000 };
static struct audiences *audiences;
static struct ring *ring;

static void set_up(void)
{
        cr_assert(eq(int, audiences_create(&audiences), OK));
        ring = target_ring();
}

static void tear_down(void)
{
        audiences_destroy(audiences);
        ring_destroy(ring);
}

TestSuite(target_session, .init = set_up, .fini = tear_down);

/* Of cohort a, resumed after `seq`. */
static struct session session_after(seqno seq)
{
        const char *const traits[TRAITS] = { "a" };
        struct token since = log_token(EPOCH, 0, seq);
        struct session session = { 0 };

        since = seq == 0 ? *ring_head(ring) : since;
        cr_assert(eq(int, audiences_enter(audiences, traits, &session.audience), OK));
        cr_assert(
            eq(int, session_join(&session, &config, ring, &since, false, 0, 0).what, DO_HELLO));
        return session;
}

static void expect(struct session *session, enum session_do what, seqno seq)
{
        struct session_action action = session_next(session, ring, audiences);

        cr_assert(eq(int, action.what, what));
        if (what != DO_NOTHING)
                cr_assert(eq(u64, action.seq, seq));
}

Test(target_session, is_not_told_of_what_is_for_others_until_something_is_for_it)
{
        struct session session = session_after(0);

        expect(&session, DO_NOTHING, 0);
        target_push(ring, 1, TO_B);
        expect(&session, DO_NOTHING, 0);
        target_push(ring, 2, TO_B);
        expect(&session, DO_NOTHING, 0);
        target_push(ring, 3, TO_A);
        expect(&session, DO_SKIP, 2);
        expect(&session, DO_ENTRY, 3);
        expect(&session, DO_NOTHING, 0);
        target_push(ring, 4, NULL);
        expect(&session, DO_ENTRY, 4);
        expect(&session, DO_NOTHING, 0);
}

Test(target_session, a_replay_ends_with_its_place)
{
        struct session session;

        target_push(ring, 1, NULL);
        target_push(ring, 2, TO_B);
        target_push(ring, 3, TO_A);
        target_push(ring, 4, TO_B);
        target_push(ring, 5, TO_B);
        session = session_after(1);
        expect(&session, DO_SKIP, 2);
        expect(&session, DO_ENTRY, 3);
        expect(&session, DO_SKIP, 5);
        expect(&session, DO_NOTHING, 0);
        target_push(ring, 6, TO_B);
        expect(&session, DO_NOTHING, 0); /* no replay any more: it is not woken */
}

Test(target_session, frames_that_did_not_begin_are_given_out_again_with_their_skips)
{
        struct session session;
        struct session_place places[4];

        target_push(ring, 1, TO_B);
        target_push(ring, 2, TO_A);
        target_push(ring, 3, TO_B);
        target_push(ring, 4, TO_A);
        session = session_after(0);
        session.cursor = 0;
        for (int i = 0; i < 4; i++) {
                places[i] = session_place(&session);
                session_next(&session, ring, audiences);
        }
        for (int i = 3; i >= 0; i--) {
                session_rewind(&session, places[i]);
                expect(&session, i % 2 == 0 ? DO_SKIP : DO_ENTRY, (seqno)i + 1);
                session_rewind(&session, places[i]);
        }
}

Test(target_session, goodbye_takes_the_skip_along_once)
{
        struct session session = session_after(0);
        seqno seq = 0;

        expect(&session, DO_NOTHING, 0);
        cr_assert(not(session_take_skip(&session, ring, &seq)));
        target_push(ring, 1, TO_B);
        expect(&session, DO_NOTHING, 0);
        cr_assert(session_take_skip(&session, ring, &seq));
        cr_assert(eq(u64, seq, 1));
        cr_assert(not(session_take_skip(&session, ring, &seq)));
        target_push(ring, 2, TO_A);
        expect(&session, DO_ENTRY, 2);
}

Test(target_session, a_goodbye_that_was_not_sent_leaves_the_skip_owed)
{
        struct session session = session_after(0);
        struct session_place before;
        seqno seq = 0;

        target_push(ring, 1, TO_B);
        expect(&session, DO_SKIP, 1); /* the end of its replay */
        target_push(ring, 2, TO_B);
        expect(&session, DO_NOTHING, 0);
        before = session_place(&session);
        cr_assert(session_take_skip(&session, ring, &seq));
        session_rewind(&session, before); /* there was no room for it */
        target_push(ring, 3, TO_A);
        expect(&session, DO_SKIP, 2);
        expect(&session, DO_ENTRY, 3);
}

Test(target_session, goodbye_names_no_place_that_has_left_the_ring)
{
        struct session session = session_after(0);
        seqno seq = 0;

        expect(&session, DO_NOTHING, 0);
        target_push(ring, 1, TO_B);
        expect(&session, DO_NOTHING, 0);
        /* It is blocked; meanwhile more comes than the ring holds. */
        for (seqno next = 2; next <= 2 + ring_capacity(ring); next++)
                target_push(ring, next, NULL);
        cr_assert(not(session_take_skip(&session, ring, &seq)));
        cr_assert(eq(int, session_next(&session, ring, audiences).what, DO_RESET));
}

Test(target_session, a_reset_owes_nothing)
{
        struct session session = session_after(0);

        expect(&session, DO_NOTHING, 0);
        target_push(ring, 1, TO_B);
        expect(&session, DO_NOTHING, 0);
        session.pending_reset = 1 + RESET_FORKED;
        cr_assert(eq(int, session_next(&session, ring, audiences).what, DO_RESET));
        target_push(ring, 2, TO_A);
        expect(&session, DO_ENTRY, 2);
}

static struct session_action ack(struct session *session, seqno seq)
{
        const struct message message = { .type = MESSAGE_ACK, .ack = { .seq = seq } };

        return session_message(session, &message, ring, audiences, 0);
}

Test(target_session, who_comes_back_from_a_skip_may_ack_the_signal_before_it)
{
        static const seqno said[] = { 1, 2, 3 };

        target_push(ring, 1, TO_A);
        target_push(ring, 2, TO_B);
        target_push(ring, 3, TO_B);
        for (size_t i = 0; i < countof(said); i++) {
                struct session session = session_after(3);
                struct session_action action = ack(&session, said[i]);

                cr_assert(eq(int, action.what, DO_ACKED), "%zu", i);
                cr_assert(eq(u64, action.acked_from, 0));
                cr_assert(eq(u64, action.seq, 1));
                cr_assert(eq(int, ack(&session, 1).what, DO_NOTHING), "once");
        }
}

Test(target_session, a_long_stretch_for_others_is_passed_in_pieces)
{
        struct ring *small = ring, *large = log_ring(4096, 0, 0);
        struct session session = session_after(0);
        unsigned turns = 0;

        ring = large;
        for (seqno seq = 1; seq <= 4000; seq++)
                target_push(ring, seq, seq < 4000 ? TO_B : TO_A);
        while (session_next(&session, ring, audiences).what == DO_AGAIN)
                turns++;
        cr_assert(eq(uint, turns, 3));
        expect(&session, DO_ENTRY, 4000);
        ring = small;
        ring_destroy(large);
}
