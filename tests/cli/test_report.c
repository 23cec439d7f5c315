/* What `kickoff report` draws: pure, from the answer of the admin API. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "producer/cli/report_view.h"

#define NOW_MS 1790000000000 /* 2026-09-21T14:13:20Z */

static struct buf out;
static const struct cli cli = { .now_ms = NOW_MS };

static json_t *answer_of(int connected, int written, int acked, int silent, bool gone)
{
        json_t *told = json_pack("{s:i, s:i, s:i, s:i, s:i}", "devices", written, "p50", 4, "p90",
                                 9, "p99", 12, "max", 15);
        json_t *acted =
            json_pack("{s:i, s:n, s:n, s:n, s:n}", "devices", 0, "p50", "p90", "p99", "max");
        json_t *node =
            json_pack("{s:s, s:s, s:b, s:b, s:i, s:i, s:i, s:O, s:O}", "name", "node-a", "seen",
                      "2026-09-21T14:13:08.000Z", "gone", (int)gone, "reported", 1, "connected",
                      connected, "written", written, "acked", acked, "told", told, "acted", acted);
        json_t *report =
            json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:b, s:b, s:i, s:[o]}", "connected",
                      connected, "written", written, "acked", acked, "silent", silent, "said", 0,
                      "told", told, "acted", acted, "complete", acked == connected, "partial",
                      (int)gone, "unreadable", 0, "nodes", node);

        return json_pack("{s:i, s:s, s:s, s:s, s:s, s:o}", "seq", 42, "kind", "start", "event",
                         "cup", "stage", "live", "sent", "2026-09-21T14:13:18.000Z", "report",
                         report);
}

static void fresh(void)
{
        setenv("TZ", "UTC", 1);
        tzset();
        buf_clear(&out);
}

static const char *bar(int connected, int written, int acked)
{
        fresh();
        report_view_bar(&cli, connected, written, acked, 10, &out);
        return out.data;
}

Test(report, the_bar_fills_from_connected_over_written_to_acked)
{
        cr_assert(eq(str, (char *)bar(40, 0, 0), "░░░░░░░░░░"));
        cr_assert(eq(str, (char *)bar(40, 20, 0), "▒▒▒▒▒░░░░░"));
        cr_assert(eq(str, (char *)bar(40, 40, 20), "█████▒▒▒▒▒"));
        cr_assert(eq(str, (char *)bar(40, 30, 20), "█████▒▒░░░"));
        cr_assert(eq(str, (char *)bar(40, 40, 40), "██████████"));
}

Test(report, the_bar_never_claims_the_last_device_nor_hides_the_first)
{
        cr_assert(eq(str, (char *)bar(1000000, 1000000, 999999), "█████████▒"));
        cr_assert(eq(str, (char *)bar(1000000, 1000000, 1), "█▒▒▒▒▒▒▒▒▒"));
        cr_assert(eq(str, (char *)bar(0, 0, 0), "░░░░░░░░░░"), "nobody is not everybody");
        cr_assert(eq(str, (char *)bar(40, 44, 50), "██████████"),
                  "devices that moved between nodes");
        cr_assert(eq(str, (char *)bar(40, 50, 40), "████████▒▒"));
}

Test(report, shows_counts_percentiles_and_nodes_without_a_colour_code)
{
        json_t *answer = answer_of(40, 40, 20, 0, false);

        fresh();
        report_view(&cli, answer, (struct report_space){ 0 }, &out);
        cr_assert(strstr(out.data, "Signal 42  start cup, stage live, sent 14:13:18 (2 s ago)") !=
                      NULL,
                  "%s", out.data);
        cr_assert(strstr(out.data, "acked 20  written 40  connected 40\n") != NULL, "%s", out.data);
        cr_assert(strstr(out.data, "50 %") != NULL);
        cr_assert(strstr(out.data, "told   4 ms  9 ms  12 ms  15 ms  40") != NULL, "%s", out.data);
        cr_assert(strstr(out.data, "acted  -     -     -      -      0") != NULL, "%s", out.data);
        cr_assert(strstr(out.data, "node-a  40") != NULL, "%s", out.data);
        cr_assert(strchr(out.data, '\033') == NULL);
        cr_assert(strstr(out.data, "missing") == NULL);
        json_decref(answer);
}

Test(report, colour_is_for_terminals)
{
        const struct cli on_terminal = { .now_ms = NOW_MS, .colour = true };

        fresh();
        report_view_bar(&on_terminal, 4, 4, 2, 4, &out);
        cr_assert(eq(str, out.data, "\033[32m██\033[0m\033[33m▒▒\033[0m"));
}

Test(report, a_node_that_is_gone_is_marked_and_what_that_means_is_said)
{
        json_t *answer = answer_of(40, 40, 20, 3, true);

        fresh();
        report_view(&cli, answer, (struct report_space){ 0 }, &out);
        cr_assert(strstr(out.data, "gone, seen 14:13:08 (12 s ago)") != NULL, "%s", out.data);
        cr_assert(strstr(out.data, "Part of this may be missing") != NULL, "%s", out.data);
        cr_assert(strstr(out.data, "(3 do not acknowledge)") != NULL, "%s", out.data);
        json_decref(answer);
}

Test(report, a_small_terminal_gets_a_narrow_bar_and_few_nodes)
{
        json_t *answer = answer_of(40, 40, 40, 0, false);
        json_t *nodes = json_object_get(json_object_get(answer, "report"), "nodes");
        unsigned lines = 0;

        for (int i = 0; i < 50; i++)
                json_array_append(nodes, json_array_get(nodes, 0));
        fresh();
        report_view(&cli, answer, (struct report_space){ .columns = 60, .rows = 24 }, &out);
        for (const char *at = out.data; *at != '\0'; at++)
                lines += *at == '\n';
        cr_assert(lt(uint, lines, 24), "it is drawn over itself: it must fit\n%s", out.data);
        cr_assert(strstr(out.data, "more.") != NULL);
        cr_assert(strstr(out.data, "███████████████████████████") == NULL,
                  "26 wide: 60 less the rest");
        json_decref(answer);
}

Test(report, a_line_says_it_all)
{
        json_t *answer = answer_of(40, 40, 20, 0, true), *done = answer_of(40, 40, 40, 0, false);

        fresh();
        report_view_line(answer, &out);
        cr_assert(eq(
            str, out.data,
            "acked 20, written 40, connected 40, told p99 12 ms, acted p99 -, nodes 1, partial"));
        fresh();
        report_view_line(done, &out);
        cr_assert(strstr(out.data, ", complete") != NULL, "%s", out.data);
        cr_assert(report_view_is_complete(done));
        cr_assert(not(report_view_is_complete(answer)));
        json_decref(answer);
        json_decref(done);
}

Test(report, a_change_is_a_change_of_counts_not_of_the_time_a_node_was_heard_of)
{
        json_t *before = answer_of(40, 40, 20, 0, false), *same = answer_of(40, 40, 20, 0, false);
        json_t *more = answer_of(40, 40, 21, 0, false);
        json_t *node = json_array_get(json_object_get(json_object_get(same, "report"), "nodes"), 0);

        json_object_set_new(node, "seen", json_string("2026-09-21T14:13:09.000Z"));
        cr_assert(not(report_view_differs(same, before)));
        cr_assert(report_view_differs(more, before));
        json_decref(before);
        json_decref(same);
        json_decref(more);
}

Test(report, an_older_node_gives_none_and_that_is_said)
{
        json_t *answer = answer_of(1, 1, 1, 0, false);

        json_object_del(answer, "report");
        fresh();
        report_view(&cli, answer, (struct report_space){ 0 }, &out);
        cr_assert(strstr(out.data, "older version") != NULL);
        cr_assert(not(report_view_is_complete(answer)));
        json_decref(answer);
}
