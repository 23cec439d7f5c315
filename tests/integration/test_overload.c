/* The overload ladder of a real node, seen from outside: contract line 12. Descriptors are the one
 * gauge that can be moved from there, by prlimit(2). */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/integration/harness.h"

#define SESSIONS 300

static bool is_overloaded(void *arg)
{
        struct answer answer = ask(arg, "GET", "/readyz", NULL, NULL);
        const char *detail =
            answer.json ? json_string_value(json_object_get(answer.json, "detail")) : NULL;
        bool yes = answer.status == 503 && detail != NULL && strstr(detail, "overloaded") != NULL;

        answer_end(&answer);
        return yes;
}

static bool is_ready(void *arg)
{
        struct answer answer = ask(arg, "GET", "/readyz", NULL, NULL);
        bool yes = answer.status == 200;

        answer_end(&answer);
        return yes;
}

static bool is_at_the_top(void *arg)
{
        return node_metric(arg, "kickoff_overload_step ") == 3;
}

static bool is_calm(void *arg)
{
        return node_metric(arg, "kickoff_overload_step ") == 0;
}

static bool all_are_told(void *arg)
{
        return node_metric(arg, "kickoff_signals_written_total ") >= SESSIONS + 1;
}

static unsigned descriptors_of(pid_t pid)
{
        char path[64];
        unsigned n = 0;
        DIR *dir;

        snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        dir = opendir(path);
        cr_assert(ne(ptr, dir, NULL));
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

Test(overload, at_the_top_step_readiness_tells_and_signals_go_out, .timeout = 240)
{
        static struct recorder recorder;
        struct test_node node = { 0 };
        struct rlimit limit, tight;
        struct answer answer;
        int fds[SESSIONS];

        node_start(&node, NULL);
        create_event(&node, "final");
        recorder_start(&recorder, &node, "tv-1", NULL, ENCODING_JSON);
        for (unsigned i = 0; i < SESSIONS; i++) {
                char device[16];

                snprintf(device, sizeof(device), "tv-%u", i + 2);
                fds[i] = raw_connect(&node, 0);
                raw_upgrade(fds[i], device, "");
        }
        cr_assert(is_ready(&node));

        cr_assert(zero(int, prlimit(node.pid, RLIMIT_NOFILE, NULL, &limit)));
        tight = limit;
        tight.rlim_cur = descriptors_of(node.pid) + 2; /* room for our questions, one at a time */
        cr_assert(zero(int, prlimit(node.pid, RLIMIT_NOFILE, &tight, NULL)));
        wait_until(is_overloaded, &node, "readiness to tell");
        wait_until(is_at_the_top, &node, "the metrics to tell, which is done ten times a second");
        cr_assert(
            ge(i64, node_metric(&node, "kickoff_overload_gauge{gauge=\"descriptors\"} "), 990));
        cr_assert(ge(i64,
                     node_metric(&node, "kickoff_overload_changes_total{step=\"no-resumes\","
                                        "gauge=\"descriptors\"} "),
                     1));
        cr_assert(node_log_has(&node, "OVERLOAD-STEP worker=0 step=no-resumes"));

        answer = ask(&node, "POST", "/v1/events/final/start", "{}", NULL);
        cr_assert(eq(int, answer.status, 200));
        answer_end(&answer);
        recorder_until_signals(&recorder, 1);
        cr_assert(eq(i64, node_metric(&node, "kickoff_devices "), SESSIONS + 1));
        wait_until(all_are_told, &node, "the others to be told");

        cr_assert(zero(int, prlimit(node.pid, RLIMIT_NOFILE, &limit, NULL)));
        wait_until(is_ready, &node, "readiness to come back");
        wait_until(is_calm, &node, "the ladder to come down");
        for (unsigned i = 0; i < SESSIONS; i++)
                close(fds[i]);
        recorder_end(&recorder);
        node_end(&node);
}
