/* fanout/latency.c -- where a value's bucket is: below 32 each has its own; from there each power
 * of two is cut into 16 equal steps, so a step is at most 1/16 of the values in it. */
#include "fanout/latency.h"

#include "base/check.h"

#define STEP_BITS  4
#define STEPS      (1u << STEP_BITS) /* per power of two */
#define VALUE_BITS 19

_Static_assert(LATENCY_BUCKETS == (VALUE_BITS - STEP_BITS + 1) * STEPS, "buckets cover 2^19 - 1");

static unsigned bucket_of(uint32_t ms)
{
        unsigned shift;

        if (ms < STEPS)
                return ms;
        if (ms >> VALUE_BITS != 0)
                return LATENCY_BUCKETS - 1;
        shift = 31 - (unsigned)__builtin_clz(ms) - STEP_BITS;
        return shift * STEPS + (ms >> shift); /* the shifted value is in 16..31 */
}

static uint32_t upper(unsigned bucket)
{
        unsigned shift = bucket / STEPS;

        if (bucket == LATENCY_BUCKETS - 1)
                return UINT32_MAX; /* it holds all that is longer, too */
        if (shift == 0)
                return bucket;
        return ((bucket % STEPS + STEPS + 1) << (shift - 1)) - 1;
}

static uint32_t sum(uint32_t a, uint32_t b)
{
        return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

void latency_record(struct latency *latency, uint64_t ms)
{
        uint32_t value = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;

        latency->n++;
        if (value > latency->max_ms)
                latency->max_ms = value;
        latency->counts[bucket_of(value)]++;
}

void latency_add(struct latency *into, const struct latency *from)
{
        into->n = sum(into->n, from->n);
        if (from->max_ms > into->max_ms)
                into->max_ms = from->max_ms;
        for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
                into->counts[i] = sum(into->counts[i], from->counts[i]);
}

uint32_t latency_percentile(const struct latency *latency, unsigned percent)
{
        uint64_t rank = ((uint64_t)latency->n * percent + 99) / 100, seen = 0;

        check(percent <= 100);
        if (rank >= latency->n)
                return latency->max_ms; /* the last value is known exactly; 0 when empty */
        for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
                seen += latency->counts[i];
                if (seen > 0 && seen >= rank)
                        return upper(i) < latency->max_ms ? upper(i) : latency->max_ms;
        }
        return latency->max_ms; /* sums that stopped at UINT32_MAX */
}
