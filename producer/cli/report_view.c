/* producer/cli/report_view.c -- see report_view.h. */
#include "producer/cli/report_view.h"

#include <string.h>

#include "producer/cli/show.h"
#include "producer/cli/table.h"

#define BAR_MAX   60
#define BAR_MIN   10
#define BAR_ROOM  34 /* for what stands beside the bar */
#define ROWS_ELSE 12 /* lines that are not nodes */
#define ROWS_MIN  3

static json_int_t number(const json_t *object, const char *name)
{
        return json_integer_value(json_object_get(object, name));
}

static const json_t *report_of(const json_t *answer)
{
        return json_object_get(answer, "report");
}

/* --- the bar --------------------------------------------------------------------------------- */

static void blocks(const struct cli *cli, const char *colour, const char *block, unsigned n,
                   struct buf *out)
{
        if (n > 0 && cli->colour)
                buf_str(out, colour);
        for (unsigned i = 0; i < n; i++)
                buf_str(out, block);
        if (n > 0 && cli->colour)
                buf_str(out, "\033[0m");
}

/* Never the full width before all of it is there, and never nothing where there is something. */
static unsigned share(json_int_t part, json_int_t whole, unsigned width)
{
        unsigned n = (unsigned)((double)part / (double)whole * width);

        if (part >= whole)
                return width;
        return n == 0 && part > 0 ? 1 : n;
}

void report_view_bar(const struct cli *cli, json_int_t connected, json_int_t written,
                     json_int_t acked, unsigned width, struct buf *out)
{
        json_int_t whole = written > connected ? written : connected;
        unsigned full = 0, half = 0;

        if (whole > 0) {
                full = share(acked, whole, width);
                half = share(written, whole, width);
                half = half > full ? half - full : 0;
        }
        blocks(cli, "\033[32m", "█", full, out);
        blocks(cli, "\033[33m", "▒", half, out);
        blocks(cli, "\033[2m", "░", width - full - half, out);
}

static void show_bar(const struct cli *cli, const json_t *report, unsigned columns, struct buf *out)
{
        json_int_t connected = number(report, "connected"), written = number(report, "written");
        json_int_t acked = number(report, "acked"), silent = number(report, "silent");
        unsigned width = BAR_MAX;

        if (columns != 0 && columns < BAR_MAX + BAR_ROOM)
                width = columns > BAR_MIN + BAR_ROOM ? columns - BAR_ROOM : BAR_MIN;
        buf_str(out, "  ");
        report_view_bar(cli, connected, written, acked, width, out);
        if (written > 0)
                buf_printf(out, "  %lld %%",
                           (long long)(acked >= written ? 100 : 100 * acked / written));
        buf_printf(out, "\n  acked %lld  written %lld  connected %lld", (long long)acked,
                   (long long)written, (long long)connected);
        if (silent > 0)
                buf_printf(out, "  (%lld do not acknowledge)", (long long)silent);
        buf_str(out, "\n\n");
}

/* --- numbers --------------------------------------------------------------------------------- */

static void show_ms(const json_t *latency, const char *name, struct buf *out)
{
        const json_t *value = json_object_get(latency, name);

        if (json_is_integer(value))
                buf_printf(out, "%lld ms", (long long)json_integer_value(value));
        else
                buf_char(out, '-');
}

static void cell_ms(struct table *table, const json_t *latency, const char *name)
{
        size_t from = table->cells.len;

        show_ms(latency, name, &table->cells);
        table_end_cell(table, from);
}

static void cell_text(struct table *table, const char *text)
{
        size_t from = table->cells.len;

        show_text(text, &table->cells);
        table_end_cell(table, from);
}

/* `said`: of how many by their own word; negative: that is not the question. */
static void row_latency(struct table *table, const char *what, const json_t *latency,
                        json_int_t said)
{
        static const char *const names[] = { "p50", "p90", "p99", "max" };
        size_t from;

        cell_text(table, what);
        for (size_t i = 0; i < countof(names); i++)
                cell_ms(table, latency, names[i]);
        from = table->cells.len;
        show_member(latency, "devices", &table->cells);
        if (said >= 0 && said < number(latency, "devices"))
                buf_printf(&table->cells, " (%lld said when, of the others their ack's arrival)",
                           (long long)said);
        table_end_cell(table, from);
}

static void show_latencies(const struct cli *cli, const json_t *report, struct buf *out)
{
        static const char *const heads[] = { "UNTIL", "P50", "P90", "P99", "MAX", "DEVICES" };
        struct table table;

        table_init(&table, heads, countof(heads));
        row_latency(&table, "told", json_object_get(report, "told"), -1);
        row_latency(&table, "acted", json_object_get(report, "acted"), number(report, "said"));
        table_show(&table, cli, "", out);
        buf_char(out, '\n');
}

static void cell_state(const struct cli *cli, struct table *table, const json_t *node)
{
        size_t from = table->cells.len;

        if (!json_is_true(json_object_get(node, "gone"))) {
                buf_str(&table->cells, "up");
        } else {
                buf_str(&table->cells, json_is_false(json_object_get(node, "reported"))
                                           ? "gone without a word, seen "
                                           : "gone, seen ");
                show_time(cli, node, "seen", &table->cells);
        }
        table_end_cell(table, from);
}

static void show_report_nodes(const struct cli *cli, const json_t *report, unsigned rows,
                              struct buf *out)
{
        static const char *const heads[] = { "NODE",     "CONNECTED", "WRITTEN", "ACKED",
                                             "TOLD P99", "ACTED P99", "STATE" };
        static const char *const counts[] = { "connected", "written", "acked" };
        const json_t *nodes = json_object_get(report, "nodes");
        size_t n = json_array_size(nodes), most = n;
        struct table table;

        if (rows != 0 && n > (rows > ROWS_ELSE + ROWS_MIN ? rows - ROWS_ELSE : ROWS_MIN))
                most = rows > ROWS_ELSE + ROWS_MIN ? rows - ROWS_ELSE : ROWS_MIN;
        table_init(&table, heads, countof(heads));
        for (size_t i = 0; i < most; i++) {
                const json_t *node = json_array_get(nodes, i);

                cell_text(&table, json_string_value(json_object_get(node, "name")));
                for (size_t k = 0; k < countof(counts); k++) {
                        size_t from = table.cells.len;

                        show_member(node, counts[k], &table.cells);
                        table_end_cell(&table, from);
                }
                cell_ms(&table, json_object_get(node, "told"), "p99");
                cell_ms(&table, json_object_get(node, "acted"), "p99");
                cell_state(cli, &table, node);
        }
        table_show(&table, cli, "No node has reported on this signal.", out);
        if (most < n)
                buf_printf(out, "... and %zu more.\n", n - most);
}

static void show_head(const struct cli *cli, const json_t *answer, struct buf *out)
{
        if (cli->colour)
                buf_str(out, "\033[1m");
        buf_str(out, "Signal ");
        show_member(answer, "seq", out);
        if (cli->colour)
                buf_str(out, "\033[0m");
        buf_str(out, "  ");
        show_member(answer, "kind", out);
        buf_char(out, ' ');
        show_member(answer, "event", out);
        buf_str(out, ", stage ");
        show_member(answer, "stage", out);
        buf_str(out, ", sent ");
        show_time(cli, answer, "sent", out);
        buf_str(out, "\n\n");
}

void report_view(const struct cli *cli, const json_t *answer, struct report_space space,
                 struct buf *out)
{
        const json_t *report = report_of(answer);

        show_head(cli, answer, out);
        if (!json_is_object(report)) {
                buf_str(out, "This node gives no delivery report: it is of an older version.\n");
                return;
        }
        show_bar(cli, report, space.columns, out);
        show_latencies(cli, report, out);
        show_report_nodes(cli, report, space.rows, out);
        if (json_is_true(json_object_get(report, "partial")))
                buf_str(
                    out,
                    number(report, "unreadable") > 0
                        ? "Part of this is missing: a node's part cannot be read here.\n"
                        : "Part of this may be missing: what a node that is gone counted in its "
                          "last second.\n");
}

void report_view_line(const json_t *answer, struct buf *out)
{
        const json_t *report = report_of(answer);

        buf_printf(out, "acked %lld, written %lld, connected %lld, told p99 ",
                   (long long)number(report, "acked"), (long long)number(report, "written"),
                   (long long)number(report, "connected"));
        show_ms(json_object_get(report, "told"), "p99", out);
        buf_str(out, ", acted p99 ");
        show_ms(json_object_get(report, "acted"), "p99", out);
        buf_printf(out, ", nodes %zu", json_array_size(json_object_get(report, "nodes")));
        if (json_is_true(json_object_get(report, "partial")))
                buf_str(out, ", partial");
        if (report_view_is_complete(answer))
                buf_str(out, ", complete");
}

/* --- changes --------------------------------------------------------------------------------- */

static json_t *without_times(const json_t *answer)
{
        json_t *copy = json_deep_copy(report_of(answer)), *nodes = json_object_get(copy, "nodes");

        for (size_t i = 0; i < json_array_size(nodes); i++)
                json_object_del(json_array_get(nodes, i), "seen");
        return copy;
}

bool report_view_differs(const json_t *answer, const json_t *before)
{
        json_t *now = without_times(answer), *then = without_times(before);
        bool differs = json_equal(now, then) == 0;

        json_decref(now);
        json_decref(then);
        return differs;
}

bool report_view_is_complete(const json_t *answer)
{
        return json_is_true(json_object_get(report_of(answer), "complete"));
}
