#include "loadtest/report.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>

#define DEVICES 100

static struct report good_report(void)
{
        struct report report = { .event = "cup",
                                 .encodings = "both",
                                 .devices = DEVICES,
                                 .processes = 1,
                                 .is_started = true,
                                 .is_complete = true,
                                 .is_log_known = true };

        report.result.counts = (struct swarm_counts){ .devices = DEVICES,
                                                      .connected_once = DEVICES,
                                                      .prefetched = DEVICES,
                                                      .at_head = DEVICES };
        for (unsigned i = 0; i < TIMINGS; i++)
                histogram_init(&report.result.timings[i]);
        for (unsigned i = 0; i < DEVICES; i++)
                histogram_record(&report.result.timings[TIMING_START], 1000 * (i + 1));
        return report;
}

Test(report, passes_only_when_nothing_is_missing)
{
        struct report report = good_report();
        struct swarm_counts *counts = &report.result.counts;
        struct simtally *tally = &counts->tally;
        uint64_t *const flaws[] = { &counts->behind,
                                    &counts->prefetch_failed,
                                    &counts->broken,
                                    &counts->proof_failed,
                                    &tally->missing,
                                    &tally->disorder,
                                    &tally->foreign,
                                    &tally->early,
                                    &tally->resets_unexplained,
                                    &report.foreign_to_log };

        cr_assert(report_passed(&report));
        for (size_t i = 0; i < countof(flaws); i++) {
                *flaws[i] = 1;
                cr_expect(not(report_passed(&report)), "flaw %zu", i);
                *flaws[i] = 0;
        }
        counts->connected_once--;
        cr_assert(not(report_passed(&report)));
        counts->connected_once++;
        report.is_log_known = false;
        cr_assert(not(report_passed(&report)), "what could not be compared is not proved");
}

Test(report, repeats_and_explained_resets_are_allowed)
{
        struct report report = good_report();

        report.result.counts.tally.repeats = 5;
        report.result.counts.tally.resets[RESET_TRIMMED] = 5;
        report.result.counts.reconnects = 5;
        cr_assert(report_passed(&report));
}

Test(report, interrupted_run_does_not_count_what_had_not_happened_yet)
{
        struct report report = good_report();

        report.interrupted = true;
        report.is_started = false;
        report.result.counts.connected_once = 7;
        report.result.counts.behind = 3;
        cr_assert(report_passed(&report));
        report.result.counts.tally.missing = 1;
        cr_assert(not(report_passed(&report)));
}

Test(report, json_is_one_object_with_the_numbers)
{
        struct report report = good_report();
        struct buf out = BUF_INIT;
        json_t *root, *start;

        report_json(&report, &out);
        cr_assert(eq(ptr, strchr(out.data, '\n'), out.data + out.len - 1));
        root = json_loadb(out.data, out.len, 0, NULL);
        cr_assert(ne(ptr, root, NULL));
        cr_assert(eq(int, json_is_true(json_object_get(root, "passed")), 1));
        cr_assert(eq(llong, json_integer_value(json_object_get(root, "lost")), 0));
        start = json_object_get(json_object_get(root, "ms"), "start");
        cr_assert(eq(llong, json_integer_value(json_object_get(start, "n")), DEVICES));
        cr_assert(epsilon_eq(dbl, json_real_value(json_object_get(start, "max")), 100.0, 0.001));
        json_decref(root);
        buf_fini(&out);
}

Test(report, text_ends_with_the_verdict)
{
        struct report report = good_report();
        struct buf out = BUF_INIT;

        report_text(&report, &out);
        cr_assert(ne(ptr, strstr(out.data, "lost 0"), NULL));
        cr_assert(eq(str, out.data + out.len - 7, "PASSED\n"));
        buf_clear(&out);
        report.result.counts.prefetched -= 2;
        report.result.counts.tally.missing = 3;
        report_text(&report, &out);
        cr_assert(ne(ptr, strstr(out.data, "\nFAILED: 2 bundles missing, 3 signals lost\n"), NULL));
        buf_fini(&out);
}
