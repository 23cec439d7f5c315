/* loadtest/page.c -- see page.h. Which plots there are, and in which order, is one table. */
#include "loadtest/page.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "loadtest/curves.h"
#include "loadtest/html.h"

#define TEXT_MAX 200

/* Fills in curves; all of `plot` but lines and marks is set by the table. */
typedef void fill_fn(const struct page *page, struct curves *curves);

struct sketch {
        const char *title, *y_label, *x_label; /* x_label NULL: seconds from the zero */
        double y_reach;
        fill_fn *fill;
        const char *caption;
        const char *first_in; /* scenarios that show this one first */
};

static bool is_compared(const struct page *page)
{
        return page->n > 1;
}

/* And something happened in this column. */
static bool are_compared(const struct page *page, enum series_column column)
{
        return is_compared(page) && series_total(&page->accounts[0].series, column) +
                                            series_total(&page->accounts[1].series, column) >
                                        0;
}

/* What an account is called in a legend, and its colour, where two are in one plot. */
static const char *run_name(const struct page *page, unsigned i)
{
        return is_compared(page) ? page->scenario->runs[i] : NULL;
}

static unsigned run_colour(const struct page *page, unsigned i)
{
        return is_compared(page) ? 1 - i : 0;
}

static void mark_first(const struct page *page, struct curves *curves)
{
        static const char *const label = "start";

        if (!is_compared(page))
                curves_add_marks(curves, &page->accounts[0]);
        else
                curves->marks[curves->n_marks++] = (struct plot_mark){ 0, label };
}

/* Of both runs the middle 99 %: one device in a thousand that is a second late would leave the others
 * a line. */
static void fill_moments(const struct page *page, struct curves *curves)
{
        double from = 0, upto = 0, margin;

        for (unsigned i = 0; i < page->n; i++) {
                const struct moments *moments = &page->accounts[i].report.result.moments;

                from = fmin(from, (double)moments_percentile(moments, 0.5) / 1e3);
                upto = fmax(upto, (double)moments_percentile(moments, 99.5) / 1e3);
        }
        margin = fmax((upto - from) * 0.05, 1);
        for (unsigned i = 0; i < page->n; i++)
                curves_add_moments(curves, &page->accounts[i].report.result.moments, from - margin,
                                   upto + margin, run_name(page, i), run_colour(page, i));
}

static void fill_requests(const struct page *page, struct curves *curves)
{
        for (unsigned i = 0; i < page->n; i++)
                if (series_total(&page->accounts[i].series, SERIES_REQUESTS) > 0)
                        curves_add_rate(curves, &page->accounts[i], SERIES_REQUESTS,
                                        run_name(page, i), run_colour(page, i), PLOT_AREA);
        mark_first(page, curves);
}

static void fill_connects(const struct page *page, struct curves *curves)
{
        if (is_compared(page))
                return;
        curves_add_rate(curves, &page->accounts[0], SERIES_DIALS, "connections begun", 1,
                        PLOT_AREA);
        curves_add_rate(curves, &page->accounts[0], SERIES_WELCOMES, "sessions opened", 0,
                        PLOT_LINE);
        if (series_total(&page->accounts[0].series, SERIES_REFUSED) > 0)
                curves_add_rate(curves, &page->accounts[0], SERIES_REFUSED, "refused", 5,
                                PLOT_LINE);
        mark_first(page, curves);
}

static void fill_shares(const struct page *page, struct curves *curves)
{
        const struct account *account = &page->accounts[0];
        double whole = account->report.devices;

        if (is_compared(page))
                return;
        curves_add_share(curves, account, SERIES_WELCOMES, SERIES_ENDS, whole, -1e9, "connected",
                         0);
        if (series_total(&account->series, SERIES_FETCHED) > 0)
                curves_add_share(curves, account, SERIES_FETCHED, SERIES_COLUMNS, whole, -1e9,
                                 "with content", 2);
        curves_add_share(curves, account, SERIES_TOLD, SERIES_COLUMNS, whole, -1e9,
                         "told of the start", 1);
        if (series_total(&account->series, SERIES_SHOWN) > 0)
                curves_add_share(curves, account, SERIES_SHOWN, SERIES_COLUMNS, whole, -1e9,
                                 "screen switched", 3);
        mark_first(page, curves);
}

static void fill_screens(const struct page *page, struct curves *curves)
{
        for (unsigned i = 0; are_compared(page, SERIES_SHOWN) && i < page->n; i++)
                curves_add_share(curves, &page->accounts[i], SERIES_SHOWN, SERIES_COLUMNS,
                                 page->accounts[i].report.devices, -0.5, run_name(page, i),
                                 run_colour(page, i));
        if (is_compared(page))
                mark_first(page, curves);
}

static void fill_content(const struct page *page, struct curves *curves)
{
        for (unsigned i = 0; are_compared(page, SERIES_FETCHED) && i < page->n; i++)
                curves_add_share(curves, &page->accounts[i], SERIES_FETCHED, SERIES_COLUMNS,
                                 page->accounts[i].report.devices, -1e9, run_name(page, i),
                                 run_colour(page, i));
        if (is_compared(page))
                mark_first(page, curves);
}

static void fill_timing(const struct page *page, enum swarm_timing timing, struct curves *curves)
{
        const struct histogram *h = &page->accounts[0].report.result.timings[timing];

        if (!is_compared(page))
                curves_add_histogram(curves, h, curves_upto_ms(h), NULL, 0, PLOT_BARS);
}

static void fill_start(const struct page *page, struct curves *curves)
{
        fill_timing(page, TIMING_START, curves);
}

static void fill_stages(const struct page *page, struct curves *curves)
{
        if (page->accounts[0].report.result.timings[TIMING_BESIDE].total == 0)
                fill_timing(page, TIMING_STAGE, curves);
}

static void fill_connect(const struct page *page, struct curves *curves)
{
        fill_timing(page, TIMING_CONNECT, curves);
}

static void fill_back(const struct page *page, struct curves *curves)
{
        fill_timing(page, TIMING_BACK, curves);
}

static void fill_beside(const struct page *page, struct curves *curves)
{
        const struct histogram *without = &page->accounts[0].report.result.timings[TIMING_STAGE];
        const struct histogram *with = &page->accounts[0].report.result.timings[TIMING_BESIDE];
        double upto = curves_upto_ms(without), other = curves_upto_ms(with);

        if (with->total == 0)
                return;
        upto = other > upto ? other : upto;
        curves_add_histogram(curves, without, upto, "all read", 0, PLOT_LINE);
        curves_add_histogram(curves, with, upto, "beside slow ones", 1, PLOT_LINE);
}

static void fill_delivered(const struct page *page, struct curves *curves)
{
        if (is_compared(page) || page->accounts[0].report.stages == 0)
                return;
        curves_add_rate(curves, &page->accounts[0], SERIES_DELIVERED, NULL, 0, PLOT_AREA);
        mark_first(page, curves);
}

typedef void add_watched_fn(struct curves *curves, const struct account *account, unsigned process,
                            const char *name, unsigned colour);

static void fill_watched(const struct page *page, add_watched_fn *add, struct curves *curves)
{
        for (unsigned i = 0; i < page->n; i++) {
                const struct account *account = &page->accounts[i];

                for (unsigned k = 0; k < account->watch.n; k++)
                        add(curves, account, k,
                            is_compared(page) ? run_name(page, i)
                                              : account->watch.processes[k].name,
                            is_compared(page) ? run_colour(page, i) : k);
        }
        mark_first(page, curves);
}

static void fill_memory(const struct page *page, struct curves *curves)
{
        fill_watched(page, curves_add_memory, curves);
}

static void fill_cores(const struct page *page, struct curves *curves)
{
        fill_watched(page, curves_add_cores, curves);
}

static const struct sketch sketches[] = {
        { "When each screen switched", "% have switched by then", "ms from the moment that was named",
          100, fill_moments,
          "True time, which no device knows. The half per cent at either end may lie outside.",
          "together" },
        { "Prefetch requests per second", "requests in the last second", NULL, 0, fill_requests,
          "Each point tells how many requests were begun in the second before it.",
          "compare stampede spread" },
        { "Connections per second", "in the last second", NULL, 0, fill_connects,
          "Each point tells what happened in the second before it.",
          "connect-storm reconnect-storm rolling-restart" },
        { "Screens switched", "% of devices", NULL, 100, fill_screens,
          "A screen switches when its device has been told and holds the content.", "" },
        { "Devices", "% of all devices", NULL, 100, fill_shares, NULL, "start" },
        { "Devices that hold the content", "% of devices", NULL, 100, fill_content, NULL, "" },
        { "From the request to the other devices", "% had it by then", "ms", 100, fill_beside,
          "Only devices that read at once are counted, in both lines.", "slow-readers" },
        { "From the producer's start to the device", "% of devices", "ms", 0, fill_start,
          "The last bar collects all that took longer.", "" },
        { "From the producer's later signals to the device", "% of deliveries", "ms", 0,
          fill_stages, "The last bar collects all that took longer, and all that was caught up on.",
          "" },
        { "Without a session, until back", "% of returns", "ms", 0, fill_back,
          "The last bar collects all that took longer.", "" },
        { "From dialling to hello", "% of connections", "ms", 0, fill_connect,
          "The last bar collects all that took longer.", "" },
        { "Signals delivered per second", "in the last second", NULL, 0, fill_delivered, NULL, "" },
        { "Memory of the nodes", "resident, MiB", NULL, 0, fill_memory, NULL, "soak" },
        { "Processor time of the nodes", "cores, over the last second", NULL, 0, fill_cores, NULL,
          "" },
};

static bool is_first(const struct sketch *sketch, const struct page *page)
{
        const char *found = strstr(sketch->first_in, page->scenario->name);
        size_t len = strlen(page->scenario->name);

        /* "spread" is also the end of nothing else, but "start" is that of "rolling-restart". */
        return found != NULL && (found == sketch->first_in || found[-1] == ' ') &&
               (found[len] == ' ' || found[len] == '\0');
}

/* False: it has nothing to show in this account. */
static bool draw(const struct page *page, const struct sketch *sketch, bool is_file,
                 struct buf *out)
{
        const char *zero = page->accounts[0].zero_label;
        char x_label[80];
        struct curves curves;
        struct plot plot;
        bool is_empty;

        curves_init(&curves);
        sketch->fill(page, &curves);
        is_empty = curves.n == 0;
        snprintf(x_label, sizeof(x_label), "seconds from %s",
                 is_compared(page) ? "the start"
                 : zero[0] == '\0' ? "the beginning"
                                   : zero);
        plot = (struct plot){ .title = sketch->title,
                              .x_label = sketch->x_label != NULL ? sketch->x_label : x_label,
                              .y_label = sketch->y_label,
                              .lines = curves.lines,
                              .n_lines = curves.n,
                              .marks = curves.marks,
                              .n_marks = curves.n_marks,
                              .y_reach = sketch->y_reach,
                              .is_file = is_file };
        if (!is_empty)
                plot_svg(&plot, out);
        curves_fini(&curves);
        return !is_empty;
}

static void add_plot(const struct page *page, const struct sketch *sketch, struct buf *out)
{
        struct buf svg = BUF_INIT;

        if (draw(page, sketch, false, &svg) && !svg.failed) {
                html_plot_begin(out, is_first(sketch, page));
                buf_add(out, svg.data, svg.len);
                html_plot_end(out, sketch->caption);
        }
        buf_fini(&svg);
}

static void add_plots(const struct page *page, bool is_main, struct buf *out)
{
        html_plots_begin(out);
        for (size_t i = 0; i < countof(sketches); i++)
                if (is_first(&sketches[i], page) == is_main)
                        add_plot(page, &sketches[i], out);
        html_plots_end(out);
}

static void value_text(const struct figure *figure, char out[64])
{
        char number[24];

        account_number(figure->value, number);
        snprintf(out, 64, "%s%s%s", number,
                 figure->unit[0] == '\0' || figure->unit[0] == '/' ? "" : " ", figure->unit);
}

static const struct figure *figure_of(const struct account *account, const char *key)
{
        for (unsigned i = 0; i < account->n_figures; i++)
                if (strcmp(account->figures[i].key, key) == 0)
                        return &account->figures[i];
        return NULL;
}

static void add_tiles(const struct page *page, struct buf *out)
{
        html_tiles_begin(out);
        for (unsigned i = 0; i < page->accounts[0].n_figures; i++) {
                const struct figure *figure = &page->accounts[0].figures[i], *other;
                char one[64], value[140], what[200];

                if (!figure->is_tile)
                        continue;
                value_text(figure, one);
                snprintf(value, sizeof(value), "%s", one);
                snprintf(what, sizeof(what), "%s", figure->what);
                other = is_compared(page) ? figure_of(&page->accounts[1], figure->key) : NULL;
                if (other != NULL) {
                        char two[64];

                        value_text(other, two);
                        snprintf(value, sizeof(value), "%s → %s", one, two);
                        snprintf(what, sizeof(what), "%s: %s → %s", figure->what,
                                 run_name(page, 0), run_name(page, 1));
                }
                html_tile(out, value, what);
        }
        html_tiles_end(out);
}

static void add_table(const struct page *page, struct buf *out)
{
        const char *const heads[] = { "", run_name(page, 0), run_name(page, 1) };

        html_heading(out, "All figures");
        html_table_begin(out, is_compared(page) ? heads : NULL, 3);
        for (unsigned i = 0; i < page->accounts[0].n_figures; i++) {
                const struct figure *figure = &page->accounts[0].figures[i];
                const struct figure *other =
                    is_compared(page) ? figure_of(&page->accounts[1], figure->key) : NULL;
                char one[64], two[64] = "";
                const char *cells[3] = { figure->what, one, two };

                value_text(figure, one);
                if (other != NULL)
                        value_text(other, two);
                html_table_row(out, cells, is_compared(page) ? 3 : 2);
        }
        html_table_end(out);
}

static void add_circumstances(const struct page *page, struct buf *out)
{
        const struct machine *machine = page->machine;
        const struct report *report = &page->accounts[0].report;
        char place[TEXT_MAX], herd[TEXT_MAX];
        const char *const rows[][2] = {
                { "Command", page->command },
                { "Machine", place },
                { "System", machine->system },
                { "Kernel", machine->kernel },
                { "Commit", machine->commit },
                { "Date", machine->date },
                { "Version", "kickoff " KICKOFF_VERSION },
                { "Herd", herd },
        };

        snprintf(place, sizeof(place), "%s, %u cores, %.0f GiB", machine->cpu, machine->cores,
                 machine->memory_gib);
        snprintf(herd, sizeof(herd), "%u devices in %u process%s, encoding %s; series per 0.1 s",
                 report->devices, report->processes, report->processes == 1 ? "" : "es",
                 report->encodings);
        html_heading(out, "How it was measured");
        html_paragraph(out,
                       "Herd and nodes share this machine unless other nodes were named: latencies "
                       "tell about both.");
        html_table_begin(out, NULL, 2);
        for (size_t i = 0; i < countof(rows); i++)
                html_table_row(out, rows[i], 2);
        html_table_end(out);
}

static void add_sentences(const struct page *page, struct buf *out)
{
        for (unsigned i = page->n; i-- > 0;) { /* of two, the second speaks of both: first */
                const struct account *account = &page->accounts[i];

                if (is_compared(page)) {
                        char name[TEXT_MAX];

                        snprintf(name, sizeof(name), "%s:", run_name(page, i));
                        name[0] = (char)toupper((unsigned char)name[0]);
                        html_paragraph(out, name);
                }
                html_list_begin(out);
                for (unsigned k = 0; k < account->n_judgements; k++)
                        html_list_item(out, account->judgements[k].kept,
                                       account->judgements[k].sentence);
                html_list_end(out);
        }
}

static bool all_passed(const struct page *page)
{
        bool passed = true;

        for (unsigned i = 0; i < page->n; i++)
                passed = passed && account_passed(&page->accounts[i]);
        return passed;
}

void page_html(const struct page *page, struct buf *out)
{
        const struct report *report = &page->accounts[0].report;
        char title[TEXT_MAX], promise[TEXT_MAX], devices[24];
        bool passed = all_passed(page);

        account_number(report->devices, devices);
        snprintf(title, sizeof(title), "%s: %s devices", page->scenario->title, devices);
        snprintf(promise, sizeof(promise), "What must hold: %s.", page->scenario->promise);
        html_begin(out, title);
        html_verdict(out, title, passed,
                     report->interrupted ? "interrupted"
                     : passed            ? "passed"
                                         : "failed",
                     page->scenario->sentence);
        html_paragraph(out, promise);
        for (unsigned i = 0; i < page->n; i++)
                if (page->accounts[i].report.trouble != NULL)
                        html_paragraph(out, page->accounts[i].report.trouble);
        add_tiles(page, out);
        add_plots(page, true, out);
        html_heading(out, "What held");
        add_sentences(page, out);
        html_heading(out, "What happened when");
        add_plots(page, false, out);
        add_table(page, out);
        add_circumstances(page, out);
        html_end(out);
}

void page_picture(const struct page *page, struct buf *out)
{
        for (size_t i = 0; i < countof(sketches); i++)
                if (is_first(&sketches[i], page) && draw(page, &sketches[i], true, out))
                        return;
        for (size_t i = 0; i < countof(sketches); i++)
                if (draw(page, &sketches[i], true, out))
                        return;
}

static json_t *machine_json(const struct machine *machine)
{
        return json_pack("{s:s, s:i, s:f, s:s, s:s, s:s, s:s}", "cpu", machine->cpu, "cores",
                         (int)machine->cores, "memory_gib", machine->memory_gib, "system",
                         machine->system, "kernel", machine->kernel, "commit", machine->commit,
                         "date", machine->date);
}

void page_json(const struct page *page, bool with_series, struct buf *out)
{
        json_t *root = account_object(&page->accounts[0], with_series);
        char *text;

        if (is_compared(page)) {
                json_t *runs = json_array();

                json_array_append_new(runs, root);
                json_array_append_new(runs, account_object(&page->accounts[1], with_series));
                root = json_pack("{s:b, s:o}", "passed", (int)all_passed(page), "runs", runs);
        }
        json_object_set_new(root, "scenario", json_string(page->scenario->name));
        json_object_set_new(root, "command", json_string(page->command));
        json_object_set_new(root, "machine", machine_json(page->machine));
        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(8));
        if (text != NULL)
                buf_printf(out, "%s\n", text);
        else
                out->failed = true;
        free(text);
        json_decref(root);
}
