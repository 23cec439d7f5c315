#include "loadtest/series.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"

static void add(struct series *series, uint32_t tick, enum series_column column, uint32_t n)
{
        struct series_sample sample = { .tick = tick };

        sample.counts[column] = n;
        series_add(series, &sample);
}

Test(series, samples_of_one_tick_add_up_in_any_order)
{
        struct series series;

        series_init(&series);
        add(&series, 3, SERIES_DIALS, 10);
        add(&series, 0, SERIES_DIALS, 1);
        add(&series, 3, SERIES_DIALS, 5);
        add(&series, 3, SERIES_TOLD, 7);
        cr_assert(eq(sz, series.n, 4));
        cr_assert(eq(u64, series.rows[0][SERIES_DIALS], 1));
        cr_assert(eq(u64, series.rows[1][SERIES_DIALS], 0), "a quiet tick is a row of zeros");
        cr_assert(eq(u64, series.rows[3][SERIES_DIALS], 15));
        cr_assert(eq(u64, series.rows[3][SERIES_TOLD], 7));
        cr_assert(eq(u64, series_total(&series, SERIES_DIALS), 16));
        series_fini(&series);
}

Test(series, a_longer_run_loses_resolution_but_no_count)
{
        struct series series;
        uint64_t sum = 0;

        series_init(&series);
        for (uint32_t tick = 0; tick < 3 * SERIES_ROWS_MAX; tick += 7) {
                add(&series, tick, SERIES_WELCOMES, tick % 5);
                sum += tick % 5;
        }
        cr_assert(le(sz, series.n, SERIES_ROWS_MAX));
        cr_assert(eq(uint, series.ticks_per_row, 4));
        cr_assert(eq(dbl, series_row_s(&series), 0.4));
        cr_assert(eq(u64, series_total(&series, SERIES_WELCOMES), sum));
        add(&series, 8, SERIES_DIALS, 9); /* a late letter about an early tick */
        cr_assert(eq(u64, series.rows[2][SERIES_DIALS], 9));
        series_fini(&series);
}

Test(series, the_peak_is_that_of_any_window)
{
        struct series series;
        double at;

        series_init(&series);
        for (uint32_t tick = 0; tick < 40; tick++)
                add(&series, tick, SERIES_REQUESTS, 1);
        add(&series, 17, SERIES_REQUESTS, 20);
        add(&series, 24, SERIES_REQUESTS, 20); /* within a second of the other, across a full one */
        cr_assert(eq(dbl, series_peak(&series, SERIES_REQUESTS, 0, 1, &at), 50.0));
        cr_assert(at >= 1.5 - 1e-9 && at <= 1.7 + 1e-9, "begins at %g", at);
        cr_assert(eq(dbl, series_peak(&series, SERIES_REQUESTS, 0, 0.1, NULL), 210.0));
        cr_assert(eq(dbl, series_peak(&series, SERIES_REQUESTS, 2.5, 1, NULL), 10.0),
                  "what was before does not count");
        cr_assert(eq(dbl, series_peak(&series, SERIES_REQUESTS, 100, 1, NULL), 0.0));
        cr_assert(eq(dbl, series_peak(&series, SERIES_SHED, 0, 1, NULL), 0.0));
        series_fini(&series);
}

Test(series, a_peak_shorter_than_the_window_is_spread_over_it)
{
        struct series series;

        series_init(&series);
        add(&series, 0, SERIES_DIALS, 300);
        cr_assert(eq(dbl, series_peak(&series, SERIES_DIALS, 0, 1, NULL), 300.0));
        series_fini(&series);
}

Test(series, tells_when_a_sum_was_reached)
{
        struct series series;

        series_init(&series);
        add(&series, 4, SERIES_TOLD, 50);
        add(&series, 9, SERIES_TOLD, 50);
        cr_assert(eq(dbl, series_reached(&series, SERIES_TOLD, 50), 0.5));
        cr_assert(eq(dbl, series_reached(&series, SERIES_TOLD, 100), 1.0));
        cr_assert(lt(dbl, series_reached(&series, SERIES_TOLD, 101), 0.0));
        series_fini(&series);
}

Test(series, every_column_has_a_name_of_its_own)
{
        for (unsigned i = 0; i < SERIES_COLUMNS; i++) {
                cr_assert(series_name[i] != NULL && series_name[i][0] != '\0', "column %u", i);
                for (unsigned k = 0; k < i; k++)
                        cr_assert(ne(str, (char *)series_name[i], (char *)series_name[k]));
        }
}
