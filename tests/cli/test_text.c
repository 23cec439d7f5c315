/* What the command prints: moments, events, tables, problems, and the lines of `watch`. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "producer/cli/ask.h"
#include "producer/cli/bundle_files.h"
#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "producer/cli/watch_lines.h"
#include "producer/cli/when.h"

#define NOW_MS 1790000000000 /* 2026-09-21T14:13:20Z */

static struct buf out;
static const struct cli cli = { .now_ms = NOW_MS };

static void fresh(void)
{
        setenv("TZ", "UTC", 1);
        tzset();
        buf_clear(&out);
}

/* --- moments --- */

Test(when, says_how_far_away_a_moment_is)
{
        static const struct {
                int64_t away_ms;
                const char *text;
        } rows[] = { { 0, "now" },
                     { 400, "now" },
                     { 2000, "in 2 s" },
                     { -12000, "12 s ago" },
                     { 119000, "in 119 s" },
                     { 600000, "in 10 min" },
                     { -600000, "10 min ago" },
                     { 7200000, "in 2 h" },
                     { 12000000, "in 3 h 20 min" },
                     { 86400000 * 3, "in 3 days" } };

        for (size_t i = 0; i < countof(rows); i++) {
                fresh();
                when_relative(NOW_MS + rows[i].away_ms, NOW_MS, &out);
                cr_assert(eq(str, out.data, (char *)rows[i].text));
        }
}

Test(when, leaves_out_the_date_of_today)
{
        fresh();
        when_show(NOW_MS + 600000, NOW_MS, &out);
        cr_assert(eq(str, out.data, "14:23:20 (in 10 min)"));
        fresh();
        when_show(NOW_MS + 86400000, NOW_MS, &out);
        cr_assert(eq(str, out.data, "2026-09-22 14:13:20 (in 24 h)"));
}

Test(when, reads_the_local_clock_and_takes_the_next_time_it_shows_that)
{
        int64_t ms;

        fresh();
        cr_assert(when_parse("14:14", NOW_MS, &ms));
        cr_assert(eq(i64, ms, NOW_MS + 40000));
        cr_assert(when_parse("14:13:19", NOW_MS, &ms));
        cr_assert(eq(i64, ms, NOW_MS + 86400000 - 1000));
        cr_assert(when_parse("2026-09-21 14:13:20", NOW_MS, &ms));
        cr_assert(eq(i64, ms, NOW_MS));
        cr_assert(when_parse("2026-09-21T14:13", NOW_MS, &ms));
        cr_assert(eq(i64, ms, NOW_MS - 20000));
        setenv("TZ", "Europe/Berlin", 1);
        tzset();
        cr_assert(when_parse("16:13:20", NOW_MS, &ms));
        cr_assert(eq(i64, ms, NOW_MS));
}

Test(when, guesses_at_nothing)
{
        static const char *const texts[] = {
                "",       "now",    "20",         "8:00", "25:00",           "20:61",
                "20:00x", "20:00 ", "2026-09-21", "10m",  "2026-9-21 20:00", "21.09.2026 20:00"
        };
        int64_t ms;

        fresh();
        for (size_t i = 0; i < countof(texts); i++)
                cr_assert(not(when_parse(texts[i], NOW_MS, &ms)), "%s", texts[i]);
}

Test(when, writes_spans_as_the_node_reads_them)
{
        static const struct {
                int64_t ms;
                const char *text;
        } rows[] = { { 2000, "2s" }, { 900000, "15m" }, { 5400000, "1h30m" }, { 1250, "1s250ms" } };

        for (size_t i = 0; i < countof(rows); i++) {
                fresh();
                when_duration(rows[i].ms, &out);
                cr_assert(eq(str, out.data, (char *)rows[i].text));
        }
}

/* --- answers --- */

static json_t *event(void)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:[s], s:b}", "id", "cup",
                         "title", "Cup\033[2J final", "stage", "halftime", "phase", "live", "at",
                         "2026-09-21T14:13:22.000Z", "starts_at", "2026-09-21T14:00:00.000Z",
                         "version", 3, "bundle", 2, "stages", "halftime", "auto_start", 0);
}

Test(show, an_event_in_a_few_lines_without_steering_the_terminal)
{
        json_t *json = event();

        fresh();
        show_event(&cli, json, &out);
        cr_assert(eq(str, out.data,
                     "cup  Cup?[2J final\n"
                     "  phase    live, stage halftime\n"
                     "  starts   14:00:00 (13 min ago)\n"
                     "  acts     14:13:22 (in 2 s)\n"
                     "  version  3\n"
                     "  bundle   2\n"
                     "  stages   halftime\n"));
        json_decref(json);
}

Test(show, a_change_with_its_signal_and_durability)
{
        json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:o}", "epoch", "00", "seq", 42, "token",
                                 "t", "durability", "fsync", "event", event());

        fresh();
        show_change(&cli, json, &out);
        cr_assert(eq(str, out.data,
                     "cup: live, stage halftime, version 3\n"
                     "  starts   14:00:00 (13 min ago)\n"
                     "  acts     14:13:22 (in 2 s)\n"
                     "  signal   42, durability fsync\n"));
        json_decref(json);
}

Test(show, what_a_dry_run_would_do_in_a_sentence)
{
        json_t *json = json_pack("{s:b, s:s, s:i, s:i, s:i, s:b, s:o}", "dry_run", 1, "would",
                                 "start", "devices", 36500, "nodes", 2, "estimated_ms", 420,
                                 "approximate", 0, "event", event());

        fresh();
        show_change(&cli, json, &out);
        cr_assert(eq(str, out.data,
                     "Nothing was done. In earnest, `start` would be told to 36500 devices on 2 "
                     "nodes, within about 0.4 s.\n"
                     "  cup: live, stage halftime, version 3\n"));
        json_object_set_new(json, "approximate", json_true());
        json_object_set_new(json, "devices", json_integer(1));
        fresh();
        show_change(&cli, json, &out);
        cr_assert(strstr(out.data, " told to at most 1 device on 2 nodes, ") != NULL);
        json_decref(json);
}

Test(show, the_audit_trail_is_a_line_each)
{
        json_t *entries =
            json_pack("[{s:s, s:s, s:s, s:s, s:s, s:s, s:i}, {s:s, s:s, s:s, s:s, s:s, s:s}]", "at",
                      "2026-09-21T14:00:00.000Z", "who", "ann@studio", "kind", "start", "event",
                      "cup", "from", "10.0.0.7", "body", "{\"lead\":\"2s\"}", "seq", 42, "at",
                      "2026-09-21T14:13:00.000Z", "who", "", "kind", "drain", "node", "n2", "from",
                      "127.0.0.1", "body", "{}");

        fresh();
        show_audit(&cli, entries, &out);
        cr_assert(eq(str, out.data,
                     "14:00:00 (13 min ago)  ann@studio  start cup  signal 42  from 10.0.0.7  "
                     "{\"lead\":\"2s\"}\n"
                     "14:13:00 (20 s ago)  somebody  drain n2  from 127.0.0.1\n"));
        json_decref(entries);
}

static const struct cli_command *log_command(const char *name)
{
        for (size_t i = 0; i < log_commands_n; i++) {
                if (strcmp(log_commands[i].name, name) == 0)
                        return &log_commands[i];
        }
        return NULL;
}

Test(show, what_became_of_a_request)
{
        json_t *held = json_pack("{s:s}", "state", "held");
        json_t *done = json_pack("{s:s, s:s, s:i, s:s, s:n, s:o}", "state", "committed", "epoch",
                                 "00", "seq", 42, "token", "t", "durability", "event", event());

        fresh();
        log_command("request")->show(&cli, held, &out);
        cr_assert(
            eq(str, out.data,
               "Written, but not yet held by enough replicas: no device has it yet. Ask again in a "
               "while.\n"));
        fresh();
        log_command("request")->show(&cli, done, &out);
        cr_assert(eq(str, out.data,
                     "Done, once. cup: live, stage halftime, version 3\n"
                     "  starts   14:00:00 (13 min ago)\n"
                     "  acts     14:13:22 (in 2 s)\n"
                     "  signal   42, durability -\n"));
        json_decref(held);
        json_decref(done);
}

Test(show, lines_up_tables_and_survives_members_it_does_not_find)
{
        json_t *json = json_pack("[{s:s, s:i}, {s:s}]", "name", "n\xc3\xb6", "devices", 12345,
                                 "name", "long-name");

        fresh();
        show_nodes(&cli, json, &out);
        cr_assert(eq(str, out.data,
                     "NODE       STATE  LISTEN  DEVICES  SEQ  SEEN  VERSION\n"
                     "n\xc3\xb6         up     -       12345    -    -     -\n"
                     "long-name  up     -       -        -    -     -\n"));
        json_decref(json);
}

Test(show, says_what_to_do_when_there_is_nothing)
{
        json_t *json = json_array();

        fresh();
        show_events(&cli, json, &out);
        cr_assert(strstr(out.data, "kickoff event create") != NULL);
        json_decref(json);
}

Test(ask, tells_a_problem_with_what_is_possible_now)
{
        json_t *json = json_pack("{s:s, s:s, s:[ss], s:o}", "title", "Not possible now", "detail",
                                 "It is live.", "legal", "end", "cancel", "event", event());

        fresh();
        ask_problem_text(&cli, 409, json, &out);
        cr_assert(eq(str, out.data,
                     "Not possible now: It is live.\n"
                     "  Possible now: end, cancel\n"
                     "  cup: live, stage halftime, version 3\n"));
        fresh();
        ask_problem_text(&cli, 502, NULL, &out);
        cr_assert(eq(str, out.data, "the node answered 502\n"));
        json_decref(json);
}

Test(ask, knows_when_it_does_not_know)
{
        static const struct {
                enum err err;
                int status;
                bool changes, was_unknown;
                enum ask_verdict verdict;
        } rows[] = {
                { OK, 200, true, false, ASK_DONE },
                { OK, 201, true, true, ASK_DONE },
                { OK, 409, true, false, ASK_REFUSED },
                { OK, 409, true, true,
                  ASK_REFUSED }, /* the key would have brought back a success */
                { OK, 503, true, false, ASK_REFUSED }, /* says that nothing was done */
                { OK, 503, true, true, ASK_UNKNOWN },  /* but the try before may have */
                { OK, 429, true, true, ASK_UNKNOWN },
                { OK, 504, true, false, ASK_UNKNOWN },
                { OK, 500, true, false, ASK_UNKNOWN },
                { OK, 504, false, false, ASK_REFUSED },
                { ERR_TIMEOUT, 0, true, false, ASK_UNKNOWN },
                { ERR_IO, 0, true, false, ASK_UNKNOWN },
                { ERR_TIMEOUT, 0, false, false, ASK_UNREACHABLE },
                { ERR_UNAVAILABLE, 0, true, false, ASK_UNREACHABLE },
                { ERR_UNAVAILABLE, 0, true, true, ASK_UNKNOWN },
                { ERR_INVALID, 0, true, false, ASK_REFUSED },
        };

        for (size_t i = 0; i < countof(rows); i++)
                cr_assert(
                    eq(int,
                       ask_judge(rows[i].err, rows[i].status, rows[i].changes, rows[i].was_unknown),
                       rows[i].verdict),
                    "row %zu", i);
}

Test(ask, takes_an_address_with_or_without_its_scheme)
{
        char url[64];

        cr_assert(ask_base_url("127.0.0.1:9090", url, sizeof(url)));
        cr_assert(eq(str, url, "http://127.0.0.1:9090"));
        cr_assert(ask_base_url("http://[::1]:9090/", url, sizeof(url)));
        cr_assert(eq(str, url, "http://[::1]:9090"));
        cr_assert(not(ask_base_url("https://a", url, sizeof(url))));
        cr_assert(not(ask_base_url("http://a/b", url, sizeof(url))));
        cr_assert(not(ask_base_url("", url, sizeof(url))));
}

/* --- bundles --- */

static void put_file(const char *directory, const char *name)
{
        char path[512];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        file = fopen(path, "we");
        cr_assert(file != NULL);
        fputs(name, file);
        fclose(file);
}

static void remove_all(const char *directory, const char *const *names, size_t n)
{
        char path[512];

        for (size_t i = 0; i < n; i++) {
                snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
                unlink(path);
        }
        rmdir(directory);
}

Test(bundle_files, are_one_per_cohort_sorted_with_their_types_and_hashes)
{
        static const char *const names[] = { "tv.4k.msgpack", "default.json", ".hidden", "phone" };
        char directory[] = "/tmp/kickoff-bundles-XXXXXX";
        struct buf faults = BUF_INIT;
        struct bundle_file *files;
        size_t n;

        cr_assert(mkdtemp(directory) != NULL);
        for (size_t i = 0; i < countof(names); i++)
                put_file(directory, names[i]);
        cr_assert(eq(int, bundle_files_find(directory, &files, &n, &faults), OK));
        cr_assert(eq(sz, n, 3));
        cr_assert(eq(str, files[0].cohort, "default"));
        cr_assert(eq(str, (char *)files[0].type, "application/json"));
        cr_assert(eq(str, files[1].cohort, "phone"));
        cr_assert(eq(str, (char *)files[1].type, "application/octet-stream"));
        cr_assert(eq(sz, files[1].size, 5));
        cr_assert(eq(str, files[2].cohort, "tv.4k"));
        cr_assert(eq(str, (char *)files[2].type, "application/msgpack"));
        cr_assert(eq(int, bundle_files_hash(directory, files, n, &faults), OK));
        cr_assert(eq(str, files[1].sha256, /* printf phone | sha256sum */
                     "45569da57f4b7bf472d7a864ef4781451cae6383fee9fb0ae40c59aa1ce475b7"));
        cr_assert(eq(sz, faults.len, 0));
        remove_all(directory, (const char *const[]){ "phone" }, 1);
        cr_assert(eq(int, bundle_files_hash(directory, files, n, &faults), ERR_INVALID));
        cr_assert(strstr(faults.data, "phone: cannot be read") != NULL, "%s", faults.data);
        buf_fini(&faults);
        free(files);
        remove_all(directory, names, countof(names));
}

Test(bundle_files, all_that_is_wrong_with_a_directory_is_told_at_once)
{
        static const char *const names[] = { "default.json", "default.txt", "huge.txt", "no cohort",
                                             "good.json" };
        char directory[] = "/tmp/kickoff-bundles-XXXXXX", path[512];
        struct buf faults = BUF_INIT;
        struct bundle_file *files;
        size_t n;

        cr_assert(mkdtemp(directory) != NULL);
        for (size_t i = 0; i < countof(names); i++)
                put_file(directory, names[i]);
        snprintf(path, sizeof(path), "%s/huge.txt", directory);
        cr_assert(eq(int, truncate(path, BUNDLE_FILE_MAX + 1), 0));
        cr_assert(eq(int, bundle_files_find(directory, &files, &n, &faults), ERR_INVALID));
        cr_assert(strstr(faults.data, "both for the cohort default\n") != NULL, "%s", faults.data);
        cr_assert(strstr(faults.data, "huge.txt: has more than 1048576 bytes\n") != NULL, "%s",
                  faults.data);
        cr_assert(strstr(faults.data, "no cohort: its name is no cohort") != NULL, "%s",
                  faults.data);
        cr_assert(strstr(faults.data, "good.json") == NULL, "%s", faults.data);
        buf_fini(&faults);
        remove_all(directory, names, countof(names));
}

Test(bundle_files, of_very_many_faults_some_are_shown_and_the_others_counted)
{
        char directory[] = "/tmp/kickoff-bundles-XXXXXX", name[32];
        struct buf faults = BUF_INIT;
        struct bundle_file *files;
        size_t n;

        cr_assert(mkdtemp(directory) != NULL);
        for (unsigned i = 0; i < BUNDLE_FAULTS_SHOWN + 3; i++) {
                snprintf(name, sizeof(name), "not valid %u", i);
                put_file(directory, name);
        }
        cr_assert(eq(int, bundle_files_find(directory, &files, &n, &faults), ERR_INVALID));
        cr_assert(strstr(faults.data, "\n... and 3 more\n") != NULL, "%s", faults.data);
        buf_fini(&faults);
        for (unsigned i = 0; i < BUNDLE_FAULTS_SHOWN + 3; i++) {
                snprintf(name, sizeof(name), "not valid %u", i);
                remove_all(directory, (const char *const[]){ name }, 1);
        }
}

Test(bundle_files, an_empty_directory_is_said_to_be_empty)
{
        char directory[] = "/tmp/kickoff-bundles-XXXXXX";
        struct buf faults = BUF_INIT;
        struct bundle_file *files;
        size_t n;

        cr_assert(mkdtemp(directory) != NULL);
        cr_assert(eq(int, bundle_files_find(directory, &files, &n, &faults), ERR_NOT_FOUND));
        cr_assert(strstr(faults.data, "holds no bundles") != NULL, "%s", faults.data);
        rmdir(directory);
        cr_assert(eq(int, bundle_files_find(directory, &files, &n, &faults), ERR_IO));
        buf_fini(&faults);
}

/* --- watch --- */

static const struct message a_signal = {
        .type = MESSAGE_SIGNAL,
        .signal = { .token = { .epoch = 0xabc, .seq = 42, .tag = 7 },
                    .kind = SIGNAL_START,
                    .state = { .event = "cup",
                               .stage = "live",
                               .at = NOW_MS + 5000,
                               .starts_at = NOW_MS,
                               .version = 2,
                               .bundle = 1 },
                    .sent = NOW_MS },
};

Test(watch_lines, tell_people_when_it_acts_by_the_clock_of_the_node)
{
        fresh();
        watch_lines_message(&a_signal, false, NOW_MS + 7, 3000, &out);
        cr_assert(eq(str, out.data,
                     "14:13:20.007  signal   42  start  cup  live, version 2, bundle 1, "
                     "acts in 2 s"));
}

Test(watch_lines, are_the_protocol_s_json_with_the_time_of_receipt)
{
        json_t *json;

        fresh();
        watch_lines_message(&a_signal, true, NOW_MS, 0, &out);
        cr_assert(strchr(out.data, '\n') == NULL);
        json = json_loadb(out.data, out.len, 0, NULL);
        cr_assert(json != NULL, "%s", out.data);
        cr_assert(eq(str, (char *)json_string_value(json_object_get(json, "t")), "signal"));
        cr_assert(eq(i64, json_integer_value(json_object_get(json, "seq")), 42));
        cr_assert(eq(i64, json_integer_value(json_object_get(json, "received")), NOW_MS));
        json_decref(json);
}

Test(watch_lines, tell_states_also_when_a_peer_s_words_are_not_text)
{
        json_t *json;

        fresh();
        watch_lines_state(KICKOFF_DEVICE_WAITING, "closed 1000: \xff\x1b", true, NOW_MS, &out);
        json = json_loadb(out.data, out.len, 0, NULL);
        cr_assert(json != NULL, "%s", out.data);
        cr_assert(eq(str, (char *)json_string_value(json_object_get(json, "state")), "waiting"));
        json_decref(json);
        fresh();
        watch_lines_state(KICKOFF_DEVICE_WAITING, "a\x1b[2J", false, NOW_MS, &out);
        cr_assert(eq(str, out.data, "14:13:20.000  state    a?[2J"));
}
