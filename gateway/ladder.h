/* gateway/ladder.h -- what a worker stops doing when it has too much to do, in the order of
 * contract line 12: prefetch first, then newcomers, then devices that resume; signals never.
 * Decides from watermarks alone: pure, no clock, no I/O. One per worker; its thread only. The door
 * asks ladder_sheds() before it lets anybody in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum ladder_step {
        LADDER_CALM,
        LADDER_NO_PREFETCH,
        LADDER_NO_NEWCOMERS, /* handshakes without a resume token; and no prefetch */
        LADDER_NO_RESUMES,   /* nobody new at all */
        LADDER_STEPS
};

enum ladder_gauge {
        LADDER_LAG,         /* ms that the loop has been behind for a whole second: lag.h */
        LADDER_MEMORY,      /* per mille of the memory this process may use: gauges.h */
        LADDER_DESCRIPTORS, /* per mille of RLIMIT_NOFILE in use: gauges.h */
        LADDER_GAUGES
};

struct ladder {
        enum ladder_step step;
        enum ladder_gauge
            moved_by;      /* the watermark that the present step is due to; the lowest when calm */
        uint64_t since_ms; /* when it was reached; the caller's clock */
        uint64_t
            calm_since_ms; /* since when every gauge is clear of the present step's mark; 0 = not */
};

struct ladder_reading {
        uint32_t at[LADDER_GAUGES];
};

extern const char *const ladder_step_name[LADDER_STEPS];
extern const char *const ladder_gauge_name[LADDER_GAUGES];

void ladder_init(struct ladder *ladder);

/* The mark at which `gauge` asks for `step` (1..LADDER_STEPS-1), and the value below which it is
 * clear of it: lower, so that a gauge that stands at a mark does not move the ladder to and fro. */
uint32_t ladder_mark(enum ladder_gauge gauge, enum ladder_step step);
uint32_t ladder_clear(enum ladder_gauge gauge, enum ladder_step step);

/* Goes up at once, as many steps as the highest gauge asks for; comes down one step at a time,
 * after every gauge has been clear of the step's mark for LADDER_CALM_MS. `now_ms` > 0, and never
 * goes back. True: the step changed; moved_by then names the gauge that asked for it or, on the way
 * down, the one that held it up last. */
#define LADDER_CALM_MS 2000
bool ladder_read(struct ladder *ladder, const struct ladder_reading *reading, uint64_t now_ms);

/* Does this step shed what `from` names? LADDER_NO_PREFETCH stands for prefetch, and so on. */
static inline bool ladder_sheds(const struct ladder *ladder, enum ladder_step from)
{
        return ladder->step >= from;
}
