/* loadtest/series.h -- what a herd did when: counters per tenth of a second, sampled in each
 * process against one origin and added up by the parent. All columns are counters, so merging is
 * adding, and what stands at a moment (open, told) is a sum up to it. A run longer than an hour
 * costs resolution, not memory: rows are put together in pairs. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIES_TICK_US  100000
#define SERIES_ROWS_MAX 36000

enum series_column {
        SERIES_DIALS,     /* connections begun by devices */
        SERIES_WELCOMES,  /* sessions that got hello */
        SERIES_BACK,      /* of these: devices that had been in before */
        SERIES_ENDS,      /* sessions that ended, whoever ended them */
        SERIES_REFUSED,   /* handshakes answered with anything but 101 */
        SERIES_REQUESTS,  /* prefetch requests sent */
        SERIES_SHED,      /* prefetch requests answered 503 or 429 */
        SERIES_FETCHED,   /* devices that had their content for the first time */
        SERIES_TOLD,      /* devices that were told of the start, for the first time */
        SERIES_SHOWN,     /* devices that were told and had the content: the screen switched */
        SERIES_DELIVERED, /* signals that were new to a device */
        SERIES_COLUMNS
};

/* "dials", "welcomes", ...: keys of the JSON. */
extern const char *const series_name[SERIES_COLUMNS];

struct series_sample { /* of one process, plain data: goes over a pipe */
        uint32_t tick; /* since the origin, SERIES_TICK_US each */
        uint32_t counts[SERIES_COLUMNS];
};

struct series {
        uint64_t (*rows)[SERIES_COLUMNS];
        size_t n, capacity;
        unsigned ticks_per_row; /* 1, 2, 4, ... */
        bool failed;            /* out of memory: rows are missing */
};

void series_init(struct series *series);
void series_fini(struct series *series);
/* Samples of one tick come from many processes, in any order, and are added. */
void series_add(struct series *series, const struct series_sample *sample);
double series_row_s(const struct series *series); /* how long a row is */
uint64_t series_total(const struct series *series, enum series_column column);
/* The most that happened within any `window_s` that begins at from_s or later, as a rate per
 * second. A window shorter than a row is a row. *ret_at_s (or NULL): where that window begins. */
double series_peak(const struct series *series, enum series_column column, double from_s,
                   double window_s, double *ret_at_s);
/* The end of the row in which the sum of a column reached `target`; negative: never. */
double series_reached(const struct series *series, enum series_column column, uint64_t target);
