/* base/metrics.h -- counters and gauges, one table row each, shown as Prometheus text. A module
 * declares a table of `struct metric` and registers it at start-up; from then on any thread may
 * count. Each thread counts in a shard of its own (no lock, no shared cache line); a scrape adds the
 * shards up. Gauges are sums too: each thread says its own share.
 *
 *   static struct metric m_connects = METRIC_COUNTER("kickoff_connects_total", "Devices let in.");
 *   static struct metric *const table[] = { &m_connects };
 *   metrics_register(table, countof(table));      main thread, before the workers start
 *   metric_add(&m_connects, 1);                   any thread
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define METRICS_MAX 256 /* rows; passing it stops the process at start-up (our bug) */

enum metric_type { METRIC_COUNTER_TYPE, METRIC_GAUGE_TYPE };

struct metric {
        const char *name; /* kickoff_..., with its labels if any: kickoff_refused_total{why="origin"} */
        const char *help; /* one sentence */
        enum metric_type type;
        unsigned slot; /* given by metrics_register; 0 = not registered, counting does nothing */
};

#define METRIC_COUNTER(name, help) { name, help, METRIC_COUNTER_TYPE, 0 }
#define METRIC_GAUGE(name, help)   { name, help, METRIC_GAUGE_TYPE, 0 }

void metrics_register(struct metric *const *table, size_t n); /* twice is harmless */
void metric_add(const struct metric *metric, int64_t n);      /* counters: n >= 0 */
void metric_set(const struct metric *metric, int64_t value);  /* gauge: this thread's share */
int64_t metric_value(const struct metric *metric);            /* sum over threads, living and ended */
/* All registered metrics in Prometheus text format 0.0.4; rows of one name (other labels) share one
 * HELP and TYPE. */
void metrics_render(struct buf *out);
