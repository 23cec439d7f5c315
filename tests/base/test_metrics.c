/* Counting and showing. Several threads at once: stress_metrics.c. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/metrics.h"

static struct metric m_in = METRIC_COUNTER("kickoff_in_total", "Devices let in.");
static struct metric m_origin = METRIC_COUNTER("kickoff_refused_total{why=\"origin\"}", "Refused.");
static struct metric m_open = METRIC_GAUGE("kickoff_open", "Back\\slash\nand line.");
static struct metric m_rate =
    METRIC_COUNTER("kickoff_refused_total{why=\"rate\"}", "Refused again.");
static struct metric m_longer = METRIC_COUNTER("kickoff_in_total_more", "Another name.");
static struct metric *const table[] = { &m_in, &m_origin, &m_open, &m_rate, &m_longer };

Test(metrics, counting_before_registration_does_nothing)
{
        metric_add(&m_in, 1);
        metric_set(&m_open, 1);
        cr_assert(eq(i64, metric_value(&m_in), 0));
        metrics_register(table, countof(table));
        cr_assert(eq(i64, metric_value(&m_in), 0));
}

Test(metrics, counts_and_sets)
{
        metrics_register(table, countof(table));
        metric_add(&m_in, 1);
        metric_add(&m_in, 41);
        metric_set(&m_open, 9);
        metric_add(&m_open, -4);
        cr_assert(eq(i64, metric_value(&m_in), 42));
        cr_assert(eq(i64, metric_value(&m_open), 5));
        cr_assert(eq(i64, metric_value(&m_rate), 0));
}

Test(metrics, registering_twice_is_harmless)
{
        struct buf once = BUF_INIT, twice = BUF_INIT;

        metrics_register(table, countof(table));
        metrics_render(&once);
        metrics_register(table, countof(table));
        metrics_render(&twice);
        cr_assert(eq(str, once.data, twice.data));
        buf_fini(&once);
        buf_fini(&twice);
}

Test(metrics, shows_prometheus_text_with_the_rows_of_one_name_together)
{
        struct buf out = BUF_INIT;

        metrics_register(table, countof(table));
        metric_add(&m_in, 7);
        metric_add(&m_rate, 2);
        metric_set(&m_open, -3);
        metrics_render(&out);
        cr_assert(eq(str, out.data,
                     "# HELP kickoff_in_total Devices let in.\n"
                     "# TYPE kickoff_in_total counter\n"
                     "kickoff_in_total 7\n"
                     "# HELP kickoff_refused_total Refused.\n"
                     "# TYPE kickoff_refused_total counter\n"
                     "kickoff_refused_total{why=\"origin\"} 0\n"
                     "kickoff_refused_total{why=\"rate\"} 2\n"
                     "# HELP kickoff_open Back\\\\slash\\nand line.\n"
                     "# TYPE kickoff_open gauge\n"
                     "kickoff_open -3\n"
                     "# HELP kickoff_in_total_more Another name.\n"
                     "# TYPE kickoff_in_total_more counter\n"
                     "kickoff_in_total_more 0\n"));
        buf_fini(&out);
}

static void *count_once(void *arg)
{
        (void)arg;
        metric_add(&m_in, 1);
        metric_set(&m_open, 10);
        return NULL;
}

Test(metrics, what_ended_threads_counted_stays_counted)
{
        metrics_register(table, countof(table));
        for (int i = 0; i < 20; i++) {
                pthread_t thread;

                pthread_create(&thread, NULL, count_once, NULL);
                pthread_join(thread, NULL);
        }
        cr_assert(eq(i64, metric_value(&m_in), 20));
        cr_assert(eq(i64, metric_value(&m_open), 200), "a gauge is the sum of the threads' shares");
}

/* `n` rows kickoff_x0, kickoff_x1, ... */
static void register_many(size_t n)
{
        static struct metric many[METRICS_MAX + 1];
        static char names[METRICS_MAX + 1][32];

        for (size_t i = 0; i < n; i++) {
                struct metric *row = &many[i];

                snprintf(names[i], sizeof(names[i]), "kickoff_x%zu", i);
                *row = (struct metric){ .name = names[i], .help = "X.", .type = METRIC_GAUGE_TYPE };
                metrics_register(&row, 1);
                metric_set(row, (int64_t)i);
        }
        for (size_t i = 0; i < n; i++)
                cr_assert(eq(i64, metric_value(&many[i]), (int64_t)i));
}

Test(metrics, there_is_room_for_as_many_as_promised)
{
        register_many(METRICS_MAX);
}

Test(metrics, one_more_is_our_bug, .signal = SIGABRT)
{
        register_many(METRICS_MAX + 1);
}

Test(metrics, two_rows_of_the_same_name_are_our_bug, .signal = SIGABRT)
{
        static struct metric twin = METRIC_COUNTER("kickoff_in_total", "The same.");
        struct metric *rows[] = { &m_in, &twin };

        metrics_register(rows, countof(rows));
}

Test(metrics, two_types_under_one_name_are_our_bug, .signal = SIGABRT)
{
        static struct metric other =
            METRIC_GAUGE("kickoff_refused_total{why=\"x\"}", "Not a counter.");
        struct metric *rows[] = { &m_origin, &other };

        metrics_register(rows, countof(rows));
}

Test(metrics, a_name_that_prometheus_refuses_is_our_bug, .signal = SIGABRT)
{
        static struct metric odd = METRIC_COUNTER("kickoff-in", "Dash.");
        struct metric *rows[] = { &odd };

        metrics_register(rows, countof(rows));
}

Test(metrics, a_counter_never_falls, .signal = SIGABRT)
{
        metrics_register(table, countof(table));
        metric_add(&m_in, -1);
}
