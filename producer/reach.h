/* producer/reach.h -- whom a signal would reach, and how soon, from what the nodes say of
 * themselves (fanout/presence.h). For dry runs. It knows nothing of requests, and asks nobody.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/presence.h"
#include "proto/target.h"

/* Besides telling its devices one after another: through Redis to every node, and onto the network.
 */
#define REACH_BASE_MS 100
/* What telling one device costs a node that has not measured it (loadtest/RESULTS.md: 6 to 10). */
#define REACH_US_PER_DEVICE 10

struct reach {
        uint64_t devices;      /* connected to living nodes, of those meant */
        unsigned nodes;        /* living ones */
        uint64_t estimated_ms; /* until the slowest node has told its last device */
        bool approximate; /* some nodes do not say how many of theirs are meant: then all of those
                             count */
};

/* `to` NULL: everyone. */
struct reach reach_of(const struct presence *nodes, size_t n, const struct target *to);
