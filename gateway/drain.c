/* gateway/drain.c -- see the header. */
#include "gateway/drain.h"

#include "base/check.h"
#include "fanout/order.h"

static uint64_t elapsed(const struct drain *drain, uint64_t now_ms)
{
        return now_ms > drain->began_ms ? now_ms - drain->began_ms : 0;
}

/* When the k-th is told, if there is time. */
static uint64_t slot_ms(const struct drain *drain, uint32_t k)
{
        return (uint64_t)drain->over_ms * k / drain->n;
}

static uint32_t last_ms(const struct drain *drain)
{
        uint32_t tenth = drain->within_ms / 10;

        return drain->within_ms - (tenth < DRAIN_LAST_MS ? tenth : DRAIN_LAST_MS);
}

void drain_begin(struct drain *drain, uint32_t n, uint32_t within_ms, uint32_t over_ms,
                 uint64_t now_ms)
{
        uint32_t span_ms = over_ms / 10;

        if (span_ms < DRAIN_SPAN_MIN_MS)
                span_ms = DRAIN_SPAN_MIN_MS;
        if (span_ms > DRAIN_SPAN_MAX_MS)
                span_ms = DRAIN_SPAN_MAX_MS;
        if (span_ms > within_ms / 4)
                span_ms = within_ms / 4;
        *drain = (struct drain){ .began_ms = now_ms,
                                 .n = n,
                                 .within_ms = within_ms,
                                 .over_ms = over_ms,
                                 .span_ms = span_ms };
}

uint32_t drain_due(const struct drain *drain, uint64_t now_ms)
{
        uint64_t at = elapsed(drain, now_ms), by_now;

        if (drain->told == drain->n)
                return 0;
        if (at >= order_told_by_ms(drain->within_ms) || at >= drain->over_ms)
                return drain->n - drain->told;
        by_now = at * drain->n / drain->over_ms + 1; /* the first has its slot at once */
        return by_now > drain->told ? (uint32_t)(by_now - drain->told) : 0;
}

void drain_tell(struct drain *drain, struct rng *rng, uint64_t now_ms, struct goaway *ret_goaway,
                uint32_t *ret_close_in_ms)
{
        uint64_t at = elapsed(drain, now_ms), slot = slot_ms(drain, drain->told);
        uint32_t wait_ms = slot > at ? (uint32_t)(slot - at) : 0;
        uint32_t left_ms = last_ms(drain) > at ? last_ms(drain) - (uint32_t)at : 0;
        uint64_t close_in = (uint64_t)wait_ms + drain->span_ms + DRAIN_GRACE_MS;

        check(drain->told < drain->n);
        drain->told++;
        /* No time to wait for it: as late as can be, so that it hears what there is to hear, but
         * not all at one moment. */
        if (close_in > left_ms)
                close_in = left_ms - rng_below(rng, left_ms / 2 + 1);
        *ret_goaway = (struct goaway){ .reason = GOAWAY_DRAIN,
                                       .min_ms = wait_ms,
                                       .max_ms = wait_ms + drain->span_ms };
        *ret_close_in_ms = (uint32_t)close_in;
}

uint32_t drain_next_in_ms(const struct drain *drain, uint64_t now_ms)
{
        uint64_t at = elapsed(drain, now_ms), next = last_ms(drain);

        if (drain->told < drain->n) {
                uint64_t slot = slot_ms(drain, drain->told);

                if (slot > order_told_by_ms(drain->within_ms))
                        slot = order_told_by_ms(drain->within_ms);
                if (slot < next)
                        next = slot;
        }
        return next > at + DRAIN_TICK_MS ? (uint32_t)(next - at) : DRAIN_TICK_MS;
}

bool drain_is_last(const struct drain *drain, uint64_t now_ms)
{
        return elapsed(drain, now_ms) >= last_ms(drain);
}
