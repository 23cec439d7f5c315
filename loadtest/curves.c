/* loadtest/curves.c -- see curves.h. Without memory a line is left out. */
#include "loadtest/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BARS     40
#define POINTS   400
#define SMOOTH_S 1.0

void curves_init(struct curves *curves)
{
        memset(curves, 0, sizeof(*curves));
}

void curves_fini(struct curves *curves)
{
        for (unsigned i = 0; i < curves->n; i++)
                free((void *)(uintptr_t)curves->lines[i].x);
        curves_init(curves);
}

/* x and y of n points each, in one piece; false: no memory, or enough lines. */
static bool new_line(struct curves *curves, size_t n, const char *name, unsigned colour,
                     enum plot_kind kind, double **ret_x, double **ret_y)
{
        double *both;

        if (curves->n == CURVES_MAX || n == 0)
                return false;
        both = calloc(2 * n, sizeof(*both));
        if (both == NULL)
                return false;
        curves->lines[curves->n++] = (struct plot_line){ .name = name,
                                                         .kind = kind,
                                                         .colour = colour % PLOT_COLOURS,
                                                         .x = both,
                                                         .y = both + n,
                                                         .n = n };
        *ret_x = both;
        *ret_y = both + n;
        return true;
}

/* Rows end with the last one in which something happened: quiet until the end is told, too. */
static size_t rows_of(const struct account *account)
{
        double rows = account->lasted_s / series_row_s(&account->series);

        return rows > (double)account->series.n ? (size_t)rows : account->series.n;
}

void curves_add_rate(struct curves *curves, const struct account *account,
                     enum series_column column, const char *name, unsigned colour,
                     enum plot_kind kind)
{
        const struct series *series = &account->series;
        double row_s = series_row_s(series), *x, *y;
        size_t rows = row_s < 1 ? (size_t)(1 / row_s + 0.5) : 1, n = rows_of(account);
        uint64_t sum = 0;

        if (series->n == 0 || !new_line(curves, n, name, colour, kind, &x, &y))
                return;
        for (size_t i = 0; i < n; i++) {
                if (i < series->n)
                        sum += series->rows[i][column];
                if (i >= rows)
                        sum -= series->rows[i - rows][column];
                x[i] = (double)(i + 1) * row_s - account->zero_s;
                y[i] = (double)sum / ((double)rows * row_s);
        }
}

void curves_add_share(struct curves *curves, const struct account *account,
                      enum series_column column, enum series_column less, double whole,
                      double from_s, const char *name, unsigned colour)
{
        const struct series *series = &account->series;
        double row_s = series_row_s(series), sum = 0, *x, *y;
        double first = (from_s + account->zero_s) / row_s;
        size_t skip = first > 0 ? (size_t)first : 0, n = rows_of(account);

        if (skip >= n || whole <= 0 || !new_line(curves, n - skip, name, colour, PLOT_LINE, &x, &y))
                return;
        for (size_t i = 0; i < n; i++) {
                if (i < series->n)
                        sum += (double)series->rows[i][column];
                if (i < series->n && less < SERIES_COLUMNS)
                        sum -= (double)series->rows[i][less];
                if (i < skip)
                        continue;
                x[i - skip] = (double)(i + 1) * row_s - account->zero_s;
                y[i - skip] = 100 * sum / whole;
        }
}

double curves_upto_ms(const struct histogram *h)
{
        double p99 = (double)histogram_percentile(h, 99) * 1.25, max = (double)h->max;

        return (h->total == 0 ? 0 : p99 < max ? p99 : max) / 1e3;
}

void curves_add_histogram(struct curves *curves, const struct histogram *h, double upto_ms,
                          const char *name, unsigned colour, enum plot_kind kind)
{
        double *x, *y, width = (upto_ms > 0 ? upto_ms : 1) / BARS;

        if (h->total == 0 || !new_line(curves, BARS, name, colour, kind, &x, &y))
                return;
        for (size_t i = 0; i < BARS; i++)
                x[i] = (double)(kind == PLOT_BARS ? i : i + 1) * width;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                size_t bar = (size_t)((double)histogram_upper(i) / 1e3 / width);

                if (h->counts[i] > 0)
                        y[bar < BARS ? bar : BARS - 1] +=
                            100 * (double)h->counts[i] / (double)h->total;
        }
        for (size_t i = 1; i < BARS && kind != PLOT_BARS; i++)
                y[i] += y[i - 1];
}

void curves_add_moments(struct curves *curves, const struct moments *moments, double from_ms,
                        double upto_ms, const char *name, unsigned colour)
{
        double *x, *y;

        if (moments->total == 0 || !new_line(curves, POINTS, name, colour, PLOT_AREA, &x, &y))
                return;
        for (size_t i = 0; i < POINTS; i++) {
                x[i] = from_ms + (upto_ms - from_ms) * (double)i / (POINTS - 1);
                y[i] = moments_share(moments, (int64_t)(x[i] * 1e3));
        }
}

void curves_add_memory(struct curves *curves, const struct account *account, unsigned process,
                       const char *name, unsigned colour)
{
        const struct watch_process *watched = &account->watch.processes[process];
        double *x, *y;

        if (!new_line(curves, watched->n, name, colour, PLOT_LINE, &x, &y))
                return;
        for (size_t i = 0; i < watched->n; i++) {
                x[i] = watched->points[i].s - account->zero_s;
                y[i] = watched->points[i].bytes / 1048576;
        }
}

void curves_add_cores(struct curves *curves, const struct account *account, unsigned process,
                      const char *name, unsigned colour)
{
        const struct watch_process *watched = &account->watch.processes[process];
        double *x, *y;

        if (!new_line(curves, watched->n, name, colour, PLOT_LINE, &x, &y))
                return;
        for (size_t i = 0; i < watched->n; i++) {
                double sum = 0;
                size_t from = i;

                while (from > 0 && watched->points[i].s - watched->points[from - 1].s < SMOOTH_S)
                        from--;
                for (size_t k = from; k <= i; k++)
                        sum += watched->points[k].cores;
                x[i] = watched->points[i].s - account->zero_s;
                y[i] = sum / (double)(i - from + 1);
        }
}

void curves_add_marks(struct curves *curves, const struct account *account)
{
        for (unsigned i = 0; i < account->n_marks && curves->n_marks < ACCOUNT_MARKS_MAX; i++)
                curves->marks[curves->n_marks++] =
                    (struct plot_mark){ account->marks[i].s - account->zero_s,
                                        account->marks[i].label };
}
