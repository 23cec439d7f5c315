/* Who may come in, on a clock of the test's own. */
#include "gateway/admission.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "gateway/address.h"

static struct admission admission;
static struct admission_guest guests[5000];
static uint64_t now_ms;

static void begin(uint32_t handshakes, uint32_t per_address, uint32_t rate)
{
        const struct admission_limits limits = { handshakes, per_address, rate, 0 };

        now_ms = 1000000;
        memset(guests, 0, sizeof(guests));
        admission_init(&admission, &limits, 7, now_ms);
}

static void end(void)
{
        admission_fini(&admission);
}

/* Guest `i` comes, of an address of its own unless told otherwise, and whoever must go does.
 * Returns who did, or -1. */
static int come(int i, uint64_t key, enum admission_line line)
{
        struct admission_guest *gone;

        now_ms += ADMISSION_GRACE_MS; /* all before have had theirs */
        guests[i].key = key != 0 ? key : 1000 + (uint64_t)i;
        admission_wait(&admission, &guests[i], line, now_ms);
        gone = admission_surplus(&admission, &guests[i], now_ms);
        if (gone == NULL)
                return -1;
        admission_leave(&admission, gone);
        cr_assert(eq(ptr, admission_surplus(&admission, &guests[i], now_ms), NULL));
        return (int)(gone - guests);
}

/* --- the line -------------------------------------------------------------------------------- */

Test(admission, the_line_has_its_length_and_then_the_oldest_silent_one_goes)
{
        begin(100, 0, 0);
        for (int i = 0; i < 100; i++)
                cr_assert(eq(int, come(i, 0, ADMISSION_SILENT), -1));
        for (int i = 100; i < 1000; i++)
                cr_assert(eq(int, come(i, 0, ADMISSION_SILENT), i - 100));
        end();
}

Test(admission, who_is_in_the_middle_of_a_request_stays_while_somebody_silent_can_go)
{
        begin(100, 0, 0);
        for (int i = 0; i < 40; i++)
                come(i, 0, ADMISSION_BEGUN);
        for (int i = 40; i < 100; i++)
                come(i, 0, ADMISSION_SILENT);
        for (int i = 100; i < 3000; i++) /* a flood of silent ones: only they go */
                cr_assert(eq(int, come(i, 0, ADMISSION_SILENT), i - 60));
        end();
}

Test(admission, a_silent_one_that_begins_is_not_silent_any_more)
{
        begin(3, 0, 0);
        for (int i = 0; i < 3; i++)
                come(i, 0, ADMISSION_SILENT);
        admission_wait(&admission, &guests[0], ADMISSION_BEGUN, now_ms);
        cr_assert(eq(int, come(3, 0, ADMISSION_SILENT), 1));
        admission_leave(&admission, &guests[0]); /* answered: it waits anew, behind the others */
        admission_wait(&admission, &guests[0], ADMISSION_SILENT, now_ms);
        cr_assert(eq(int, come(4, 0, ADMISSION_SILENT), 2));
        cr_assert(eq(int, come(5, 0, ADMISSION_SILENT), 3));
        cr_assert(eq(int, come(6, 0, ADMISSION_SILENT), 0));
        end();
}

Test(admission, those_who_drip_do_not_keep_others_out)
{
        begin(100, 0, 0);
        for (int i = 0; i < 100; i++)
                come(i, 0, ADMISSION_BEGUN);
        /* The line is theirs; those who come after them, silent as everybody is at first, stay. */
        for (int i = 100; i < 150; i++)
                cr_assert(eq(int, come(i, 0, ADMISSION_SILENT), i - 100));
        end();
}

Test(admission, nobody_who_has_begun_goes_for_one_that_was_silent_longer)
{
        begin(5, 0, 0);
        come(0, 0, ADMISSION_SILENT);
        for (int i = 1; i < 5; i++)
                come(i, 0, ADMISSION_BEGUN);
        cr_assert(eq(int, come(5, 0, ADMISSION_BEGUN), 0));
        end();
}

Test(admission, any_order_of_leaving_keeps_the_line_whole)
{
        struct rng rng;
        uint32_t n = 0;

        rng_seed(&rng, 3);
        begin(4000, 0, 0);
        for (int step = 0; step < 100000; step++) {
                struct admission_guest *guest = &guests[rng_below(&rng, 2000)];

                guest->key = guest->line == ADMISSION_NOWHERE ? 1 + rng_below(&rng, 5) : guest->key;
                n -= guest->line != ADMISSION_NOWHERE;
                if (rng_below(&rng, 2) == 0) {
                        admission_leave(&admission, guest);
                } else {
                        admission_wait(&admission, guest,
                                       rng_below(&rng, 2) ? ADMISSION_SILENT : ADMISSION_BEGUN,
                                       now_ms);
                        n++;
                }
        }
        for (uint32_t i = 0; i < n; i++)
                admission_leave(&admission, admission_oldest(&admission));
        cr_assert(eq(ptr, admission_oldest(&admission), NULL));
        cr_assert(zero(u32, admission.counts.used));
        end();
}

Test(admission, nobody_goes_before_its_grace_and_nobody_comes_while_there_is_no_room)
{
        begin(100, 0, 0);
        for (int i = 0; i < 100; i++) {
                cr_assert(eq(u32, admission_room(&admission, now_ms), 100 - (uint32_t)i));
                guests[i].key = 7; /* all of one address, too */
                admission_wait(&admission, &guests[i], ADMISSION_SILENT, now_ms);
                cr_assert(eq(ptr, admission_surplus(&admission, &guests[i], now_ms), NULL));
        }
        cr_assert(zero(u32, admission_room(&admission, now_ms)));
        now_ms += ADMISSION_GRACE_MS - 1;
        cr_assert(zero(u32, admission_room(&admission, now_ms)));
        admission_leave(&admission, &guests[50]); /* it spoke */
        cr_assert(eq(u32, admission_room(&admission, now_ms), 1));
        admission_wait(&admission, &guests[50], ADMISSION_SILENT, now_ms);
        cr_assert(zero(u32, admission_room(&admission, now_ms)));
        now_ms++; /* the grace of all but the last is over */
        cr_assert(gt(u32, admission_room(&admission, now_ms), 0));
        cr_assert(eq(int, come(100, 0, ADMISSION_SILENT), 0));
        end();
}

/* --- addresses ------------------------------------------------------------------------------- */

Test(admission, an_address_that_has_more_than_half_of_a_full_line_loses_its_own_oldest)
{
        begin(100, 0, 0);
        for (int i = 0; i < 50; i++) /* somebody else's, older than all */
                come(i, 0, ADMISSION_SILENT);
        for (int i = 50; i < 100; i++)
                cr_assert(eq(int, come(i, 7, ADMISSION_SILENT), -1));
        for (int i = 100; i < 500; i++) /* there are 51 of it each time */
                cr_assert(eq(int, come(i, 7, ADMISSION_SILENT), i - 50));
        cr_assert(eq(int, come(500, 0, ADMISSION_SILENT), 0));
        cr_assert(eq(int, come(501, 0, ADMISSION_SILENT), 1));
        end();
}

Test(admission, an_address_with_half_of_a_full_line_is_as_any_other)
{
        begin(100, 0, 0);
        for (int i = 0; i < 51; i++)
                come(i, 0, ADMISSION_SILENT);
        for (int i = 51; i < 100; i++)
                come(i, 7, ADMISSION_SILENT);
        cr_assert(eq(int, come(100, 7, ADMISSION_SILENT), 0)); /* the 50th of it */
        cr_assert(eq(int, come(101, 7, ADMISSION_SILENT), 51));
        end();
}

Test(admission, one_address_may_have_the_whole_line_while_nobody_else_comes)
{
        begin(100, 0, 0);
        for (int i = 0; i < 100; i++)
                cr_assert(eq(int, come(i, 7, ADMISSION_SILENT), -1));
        cr_assert(eq(int, come(100, 8, ADMISSION_SILENT), 0));
        end();
}

Test(admission, an_address_whose_own_are_not_among_the_oldest_is_as_any_other)
{
        begin(400, 0, 0);
        for (int i = 0; i <= ADMISSION_LOOK; i++)
                come(i, 0, ADMISSION_SILENT);
        for (int i = ADMISSION_LOOK + 1; i < 400; i++)
                come(i, 7, ADMISSION_SILENT);
        cr_assert(eq(int, come(400, 7, ADMISSION_SILENT), 0));
        cr_assert(eq(int, come(401, 7, ADMISSION_SILENT), 1));
        cr_assert(eq(int, come(402, 7, ADMISSION_SILENT), ADMISSION_LOOK + 1));
        end();
}

Test(admission, whom_a_proxy_does_not_name_is_not_limited_by_address)
{
        begin(100, 1, 0);
        for (int i = 0; i < 100; i++) {
                guests[i].key = ADDRESS_NOBODY;
                admission_wait(&admission, &guests[i], ADMISSION_SILENT, now_ms);
                cr_assert(eq(ptr, admission_surplus(&admission, &guests[i], now_ms), NULL));
                cr_assert(eq(int, admission_enter(&admission, ADDRESS_NOBODY, false, now_ms),
                             ADMISSION_YES));
        }
        end();
}

Test(admission, an_address_holds_so_many_sessions_and_one_more_when_one_has_gone)
{
        begin(100, 3, 0);
        for (int i = 0; i < 3; i++)
                cr_assert(eq(int, admission_enter(&admission, 7, false, now_ms), ADMISSION_YES));
        cr_assert(eq(int, admission_enter(&admission, 7, false, now_ms), ADMISSION_TOO_MANY));
        cr_assert(eq(int, admission_enter(&admission, 7, true, now_ms), ADMISSION_TOO_MANY));
        cr_assert(eq(int, admission_enter(&admission, 8, false, now_ms), ADMISSION_YES));
        admission_exit(&admission, 7);
        cr_assert(eq(int, admission_enter(&admission, 7, false, now_ms), ADMISSION_YES));
        cr_assert(eq(int, admission_enter(&admission, 7, false, now_ms), ADMISSION_TOO_MANY));
        end();
}

Test(admission, without_a_limit_sessions_are_not_counted)
{
        begin(100, 0, 0);
        for (int i = 0; i < 20000; i++)
                cr_assert(eq(int, admission_enter(&admission, 7, false, now_ms), ADMISSION_YES));
        cr_assert(zero(u32, admission.counts.size));
        end();
}

Test(admission, workers_share_a_nodes_limits)
{
        const struct admission_limits node = { 4096, 1000, 10, 0 }, none = { 1, 0, 0, 0 };
        struct admission_limits share = admission_share(&node, 1);

        cr_assert(zero(int, memcmp(&share, &node, sizeof(node)))); /* exact */
        share = admission_share(&node, 4);
        cr_assert(eq(u32, share.handshakes, 1024));
        cr_assert(eq(u32, share.per_address, 250 + 3 * 16));
        cr_assert(eq(u32, share.rate, 3));
        share = admission_share(&none, 4);
        cr_assert(eq(u32, share.handshakes, ADMISSION_HANDSHAKES_MIN));
        cr_assert(zero(u32, share.per_address));
        cr_assert(zero(u32, share.rate));
}

/* --- the rate -------------------------------------------------------------------------------- */

static unsigned admitted(unsigned tries, bool resumes)
{
        unsigned n = 0;

        for (unsigned i = 0; i < tries; i++)
                n += admission_enter(&admission, ADDRESS_NOBODY, resumes, now_ms) == ADMISSION_YES;
        return n;
}

Test(admission, newcomers_leave_the_last_quarter_to_those_who_resume)
{
        begin(100, 0, 400); /* 100 at once */
        cr_assert(eq(uint, admitted(1000, false), 75));
        cr_assert(eq(uint, admitted(1000, true), 25));
        cr_assert(eq(uint, admitted(1000, false), 0));
        end();
}

Test(admission, a_resume_gets_in_while_newcomers_storm)
{
        begin(100, 0, 400);
        for (int ms = 0; ms < 10000; ms++, now_ms++) {
                admitted(20, false); /* 20,000 a second */
                if (ms % 10 == 0)    /* 100 a second: a quarter */
                        cr_assert(eq(uint, admitted(1, true), 1), "at %d ms", ms);
        }
        end();
}

Test(admission, the_rate_is_kept_over_time_and_newcomers_alone_get_all_of_it)
{
        unsigned n = 0;

        begin(100, 0, 400);
        n = admitted(1000, false); /* what the bucket held */
        for (int ms = 0; ms < 10000; ms++) {
                now_ms++;
                n += admitted(3, false);
        }
        cr_assert(eq(uint, n, 75 + 4000));
        now_ms += UINT64_C(1) << 40; /* however long it rested */
        cr_assert(eq(uint, admitted(1000, false), 75));
        end();
}

Test(admission, without_a_rate_everybody_gets_in)
{
        begin(100, 0, 0);
        cr_assert(eq(uint, admitted(100000, false), 100000));
        end();
}

Test(admission, the_smallest_rate_lets_somebody_in)
{
        begin(100, 0, 1);
        cr_assert(eq(uint, admitted(10, false), 3));
        cr_assert(eq(uint, admitted(10, true), 1));
        now_ms += 1000;
        cr_assert(eq(uint, admitted(10, false), 0)); /* the last quarter is refilled first */
        now_ms += 1000;
        cr_assert(eq(uint, admitted(10, false), 1));
        end();
}

Test(admission, too_many_of_an_address_take_no_tokens_from_others)
{
        begin(100, 1, 400);
        for (int i = 0; i < 1000; i++)
                (void)!admission_enter(&admission, 7, true, now_ms);
        cr_assert(eq(uint, admitted(1000, true), 99));
        end();
}

/* --- coming back ----------------------------------------------------------------------------- */

Test(admission, the_refused_are_given_turns_as_fast_as_was_measured)
{
        struct admission_span first, last = { 0 };

        begin(100, 0, 0);
        for (int s = 0; s < 3; s++, now_ms += 1000)
                admitted(5000, false);
        admitted(1, false); /* the second is over */
        cr_assert(eq(u32, admission_rate(&admission), 5000));
        first = admission_refuse(&admission, REFUSED_BUSY, now_ms);
        cr_assert(eq(u32, first.min_ms, ADMISSION_WAIT_MIN_MS));
        for (int i = 1; i < 92500; i++)
                last = admission_refuse(&admission, REFUSED_BUSY, now_ms);
        cr_assert(eq(u32, last.min_ms, 18500)); /* 92,500 at 5,000 a second */
        cr_assert(eq(u32, last.max_ms, 37000));
        now_ms += 10000; /* those before have had their turns */
        cr_assert(eq(u32, admission_refuse(&admission, REFUSED_BUSY, now_ms).min_ms, 8500));
        end();
}

Test(admission, what_is_told_is_one_second_at_least_and_sixty_at_most)
{
        struct admission_span span = { 0 };
        struct rng rng;

        rng_seed(&rng, 5);
        begin(100, 0, 0);
        for (int i = 0; i < 1000000; i++) {
                unsigned s;

                span = admission_refuse(&admission, REFUSED_BUSY, now_ms);
                s = admission_retry_s(&span, &rng);
                if (span.min_ms < 1000 || span.max_ms != 2 * span.min_ms || span.max_ms > 60000 ||
                    s < 1 || s > 60 || s < span.min_ms / 1000 || s > span.max_ms / 1000 + 1)
                        cr_fatal("%u..%u ms, %u s", span.min_ms, span.max_ms, s);
        }
        cr_assert(eq(u32, span.max_ms, 60000));
        end();
}

Test(admission, the_refused_are_not_told_the_same)
{
        static const uint32_t spans_ms[] = { 1000, 1500, 5000, 30000 };
        struct rng rng;

        rng_seed(&rng, 6);
        for (size_t i = 0; i < countof(spans_ms); i++) {
                const struct admission_span span = { spans_ms[i], 2 * spans_ms[i] };
                unsigned told[62] = { 0 }, most = 0;

                for (int n = 0; n < 10000; n++) {
                        unsigned s = admission_retry_s(&span, &rng);

                        most = ++told[s] > most ? told[s] : most;
                }
                /* No second gets more than its share by half, of as many as the span has, or of
                 * two. */
                cr_assert(lt(uint, most, 15000 / (spans_ms[i] / 1000 + 1)), "span %zu", i);
        }
}

Test(admission, what_was_measured_falls_only_when_somebody_is_refused)
{
        begin(100, 0, 0);
        for (int s = 0; s < 100; s++, now_ms += 1000)
                admitted(10, false); /* nobody wants more */
        cr_assert(eq(u32, admission_rate(&admission), ADMISSION_RATE_AT_FIRST));
        for (int s = 0; s < 100; s++, now_ms += 1000) {
                admitted(200, false); /* this is all that gets in */
                for (int i = 0; i < 10; i++)
                        (void)admission_refuse(&admission, REFUSED_BUSY, now_ms);
        }
        cr_assert(eq(u32, admission_rate(&admission), 200));
        for (int s = 0; s < 100; s++, now_ms += 1000)
                (void)admission_refuse(&admission, REFUSED_BUSY, now_ms);
        cr_assert(eq(u32, admission_rate(&admission), ADMISSION_RATE_MIN));
        end();
}

Test(admission, an_address_or_a_fetcher_that_is_refused_pushes_nobody_back)
{
        begin(100, 0, 0);
        for (int i = 0; i < 100000; i++) {
                (void)admission_refuse(&admission, REFUSED_ADDRESS, now_ms);
                (void)admission_refuse(&admission, REFUSED_PREFETCH, now_ms);
        }
        cr_assert(eq(u32, admission_refuse(&admission, REFUSED_BUSY, now_ms).min_ms,
                     ADMISSION_WAIT_MIN_MS));
        cr_assert(eq(u32, admission_refuse(&admission, REFUSED_ADDRESS, now_ms).max_ms, 60000));
        end();
}
