/* What a worker counts for the delivery report. */
#include "gateway/tally.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define EPOCH   UINT64_C(0xabc)
#define SENT_MS INT64_C(1790000000000) /* Unix ms */
#define MONO_MS 5000                   /* the monotonic clock at that moment */

static struct tally *fresh(void)
{
        struct tally *tally = calloc(1, sizeof(*tally));

        tally_epoch(tally, EPOCH);
        return tally;
}

static struct signal signal_of(seqno seq)
{
        return (struct signal){ .token = { EPOCH, seq, seq * 7 + 1 },
                                .state = { .at = SENT_MS },
                                .sent = SENT_MS };
}

/* Comes to the worker at the moment it was sent. */
static void begin(struct tally *tally, seqno seq, uint32_t connected)
{
        struct signal signal = signal_of(seq);

        tally_begin(tally, &signal, connected, true, MONO_MS, SENT_MS);
}

/* The part of signal `seq` among what is taken; zero-filled if there is none. */
static struct report_part take(struct tally *tally, seqno seq)
{
        static struct report_part parts[TALLY_SIGNALS];
        struct report_part found = { .connected = 0 };
        size_t n = tally_take(tally, parts, countof(parts));

        for (size_t i = 0; i < n; i++)
                if (parts[i].token.seq == seq)
                        found = parts[i];
        return found;
}

Test(tally, counts_each_frame_and_each_ack_once)
{
        struct tally *tally = fresh();
        struct report_part part;

        begin(tally, 1, 3);
        for (int i = 0; i < 3; i++)
                tally_written(tally, 1, i != 2, MONO_MS + 10);
        tally_acked(tally, 0, 1, 0, 0, MONO_MS + 900);
        tally_acked(tally, 0, 1, 0, 0, MONO_MS + 900);
        part = take(tally, 1);
        cr_assert(eq(u64, part.token.tag, 8));
        cr_assert(eq(u32, part.connected, 3));
        cr_assert(eq(u32, part.written, 3));
        cr_assert(eq(u32, part.silent, 1));
        cr_assert(eq(u32, part.acked, 2));
        cr_assert(eq(u32, part.told.n, 3));
        cr_assert(eq(u32, part.told.max_ms, 10));
        free(tally);
}

Test(tally, what_is_taken_begins_at_zero_and_without_news_there_is_nothing_to_take)
{
        struct tally *tally = fresh();
        struct report_part part;

        begin(tally, 1, 2);
        tally_written(tally, 1, true, MONO_MS);
        cr_assert(eq(u32, take(tally, 1).written, 1));
        cr_assert(zero(uint, tally->n_news));
        cr_assert(zero(u64, take(tally, 1).token.epoch));
        tally_written(tally, 1, true, MONO_MS);
        part = take(tally, 1);
        cr_assert(eq(u32, part.written, 1), "a difference, to be added up");
        cr_assert(zero(u32, part.connected));
        cr_assert(eq(u32, part.told.n, 1));
        free(tally);
}

Test(tally, an_ack_of_many_counts_for_each_and_the_moment_for_the_last_alone)
{
        struct tally *tally = fresh();
        struct report_part parts[3];

        for (seqno seq = 1; seq <= 3; seq++)
                begin(tally, seq, 1);
        tally_acked(tally, 1, 3, 0, SENT_MS + 40, MONO_MS + 2000);
        cr_assert(eq(sz, tally_take(tally, parts, 3), 3));
        cr_assert(zero(u32, parts[0].acked));
        cr_assert(eq(u32, parts[1].acked, 1));
        cr_assert(zero(u32, parts[1].said));
        cr_assert(zero(u32, parts[1].acted.n),
                  "it did not act on that when it says it acted on this");
        cr_assert(eq(u32, parts[2].acked, 1));
        cr_assert(eq(u32, parts[2].said, 1));
        cr_assert(eq(u32, parts[2].acted.max_ms, 40), "when it said it acted");
        tally_acked(tally, 1, 3, 0, 0, MONO_MS + 2000);
        cr_assert(eq(u32, take(tally, 2).acted.max_ms, 2000),
                  "it names no moment: when its ack came");
        free(tally);
}

Test(tally, a_moment_is_believed_only_if_it_is_plausible)
{
        static const struct {
                int64_t activated_at;
                uint32_t said, acted_ms;
        } rows[] = {
                { SENT_MS + 500 + 30, 1, 30 },
                { SENT_MS + 500 - TALLY_CLOCK_SLACK_MS, 1, 0 },
                { SENT_MS + 500 - TALLY_CLOCK_SLACK_MS - 1, 0, 1500 },
                { SENT_MS + 500 + TALLY_PLAUSIBLE_MS, 1, TALLY_PLAUSIBLE_MS },
                { SENT_MS + 500 + TALLY_PLAUSIBLE_MS + 1, 0, 1500 },
                { 1, 0, 1500 },
                { INT64_C(1) << 53, 0, 1500 },
                { 0, 0, 1500 },
        };

        for (size_t i = 0; i < countof(rows); i++) {
                struct tally *tally = fresh();
                struct signal signal = signal_of(1);
                struct report_part part;

                signal.state.at += 500; /* to be acted on half a second later */
                tally_begin(tally, &signal, 1, true, MONO_MS, SENT_MS);
                tally_acked(tally, 0, 1, 0, rows[i].activated_at, MONO_MS + 2000);
                part = take(tally, 1);
                cr_assert(eq(u32, part.said, rows[i].said), "row %zu", i);
                cr_assert(eq(u32, part.acted.max_ms, rows[i].acted_ms), "row %zu", i);
                free(tally);
        }
}

Test(tally, an_ack_before_the_moment_to_act_says_nothing_of_acting)
{
        struct tally *tally = fresh();
        struct signal signal = signal_of(1);
        struct report_part part;

        signal.state.at += 10000;
        tally_begin(tally, &signal, 1, true, MONO_MS, SENT_MS);
        tally_acked(tally, 0, 1, 0, 0, MONO_MS + 2000);
        part = take(tally, 1);
        cr_assert(eq(u32, part.acked, 1));
        cr_assert(zero(u32, part.acted.n));
        free(tally);
}

Test(tally, a_producer_whose_clock_is_ahead_makes_no_huge_latency)
{
        struct tally *tally = fresh();
        struct signal signal = signal_of(1);
        struct report_part part;

        signal.sent += 300; /* later than now */
        tally_begin(tally, &signal, 1, true, MONO_MS, SENT_MS);
        tally_written(tally, 1, true, MONO_MS + 100);
        part = take(tally, 1);
        cr_assert(eq(u32, part.told.n, 1));
        cr_assert(zero(u32, part.told.max_ms));
        free(tally);
}

Test(tally, only_the_newest_64_are_counted_for)
{
        struct tally *tally = fresh();

        for (seqno seq = 1; seq <= 100; seq++)
                begin(tally, seq, 1);
        tally_take(tally, (struct report_part[TALLY_SIGNALS]){ 0 }, TALLY_SIGNALS);
        tally_written(tally, 36, true, MONO_MS);
        cr_assert(zero(uint, tally->n_news), "out of the 64");
        tally_acked(tally, 0, 100, 0, 0, MONO_MS);
        cr_assert(eq(uint, tally->n_news, TALLY_SIGNALS));
        cr_assert(eq(u32, take(tally, 37).acked, 1));
        free(tally);
}

Test(tally, another_epoch_begins_anew)
{
        struct tally *tally = fresh();
        struct signal signal = signal_of(1);

        begin(tally, 1, 5);
        tally_epoch(tally, EPOCH);
        cr_assert(eq(uint, tally->n_news, 1), "the same epoch goes on");
        tally_epoch(tally, EPOCH + 1);
        cr_assert(zero(uint, tally->n_news));
        tally_written(tally, 1, true, MONO_MS);
        begin(tally, 1, 5); /* of the old epoch */
        cr_assert(zero(uint, tally->n_news));
        signal.token.epoch = EPOCH + 1;
        tally_begin(tally, &signal, 2, true, MONO_MS, SENT_MS);
        cr_assert(eq(u32, take(tally, 1).connected, 2));
        free(tally);
}

Test(tally, the_same_signal_told_again_keeps_its_counts_and_another_of_its_number_does_not)
{
        struct tally *tally = fresh();
        struct signal other = signal_of(1);

        begin(tally, 1, 5);
        tally_written(tally, 1, true, MONO_MS);
        begin(tally, 1, 9);
        cr_assert(eq(u32, take(tally, 1).connected, 5));
        tally_written(tally, 1, true, MONO_MS);
        other.token.tag++;
        tally_begin(tally, &other, 2, true, MONO_MS, SENT_MS);

        struct report_part part = take(tally, 1);

        cr_assert(eq(u64, part.token.tag, other.token.tag));
        cr_assert(eq(u32, part.connected, 2));
        cr_assert(zero(u32, part.written));
        free(tally);
}

Test(tally, a_signal_read_back_is_news_only_once_somebody_is_sent_it)
{
        struct tally *tally = fresh();
        struct signal signal = signal_of(1);

        tally_begin(tally, &signal, 0, false, MONO_MS, SENT_MS);
        cr_assert(zero(uint, tally->n_news));
        tally_written(tally, 1, true, MONO_MS + 3000);
        cr_assert(eq(uint, tally->n_news, 1));
        cr_assert(eq(u32, take(tally, 1).told.max_ms, 3000), "late is told as late");
        begin(tally, 2, 0);
        cr_assert(eq(uint, tally->n_news, 1), "that nobody was connected is worth telling");
        free(tally);
}
