/* base/metrics.c -- one shard of numbers per thread, found through a thread-local pointer. A thread
 * writes only its own shard, so counting is a plain load, add and store; they are relaxed atomics
 * only so that a scrape may read them meanwhile. Shards are never freed: what an ended thread
 * counted stays counted, at 2 KB per thread that ever counted (a node starts a handful).
 *
 * The list of rows is written by the main thread before there are others, and only read afterwards.
 */
#include "base/metrics.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define CACHE_LINE 64

struct shard {
        _Alignas(CACHE_LINE) _Atomic int64_t values[METRICS_MAX]; /* by slot - 1 */
        struct shard *next;                                       /* set before the shard is seen */
};

static _Atomic(struct shard *) shards; /* newest first; only ever grows */
static _Thread_local struct shard *own_shard;

static const struct metric *rows[METRICS_MAX];
static unsigned rows_len;

/* --- rows ----------------------------------------------------------------------------------- */

/* Length of the name without its labels: what HELP and TYPE are about. */
static size_t family_len(const struct metric *metric)
{
        return strcspn(metric->name, "{");
}

static bool same_family(const struct metric *a, const struct metric *b)
{
        size_t len = family_len(a);

        return len == family_len(b) && memcmp(a->name, b->name, len) == 0;
}

static bool name_is_good(const char *name)
{
        size_t len =
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");

        if (len == 0 || (name[0] >= '0' && name[0] <= '9'))
                return false;
        return name[len] == '\0' || (name[len] == '{' && name[strlen(name) - 1] == '}');
}

void metrics_register(struct metric *const *table, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                struct metric *metric = table[i];

                if (metric->slot != 0)
                        continue;
                check(rows_len < METRICS_MAX);
                check(name_is_good(metric->name));
                for (unsigned j = 0; j < rows_len; j++) {
                        check(strcmp(rows[j]->name, metric->name) != 0);
                        check(!same_family(rows[j], metric) || rows[j]->type == metric->type);
                }
                rows[rows_len++] = metric;
                metric->slot = rows_len;
        }
}

/* --- counting ------------------------------------------------------------------------------- */

static struct shard *create_own_shard(void)
{
        struct shard *shard = aligned_alloc(CACHE_LINE, sizeof(*shard));

        /* A thread counts for the first time while it starts, when refusing to go on is right. */
        check(shard != NULL);
        for (size_t i = 0; i < METRICS_MAX; i++)
                atomic_init(&shard->values[i], 0);
        shard->next = atomic_load_explicit(&shards, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&shards, &shard->next, shard,
                                                      memory_order_release, memory_order_relaxed))
                ;
        own_shard = shard;
        return shard;
}

static _Atomic int64_t *own_value(const struct metric *metric)
{
        struct shard *shard = own_shard;

        if (__builtin_expect(shard == NULL, 0))
                shard = create_own_shard();
        return &shard->values[metric->slot - 1];
}

void metric_add(const struct metric *metric, int64_t n)
{
        if (metric->slot == 0)
                return;
        check(n >= 0 || metric->type == METRIC_GAUGE_TYPE);

        _Atomic int64_t *value = own_value(metric);

        /* Two steps, for nobody else writes here: no locked instruction on the per-device path. */
        atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
                              memory_order_relaxed);
}

void metric_set(const struct metric *metric, int64_t value)
{
        if (metric->slot == 0)
                return;
        check(metric->type == METRIC_GAUGE_TYPE);
        atomic_store_explicit(own_value(metric), value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *metric)
{
        int64_t sum = 0;

        if (metric->slot == 0)
                return 0;
        for (struct shard *shard = atomic_load_explicit(&shards, memory_order_acquire);
             shard != NULL; shard = shard->next)
                sum += atomic_load_explicit(&shard->values[metric->slot - 1], memory_order_relaxed);
        return sum;
}

/* --- showing -------------------------------------------------------------------------------- */

static void render_family_head(const struct metric *metric, struct buf *out)
{
        buf_str(out, "# HELP ");
        buf_add(out, metric->name, family_len(metric));
        buf_char(out, ' ');
        for (const char *at = metric->help; *at != '\0'; at++) {
                if (*at == '\\')
                        buf_str(out, "\\\\");
                else if (*at == '\n')
                        buf_str(out, "\\n");
                else
                        buf_char(out, *at);
        }
        buf_str(out, "\n# TYPE ");
        buf_add(out, metric->name, family_len(metric));
        buf_str(out, metric->type == METRIC_COUNTER_TYPE ? " counter\n" : " gauge\n");
}

void metrics_render(struct buf *out)
{
        for (unsigned i = 0; i < rows_len; i++) {
                unsigned first = 0;

                while (!same_family(rows[first], rows[i]))
                        first++;
                if (first != i)
                        continue; /* shown with the first row of its name: a family stays together
                                   */
                render_family_head(rows[i], out);
                for (unsigned j = i; j < rows_len; j++) {
                        if (!same_family(rows[i], rows[j]))
                                continue;
                        buf_str(out, rows[j]->name);
                        buf_char(out, ' ');
                        buf_i64(out, metric_value(rows[j]));
                        buf_char(out, '\n');
                }
        }
}
