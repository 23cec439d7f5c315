/* producer/reach.c -- see the header. A node that has gone or ended tells nobody; one that drains
 * still does. */
#include "producer/reach.h"

/* Beyond a day, what a node says of itself is nonsense. */
#define ESTIMATE_MAX_MS (24 * 3600 * 1000u)

struct reach reach_of(const struct presence *nodes, size_t n, const struct target *to)
{
        struct reach reach = { .estimated_ms = REACH_BASE_MS };

        for (size_t i = 0; i < n; i++) {
                const struct presence *node = &nodes[i];
                double us_each =
                    node->us_per_device > 0 ? node->us_per_device : REACH_US_PER_DEVICE;
                uint64_t devices, ms = ESTIMATE_MAX_MS;
                double telling_ms;
                bool exact = true;

                if (node->gone || node->ended)
                        continue;
                devices = presence_reach(node, to, &exact);
                telling_ms = (double)devices * us_each / 1000;
                if (telling_ms < ESTIMATE_MAX_MS)
                        ms = (uint64_t)telling_ms + REACH_BASE_MS;
                reach.nodes++;
                reach.devices += devices;
                reach.approximate |= !exact;
                if (ms > reach.estimated_ms)
                        reach.estimated_ms = ms;
        }
        return reach;
}
