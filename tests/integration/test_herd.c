/* kickoff-herd's scenarios with nodes of their own: a small one of each kind that starts, kills or
 * compares. They must pass, say what they did, and leave nothing behind. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static char dir[64];

static void make_dir(void)
{
        snprintf(dir, sizeof(dir), "/tmp/kickoff-herd-XXXXXX");
        cr_assert(mkdtemp(dir) != NULL);
        setenv("TMPDIR", dir, 1); /* the herd's nodes live in there */
}

static unsigned entries(void)
{
        const struct dirent *entry;
        unsigned n = 0;
        DIR *list = opendir(dir);

        cr_assert(list != NULL);
        while ((entry = readdir(list)) != NULL)
                n += entry->d_name[0] != '.';
        closedir(list);
        return n;
}

static void remove_dir(void)
{
        char path[128];

        for (unsigned i = 0; i < 2; i++) {
                snprintf(path, sizeof(path), "%s/page.%s", dir, i == 0 ? "html" : "json");
                unlink(path);
        }
        cr_assert(zero(int, rmdir(dir)), "the herd left something in %s", dir);
}

static double figure(const json_t *run, const char *key)
{
        const json_t *figure = json_object_get(json_object_get(run, "figures"), key);

        cr_assert(figure != NULL, "no figure %s", key);
        return json_number_value(json_object_get(figure, "value"));
}

static int count(const json_t *run, const char *key)
{
        return (int)json_integer_value(json_object_get(run, key));
}

/* Sum of one series. */
static int64_t total(const json_t *run, const char *column)
{
        const json_t *values = json_object_get(
                         json_object_get(json_object_get(run, "series"), "counts"), column),
                     *value;
        int64_t sum = 0;
        size_t i;

        cr_assert(values != NULL, "no series %s", column);
        json_array_foreach((json_t *)(uintptr_t)values, i, value) sum += json_integer_value(value);
        return sum;
}

static json_t *read_json(const char *path)
{
        json_error_t error;
        json_t *root = json_load_file(path, 0, &error);

        cr_assert(root != NULL, "%s: %s", path, error.text);
        return root;
}

Test(herd, a_reconnect_storm_of_200_devices_loses_nothing)
{
        json_t *root;
        char *out, path[128];
        int status;

        make_dir();
        snprintf(path, sizeof(path), "%s/page.json", dir);
        status = run_program(&out, "kickoff-herd", "reconnect-storm", "--nodes", "2", "--devices",
                             "400", "--quiet", "--timeout", "60s", "--json", path, NULL);
        cr_assert(eq(int, status, 0), "ended with %d: %s", status, out);
        cr_assert(strstr(out, "reconnect-storm PASSED") != NULL);
        free(out);
        root = read_json(path);
        cr_assert(eq(int, (int)figure(root, "struck"), 200));
        cr_assert(eq(int, (int)figure(root, "is_back"), 1));
        cr_assert(ge(int, count(root, "reconnects"), 200));
        cr_assert(eq(int, count(root, "lost"), 0));
        cr_assert(eq(int, count(root, "told"), 400));
        /* The start, and what was said while they were away: to everybody, once. */
        cr_assert(eq(i64, total(root, "delivered"), 800));
        cr_assert(eq(i64, total(root, "told"), 400));
        cr_assert(eq(i64, total(root, "back"), count(root, "reconnects")));
        cr_assert(eq(i64, total(root, "welcomes"), 400 + count(root, "reconnects")));
        cr_assert(eq(sz, json_array_size(json_object_get(root, "nodes")), 2));
        json_decref(root);
        cr_assert(eq(uint, entries(), 1), "nodes leave their directory behind");
        remove_dir();
}

Test(herd, screens_with_wrong_clocks_switch_together_when_it_is_announced_ahead)
{
        json_t *root, *told, *announced;
        char *out, path[128];
        int status;

        make_dir();
        snprintf(path, sizeof(path), "%s/page.json", dir);
        status = run_program(&out, "kickoff-herd", "together", "--devices", "200", "--lead", "500ms",
                             "--skew", "5s", "--quiet", "--timeout", "60s", "--json", path, NULL);
        cr_assert(status == 0 || status == 1, "ended with %d: %s", status, out);
        root = read_json(path);
        told = json_array_get(json_object_get(root, "runs"), 0);
        announced = json_array_get(json_object_get(root, "runs"), 1);
        for (unsigned i = 0; i < 2; i++) {
                const json_t *run = i == 0 ? told : announced;

                cr_assert(eq(int, count(run, "acted"), 200), "%s", out);
                cr_assert(eq(int, count(run, "timed"), 200), "%s", out);
                cr_assert(eq(int, count(run, "lost"), 0));
        }
        cr_assert(eq(int, (int)figure(announced, "lead_ms"), 500));
        /* How near they come together is the machine's doing, too; that their clocks are seconds off
         * is not to be seen, nor that they were told half a second before. */
        cr_assert(gt(dbl, figure(announced, "switched_p50_ms"), -250.0));
        cr_assert(gt(dbl, figure(told, "switched_first_ms"), -250.0));
        json_decref(root);
        free(out);
        remove_dir();
}

Test(herd, prefetch_flattens_the_stampede_of_300_devices)
{
        json_t *root, *stampede, *spread;
        char *out, html[128], json[128];
        int status;

        make_dir();
        snprintf(html, sizeof(html), "%s/page.html", dir);
        snprintf(json, sizeof(json), "%s/page.json", dir);
        status = run_program(&out, "kickoff-herd", "compare", "--devices", "300", "--window", "3s",
                             "--think", "0ms", "--jitter", "50ms", "--timeout", "60s", "--html",
                             html, NULL);
        cr_assert(eq(int, status, 0), "ended with %d: %s", status, out);
        free(out);
        root = read_json(json);
        cr_assert(eq(int, json_boolean_value(json_object_get(root, "passed")), 1));
        stampede = json_array_get(json_object_get(root, "runs"), 0);
        spread = json_array_get(json_object_get(root, "runs"), 1);
        cr_assert(eq(int, count(stampede, "shown"), 300));
        cr_assert(eq(int, count(spread, "shown"), 300));
        cr_assert(eq(i64, total(spread, "requests"), 300), "one each, and never again");
        cr_assert(eq(int, (int)figure(spread, "requests_after"), 0));
        cr_assert(
            eq(int, (int)figure(stampede, "requests_after"), (int)total(stampede, "requests")),
            "nobody asks before the signal");
        cr_assert(gt(dbl, figure(stampede, "peak_requests_per_s"),
                     figure(spread, "peak_requests_per_s")));
        json_decref(root);
        cr_assert(zero(int, access(html, R_OK)));
        cr_assert(eq(uint, entries(), 2));
        remove_dir();
}

Test(herd, refuses_what_cannot_be_played)
{
        static const char *const wrong[][3] = { { "reconnect-storm", "--nodes=1", NULL },
                                                { "rolling-restart", "--nodes=1", NULL },
                                                { "compare", "--event=final", NULL },
                                                { "start", "--slow=1.5", NULL },
                                                { "nonsense", NULL, NULL },
                                                { "--devices=5", "soak", NULL },
                                                { "connect-storm", "--devices=40000", NULL },
                                                { "reconnect-storm", "--devices=40000", NULL } };

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                char *out;
                int status =
                    run_program(&out, "kickoff-herd", wrong[i][0], wrong[i][1], wrong[i][2], NULL);

                cr_expect(eq(int, status, 2), "%s: %d", wrong[i][0], status);
                free(out);
        }
}
