/* base/histogram.h -- latencies in fixed memory, log-linear as in HdrHistogram (Tene): 64 linear
 * steps per power of two, so that any value is told within 1.6 %. Values are unsigned, in whatever
 * unit the owner says; adding two histograms is adding their counts. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 1920 /* covers 0 .. 2^35-1; larger values count as the largest */

struct histogram {
        uint64_t total;
        uint64_t min, max; /* exact; min is UINT64_MAX while empty */
        uint64_t sum;
        uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value);
void histogram_add(struct histogram *into, const struct histogram *from);
/* Smallest recorded value v so that at least `percent` % of all are <= v (upper edge of its bucket,
 * never above max). 0 when empty. percent in 0..100. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
/* For plots: bucket i holds values up to histogram_upper(i). */
uint64_t histogram_upper(size_t bucket);
