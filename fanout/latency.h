/* fanout/latency.h -- how long something took, for many devices, in 1 KiB: counts in log-linear
 * buckets of 16 steps per power of two, so that a percentile is told within 6.3 %; the largest
 * value is exact. Unit ms; from 507,904 (8 minutes) on all share one bucket, told as the largest.
 * Pure, one thread.
 *
 * base/histogram.h is four times as fine, in 15 KiB: of these a worker keeps 128, two per signal it
 * still counts for, and the difference would be 1.7 MiB per worker for digits nobody acts on. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LATENCY_BUCKETS 256

struct latency { /* zero-filled: empty */
        uint32_t n, max_ms;
        uint32_t counts[LATENCY_BUCKETS]; /* their sum is n */
};

void latency_record(struct latency *latency, uint64_t ms);
/* Sums stop at UINT32_MAX. */
void latency_add(struct latency *into, const struct latency *from);
/* The smallest recorded value so that at least `percent` (0..100) of all are no longer: upper edge
 * of its bucket, never above the largest. 0 when empty. */
uint32_t latency_percentile(const struct latency *latency, unsigned percent);
