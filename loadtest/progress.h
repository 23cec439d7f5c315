/* loadtest/progress.h -- what a person at the terminal sees meanwhile, on stderr: one line, drawn
 * again in place on a terminal, else one every two seconds; and sentences that stay. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "loadtest/series.h"
#include "loadtest/swarm.h"

struct progress {
        bool is_terminal, is_dirty, is_quiet;
        uint64_t next_ms;
};

void progress_init(struct progress *progress, bool is_quiet);
/* s: since the origin. */
void progress_show(struct progress *progress, const char *what, double s,
                   const struct swarm_counts *counts, const struct series *series);
void progress_say(struct progress *progress, const char *fmt, ...) printf_like(2, 3);
void progress_end(struct progress *progress); /* leaves the line */
/* The line itself. Pure. */
void progress_line(const char *what, double s, const struct swarm_counts *counts,
                   const struct series *series, char *out, unsigned size);
