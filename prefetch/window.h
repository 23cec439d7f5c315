/* prefetch/window.h -- over which span the devices of a node spread a fetch of bundles, so that
 * nobody notices it. The one formula, for `prefetch_ms` in hello and for the window of a refresh
 * that names none.
 *
 *   window = devices / rate       each device fetches once, at a uniformly random moment in the
 * window: requests then come at `rate`, whatever the number of devices
 *
 * Devices are those of the node itself, or its share of the fleet if that is more: after a node
 * died, or was just started, its share is what is about to come. A device that connects while the
 * others are still coming gets a smaller window than those after it. That does little harm: if they
 * come at H a second, fetches come at rate * ln(1 + H / rate) (each of k devices adds rate/k over
 * its window), so at 1.6 times the rate if they come at four times it.
 *
 * Pure; any thread. */
#pragma once

#include <stdint.h>

/* Requests a second that one node is asked for: 8 KB each are 40 MB/s, a third of a gigabit link,
 * and a twentieth of a core over kept connections (an eighth with a fresh one each): signals do not
 * notice. */
#define WINDOW_RATE_DEFAULT 5000
#define WINDOW_RATE_MIN     1
#define WINDOW_RATE_MAX     1000000
/* Longer would make a device that connects wait too long for what it came for; from there on the
 * rate rises instead, and the door sheds what is too much. */
#define WINDOW_MAX_MS 600000
/* Of a refresh: in a signal 0 would mean that none is named. */
#define WINDOW_REFRESH_MIN_MS 1000

struct window_fleet {     /* as far as it is known */
        uint64_t devices; /* of all living nodes */
        uint32_t nodes;   /* living nodes; 0 = not known */
};

/* Devices of the fleet for each node, rounded up; 0 if the fleet is not known. */
uint64_t window_share(const struct window_fleet *fleet);
/* 0 to WINDOW_MAX_MS. `own`: devices of this node (or worker), `share`: what it should have of the
 * fleet, `rate`: its requests a second; 0 counts as 1. */
uint32_t window_ms(uint64_t own, uint64_t share, uint32_t rate);
/* For all devices of the fleet at once. `floor_ms` where the fleet is not known, or longer. */
uint32_t window_refresh_ms(uint64_t own, const struct window_fleet *fleet, uint32_t rate,
                           uint32_t floor_ms);
