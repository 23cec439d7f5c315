/* Times and durations as text, and back. */
#include <time.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/clock.h"

static const struct {
        const char *text;
        int64_t ms;
} times[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01T00:00:00.001Z", 1 },
        { "2000-02-29T12:00:00Z", 951825600000 },
        { "2024-02-29T00:00:00Z", 1709164800000 },
        { "2400-02-29T00:00:00Z", 13574563200000 },
        { "2026-11-23T20:00:00Z", 1795464000000 },
        { "2026-11-23t20:00:00z", 1795464000000 },
        { "2026-11-23T20:00:00.5Z", 1795464000500 },
        { "2026-11-23T20:00:00.05Z", 1795464000050 },
        { "2026-11-23T20:00:00.123999999999999999999Z", 1795464000123 },
        { "2026-11-23T20:00:00-00:00", 1795464000000 },
        { "2026-11-23T21:30:00+01:30", 1795464000000 },
        { "2026-11-23T12:00:00-08:00", 1795464000000 },
        { "2026-11-24T19:59:00+23:59", 1795464000000 },
        { "1969-12-31T23:30:00-01:00", 1800000 }, /* the year counts in UTC */
        { "9999-12-31T23:59:59.999Z", 253402300799999 },
        /* RFC 3339 5.8: the same leap second in two places */
        { "1990-12-31T23:59:60Z", 662688000000 },
        { "1990-12-31T15:59:60-08:00", 662688000000 },
};

Test(clock, reads_rfc3339)
{
        for (size_t i = 0; i < countof(times); i++) {
                int64_t ms = -7;

                cr_assert(eq(int, clock_parse_rfc3339(times[i].text, &ms), 0), "%s", times[i].text);
                cr_assert(eq(i64, ms, times[i].ms), "%s", times[i].text);
        }
}

static const char *const not_times[] = {
        "", "Z", "now", "0", "1795464000000", "2026-11-23", "2026-11-23T20:00:00",
        "2026-11-23T20:00:00.Z", "2026-11-23T20:00Z", "2026-11-23 20:00:00Z",
        " 2026-11-23T20:00:00Z", "2026-11-23T20:00:00Z ", "2026-11-23T20:00:00ZZ",
        "2026-11-23T20:00:00,5Z", "2026-11-23T20:00:00.5", "2026-11-23T20:00:00.-5Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z", "2026-04-31T00:00:00Z", "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2024-02-30T00:00:00Z",
        "2026-11-23T24:00:00Z", "2026-11-23T20:60:00Z", "2026-11-23T20:00:61Z",
        "2026-11-23T20:00:60Z", "2026-11-23T23:59:60Z", /* leap seconds end a month */
        "2026-11-23T20:00:00+24:00", "2026-11-23T20:00:00+01:60", "2026-11-23T20:00:00+0100",
        "2026-11-23T20:00:00+01", "2026-11-23T20:00:00+1:00", "2026-11-23T20:00:00 +01:00",
        "1969-12-31T23:59:59Z", "1970-01-01T00:59:00+01:00", "9999-12-31T23:00:00-01:00",
        "9999-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z", "26-11-23T20:00:00Z", "+2026-11-23T20:00:00Z",
        "-026-11-23T20:00:00Z", "2026-1-23T20:00:00Z", "2026/11/23T20:00:00Z",
};

Test(clock, refuses_what_is_not_a_time_and_leaves_the_result_alone)
{
        for (size_t i = 0; i < countof(not_times); i++) {
                int64_t ms = -7;

                cr_assert(eq(int, clock_parse_rfc3339(not_times[i], &ms), -1), "'%s'", not_times[i]);
                cr_assert(eq(i64, ms, -7), "'%s'", not_times[i]);
        }
}

Test(clock, refuses_every_beginning_of_a_time)
{
        static const char whole[] = "2026-11-23T20:00:00.123+01:00";

        for (size_t len = 0; len < sizeof(whole) - 1; len++) {
                char text[sizeof(whole)];
                int64_t ms;

                memcpy(text, whole, len);
                text[len] = '\0';
                cr_assert(eq(int, clock_parse_rfc3339(text, &ms), -1), "'%s'", text);
        }
}

/* glibc's calendar is the second opinion: every 11th day of eight thousand years, at odd hours. */
Test(clock, agrees_with_the_c_library_on_every_date)
{
        for (int64_t s = 0; s < 253402300800; s += 11 * 86400 + 3601) {
                time_t when = (time_t)s;
                char expected[32], text[CLOCK_RFC3339_SIZE];
                int64_t ms;
                struct tm tm;

                strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.789Z", gmtime_r(&when, &tm));
                clock_format_rfc3339(s * 1000 + 789, text);
                cr_assert(eq(str, text, expected));
                cr_assert(eq(int, clock_parse_rfc3339(text, &ms), 0));
                cr_assert(eq(i64, ms, s * 1000 + 789));
        }
}

Test(clock, writes_the_nearest_time_that_four_digits_can_say)
{
        char text[CLOCK_RFC3339_SIZE];

        clock_format_rfc3339(-1, text);
        cr_assert(eq(str, text, "1970-01-01T00:00:00.000Z"));
        clock_format_rfc3339(INT64_MIN, text);
        cr_assert(eq(str, text, "1970-01-01T00:00:00.000Z"));
        clock_format_rfc3339(INT64_MAX, text);
        cr_assert(eq(str, text, "9999-12-31T23:59:59.999Z"));
}

static const struct {
        const char *text;
        int64_t ms;
} durations[] = {
        { "0s", 0 },           { "1ms", 1 },           { "250ms", 250 },      { "2s", 2000 },
        { "90s", 90000 },      { "15m", 900000 },      { "1h", 3600000 },     { "1h30m", 5400000 },
        { "1m90s", 150000 },   { "1s500ms", 1500 },    { "2d", 172800000 },   { "007s", 7000 },
        { "1d2h3m4s5ms", 93784005 },                   { "366d", 31622400000 },
        { "365d24h", 31622400000 },                    { "31622400000ms", 31622400000 },
};

Test(clock, reads_durations)
{
        for (size_t i = 0; i < countof(durations); i++) {
                int64_t ms = -7;

                cr_assert(eq(int, clock_parse_duration(durations[i].text, &ms), 0), "%s",
                          durations[i].text);
                cr_assert(eq(i64, ms, durations[i].ms), "%s", durations[i].text);
        }
}

static const char *const not_durations[] = {
        "",       "5",     "s",      "5x",      "5S",    "5 s",    " 5s",     "5s ",   "-5s",
        "+5s",    "1.5h",  "5min",   "5sec",    "30m1h", "1h1h",   "5s5s",    "1h30",  "h1",
        "367d",   "366d1ms", "31622400001ms",   "99999999999999999999999999s", "0x5s", "5ss",
        "18446744073709551616ms", "9223372036854775808s", "1w", "5m s", "--", "\xff",
};

Test(clock, refuses_what_is_not_a_duration_and_leaves_the_result_alone)
{
        for (size_t i = 0; i < countof(not_durations); i++) {
                int64_t ms = -7;

                cr_assert(eq(int, clock_parse_duration(not_durations[i], &ms), -1), "'%s'",
                          not_durations[i]);
                cr_assert(eq(i64, ms, -7), "'%s'", not_durations[i]);
        }
}

Test(clock, monotonic_time_never_goes_back)
{
        uint64_t last_us = clock_mono_us(), last_ms = clock_mono_ms();

        for (int i = 0; i < 10000; i++) {
                uint64_t us = clock_mono_us(), ms = clock_mono_ms();

                cr_assert(us >= last_us && ms >= last_ms && ms >= us / 1000);
                last_us = us;
                last_ms = ms;
        }
}

Test(clock, wall_time_is_unix_time)
{
        int64_t before = (int64_t)time(NULL), now = clock_wall_ms() / 1000;

        /* time(2) may lag the precise clock by a tick of the kernel. */
        cr_assert(now >= before && now <= (int64_t)time(NULL) + 1);
}
