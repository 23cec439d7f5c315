/* gateway/gauges.h -- how near this process is to the limits of its machine: memory and
 * descriptors. Process-wide; any thread. What must be asked of the kernel is asked once a second,
 * by whichever worker comes first; the others take the answer. Linux: /proc and the memory cgroup,
 * version 2 or 1.
 *
 * Memory is the greatest of
 *   - what the process has resident, of the machine's memory;
 *   - what the process' cgroup, and each one above it, has in use without idle file pages, of its
 * limit. That includes what sockets take in the kernel, ten times what a session takes of ours.
 * Where the files are missing or say nothing, that part is 0: the ladder then does without. */
#pragma once

#include <stdint.h>

#include "gateway/ladder.h"

#define GAUGES_EVERY_MS 1000

/* A worker holds so many sockets more, or fewer. */
void gauges_sockets(int64_t more);
/* Sets MEMORY and DESCRIPTORS of *reading. `now_ms`: monotonic, > 0. */
void gauges_read(uint64_t now_ms, struct ladder_reading *reading);

/* Per mille, as above. `root` is put before the paths: "" but in tests. */
uint32_t gauges_memory(const char *root);
