/* What device_core promises of order, resumption and waiting; its clock is in test_time.c. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/device/driver.h"

static bool gave_up(const struct driver *d)
{
        return d->core.phase == DEVICE_WAITING && did(d, DEVICE_DO_CLOSE) != NULL &&
               did(d, DEVICE_DO_CLOSE)->reason == CLOSE_PROTOCOL;
}

/* --- order --- */

Test(device_core, delivers_signals_in_order_and_moves_its_token_with_each)
{
        struct driver d;

        start_live(&d, 41);
        for (seqno seq = 42; seq < 60; seq++) {
                hear_signal(&d, seq);
                cr_assert(does(&d, DEVICE_DO_DELIVER));
                struct token want = token_at(seq);
                cr_assert(token_equal(&d.core.token, &want));
        }
}

Test(device_core, swallows_a_repeat_that_carries_the_same_tag)
{
        struct driver d;

        start_live(&d, 41);
        hear_signal(&d, 42);
        hear_signal(&d, 43);
        hear_signal(&d, 43);
        cr_assert(eq(int, d.did.n, 0));
        hear_signal(&d, 42);
        cr_assert(eq(int, d.did.n, 0));
        hear_signal(&d, 41); /* that of the token it resumed with */
        cr_assert(eq(int, d.did.n, 0));
        hear_signal(&d, 44);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
}

Test(device_core, gives_up_on_a_gap_and_keeps_its_place)
{
        struct driver d;
        struct token want = token_at(42);

        start_live(&d, 41);
        hear_signal(&d, 42);
        hear_signal(&d, 44);
        cr_assert(gave_up(&d));
        cr_assert(not(does(&d, DEVICE_DO_DELIVER)));
        cr_assert(token_equal(&d.core.token, &want));
}

Test(device_core, gives_up_on_a_known_number_with_another_tag)
{
        struct driver d;
        struct token forked = token_at(42);

        forked.tag ^= 1;
        start_live(&d, 41);
        hear_signal(&d, 42);
        hear_signal(&d, 43);
        hear_signal_with(&d, forked);
        cr_assert(gave_up(&d));
        cr_assert(not(does(&d, DEVICE_DO_DELIVER)));
}

Test(device_core, gives_up_on_a_number_too_old_to_be_compared)
{
        struct driver d;

        start_live(&d, 41);
        hear_signal(&d, 42);
        hear_signal(&d, 40);
        cr_assert(gave_up(&d));
}

Test(device_core, gives_up_on_another_epoch_without_a_reset)
{
        struct driver d;
        struct token other = token_at(42);

        other.epoch++;
        start_live(&d, 41);
        hear_signal_with(&d, other);
        cr_assert(gave_up(&d));
}

Test(device_core, takes_no_signal_where_the_reset_is_due)
{
        struct driver d;
        struct token since = token_at(41);

        start(&d, &since, 7);
        open_up(&d);
        hear_hello(&d, 41, false);
        hear_signal(&d, 42);
        cr_assert(gave_up(&d));
        cr_assert(token_equal(&d.core.token, &since));
}

Test(device_core, adopts_the_token_of_a_reset_whole_even_backwards)
{
        struct driver d;
        struct token back = { .epoch = EPOCH + 1, .seq = 7, .tag = 99 };
        struct token next = { .epoch = EPOCH + 1, .seq = 8, .tag = 100 };

        start_live(&d, 37);
        hear_signal(&d, 38);
        hear_reset_with(&d, back);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
        cr_assert(token_equal(&d.core.token, &back));
        hear_signal_with(&d, next);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
        /* what was remembered of the old history (38 has the place of 6) is gone with it */
        hear_signal_with(&d,
                         (struct token){ .epoch = EPOCH + 1, .seq = 6, .tag = token_at(38).tag });
        cr_assert(gave_up(&d));
}

Test(device_core, never_adopts_the_token_of_hello)
{
        struct driver d;
        struct token since = token_at(41);

        start_live(&d, 41); /* hello told of 43 */
        cr_assert(token_equal(&d.core.token, &since));
        hear_signal(&d, 42);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
}

Test(device_core, refuses_a_node_that_resumes_what_was_not_asked_for)
{
        struct driver d;

        start(&d, NULL, 7);
        open_up(&d);
        hear_hello(&d, 41, true);
        cr_assert(gave_up(&d));
}

Test(device_core, wants_hello_first_and_once)
{
        struct driver d;

        start(&d, NULL, 7);
        open_up(&d);
        hear_reset_with(&d, token_at(1));
        cr_assert(gave_up(&d));

        start_live(&d, 41);
        hear_hello(&d, 41, true);
        cr_assert(gave_up(&d));
}

Test(device_core, refuses_messages_that_only_devices_send)
{
        struct driver d;
        struct message ack = { .type = MESSAGE_ACK, .ack = { .seq = 1 } };
        struct message time = { .type = MESSAGE_TIME, .time = { .t0 = 1 } };

        start_live(&d, 41);
        hear(&d, &ack);
        cr_assert(gave_up(&d));
        start_live(&d, 41);
        hear(&d, &time);
        cr_assert(gave_up(&d));
}

/* --- acks --- */

Test(device_core, acknowledges_only_the_newest_within_the_spread)
{
        struct driver d;

        start_live(&d, 41);
        d.core.time_ms = DEVICE_CORE_NEVER; /* its requests would mix in */
        uint64_t first_ms = d.now.mono_ms;
        hear_signal(&d, 42);
        hear_signal(&d, 43);
        hear_signal(&d, 44);
        cr_assert(not(does(&d, DEVICE_DO_ACK)));
        while (did(&d, DEVICE_DO_ACK) == NULL)
                tick_when_due(&d);
        cr_assert(eq(u64, did(&d, DEVICE_DO_ACK)->ack.seq, 44));
        cr_assert(le(u64, d.now.mono_ms - first_ms, 2000));
        pass_ms(&d, 20000);
        tick(&d);
        cr_assert(not(does(&d, DEVICE_DO_ACK)), "once is enough");
}

Test(device_core, acknowledges_after_a_reconnect_what_it_could_not_before)
{
        struct driver d;

        start_live(&d, 41);
        hear_signal(&d, 42);
        lose(&d);
        open_up(&d);
        hear_hello(&d, 42, true);
        d.core.time_ms = DEVICE_CORE_NEVER;
        tick_when_due(&d);
        cr_assert(eq(u64, did(&d, DEVICE_DO_ACK)->ack.seq, 42));
}

static struct ack until_ack(struct driver *d)
{
        while (did(d, DEVICE_DO_ACK) == NULL)
                tick_when_due(d);
        return did(d, DEVICE_DO_ACK)->ack;
}

Test(device_core, says_with_the_ack_when_the_app_acted_in_the_nodes_time)
{
        struct driver d;

        start_live(&d, 40);
        hear_signal(&d, 41);
        cr_assert(eq(i64, until_ack(&d).activated_at, 0), "the app has not said");
        hear_signal(&d, 42);
        device_core_activated(&d.core, 42, d.now);

        int64_t acted = d.now.wall_ms + 5000; /* hello said that the node is so far ahead */
        struct ack ack = until_ack(&d);

        cr_assert(eq(u64, ack.seq, 42));
        cr_assert(ack.has_activated_at);
        cr_assert(eq(i64, ack.activated_at, acted));
        device_core_activated(&d.core, 42, d.now);
        hear_signal(&d, 43);
        cr_assert(not(until_ack(&d).has_activated_at), "of an older signal");
        device_core_activated(&d.core, 44, d.now);
        hear_reset_with(&d, token_at(43));
        hear_signal(&d, 44);
        cr_assert(not(until_ack(&d).has_activated_at), "of a history that is gone");
}

Test(device_core, sends_no_ack_for_a_reset_nor_when_told_not_to)
{
        struct driver d;
        struct token since = token_at(41);

        start_live(&d, 41);
        hear_reset_with(&d, token_at(50));
        cr_assert(eq(u64, d.core.ack_ms, DEVICE_CORE_NEVER));

        start(&d, &since, 7);
        d.core.no_ack = true;
        open_up(&d);
        hear_hello(&d, 41, true);
        hear_signal(&d, 42);
        hear_signal(&d, 42);
        cr_assert(eq(u64, d.core.ack_ms, DEVICE_CORE_NEVER));
}

/* --- coming back --- */

Test(device_core, backs_off_with_full_jitter_up_to_the_cap)
{
        uint64_t largest[12] = { 0 }, smallest[12];

        memset(smallest, 0xff, sizeof(smallest));
        for (uint64_t seed = 1; seed <= 400; seed++) {
                struct driver d;

                start(&d, NULL, seed);
                for (int i = 0; i < 12; i++) {
                        tick_when_due(&d);
                        step(&d, (struct device_input){ .kind = DEVICE_IN_FAILED });
                        uint64_t wait = wait_of(&d);
                        largest[i] = wait > largest[i] ? wait : largest[i];
                        smallest[i] = wait < smallest[i] ? wait : smallest[i];
                }
        }
        for (int i = 0; i < 12; i++) {
                uint64_t step_ms = 500u << i < 30000 ? 500u << i : 30000;

                cr_assert(le(u64, largest[i], step_ms));
                cr_assert(gt(u64, largest[i], step_ms * 9 / 10));
                cr_assert(lt(u64, smallest[i], step_ms / 10), "full jitter begins at 0");
        }
}

Test(device_core, forgets_failures_only_after_ten_seconds_of_connection)
{
        struct driver d;

        start(&d, NULL, 7);
        for (int i = 0; i < 5;
             i++) { /* accepted, greeted, thrown out: a herd must not take it for success */
                open_up(&d);
                hear_hello(&d, 1, false);
                hear_reset_with(&d, token_at(1));
                pass_ms(&d, 9000);
                tick(&d);
                lose(&d);
        }
        cr_assert(eq(int, d.core.attempts, 5));
        open_up(&d);
        hear_hello(&d, 1, true);
        pass_ms(&d, 10000);
        tick(&d);
        cr_assert(eq(int, d.core.attempts, 0));
        lose(&d);
        cr_assert(le(u64, wait_of(&d), 500));
}

Test(device_core, waits_as_long_as_retry_after_says_plus_a_part_of_a_second)
{
        static const unsigned statuses[] = { 429, 503 };

        for (int i = 0; i < 2; i++) {
                struct driver d;

                start(&d, NULL, 7 + (uint64_t)i);
                tick_when_due(&d);
                step(&d, (struct device_input){ .kind = DEVICE_IN_REFUSED,
                                                .status = statuses[i],
                                                .retry_after_s = 17 });
                cr_assert(ge(u64, wait_of(&d), 17000));
                cr_assert(lt(u64, wait_of(&d), 18000));
        }
}

Test(device_core, believes_no_retry_after_beyond_an_hour)
{
        struct driver d;

        start(&d, NULL, 7);
        tick_when_due(&d);
        step(&d, (struct device_input){
                     .kind = DEVICE_IN_REFUSED, .status = 503, .retry_after_s = INT64_MAX });
        cr_assert(le(u64, wait_of(&d), 3601000));
}

Test(device_core, stops_where_the_request_itself_is_refused_and_only_there)
{
        static const struct {
                unsigned status;
                bool stops;
        } rows[] = { { 400, true },  { 401, true },  { 403, true },  { 404, true },  { 405, true },
                     { 426, true },  { 408, false }, { 425, false }, { 429, false }, { 500, false },
                     { 502, false }, { 503, false }, { 200, false }, { 302, false } };

        for (size_t i = 0; i < countof(rows); i++) {
                struct driver d;

                start(&d, NULL, 7);
                tick_when_due(&d);
                step(&d, (struct device_input){ .kind = DEVICE_IN_REFUSED,
                                                .status = rows[i].status,
                                                .retry_after_s = -1 });
                cr_assert(eq(int, d.core.phase == DEVICE_STOPPED, rows[i].stops), "status %u",
                          rows[i].status);
        }
}

Test(device_core, comes_back_after_goaway_at_a_random_moment_of_the_span)
{
        static const enum goaway_reason reasons[] = { GOAWAY_DRAIN, GOAWAY_OVERLOAD };

        for (size_t i = 0; i < countof(reasons); i++) {
                uint64_t largest = 0, smallest = UINT64_MAX, begin_ms, waited_ms;

                for (uint64_t seed = 1; seed <= 300; seed++) {
                        struct driver d;

                        start(&d, NULL, seed);
                        open_up(&d);
                        hear_hello(&d, 1, false);
                        hear_goaway(&d, reasons[i], 1000, 9000);
                        cr_assert(does(&d, DEVICE_DO_DELIVER));
                        cr_assert(not(does(&d, DEVICE_DO_CLOSE)));
                        begin_ms = d.now.mono_ms;
                        while (!does(&d, DEVICE_DO_CONNECT))
                                tick_when_due(&d);
                        waited_ms = d.now.mono_ms - begin_ms;
                        largest = waited_ms > largest ? waited_ms : largest;
                        smallest = waited_ms < smallest ? waited_ms : smallest;
                }
                cr_assert(ge(u64, smallest, 1000));
                cr_assert(lt(u64, smallest, 1500));
                cr_assert(le(u64, largest, 9000));
                cr_assert(gt(u64, largest, 8500));
        }
}

Test(device_core, asks_an_overloaded_node_for_one_connection_only)
{
        struct driver d;

        start_live(&d, 41);
        hear_goaway(&d, GOAWAY_OVERLOAD, 1000, 1000);
        while (d.core.phase == DEVICE_LIVE)
                tick_when_due(&d);
        cr_assert(eq(int, did(&d, DEVICE_DO_CLOSE)->reason, CLOSE_NORMAL));
        cr_assert(zero(u64, wait_of(&d))); /* it has waited already */
}

Test(device_core, is_told_signals_between_a_goaway_and_its_moment)
{
        struct driver d;
        struct message goaway = { .type = MESSAGE_GOAWAY,
                                  .goaway = {
                                      .reason = GOAWAY_DRAIN, .min_ms = 5000, .max_ms = 5000 } };

        start_live(&d, 41);
        hear(&d, &goaway);
        pass_ms(&d, 1000);
        hear_signal(&d, 42);
        cr_assert(does(&d, DEVICE_DO_DELIVER));
        step(&d, (struct device_input){ .kind = DEVICE_IN_CLOSED, .code = 1012 });
        cr_assert(eq(u64, wait_of(&d), 4000)); /* the node left first: the moment stays */
        tick_when_due(&d);
        cr_assert(does(&d, DEVICE_DO_CONNECT));
        cr_assert(eq(u64, d.core.token.seq, 42));
}

Test(device_core, turned_away_before_hello_waits_without_a_connection)
{
        struct driver d;
        struct message goaway = { .type = MESSAGE_GOAWAY,
                                  .goaway = {
                                      .reason = GOAWAY_OVERLOAD, .min_ms = 5000, .max_ms = 5000 } };

        start(&d, NULL, 1);
        open_up(&d);
        hear(&d, &goaway);
        cr_assert(does(&d, DEVICE_DO_CLOSE));
        cr_assert(eq(u64, wait_of(&d), 5000));
}

Test(device_core, does_not_fight_its_double)
{
        struct driver d;
        struct message goaway = { .type = MESSAGE_GOAWAY,
                                  .goaway = {
                                      .reason = GOAWAY_REPLACED, .min_ms = 0, .max_ms = 1 } };

        start_live(&d, 41);
        step(&d, (struct device_input){ .kind = DEVICE_IN_CLOSED, .code = 4009 });
        cr_assert(eq(int, d.core.phase, DEVICE_STOPPED));
        start_live(&d, 41);
        hear(&d, &goaway);
        cr_assert(eq(int, d.core.phase, DEVICE_STOPPED));
        cr_assert(eq(u64, device_core_due(&d.core), DEVICE_CORE_NEVER));
}

Test(device_core, comes_back_after_every_other_close_code)
{
        static const uint16_t codes[] = { 0,    1000, 1001, 1002, 1005, 1007, 1008,
                                          1009, 1011, 1012, 1013, 4008, 4000, 4999 };

        for (size_t i = 0; i < countof(codes); i++) {
                struct driver d;

                start_live(&d, 41);
                step(&d, (struct device_input){ .kind = DEVICE_IN_CLOSED, .code = codes[i] });
                cr_assert(eq(int, d.core.phase, DEVICE_WAITING), "code %u", codes[i]);
                cr_assert(le(u64, wait_of(&d), 30000));
        }
}

Test(device_core, spreads_over_the_longest_step_when_the_node_is_full)
{
        uint64_t largest = 0;

        for (uint64_t seed = 1; seed <= 50; seed++) {
                struct driver d;

                start(&d, NULL, seed);
                open_up(&d);
                step(&d, (struct device_input){ .kind = DEVICE_IN_CLOSED, .code = 1013 });
                largest = wait_of(&d) > largest ? wait_of(&d) : largest;
        }
        cr_assert(gt(u64, largest, 20000));
}

/* --- silence --- */

Test(device_core, takes_a_link_for_dead_after_two_pings_and_asks_before)
{
        struct driver d;
        uint64_t from_ms;

        start_live(&d, 41);
        from_ms = d.now.mono_ms;
        d.core.time_ms = d.core.stable_ms = DEVICE_CORE_NEVER;
        tick_when_due(&d);
        cr_assert(eq(u64, d.now.mono_ms - from_ms, 75000));
        cr_assert(does(&d, DEVICE_DO_TIME), "a sign of life is asked for");
        d.core.time_ms = DEVICE_CORE_NEVER;
        tick_when_due(&d);
        cr_assert(eq(u64, d.now.mono_ms - from_ms, 105000));
        cr_assert(does(&d, DEVICE_DO_CUT));
        cr_assert(eq(int, d.core.phase, DEVICE_WAITING));
}

Test(device_core, lives_on_pings_alone)
{
        struct driver d;

        start_live(&d, 41);
        for (int i = 0; i < 100; i++) {
                pass_ms(&d, 50000);
                step(&d, (struct device_input){ .kind = DEVICE_IN_HEARD });
                tick(&d);
                cr_assert(eq(int, d.core.phase, DEVICE_LIVE));
        }
}

Test(device_core, waits_for_an_upgrade_and_a_hello_only_so_long)
{
        struct driver d;

        start(&d, NULL, 7);
        tick_when_due(&d);
        tick_when_due(&d);
        cr_assert(does(&d, DEVICE_DO_CUT));
        open_up(&d);
        tick_when_due(&d);
        cr_assert(does(&d, DEVICE_DO_CUT));
}

Test(device_core, says_goodbye_when_the_app_is_done)
{
        struct driver d;

        start_live(&d, 41);
        step(&d, (struct device_input){ .kind = DEVICE_IN_LEAVE });
        cr_assert(eq(int, did(&d, DEVICE_DO_CLOSE)->reason, CLOSE_NORMAL));
        cr_assert(eq(int, d.core.phase, DEVICE_STOPPED));
        step(&d, (struct device_input){ .kind = DEVICE_IN_CUT });
        tick(&d);
        cr_assert(eq(int, d.did.n, 0));
}
