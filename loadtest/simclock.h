/* loadtest/simclock.h -- the clocks of one simulated device, and what it makes of them. Its wall clock
 * is wrong by some seconds, its crystal runs a little fast or slow, and it began to count at some
 * moment of its own. It knows nothing of that: what it knows of the node's clock it reckons from
 * `hello` and `time` as PROTOCOL.md section 6 says, with the code that the C SDK reckons with
 * (proto/offset.h), in whole milliseconds as devices do. True time is the machine's monotonic clock, in
 * microseconds. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "proto/offset.h"

#define SIMCLOCK_DRIFT_PPM 50 /* either way, uniform: what cheap crystals do */

struct simclock {
        uint64_t born_us; /* true: when both of its clocks had the values below */
        int64_t mono_us, wall_us;
        double rate; /* of its crystal: 1.00005 gains 50 us a second */
        struct offset offset;
};

/* `wall_us`: the true wall clock; the device's own is wrong by up to skew_ms, either way. */
void simclock_init(struct simclock *clock, uint32_t skew_ms, int64_t wall_us, uint64_t now_us,
                   struct rng *rng);
uint64_t simclock_mono_ms(const struct simclock *clock, uint64_t now_us);
int64_t simclock_wall_ms(const struct simclock *clock, uint64_t now_us);
/* Does it take the node's clock to show `at_ms`, or more? True if it knows nothing of that clock. */
bool simclock_has_come(const struct simclock *clock, int64_t at_ms, uint64_t now_us);
/* The true moment at which that will be so, as it reckons now. */
uint64_t simclock_due_us(const struct simclock *clock, int64_t at_ms, uint64_t now_us);
