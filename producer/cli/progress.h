/* producer/cli/progress.h -- how far something long is, on stderr: a bar on a terminal, else a line
 * now and then, so that a log stays readable. Several threads may tell at once, one at a time
 * (progress_step is called under the caller's lock). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define PROGRESS_LINES  20  /* without a terminal: about so many */
#define PROGRESS_BAR_MS 100 /* a bar is drawn so often at most */

struct progress {
        bool is_terminal;
        size_t done, total;
        uint64_t bytes;
        uint64_t begun_ms, drawn_ms; /* monotonic */
};

void progress_begin(struct progress *progress, size_t total, uint64_t now_ms);
/* One more is done; `what` is for a line of its own. */
void progress_step(struct progress *progress, const char *what, size_t bytes, uint64_t now_ms);
void progress_end(struct progress *progress); /* the bar is wiped */

/* "[#####     ]  52 %  5,213 of 10,000  40.1 MB  1,312/s  4 s left". Pure. */
void progress_bar(const struct progress *progress, uint64_t now_ms, struct buf *out);
/* Without a terminal: is this one worth a line? Each of a few, else about PROGRESS_LINES of all.
 * Pure. */
bool progress_is_due(size_t done, size_t total);
