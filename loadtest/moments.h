/* loadtest/moments.h -- when many devices did the same thing, around the moment at which they were
 * to: how many did it when, in steps of a quarter of a millisecond, before it as well as after.
 * (base/histogram.h knows no "before", and grows coarser with the distance.) Plain data, goes over a
 * pipe. Pure. */
#pragma once

#include <stdint.h>

#define MOMENTS_STEP_US   250
#define MOMENTS_BEFORE_US 1000000 /* what is earlier counts as that early */
#define MOMENTS_AFTER_US  5000000 /* and likewise */
#define MOMENTS_BINS      ((MOMENTS_BEFORE_US + MOMENTS_AFTER_US) / MOMENTS_STEP_US)

struct moments { /* zero-filled: none */
        uint64_t total;
        int64_t first_us, last_us; /* exact; meaningless while there is none */
        uint32_t counts[MOMENTS_BINS];
};

void moments_record(struct moments *moments, int64_t us);
void moments_add(struct moments *into, const struct moments *from);
/* By when `percent` % of all had done it, to a step; 0 if there is none. */
int64_t moments_percentile(const struct moments *moments, double percent);
/* How many had done it by then, in percent of all, to a step. */
double moments_share(const struct moments *moments, int64_t us);
int64_t moments_bin_us(unsigned bin); /* where it ends */
