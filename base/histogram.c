/* base/histogram.c -- where a value's bucket is. Below 128 each value has its own; from there each
 * power of two is cut into 64 equal steps, so a step is at most 1/64 = 1.57 % of the values in it.
 */
#include "base/histogram.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

#define STEPS      64 /* per power of two */
#define STEP_BITS  6
#define VALUE_BITS 35

_Static_assert(HISTOGRAM_BUCKETS == (VALUE_BITS - STEP_BITS + 1) * STEPS, "buckets cover 2^35 - 1");

static size_t bucket_of(uint64_t value)
{
        if (value < STEPS)
                return (size_t)value;
        if (value >> VALUE_BITS != 0)
                return HISTOGRAM_BUCKETS - 1;

        unsigned shift = 63 - (unsigned)__builtin_clzll(value) - STEP_BITS;

        return shift * STEPS + (size_t)(value >> shift); /* the shifted value is in 64..127 */
}

uint64_t histogram_upper(size_t bucket)
{
        check(bucket < HISTOGRAM_BUCKETS);
        if (bucket < STEPS)
                return bucket;

        unsigned shift = (unsigned)(bucket / STEPS) - 1;

        return (((uint64_t)(bucket % STEPS) + STEPS + 1) << shift) - 1;
}

void histogram_init(struct histogram *h)
{
        memset(h, 0, sizeof(*h));
        h->min = UINT64_MAX;
}

void histogram_record(struct histogram *h, uint64_t value)
{
        h->total++;
        h->sum += value;
        if (value < h->min)
                h->min = value;
        if (value > h->max)
                h->max = value;
        h->counts[bucket_of(value)]++;
}

void histogram_add(struct histogram *into, const struct histogram *from)
{
        into->total += from->total;
        into->sum += from->sum;
        if (from->min < into->min)
                into->min = from->min;
        if (from->max > into->max)
                into->max = from->max;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
                into->counts[i] += from->counts[i];
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
        check(percent >= 0 && percent <= 100);
        if (h->total == 0)
                return 0;

        /* 99.9 % of 1000 is 999.0000000000001 in doubles, and must not become the 1000th value. */
        double exact = percent / 100 * (double)h->total;
        double rank = ceil(exact - exact * 1e-12);
        uint64_t seen = 0;

        if (rank >= (double)h->total)
                return h->max; /* the last value is known exactly */
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                seen += h->counts[i];
                if (seen > 0 && (double)seen >= rank)
                        return histogram_upper(i) < h->max ? histogram_upper(i) : h->max;
        }
        return h->max; /* only after the counts were changed from outside */
}
