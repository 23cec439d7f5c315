/* producer/cli/when.c -- see when.h. */
#include "producer/cli/when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* Exactly `format` and nothing behind it. */
static bool matches(const char *text, const char *format, struct tm *tm)
{
        const char *end = strptime(text, format, tm);

        return end != NULL && *end == '\0';
}

static bool read_clock(const char *text, const char *prefix, struct tm *tm)
{
        static const char *const clocks[] = { "%H:%M:%S", "%H:%M" };
        char format[32];
        struct tm fresh = *tm;

        for (size_t i = 0; i < countof(clocks); i++) {
                *tm = fresh;
                tm->tm_sec = 0;
                snprintf(format, sizeof(format), "%s%s", prefix, clocks[i]);
                if (matches(text, format, tm))
                        return true;
        }
        return false;
}

/* strptime takes fewer digits and blanks than we want to guess about. */
static bool is_tidy(const char *text)
{
        size_t len = strlen(text);
        const char *clock = len >= 16 ? text + 11 : text;

        return strspn(text, "0123456789:-T ") == len && strlen(clock) >= 5 && clock[2] == ':';
}

bool when_parse(const char *text, int64_t now_ms, int64_t *ret_ms)
{
        time_t now = (time_t)(now_ms / 1000);
        struct tm tm;

        if (clock_parse_rfc3339(text, ret_ms) == 0)
                return true;
        if (!is_tidy(text) || localtime_r(&now, &tm) == NULL)
                return false;

        struct tm today = tm;
        bool has_date = read_clock(text, "%Y-%m-%dT", &tm) || read_clock(text, "%Y-%m-%d ", &tm);

        if (!has_date) {
                tm = today;
                if (!read_clock(text, "", &tm))
                        return false;
        }
        tm.tm_isdst = -1;

        struct tm tomorrow = tm;
        time_t at = mktime(&tm);

        if (!has_date && at < now) {
                tomorrow.tm_mday++;
                at = mktime(&tomorrow);
        }
        if (at == (time_t)-1)
                return false;
        *ret_ms = (int64_t)at * 1000;
        return true;
}

bool when_accepts(const char *text, const char **ret_why)
{
        int64_t unused_ms;

        *ret_why = "not a time: use 20:00, \"2026-11-23 20:00\" or 2026-11-23T20:00:00Z";
        return when_parse(text, 1790000000000, &unused_ms);
}

void when_relative(int64_t ms, int64_t now_ms, struct buf *out)
{
        bool past = ms < now_ms;
        int64_t s = ((past ? now_ms - ms : ms - now_ms) + 500) / 1000;

        if (s == 0) {
                buf_str(out, "now");
                return;
        }
        if (!past)
                buf_str(out, "in ");
        if (s < 120)
                buf_printf(out, "%lld s", (long long)s);
        else if (s < 2 * 3600)
                buf_printf(out, "%lld min", (long long)(s + 30) / 60);
        else if (s < 2 * 86400 && (s + 30) / 60 % 60 != 0)
                buf_printf(out, "%lld h %lld min", (long long)(s + 30) / 3600,
                           (long long)(s + 30) / 60 % 60);
        else if (s < 2 * 86400)
                buf_printf(out, "%lld h", (long long)(s + 30) / 3600);
        else
                buf_printf(out, "%lld days", (long long)(s + 43200) / 86400);
        if (past)
                buf_str(out, " ago");
}

void when_show(int64_t ms, int64_t now_ms, struct buf *out)
{
        time_t at = (time_t)(ms / 1000), now = (time_t)(now_ms / 1000);
        struct tm tm, today;
        char text[32];
        bool is_today;

        if (localtime_r(&at, &tm) == NULL || localtime_r(&now, &today) == NULL)
                return;
        is_today = tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday;
        if (is_today)
                strftime(text, sizeof(text), "%H:%M:%S", &tm);
        else
                strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
        buf_printf(out, "%s (", text);
        when_relative(ms, now_ms, out);
        buf_char(out, ')');
}

void when_duration(int64_t span_ms, struct buf *out)
{
        static const struct {
                const char *name;
                int64_t ms;
        } units[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
        size_t before = out->len;

        for (size_t i = 0; i < countof(units); i++) {
                if (span_ms >= units[i].ms)
                        buf_printf(out, "%lld%s", (long long)(span_ms / units[i].ms),
                                   units[i].name);
                span_ms %= units[i].ms;
        }
        if (out->len == before)
                buf_str(out, "0s");
}
