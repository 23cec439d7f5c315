/* loadtest/series.c -- see series.h. */
#include "loadtest/series.h"

#include <stdlib.h>
#include <string.h>

const char *const series_name[SERIES_COLUMNS] = { "dials",   "welcomes", "back",     "ends",
                                                  "refused", "requests", "shed",     "fetched",
                                                  "told",    "shown",    "delivered" };

void series_init(struct series *series)
{
        *series = (struct series){ .ticks_per_row = 1 };
}

void series_fini(struct series *series)
{
        free(series->rows);
        series_init(series);
}

static void add_row(uint64_t *into, const uint64_t *from)
{
        for (unsigned c = 0; c < SERIES_COLUMNS; c++)
                into[c] += from[c];
}

/* Two rows become one. */
static void coarsen(struct series *series)
{
        size_t half = (series->n + 1) / 2;

        for (size_t i = 0; i < half; i++) {
                uint64_t sum[SERIES_COLUMNS] = { 0 };

                add_row(sum, series->rows[2 * i]);
                if (2 * i + 1 < series->n)
                        add_row(sum, series->rows[2 * i + 1]);
                memcpy(series->rows[i], sum, sizeof(sum));
        }
        series->n = half;
        series->ticks_per_row *= 2;
}

static bool make_room(struct series *series, size_t row)
{
        size_t capacity = series->capacity == 0 ? 256 : series->capacity;
        uint64_t(*rows)[SERIES_COLUMNS];

        while (capacity <= row)
                capacity *= 2;
        if (capacity > series->capacity) {
                rows = realloc(series->rows, capacity * sizeof(*rows));
                if (rows == NULL)
                        return false;
                series->rows = rows;
                series->capacity = capacity;
        }
        memset(series->rows[series->n], 0, (row + 1 - series->n) * sizeof(*series->rows));
        series->n = row + 1;
        return true;
}

void series_add(struct series *series, const struct series_sample *sample)
{
        size_t row;

        while (sample->tick / series->ticks_per_row >= SERIES_ROWS_MAX)
                coarsen(series);
        row = sample->tick / series->ticks_per_row;
        if (row >= series->n && !make_room(series, row)) {
                series->failed = true;
                return;
        }
        for (unsigned c = 0; c < SERIES_COLUMNS; c++)
                series->rows[row][c] += sample->counts[c];
}

double series_row_s(const struct series *series)
{
        return (double)series->ticks_per_row * SERIES_TICK_US / 1e6;
}

uint64_t series_total(const struct series *series, enum series_column column)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < series->n; i++)
                sum += series->rows[i][column];
        return sum;
}

double series_peak(const struct series *series, enum series_column column, double from_s,
                   double window_s, double *ret_at_s)
{
        double row_s = series_row_s(series);
        size_t first = from_s > 0 ? (size_t)(from_s / row_s + 0.5) : 0;
        size_t width = window_s > row_s ? (size_t)(window_s / row_s + 0.5) : 1, at = first;
        uint64_t sum = 0, most = 0;

        for (size_t i = first; i < series->n; i++) {
                sum += series->rows[i][column];
                if (i >= first + width)
                        sum -= series->rows[i - width][column];
                if (sum > most) {
                        most = sum;
                        at = i + 1 >= first + width ? i + 1 - width : first;
                }
        }
        if (ret_at_s != NULL)
                *ret_at_s = (double)at * row_s;
        return (double)most / ((double)width * row_s);
}

double series_reached(const struct series *series, enum series_column column, uint64_t target)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < series->n; i++) {
                sum += series->rows[i][column];
                if (sum >= target)
                        return (double)(i + 1) * series_row_s(series);
        }
        return -1;
}
