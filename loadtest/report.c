/* loadtest/report.c -- see report.h. */
#include "loadtest/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define COLUMNS 48 /* of the drawing */

const char *const report_timing_name[TIMINGS] = { "connect", "prefetch", "start", "stage",
                                                  "beside",  "shown",    "back" };

uint64_t report_lost(const struct report *report)
{
        const struct swarm_counts *counts = &report->result.counts;

        return counts->tally.missing + (report->interrupted ? 0 : counts->behind);
}

static uint64_t never_connected(const struct report *report)
{
        return report->interrupted ? 0 : report->devices - report->result.counts.connected_once;
}

static uint64_t not_prefetched(const struct report *report)
{
        const struct swarm_counts *counts = &report->result.counts;

        uint64_t settled = counts->dead + counts->prefetched;
        uint64_t missing = report->devices > settled ? report->devices - settled : 0;

        if (report->no_prefetch || report->interrupted || missing < counts->prefetch_failed)
                return counts->prefetch_failed;
        return missing;
}

static bool is_proved(const struct report *report)
{
        return report->is_complete && report->is_log_known &&
               report->result.counts.proof_failed == 0;
}

/* What must not happen, and how often it did. */
struct flaw {
        const char *what;
        uint64_t n;
};
#define FLAWS 8

static void count_flaws(const struct report *report, struct flaw ret_flaws[FLAWS])
{
        const struct swarm_counts *counts = &report->result.counts;
        const struct simtally *tally = &counts->tally;
        const struct flaw flaws[FLAWS] = {
                { "devices never connected", never_connected(report) },
                { "bundles missing", not_prefetched(report) },
                { "signals lost", report_lost(report) },
                { "out of order", tally->disorder },
                { "foreign to the log", tally->foreign + report->foreign_to_log },
                { "too early", tally->early },
                { "resets unexplained", tally->resets_unexplained },
                { "connections broken", counts->broken },
        };

        memcpy(ret_flaws, flaws, sizeof(flaws));
}

bool report_passed(const struct report *report)
{
        struct flaw flaws[FLAWS];
        uint64_t sum = 0;

        count_flaws(report, flaws);
        for (size_t i = 0; i < FLAWS; i++)
                sum += flaws[i].n;
        return sum == 0 && report->trouble == NULL && is_proved(report) &&
               (report->interrupted || report->is_started);
}

static double ms_at(const struct histogram *h, double percent)
{
        return (double)histogram_percentile(h, percent) / 1e3;
}

static void add_timing(struct buf *out, const struct histogram *h)
{
        if (h->total == 0) {
                buf_char(out, '\n');
                return;
        }
        buf_printf(out, "   p50 %.1f  p90 %.1f  p99 %.1f  max %.1f ms\n", ms_at(h, 50),
                   ms_at(h, 90), ms_at(h, 99), (double)h->max / 1e3);
}

/* How many devices had the signal when, from the request to the last one. */
static void draw(struct buf *out, const struct histogram *h)
{
        static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
        uint64_t columns[COLUMNS] = { 0 }, tallest = 0, width = h->max / COLUMNS + 1;

        if (h->total == 0)
                return;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                size_t column = (size_t)(histogram_upper(i) / width);

                if (h->counts[i] == 0)
                        continue;
                columns[column < COLUMNS ? column : COLUMNS - 1] += h->counts[i];
        }
        for (size_t i = 0; i < COLUMNS; i++)
                tallest = columns[i] > tallest ? columns[i] : tallest;
        buf_str(out, "            0 ");
        for (size_t i = 0; i < COLUMNS; i++)
                buf_str(out, blocks[(columns[i] * 8 + tallest - 1) / tallest]);
        buf_printf(out, " %.0f ms\n", (double)h->max / 1e3);
}

static void add_rate(struct buf *out, const char *name, uint64_t n, uint32_t devices, uint64_t us)
{
        buf_printf(out, "%-11s %llu of %u", name, (unsigned long long)n, devices);
        if (us > 0)
                buf_printf(out, " in %.2f s, %.0f/s", (double)us / 1e6,
                           (double)n * 1e6 / (double)us);
}

static uint64_t sum_resets(const struct simtally *tally)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < RESET_REASONS; i++)
                sum += tally->resets[i];
        return sum;
}

static void add_delivery(const struct report *report, struct buf *out)
{
        const struct swarm_counts *counts = &report->result.counts;
        const struct simtally *tally = &counts->tally;

        buf_printf(
            out,
            "delivered   %llu signals: lost %llu, out of order %llu, foreign %llu, early %llu, "
            "repeats %llu\n",
            (unsigned long long)tally->delivered, (unsigned long long)report_lost(report),
            (unsigned long long)tally->disorder,
            (unsigned long long)(tally->foreign + report->foreign_to_log),
            (unsigned long long)tally->early, (unsigned long long)tally->repeats);
        buf_printf(out, "resets      %llu in mid-run", (unsigned long long)sum_resets(tally));
        for (unsigned i = 0; i < RESET_REASONS; i++)
                if (tally->resets[i] > 0)
                        buf_printf(out, ", %s %llu", reset_reason_name[i],
                                   (unsigned long long)tally->resets[i]);
        buf_printf(out, "; unexplained %llu\n", (unsigned long long)tally->resets_unexplained);
        buf_printf(
            out,
            "links       reconnects %llu, lost %llu, closed by node %llu, goaway %llu, refused "
            "%llu, broken %llu\n",
            (unsigned long long)counts->reconnects, (unsigned long long)counts->lost_connections,
            (unsigned long long)counts->closed_by_node, (unsigned long long)counts->goaways,
            (unsigned long long)counts->refused, (unsigned long long)counts->broken);
        if (!report->is_log_known)
                buf_str(out, "log         could not be read: nothing is proved\n");
        else
                buf_printf(out, "log         signals %llu to %llu compared, number and tag\n",
                           (unsigned long long)report->first_seq,
                           (unsigned long long)report->last_seq);
}

static void add_troubles(const struct report *report, struct buf *out)
{
        const struct swarm_counts *counts = &report->result.counts;

        if (report->trouble != NULL)
                buf_printf(out, "stopped     %s\n", report->trouble);
        if (!report->is_complete)
                buf_str(out, "stopped     a process of the herd ended early\n");
        if (never_connected(report) > 0) {
                buf_printf(out, "missing     %llu devices never connected",
                           (unsigned long long)never_connected(report));
                if (counts->last_refusal != 0)
                        buf_printf(out, "; last refusal: %llu",
                                   (unsigned long long)counts->last_refusal);
                buf_char(out, '\n');
        }
}

void report_reasons(const struct report *report, struct buf *out, const char **separator)
{
        struct flaw flaws[FLAWS];

        count_flaws(report, flaws);
        for (size_t i = 0; i < FLAWS; i++) {
                if (flaws[i].n > 0) {
                        buf_printf(out, "%s%llu %s", *separator, (unsigned long long)flaws[i].n,
                                   flaws[i].what);
                        *separator = ", ";
                }
        }
}

void report_text(const struct report *report, struct buf *out)
{
        const char *separator = ": ";

        report_body(report, out);
        buf_printf(out, "%s%s", report->interrupted ? "interrupted " : "",
                   report_passed(report) ? "PASSED" : "FAILED");
        report_reasons(report, out, &separator);
        buf_char(out, '\n');
}

void report_body(const struct report *report, struct buf *out)
{
        const struct swarm_result *result = &report->result;
        const struct swarm_counts *counts = &result->counts;

        buf_printf(out, "event       %s: %u devices in %u process%s, encoding %s\n", report->event,
                   report->devices, report->processes, report->processes == 1 ? "" : "es",
                   report->encodings);
        add_rate(out, "connected", counts->connected_once, report->devices, report->connect_us);
        add_timing(out, &result->timings[TIMING_CONNECT]);
        if (!report->no_prefetch) {
                add_rate(out, "prefetched", counts->prefetched, report->devices,
                         report->prefetch_us);
                if (counts->prefetch_failed > 0 || counts->prefetch_shed > 0)
                        buf_printf(out, ", failed %llu, shed %llu times",
                                   (unsigned long long)counts->prefetch_failed,
                                   (unsigned long long)counts->prefetch_shed);
                add_timing(out, &result->timings[TIMING_PREFETCH]);
        }
        if (report->is_started) {
                uint64_t timed = result->timings[TIMING_START].total;

                add_rate(out, "start", counts->told > timed ? counts->told : timed, report->devices,
                         0);
                add_timing(out, &result->timings[TIMING_START]);
                draw(out, &result->timings[TIMING_START]);
        }
        if (report->stages > 0) {
                buf_printf(out, "stages      %u, %llu deliveries", report->stages,
                           (unsigned long long)result->timings[TIMING_STAGE].total);
                add_timing(out, &result->timings[TIMING_STAGE]);
        }
        add_delivery(report, out);
        add_troubles(report, out);
}

static json_t *timing_json(const struct histogram *h)
{
        if (h->total == 0)
                return json_null();
        return json_pack("{s:I, s:f, s:f, s:f, s:f}", "n", (json_int_t)h->total, "p50",
                         ms_at(h, 50), "p90", ms_at(h, 90), "p99", ms_at(h, 99), "max",
                         (double)h->max / 1e3);
}

static void set_number(json_t *object, const char *name, uint64_t value)
{
        json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *resets_json(const struct simtally *tally)
{
        json_t *resets = json_object();

        for (unsigned i = 0; i < RESET_REASONS; i++)
                set_number(resets, reset_reason_name[i], tally->resets[i]);
        set_number(resets, "unexplained", tally->resets_unexplained);
        set_number(resets, "covered_signals", tally->covered);
        return resets;
}

static void set_counts(json_t *root, const struct report *report)
{
        const struct swarm_counts *counts = &report->result.counts;
        const struct {
                const char *name;
                uint64_t value;
        } rows[] = {
                { "connected", counts->connected_once },
                { "prefetched", counts->prefetched },
                { "prefetch_failed", counts->prefetch_failed },
                { "prefetch_shed", counts->prefetch_shed },
                { "delivered", counts->tally.delivered },
                { "lost", report_lost(report) },
                { "repeats", counts->tally.repeats },
                { "out_of_order", counts->tally.disorder },
                { "foreign", counts->tally.foreign + report->foreign_to_log },
                { "early", counts->tally.early },
                { "flawed_devices", counts->flawed },
                { "reconnects", counts->reconnects },
                { "lost_connections", counts->lost_connections },
                { "connect_errors", counts->connect_errors },
                { "closed_by_node", counts->closed_by_node },
                { "goaways", counts->goaways },
                { "refused", counts->refused },
                { "last_refusal", counts->last_refusal },
                { "broken", counts->broken },
                { "told", counts->told },
                { "shown", counts->shown },
                { "shown_late", counts->shown_late },
                { "timed", counts->timed },
                { "acted", counts->acted },
                { "dead", counts->dead },
                { "churned", counts->churned },
                { "cut", counts->cut },
                { "too_slow", counts->too_slow },
                { "acks", counts->acks },
                { "pings", counts->pings },
        };

        for (size_t i = 0; i < countof(rows); i++)
                set_number(root, rows[i].name, rows[i].value);
}

static json_t *rate_json(uint64_t n, uint64_t us)
{
        return json_pack("{s:f, s:f}", "seconds", (double)us / 1e6, "per_s",
                         us > 0 ? (double)n * 1e6 / (double)us : 0.0);
}

struct json_t *report_object(const struct report *report)
{
        const struct swarm_counts *counts = &report->result.counts;
        json_t *root = json_object(), *timings = json_object();

        json_object_set_new(root, "passed", json_boolean(report_passed(report)));
        json_object_set_new(root, "interrupted", json_boolean(report->interrupted));
        json_object_set_new(root, "trouble",
                            report->trouble != NULL ? json_string(report->trouble) : json_null());
        json_object_set_new(root, "event", json_string(report->event));
        json_object_set_new(root, "encoding", json_string(report->encodings));
        set_number(root, "devices", report->devices);
        set_number(root, "processes", report->processes);
        set_number(root, "stages", report->stages);
        set_counts(root, report);
        json_object_set_new(root, "resets", resets_json(&counts->tally));
        json_object_set_new(root, "connect", rate_json(counts->connected_once, report->connect_us));
        json_object_set_new(root, "prefetch", rate_json(counts->prefetched, report->prefetch_us));
        for (unsigned i = 0; i < TIMINGS; i++)
                json_object_set_new(timings, report_timing_name[i],
                                    timing_json(&report->result.timings[i]));
        json_object_set_new(root, "ms", timings);
        json_object_set_new(root, "log",
                            json_pack("{s:b, s:I, s:I}", "compared", (int)is_proved(report),
                                      "first", (json_int_t)report->first_seq, "last",
                                      (json_int_t)report->last_seq));
        return root;
}

void report_json(const struct report *report, struct buf *out)
{
        json_t *root = report_object(report);
        char *text;

        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(8));
        if (text != NULL)
                buf_printf(out, "%s\n", text);
        else
                out->failed = true;
        free(text);
        json_decref(root);
}
