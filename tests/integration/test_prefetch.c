/* tests/integration/test_prefetch.c -- bundles on the whole way: loaded by the command, read from
 * Redis once per node however many devices ask, sent in the coding a device wants, at a pace that a
 * node can serve. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/http_client.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

#define COHORTS 10000
#define GETS    10000
#define SOCKETS 1000 /* with ten requests in a row on each */

/* --- a directory of bundles ------------------------------------------------------------------- */

static void write_bundle(const char *dir, unsigned i, const char *version)
{
        char path[128];
        FILE *file;

        snprintf(path, sizeof(path), i == 0 ? "%s/default.json" : "%s/cohort-%u.json", dir, i);
        file = fopen(path, "we");
        cr_assert(file != NULL);
        fprintf(file, "{\"cohort\":%u,\"v\":\"%s\"}", i, version);
        fclose(file);
}

static void remove_dir(const char *dir, unsigned n)
{
        char path[128];

        for (unsigned i = 0; i < n; i++) {
                snprintf(path, sizeof(path), i == 0 ? "%s/default.json" : "%s/cohort-%u.json", dir,
                         i);
                unlink(path);
        }
        rmdir(dir);
}

static long number_from(struct test_redis *redis, const char *command, const char *key)
{
        char *text = test_redis_ask(redis, command, key, NULL);
        long n = atol(text);

        free(text);
        return n;
}

struct drafts {
        struct test_redis *redis;
        long at_least;
};

static bool has_drafts(void *arg)
{
        const struct drafts *drafts = arg;

        return number_from(drafts->redis, "HLEN", "{kickoff}:drafts:final") >= drafts->at_least;
}

static pid_t start_load(const struct test_node *node, const char *dir)
{
        pid_t pid = fork();

        if (pid == 0) {
                const char *bin = getenv("KICKOFF_BIN_DIR");
                char admin[96], program[512];

                snprintf(admin, sizeof(admin), "--admin=%s", node->admin);
                snprintf(program, sizeof(program), "%s/kickoff",
                         bin != NULL ? bin : KICKOFF_BIN_DIR);
                execl(program, "kickoff", "prefetch", "load", "final", dir, admin, NULL);
                _exit(127);
        }
        cr_assert(pid > 0);
        return pid;
}

static json_t *load(const struct test_node *node, const char *dir, const char *more)
{
        char admin[96], *out;
        json_t *answer;

        snprintf(admin, sizeof(admin), "--admin=%s", node->admin);
        cr_assert(eq(int,
                     run_program(&out, "kickoff", "prefetch", "load", "final", dir, admin, "--json",
                                 more, NULL),
                     0));
        answer = json_loads(out, 0, NULL);
        cr_assert(answer != NULL, "%s", out);
        free(out);
        return answer;
}

static json_int_t number(const json_t *answer, const char *name)
{
        const json_t *value = json_object_get(answer, name);
        bool is_number = json_is_integer(value);

        cr_assert(is_number, "%s", name);
        return json_integer_value(value);
}

Test(prefetch, ten_thousand_cohorts_are_loaded_in_one_go_and_a_break_costs_only_what_was_missing,
     .timeout = 240)
{
        char dir[] = "/tmp/kickoff-load-XXXXXX";
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct drafts some = { redis, COHORTS / 10 };
        json_t *answer;
        json_int_t sent;
        long long entries;
        bool is_true;
        int status;
        pid_t pid;

        cr_assert(mkdtemp(dir) != NULL);
        for (unsigned i = 0; i < COHORTS; i++)
                write_bundle(dir, i, "one");
        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        pid = start_load(&node, dir);
        wait_until(has_drafts, &some, "a tenth of the drafts");
        kill(pid, SIGKILL);
        cr_assert(eq(int, waitpid(pid, &status, 0), pid));
        is_true = WIFSIGNALED(status);
        cr_assert(is_true); /* in the middle, indeed */
        cr_assert(eq(long, number_from(redis, "HLEN", "{kickoff}:bundles:final"), 0));

        entries = number_from(redis, "XLEN", "{kickoff}:audit");
        answer = load(&node, dir, NULL);
        sent = number(json_object_get(answer, "load"), "send");
        /* What the node says it took: the drafts and the change; the killed one may have left one
         * of each of its threads on the way. */
        entries = number_from(redis, "XLEN", "{kickoff}:audit") - entries;
        cr_assert(ge(llong, entries, sent + 1));
        cr_assert(le(llong, entries, sent + 1 + 8));
        cr_assert(lt(llong, sent, COHORTS - COHORTS / 10 + 1));
        cr_assert(eq(llong, sent + number(json_object_get(answer, "load"), "stored"), COHORTS));
        cr_assert(
            eq(llong, number(json_object_get(answer, "event"), "bundle"), 1)); /* one change */
        json_decref(answer);
        cr_assert(eq(long, number_from(redis, "HLEN", "{kickoff}:bundles:final"), COHORTS));
        cr_assert(eq(long, number_from(redis, "EXISTS", "{kickoff}:drafts:final"), 0));

        write_bundle(dir, 7, "two");
        answer = load(&node, dir, "--dry-run");
        cr_assert(eq(llong, number(answer, "send"), 1));
        json_decref(answer);
        cr_assert(eq(long, number_from(redis, "EXISTS", "{kickoff}:drafts:final"), 0));
        answer = load(&node, dir, NULL);
        cr_assert(eq(llong, number(json_object_get(answer, "load"), "send"), 1));
        cr_assert(eq(llong, number(json_object_get(answer, "load"), "unchanged"), COHORTS - 1));
        cr_assert(eq(llong, number(json_object_get(answer, "event"), "bundle"), 2));
        json_decref(answer);
        answer = load(&node, dir, NULL);
        cr_assert(eq(llong, number(answer, "send"), 0));
        is_true = json_is_false(json_object_get(answer, "publishes"));
        cr_assert(is_true);
        json_decref(answer);
        node_end(&node);
        test_redis_destroy(redis);
        remove_dir(dir, COHORTS);
}

Test(prefetch, wrong_files_are_refused_before_anything_is_sent)
{
        char dir[] = "/tmp/kickoff-load-XXXXXX", path[128], admin[96], *out;
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        FILE *file;

        cr_assert(mkdtemp(dir) != NULL);
        write_bundle(dir, 0, "one");
        snprintf(path, sizeof(path), "%s/no cohort.json", dir);
        file = fopen(path, "we");
        fclose(file);
        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        snprintf(admin, sizeof(admin), "--admin=%s", node.admin);
        cr_assert(eq(
            int, run_program(&out, "kickoff", "prefetch", "load", "final", dir, admin, NULL), 2));
        free(out);
        cr_assert(eq(long, number_from(redis, "EXISTS", "{kickoff}:drafts:final"), 0));
        node_end(&node);
        test_redis_destroy(redis);
        unlink(path);
        remove_dir(dir, 1);
}

/* --- ten thousand devices --------------------------------------------------------------------- */

static void publish(const struct test_node *node, const char *body)
{
        struct answer answer = ask(node, "PUT", "/v1/events/final/bundles/default", body, NULL);

        cr_assert(eq(int, answer.status, 200));
        answer_end(&answer);
        (void)change(node, "POST", "/v1/events/final/bundles", "{}");
}

/* False: the node has closed it, which it does to shed fetches when the machine is too busy. */
static bool send_all(int fd, const char *bytes, size_t len)
{
        while (len > 0) {
                ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false;
                bytes += n;
                len -= (size_t)n;
        }
        return true;
}

/* Reads to the end of the stream, and counts the answers that are 200, which must have `body`. */
static unsigned count_answers(int fd, const char *body)
{
        static char bytes[65536];
        size_t len = 0;
        unsigned n = 0;
        ssize_t got;

        while ((got = read(fd, bytes + len, sizeof(bytes) - 1 - len)) > 0)
                len += (size_t)got;
        bytes[len] = '\0';
        for (const char *at = bytes; (at = strstr(at, "HTTP/1.1 ")) != NULL; at++) {
                const char *end = strstr(at, "\r\n\r\n");

                if (strncmp(at, "HTTP/1.1 200 OK", 15) != 0) {
                        cr_assert(eq(int, strncmp(at, "HTTP/1.1 503 ", 13), 0), "%.80s", at);
                        continue; /* shed: this device comes back */
                }
                cr_assert(end != NULL && strncmp(end + 4, body, strlen(body)) == 0);
                n++;
        }
        return n;
}

/* Up to GETS devices' requests on SOCKETS connections; how many were answered 200. */
static unsigned herd(const struct test_node *node, const char *body)
{
        static const char get[] = "GET /v1/prefetch/final?cohort=tv HTTP/1.1\r\nHost: a\r\n\r\n";
        static const char last[] = "GET /v1/prefetch/final?cohort=tv HTTP/1.1\r\nHost: a\r\n"
                                   "Connection: close\r\n\r\n";
        static int sockets[SOCKETS];
        unsigned answers = 0;

        for (unsigned i = 0; i < SOCKETS; i++) {
                bool open = true;

                sockets[i] = raw_connect(node, 0);
                for (unsigned k = 1; k < GETS / SOCKETS && open; k++)
                        open = send_all(sockets[i], get, sizeof(get) - 1);
                if (open)
                        (void)send_all(sockets[i], last, sizeof(last) - 1);
        }
        for (unsigned i = 0; i < SOCKETS; i++) {
                answers += count_answers(sockets[i], body);
                close(sockets[i]);
        }
        return answers;
}

Test(prefetch, ten_thousand_gets_of_a_cold_bundle_are_one_load_from_redis, .timeout = 240)
{
        static const char body[] = "{\"live\":[1,2,3]}";
        struct test_redis *redis = test_redis_start(NULL);
        struct rlimit limit;
        struct test_node node = { 0 };
        unsigned answers = 0;
        char *stats;

        cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, &limit), 0));
        limit.rlim_cur = limit.rlim_max;
        cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &limit), 0));
        node_start(&node, "--redis", test_redis_url(redis), "--workers=2", NULL);
        create_event(&node, "final");
        publish(&node, body);
        test_redis_do(redis, "CONFIG", "RESETSTAT", NULL);
        while (answers < GETS)
                answers += herd(&node, body);
        /* Nothing else on a node uses GET; its index is one read, too. */
        stats = test_redis_ask(redis, "INFO", "commandstats", NULL);
        cr_assert(strstr(stats, "cmdstat_get:calls=1,") != NULL, "%s", stats);
        free(stats);
        cr_assert(eq(i64, node_metric(&node, "kickoff_prefetch_reads_total{what=\"body\"}"), 1));
        cr_assert(eq(i64, node_metric(&node, "kickoff_prefetch_reads_total{what=\"index\"}"), 1));
        cr_assert(ge(i64, node_metric(&node, "kickoff_prefetch_total{status=\"200\"}"), GETS));
        node_end(&node);
        test_redis_destroy(redis);
}

/* --- a body that is not what it is filed as --------------------------------------------------- */

/* One GET of the bundle, to the end of the stream: its status; `ret_body` gets what follows the
 * head. */
static int get_bundle(const struct test_node *node, char *ret_body, size_t size)
{
        static const char get[] = "GET /v1/prefetch/final HTTP/1.1\r\nHost: a\r\n"
                                  "Connection: close\r\n\r\n";
        static char bytes[65536];
        int fd = raw_connect(node, 0);
        const char *body;
        size_t len = 0;
        ssize_t got;

        cr_assert(eq(int, send_all(fd, get, sizeof(get) - 1), true));
        while ((got = read(fd, bytes + len, sizeof(bytes) - 1 - len)) > 0)
                len += (size_t)got;
        bytes[len] = '\0';
        close(fd);
        cr_assert(eq(int, strncmp(bytes, "HTTP/1.1 ", 9), 0), "%.80s", bytes);
        body = strstr(bytes, "\r\n\r\n");
        snprintf(ret_body, size, "%s", body != NULL ? body + 4 : "");
        return atoi(bytes + 9);
}

static bool is_served(void *node)
{
        char body[64];

        return get_bundle(node, body, sizeof(body)) == 200 && strcmp(body, "{\"live\":[1]}") == 0;
}

Test(prefetch, a_body_that_is_not_what_its_hash_says_is_never_sent, .timeout = 120)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        char *row, *sha256, key[128], body[64];

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        publish(&node, "{\"live\":[1]}");
        row = test_redis_ask(redis, "HGET", "{kickoff}:bundles:final", "default", NULL);
        sha256 = strchr(row, ' '); /* "<position> <sha256> <size> <type>" */
        cr_assert(sha256 != NULL, "%s", row);
        snprintf(key, sizeof(key), "{kickoff}:body:%.64s", sha256 + 1);
        free(row);
        test_redis_do(redis, "SET", key, "{\"live\":[2]}", NULL); /* of the same length */
        for (unsigned i = 0; i < 3; i++) {
                cr_assert(eq(int, get_bundle(&node, body, sizeof(body)), 503));
                cr_assert(strstr(body, "[2]") == NULL, "%s", body);
        }
        cr_assert(node_log_has(&node, "PREFETCH-POISONED"));
        cr_assert(ge(i64, node_metric(&node, "kickoff_prefetch_poisoned_total"), 1));
        test_redis_do(redis, "SET", key, "{\"live\":[1]}", NULL);
        wait_until(is_served, &node, "the right body, once it is there again");
        node_end(&node);
        test_redis_destroy(redis);
}

/* --- codings and windows -----------------------------------------------------------------------
 */

static unsigned get_as(const struct test_node *node, const char *accept, const char *wanted)
{
        char request[256];
        static char bytes[65536];
        size_t len = 0;
        ssize_t got;
        int fd = raw_connect(node, 0);

        snprintf(request, sizeof(request),
                 "GET /v1/prefetch/final HTTP/1.1\r\nHost: a\r\nAccept-Encoding: %s\r\n"
                 "Connection: close\r\n\r\n",
                 accept);
        cr_assert(eq(int, send_all(fd, request, strlen(request)), true));
        while ((got = read(fd, bytes + len, sizeof(bytes) - 1 - len)) > 0)
                len += (size_t)got;
        bytes[len] = '\0';
        close(fd);
        cr_assert(strstr(bytes, wanted) != NULL, "%.500s", bytes);
        return (unsigned)atoi(strstr(bytes, "Content-Length: ") + 16);
}

Test(prefetch, the_first_answer_of_an_idle_node_is_packed_already_and_says_where_it_was_made)
{
        struct test_node node = { 0 };
        char body[8001];
        seqno published;

        for (unsigned i = 0; i < sizeof(body) - 1; i++)
                body[i] = "{\"title\":\"kickoff\"},"[i % 20];
        body[sizeof(body) - 1] = '\0';
        node_start(&node, NULL);
        create_event(&node, "final");
        {
                struct answer answer =
                    ask(&node, "PUT", "/v1/events/final/bundles/default", body, NULL);
                char position[64];

                cr_assert(eq(int, answer.status, 200));
                answer_end(&answer);
                published = change(&node, "POST", "/v1/events/final/bundles", "{}");
                snprintf(position, sizeof(position), ".%llu.", (unsigned long long)published);
                cr_assert(lt(uint, get_as(&node, "gzip", "\r\nContent-Encoding: gzip\r\n"), 800));
                cr_assert(
                    lt(uint, get_as(&node, "gzip, zstd", "\r\nContent-Encoding: zstd\r\n"), 800));
                cr_assert(eq(uint, get_as(&node, "br", position), 8000));
        }
        node_end(&node);
}

static struct signal refreshed(const struct test_node *node, const char *body)
{
        struct recorder recorder;
        struct signal signal;

        recorder_start(&recorder, node, "tv-1", NULL, ENCODING_JSON);
        (void)change(node, "POST", "/v1/events/final/refresh", body);
        recorder_until_signals(&recorder, 1);
        signal = recorder.signals[0];
        recorder_end(&recorder);
        return signal;
}

Test(prefetch, devices_are_told_over_which_span_to_fetch_at_a_pace_that_the_node_can_serve)
{
        struct test_node node = { 0 };
        struct recorder first, second;

        node_start(&node, "--prefetch-rate=1", NULL); /* one a second: a span for each device */
        create_event(&node, "final");
        publish(&node, "{}");
        recorder_start(&first, &node, "tv-a", NULL, ENCODING_JSON);
        cr_assert(first.hello.has_prefetch_ms);
        cr_assert(le(u32, first.hello.prefetch_ms, 1000));
        recorder_start(&second, &node, "tv-b", NULL, ENCODING_MSGPACK);
        cr_assert(second.hello.has_prefetch_ms);
        cr_assert(ge(u32, second.hello.prefetch_ms, 1000));
        cr_assert(le(u32, second.hello.prefetch_ms, 2000));
        recorder_end(&first);
        recorder_end(&second);
        cr_assert(ge(i64, refreshed(&node, "{}").window_ms, 1000));
        cr_assert(eq(i64, refreshed(&node, "{\"window\":\"90s\"}").window_ms, 90000));
        node_end(&node);
}
