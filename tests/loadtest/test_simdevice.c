#include "loadtest/simdevice.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define EPOCH 0xabcd

static struct witness witness;
static struct simtally tally;

static struct token at(seqno seq)
{
        return (struct token){ .epoch = EPOCH, .seq = seq, .tag = seq * 1000 };
}

static void begin(void)
{
        witness_init(&witness);
        memset(&tally, 0, sizeof(tally));
}

static void end(void)
{
        witness_fini(&witness);
}

static struct simdevice following(seqno seq)
{
        struct simdevice device = { 0 };
        struct token token = at(seq);

        simdevice_open(&device);
        simdevice_hello(&device, &(struct hello){ .recovered = false }, &tally);
        simdevice_reset(&device, RESET_NEW, &token, &witness, &tally);
        return device;
}

static enum simdevice_verdict send_seq(struct simdevice *device, seqno seq)
{
        struct token token = at(seq);

        return simdevice_signal(device, &token, &witness, &tally);
}

static void resume(struct simdevice *device, bool recovered)
{
        simdevice_open(device);
        simdevice_hello(device, &(struct hello){ .recovered = recovered }, &tally);
}

TestSuite(simdevice, .init = begin, .fini = end);

Test(simdevice, is_small_because_there_are_millions_of_them)
{
        cr_assert(le(sz, sizeof(struct simdevice), 48));
}

Test(simdevice, signals_in_order_are_delivered_and_flawless)
{
        struct simdevice device = following(4);

        for (seqno seq = 5; seq < 100; seq++)
                cr_assert(eq(int, send_seq(&device, seq), SIM_NEXT));
        cr_assert(eq(u64, tally.delivered, 95));
        cr_assert(not(device.flawed));
        cr_assert(eq(u64, tally.resets[RESET_NEW], 0), "the first reset is not counted");
}

Test(simdevice, gap_is_detected_and_counted_once)
{
        struct simdevice device = following(4);

        cr_assert(eq(int, send_seq(&device, 8), SIM_GAP));
        cr_assert(eq(u64, tally.missing, 3));
        cr_assert(device.flawed);
        cr_assert(eq(int, send_seq(&device, 9), SIM_NEXT));
        cr_assert(eq(u64, tally.missing, 3));
}

Test(simdevice, broken_order_is_detected)
{
        struct simdevice device = following(4);

        send_seq(&device, 5);
        send_seq(&device, 7);
        cr_assert(eq(int, send_seq(&device, 6), SIM_DISORDER));
        cr_assert(eq(u64, tally.disorder, 1));
        cr_assert(eq(u64, device.place.seq, 7), "never backwards");
}

Test(simdevice, repeat_is_counted_and_allowed)
{
        struct simdevice device = following(4);

        send_seq(&device, 5);
        cr_assert(eq(int, send_seq(&device, 5), SIM_REPEAT));
        cr_assert(eq(u64, tally.repeats, 1));
        cr_assert(eq(u64, tally.delivered, 1));
        cr_assert(not(device.flawed));
}

Test(simdevice, replay_that_begins_too_early_is_repeats_not_disorder)
{
        struct simdevice device = following(4);

        send_seq(&device, 5);
        send_seq(&device, 6);
        resume(&device, true);
        cr_assert(eq(int, send_seq(&device, 5), SIM_REPEAT));
        cr_assert(eq(int, send_seq(&device, 6), SIM_REPEAT));
        cr_assert(eq(int, send_seq(&device, 7), SIM_NEXT));
        cr_assert(not(device.flawed));
}

Test(simdevice, foreign_tag_is_detected)
{
        struct simdevice one = following(4), other = following(4);
        struct token foreign = at(5);

        send_seq(&one, 5);
        foreign.tag ^= 1;
        cr_assert(eq(int, simdevice_signal(&other, &foreign, &witness, &tally), SIM_FOREIGN));
        cr_assert(eq(u64, tally.foreign, 1));
        cr_assert(eq(u64, other.place.seq, 4));
}

Test(simdevice, other_epoch_without_a_reset_is_foreign)
{
        struct simdevice device = following(4);
        struct token token = at(5);

        token.epoch++;
        cr_assert(eq(int, simdevice_signal(&device, &token, &witness, &tally), SIM_FOREIGN));
}

Test(simdevice, signal_before_hello_or_announced_reset_is_early)
{
        struct simdevice device = following(4);

        simdevice_open(&device);
        cr_assert(eq(int, send_seq(&device, 5), SIM_EARLY));
        resume(&device, false);
        cr_assert(eq(int, send_seq(&device, 5), SIM_EARLY));
        cr_assert(eq(u64, tally.early, 2));
}

Test(simdevice, reset_with_a_reason_covers_what_was_skipped)
{
        struct simdevice device = following(4);
        struct token token = at(4 + SIMDEVICE_RETENTION + 1);

        resume(&device, false);
        simdevice_reset(&device, RESET_TRIMMED, &token, &witness, &tally);
        cr_assert(eq(u64, tally.resets[RESET_TRIMMED], 1));
        cr_assert(eq(u64, tally.covered, SIMDEVICE_RETENTION + 1));
        cr_assert(eq(u64, tally.missing, 0));
        cr_assert(not(device.flawed));
        cr_assert(eq(int, send_seq(&device, token.seq + 1), SIM_NEXT));
}

/* Contract line 5: who is no further behind gets every signal, not a reset in their place. */
Test(simdevice, trimmed_within_retention_is_unexplained)
{
        struct simdevice device = following(4);
        struct token token = at(4 + SIMDEVICE_RETENTION);

        resume(&device, false);
        simdevice_reset(&device, RESET_TRIMMED, &token, &witness, &tally);
        cr_assert(eq(u64, tally.resets_unexplained, 1));
        cr_assert(eq(u64, tally.covered, 0));
        cr_assert(device.flawed);
}

Test(simdevice, unknown_in_its_own_epoch_is_unexplained)
{
        struct simdevice device = following(4);
        struct token token = at(4), other = at(2);

        other.epoch++;
        resume(&device, false);
        simdevice_reset(&device, RESET_UNKNOWN, &other, &witness, &tally);
        cr_assert(eq(u64, tally.resets_unexplained, 0));
        token.epoch = other.epoch;
        resume(&device, false);
        simdevice_reset(&device, RESET_UNKNOWN, &token, &witness, &tally);
        cr_assert(eq(u64, tally.resets_unexplained, 1));
}

Test(simdevice, reset_new_to_a_device_that_resumed_is_unexplained)
{
        struct simdevice device = following(4);
        struct token token = at(10);

        resume(&device, false);
        simdevice_reset(&device, RESET_NEW, &token, &witness, &tally);
        cr_assert(eq(u64, tally.resets_unexplained, 1));
        cr_assert(device.flawed);
}

Test(simdevice, recovered_without_a_token_is_a_flaw)
{
        struct simdevice device = { 0 };

        resume(&device, true);
        cr_assert(device.flawed);
}

Test(simdevice, behind_tells_what_is_missing_at_the_end)
{
        struct simdevice device = following(4), nowhere = { 0 };
        struct token head = at(6), past = at(3);

        cr_assert(eq(u64, simdevice_behind(&device, &head), 2));
        cr_assert(eq(u64, simdevice_behind(&device, &past), 0));
        cr_assert(eq(u64, simdevice_behind(&nowhere, &head), 1));
}

Test(witness, compares_with_the_log)
{
        struct witness seen, log;

        witness_init(&seen);
        witness_init(&log);
        for (seqno seq = 3; seq <= 6; seq++) {
                struct token token = at(seq);

                witness_saw(&log, &token);
        }
        for (seqno seq = 0; seq <= 5; seq++) {
                struct token token = at(5 - seq); /* any order */

                witness_saw(&seen, &token);
        }
        cr_assert(eq(sz, witness_foreign(&seen, &log), 0));

        struct token phantom = at(7), forged = at(6);

        forged.tag++;
        witness_saw(&seen, &phantom);
        witness_saw(&seen, &forged);
        cr_assert(eq(sz, witness_foreign(&seen, &log), 2));
        witness_fini(&seen);
        witness_fini(&log);
}
