/* proto/offset.h -- how far a device's clock is off the node's: the reckoning of PROTOCOL.md section
 * 6. A `time` request that left at the device's t0 and whose answer t1 came back after a round trip
 * says that the node's clock showed t1 half way, give or take half the trip. Of the last eight such
 * samples the one with the smallest error is believed, an old one losing worth by the rate at which
 * clocks drift, as NTP's clock filter weighs them (RFC 5905 section 10). Until there is one, `now` of
 * `hello` serves.
 *
 * Kept against the device's monotonic clock, so that a device whose wall clock is set (at boot, by a
 * user, by its own NTP) is not wrong until the next sample. When to ask is not decided here. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/message.h"

#define OFFSET_SAMPLES 8u
#define OFFSET_WAIT_MS 10000u /* an answer that took longer says nothing */

struct offset { /* zero-filled: knows nothing */
        struct offset_sample {
                int64_t ahead_ms; /* node's wall clock minus our monotonic clock */
                uint32_t rtt_ms;
                uint64_t taken_ms; /* monotonic */
        } samples[OFFSET_SAMPLES];
        unsigned n, next;
        bool is_open; /* a request is on its way: its t0 and the monotonic time it left */
        int64_t t0;
        uint64_t left_ms;
        bool has_hello; /* a first guess, good until the first sample */
        int64_t hello_ahead_ms;
};

void offset_hello(struct offset *offset, int64_t node_ms, uint64_t mono_ms);
/* A request leaves. An older one that is still open is given up. */
struct time_sync offset_ask(struct offset *offset, int64_t wall_ms, uint64_t mono_ms);
/* The connection is gone: an answer still on its way will never come. */
void offset_pause(struct offset *offset);
/* False: it answers nothing that was asked, or says nothing. */
bool offset_answer(struct offset *offset, const struct time_sync *answer, uint64_t mono_ms);
/* Node's wall clock minus our monotonic clock. False: nothing is known. */
bool offset_ahead(const struct offset *offset, uint64_t mono_ms, int64_t *ret_ahead_ms);
