/* loadtest/account.c -- see account.h. */
#include "loadtest/account.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

void account_init(struct account *account)
{
        memset(account, 0, sizeof(*account));
        series_init(&account->series);
        for (unsigned i = 0; i < TIMINGS; i++)
                histogram_init(&account->report.result.timings[i]);
}

void account_fini(struct account *account)
{
        series_fini(&account->series);
        watch_fini(&account->watch);
}

static void add_figure(struct account *account, const struct figure *figure)
{
        check(account->n_figures < ACCOUNT_FIGURES_MAX);
        account->figures[account->n_figures++] = *figure;
}

void account_figure(struct account *account, const char *key, const char *what, const char *unit,
                    double value)
{
        add_figure(account, &(struct figure){ key, what, unit, value, false });
}

void account_tile(struct account *account, const char *key, const char *what, const char *unit,
                  double value)
{
        add_figure(account, &(struct figure){ key, what, unit, value, true });
}

double account_value(const struct account *account, const char *key)
{
        for (unsigned i = 0; i < account->n_figures; i++)
                if (strcmp(account->figures[i].key, key) == 0)
                        return account->figures[i].value;
        return 0;
}

void account_judge(struct account *account, bool kept, const char *fmt, ...)
{
        struct judgement *judgement = &account->judgements[account->n_judgements];
        va_list args;

        check(account->n_judgements < ACCOUNT_JUDGEMENTS_MAX);
        account->n_judgements++;
        judgement->kept = kept;
        va_start(args, fmt);
        vsnprintf(judgement->sentence, sizeof(judgement->sentence), fmt, args);
        va_end(args);
}

void account_mark(struct account *account, double s, const char *label)
{
        struct account_mark *mark = &account->marks[account->n_marks];

        if (account->n_marks == ACCOUNT_MARKS_MAX)
                return;
        account->n_marks++;
        mark->s = s;
        snprintf(mark->label, sizeof(mark->label), "%s", label);
}

void account_judge_delivery(struct account *account)
{
        const struct report *report = &account->report;
        const struct swarm_counts *counts = &report->result.counts;
        const struct simtally *tally = &counts->tally;
        uint64_t awake = report->devices - counts->dead, lost = report_lost(report), resets = 0;

        for (unsigned i = 0; i < RESET_REASONS; i++)
                resets += tally->resets[i];
        account_judge(account, counts->told >= awake,
                      "%llu of %llu devices were told of the start.",
                      (unsigned long long)counts->told, (unsigned long long)awake);
        account_judge(account, lost == 0, "%llu of %llu deliveries were lost.",
                      (unsigned long long)lost, (unsigned long long)(tally->delivered + lost));
        account_judge(account, tally->disorder == 0 && tally->early == 0,
                      "%llu came out of order or too early; %llu came twice under the same number, "
                      "which is allowed and was recognised.",
                      (unsigned long long)(tally->disorder + tally->early),
                      (unsigned long long)tally->repeats);
        account_judge(account, tally->foreign + report->foreign_to_log == 0 && report->is_log_known,
                      report->is_log_known ? "%llu carried a tag that is not the log's."
                                           : "The log could not be read, so tags are not proved "
                                             "(%llu are foreign to each other).",
                      (unsigned long long)(tally->foreign + report->foreign_to_log));
        account_judge(
            account, tally->resets_unexplained == 0,
            "%llu devices were reset in mid-run, %llu of them without a reason that holds.",
            (unsigned long long)resets, (unsigned long long)tally->resets_unexplained);
        account_judge(account, counts->gave_up == 0 && counts->connected_once == counts->devices,
                      "%llu of %llu devices got in; %llu handshakes were refused on the way, %llu "
                      "for good.",
                      (unsigned long long)counts->connected_once,
                      (unsigned long long)counts->devices, (unsigned long long)counts->refused,
                      (unsigned long long)counts->gave_up);
}

static double percentile_ms(const struct account *account, enum swarm_timing timing, double percent)
{
        return (double)histogram_percentile(&account->report.result.timings[timing], percent) / 1e3;
}

void account_add_common(struct account *account)
{
        const struct swarm_counts *counts = &account->report.result.counts;
        const struct series *series = &account->series;

        account_figure(account, "peak_dials_per_s", "connections begun, most in one second", "/s",
                       series_peak(series, SERIES_DIALS, 0, 1, NULL));
        account_figure(account, "peak_welcomes_per_s", "sessions opened, most in one second", "/s",
                       series_peak(series, SERIES_WELCOMES, 0, 1, NULL));
        account_figure(account, "connect_p99_ms", "from dialling to hello, p99", "ms",
                       percentile_ms(account, TIMING_CONNECT, 99));
        if (counts->told > 0) {
                account_figure(account, "told_p50_ms",
                               "from the producer's request to a device, p50", "ms",
                               percentile_ms(account, TIMING_START, 50));
                account_figure(account, "told_p99_ms",
                               "from the producer's request to a device, p99", "ms",
                               percentile_ms(account, TIMING_START, 99));
                account_figure(account, "told_max_ms", "the last device was told after", "ms",
                               percentile_ms(account, TIMING_START, 100));
        }
        account_figure(account, "refused", "handshakes refused", "", (double)counts->refused);
        account_figure(account, "repeats", "signals that came twice, and were recognised", "",
                       (double)counts->tally.repeats);
        if (counts->dead > 0)
                account_figure(account, "dead", "devices that fell silent, as wanted", "",
                               (double)counts->dead);
        for (unsigned i = 0; i < account->watch.n; i++) {
                const struct watch_process *process = &account->watch.processes[i];
                static const char *const keys[] = { "node_1_mib", "node_2_mib", "node_3_mib",
                                                    "node_4_mib" };
                static const char *const whats[] = { "most memory of node-1",
                                                     "most memory of node-2",
                                                     "most memory of node-3",
                                                     "most memory of node-4" };
                double most = 0;

                for (size_t k = 0; k < process->n; k++)
                        most = fmax(most, process->points[k].bytes);
                if (i < countof(keys) && most > 0)
                        account_figure(account, keys[i], whats[i], "MiB", most / 1048576);
        }
}

bool account_passed(const struct account *account)
{
        bool kept = true;

        for (unsigned i = 0; i < account->n_judgements; i++)
                kept = kept && account->judgements[i].kept;
        return kept && report_passed(&account->report);
}

void account_number(double value, char out[24])
{
        char digits[24];
        size_t len, n = 0;
        double size = fabs(value);

        if (size < 100 && value != floor(value)) {
                snprintf(out, 24, size < 0.1 ? "%.3f" : size < 10 ? "%.2f" : "%.1f", value);
                return;
        }
        snprintf(digits, sizeof(digits), "%.0f", size < 1e15 ? size : 1e15);
        len = strlen(digits);
        if (value <= -0.5)
                out[n++] = '-';
        for (size_t i = 0; i < len; i++) {
                if (i > 0 && (len - i) % 3 == 0)
                        out[n++] = ',';
                out[n++] = digits[i];
        }
        out[n] = '\0';
}

static void add_figures(const struct account *account, bool tiles, struct buf *out)
{
        for (unsigned i = 0; i < account->n_figures; i++) {
                const struct figure *figure = &account->figures[i];
                char value[24];

                if (figure->is_tile != tiles)
                        continue;
                account_number(figure->value, value);
                buf_printf(out, "  %12s %-7s %s\n", value, figure->unit, figure->what);
        }
}

void account_text(const struct account *account, struct buf *out)
{
        const char *separator = ": ";

        report_body(&account->report, out);
        add_figures(account, true, out);
        add_figures(account, false, out);
        for (unsigned i = 0; i < account->n_judgements; i++)
                buf_printf(out, "%-11s %s\n", account->judgements[i].kept ? "kept" : "BROKEN",
                           account->judgements[i].sentence);
        buf_printf(out, "%s %s", account->scenario, account_passed(account) ? "PASSED" : "FAILED");
        if (account->report.interrupted)
                buf_str(out, " (interrupted)");
        report_reasons(&account->report, out, &separator);
        for (unsigned i = 0; i < account->n_judgements; i++)
                if (!account->judgements[i].kept) {
                        buf_printf(out, "%s%s", strcmp(separator, ", ") == 0 ? ". " : separator,
                                   account->judgements[i].sentence);
                        separator = " ";
                }
        buf_char(out, '\n');
}
