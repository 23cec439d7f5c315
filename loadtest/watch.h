/* loadtest/watch.h -- what processes use while a scenario runs: resident memory and processor time,
 * from /proc, ten times a second. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WATCH_MAX        16
#define WATCH_POINTS_MAX 36000 /* beyond that, two points become one */

struct watch_point {
        double s;     /* since the origin */
        double cores; /* processor time per time, since the point before */
        double bytes; /* resident */
};

struct watch_process {
        char name[24];
        pid_t pid;                  /* 0: not there now */
        uint64_t cpu_ns, cpu_at_us; /* as last read; of `pid` */
        struct watch_point *points;
        size_t n, capacity;
        unsigned stride; /* every so many-th sample is kept: 1, 2, 4, ... */
        unsigned skipped;
};

struct watch {
        unsigned n;
        struct watch_process processes[WATCH_MAX];
};

void watch_fini(struct watch *watch);
/* Index of the process for watch_set; negative: there are enough. */
int watch_add(struct watch *watch, const char *name, pid_t pid);
void watch_set(struct watch *watch, unsigned i, pid_t pid); /* it was restarted, or is gone: 0 */
void watch_sample(struct watch *watch, double s);
/* Least squares through the memory from from_s on, bytes per minute; 0 with fewer than three
 * points. */
double watch_slope(const struct watch_process *process, double from_s);
