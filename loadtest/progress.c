/* loadtest/progress.c -- see progress.h. */
#include "loadtest/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define TERMINAL_EVERY_MS 200
#define LINES_EVERY_MS    2000

void progress_init(struct progress *progress, bool is_quiet)
{
        *progress =
            (struct progress){ .is_terminal = isatty(STDERR_FILENO) == 1, .is_quiet = is_quiet };
}

/* Over the last second that is complete. */
static double rate_at(const struct series *series, enum series_column column, double s)
{
        size_t rows = (size_t)(1 / series_row_s(series) + 0.5), end;
        uint64_t sum = 0;

        rows = rows > 0 ? rows : 1;
        end = s > 0 ? (size_t)(s / series_row_s(series)) : 0;
        for (size_t i = end > rows ? end - rows : 0; i < end && i < series->n; i++)
                sum += series->rows[i][column];
        return (double)sum / ((double)rows * series_row_s(series));
}

void progress_line(const char *what, double s, const struct swarm_counts *counts,
                   const struct series *series, char *out, unsigned size)
{
        int n = snprintf(out, size, "%-9.9s %6.1f s  in %llu/%llu  open %llu", what, s,
                         (unsigned long long)counts->connected_once,
                         (unsigned long long)counts->devices, (unsigned long long)counts->open);
        double rate = rate_at(series, SERIES_DIALS, s);

        if (rate > 0 && n > 0 && (unsigned)n < size)
                n += snprintf(out + n, size - (unsigned)n, " (+%.0f/s)", rate);
        if (counts->prefetched > 0 && n > 0 && (unsigned)n < size)
                n += snprintf(out + n, size - (unsigned)n, "  content %llu",
                              (unsigned long long)counts->prefetched);
        rate = rate_at(series, SERIES_REQUESTS, s);
        if (rate > 0 && n > 0 && (unsigned)n < size)
                n += snprintf(out + n, size - (unsigned)n, " (%.0f req/s)", rate);
        if (counts->told > 0 && n > 0 && (unsigned)n < size)
                n += snprintf(out + n, size - (unsigned)n, "  told %llu",
                              (unsigned long long)counts->told);
        if (counts->judged_seq > 0 && n > 0 && (unsigned)n < size)
                snprintf(out + n, size - (unsigned)n, "  up to date %llu",
                         (unsigned long long)counts->at_head);
}

void progress_show(struct progress *progress, const char *what, double s,
                   const struct swarm_counts *counts, const struct series *series)
{
        uint64_t now_ms = clock_mono_ms();
        char line[200];

        if (progress->is_quiet || now_ms < progress->next_ms)
                return;
        progress->next_ms = now_ms + (progress->is_terminal ? TERMINAL_EVERY_MS : LINES_EVERY_MS);
        progress_line(what, s, counts, series, line, sizeof(line));
        fprintf(stderr, progress->is_terminal ? "\r%s\033[K" : "%s\n", line);
        progress->is_dirty = progress->is_terminal;
}

void progress_say(struct progress *progress, const char *fmt, ...)
{
        va_list args;

        if (progress->is_quiet)
                return;
        if (progress->is_dirty)
                fputs("\r\033[K", stderr);
        progress->is_dirty = false;
        va_start(args, fmt);
        vfprintf(stderr, fmt, args);
        va_end(args);
        fputc('\n', stderr);
}

void progress_end(struct progress *progress)
{
        if (progress->is_dirty)
                fputc('\n', stderr);
        progress->is_dirty = false;
}
