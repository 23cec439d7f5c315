/* loadtest/moments.c -- see moments.h. */
#include "loadtest/moments.h"

#include <math.h>

int64_t moments_bin_us(unsigned bin)
{
        return (int64_t)(bin + 1) * MOMENTS_STEP_US - MOMENTS_BEFORE_US;
}

void moments_record(struct moments *moments, int64_t us)
{
        int64_t from_us = us + MOMENTS_BEFORE_US;
        uint64_t bin = from_us > 0 ? (uint64_t)from_us / MOMENTS_STEP_US : 0;

        if (moments->total == 0 || us < moments->first_us)
                moments->first_us = us;
        if (moments->total == 0 || us > moments->last_us)
                moments->last_us = us;
        moments->total++;
        moments->counts[bin < MOMENTS_BINS ? bin : MOMENTS_BINS - 1]++;
}

void moments_add(struct moments *into, const struct moments *from)
{
        if (from->total == 0)
                return;
        if (into->total == 0 || from->first_us < into->first_us)
                into->first_us = from->first_us;
        if (into->total == 0 || from->last_us > into->last_us)
                into->last_us = from->last_us;
        into->total += from->total;
        for (unsigned i = 0; i < MOMENTS_BINS; i++)
                into->counts[i] += from->counts[i];
}

int64_t moments_percentile(const struct moments *moments, double percent)
{
        uint64_t wanted = (uint64_t)ceil((double)moments->total * percent / 100), sum = 0;

        if (moments->total == 0)
                return 0;
        if (wanted <= 1)
                return moments->first_us;
        for (unsigned i = 0; i < MOMENTS_BINS; i++) {
                sum += moments->counts[i];
                if (sum >= wanted)
                        return moments_bin_us(i) < moments->last_us ? moments_bin_us(i)
                                                                    : moments->last_us;
        }
        return moments->last_us;
}

double moments_share(const struct moments *moments, int64_t us)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < MOMENTS_BINS && moments_bin_us(i) <= us; i++)
                sum += moments->counts[i];
        return moments->total > 0 ? 100 * (double)sum / (double)moments->total : 0;
}
