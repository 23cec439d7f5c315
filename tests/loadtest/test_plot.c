#include "loadtest/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "tests/loadtest/wellformed.h"

static char *drawn(const struct plot *plot)
{
        struct buf out = BUF_INIT;
        const char *error;

        plot_svg(plot, &out);
        cr_assert(not(out.failed));
        error = wellformed_error(out.data);
        cr_assert(error == NULL, "not well-formed at: %.80s", error);
        return buf_take(&out);
}

static struct plot with_line(const struct plot_line *line)
{
        return (struct plot){
                .title = "t", .x_label = "s", .y_label = "n", .lines = line, .n_lines = 1
        };
}

/* The points of the first polyline; returns how many. */
static size_t points_of(const char *svg, double *x, double *y, size_t most)
{
        const char *at = strstr(svg, "<polyline points=\"");
        size_t n = 0;
        int used;

        cr_assert(at != NULL, "no line in: %s", svg);
        at += strlen("<polyline points=\"");
        while (n < most && sscanf(at, "%lf,%lf %n", &x[n], &y[n], &used) == 2) {
                at += used;
                n++;
        }
        return n;
}

Test(plot, ticks_step_by_1_2_or_5)
{
        static const struct {
                double span;
                unsigned most;
                double step;
        } rows[] = { { 10, 5, 2 },    { 10, 10, 1 }, { 9, 5, 2 },         { 101, 5, 50 },
                     { 0.3, 5, 0.1 }, { 1, 5, 0.2 }, { 99999, 5, 20000 }, { 7e-3, 7, 1e-3 },
                     { 0, 5, 1 },     { -4, 5, 1 },  { NAN, 5, 1 },       { INFINITY, 5, 1 } };

        for (size_t i = 0; i < countof(rows); i++)
                cr_expect(fabs(plot_step(rows[i].span, rows[i].most) - rows[i].step) <
                              rows[i].step * 1e-9,
                          "%g in %u: %g", rows[i].span, rows[i].most,
                          plot_step(rows[i].span, rows[i].most));
}

Test(plot, numbers_are_short)
{
        static const struct {
                double value;
                const char *text;
        } rows[] = { { 0, "0" },        { 1, "1" },       { 0.25, "0.25" }, { 12.5, "12.5" },
                     { 999, "999" },    { 5000, "5000" }, { 10000, "10k" }, { 12500, "12.5k" },
                     { 1.5e6, "1.5M" }, { 1e9, "1G" },    { -2, "-2" },     { -0.0, "0" },
                     { 0.005, "0.005" } };
        char text[16];

        for (size_t i = 0; i < countof(rows); i++) {
                plot_number(rows[i].value, text);
                cr_expect(eq(str, text, (char *)rows[i].text));
        }
}

Test(plot, points_stand_where_their_values_are)
{
        const double x[] = { -2, 0, 2 }, y[] = { 0, 50, 100 };
        const struct plot_line line = { .x = x, .y = y, .n = 3 };
        const struct plot plot = with_line(&line);
        double px[8], py[8];
        char *svg = drawn(&plot);

        cr_assert(eq(sz, points_of(svg, px, py, 8), 3));
        cr_assert(fabs(px[1] - (px[0] + px[2]) / 2) < 0.11, "the middle one is in the middle");
        cr_assert(fabs(py[1] - (py[0] + py[2]) / 2) < 0.11);
        cr_assert(gt(dbl, px[2], px[0]));
        cr_assert(gt(dbl, py[0], py[2]), "more is higher up");
        /* 100 is the top of the axis and 0 its ground: the lines of the grid say so. */
        char grid[64];

        snprintf(grid, sizeof(grid), "y1=\"%.1f\" x2=\"466\" y2=\"%.1f\" class=\"grid\"", py[2],
                 py[2]);
        cr_assert(strstr(svg, grid) != NULL, "%s in %s", grid, svg);
        snprintf(grid, sizeof(grid), "y1=\"%.1f\" x2=\"466\" y2=\"%.1f\" class=\"axis\"", py[0],
                 py[0]);
        cr_assert(strstr(svg, grid) != NULL);
        cr_assert(strstr(svg, ">100</text>") != NULL);
        cr_assert(strstr(svg, ">-2</text>") != NULL);
        free(svg);
}

Test(plot, a_lone_peak_among_100000_points_is_drawn_in_full)
{
        enum { N = 100000 };
        double *x = calloc(N, sizeof(*x)), *y = calloc(N, sizeof(*y)), px[2000], py[2000];
        const struct plot_line line = { .x = x, .y = y, .n = N };
        const struct plot plot = with_line(&line);
        double highest = 1e9;
        size_t n;
        char *svg;

        for (size_t i = 0; i < N; i++) {
                x[i] = (double)i;
                y[i] = i == 54321 ? 1000 : 1;
        }
        svg = drawn(&plot);
        n = points_of(svg, px, py, 2000);
        cr_assert(le(sz, n, 1000), "%zu points are more than there are pixels for", n);
        for (size_t i = 0; i < n; i++)
                highest = py[i] < highest ? py[i] : highest;
        cr_assert(fabs(highest - (py[0] - (py[0] - highest))) < 0.1);
        cr_assert(lt(dbl, highest, py[0] - 100), "the peak is at %g, the rest at %g", highest,
                  py[0]);
        cr_assert(lt(sz, strlen(svg), 40000));
        free(svg);
        free(x);
        free(y);
}

Test(plot, bars_are_as_high_as_their_values)
{
        const double x[] = { 0, 10, 20 }, y[] = { 1, 0, 4 };
        const struct plot_line line = { .kind = PLOT_BARS, .x = x, .y = y, .n = 3 };
        const struct plot plot = with_line(&line);
        double height[3], left[3], width;
        char *svg = drawn(&plot), *at = svg;
        size_t n = 0;

        while (n < 3 && (at = strstr(at, "<rect x=")) != NULL) {
                double y0;

                cr_assert(eq(int,
                             sscanf(at, "<rect x=\"%lf\" y=\"%lf\" width=\"%lf\" height=\"%lf\"",
                                    &left[n], &y0, &width, &height[n]),
                             4));
                n++;
                at++;
        }
        cr_assert(eq(sz, n, 2), "nothing is drawn for nothing");
        cr_assert(fabs(height[1] - 4 * height[0]) < 0.3);
        cr_assert(lt(dbl, left[1] + width, 467.0), "the last bar ends within the plot");
        free(svg);
}

Test(plot, nothing_to_draw_is_said)
{
        const double x[] = { 1, 2 }, y[] = { NAN, NAN };
        const struct plot_line lines[] = { { .name = "a" },
                                           { .name = "b", .x = x, .y = y, .n = 2 } };
        struct plot plot = { .title = "t", .x_label = "s", .y_label = "n" };
        char *svg = drawn(&plot);

        cr_assert(strstr(svg, "nothing to draw") != NULL);
        free(svg);
        plot.lines = lines;
        plot.n_lines = 2;
        svg = drawn(&plot);
        cr_assert(strstr(svg, "nothing to draw") != NULL);
        cr_assert(strstr(svg, "nan") == NULL);
        free(svg);
}

Test(plot, one_point_and_all_zero_are_drawn)
{
        const double x[] = { 3 }, y[] = { 0 };
        const struct plot_line line = { .kind = PLOT_AREA, .x = x, .y = y, .n = 1 };
        const struct plot plot = with_line(&line);
        char *svg = drawn(&plot);

        cr_assert(strstr(svg, "nan") == NULL);
        cr_assert(strstr(svg, "inf") == NULL);
        free(svg);
}

Test(plot, what_people_write_stays_text)
{
        const double x[] = { 0, 1 }, y[] = { 0, 1 };
        const struct plot_line lines[] = {
                { .name = "<b>&\"a", .x = x, .y = y, .n = 2 },
                { .name = "c\001", .colour = 1, .x = x, .y = y, .n = 2 }
        };
        const struct plot_mark mark = { 0.5, "</svg><script>" };
        const struct plot plot = { .title = "\"><script>alert(1)</script>",
                                   .x_label = "a&b",
                                   .y_label = "<",
                                   .lines = lines,
                                   .n_lines = 2,
                                   .marks = &mark,
                                   .n_marks = 1,
                                   .is_file = true };
        char *svg = drawn(&plot);

        cr_assert(strstr(svg, "<script>") == NULL);
        cr_assert(strstr(svg, "&lt;script&gt;") != NULL);
        free(svg);
}

Test(plot, marks_outside_are_left_out)
{
        const double x[] = { 0, 1 }, y[] = { 0, 1 };
        const struct plot_line line = { .x = x, .y = y, .n = 2 };
        const struct plot_mark marks[] = { { -5, "before" }, { 0.5, "within" }, { 9, "after" } };
        struct plot plot = with_line(&line);
        char *svg;

        plot.marks = marks;
        plot.n_marks = 3;
        svg = drawn(&plot);
        cr_assert(strstr(svg, "within") != NULL);
        cr_assert(strstr(svg, "before") == NULL);
        cr_assert(strstr(svg, "after") == NULL);
        free(svg);
}

Test(plot, a_file_of_its_own_needs_nobody)
{
        const double x[] = { 0, 1 }, y[] = { 0, 1 };
        const struct plot_line line = { .x = x, .y = y, .n = 2 };
        struct plot plot = with_line(&line);
        char *svg, *at;

        plot.is_file = true;
        svg = drawn(&plot);
        cr_assert(strstr(svg, "xmlns=\"http://www.w3.org/2000/svg\"") != NULL);
        at = strstr(svg, "http");
        cr_assert(strstr(at + 1, "http") == NULL, "only the namespace, which is a name");
        cr_assert(strstr(svg, "prefers-color-scheme:dark") != NULL);
        free(svg);
}
