/* deploy/redis/users.acl against real nodes: what each user may do is enough, is no more than is
 * used, and who may not append is told so. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_files.h"
#include "tests/support/redis_server.h"

#define HOST "127.0.0.1"

struct bench {
        struct redis_files files;
        struct test_redis *redis;
        char node_url[256], edge_url[256];
        struct test_node node, edge;
        struct recorder at_edge;
};

static void make_url(struct bench *b, const char *user, char url[256])
{
        char password[128];

        redis_files_password(&b->files, user, password);
        /* Another database than 0, so that SELECT is needed, too. */
        snprintf(url, 256, "redis://%s:%s@%s:%u/1", user, password, HOST,
                 test_redis_port(b->redis));
}

static void start_redis(struct bench *b, bool open)
{
        const struct test_redis_options options = { .host = HOST };
        char acl[160];

        memset(b, 0, sizeof(*b));
        redis_files_make(&b->files, KICKOFF_SOURCE_DIR, "", HOST);
        if (open)
                redis_files_open(&b->files, HOST);
        b->redis = test_redis_start_as(&options, "--aclfile",
                                       redis_files_path(&b->files, HOST, "users.acl", acl), NULL);
        make_url(b, "kickoff-node", b->node_url);
        make_url(b, "kickoff-edge", b->edge_url);
}

static void end_redis(struct bench *b)
{
        test_redis_destroy(b->redis);
        redis_files_end(&b->files);
}

static void prefetched(const struct test_node *node, const char *content)
{
        struct http_answer answer;
        struct http_ask question = { .method = "GET" };
        char url[96];

        snprintf(url, sizeof(url), "http://" HOST ":%u/v1/prefetch/final", node->port);
        question.url = url;
        if (http_client_ask(&question, &answer) != OK || answer.status != 200 ||
            strcmp(answer.body, content) != 0)
                give_up("no such bundle from %s", url);
        http_answer_fini(&answer);
}

static void expect(const struct test_node *node, const char *method, const char *path,
                   const char *body, int status)
{
        struct answer answer = ask(node, method, path, body, NULL);

        if (answer.status != status)
                give_up("%s %s was answered %d: %s", method, path, answer.status,
                        answer.json ? json_dumps(answer.json, 0) : "");
        answer_end(&answer);
}

struct seen {
        const struct test_node *node;
        const char *name;
        seqno seq;
};

static bool is_present(void *arg)
{
        const struct seen *seen = arg;
        struct answer answer = ask(seen->node, "GET", "/v1/nodes", NULL, NULL);
        json_t *nodes = json_object_get(answer.json, "nodes"), *row;
        bool found = false;
        size_t i;

        json_array_foreach(nodes, i, row)
        {
                const char *name = json_string_value(json_object_get(row, "name"));

                found = found || (name && strcmp(name, seen->name) == 0);
        }
        answer_end(&answer);
        return found;
}

/* Its part of the delivery report of a signal is there. */
static bool has_reported(void *arg)
{
        const struct seen *seen = arg;
        char path[64];
        struct answer answer;
        json_t *row;
        bool found = false;
        size_t i;

        snprintf(path, sizeof(path), "/v1/signals/%llu", (unsigned long long)seen->seq);
        answer = ask(seen->node, "GET", path, NULL, NULL);
        json_array_foreach(json_object_get(json_object_get(answer.json, "report"), "nodes"), i, row)
        {
                const char *name = json_string_value(json_object_get(row, "name"));

                found = found || (name && strcmp(name, seen->name) == 0 &&
                                  json_is_true(json_object_get(row, "reported")));
        }
        answer_end(&answer);
        return found;
}

/* Redis writes down what it refuses. An edge that offers the functions, which are there, is right
 * to be. */
static bool nothing_was_refused(struct bench *b)
{
        static const char *const allowed = "function|load\nusername\nkickoff-edge\n";
        char *log = test_redis_ask(b->redis, "ACL", "LOG", "128", NULL), *at = log;
        bool good = true;

        while ((at = strstr(at, "object\n")) != NULL) {
                at += strlen("object\n");
                good = good && strncmp(at, allowed, strlen(allowed)) == 0;
        }
        free(log);
        return good;
}

/* All a node does that may append, and that a producer asks of it. */
static void as_node(struct bench *b)
{
        node_start(&b->node, "--redis", b->node_url, "--name", "node", NULL);
        create_event(&b->node, "final");
        expect(&b->node, "PUT", "/v1/events/final/bundles/default", "{\"stage\":\"live\"}", 200);
        expect(&b->node, "GET", "/v1/events/final/bundles", NULL, 200);
        change(&b->node, "POST", "/v1/events/final/bundles", "{}");
        expect(&b->node, "GET", "/v1/events", NULL, 200);
        expect(&b->node, "GET", "/v1/events/final", NULL, 200);
        expect(&b->node, "GET", "/v1/signals", NULL, 200);
        expect(&b->node, "GET", "/v1/signals/1", NULL, 200);
        wait_until(is_present, &(struct seen){ &b->node, "node", 0 }, "the node's presence");
        prefetched(&b->node, "{\"stage\":\"live\"}");
}

/* All a node does that only serves devices. as_node went before. */
static void as_edge(struct bench *b)
{
        char token[TOKEN_TEXT_MAX + 1];
        seqno seq;

        node_start(&b->edge, "--redis", b->edge_url, "--name", "edge", "--admin=none", NULL);
        recorder_start(&b->at_edge, &b->edge, "tv-1", NULL, ENCODING_JSON);
        prefetched(&b->edge, "{\"stage\":\"live\"}");
        seq = change(&b->node, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&b->at_edge, 1);
        wait_until(is_present, &(struct seen){ &b->node, "edge", 0 }, "the edge's presence");
        wait_until(has_reported, &(struct seen){ &b->node, "edge", seq }, "the edge's report");

        strcpy(token, kickoff_device_token(b->at_edge.device));
        recorder_end(&b->at_edge);
        change(&b->node, "POST", "/v1/events/final/end", "{}");
        recorder_start(&b->at_edge, &b->edge, "tv-1", token, ENCODING_JSON);
        if (!b->at_edge.hello.recovered)
                give_up("the edge did not resume a device");
        recorder_until_signals(&b->at_edge, 1);
        recorder_end(&b->at_edge);
}

Test(acl, kickoff_node_may_do_all_it_does)
{
        struct bench b;

        start_redis(&b, true);
        as_node(&b);
        cr_assert(nothing_was_refused(&b));
        node_end(&b.node);
        end_redis(&b);
}

Test(acl, kickoff_edge_may_do_all_it_does)
{
        struct bench b;

        start_redis(&b, true);
        as_node(&b);
        as_edge(&b);
        cr_assert(nothing_was_refused(&b));
        node_end(&b.edge);
        node_end(&b.node);
        end_redis(&b);
}

static void refused(const struct test_node *node, const char *method, const char *path,
                    const char *body)
{
        struct answer answer = ask(node, method, path, body, NULL);
        const char *detail = json_string_value(json_object_get(answer.json, "detail"));

        cr_assert(eq(int, answer.status, 503), "%s %s", method, path);
        cr_assert(detail && strstr(detail, "NOPERM"), "%s %s: %s", method, path, detail);
        answer_end(&answer);
}

Test(acl, kickoff_edge_cannot_change_anything_and_says_why)
{
        struct bench b;
        struct answer before, after;

        start_redis(&b, false);
        as_node(&b);
        node_start(&b.edge, "--redis", b.edge_url, "--name", "edge", NULL);
        before = ask(&b.node, "GET", "/v1/events/final", NULL, NULL);
        refused(&b.edge, "POST", "/v1/events/final/start", "{}");
        refused(&b.edge, "POST", "/v1/events/final/refresh", "{}");
        refused(&b.edge, "PUT", "/v1/events/final/bundles/default", "{}");
        after = ask(&b.node, "GET", "/v1/events/final", NULL, NULL);
        cr_assert(json_equal(after.json, before.json));
        answer_end(&before);
        answer_end(&after);
        node_end(&b.edge);
        node_end(&b.node);
        end_redis(&b);
}

/* What a stolen password of an edge is good for. */
Test(acl, kickoff_edge_can_forge_nothing)
{
        static const char *const forbidden[][6] = {
                { "PUBLISH", "{kickoff}:signals", "x" },
                { "SPUBLISH", "{kickoff}:signals", "x" },
                { "XADD", "{kickoff}:log", "*", "f", "v" },
                { "HSET", "{kickoff}:events", "f", "v" },
                { "HSET", "{kickoff}:meta", "seq", "9" },
                { "EXPIRE", "{kickoff}:log", "1" },
                { "SET", "{kickoff}:body:x", "v" },
                { "GET", "{other}:body:x" },
                { "FCALL", "kickoff1_append", "0" },
                { "FCALL", "kickoff1_renew", "0" },
                { "FUNCTION", "FLUSH" },
                { "CONFIG", "SET", "appendonly", "no" },
                { "ACL", "LIST" },
                { "FLUSHALL" },
                { "KEYS", "*" },
                { "EVAL", "return 1", "0" },
                { "SUBSCRIBE", "{other}:signals" },
        };
        struct bench b;

        start_redis(&b, true);
        for (size_t i = 0; i < countof(forbidden); i++) {
                const char *const *c = forbidden[i];
                char *answer = test_redis_ask(b.redis, "ACL", "DRYRUN", "kickoff-edge", c[0], c[1],
                                              c[1] ? c[2] : NULL, c[1] && c[2] ? c[3] : NULL,
                                              c[1] && c[2] && c[3] ? c[4] : NULL, NULL);

                cr_assert(strcmp(answer, "OK") != 0, "%s %s is allowed", c[0], c[1] ? c[1] : "");
                free(answer);
        }
        end_redis(&b);
}

Test(acl, nobody_gets_in_without_a_name)
{
        struct bench b;
        char *answer;

        start_redis(&b, false);
        answer = test_redis_ask(b.redis, "PING", NULL);
        cr_assert(eq(int, strncmp(answer, "-NOAUTH", 7), 0), "%s", answer);
        free(answer);
        end_redis(&b);
}

/* --- is each permission needed? -----------------------------------------------------------------
 */

/* Needed, but not to be provoked: it closes a transaction that a node without memory left open. */
static bool is_known_need(const char *command)
{
        return strcmp(command, "+discard") == 0;
}

/* The whole scenario in a process of its own: what fails in there ends it. Returns whether all went
 * well. */
static bool goes_well(struct bench *b, unsigned within_s)
{
        char tmp[80], command[200];
        int status;
        pid_t pid;

        test_redis_do(b->redis, "FLUSHALL", NULL);
        test_redis_do(b->redis, "FUNCTION", "FLUSH", NULL);
        test_redis_do(b->redis, "ACL", "LOG", "RESET", NULL);
        snprintf(tmp, sizeof(tmp), "%s/tmp", b->files.dir);
        snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", tmp, tmp);
        if (system(command) != 0)
                give_up("%s", command);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                setenv("TMPDIR", tmp, 1);
                if (!freopen("/dev/null", "w", stderr))
                        _exit(1);
                signal(SIGABRT, SIG_DFL);
                alarm(within_s);
                as_node(b);
                as_edge(b);
                node_end(&b->edge);
                node_end(&b->node);
                _exit(0);
        }
        waitpid(pid, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 && nothing_was_refused(b);
}

static char *rules_of(struct bench *b, const char *user)
{
        char path[160], start[64];
        char *text = redis_files_read(redis_files_path(&b->files, HOST, "users.acl", path)), *line;

        snprintf(start, sizeof(start), "user %s ", user);
        line = strstr(text, start);
        line = strndup(line, strcspn(line, "\n"));
        free(text);
        return line;
}

static void each_command_of(const char *user)
{
        struct bench b;
        uint64_t started = clock_mono_ms();
        unsigned within_s;
        char *rules, *rule, *rest, removed[64];

        start_redis(&b, true);
        rules = rules_of(&b, user);
        cr_assert(goes_well(&b, 60), "with all of them");
        within_s = (unsigned)((clock_mono_ms() - started) / 1000) * 2 + 4;
        for (rule = strtok_r(rules, " ", &rest); rule; rule = strtok_r(NULL, " ", &rest)) {
                if (rule[0] != '+' || is_known_need(rule))
                        continue;
                snprintf(removed, sizeof(removed), "-%s", rule + 1);
                test_redis_do(b.redis, "ACL", "SETUSER", user, removed, NULL);
                if (goes_well(&b, within_s))
                        fprintf(stderr, "%s needs no %s\n", user, rule);
                test_redis_do(b.redis, "ACL", "SETUSER", user, rule, NULL);
        }
        cr_assert(goes_well(&b, 60), "all of them again");
        free(rules);
        end_redis(&b);
}

Test(acl, each_command_of_kickoff_node_is_needed, .timeout = 1200)
{
        if (!getenv("KICKOFF_TEST_SLOW"))
                cr_skip_test("slow: KICKOFF_TEST_SLOW=1 runs it");
        each_command_of("kickoff-node");
}

Test(acl, each_command_of_kickoff_edge_is_needed, .timeout = 1200)
{
        if (!getenv("KICKOFF_TEST_SLOW"))
                cr_skip_test("slow: KICKOFF_TEST_SLOW=1 runs it");
        each_command_of("kickoff-edge");
}
