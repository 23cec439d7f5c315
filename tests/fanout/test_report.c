/* The delivery report: parts as text, their sum, and how they get into Redis and out again. */
#include "fanout/report.h"

#include <inttypes.h>

#include "fanout/fanout_metrics.h"
#include "fanout/reporter.h"
#include "tests/fanout/fixture.h"

#define EPOCH UINT64_C(0xabc)
#define SEQ   7
#define SENT  TEST_NOW

static struct signal the_signal(void)
{
        return (struct signal){ .token = { EPOCH, SEQ, 99 }, .sent = SENT };
}

/* `n` devices, all told after `told_ms` and acted after `acted_ms`. */
static struct report_part part_of(uint32_t n, uint32_t told_ms, uint32_t acted_ms)
{
        struct report_part part = {
                .token = the_signal().token, .connected = n, .written = n, .acked = n
        };

        for (uint32_t i = 0; i < n; i++) {
                latency_record(&part.told, told_ms);
                latency_record(&part.acted, acted_ms);
        }
        return part;
}

static void add(struct report *report, const char *field, const struct report_part *part,
                int64_t at)
{
        struct buf text = BUF_INIT;

        report_part_format(part, at, &text);
        cr_assert(eq(int, report_add(report, field, text.data, text.len), OK));
        buf_fini(&text);
}

static struct presence presence_of(const char *name, int64_t started, int64_t seen, bool gone)
{
        struct presence presence = {
                .started = started, .seen = seen, .gone = gone, .devices = 20
        };

        strcpy(presence.name, name);
        return presence;
}

/* --- histograms --- */

Test(latency, percentiles_are_within_a_sixteenth_and_the_largest_is_exact)
{
        static const uint32_t values[] = { 0, 1, 15, 16, 31, 32, 100, 999, 12345, 400000, 507903 };

        for (size_t i = 0; i < countof(values); i++) {
                struct latency latency = { .n = 0 };
                uint32_t told;

                latency_record(&latency, values[i]);
                latency_record(&latency, 2000000); /* so that the value is not the largest */
                told = latency_percentile(&latency, 50);
                cr_assert(ge(u32, told, values[i]));
                cr_assert(le(u32, told, values[i] + values[i] / 16), "%u told as %u", values[i],
                          told);
                cr_assert(eq(u32, latency_percentile(&latency, 100), 2000000));
        }
}

Test(latency, the_percentile_is_that_of_the_right_rank)
{
        struct latency latency = { .n = 0 };

        cr_assert(zero(u32, latency_percentile(&latency, 99)));
        for (uint32_t i = 0; i < 90; i++)
                latency_record(&latency, 5);
        for (uint32_t i = 0; i < 9; i++)
                latency_record(&latency, 10);
        latency_record(&latency, 20);
        cr_assert(eq(u32, latency_percentile(&latency, 50), 5));
        cr_assert(eq(u32, latency_percentile(&latency, 90), 5));
        cr_assert(eq(u32, latency_percentile(&latency, 91), 10));
        cr_assert(eq(u32, latency_percentile(&latency, 99), 10));
        cr_assert(eq(u32, latency_percentile(&latency, 100), 20));
        latency_record(&latency, UINT64_MAX);
        cr_assert(eq(u32, latency_percentile(&latency, 100), UINT32_MAX));
}

Test(latency, sums_stop_at_the_largest_number)
{
        struct latency a = { .n = UINT32_MAX - 1, .counts = { UINT32_MAX - 1 } }, b = { .n = 0 };

        for (int i = 0; i < 5; i++)
                latency_record(&b, 0);
        latency_add(&a, &b);
        cr_assert(eq(u32, a.n, UINT32_MAX));
        cr_assert(eq(u32, a.counts[0], UINT32_MAX));
}

/* --- text --- */

Test(report, a_part_is_read_as_it_was_written)
{
        struct report_part part = part_of(3, 40, 900), read;
        struct buf text = BUF_INIT;
        int64_t at;

        part.silent = 1;
        part.said = 2;
        latency_record(&part.told, 70000);
        part.written++;
        report_part_format(&part, SENT + 5, &text);
        cr_assert(eq(int, report_part_parse(text.data, text.len, &read, &at), OK), "%s", text.data);
        cr_assert(eq(i64, at, SENT + 5));
        read.token.seq = part.token.seq; /* the key says it */
        cr_assert(zero(int, memcmp(&part, &read, sizeof(part))));
        buf_fini(&text);
}

#define HEAD  "{\"epoch\":\"0000000000000abc\",\"tag\":\"0000000000000063\",\"at\":5,"
#define EMPTY "{\"max\":0,\"h\":[]}"
#define ONE   "{\"max\":3,\"h\":[3,1]}"

Test(report, malformed_parts_are_skipped_and_counted)
{
        static const struct {
                const char *field, *text;
                bool good;
        } rows[] = {
                { "a/1",
                  HEAD
                  "\"connected\":1,\"written\":1,\"silent\":0,\"acked\":1,\"said\":0,\"told\":" ONE
                  ",\"acted\":" ONE ",\"of a later version\":[1]}",
                  true },
                { "a/1", "", false },
                { "a/1", "[]", false },
                { "a/1", "{}", false },
                { "a", HEAD "\"connected\":1}", false },
                { "a/x",
                  HEAD
                  "\"connected\":1,\"written\":0,\"silent\":0,\"acked\":0,\"said\":0,\"told\":" EMPTY
                  ",\"acted\":" EMPTY "}",
                  false },
                { "a/1", /* more written than in its histogram */
                  HEAD
                  "\"connected\":1,\"written\":2,\"silent\":0,\"acked\":1,\"said\":0,\"told\":" ONE
                  ",\"acted\":" ONE "}",
                  false },
                { "a/1",
                  HEAD
                  "\"connected\":-1,\"written\":1,\"silent\":0,\"acked\":1,\"said\":0,\"told\":" ONE
                  ",\"acted\":" ONE "}",
                  false },
                { "a/1",
                  HEAD "\"connected\":1,\"written\":4294967296,\"silent\":0,\"acked\":1,\"said\":0,"
                       "\"told\":" ONE ",\"acted\":" ONE "}",
                  false },
                { "a/1", /* a bucket there is not */
                  HEAD "\"connected\":1,\"written\":1,\"silent\":0,\"acked\":0,\"said\":0,"
                       "\"told\":{\"max\":3,\"h\":[256,1]},\"acted\":" EMPTY "}",
                  false },
                { "a/1", /* the same one twice */
                  HEAD "\"connected\":1,\"written\":2,\"silent\":0,\"acked\":0,\"said\":0,"
                       "\"told\":{\"max\":3,\"h\":[3,1,3,1]},\"acted\":" EMPTY "}",
                  false },
        };
        struct signal signal = the_signal();

        for (size_t i = 0; i < countof(rows); i++) {
                struct report report;

                report_init(&report, &signal);
                cr_assert(eq(int,
                             report_add(&report, rows[i].field, rows[i].text, strlen(rows[i].text)),
                             OK));
                cr_assert(eq(sz, report.n, rows[i].good), "row %zu", i);
                cr_assert(eq(uint, report.unreadable, !rows[i].good), "row %zu", i);
                cr_assert(eq(int, report_finish(&report, NULL, 0), OK));
                cr_assert(report.partial, "row %zu: unreadable, or of a node nobody knows", i);
                report_fini(&report);
        }
}

/* --- the sum --- */

Test(report, adds_up_the_parts_of_all_nodes)
{
        struct signal signal = the_signal();
        struct report_part a = part_of(90, 10, 30), b = part_of(10, 500, 2000);
        struct presence nodes[] = { presence_of("a", 1, SENT, false),
                                    presence_of("b", 2, SENT, false) };
        struct report report;

        report_init(&report, &signal);
        add(&report, "b/2", &b, SENT + 1);
        add(&report, "a/1", &a, SENT + 1);
        cr_assert(eq(int, report_finish(&report, nodes, 2), OK));
        cr_assert(eq(u32, report.sum.connected, 100));
        cr_assert(eq(u32, report.sum.written, 100));
        cr_assert(eq(u32, report.sum.acked, 100));
        cr_assert(eq(u32, latency_percentile(&report.sum.told, 50), 10));
        cr_assert(eq(u32, latency_percentile(&report.sum.told, 90), 10));
        cr_assert(eq(u32, latency_percentile(&report.sum.told, 99), 500));
        cr_assert(eq(u32, latency_percentile(&report.sum.acted, 99), 2000));
        cr_assert(report.complete);
        cr_assert(not(report.partial));
        cr_assert(eq(sz, report.n, 2));
        cr_assert(eq(str, report.nodes[0].name, "a"), "by name");
        report_fini(&report);
}

Test(report, is_complete_when_all_connected_were_sent_it_and_all_that_would_say_so_have)
{
        static const struct {
                uint32_t connected, written, silent, acked;
                bool complete;
        } rows[] = {
                { 10, 10, 0, 10, true }, { 10, 10, 0, 9, false }, { 10, 10, 1, 9, true },
                { 10, 9, 0, 9, false },  { 10, 12, 0, 12, true }, { 0, 0, 0, 0, true },
                { 10, 0, 0, 10, false },
        };
        struct presence nodes[] = { presence_of("a", 1, SENT, false) };
        struct signal signal = the_signal();

        for (size_t i = 0; i < countof(rows); i++) {
                struct report_part part = { .token = signal.token,
                                            .connected = rows[i].connected,
                                            .written = rows[i].written,
                                            .silent = rows[i].silent,
                                            .acked = rows[i].acked };
                struct report report;

                for (uint32_t k = 0; k < rows[i].written; k++)
                        latency_record(&part.told, 1);
                report_init(&report, &signal);
                add(&report, "a/1", &part, SENT);
                cr_assert(eq(int, report_finish(&report, nodes, 1), OK));
                cr_assert(eq(sz, report.n, 1), "row %zu", i);
                cr_assert(eq(int, report.complete, rows[i].complete), "row %zu", i);
                report_fini(&report);
        }
}

Test(report, is_not_complete_before_every_node_that_was_there_has_reported)
{
        static const struct {
                int64_t started;
                bool gone, complete;
        } rows[] = { { SENT - 1000, false, false },
                     { SENT + 1, false, true }, /* it came later */
                     { SENT - 1000, true, true } };
        struct signal signal = the_signal();

        for (size_t i = 0; i < countof(rows); i++) {
                struct presence nodes[] = {
                        presence_of("a", 1, SENT, false),
                        presence_of("b", rows[i].started, SENT + 60000, rows[i].gone),
                };
                struct report_part part = part_of(20, 10, 30);
                struct report report;

                report_init(&report, &signal);
                add(&report, "a/1", &part, SENT);
                cr_assert(eq(int, report_finish(&report, nodes, 2), OK));
                cr_assert(eq(int, report.complete, rows[i].complete), "row %zu", i);
                report_fini(&report);
        }
}

Test(report, without_a_part_nothing_is_claimed)
{
        struct presence nodes[] = { presence_of("a", 1, SENT, false) };
        struct signal signal = the_signal();
        struct report report;

        report_init(&report, &signal);
        cr_assert(eq(int, report_finish(&report, nodes, 1), OK));
        cr_assert(not(report.complete));
        cr_assert(not(report.partial));
        cr_assert(zero(sz, report.n));
        report_fini(&report);
}

Test(report, the_part_of_a_node_that_is_gone_stays_and_is_marked)
{
        struct presence nodes[] = { presence_of("a", 1, SENT + 900, true),
                                    presence_of("b", 2, SENT + 9000, false) };
        struct report_part part = part_of(20, 10, 30);
        struct signal signal = the_signal();
        struct report report;

        report_init(&report, &signal);
        add(&report, "a/1", &part, SENT + 400);
        add(&report, "b/2", &part, SENT + 400);
        cr_assert(eq(int, report_finish(&report, nodes, 2), OK));
        cr_assert(report.nodes[0].gone);
        cr_assert(eq(i64, report.nodes[0].seen, SENT + 900), "last heard of by its presence");
        cr_assert(not(report.nodes[1].gone));
        cr_assert(report.partial);
        cr_assert(eq(u32, report.sum.acked, 40));
        report_fini(&report);
}

Test(report, a_node_started_again_does_not_take_its_former_lifes_part_for_its_own)
{
        struct presence nodes[] = { presence_of("a", 5000, SENT + 9000, false) };
        struct report_part part = part_of(20, 10, 30), later = part_of(3, 10, 30);
        struct signal signal = the_signal();
        struct report report;

        report_init(&report, &signal);
        later.connected = 0;
        add(&report, "a/5000", &later, SENT + 8000);
        add(&report, "a/1", &part, SENT + 400);
        cr_assert(eq(int, report_finish(&report, nodes, 1), OK));
        cr_assert(eq(sz, report.n, 2));
        cr_assert(report.nodes[0].gone);
        cr_assert(eq(i64, report.nodes[0].seen, SENT + 400), "not by what the new life says");
        cr_assert(not(report.nodes[1].gone));
        cr_assert(eq(u32, report.sum.written, 23));
        cr_assert(report.partial);
        report_fini(&report);
}

Test(report, a_node_that_died_with_devices_and_without_a_word_is_named)
{
        static const struct {
                int64_t seen;
                bool gone, is_named;
        } rows[] = {
                { SENT - PRESENCE_GONE_MS - 1, true, false }, /* dead before */
                { SENT - 800, true, true },
                { SENT + 200, true, true },
                { SENT + 60000, true, false }, /* it lived on, and had nothing to say */
                { SENT + 200, false, false },  /* its part may still come */
        };
        struct signal signal = the_signal();

        for (size_t i = 0; i < countof(rows); i++) {
                struct presence nodes[] = { presence_of("a", 1, rows[i].seen, rows[i].gone) };
                struct report report;

                report_init(&report, &signal);
                cr_assert(eq(int, report_finish(&report, nodes, 1), OK));
                cr_assert(eq(sz, report.n, rows[i].is_named), "row %zu", i);
                cr_assert(eq(int, report.partial, rows[i].is_named), "row %zu", i);
                cr_assert(not(report.complete));
                if (rows[i].is_named) {
                        cr_assert(not(report.nodes[0].has_part));
                        cr_assert(eq(u32, report.sum.connected, 20));
                }
                report_fini(&report);
        }
}

Test(report, parts_of_another_history_are_passed_over)
{
        struct signal signal = the_signal();
        struct report_part mine = part_of(2, 10, 30), epoch = mine, tag = mine;
        struct presence nodes[] = { presence_of("a", 1, SENT, false) };
        struct report report;

        epoch.token.epoch++;
        tag.token.tag++;
        report_init(&report, &signal);
        add(&report, "a/1", &mine, SENT);
        add(&report, "b/1", &epoch, SENT);
        add(&report, "c/1", &tag, SENT);
        cr_assert(eq(int, report_finish(&report, nodes, 1), OK));
        cr_assert(eq(sz, report.n, 1));
        cr_assert(eq(u32, report.sum.acked, 2));
        cr_assert(zero(uint, report.unreadable));
        cr_assert(not(report.partial));
        report_fini(&report);
}

/* --- into Redis and out again --- */

struct told {
        bool done;
        enum err err;
        size_t n;
        struct report_part sum;
        bool partial;
};

static void on_report(void *owner, enum err err, const struct report *report)
{
        struct told *told = owner;

        cr_assert(not(told->done));
        *told = (struct told){ .done = true, .err = err };
        if (err != OK)
                return;
        told->n = report->n;
        told->sum = report->sum;
        told->partial = report->partial;
}

static struct told read_report(struct fixture *f, int64_t now)
{
        struct signal signal = the_signal();
        struct told told = { .done = false };

        cr_assert(eq(int, report_read(f->redis, NS, &signal, now, on_report, &told), OK));
        cr_assert(not(told.done), "told from inside the call");
        run_until(f->base, told.done);
        return told;
}

static struct reporter *start_reporter(struct fixture *f, const char *node)
{
        struct reporter *reporter;

        cr_assert(eq(int, reporter_create(f->base, f->redis, NS, node, 1, &reporter), OK));
        reporter_epoch(reporter, EPOCH);
        return reporter;
}

static void be_present(struct fixture *f, const char *node, int64_t seen)
{
        struct presence mine = { .started = 1, .seen = seen, .devices = 20 };

        strcpy(mine.name, node);
        cr_assert(eq(int, presence_write(f->redis, NS, &mine, NULL, NULL), OK));
}

static void on_integer(void *owner, const struct redis_reply *reply)
{
        *(int64_t *)owner = redis_integer(reply);
}

static int64_t integer_of(struct fixture *f, const char *command, const char *key)
{
        const char *const argv[] = { command, key };
        int64_t value = INT64_MIN;

        cr_assert(eq(int, redis_command(f->redis, on_integer, &value, 2, argv, NULL), OK));
        run_until(f->base, value != INT64_MIN);
        return value;
}

Test(report, what_nodes_write_is_read_back_as_one)
{
        struct fixture f = fixture_start();
        struct reporter *a = start_reporter(&f, "a"), *b = start_reporter(&f, "b");
        struct report_part part = part_of(5, 10, 30);
        struct told told;

        be_present(&f, "a", SENT);
        be_present(&f, "b", SENT);
        reporter_add(a, &part);
        reporter_add(b, &part);
        cr_assert(not(reporter_is_idle(a)));
        run_until(f.base, reporter_is_idle(a) && reporter_is_idle(b));
        told = read_report(&f, SENT + 1000);
        cr_assert(eq(int, told.err, OK));
        cr_assert(eq(sz, told.n, 2));
        cr_assert(eq(u32, told.sum.acked, 10));
        cr_assert(not(told.partial));
        cr_assert(eq(i64, integer_of(&f, "TTL", "{" NS "}:report:7"), REPORTER_KEPT_S));
        told = read_report(&f, SENT + PRESENCE_GONE_MS + 1);
        cr_assert(eq(u32, told.sum.acked, 10));
        cr_assert(told.partial, "both are gone by then");
        reporter_destroy(a);
        reporter_destroy(b);
        fixture_stop(&f);
}

Test(report, differences_are_added_up_and_many_cost_one_write)
{
        struct fixture f = fixture_start();
        struct reporter *reporter = start_reporter(&f, "a");
        struct report_part part = part_of(1, 10, 30);
        int64_t before;

        fanout_metrics_register();
        before = metric_value(&fanout_metric_report_writes);
        for (int i = 0; i < 1000; i++)
                reporter_add(reporter, &part);
        run_until(f.base, reporter_is_idle(reporter));
        cr_assert(eq(i64, metric_value(&fanout_metric_report_writes) - before, 1));
        cr_assert(eq(u32, read_report(&f, SENT).sum.acked, 1000));
        reporter_add(reporter, &part);
        run_until(f.base, reporter_is_idle(reporter));
        cr_assert(eq(u32, read_report(&f, SENT).sum.acked, 1001));
        reporter_destroy(reporter);
        fixture_stop(&f);
}

Test(report, a_signal_is_written_at_most_twice_a_second)
{
        struct fixture f = fixture_start();
        struct reporter *reporter = start_reporter(&f, "a");
        struct report_part part = part_of(1, 10, 30);
        uint64_t began_ms;

        fanout_metrics_register();
        reporter_add(reporter, &part);
        run_until(f.base, reporter_is_idle(reporter));
        began_ms = clock_mono_ms();

        int64_t before = metric_value(&fanout_metric_report_writes);

        for (int round = 0; round < 3; round++) {
                reporter_add(reporter, &part);
                run_until(f.base, reporter_is_idle(reporter));
        }
        cr_assert(eq(i64, metric_value(&fanout_metric_report_writes) - before, 3));
        /* From before the first of three waits on: they cannot be shorter, only longer. */
        cr_assert(ge(u64, clock_mono_ms() - began_ms, 2 * REPORTER_EVERY_MS));
        reporter_destroy(reporter);
        fixture_stop(&f);
}

Test(report, what_redis_did_not_take_is_written_when_it_is_back)
{
        struct fixture f = fixture_start();
        struct reporter *reporter = start_reporter(&f, "a");
        struct report_part part = part_of(3, 10, 30);

        test_redis_kill(f.server);
        run_until(f.base, !redis_is_up(f.redis));
        reporter_add(reporter, &part);
        cr_assert(reporter_is_idle(reporter), "nobody can be waited for");
        test_redis_restart(f.server);
        run_until(f.base, redis_is_up(f.redis) && reporter_is_idle(reporter));
        cr_assert(eq(u32, read_report(&f, SENT).sum.acked, 3));
        reporter_destroy(reporter);
        fixture_stop(&f);
}

Test(report, what_redis_refused_is_written_again)
{
        struct fixture f = fixture_start();
        struct reporter *reporter = start_reporter(&f, "a");
        struct report_part part = part_of(3, 10, 30);

        fanout_metrics_register();
        test_redis_do(f.server, "SET", "{" NS "}:report:7", "no hash", NULL);
        reporter_add(reporter, &part);
        run_until(f.base, metric_value(&fanout_metric_report_failures) > 0);
        cr_assert(not(reporter_is_idle(reporter)));
        test_redis_do(f.server, "DEL", "{" NS "}:report:7", NULL);
        run_until(f.base, reporter_is_idle(reporter));
        cr_assert(eq(u32, read_report(&f, SENT).sum.acked, 3));
        reporter_destroy(reporter);
        fixture_stop(&f);
}

Test(report, a_reporter_may_end_before_its_answers_come)
{
        struct fixture f = fixture_start();
        struct reporter *reporter = start_reporter(&f, "a");
        struct report_part part = part_of(3, 10, 30);
        int64_t before;

        fanout_metrics_register();
        before = metric_value(&fanout_metric_report_writes);
        reporter_add(reporter, &part);
        run_until(f.base, metric_value(&fanout_metric_report_writes) > before);
        reporter_destroy(reporter);
        cr_assert(eq(u32, read_report(&f, SENT).sum.acked, 3));
        fixture_stop(&f);
}

Test(report, another_epoch_drops_the_parts_of_the_one_before)
{
        struct fixture f = fixture_start();
        struct reporter *reporter = start_reporter(&f, "a");
        struct report_part part = part_of(3, 10, 30);

        reporter_add(reporter, &part);
        reporter_epoch(reporter, EPOCH + 1);
        reporter_add(reporter, &part); /* a worker that has not heard of it yet */
        cr_assert(reporter_is_idle(reporter));
        reporter_destroy(reporter);
        fixture_stop(&f);
}
