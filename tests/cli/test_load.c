/* tests/cli/test_load.c -- what `prefetch load` decides: what to send, how long to wait, what to
 * show. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "producer/cli/load_plan.h"
#include "producer/cli/load_put.h"
#include "producer/cli/progress.h"

static struct bundle_file file_of(const char *cohort, const char *sha256, const char *type)
{
        struct bundle_file file = { .type = type, .size = 10 };

        strcpy(file.cohort, cohort);
        strcpy(file.sha256, sha256);
        return file;
}

#define ROW(cohort, sha, type) \
        "{\"cohort\":\"" cohort "\",\"sha256\":\"" sha "\",\"content_type\":\"" type "\"}"

Test(load_plan, sends_only_what_the_node_does_not_hold_already)
{
        static const enum load_state wanted[] = { LOAD_SEND,  LOAD_SEND, LOAD_SEND,   LOAD_DRAFT,
                                                  LOAD_DRAFT, LOAD_SEND, LOAD_CURRENT };
        struct bundle_file files[] = {
                file_of("absent", "aa", "a/b"),  file_of("bytes", "aa", "a/b"),
                file_of("type", "aa", "a/b"),    file_of("draft", "aa", "a/b"),
                file_of("both", "aa", "a/b"),    file_of("hidden", "aa", "a/b"),
                file_of("current", "aa", "a/b"),
        };
        json_t *answer = json_loads(
            "{\"version\":4,\"drafts\":[" ROW("draft", "aa", "a/b") "," ROW("both", "aa", "a/b") "," ROW("hidden", "bb", "a/b") "," ROW(
                "foreign", "cc",
                "a/b") "],\"current\":[" ROW("bytes", "bb",
                                             "a/b") "," ROW("type", "aa",
                                                            "a/c") "," ROW("both", "bb",
                                                                           "a/b") "," ROW("hidden",
                                                                                          "aa",
                                                                                          "a/b") "," ROW("current",
                                                                                                         "aa",
                                                                                                         "a/b") "]}",
            0, NULL);
        enum load_state states[countof(files)];
        struct load_plan plan;

        cr_assert(eq(int, load_plan_make(files, countof(files), answer, states, &plan), OK));
        for (size_t i = 0; i < countof(files); i++)
                cr_expect(eq(int, states[i], wanted[i]), "%s", files[i].cohort);
        cr_assert(eq(sz, plan.send, 4));
        cr_assert(eq(sz, plan.send_bytes, 40));
        cr_assert(eq(sz, plan.draft, 2));
        cr_assert(eq(sz, plan.current, 1));
        cr_assert(eq(sz, plan.bytes, 70));
        cr_assert(eq(sz, plan.others, 1));
        cr_assert(eq(llong, plan.version, 4));
        cr_assert(plan.publishes);
        json_decref(answer);
}

Test(load_plan, publishes_nothing_when_devices_have_all_of_it)
{
        struct bundle_file file = file_of("default", "aa", "a/b");
        json_t *answer = json_loads(
            "{\"version\":4,\"drafts\":[" ROW("foreign", "cc", "a/b") "],\"current\":[" ROW(
                "default", "aa", "a/b") "]}",
            0, NULL);
        enum load_state state;
        struct load_plan plan;

        cr_assert(eq(int, load_plan_make(&file, 1, answer, &state, &plan), OK));
        cr_assert(eq(int, state, LOAD_CURRENT));
        cr_assert(not(plan.publishes)); /* somebody else's drafts are theirs to publish */
        json_decref(answer);
}

Test(load_plan, what_is_no_list_of_bundles_is_not_taken_for_an_empty_one)
{
        static const char *const bad[] = { "{}", "[]", "{\"version\":1,\"drafts\":[]}",
                                           "{\"version\":\"1\",\"drafts\":[],\"current\":[]}",
                                           "{\"version\":1,\"drafts\":{},\"current\":[]}" };
        struct bundle_file file = file_of("default", "aa", "a/b");
        enum load_state state;
        struct load_plan plan;

        for (size_t i = 0; i < countof(bad); i++) {
                json_t *answer = json_loads(bad[i], 0, NULL);

                cr_expect(eq(int, load_plan_make(&file, 1, answer, &state, &plan), ERR_INVALID),
                          "%s", bad[i]);
                json_decref(answer);
        }
}

Test(load_put, waits_as_long_as_the_node_says_or_longer_each_time_never_all_at_once)
{
        cr_assert(eq(uint, load_put_wait_ms(2, 0, 0), 2000));
        cr_assert(eq(uint, load_put_wait_ms(2, 9, 1000), 3000));
        cr_assert(eq(uint, load_put_wait_ms(2, 0, 1001), 2000));
        cr_assert(eq(uint, load_put_wait_ms(4000000000u, 0, 0), 30000));
        cr_assert(eq(uint, load_put_wait_ms(0, 0, 0), 250));
        cr_assert(eq(uint, load_put_wait_ms(0, 1, 0), 500));
        cr_assert(eq(uint, load_put_wait_ms(0, 5, 0), 8000));
        cr_assert(eq(uint, load_put_wait_ms(0, 40, 0), 8000));
        cr_assert(le(uint, load_put_wait_ms(0, 40, UINT64_MAX), 12000));
}

Test(progress, few_are_told_one_by_one_and_many_about_twenty_times)
{
        static const size_t totals[] = { 1, 20, 21, 601, 10000 };

        for (size_t i = 0; i < countof(totals); i++) {
                unsigned due = 0;

                for (size_t done = 1; done <= totals[i]; done++)
                        due += progress_is_due(done, totals[i]);
                cr_expect(eq(uint, due, totals[i] < 20 ? (unsigned)totals[i] : 20), "%zu",
                          totals[i]);
                cr_expect(progress_is_due(totals[i], totals[i])); /* the last always */
        }
}

Test(progress, a_bar_says_how_much_how_fast_and_how_long)
{
        struct progress progress = {
                .done = 5213, .total = 10000, .bytes = 42500000, .begun_ms = 1000
        };
        struct buf out = BUF_INIT;

        progress_bar(&progress, 5000, &out);
        cr_assert(eq(str, out.data,
                     "[##########          ]  52 %  5,213 of 10,000  42.5 MB  1,303/s  3 s left"));
        buf_clear(&out);
        progress.done = 0;
        progress.bytes = 0;
        progress_bar(&progress, 1000, &out);
        cr_assert(eq(str, out.data, "[                    ]   0 %  0 of 10,000  0.0 MB"));
        buf_fini(&out);
}
