/* Options as people use and misuse them. */
#include <signal.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/buf.h"
#include "base/option.h"
#include "capture.h"

static const char *listen_at, *redis;
static int64_t workers, ping_ms, offset;
static bool quiet;

static bool is_redis_url(const char *text, const char **ret_why)
{
        if (strncmp(text, "redis://", 8) == 0)
                return true;
        *ret_why = "not a URL that begins with redis://";
        return false;
}

static const struct option rows[] = {
        { "listen", OPTION_TEXT, &listen_at, "0.0.0.0:8080", 0, 0, "HOST:PORT",
          "Where devices connect, with a sentence that is long enough to be wrapped twice because "
          "it goes on and on.",
          NULL },
        { "redis-url", OPTION_TEXT, &redis, NULL, 0, 0, "URL", "Where the log is kept.",
          is_redis_url },
        { "workers", OPTION_NUMBER, &workers, NULL, 1, 64, "N", "Threads that serve devices.",
          NULL },
        { "ping", OPTION_DURATION, &ping_ms, "50s", 1000, 3600000, "TIME", "How often to ask.",
          NULL },
        { "offset", OPTION_NUMBER, &offset, "-5", INT64_MIN, INT64_MAX, NULL, "Any number.", NULL },
        { "quiet", OPTION_FLAG, &quiet, NULL, 0, 0, NULL, "Say less.", NULL },
};

static struct option_program program = {
        .name = "kickoffd",
        .summary = "Tells devices.",
        .usage = "kickoffd [OPTION]...",
        .epilogue = "Example:\n  kickoffd --workers 2",
        .options = rows,
        .n = countof(rows),
};

#define ARGUMENTS_MAX 16

/* Texts stay for the whole test, since options point into them. */
static char *kept[1024];
static unsigned kept_n;

static char *keep(char *text)
{
        check(kept_n < countof(kept));
        return kept[kept_n++] = text;
}

static void free_kept(void)
{
        while (kept_n > 0)
                free(kept[--kept_n]);
}

struct run {
        enum option_result result;
        int argc, first;
        char *argv[ARGUMENTS_MAX];
        char *said, *printed;
};

/* `line` is cut at blanks. */
static struct run run_line_(const char *line, bool stop_at_operand)
{
        struct run run = { .first = -1 };
        char *rest = keep(strdup(line));
        struct capture out, err;

        run.argv[run.argc++] = (char *)"kickoffd";
        for (char *word; (word = strsep(&rest, " ")) != NULL;) {
                if (*word != '\0')
                        run.argv[run.argc++] = word;
        }
        out = capture_begin(STDOUT_FILENO);
        err = capture_begin(STDERR_FILENO);
        run.result = option_parse(&program, run.argc, run.argv, stop_at_operand, &run.first);
        run.said = keep(capture_end(&err));
        run.printed = keep(capture_end(&out));
        return run;
}

static struct run run_line(const char *line)
{
        return run_line_(line, false);
}

static void expect_run(const char *line)
{
        struct run run = run_line(line);

        cr_assert(eq(int, run.result, OPTION_RUN), "%s: %s", line, run.said);
        cr_assert(eq(str, run.said, ""));
        cr_assert(eq(str, run.printed, ""));
}

/* All of `parts`, one a line, are in what was said. */
static void expect_wrong(const char *line, const char *parts)
{
        struct run run = run_line(line);
        char *rest = keep(strdup(parts));

        cr_assert(eq(int, run.result, OPTION_WRONG), "%s", line);
        cr_assert(eq(int, run.first, -1), "the result is untouched");
        cr_assert(eq(str, run.printed, ""));
        cr_assert(strncmp(run.said, "kickoffd: ", 10) == 0);
        for (char *part; (part = strsep(&rest, "\n")) != NULL;)
                cr_assert(strstr(run.said, part) != NULL, "%s: '%s' is not in\n%s", line, part,
                          run.said);
}

static void forget_environment(void)
{
        static const char *const names[] = { "KICKOFF_LISTEN",  "KICKOFF_REDIS_URL",
                                             "KICKOFF_WORKERS", "KICKOFF_PING",
                                             "KICKOFF_OFFSET",  "KICKOFF_QUIET" };

        for (size_t i = 0; i < countof(names); i++)
                unsetenv(names[i]);
}

TestSuite(option, .init = forget_environment, .fini = free_kept);

Test(option, defaults_hold_without_arguments)
{
        listen_at = redis = "old";
        quiet = true;
        expect_run("");
        cr_assert(eq(str, (char *)listen_at, "0.0.0.0:8080"));
        cr_assert(eq(ptr, (void *)redis, NULL));
        cr_assert(eq(i64, workers, 1), "a number without default is its lowest");
        cr_assert(eq(i64, ping_ms, 50000));
        cr_assert(eq(i64, offset, -5));
        cr_assert(not(quiet));
}

Test(option, values_may_follow_or_be_joined)
{
        expect_run("--listen a:1 --redis-url=redis://h/?x=y --workers=7 --ping 2m --quiet");
        cr_assert(eq(str, (char *)listen_at, "a:1"));
        cr_assert(eq(str, (char *)redis, "redis://h/?x=y"));
        cr_assert(eq(i64, workers, 7));
        cr_assert(eq(i64, ping_ms, 120000));
        cr_assert(quiet);
        expect_run("--offset -3 --listen - --listen=");
        cr_assert(eq(i64, offset, -3));
        cr_assert(eq(str, (char *)listen_at, ""), "the last one wins, and may be empty");
}

Test(option, limits_hold_at_the_limit_and_one_past_it)
{
        expect_run("--workers 1");
        cr_assert(eq(i64, workers, 1));
        expect_run("--workers 64");
        cr_assert(eq(i64, workers, 64));
        expect_wrong("--workers 0",
                     "--workers 0: less than 1.\nfrom 1 to 64\nfor example: --workers 10");
        expect_wrong("--workers 65", "--workers 65: more than 64.\nfrom 1 to 64");
        expect_wrong("--workers 18446744073709551617", "more than 64."); /* 2^64 + 1 */
        expect_wrong("--workers -18446744073709551615", "less than 1.");
        expect_run("--ping 1s");
        cr_assert(eq(i64, ping_ms, 1000));
        expect_run("--ping 1h");
        cr_assert(eq(i64, ping_ms, 3600000));
        expect_wrong("--ping 999ms", "--ping 999ms: less than 1s.\nfor example: --ping 50s");
        expect_wrong("--ping 3600001ms", "--ping 3600001ms: more than 1h.");
        expect_run("--offset 9223372036854775807");
        cr_assert(eq(i64, offset, INT64_MAX));
        expect_run("--offset -9223372036854775808");
        cr_assert(eq(i64, offset, INT64_MIN));
        expect_wrong("--offset 9223372036854775808", "more than 9223372036854775807.");
        expect_wrong("--offset -9223372036854775809", "less than -9223372036854775808.");
}

Test(option, a_wrong_value_is_told_what_is_accepted_with_an_example)
{
        static const char *const not_numbers[] = {
                "x", "1x", "-", "+1", "0x1", "1.5", "1e3", "--1"
        };

        for (size_t i = 0; i < countof(not_numbers); i++) {
                char line[64];

                snprintf(line, sizeof(line), "--workers=%s", not_numbers[i]);
                expect_wrong(
                    line,
                    ": not a number.\na whole number, from 1 to 64\nAll options: kickoffd --help");
        }
        expect_wrong("--workers=", "not a number.");
        expect_wrong("--ping 50", "--ping 50: not a duration.\n(ms, s, m, h, d), from 1s to 1h");
        expect_wrong("--redis-url http://x",
                     "--redis-url http://x: not a URL that begins with redis://.\n"
                     "It takes URL");
}

Test(option, a_missing_value_is_told)
{
        expect_wrong("--ping", "--ping needs a value.\nfor example: --ping 50s");
        expect_wrong("--listen --quiet", "--listen needs a value.\nHOST:PORT\n0.0.0.0:8080");
        expect_wrong("--quiet=1", "--quiet takes no value");
}

Test(option, a_wrong_option_is_told_the_closest_one)
{
        expect_wrong("--wrokers 3", "there is no option --wrokers.\nDid you mean --workers?");
        expect_wrong("--pign=3s", "Did you mean --ping?");
        expect_wrong("--redis=3s", "Did you mean --redis-url?");
        expect_wrong("--work", "Did you mean --workers?");
        expect_wrong("--quite", "Did you mean --quiet?");
        expect_wrong("-listen x", "Did you mean --listen?");
        expect_wrong("--halp", "Did you mean --help?");
        expect_wrong("--LISTEN x", "there is no option --LISTEN.");
}

Test(option, nothing_is_suggested_for_another_word_altogether)
{
        static const char *const lines[] = {
                "--zzzzzz", "-x",   "---",
                "-=",       "--=5", "--a-name-that-is-longer-than-any-option-can-ever-be-by-far",
        };

        for (size_t i = 0; i < countof(lines); i++) {
                struct run run = run_line(lines[i]);

                cr_assert(eq(int, run.result, OPTION_WRONG), "%s", lines[i]);
                cr_assert(strstr(run.said, "Did you mean") == NULL, "%s: %s", lines[i], run.said);
        }
}

Test(option, a_hostile_argument_cannot_play_with_the_terminal)
{
        struct run run = run_line("--\033[2J");

        cr_assert(eq(int, run.result, OPTION_WRONG));
        cr_assert(strchr(run.said, '\033') == NULL);
        run = run_line("--workers=\033[2J");
        cr_assert(strchr(run.said, '\033') == NULL);
}

Test(option, environment_stands_in_for_what_the_line_leaves_out)
{
        setenv("KICKOFF_PING", "3s", 1);
        setenv("KICKOFF_WORKERS", "9", 1);
        setenv("KICKOFF_REDIS_URL", "redis://env", 1);
        setenv("KICKOFF_QUIET", "yes", 1);
        setenv("KICKOFF_LISTEN", "", 1);
        expect_run("--workers 4");
        cr_assert(eq(i64, ping_ms, 3000));
        cr_assert(eq(i64, workers, 4), "the command line wins");
        cr_assert(eq(str, (char *)redis, "redis://env"));
        cr_assert(quiet);
        cr_assert(eq(str, (char *)listen_at, "0.0.0.0:8080"), "empty counts as not set");
}

Test(option, environment_is_held_to_the_same_limits)
{
        setenv("KICKOFF_WORKERS", "65", 1);
        expect_wrong("", "KICKOFF_WORKERS=65: more than 64.\nfor example: KICKOFF_WORKERS=10");
        expect_run("--workers 4"); /* what does not count is not looked at */
        setenv("KICKOFF_WORKERS", "4", 1);
        setenv("KICKOFF_QUIET", "perhaps", 1);
        expect_wrong("",
                     "KICKOFF_QUIET=perhaps: neither yes nor no.\nfor example: KICKOFF_QUIET=yes");
}

Test(option, flags_in_the_environment_are_yes_or_no)
{
        static const char *const words[] = { "yes", "no", "1", "0", "true", "false", "on", "off" };

        for (size_t i = 0; i < countof(words); i++) {
                setenv("KICKOFF_QUIET", words[i], 1);
                expect_run("");
                cr_assert(eq(int, quiet, i % 2 == 0), "%s", words[i]);
        }
}

Test(option, a_program_may_refuse_the_environment)
{
        setenv("KICKOFF_WORKERS", "65", 1);
        program.no_environment = true;
        expect_run("");
        cr_assert(eq(i64, workers, 1));
}

static void expect_operands(const char *line, bool stop, const char *expected)
{
        struct run run = run_line_(line, stop);
        struct buf got = BUF_INIT;

        cr_assert(eq(int, run.result, OPTION_RUN), "%s: %s", line, run.said);
        buf_str(&got, "");
        for (int i = run.first; i < run.argc; i++)
                buf_printf(&got, "%s%s", i > run.first ? " " : "", run.argv[i]);
        cr_assert(eq(str, got.data, (char *)expected), "%s", line);
        buf_fini(&got);
}

Test(option, operands_may_stand_between_options_and_keep_their_order)
{
        expect_operands("", false, "");
        expect_operands("a b", false, "a b");
        expect_operands("a --workers 2 b --quiet c --ping=2s d", false, "a b c d");
        expect_operands("--workers 2 --quiet", false, "");
        expect_operands("a - --quiet b", false, "a - b");
        cr_assert(eq(i64, workers, 1));
        cr_assert(quiet);
}

Test(option, two_dashes_end_the_options)
{
        expect_operands("a --quiet b -- --workers c", false, "a b --workers c");
        expect_operands("--", false, "");
        expect_operands("-- --", false, "--");
        expect_operands("--quiet -- a", true, "a");
}

Test(option, the_first_operand_may_end_them_too)
{
        expect_operands("--quiet event --unknown x", true, "event --unknown x");
        cr_assert(quiet);
}

Test(option, version_names_the_program)
{
        struct run run = run_line("--workers 2 --version --nonsense");

        cr_assert(eq(int, run.result, OPTION_DONE));
        cr_assert(eq(str, run.printed, "kickoffd " KICKOFF_VERSION "\n"));
        cr_assert(eq(str, run.said, ""));
}

Test(option, help_is_shown_even_when_the_environment_is_wrong)
{
        struct buf help = BUF_INIT;
        struct run run;

        setenv("KICKOFF_WORKERS", "65", 1);
        option_help(&program, &help);
        run = run_line("--help");
        cr_assert(eq(int, run.result, OPTION_DONE));
        cr_assert(eq(str, run.printed, help.data));
        run = run_line("a -h");
        cr_assert(eq(str, run.printed, help.data));
        buf_fini(&help);
}

Test(option, help_is_aligned_wrapped_and_complete)
{
        struct buf help = BUF_INIT;

        option_help(&program, &help);
        cr_assert(
            eq(str, help.data,
               "Usage: kickoffd [OPTION]...\n"
               "\n"
               "Tells devices.\n"
               "\n"
               "Options:\n"
               "  --listen HOST:PORT  Where devices connect, with a sentence that is long enough\n"
               "                      to be wrapped twice because it goes on and on.\n"
               "                      [default: 0.0.0.0:8080; KICKOFF_LISTEN]\n"
               "  --redis-url URL     Where the log is kept.\n"
               "                      [KICKOFF_REDIS_URL]\n"
               "  --workers N         Threads that serve devices.\n"
               "                      [from 1 to 64; KICKOFF_WORKERS]\n"
               "  --ping TIME         How often to ask.\n"
               "                      [default: 50s; from 1s to 1h; KICKOFF_PING]\n"
               "  --offset N          Any number.\n"
               "                      [default: -5; KICKOFF_OFFSET]\n"
               "  --quiet             Say less.\n"
               "                      [KICKOFF_QUIET=yes]\n"
               "  -h, --help          Show this and stop.\n"
               "  --version           Show the version and stop.\n"
               "\n"
               "The command line wins over the environment.\n"
               "\n"
               "Example:\n"
               "  kickoffd --workers 2\n"));
        buf_fini(&help);
}

Test(option, no_line_of_the_help_is_wider_than_80_columns)
{
        static const char *text;
        static const struct option wide[] = {
                { "a-very-long-name-indeed-for-an-option", OPTION_TEXT, &text,
                  "one,two,three,four,five,six,seven", 0, 0, "A,B,C,D",
                  "Word word word word word word word word word word word word word word word.",
                  NULL },
        };
        struct option_program other = {
                .name = "x",
                .usage = "x",
                .options = wide,
                .n = 1,
                .summary =
                    "Word word word word word word word word word word word word word word word "
                    "word word word word word word word word word word word word."
        };
        struct buf help = BUF_INIT;
        char *rest;

        option_help(&other, &help);
        rest = help.data;
        for (char *line; (line = strsep(&rest, "\n")) != NULL;)
                cr_assert(le(sz, strlen(line), 80), "%s", line);
        buf_fini(&help);
}

Test(option, a_default_that_its_own_row_refuses_is_our_bug, .signal = SIGABRT)
{
        static int64_t value;
        static const struct option bad[] = {
                { "x", OPTION_NUMBER, &value, "9", 0, 8, NULL, "X.", NULL },
        };
        struct option_program other = {
                .name = "x", .summary = "X.", .usage = "x", .options = bad, .n = 1
        };
        char *argv[] = { (char *)"x" };
        int first;

        (void)!option_parse(&other, 1, argv, false, &first);
}
