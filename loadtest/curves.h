/* loadtest/curves.h -- an account's series, histograms and watched nodes as lines for plots. What a
 * line points to belongs to the struct curves. Pure. */
#pragma once

#include <stddef.h>

#include "loadtest/account.h"
#include "loadtest/plot.h"

#define CURVES_MAX 16

struct curves {
        struct plot_line lines[CURVES_MAX];
        unsigned n;
        struct plot_mark marks[ACCOUNT_MARKS_MAX];
        unsigned n_marks;
};

void curves_init(struct curves *curves);
void curves_fini(struct curves *curves);
/* For each row: what happened in the second up to its end, so that the highest point is the peak
 * that the figures tell. x counts from the account's zero. */
void curves_add_rate(struct curves *curves, const struct account *account,
                     enum series_column column, const char *name, unsigned colour,
                     enum plot_kind kind);
/* The sum up to a row, less that of `less` (SERIES_COLUMNS: nothing), in percent of `whole`; from
 * from_s on, counted from zero. */
void curves_add_share(struct curves *curves, const struct account *account,
                      enum series_column column, enum series_column less, double whole,
                      double from_s, const char *name, unsigned colour);
/* In ms, in percent of all: as bars of equal width up to a little beyond p99, what is beyond being
 * in the last one; or, as a line, how many had come by then, which two can be compared by. */
void curves_add_histogram(struct curves *curves, const struct histogram *h, double upto_ms,
                          const char *name, unsigned colour, enum plot_kind kind);
double curves_upto_ms(const struct histogram *h); /* for curves_add_histogram */
/* How many had done it by then, in percent of all; x in ms from the moment it was to be done at. */
void curves_add_moments(struct curves *curves, const struct moments *moments, double from_ms,
                        double upto_ms, const char *name, unsigned colour);
void curves_add_memory(struct curves *curves, const struct account *account, unsigned process,
                       const char *name, unsigned colour); /* MiB */
void curves_add_cores(struct curves *curves, const struct account *account, unsigned process,
                      const char *name, unsigned colour); /* over the last second */
void curves_add_marks(struct curves *curves, const struct account *account);
