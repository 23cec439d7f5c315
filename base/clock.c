/* base/clock.c -- reads the two clocks, and turns times into text and back. The calendar is the
 * proleptic Gregorian one in UTC; time zones exist only as the numeric offsets of RFC 3339. */
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

#include "base/check.h"

#define MS_PER_DAY      INT64_C(86400000)
#define WALL_MS_MAX     INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define DURATION_MS_MAX (366 * MS_PER_DAY)

static struct timespec read_clock(clockid_t id)
{
        struct timespec ts;

        check(clock_gettime(id, &ts) == 0);
        return ts;
}

int64_t clock_wall_ms(void)
{
        struct timespec ts = read_clock(CLOCK_REALTIME);

        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t clock_mono_ms(void)
{
        return clock_mono_us() / 1000;
}

uint64_t clock_mono_us(void)
{
        struct timespec ts = read_clock(CLOCK_MONOTONIC);

        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* --- calendar ------------------------------------------------------------------------------- */

struct date {
        int year, month, day; /* month and day from 1 */
};

static bool is_leap(int year)
{
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
        static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

        return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to January 1 of `year`, which is 1 or later. */
static int64_t days_to_year(int year)
{
        int64_t y = year - 1; /* whole years since 0001-01-01, which is 719162 days before 1970 */

        return 365 * y + y / 4 - y / 100 + y / 400 - 719162;
}

static int64_t days_to_date(struct date date)
{
        int64_t days = days_to_year(date.year);

        for (int month = 1; month < date.month; month++)
                days += days_in_month(date.year, month);
        return days + date.day - 1;
}

static struct date date_of_days(int64_t days) /* days >= 0 */
{
        struct date date = { .year = 1970 + (int)(days / 366), .month = 1 };

        /* Dividing by the longest year never overshoots; at most some years are missing. */
        while (days_to_year(date.year + 1) <= days)
                date.year++;
        days -= days_to_year(date.year);
        while (days >= days_in_month(date.year, date.month))
                days -= days_in_month(date.year, date.month++);
        date.day = (int)days + 1;
        return date;
}

/* --- RFC 3339 ------------------------------------------------------------------------------- */

static char *put_digits(char *at, int64_t value, int width)
{
        for (int i = width - 1; i >= 0; i--, value /= 10)
                at[i] = (char)('0' + value % 10);
        return at + width;
}

void clock_format_rfc3339(int64_t wall_ms, char text[CLOCK_RFC3339_SIZE])
{
        /* What four digits of a year cannot say is shown as the nearest time that they can. */
        int64_t ms = wall_ms < 0 ? 0 : wall_ms > WALL_MS_MAX ? WALL_MS_MAX : wall_ms;
        struct date date = date_of_days(ms / MS_PER_DAY);
        char *at = put_digits(text, date.year, 4);

        ms %= MS_PER_DAY;
        *at++ = '-';
        at = put_digits(at, date.month, 2);
        *at++ = '-';
        at = put_digits(at, date.day, 2);
        *at++ = 'T';
        at = put_digits(at, ms / 3600000, 2);
        *at++ = ':';
        at = put_digits(at, ms / 60000 % 60, 2);
        *at++ = ':';
        at = put_digits(at, ms / 1000 % 60, 2);
        *at++ = '.';
        at = put_digits(at, ms % 1000, 3);
        *at++ = 'Z';
        *at = '\0';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool take_char(const char **at, char c)
{
        if (**at != c)
                return false;
        (*at)++;
        return true;
}

/* Exactly `width` digits whose value lies within min..max. */
static bool take_number(const char **at, int width, int min, int max, int *ret_value)
{
        int value = 0;

        for (int i = 0; i < width; i++) {
                if (!is_digit((*at)[i]))
                        return false;
                value = value * 10 + ((*at)[i] - '0');
        }
        if (value < min || value > max)
                return false;
        *at += width;
        *ret_value = value;
        return true;
}

/* Optional decimals; what is finer than a millisecond is cut. */
static bool take_fraction(const char **at, int *ret_ms)
{
        int ms = 0, weight = 100;

        if (take_char(at, '.')) {
                if (!is_digit(**at))
                        return false;
                for (; is_digit(**at); (*at)++, weight /= 10)
                        ms += (**at - '0') * weight;
        }
        *ret_ms = ms;
        return true;
}

static bool take_offset(const char **at, int *ret_minutes)
{
        int sign, hours, minutes;

        if (take_char(at, 'Z') || take_char(at, 'z')) {
                *ret_minutes = 0;
                return true;
        }
        if (take_char(at, '+'))
                sign = 1;
        else if (take_char(at, '-'))
                sign = -1;
        else
                return false;
        if (!take_number(at, 2, 0, 23, &hours) || !take_char(at, ':') ||
            !take_number(at, 2, 0, 59, &minutes))
                return false;
        *ret_minutes = sign * (hours * 60 + minutes);
        return true;
}

int clock_parse_rfc3339(const char *text, int64_t *ret_wall_ms)
{
        struct date date;
        int hour, minute, second, ms, offset;

        if (!take_number(&text, 4, 1, 9999, &date.year) || !take_char(&text, '-') ||
            !take_number(&text, 2, 1, 12, &date.month) || !take_char(&text, '-') ||
            !take_number(&text, 2, 1, days_in_month(date.year, date.month), &date.day))
                return -1;
        /* RFC 3339 5.6: T and Z may be written small. */
        if (!take_char(&text, 'T') && !take_char(&text, 't'))
                return -1;
        if (!take_number(&text, 2, 0, 23, &hour) || !take_char(&text, ':') ||
            !take_number(&text, 2, 0, 59, &minute) || !take_char(&text, ':') ||
            !take_number(&text, 2, 0, 60, &second) || !take_fraction(&text, &ms) ||
            !take_offset(&text, &offset) || *text != '\0')
                return -1;

        int64_t minutes = days_to_date(date) * 1440 + hour * 60 + minute - offset;
        int64_t wall_ms = (minutes * 60 + second) * 1000 + ms;

        if (minutes < 0 || wall_ms > WALL_MS_MAX)
                return -1;
        /* RFC 3339 5.7: a leap second is the last of a month in UTC. Unix time has no number for
         * it, so it counts as the first second of the next. */
        if (second == 60 &&
            ((minutes + 1) % 1440 != 0 || date_of_days((minutes + 1) / 1440).day != 1))
                return -1;
        *ret_wall_ms = wall_ms;
        return 0;
}

/* --- durations ------------------------------------------------------------------------------ */

int clock_parse_duration(const char *text, int64_t *ret_ms)
{
        static const struct {
                const char *name;
                int64_t ms;
        } units[] = {
                /* largest first, the order in which they must come; "ms" is tried before "m" */
                { "d", MS_PER_DAY },
                { "h", 3600000 },
                { "ms", 1 },
                { "m", 60000 },
                { "s", 1000 }
        };
        int64_t total = 0, last_ms = INT64_MAX;

        do {
                int64_t number = 0, unit_ms = 0;

                if (!is_digit(*text))
                        return -1;
                for (; is_digit(*text); text++) {
                        number = number * 10 + (*text - '0');
                        if (number > DURATION_MS_MAX)
                                return -1;
                }
                for (size_t i = 0; i < countof(units) && unit_ms == 0; i++) {
                        const char *at = text;

                        if (take_char(&at, units[i].name[0]) &&
                            (units[i].name[1] == '\0' || take_char(&at, units[i].name[1]))) {
                                unit_ms = units[i].ms;
                                text = at;
                        }
                }
                /* Each unit once, larger before smaller: "30m1h" is more likely a slip than a wish.
                 */
                if (unit_ms == 0 || unit_ms >= last_ms ||
                    number > (DURATION_MS_MAX - total) / unit_ms)
                        return -1;
                total += number * unit_ms;
                last_ms = unit_ms;
        } while (*text != '\0');
        *ret_ms = total;
        return 0;
}
