/* Scenarios: which there are, and that each of their judgements can be broken. The accounts are
 * made by hand; tests/integration/test_herd.c plays real ones. */
#include "loadtest/scenario.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>

#include "loadtest/machine.h"
#include "loadtest/page.h"
#include "tests/loadtest/wellformed.h"

#define DEVICES 300

static struct account accounts[SCENARIO_RUNS_MAX];

struct value {
        const char *key;
        double good, bad; /* bad < 0: there is no bad one */
};

/* What a run that went well leaves behind, with these figures. */
static void make_good(struct account *account, const struct scenario *scenario)
{
        struct swarm_counts *counts = &account->report.result.counts;

        account_fini(account);
        account_init(account);
        account->scenario = scenario->name;
        account->sentence = scenario->sentence;
        account->promise = scenario->promise;
        account->lasted_s = 600;
        account->report = (struct report){ .event = "cup",
                                           .encodings = "both",
                                           .devices = DEVICES,
                                           .processes = 1,
                                           .is_started = true,
                                           .is_complete = true,
                                           .is_log_known = true,
                                           .result = account->report.result };
        *counts = (struct swarm_counts){ .devices = DEVICES,
                                         .connected_once = DEVICES,
                                         .prefetched = DEVICES,
                                         .at_head = DEVICES,
                                         .told = DEVICES,
                                         .shown = DEVICES };
        counts->tally.delivered = DEVICES;
        for (unsigned i = 1; i <= DEVICES; i++)
                histogram_record(&account->report.result.timings[TIMING_START], i * 1000);
}

static bool is_kept(const struct scenario *scenario, unsigned n)
{
        bool kept = true;

        for (unsigned i = 0; i < n; i++)
                accounts[i].n_judgements = 0;
        scenario->judge(accounts, n);
        for (unsigned i = 0; i < n; i++) {
                cr_assert(gt(uint, accounts[i].n_judgements, 0), "%s judges nothing",
                          scenario->name);
                kept = kept && account_passed(&accounts[i]);
        }
        return kept;
}

static void set(struct account *account, const char *key, double value)
{
        for (unsigned i = 0; i < account->n_figures; i++)
                if (strcmp(account->figures[i].key, key) == 0) {
                        account->figures[i].value = value;
                        return;
                }
        account_figure(account, key, key, "", value);
}

/* Good figures pass; each bad one, alone, does not; and neither does any flaw of the delivery. */
static void judge_breaks(const struct scenario *scenario, const struct value *values, size_t n)
{
        struct swarm_counts *counts = &accounts[0].report.result.counts;
        uint64_t *const flaws[] = { &counts->behind,         &counts->tally.missing,
                                    &counts->tally.disorder, &counts->tally.early,
                                    &counts->tally.foreign,  &counts->tally.resets_unexplained,
                                    &counts->gave_up,        &accounts[0].report.foreign_to_log };

        make_good(&accounts[0], scenario);
        for (size_t i = 0; i < n; i++)
                set(&accounts[0], values[i].key, values[i].good);
        cr_assert(is_kept(scenario, 1), "%s fails although all is well", scenario->name);
        for (size_t i = 0; i < n; i++) {
                if (values[i].bad < 0)
                        continue;
                set(&accounts[0], values[i].key, values[i].bad);
                cr_expect(not(is_kept(scenario, 1)), "%s: %s = %g passes", scenario->name,
                          values[i].key, values[i].bad);
                set(&accounts[0], values[i].key, values[i].good);
        }
        for (size_t i = 0; i < countof(flaws); i++) {
                *flaws[i] = 1;
                cr_expect(not(is_kept(scenario, 1)), "%s: flaw %zu passes", scenario->name, i);
                *flaws[i] = 0;
        }
        counts->told--;
        cr_expect(not(is_kept(scenario, 1)), "%s: a device that was not told passes",
                  scenario->name);
        counts->dead++;
        cr_expect(is_kept(scenario, 1), "%s: a dead one need not be told", scenario->name);
        account_fini(&accounts[0]);
}

Test(scenario, names_are_words_and_each_is_found)
{
        unsigned n = 0;

        for (const struct scenario *const *at = scenario_list; *at != NULL; at++, n++) {
                const struct scenario *scenario = *at;

                cr_assert(eq(sz, strspn(scenario->name, "abcdefghijklmnopqrstuvwxyz-"),
                             strlen(scenario->name)));
                cr_assert(eq(ptr, (void *)scenario_find(scenario->name), (void *)scenario));
                cr_assert(scenario->title != NULL && scenario->sentence != NULL &&
                          scenario->promise != NULL && scenario->run != NULL &&
                          scenario->judge != NULL);
        }
        cr_assert(eq(uint, n, 10));
        cr_assert(eq(str, (char *)scenario_list[0]->name, "start"));
        cr_assert(scenario_find("") == NULL && scenario_find("sta") == NULL &&
                  scenario_find("--list") == NULL);
}

Test(scenario, the_list_tells_each_with_its_promise)
{
        struct buf out = BUF_INIT;

        scenario_print_list(&out);
        for (const struct scenario *const *at = scenario_list; *at != NULL; at++)
                cr_assert(strstr(out.data, (*at)->name) != NULL &&
                          strstr(out.data, (*at)->promise) != NULL);
        buf_fini(&out);
}

Test(scenario, defaults_are_its_own_or_none)
{
        cr_assert(eq(
            str, (char *)scenario_default_of(scenario_find("connect-storm"), "connect-rate"), "0"));
        cr_assert(scenario_default_of(scenario_find("connect-storm"), "churn") == NULL);
        cr_assert(scenario_default_of(scenario_find("start"), "nodes") == NULL,
                  "today's invocation needs a node that is there");
}

Test(scenario, json_without_a_file_is_for_stdout)
{
        static const struct {
                const char *argv[5], *mended[5];
        } rows[] = {
                { { "herd", "--json" }, { "herd", "--json=-" } },
                { { "herd", "--json", "--devices", "5" },
                  { "herd", "--json=-", "--devices", "5" } },
                { { "herd", "--json", "x.json" }, { "herd", "--json", "x.json" } },
                { { "herd", "--json", "-" }, { "herd", "--json", "-" } },
                { { "herd", "--json=x" }, { "herd", "--json=x" } },
                { { "herd", "--json", "soak" }, { "herd", "--json=-", "soak" } },
                { { "herd", "soak", "--json" }, { "herd", "soak", "--json=-" } },
                { { "herd", "--", "--json" }, { "herd", "--", "--json" } },
                { { "herd" }, { "herd" } },
        };

        for (size_t i = 0; i < countof(rows); i++) {
                char *argv[6] = { 0 };
                int argc = 0;

                while (argc < 5 && rows[i].argv[argc] != NULL) {
                        argv[argc] = (char *)rows[i].argv[argc];
                        argc++;
                }
                scenario_mend_arguments(argc, argv);
                for (int k = 0; k < argc; k++)
                        cr_expect(eq(str, argv[k], (char *)rows[i].mended[k]), "row %zu", i);
        }
}

Test(scenario, start_is_judged)
{
        judge_breaks(&scenario_start, NULL, 0);
}

Test(scenario, connect_storm_is_judged)
{
        judge_breaks(&scenario_connect_storm, NULL, 0);
        make_good(&accounts[0], &scenario_connect_storm);
        accounts[0].report.result.counts.connected_once--;
        cr_assert(not(is_kept(&scenario_connect_storm, 1)));
}

Test(scenario, reconnect_storm_is_judged)
{
        static const struct value values[] = { { "is_back", 1, 0 }, { "struck", 100, 0 } };

        judge_breaks(&scenario_reconnect_storm, values, countof(values));
        make_good(&accounts[0], &scenario_reconnect_storm);
        set(&accounts[0], "is_back", 1);
        set(&accounts[0], "struck", 100);
        accounts[0].report.result.counts.tally.resets[RESET_TRIMMED] = 1;
        cr_assert(not(is_kept(&scenario_reconnect_storm, 1)),
                  "a token that is a moment old must be good, whatever the reason given");
}

Test(scenario, stampede_is_judged)
{
        judge_breaks(&scenario_stampede, NULL, 0);
        make_good(&accounts[0], &scenario_stampede);
        accounts[0].report.result.counts.shown--;
        cr_assert(not(is_kept(&scenario_stampede, 1)));
}

Test(scenario, spread_is_judged)
{
        static const struct value values[] = { { "requests_after", 0, 1 } };

        judge_breaks(&scenario_spread, values, countof(values));
        make_good(&accounts[0], &scenario_spread);
        accounts[0].report.result.counts.shown--;
        cr_assert(not(is_kept(&scenario_spread, 1)));
}

Test(scenario, compare_is_judged)
{
        make_good(&accounts[0], &scenario_compare);
        make_good(&accounts[1], &scenario_compare);
        set(&accounts[0], "peak_requests_per_s", 3000);
        set(&accounts[1], "peak_requests_per_s", 100);
        set(&accounts[0], "late_percent", 7);
        set(&accounts[1], "late_percent", 0);
        cr_assert(is_kept(&scenario_compare, 2));
        set(&accounts[1], "late_percent", 8);
        cr_assert(not(is_kept(&scenario_compare, 2)), "prefetch made screens later");
        set(&accounts[1], "late_percent", 0);
        set(&accounts[1], "peak_requests_per_s", 3000);
        cr_assert(not(is_kept(&scenario_compare, 2)), "prefetch flattened nothing");
        set(&accounts[1], "peak_requests_per_s", 0);
        cr_assert(not(is_kept(&scenario_compare, 2)), "nobody prefetched at all");
}

static void make_together(void)
{
        for (unsigned i = 0; i < 2; i++) {
                make_good(&accounts[i], &scenario_together);
                accounts[i].report.result.counts.acted = DEVICES;
                accounts[i].report.result.counts.timed = DEVICES;
        }
        set(&accounts[0], "apart_98_ms", 80);
        set(&accounts[1], "apart_98_ms", 50);
}

Test(scenario, together_is_judged)
{
        make_together();
        cr_assert(is_kept(&scenario_together, 2));
        set(&accounts[1], "apart_98_ms", 50.25);
        cr_assert(not(is_kept(&scenario_together, 2)), "not together, though announced");
        for (unsigned i = 0; i < 2; i++) {
                make_together();
                accounts[i].report.result.counts.acted--;
                cr_expect(not(is_kept(&scenario_together, 2)), "run %u: one did not switch", i);
                accounts[i].report.result.counts.dead++;
                cr_expect(is_kept(&scenario_together, 2), "run %u: a dead one need not", i);
                make_together();
                accounts[i].report.result.counts.timed--;
                cr_expect(not(is_kept(&scenario_together, 2)), "run %u: it knew no time", i);
                make_together();
                accounts[i].report.result.counts.behind = 1;
                cr_expect(not(is_kept(&scenario_together, 2)), "run %u: a signal was lost", i);
        }
}

Test(scenario, slow_readers_is_judged)
{
        static const struct value values[] = { { "p99_without_ms", 30, -1 },
                                               { "p99_beside_ms", 33, 500 },
                                               { "slow", 30, 0 } };

        judge_breaks(&scenario_slow_readers, values, countof(values));
}

Test(scenario, rolling_restart_is_judged)
{
        static const struct value values[] = { { "nodes", 3, -1 },
                                               { "again", 3, 2 },
                                               { "ended_in_order", 3, 2 },
                                               { "unannounced", 0, 1 } };

        judge_breaks(&scenario_rolling_restart, values, countof(values));
}

Test(scenario, soak_is_judged)
{
        make_good(&accounts[0], &scenario_soak);
        watch_add(&accounts[0].watch, "node-1", 0);
        set(&accounts[0], "grown_share", 0.5);
        set(&accounts[0], "grown_bytes", 1e6);
        cr_assert(is_kept(&scenario_soak, 1), "a small node's first pages are no leak");
        set(&accounts[0], "grown_bytes", 1e8);
        cr_assert(not(is_kept(&scenario_soak, 1)));
        accounts[0].lasted_s = 10;
        cr_assert(is_kept(&scenario_soak, 1), "too short to judge by");
}

/* --- what people are shown of it ------------------------------------------------------------- */

static const struct machine machine = { .cpu = "a <cpu> & more",
                                        .system = "s",
                                        .kernel = "k",
                                        .commit = "c",
                                        .date = "d",
                                        .cores = 2,
                                        .memory_gib = 24 };

static void add_history(struct account *account)
{
        for (uint32_t tick = 0; tick < 50; tick++) {
                struct series_sample sample = { .tick = tick };

                for (unsigned c = 0; c < SERIES_COLUMNS; c++)
                        sample.counts[c] = tick % 7 + c;
                series_add(&account->series, &sample);
        }
        account->lasted_s = 6;
        account->zero_s = 2;
        account_mark(account, 2, "</svg>");
        account_tile(account, "peak_requests_per_s", "most & <most>", "/s", 1234.5);
}

/* `n` switches, a tenth of a millisecond apart, from 5 ms before the moment named. */
static void add_moments(struct account *account, int n)
{
        for (int i = 0; i < n; i++)
                moments_record(&account->report.result.moments, 100 * i - 5000);
}

Test(page, shows_two_runs_by_their_own_names_in_one_picture)
{
        const struct page page = { .scenario = &scenario_together,
                                   .accounts = accounts,
                                   .n = 2,
                                   .machine = &machine,
                                   .command = "kickoff-herd together" };
        struct buf out = BUF_INIT;
        json_t *root;

        make_together();
        add_moments(&accounts[0], 800);
        add_moments(&accounts[1], 100);
        scenario_together.judge(accounts, 2);
        page_picture(&page, &out);
        cr_assert(strstr(out.data, "When each screen switched") != NULL);
        cr_assert(strstr(out.data, "told at the moment") != NULL);
        cr_assert(strstr(out.data, "announced ahead") != NULL);
        buf_clear(&out);
        page_html(&page, &out);
        cr_assert(strstr(out.data, "Announced ahead:") != NULL);
        cr_assert(strstr(out.data, "without prefetch") == NULL);
        buf_clear(&out);
        page_json(&page, true, &out);
        root = json_loads(out.data, 0, NULL);
        cr_assert(root != NULL);
        cr_assert(gt(sz, json_array_size(json_object_get(
                             json_array_get(json_object_get(root, "runs"), 1), "moments_us")),
                     10));
        json_decref(root);
        buf_fini(&out);
}

Test(page, is_well_formed_and_asks_nobody_for_anything)
{
        for (const struct scenario *const *at = scenario_list; *at != NULL; at++) {
                unsigned n = (*at)->runs[0] != NULL ? 2 : 1;
                const struct page page = { .scenario = *at,
                                           .accounts = accounts,
                                           .n = n,
                                           .machine = &machine,
                                           .command =
                                               "kickoff-herd --event '<script>alert(1)</script>'" };
                struct buf out = BUF_INIT, picture = BUF_INIT;
                const char *error, *at_text;

                for (unsigned i = 0; i < n; i++) {
                        make_good(&accounts[i], *at);
                        add_history(&accounts[i]);
                        if (*at == &scenario_together)
                                add_moments(&accounts[i], 1000);
                }
                (*at)->judge(accounts, n);
                page_html(&page, &out);
                cr_assert(not(out.failed));
                error = wellformed_error(out.data);
                cr_assert(error == NULL, "%s: not well-formed at %.80s", (*at)->name, error);
                cr_assert(strstr(out.data, "<script") == NULL && strstr(out.data, "src=") == NULL &&
                          strstr(out.data, "href=") == NULL && strstr(out.data, "url(") == NULL &&
                          strstr(out.data, "@import") == NULL && strstr(out.data, "http") == NULL);
                cr_assert(strstr(out.data, "nan") == NULL && strstr(out.data, "inf\"") == NULL);
                at_text = strstr(out.data, "<svg");
                cr_assert(at_text != NULL, "%s shows no plot", (*at)->name);
                page_picture(&page, &picture);
                cr_assert(picture.len > 0 && wellformed_error(picture.data) == NULL,
                          "%s has no picture of its own", (*at)->name);
                buf_fini(&picture);
                buf_fini(&out);
        }
}

Test(page, tells_what_was_broken)
{
        const struct page page = { .scenario = &scenario_start,
                                   .accounts = accounts,
                                   .n = 1,
                                   .machine = &machine,
                                   .command = "kickoff-herd" };
        struct buf out = BUF_INIT;

        make_good(&accounts[0], &scenario_start);
        accounts[0].report.result.counts.tally.missing = 2;
        scenario_start.judge(accounts, 1);
        page_html(&page, &out);
        cr_assert(strstr(out.data, ">failed<") != NULL);
        cr_assert(strstr(out.data, "2 of 302 deliveries were lost") != NULL, "%s", out.data);
        buf_clear(&out);
        account_text(&accounts[0], &out);
        cr_assert(strstr(out.data, "start FAILED") != NULL && strstr(out.data, "BROKEN") != NULL);
        buf_fini(&out);
}

Test(page, an_account_without_any_history_is_still_a_page)
{
        const struct page page = { .scenario = &scenario_soak,
                                   .accounts = accounts,
                                   .n = 1,
                                   .machine = &machine,
                                   .command = "" };
        struct buf out = BUF_INIT;
        const char *error;

        account_init(&accounts[0]);
        accounts[0].scenario = "soak";
        accounts[0].report.event = "cup";
        accounts[0].report.encodings = "both";
        page_html(&page, &out);
        error = wellformed_error(out.data);
        cr_assert(error == NULL, "not well-formed at %.80s", error);
        buf_fini(&out);
}

Test(page, the_json_has_every_series)
{
        const struct page page = { .scenario = &scenario_compare,
                                   .accounts = accounts,
                                   .n = 2,
                                   .machine = &machine,
                                   .command = "kickoff-herd compare" };
        struct buf out = BUF_INIT;
        json_t *root, *run, *counts;

        for (unsigned i = 0; i < 2; i++) {
                make_good(&accounts[i], &scenario_compare);
                add_history(&accounts[i]);
        }
        page_json(&page, true, &out);
        root = json_loads(out.data, 0, NULL);
        cr_assert(root != NULL);
        cr_assert(eq(sz, json_array_size(json_object_get(root, "runs")), 2));
        run = json_array_get(json_object_get(root, "runs"), 1);
        counts = json_object_get(json_object_get(run, "series"), "counts");
        cr_assert(eq(sz, json_object_size(counts), SERIES_COLUMNS));
        cr_assert(eq(sz, json_array_size(json_object_get(counts, "told")), 50));
        cr_assert(eq(int, (int)json_integer_value(json_object_get(run, "devices")), DEVICES));
        json_decref(root);
        buf_fini(&out);
}

Test(account, numbers_have_their_thousands_apart)
{
        static const struct {
                double value;
                const char *text;
        } rows[] = { { 0, "0" },
                     { 7, "7" },
                     { 999, "999" },
                     { 1000, "1,000" },
                     { 1017500, "1,017,500" },
                     { 0.094, "0.094" },
                     { 6.7, "6.70" },
                     { 42.25, "42.2" },
                     { 123.4, "123" },
                     { -1500, "-1,500" } };
        char text[24];

        for (size_t i = 0; i < countof(rows); i++) {
                account_number(rows[i].value, text);
                cr_expect(eq(str, text, (char *)rows[i].text));
        }
}

Test(watch, the_slope_of_a_straight_line_is_its_own)
{
        struct watch_point points[100];
        const struct watch_process process = { .points = points, .n = 100 };
        const struct watch_process short_one = { .points = points, .n = 2 };

        for (size_t i = 0; i < 100; i++)
                points[i] = (struct watch_point){ .s = (double)i, .bytes = 1e6 + 50.0 * (double)i };
        cr_assert(epsilon_eq(dbl, watch_slope(&process, 0), 3000.0, 0.01));
        for (size_t i = 0; i < 50; i++)
                points[i].bytes = 9e6; /* before from_s: does not count */
        cr_assert(epsilon_eq(dbl, watch_slope(&process, 50), 3000.0, 0.01));
        cr_assert(zero(dbl, watch_slope(&short_one, 0)));
}
