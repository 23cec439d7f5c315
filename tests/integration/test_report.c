/* The delivery report over the whole path: devices of kickoff-herd and the SDK, two nodes, one
 * Redis. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

/* --- a herd that stays ----------------------------------------------------------------------- */

static pid_t herd_start(const char *devices, const char *urls, const struct test_node *node)
{
        const char *dir = getenv("KICKOFF_BIN_DIR");
        char path[512];
        pid_t pid;

        snprintf(path, sizeof(path), "%s/kickoff-herd", dir != NULL ? dir : KICKOFF_BIN_DIR);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                freopen("/dev/null", "w", stdout);
                freopen("/dev/null", "w", stderr);
                execl(path, path, "--devices", devices, "--url", urls, "--admin", node->admin,
                      "--event", "final", "--no-prefetch", "--hold", NULL);
                _exit(127);
        }
        cr_assert(gt(int, pid, 0));
        return pid;
}

static void herd_end(pid_t pid)
{
        int status;

        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
}

/* --- the report ------------------------------------------------------------------------------ */

struct watched {
        const struct test_node *node;
        seqno seq;
        json_t *report; /* of the last look; ours */
};

static json_t *look(struct watched *watched)
{
        char path[64];
        struct answer answer;

        json_decref(watched->report);
        watched->report = NULL;
        snprintf(path, sizeof(path), "/v1/signals/%llu", (unsigned long long)watched->seq);
        answer = ask(watched->node, "GET", path, NULL, NULL);
        if (answer.status == 200)
                watched->report = json_incref(json_object_get(answer.json, "report"));
        answer_end(&answer);
        return watched->report;
}

static int count(const json_t *part, const char *name)
{
        return (int)json_integer_value(json_object_get(part, name));
}

static bool is(const json_t *part, const char *name)
{
        return json_is_true(json_object_get(part, name));
}

static const json_t *row(const json_t *report, const char *name)
{
        const json_t *nodes = json_object_get(report, "nodes");

        for (size_t i = 0; i < json_array_size(nodes); i++) {
                const json_t *node = json_array_get(nodes, i);

                if (strcmp(json_string_value(json_object_get(node, "name")), name) == 0)
                        return node;
        }
        return NULL;
}

static bool is_complete(void *arg)
{
        return is(look(arg), "complete");
}

/* Of the 40 devices: all were connected when the start came. */
static bool has_begun(void *arg)
{
        struct watched *watched = arg;

        return look(watched) != NULL && count(watched->report, "connected") == 40;
}

static void expect_40(const json_t *report)
{
        cr_assert(eq(int, count(report, "connected"), 40));
        cr_assert(eq(int, count(report, "written"), 40));
        cr_assert(eq(int, count(report, "acked"), 40));
}

Test(report, two_nodes_and_40_devices_add_up_and_every_device_is_counted_once)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node a = { 0 }, b = { 0 };
        struct watched start = { .node = &b, .seq = 2 };
        char urls[160], *out, *last;
        json_t *json;
        pid_t herd;

        node_start(&a, "--redis", test_redis_url(redis), "--name", "a", "--ack-spread", "1s", NULL);
        node_start(&b, "--redis", test_redis_url(redis), "--name", "b", "--ack-spread", "1s", NULL);
        create_event(&a, "final");
        snprintf(urls, sizeof(urls), "%s,%s", a.url, b.url);
        herd = herd_start("40", urls, &a);
        wait_until(has_begun, &start, "both nodes to report on the start");
        wait_until(is_complete, &start, "the report to be complete");
        expect_40(start.report);
        cr_assert(not(is(start.report, "partial")));
        cr_assert(eq(int, count(row(start.report, "a"), "acked"), 20));
        cr_assert(eq(int, count(row(start.report, "b"), "acked"), 20));
        cr_assert(eq(int, count(json_object_get(start.report, "told"), "devices"), 40));
        cr_assert(eq(int, count(start.report, "said"), 40), "a herd says when it acts");
        cr_assert(le(int, count(json_object_get(start.report, "told"), "p50"),
                     count(json_object_get(start.report, "told"), "max")));

        cr_assert(eq(int,
                     run_program(&out, "kickoff", "report", "latest", "--follow", "--json",
                                 "--admin", a.admin, NULL),
                     0));
        out[strlen(out) - 1] = '\0'; /* the last line's end */
        last = strrchr(out, '\n') != NULL ? strrchr(out, '\n') + 1 : out;
        json = json_loads(last, 0, NULL);
        cr_assert(is(json_object_get(json, "report"), "complete"), "%s", out);
        json_decref(json);
        free(out);
        cr_assert(
            eq(int, run_program(&out, "kickoff", "report", "2", "--admin", a.admin, NULL), 0));
        cr_assert(strstr(out, "acked 40  written 40  connected 40") != NULL, "%s", out);
        cr_assert(strchr(out, '\033') == NULL, "this is not a terminal");
        free(out);
        cr_assert(
            eq(int, run_program(&out, "kickoff", "report", "3", "--admin", a.admin, NULL), 1));
        free(out);

        herd_end(herd);
        json_decref(start.report);
        node_end(&a);
        node_end(&b);
        test_redis_destroy(redis);
}

static bool b_is_gone(void *arg)
{
        struct watched *watched = arg;

        return is(row(look(watched), "b"), "gone");
}

static bool a_has_all(void *arg)
{
        struct watched *watched = arg;
        const json_t *report = look(watched);

        /* What b counted in its last second is lost, and the devices do not say it again. */
        return count(report, "acked") >= 30 && count(row(report, "a"), "acked") > 20;
}

Test(report, a_node_that_dies_leaves_its_part_and_its_devices_are_counted_where_they_come_back)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node a = { 0 }, b = { 0 };
        struct watched start = { .node = &a, .seq = 2 };
        int written, acked;
        char urls[160];
        pid_t herd;

        node_start(&a, "--redis", test_redis_url(redis), "--name", "a", "--ack-spread", "8s", NULL);
        node_start(&b, "--redis", test_redis_url(redis), "--name", "b", "--ack-spread", "8s", NULL);
        create_event(&a, "final");
        snprintf(urls, sizeof(urls), "%s,%s", a.url, b.url);
        herd = herd_start("40", urls, &a);
        wait_until(has_begun, &start, "both nodes to report on the start");
        written = count(row(start.report, "b"), "written");
        acked = count(row(start.report, "b"), "acked");
        node_kill(&b);
        wait_until(b_is_gone, &start, "b's part to be marked");
        cr_assert(is(start.report, "partial"));
        wait_until(a_has_all, &start, "b's devices to be counted at a");
        cr_assert(is(row(start.report, "b"), "gone"));
        cr_assert(ge(int, count(row(start.report, "b"), "written"), written));
        cr_assert(ge(int, count(row(start.report, "b"), "acked"), acked));
        cr_assert(eq(int, count(start.report, "connected"), 40));
        cr_assert(eq(int, count(start.report, "written"), 40));
        cr_assert(le(int, count(start.report, "acked"), 40), "nobody is counted twice");
        cr_assert(not(is(row(start.report, "a"), "gone")));

        /* Started again, b begins a part of its own and leaves the old one alone. */
        node_start(&b, "--redis", test_redis_url(redis), "--name", "b", NULL);
        cr_assert(is(row(look(&start), "b"), "gone"));
        cr_assert(ge(int, count(row(start.report, "b"), "written"), written));

        herd_end(herd);
        json_decref(start.report);
        node_end(&a);
        node_end(&b);
        test_redis_destroy(redis);
}

/* --- what it costs ---------------------------------------------------------------------------- */

static int64_t calls_of(struct test_redis *redis, const char *command)
{
        char *text = test_redis_ask(redis, "INFO", "commandstats", NULL), name[64];
        const char *at;
        int64_t calls = 0;

        snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
        at = strstr(text, name);
        if (at != NULL)
                calls = atoll(at + strlen(name));
        free(text);
        return calls;
}

struct cost {
        int64_t hsets, expires, acks;
        double seconds;
};

/* Connected, started, all acknowledged and reported. */
static struct cost cost_of(const char *devices)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct watched start = { .node = &node, .seq = 2 };
        uint64_t began_ms;
        struct cost cost;
        pid_t herd;

        /* Where each device is costs a record each, whatever is sent: not what is counted here. */
        node_start(&node, "--redis", test_redis_url(redis), "--name", "a", "--registry", "off",
                   NULL);
        create_event(&node, "final");
        test_redis_do(redis, "CONFIG", "RESETSTAT", NULL);
        began_ms = clock_mono_ms();
        herd = herd_start(devices, node.url, &node);
        wait_until(is_complete, &start, "all to have acknowledged");
        cost = (struct cost){ .hsets = calls_of(redis, "hset"),
                              .expires = calls_of(redis, "expire"),
                              .acks = node_metric(&node, "kickoff_acks_total"),
                              .seconds = (double)(clock_mono_ms() - began_ms) / 1000 };
        cr_assert(eq(int, count(start.report, "acked"), atoi(devices)));
        cr_assert(eq(i64, cost.acks, atoi(devices)), "each told something new, once");
        herd_end(herd);
        json_decref(start.report);
        node_end(&node);
        test_redis_destroy(redis);
        return cost;
}

Test(report, redis_is_asked_as_little_for_400_devices_as_for_20)
{
        struct cost few = cost_of("20"), many = cost_of("400");
        /* One signal: two parts a second, and presence once; and what a change itself writes. */
        double part_rate = 2 * many.seconds + 2;

        cr_assert(le(i64, many.hsets, (int64_t)(part_rate + many.seconds + 6)), "%d HSET in %.1f s",
                  (int)many.hsets, many.seconds);
        cr_assert(le(i64, many.expires, (int64_t)(part_rate + 4)), "%d EXPIRE in %.1f s",
                  (int)many.expires, many.seconds);
        cr_assert(lt(i64, many.hsets, few.hsets + (int64_t)(3 * many.seconds) + 4));
        cr_assert(lt(i64, many.hsets, many.acks / 8), "%d HSET for %d acks", (int)many.hsets,
                  (int)many.acks);
        fprintf(stderr, "20 devices: %d HSET, 400 devices: %d HSET in %.1f s\n", (int)few.hsets,
                (int)many.hsets, many.seconds);
}

Test(report, the_last_acks_before_a_drain_are_not_lost)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node leaving = { 0 }, stays = { 0 };
        struct watched start = { .node = &stays, .seq = 2 };
        struct recorder r;

        node_start(&leaving, "--redis", test_redis_url(redis), "--name", "a", "--ack-spread", "0s",
                   NULL);
        node_start(&stays, "--redis", test_redis_url(redis), "--name", "b", NULL);
        create_event(&leaving, "final");
        recorder_start(&r, &leaving, "tv-1", NULL, ENCODING_JSON);
        change(&leaving, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&r, 1);
        while (node_metric(&leaving, "kickoff_acks_total") == 0)
                recorder_run(&r, 10);
        recorder_end(&r); /* the node has nobody to wait for */
        cr_assert(eq(int, node_stop(&leaving, SIGTERM), 0));
        look(&start);
        cr_assert(eq(int, count(row(start.report, "a"), "acked"), 1));
        json_decref(start.report);
        node_end(&leaving);
        node_end(&stays);
        test_redis_destroy(redis);
}

/* --- Ctrl-C ---------------------------------------------------------------------------------- */

struct terminal { /* `kickoff report latest --follow` in one of its own */
        pid_t pid;
        int fd;
        char shown[65536];
        size_t len;
        const char *awaited;
};

static void terminal_start(struct terminal *terminal, const struct test_node *node)
{
        const char *dir = getenv("KICKOFF_BIN_DIR");
        char path[512];

        snprintf(path, sizeof(path), "%s/kickoff", dir != NULL ? dir : KICKOFF_BIN_DIR);
        memset(terminal, 0, sizeof(*terminal));
        terminal->pid = forkpty(&terminal->fd, NULL, NULL, NULL);
        if (terminal->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                execl(path, path, "--admin", node->admin, "report", "latest", "--follow", NULL);
                _exit(127);
        }
        cr_assert(gt(int, terminal->pid, 0));
}

static bool has_shown(void *arg)
{
        struct terminal *terminal = arg;
        struct pollfd ready = { .fd = terminal->fd, .events = POLLIN };

        while (poll(&ready, 1, 0) > 0) {
                ssize_t n = read(terminal->fd, terminal->shown + terminal->len,
                                 sizeof(terminal->shown) - 1 - terminal->len);

                if (n <= 0)
                        break;
                terminal->len += (size_t)n;
        }
        terminal->shown[terminal->len] = '\0';
        return strstr(terminal->shown, terminal->awaited) != NULL;
}

/* Ctrl-C as it is typed; the node may be stopped, so that no answer comes. */
static void ends_as_interrupted(struct test_node *node, bool node_hangs)
{
        struct terminal terminal;
        int status;

        terminal_start(&terminal, node);
        terminal.awaited = "written 1";
        wait_until(has_shown, &terminal, "the first report");
        if (node_hangs)
                kill(node->pid, SIGSTOP);
        cr_assert(eq(int, (int)write(terminal.fd, "\003", 1), 1));
        cr_assert(eq(int, waitpid(terminal.pid, &status, 0), terminal.pid));
        if (node_hangs)
                kill(node->pid, SIGCONT);
        cr_assert(eq(int, WIFSIGNALED(status), 1));
        cr_assert(eq(int, WTERMSIG(status), SIGINT));
        /* The last word to the terminal is that lines are wrapped again; the cursor was never
         * hidden. */
        terminal.awaited = "\033[?7h";
        cr_assert(has_shown(&terminal));
        for (char *at = terminal.shown, *off; (off = strstr(at, "\033[?7l")) != NULL; at = off + 1)
                cr_assert(strstr(off, "\033[?7h") != NULL);
        cr_assert(strstr(terminal.shown, "\033[?25") == NULL);
        close(terminal.fd);
}

Test(report, ctrl_c_ends_the_following_at_once_as_a_failure_and_leaves_the_terminal_well)
{
        struct test_node node = { 0 };
        struct recorder silent;

        node_start(&node, "--ack-spread=60s", NULL);
        recorder_start(&silent, &node, "tv-1", NULL, ENCODING_JSON); /* never run, so never acks */
        create_event(&node, "final");
        ends_as_interrupted(&node, false);
        ends_as_interrupted(&node, true);
        recorder_end(&silent);
        node_end(&node);
}

Test(report, that_cannot_be_written_is_no_success)
{
        struct test_node node = { 0 };
        const char *dir = getenv("KICKOFF_BIN_DIR");
        char command[700];
        int status;

        node_start(&node, NULL);
        create_event(&node, "final");
        snprintf(command, sizeof(command), "%s/kickoff --admin %s report latest >/dev/full",
                 dir != NULL ? dir : KICKOFF_BIN_DIR, node.admin);
        status = system(command);
        cr_assert(eq(int, WIFEXITED(status), 1));
        cr_assert(eq(int, WEXITSTATUS(status), 1));
        snprintf(command, sizeof(command), "%s/kickoff --admin %s report latest | true",
                 dir != NULL ? dir : KICKOFF_BIN_DIR, node.admin);
        cr_assert(zero(int, system(command)));
        node_end(&node);
}
