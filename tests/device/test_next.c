/* What the device core promises of hand-over, of skips, and of the event stream. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/device/driver.h"

/* --- skips --- */

Test(device_place, a_skip_moves_the_token_and_calls_nobody)
{
        struct driver d;
        struct token at = token_at(50);

        start_live(&d, 41);
        hear_skip_with(&d, at);
        cr_assert(eq(int, d.did.n, 0));
        cr_assert(token_equal(&d.core.token, &at));
        cr_assert(eq(u64, d.core.ack_ms, DEVICE_CORE_NEVER), "nothing to acknowledge");
        hear_skip_with(&d, at);
        cr_assert(eq(int, d.did.n, 0), "an equal one is nothing");
        hear_signal(&d, 51);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
}

Test(device_place, a_skip_that_cannot_be_is_a_breach)
{
        struct token wrong[] = { token_at(40), token_at(41), token_at(50) };

        wrong[1].tag ^= 1;
        wrong[2].epoch++;
        for (size_t i = 0; i < countof(wrong); i++) {
                struct driver d;
                struct token place = token_at(41);

                start_live(&d, 41);
                hear_skip_with(&d, wrong[i]);
                cr_assert(eq(int, d.core.phase, DEVICE_WAITING), "row %zu", i);
                cr_assert(token_equal(&d.core.token, &place));
        }
}

Test(device_place, an_ack_names_the_newest_signal_and_not_a_skip)
{
        struct driver d;

        start_live(&d, 41);
        hear_signal(&d, 42);
        hear_skip_with(&d, token_at(50));
        while (!does(&d, DEVICE_DO_ACK))
                tick_when_due(&d);
        cr_assert(eq(u64, did(&d, DEVICE_DO_ACK)->ack.seq, 42));
}

/* --- hand-over --- */

Test(device_next, the_first_connection_is_closed_only_after_the_second_has_had_hello)
{
        struct driver d;

        start_handing_over(&d, 41);
        cr_assert(not(does(&d, DEVICE_DO_CLOSE)));
        cr_assert(eq(int, device_core_state(&d.core), KICKOFF_DEVICE_CONNECTED));
        open_next(&d);
        cr_assert(not(does(&d, DEVICE_DO_CLOSE)));
        hear_hello(&d, 41, true);
        cr_assert(eq(uint, did(&d, DEVICE_DO_CLOSE)->link, 0));
        cr_assert(eq(int, did(&d, DEVICE_DO_CLOSE)->reason, CLOSE_NORMAL));
        cr_assert(does(&d, DEVICE_DO_DELIVER), "the hello is the app's");
        cr_assert(eq(uint, d.core.main, 1));
        cr_assert(eq(int, d.core.phase, DEVICE_LIVE));
        hear_signal(&d, 42);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
}

Test(device_next, no_signal_is_shown_twice_or_lost_however_the_two_connections_interleave)
{
        for (uint64_t seed = 1; seed <= 500; seed++) {
                struct driver d;
                struct rng rng;
                seqno first = 41, second = 41, shown = 41;

                rng_seed(&rng, seed);
                start_handing_over(&d, 41);
                while (shown < 120) {
                        if (d.core.main == 0 && rng_below(&rng, 3) != 0) {
                                d.link = 0;
                                hear_signal(&d, ++first);
                        } else if (d.core.main == 0 && d.core.next.phase == DEVICE_CONNECTING) {
                                open_next(&d);
                                continue;
                        } else if (d.core.main == 0) {
                                d.link = 1;
                                hear_hello(&d, 41, true);
                                cr_assert(eq(uint, d.core.main, 1));
                                continue;
                        } else {
                                hear_signal(&d, ++second);
                        }
                        cr_assert(eq(int, d.core.phase, DEVICE_LIVE), "seed %llu",
                                  (unsigned long long)seed);
                        if (does(&d, DEVICE_DO_DELIVER))
                                cr_assert(eq(u64, ++shown, d.core.token.seq));
                }
        }
}

Test(device_next, a_successor_that_fails_is_tried_again_while_the_first_lives_on)
{
        struct driver d;

        start_handing_over(&d, 41);
        d.link = 1;
        step(&d,
             (struct device_input){ .kind = DEVICE_IN_REFUSED, .status = 503, .retry_after_s = 3 });
        cr_assert(eq(int, d.core.phase, DEVICE_LIVE));
        uint64_t from_ms = d.now.mono_ms;
        d.link = 0;
        hear_signal(&d, 42);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
        while (!does(&d, DEVICE_DO_CONNECT))
                tick_when_due(&d);
        cr_assert(ge(u64, d.now.mono_ms - from_ms, 3000));
        cr_assert(eq(u64, d.core.next.since.seq, 42));
}

Test(device_next, takes_the_place_of_a_first_connection_that_ends_early)
{
        static const uint16_t codes[] = { 0, 1012, 4009 };

        for (size_t i = 0; i < countof(codes); i++) {
                struct driver d;

                start_handing_over(&d, 41);
                step(&d, (struct device_input){ .kind = DEVICE_IN_CLOSED, .code = codes[i] });
                cr_assert(eq(int, d.core.phase, DEVICE_CONNECTING));
                cr_assert(eq(uint, d.core.main, 1));
                open_next(&d);
                hear_hello(&d, 41, true);
                cr_assert(eq(int, d.core.phase, DEVICE_LIVE));
        }
}

Test(device_next, its_own_successor_is_no_double_but_another_device_is)
{
        struct driver d;

        start_handing_over(&d, 41);
        hear_goaway(&d, GOAWAY_REPLACED, 0, 0);
        cr_assert(eq(int, d.core.phase, DEVICE_CONNECTING), "replaced by itself");
        open_next(&d);
        hear_hello(&d, 41, true);
        hear_goaway(&d, GOAWAY_REPLACED, 0, 0);
        cr_assert(eq(int, d.core.phase, DEVICE_STOPPED));
}

Test(device_next, a_reset_of_the_first_makes_the_successor_void)
{
        struct driver d;

        start_handing_over(&d, 41);
        hear_reset_with(&d, token_at(37));
        cr_assert(does(&d, DEVICE_DO_DELIVER));
        cr_assert(eq(uint, did(&d, DEVICE_DO_CUT)->link, 1));
        while (!does(&d, DEVICE_DO_CONNECT))
                tick_when_due(&d);
        cr_assert(eq(u64, d.core.next.since.seq, 37));
}

/* --- the event stream --- */

static void fail_to_open(struct driver *d, bool reached)
{
        tick_when_due(d);
        check(does(d, DEVICE_DO_CONNECT));
        if (reached)
                step(d, (struct device_input){ .kind = DEVICE_IN_REACHED });
        step(d, (struct device_input){ .kind = DEVICE_IN_FAILED });
}

static enum device_way next_way(struct driver *d)
{
        tick_when_due(d);
        check(does(d, DEVICE_DO_CONNECT));
        return did(d, DEVICE_DO_CONNECT)->way;
}

Test(device_attempt, turns_to_the_stream_only_where_somebody_answers_and_no_websocket_comes_up)
{
        struct driver d;

        start(&d, NULL, 7);
        device_core_allow_stream(&d.core);
        for (int i = 0; i < 20; i++)
                fail_to_open(&d, false);
        cr_assert(eq(int, next_way(&d), DEVICE_WEBSOCKET), "a node that is away");

        start(&d, NULL, 7);
        device_core_allow_stream(&d.core);
        for (unsigned i = 0; i < DEVICE_CORE_MISSES; i++)
                fail_to_open(&d, true);
        cr_assert(eq(int, next_way(&d), DEVICE_STREAM));

        start(&d, NULL, 7);
        for (unsigned i = 0; i < 20; i++)
                fail_to_open(&d, true);
        cr_assert(eq(int, next_way(&d), DEVICE_WEBSOCKET), "the app does not want it");
}

Test(device_attempt, sends_nothing_on_the_stream_and_tries_a_websocket_at_the_next_hand_over)
{
        struct driver d;
        struct token since = token_at(41);

        start(&d, &since, 7);
        device_core_allow_stream(&d.core);
        for (unsigned i = 0; i < DEVICE_CORE_MISSES; i++)
                fail_to_open(&d, true);
        cr_assert(eq(int, next_way(&d), DEVICE_STREAM));
        step(&d, (struct device_input){ .kind = DEVICE_IN_OPENED });
        hear_hello(&d, 41, true);
        hear_signal(&d, 42);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
        for (int i = 0; i < 20; i++) {
                step(&d, (struct device_input){ .kind = DEVICE_IN_HEARD });
                pass_ms(&d, 40000);
                tick(&d);
                cr_assert(not(does(&d, DEVICE_DO_ACK)));
                cr_assert(not(does(&d, DEVICE_DO_TIME)));
        }
        step(&d, (struct device_input){ .kind = DEVICE_IN_HEARD });
        hear_goaway(&d, GOAWAY_RECYCLE, 0, 0);
        while (!does(&d, DEVICE_DO_CONNECT))
                tick_when_due(&d);
        cr_assert(eq(int, did(&d, DEVICE_DO_CONNECT)->way, DEVICE_WEBSOCKET));
        d.link = 1;
        step(&d, (struct device_input){ .kind = DEVICE_IN_REACHED });
        step(&d, (struct device_input){ .kind = DEVICE_IN_FAILED });
        d.link = 0;
        while (!does(&d, DEVICE_DO_CONNECT))
                tick_when_due(&d);
        cr_assert(eq(int, did(&d, DEVICE_DO_CONNECT)->way, DEVICE_STREAM));
}
