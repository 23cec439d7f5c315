/* base/log.c -- builds one line on the stack and writes it with one call. Decides what is shown and
 * that a line stays one line; knows nothing of files and rotation, which belong to whoever started
 * us (systemd, a container runtime, a shell). A failing write is ignored: there is nobody to tell.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES  4096 /* PIPE_BUF on Linux: a pipe takes it whole or not at all (pipe(7)) */
#define QUOTE_KEPT      200  /* bytes of the original */
#define QUOTE_BUFFERS   4
#define QUOTE_SIZE      (QUOTE_KEPT * 4 + 6) /* each byte as \xNN, two quotes, "...", NUL */
#define LEVEL_NOT_KNOWN (-1)

static const struct {
        const char *name;
        const char *colour; /* ECMA-48 SGR */
} levels[] = {
        [LOG_DEBUG] = { "debug", "\033[2m" },
        [LOG_INFO] = { "info", "\033[32m" },
        [LOG_WARN] = { "warn", "\033[33m" },
        [LOG_ERROR] = { "error", "\033[31m" },
};

static _Atomic int shown_level = LEVEL_NOT_KNOWN;
static _Atomic int in_colour = LEVEL_NOT_KNOWN;

void log_set_level(enum log_level level)
{
        atomic_store_explicit(&shown_level, (int)level, memory_order_relaxed);
}

/* Two threads that find it unknown come to the same answer; log_set_level() meanwhile wins. */
static int level_shown(void)
{
        int level = atomic_load_explicit(&shown_level, memory_order_relaxed);

        if (level != LEVEL_NOT_KNOWN)
                return level;

        const char *wish = getenv("KICKOFF_LOG");
        int found = LOG_INFO;

        for (size_t i = 0; wish != NULL && i < countof(levels); i++) {
                if (strcmp(wish, levels[i].name) == 0)
                        found = (int)i;
        }
        if (atomic_compare_exchange_strong(&shown_level, &level, found))
                return found;
        return level;
}

static bool colour_wanted(void)
{
        int known = atomic_load_explicit(&in_colour, memory_order_relaxed);

        if (known == LEVEL_NOT_KNOWN) {
                const char *no = getenv("NO_COLOR"); /* https://no-color.org */

                known = isatty(STDERR_FILENO) && (no == NULL || no[0] == '\0');
                atomic_store_explicit(&in_colour, known, memory_order_relaxed);
        }
        return known != 0;
}

void log_line(enum log_level level, const char *id, const char *fmt, ...)
{
        char line[LINE_MAX_BYTES];
        char now[CLOCK_RFC3339_SIZE];
        size_t room = sizeof(line) - 4; /* for "...\n" */
        bool colour;
        int n;

        check((unsigned)level < countof(levels));
        if ((int)level < level_shown())
                return;
        colour = colour_wanted();
        clock_format_rfc3339(clock_wall_ms(), now);
        n = snprintf(line, room, "%s %s%s%s %s ", now, colour ? levels[level].colour : "",
                     levels[level].name, colour ? "\033[0m" : "", id);
        check(n > 0 && (size_t)n < room);

        size_t start = (size_t)n, len = start;
        va_list args;

        va_start(args, fmt);
        n = vsnprintf(line + len, room - len, fmt, args);
        va_end(args);
        if (n > 0)
                len = (size_t)n < room - len ? len + (size_t)n : room - 1;

        /* Whatever slipped in unquoted, the line stays one line and the terminal stays as it is. */
        for (size_t i = start; i < len; i++) {
                if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
                        line[i] = '?';
        }
        if (n > 0 && (size_t)n >= room - start) {
                memcpy(line + len, "...", 3);
                len += 3;
        }
        while (line[len - 1] == ' ') /* no pairs: no blank at the end either */
                len--;
        line[len++] = '\n';
        if (write(STDERR_FILENO, line, len) < 0)
                return;
}

/* --- quoting -------------------------------------------------------------------------------- */

/* Length of the well-formed UTF-8 character at `at` (RFC 3629 section 4), 0 if there is none. The
 * controls U+0080..U+009F count as none: terminals obey them. Stops at a NUL by itself. */
static size_t utf8_len(const unsigned char *at)
{
        unsigned char low = 0x80, high = 0xbf;
        size_t len;

        if (at[0] >= 0xc2 && at[0] <= 0xdf)
                len = 2;
        else if (at[0] >= 0xe0 && at[0] <= 0xef)
                len = 3;
        else if (at[0] >= 0xf0 && at[0] <= 0xf4)
                len = 4;
        else
                return 0;
        if (at[0] == 0xc2 || at[0] == 0xe0)
                low = 0xa0;
        else if (at[0] == 0xed)
                high = 0x9f;
        else if (at[0] == 0xf0)
                low = 0x90;
        else if (at[0] == 0xf4)
                high = 0x8f;
        if (at[1] < low || at[1] > high)
                return 0;
        for (size_t i = 2; i < len; i++) {
                if (at[i] < 0x80 || at[i] > 0xbf)
                        return 0;
        }
        return len;
}

static bool is_plain(unsigned char c)
{
        return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

const char *log_quote(const char *text)
{
        static _Thread_local char buffers[QUOTE_BUFFERS][QUOTE_SIZE];
        static _Thread_local unsigned turn;
        const unsigned char *at = (const unsigned char *)text;
        const unsigned char *end = at;
        bool plain = true;
        char *start, *to;

        if (text == NULL)
                return "-";
        start = to = buffers[turn++ % QUOTE_BUFFERS];
        *to++ = '"';
        while (*end != '\0') {
                size_t len = *end < 0x80 ? 1 : utf8_len(end);
                size_t step = len > 0 ? len : 1;

                if ((size_t)(end - at) + step > QUOTE_KEPT)
                        break;
                if (*end == '"' || *end == '\\') {
                        *to++ = '\\';
                        *to++ = (char)*end;
                        plain = false;
                } else if (len == 0 || *end < ' ' || *end == 0x7f) {
                        to += snprintf(to, 5, "\\x%02x", *end);
                        plain = false;
                } else {
                        memcpy(to, end, step);
                        to += step;
                        plain = plain && (step > 1 || is_plain(*end));
                }
                end += step;
        }
        if (*end != '\0') {
                memcpy(to, "...", 3);
                to += 3;
        }
        if (plain && end != at) {
                *to = '\0';
                return start + 1;
        }
        *to++ = '"';
        *to = '\0';
        return start;
}
