/* proto/offset.c -- see proto/offset.h. */
#include "proto/offset.h"

#define DRIFT_MS_PER_HOUR \
        180u /* 50 ppm, what cheap crystals do; RFC 5905 assumes 15 for computers */

void offset_hello(struct offset *offset, int64_t node_ms, uint64_t mono_ms)
{
        offset->has_hello = true;
        offset->hello_ahead_ms = node_ms - (int64_t)mono_ms;
        offset->is_open = false;
}

struct time_sync offset_ask(struct offset *offset, int64_t wall_ms, uint64_t mono_ms)
{
        offset->is_open = true;
        offset->t0 = wall_ms;
        offset->left_ms = mono_ms;
        return (struct time_sync){ .t0 = wall_ms };
}

void offset_pause(struct offset *offset)
{
        offset->is_open = false;
}

bool offset_answer(struct offset *offset, const struct time_sync *answer, uint64_t mono_ms)
{
        uint64_t rtt_ms = mono_ms - offset->left_ms;
        int64_t halfway_ms = (int64_t)(offset->left_ms + rtt_ms / 2);

        /* The answer to a request given up for a newer one; its round trip is not known any more.
         */
        if (!offset->is_open || !answer->has_t1 || answer->t0 != offset->t0)
                return false;
        offset->is_open = false;
        if (rtt_ms > OFFSET_WAIT_MS)
                return false;
        offset->samples[offset->next] = (struct offset_sample){
                .ahead_ms = answer->t1 - halfway_ms,
                .rtt_ms = (uint32_t)rtt_ms,
                .taken_ms = mono_ms,
        };
        offset->next = (offset->next + 1) % OFFSET_SAMPLES;
        if (offset->n < OFFSET_SAMPLES)
                offset->n++;
        return true;
}

/* How far off this sample may be by now, in ms. */
static uint64_t error_of(const struct offset_sample *sample, uint64_t mono_ms)
{
        return sample->rtt_ms / 2 + (mono_ms - sample->taken_ms) * DRIFT_MS_PER_HOUR / 3600000;
}

bool offset_ahead(const struct offset *offset, uint64_t mono_ms, int64_t *ret_ahead_ms)
{
        const struct offset_sample *best = NULL;

        for (unsigned i = 0; i < offset->n; i++) {
                const struct offset_sample *sample = &offset->samples[i];

                if (best == NULL || error_of(sample, mono_ms) < error_of(best, mono_ms))
                        best = sample;
        }
        if (best != NULL)
                *ret_ahead_ms = best->ahead_ms;
        else if (offset->has_hello)
                *ret_ahead_ms = offset->hello_ahead_ms;
        return best != NULL || offset->has_hello;
}
