/* From the words of a command line to one request, without a node. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "producer/cli/again.h"
#include "producer/cli/cli.h"
#include "producer/cli/closest.h"

#define NOW_MS 1790000000000 /* 2026-09-21T14:13:20Z */

static struct cli cli;

/* Splits at blanks ('_' stands for one inside a word); NULL unless the words make a request. */
static const struct cli_plan *plan_of(const char *line)
{
        static struct cli_plan plan;
        static char words[512], *argv[32];
        const struct cli_command *command;
        char *const *operands, *save;
        unsigned n;
        int argc = 0;

        setenv("TZ", "UTC", 1);
        json_decref(plan.body);
        plan = (struct cli_plan){ .method = "GET" };
        snprintf(words, sizeof(words), "%s", line);
        for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                for (char *at = word; *at; at++)
                        *at = *at == '_' ? ' ' : *at;
                argv[argc++] = word;
        }
        argv[argc] = NULL;
        if (cli_parse(argc, argv, &cli, &command, &operands, &n) != CLI_RUN)
                return NULL;
        cli.now_ms = NOW_MS;
        return command->plan != NULL && command->plan(&cli, operands, n, &plan) ? &plan : NULL;
}

static const char *body_of(const struct cli_plan *plan)
{
        static char *text;

        free(text);
        text = plan->body != NULL ? json_dumps(plan->body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        return text != NULL ? text : "";
}

static const struct {
        const char *line, *method, *path, *body;
} rows[] = {
        { "kickoff event create cup --title Cup_final --in 10m", "POST", "/v1/events",
          "{\"id\":\"cup\",\"starts_at\":\"2026-09-21T14:23:20.000Z\",\"title\":\"Cup final\"}" },
        { "kickoff event create cup --title C --starts-at 2026-11-23T20:00:00+01:00 --stage halftime "
          "--stage second-half --auto-start",
          "POST", "/v1/events",
          "{\"auto_start\":true,\"id\":\"cup\",\"stages\":[\"halftime\",\"second-half\"],"
          "\"starts_at\":\"2026-11-23T19:00:00.000Z\",\"title\":\"C\"}" },
        { "kickoff event create cup --title C --starts-at 20:00", "POST", "/v1/events",
          "{\"id\":\"cup\",\"starts_at\":\"2026-09-21T20:00:00.000Z\",\"title\":\"C\"}" },
        { "kickoff event show", "GET", "/v1/events", "" },
        { "kickoff event show cup", "GET", "/v1/events/cup", "" },
        { "kickoff event start cup", "POST", "/v1/events/cup/start", "{}" },
        { "kickoff event start cup --lead 2s", "POST", "/v1/events/cup/start",
          "{\"lead\":\"2s\"}" },
        { "kickoff event start --at 2026-11-23T20:00:00Z cup", "POST", "/v1/events/cup/start",
          "{\"at\":\"2026-11-23T20:00:00.000Z\"}" },
        { "kickoff event delay cup --by 90m --reason rain", "POST", "/v1/events/cup/delay",
          "{\"by\":\"1h30m\",\"reason\":\"rain\"}" },
        { "kickoff event delay cup --until 13:00", "POST", "/v1/events/cup/delay",
          "{\"starts_at\":\"2026-09-22T13:00:00.000Z\"}" },
        { "kickoff event end cup", "POST", "/v1/events/cup/end", "{}" },
        { "kickoff event cancel cup", "POST", "/v1/events/cup/cancel", "{}" },
        { "kickoff audit", "GET", "/v1/audit?limit=100", "" },
        { "kickoff audit cup --limit 5", "GET", "/v1/audit?limit=5&event=cup", "" },
        { "kickoff event start cup --dry-run", "POST", "/v1/events/cup/start?dry_run=1", "{}" },
        { "kickoff event start cup --cohort a --cohort b --platform tv --region eu --region us --app 9.1",
          "POST", "/v1/events/cup/start",
          "{\"attributes\":{\"app\":[\"9.1\"],\"platform\":[\"tv\"],\"region\":[\"eu\",\"us\"]},"
          "\"cohorts\":[\"a\",\"b\"]}" },
        { "kickoff event end cup --cohort c", "POST", "/v1/events/cup/end",
          "{\"cohorts\":[\"c\"]}" },
        { "kickoff event end cup", "POST", "/v1/events/cup/end", "{}" },
        { "kickoff event create cup --title C --in 10m --dry-run --platform tv", "POST",
          "/v1/events?dry_run=1",
          "{\"attributes\":{\"platform\":[\"tv\"]},\"id\":\"cup\","
          "\"starts_at\":\"2026-09-21T14:23:20.000Z\",\"title\":\"C\"}" },
        { "kickoff event reopen cup", "POST", "/v1/events/cup/reopen", "{}" },
        { "kickoff event reopen cup --starts-at 2031-05-01T18:00:00Z", "POST",
          "/v1/events/cup/reopen", "{\"starts_at\":\"2031-05-01T18:00:00.000Z\"}" },
        { "kickoff event stage cup halftime", "POST", "/v1/events/cup/stage",
          "{\"stage\":\"halftime\"}" },
        { "kickoff event refresh cup --window 10m", "POST", "/v1/events/cup/refresh",
          "{\"window\":\"10m\"}" },
        { "kickoff event refresh cup", "POST", "/v1/events/cup/refresh", "{}" },
        { "kickoff report 42", "GET", "/v1/signals/42", "" },
        { "kickoff request a-b.c~1", "GET", "/v1/requests/a-b.c~1", "" },
        { "kickoff request a/b?c%d:e", "GET", "/v1/requests/a%2Fb%3Fc%25d%3Ae", "" },
        { "kickoff report --follow 42 --for 1m", "GET", "/v1/signals/42", "" },
        { "kickoff report latest --json", "GET", "/v1/signals?limit=1", "" },
        { "kickoff signals --after 7", "GET", "/v1/signals?after=7&limit=100", "" },
        { "kickoff nodes", "GET", "/v1/nodes", "" },
        { "kickoff device show tv-1", "GET", "/v1/devices/tv-1", "" },
        { "kickoff device message tv-1 hello", "POST", "/v1/devices/tv-1/messages",
          "{\"body\":\"hello\"}" },
        { "kickoff device message tv-1 --id m-7 hello", "POST", "/v1/devices/tv-1/messages",
          "{\"body\":\"hello\",\"id\":\"m-7\"}" },
        { "kickoff drain node-1", "POST", "/v1/nodes/node-1/drain", "{\"within\":\"1m\"}" },
        { "kickoff drain a --within 5m --rate 200", "POST", "/v1/nodes/a/drain",
          "{\"rate\":200,\"within\":\"5m\"}" },
};

Test(words, become_the_request_they_name)
{
        for (size_t i = 0; i < countof(rows); i++) {
                const struct cli_plan *plan = plan_of(rows[i].line);

                cr_assert(plan != NULL, "%s", rows[i].line);
                cr_assert(eq(str, (char *)plan->method, (char *)rows[i].method));
                cr_assert(eq(str, (char *)plan->path, (char *)rows[i].path));
                cr_assert(eq(str, (char *)body_of(plan), (char *)rows[i].body));
        }
}

Test(words, that_cannot_be_meant_are_refused_before_anything_is_sent)
{
        static const char *const lines[] = {
                "kickoff",
                "kickoff evnt",
                "kickoff event",
                "kickoff event strat cup",
                "kickoff event start",
                "kickoff event start cup final",
                "kickoff event start cu/p",
                "kickoff event start cup --lead 2s --at 20:00",
                "kickoff event start cup --lead 2",
                "kickoff event start cup --at yesterday",
                "kickoff event create cup --in 10m",
                "kickoff event create cup --title C",
                "kickoff event create cup --title C --in 10m --starts-at 20:00",
                "kickoff event create cup --title C --in 10m --stage half/time",
                "kickoff event create cup --title \xff --in 10m",
                "kickoff event delay cup",
                "kickoff event delay cup --by 1m --until 20:00",
                "kickoff event stage cup",
                "kickoff report",
                "kickoff report x",
                "kickoff report 42 43",
                "kickoff report late",
                "kickoff report 42 --for 0s",
                "kickoff signals --after -1",
                "kickoff --if-version x event start cup",
        };

        for (size_t i = 0; i < countof(lines); i++)
                cr_assert(plan_of(lines[i]) == NULL, "%s", lines[i]);
}

Test(words, global_options_may_stand_anywhere)
{
        static const char *const lines[] = {
                "kickoff --admin http://a:1 --key k1 --if-version 7 --json event start cup",
                "kickoff event --admin http://a:1 --key k1 start cup --if-version 7 --json",
                "kickoff event start --json --key k1 cup --admin=http://a:1 --if-version=7",
        };

        for (size_t i = 0; i < countof(lines); i++) {
                cr_assert(plan_of(lines[i]) != NULL);
                cr_assert(eq(str, (char *)cli.admin, "http://a:1"));
                cr_assert(eq(str, (char *)cli.key, "k1"));
                cr_assert(eq(i64, cli.if_version, 7));
                cr_assert(cli.json);
        }
        cr_assert(plan_of("kickoff event start cup") != NULL);
        cr_assert(not(cli.json), "nothing is left over from the line before");
        cr_assert(eq(i64, cli.if_version, 0));
}

Test(words, the_environment_gives_the_node_and_the_command_line_wins)
{
        setenv("KICKOFF_ADMIN", "10.0.0.1:9090", 1);
        setenv("KICKOFF_TOKEN_FILE", "/run/token", 1);
        setenv("KICKOFF_TITLE", "not for the command", 1);
        cr_assert(plan_of("kickoff nodes") != NULL);
        cr_assert(eq(str, (char *)cli.admin, "10.0.0.1:9090"));
        cr_assert(eq(str, (char *)cli.token_file, "/run/token"));
        cr_assert(plan_of("kickoff nodes --admin b:2") != NULL);
        cr_assert(eq(str, (char *)cli.admin, "b:2"));
        cr_assert(plan_of("kickoff event create cup --in 1m") == NULL);
}

Test(words, each_run_makes_up_a_key_of_its_own)
{
        char first[CLI_KEY_SIZE];

        cr_assert(plan_of("kickoff event start cup") != NULL);
        cr_assert(not(cli.key_given));
        cr_assert(eq(sz, strlen(cli.key), 36));
        strcpy(first, cli.key);
        cr_assert(plan_of("kickoff event start cup") != NULL);
        cr_assert(ne(str, (char *)cli.key, first));
}

Test(words, a_near_miss_is_recognised)
{
        static const char *const names[] = { "create", "show", "start", "delay", "cancel" };

        cr_assert(eq(str, (char *)closest_of("strat", names, 5), "start"));
        cr_assert(eq(str, (char *)closest_of("canc", names, 5), "cancel"));
        cr_assert(eq(str, (char *)closest_of("dealy", names, 5), "delay"));
        cr_assert(closest_of("zzzzzz", names, 5) == NULL);
}

static const char *again_of(int argc, char *const *argv, bool key_given)
{
        static struct buf out;
        struct cli typed = {
                .argc = argc, .argv = argv, .key = "k 1", .key_given = key_given, .now_ms = NOW_MS
        };

        buf_clear(&out);
        again_text(&typed, &out);
        return out.data;
}

Test(words, the_command_to_repeat_can_be_pasted_and_names_the_key)
{
        char *argv[] = { "kickoff", "event", "stage", "cup", "it's" };

        cr_assert(eq(str, (char *)again_of(5, argv, false),
                     "kickoff event stage cup 'it'\\''s' --key 'k 1'"));
        cr_assert(eq(str, (char *)again_of(5, argv, true), "kickoff event stage cup 'it'\\''s'"));
}

Test(words, the_command_to_repeat_means_the_same_moment_later)
{
        char *argv[] = { "kickoff", "event", "create", "c", "--in", "10m", "--title", "" };
        char *at[] = { "kickoff", "event", "start", "c", "--at=20:00" };

        setenv("TZ", "UTC", 1);
        cr_assert(eq(str, (char *)again_of(8, argv, true),
                     "kickoff event create c --starts-at 2026-09-21T14:23:20.000Z --title ''"));
        cr_assert(eq(str, (char *)again_of(5, at, true),
                     "kickoff event start c --at 2026-09-21T20:00:00.000Z"));
}
