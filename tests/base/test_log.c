/* Log lines: their shape, their levels, and that text from outside cannot break them. */
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/log.h"
#include "capture.h"

static bool matches(const char *text, const char *pattern)
{
        regex_t regex;
        bool found;

        check(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0);
        found = regexec(&regex, text, 0, NULL, 0) == 0;
        regfree(&regex);
        return found;
}

#define TIME "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

Test(log, a_line_is_time_level_id_and_pairs)
{
        struct capture capture = capture_begin(STDERR_FILENO);
        char *text;

        log_info("NODE-READY", "node=%s devices=%d", "a1", 7);
        text = capture_end(&capture);
        cr_assert(matches(text, TIME "info NODE-READY node=a1 devices=7\n$"), "%s", text);
        free(text);
}

Test(log, a_line_without_pairs_has_no_blank_at_its_end)
{
        struct capture capture = capture_begin(STDERR_FILENO);
        char *text;

        log_error("NODE-GONE", "%s", "");
        text = capture_end(&capture);
        cr_assert(matches(text, TIME "error NODE-GONE\n$"), "%s", text);
        free(text);
}

static char *all_levels(void)
{
        struct capture capture = capture_begin(STDERR_FILENO);

        log_debug("D", "x=1");
        log_info("I", "x=1");
        log_warn("W", "x=1");
        log_error("E", "x=1");
        return capture_end(&capture);
}

static void expect_levels(const char *pattern)
{
        char *text = all_levels();

        cr_assert(matches(text, pattern), "%s: %s", pattern, text);
        free(text);
}

Test(log, shows_info_and_above_at_first)
{
        unsetenv("KICKOFF_LOG");
        expect_levels("^[^\n]* I x=1\n[^\n]* W x=1\n[^\n]* E x=1\n$");
}

Test(log, level_comes_from_the_environment)
{
        setenv("KICKOFF_LOG", "error", 1);
        expect_levels("^[^\n]* E x=1\n$");
}

Test(log, unknown_level_in_the_environment_is_info)
{
        setenv("KICKOFF_LOG", "loud", 1);
        expect_levels("^[^\n]* I x=1\n[^\n]* W x=1\n[^\n]* E x=1\n$");
}

Test(log, level_that_is_set_wins_over_the_environment)
{
        setenv("KICKOFF_LOG", "error", 1);
        log_set_level(LOG_DEBUG);
        expect_levels("^[^\n]* D x=1\n[^\n]* I x=1\n[^\n]* W x=1\n[^\n]* E x=1\n$");
        log_set_level(LOG_WARN);
        expect_levels("^[^\n]* W x=1\n[^\n]* E x=1\n$");
}

Test(log, stays_one_line_whatever_slips_in)
{
        struct capture capture = capture_begin(STDERR_FILENO);
        char *text;

        log_warn("ODD", "x=%s", "a\nb\r\033[31mc\177");
        text = capture_end(&capture);
        cr_assert(matches(text, TIME "warn ODD x=a\\?b\\?\\?\\[31mc\\?\n$"), "%s", text);
        free(text);
}

Test(log, cuts_a_line_that_a_pipe_would_not_take_whole)
{
        for (int len = 3900; len < 4300; len++) {
                struct capture capture = capture_begin(STDERR_FILENO);
                char *text;
                size_t total;

                log_info("LONG", "x=%0*d", len, 0);
                text = capture_end(&capture);
                total = strlen(text);
                cr_assert(le(sz, total, 4096));
                cr_assert(eq(chr, text[total - 1], '\n'));
                if (strcmp(text + total - 4, "...\n") != 0)
                        cr_assert(eq(sz, strcspn(strchr(text, '='), "\n"), (size_t)len + 1));
                else
                        cr_assert(ge(sz, total, 4090), "cut only as much as it must");
                free(text);
        }
}

#define WRITERS      4
#define LINES_OF_ONE 500

static void *write_lines(void *arg)
{
        for (int i = 0; i < LINES_OF_ONE; i++)
                log_info("LINE", "writer=%s text=%s", (const char *)arg, log_quote("two words"));
        return NULL;
}

Test(log, lines_of_threads_never_mix)
{
        struct capture capture = capture_begin(STDERR_FILENO);
        static const char *const names[WRITERS] = { "a", "b", "c", "d" };
        pthread_t threads[WRITERS];
        unsigned lines = 0;
        char *text, *rest;

        for (int i = 0; i < WRITERS; i++)
                pthread_create(&threads[i], NULL, write_lines, (void *)names[i]);
        for (int i = 0; i < WRITERS; i++)
                pthread_join(threads[i], NULL);
        text = rest = capture_end(&capture);
        for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0'; lines++)
                cr_assert(matches(line, TIME "info LINE writer=[a-d] text=\"two words\"$"), "%s",
                          line);
        cr_assert(eq(uint, lines, WRITERS * LINES_OF_ONE));
        free(text);
}

static const struct {
        const char *text, *quoted;
} quotes[] = {
        { NULL, "-" },
        { "", "\"\"" },
        { "plain", "plain" },
        { "a-b_c/d:8080", "a-b_c/d:8080" },
        { "two words", "\"two words\"" },
        { "a=b", "\"a=b\"" },
        { "say \"hi\"", "\"say \\\"hi\\\"\"" },
        { "back\\slash", "\"back\\\\slash\"" },
        { "line\nbreak\t\177", "\"line\\x0abreak\\x09\\x7f\"" },
        { "\033[2J", "\"\\x1b[2J\"" },
        { "Grüße", "Grüße" },
        { "日本", "日本" },
        { "\xf0\x9f\x8e\x89", "\xf0\x9f\x8e\x89" },
        { "\xc2\x9b"
          "31m",
          "\"\\xc2\\x9b31m\"" }, /* a control in UTF-8 */
        { "\xff\xfe", "\"\\xff\\xfe\"" },
        { "\xc0\xaf", "\"\\xc0\\xaf\"" },                   /* overlong */
        { "\xed\xa0\x80", "\"\\xed\\xa0\\x80\"" },          /* surrogate */
        { "\xe6\x97", "\"\\xe6\\x97\"" },                   /* cut */
        { "\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\"" }, /* beyond U+10FFFF */
};

Test(log, quotes_what_came_from_outside)
{
        for (size_t i = 0; i < countof(quotes); i++)
                cr_assert(eq(str, (char *)log_quote(quotes[i].text), (char *)quotes[i].quoted));
}

Test(log, keeps_two_hundred_bytes_of_a_quoted_text)
{
        char text[402], expected[206];

        memset(text, 'x', sizeof(text));
        memset(expected, 'x', sizeof(expected));
        text[200] = '\0';
        cr_assert(eq(str, (char *)log_quote(text), text));
        text[200] = 'x';
        text[201] = '\0';
        strcpy(expected + 200, "...");
        cr_assert(eq(str, (char *)log_quote(text), expected));

        /* A character that would be cut in two goes whole. */
        strcpy(text + 199, "ü");
        strcpy(expected + 199, "...");
        cr_assert(eq(str, (char *)log_quote(text), expected));

        memset(text, 1, sizeof(text));
        text[sizeof(text) - 1] = '\0';
        cr_assert(eq(sz, strlen(log_quote(text)), 2 + 4 * 200 + 3));
}

Test(log, four_quoted_texts_fit_in_one_line)
{
        const char *a = log_quote("1 1"), *b = log_quote("2 2"), *c = log_quote("3 3");
        const char *d = log_quote("4 4");

        cr_assert(eq(str, (char *)a, "\"1 1\""));
        cr_assert(eq(str, (char *)b, "\"2 2\""));
        cr_assert(eq(str, (char *)c, "\"3 3\""));
        cr_assert(eq(str, (char *)d, "\"4 4\""));
}
