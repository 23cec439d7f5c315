/* What drain_view.h promises: whoever looks on a drain is told how it stands, and no more than is
 * known. */
#include "producer/cli/drain_view.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define RUN "2026-11-23T11:00:00.000Z"

static enum drain_stand judge(const char *state, const char *started, int devices,
                              int64_t *ret_left)
{
        json_t *nodes =
            json_pack("{s:[{s:s, s:s, s:s, s:i}, {s:s, s:s, s:s, s:i}]}", "nodes", "name", "other",
                      "state", "up", "started", RUN, "devices", 99, "name", "a", "state", state,
                      "started", started, "devices", devices);
        enum drain_stand stand = drain_view_judge(nodes, "a", RUN, ret_left);

        json_decref(nodes);
        return stand;
}

Test(drain, how_it_stands_is_judged_by_state_and_run)
{
        static const struct {
                const char *state, *started;
                int devices;
                enum drain_stand stand;
        } rows[] = {
                { "up", RUN, 7, DRAIN_WAITS },
                { "draining", RUN, 7, DRAIN_GOES_ON },
                { "draining", RUN, 0, DRAIN_GOES_ON }, /* the last answers are on their way */
                { "ended", RUN, 0, DRAIN_OVER },
                { "ended", RUN, 3, DRAIN_OVER }, /* it was time */
                { "gone", RUN, 0, DRAIN_OVER },
                { "gone", RUN, 7, DRAIN_DIED },
                { "up", "2026-11-23T11:05:00.000Z", 7, DRAIN_ANOTHER },
                { "draining", "2026-11-23T11:05:00.000Z", 7, DRAIN_ANOTHER },
        };
        int64_t left;

        for (size_t i = 0; i < countof(rows); i++) {
                left = -1;
                cr_assert(eq(int, judge(rows[i].state, rows[i].started, rows[i].devices, &left),
                             rows[i].stand),
                          "row %zu", i);
                if (rows[i].stand != DRAIN_ANOTHER)
                        cr_assert(eq(i64, left, rows[i].devices), "row %zu", i);
        }
}

Test(drain, a_node_that_nobody_remembers_has_ended)
{
        json_t *nodes = json_pack("{s:[]}", "nodes");
        int64_t left = 3;

        cr_assert(eq(int, drain_view_judge(nodes, "a", RUN, &left), DRAIN_OVER));
        json_decref(nodes);
}

Test(drain, the_bar_fills_as_they_leave_and_fits_a_narrow_terminal)
{
        struct buf out = BUF_INIT;

        drain_view_bar("a", 3, 12, 40, &out);
        cr_assert(eq(str, out.data, "a  [#######...]  3 of 12 left"));
        buf_fini(&out);
        out = (struct buf)BUF_INIT;
        drain_view_bar("a", 0, 0, 200, &out);
        cr_assert(eq(str, out.data, "a  [########################################]  0 of 0 left"));
        buf_fini(&out);
}

Test(drain, the_promise_says_how_many_where_to_and_by_when)
{
        const struct cli cli = { .now_ms = 1795431600000 };
        json_t *answer = json_pack("{s:s, s:b, s:i, s:i, s:i, s:i, s:s}", "node", "a", "already", 0,
                                   "devices", 6000, "others", 2, "rate", 400, "within_ms", 60000,
                                   "warning", "Nowhere to go.");
        struct buf out = BUF_INIT;

        drain_view_promise(&cli, answer, &out);
        cr_assert(
            eq(str, out.data,
               "a sends 6000 devices to 2 other nodes, 400 a second, and ends when they are gone, "
               "in 1m at the latest.\n  Mind: Nowhere to go.\n"));
        buf_fini(&out);
        json_decref(answer);
}
