/* producer/cli/progress.c -- see progress.h. */
#include "producer/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_CELLS 20

void progress_begin(struct progress *progress, size_t total, uint64_t now_ms)
{
        *progress = (struct progress){ .is_terminal = isatty(STDERR_FILENO) == 1,
                                       .total = total,
                                       .begun_ms = now_ms,
                                       .drawn_ms = now_ms };
}

static void add_thousands(uint64_t n, struct buf *out)
{
        if (n >= 1000) {
                add_thousands(n / 1000, out);
                buf_printf(out, ",%03u", (unsigned)(n % 1000));
        } else {
                buf_u64(out, n);
        }
}

void progress_bar(const struct progress *progress, uint64_t now_ms, struct buf *out)
{
        uint64_t ms = now_ms - progress->begun_ms;
        size_t total = progress->total > 0 ? progress->total : 1;
        size_t cells = progress->done * BAR_CELLS / total;

        buf_char(out, '[');
        for (size_t i = 0; i < BAR_CELLS; i++)
                buf_char(out, i < cells ? '#' : ' ');
        buf_printf(out, "] %3zu %%  ", progress->done * 100 / total);
        add_thousands(progress->done, out);
        buf_str(out, " of ");
        add_thousands(progress->total, out);
        buf_printf(out, "  %.1f MB", (double)progress->bytes / 1e6);
        if (ms == 0 || progress->done == 0)
                return;
        buf_str(out, "  ");
        add_thousands(progress->done * 1000 / ms, out);
        buf_printf(
            out, "/s  %llu s left",
            (unsigned long long)((progress->total - progress->done) * ms / progress->done / 1000));
}

bool progress_is_due(size_t done, size_t total)
{
        if (total <= PROGRESS_LINES)
                return true;
        return done * PROGRESS_LINES / total != (done - 1) * PROGRESS_LINES / total;
}

static void draw(struct progress *progress, uint64_t now_ms)
{
        char array[256];
        struct buf line;

        buf_init_fixed(&line, array, sizeof(array));
        progress_bar(progress, now_ms, &line);
        if (!line.failed)
                fprintf(stderr, "\r%s\033[K", line.data);
        fflush(stderr);
        progress->drawn_ms = now_ms;
}

void progress_step(struct progress *progress, const char *what, size_t bytes, uint64_t now_ms)
{
        progress->done++;
        progress->bytes += bytes;
        if (!progress->is_terminal) {
                if (progress_is_due(progress->done, progress->total))
                        fprintf(stderr, "[%zu/%zu] %s\n", progress->done, progress->total, what);
        } else if (now_ms - progress->drawn_ms >= PROGRESS_BAR_MS) {
                draw(progress, now_ms);
        }
}

void progress_end(struct progress *progress)
{
        if (progress->is_terminal)
                fputs("\r\033[K", stderr);
        fflush(stderr);
}
