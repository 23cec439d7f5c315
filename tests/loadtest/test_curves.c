#include "loadtest/curves.h"

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct account account;
static struct curves curves;

static void open_all(void)
{
        account_init(&account);
        curves_init(&curves);
}

static void close_all(void)
{
        curves_fini(&curves);
        account_fini(&account);
}

TestSuite(curves, .init = open_all, .fini = close_all);

static void add(uint32_t tick, enum series_column column, uint32_t n)
{
        struct series_sample sample = { .tick = tick };

        sample.counts[column] = n;
        series_add(&account.series, &sample);
}

static double highest(const struct plot_line *line, double *ret_x)
{
        double most = -INFINITY;

        for (size_t i = 0; i < line->n; i++)
                if (line->y[i] > most) {
                        most = line->y[i];
                        *ret_x = line->x[i];
                }
        return most;
}

Test(curves, the_highest_point_is_the_peak_that_is_told)
{
        double x = 0;

        for (uint32_t tick = 0; tick < 50; tick++)
                add(tick, SERIES_REQUESTS, tick * 7 % 13);
        add(30, SERIES_REQUESTS, 500);
        account.zero_s = 2;
        account.lasted_s = 8;
        curves_add_rate(&curves, &account, SERIES_REQUESTS, "r", 0, PLOT_LINE);
        cr_assert(eq(uint, curves.n, 1));
        cr_assert(epsilon_eq(dbl, highest(&curves.lines[0], &x),
                             series_peak(&account.series, SERIES_REQUESTS, 0, 1, NULL), 1e-9));
        cr_assert(x > 1.0 && x < 2.2, "at %g, counted from zero", x);
        cr_assert(eq(sz, curves.lines[0].n, 80), "the quiet end of the run is drawn");
        cr_assert(zero(dbl, curves.lines[0].y[79]));
}

Test(curves, a_share_ends_at_what_there_was)
{
        const struct plot_line *line;

        add(3, SERIES_WELCOMES, 80);
        add(9, SERIES_WELCOMES, 20);
        add(12, SERIES_ENDS, 50);
        account.lasted_s = 2;
        curves_add_share(&curves, &account, SERIES_WELCOMES, SERIES_ENDS, 100, -1e9, "in", 0);
        line = &curves.lines[0];
        cr_assert(eq(dbl, line->y[2], 0.0));
        cr_assert(eq(dbl, line->y[3], 80.0));
        cr_assert(eq(dbl, line->y[11], 100.0));
        cr_assert(eq(dbl, line->y[19], 50.0));
        account.zero_s = 1;
        curves_add_share(&curves, &account, SERIES_WELCOMES, SERIES_COLUMNS, 100, 0, "in", 0);
        line = &curves.lines[1];
        cr_assert(eq(sz, line->n, 10), "from zero on");
        cr_assert(eq(dbl, line->y[0], 100.0), "with what was before");
}

Test(curves, a_histogram_has_all_of_it)
{
        struct histogram h;
        double bars = 0;

        histogram_init(&h);
        for (unsigned i = 0; i < 1000; i++)
                histogram_record(&h, 1000 * i);
        histogram_record(&h, 90000000); /* far out: in the last bar */
        curves_add_histogram(&curves, &h, curves_upto_ms(&h), "h", 0, PLOT_BARS);
        curves_add_histogram(&curves, &h, curves_upto_ms(&h), "h", 0, PLOT_LINE);
        for (size_t i = 0; i < curves.lines[0].n; i++)
                bars += curves.lines[0].y[i];
        cr_assert(epsilon_eq(dbl, bars, 100.0, 1e-6));
        cr_assert(epsilon_eq(dbl, curves.lines[1].y[curves.lines[1].n - 1], 100.0, 1e-6));
        cr_assert(lt(dbl, curves_upto_ms(&h), 1500.0), "one straggler does not flatten the rest");
}

Test(curves, nothing_is_no_line)
{
        struct histogram h;

        histogram_init(&h);
        curves_add_rate(&curves, &account, SERIES_DIALS, "r", 0, PLOT_LINE);
        curves_add_share(&curves, &account, SERIES_DIALS, SERIES_COLUMNS, 0, 0, "s", 0);
        curves_add_histogram(&curves, &h, curves_upto_ms(&h), "h", 0, PLOT_BARS);
        cr_assert(zero(uint, curves.n));
}

Test(curves, moments_rise_from_none_to_all)
{
        static struct moments moments;
        const struct plot_line *line;

        curves_add_moments(&curves, &moments, -10, 10, "m", 0);
        cr_assert(zero(uint, curves.n), "nobody has done it");
        for (int64_t us = -5000; us < 5000; us += 100)
                moments_record(&moments, us);
        curves_add_moments(&curves, &moments, -10, 10, "m", 0);
        line = &curves.lines[0];
        cr_assert(eq(dbl, line->x[0], -10));
        cr_assert(eq(dbl, line->y[0], 0));
        cr_assert(epsilon_eq(dbl, line->x[line->n - 1], 10, 1e-9));
        cr_assert(eq(dbl, line->y[line->n - 1], 100));
        for (size_t i = 1; i < line->n; i++)
                cr_assert(ge(dbl, line->y[i], line->y[i - 1]));
}
