/* Threads count while another scrapes; the sum is exact at the end and never falls meanwhile. */
#include <stdatomic.h>

#include "base/metrics.h"
#include "stress.h"

#define COUNTS 200000
#define ROUNDS 5

static struct metric counter = METRIC_COUNTER("kickoff_stress_total", "Counted.");
static struct metric gauge = METRIC_GAUGE("kickoff_stress_share", "Shares.");
static _Atomic unsigned finished;

static void scrape_until_finished(void)
{
        int64_t last = 0;

        while (atomic_load(&finished) < STRESS_THREADS - 1) {
                struct buf out = BUF_INIT;
                int64_t now = metric_value(&counter);

                check(now >= last);
                last = now;
                metrics_render(&out);
                check(!out.failed);
                buf_fini(&out);
        }
}

static void count_or_scrape(unsigned index)
{
        if (index == 0) {
                scrape_until_finished();
                return;
        }
        for (int i = 0; i < COUNTS; i++) {
                metric_add(&counter, 1);
                metric_set(&gauge, i);
        }
        metric_set(&gauge, (int64_t)index);
        atomic_fetch_add(&finished, 1);
}

int main(void)
{
        static struct metric *const table[] = { &counter, &gauge };
        int64_t shares = 0;

        metrics_register(table, countof(table));
        for (int round = 1; round <= ROUNDS; round++) {
                atomic_store(&finished, 0);
                stress_run(count_or_scrape);
                for (int i = 1; i < STRESS_THREADS; i++)
                        shares += i;
                check(metric_value(&counter) == (int64_t)round * COUNTS * (STRESS_THREADS - 1));
                check(metric_value(&gauge) == shares);
        }
        return 0;
}
