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
#include "tests/support/free_port.h"
#include "tests/support/redis_files.h"
#include "tests/support/redis_fleet.h"
#include "tests/support/redis_server.h"

#define HOST "127.0.0.1"

enum place { ALONE, CLUSTER, REPLICATED, PLACES };

struct bench {
        struct redis_files files;
        enum place place;
        struct test_redis *redis, *replica;
        char node_url[256], edge_url[256];
        struct test_node node, edge;
        struct recorder at_node, at_edge;
};

static void make_url(struct bench *b, const char *user, char url[256])
{
        char password[128];

        redis_files_password(&b->files, user, password);
        /* Another database than 0, so that SELECT is needed, too. A cluster has none. */
        snprintf(url, 256, "redis://%s:%s@%s:%u%s", user, password, HOST, test_redis_port(b->redis),
                 b->place == CLUSTER ? "" : "/1");
}

static bool info_has(struct test_redis *redis, const char *section, const char *text)
{
        char *info = strcmp(section, "cluster") == 0
                         ? test_redis_ask(redis, "CLUSTER", "INFO", NULL)
                         : test_redis_ask(redis, "INFO", section, NULL);
        bool has = strstr(info, text) != NULL;

        free(info);
        return has;
}

static bool cluster_is_ok(void *redis)
{
        return info_has(redis, "cluster", "cluster_state:ok");
}

static bool replica_is_there(void *redis)
{
        return info_has(redis, "replication", "state=online");
}

static void replica_password(const struct bench *b, char text[128])
{
        char path[160];
        char *conf = redis_files_read(redis_files_path(&b->files, HOST, "redis.conf", path));
        char *line = strstr(conf, "\nmasterauth ");

        if (!line || sscanf(line, " masterauth %127s", text) != 1)
                give_up("no masterauth in %s", path);
        free(conf);
}

/* `open`: the test may ask Redis itself, without a name. */
static void start_redis(struct bench *b, enum place place, bool open)
{
        const struct test_redis_options options = { .host = HOST };
        char acl[160], of[64], password[128], bus[8];

        memset(b, 0, sizeof(*b));
        b->place = place;
        redis_files_make(&b->files, KICKOFF_SOURCE_DIR, "", HOST);
        if (open)
                redis_files_open(&b->files, HOST);
        redis_files_path(&b->files, HOST, "users.acl", acl);
        snprintf(bus, sizeof(bus), "%u", test_free_port());
        b->redis = test_redis_start_as(&options, "--aclfile", acl, "--cluster-port", bus,
                                       "--cluster-enabled", place == CLUSTER ? "yes" : "no", NULL);
        make_url(b, "kickoff-node", b->node_url);
        make_url(b, "kickoff-edge", b->edge_url);
        if (place == CLUSTER) {
                test_redis_do(b->redis, "CLUSTER", "ADDSLOTSRANGE", "0", "16383", NULL);
                wait_until(cluster_is_ok, b->redis, "the cluster of one to be whole");
        }
        if (place == REPLICATED) {
                snprintf(of, sizeof(of), HOST " %u", test_redis_port(b->redis));
                replica_password(b, password);
                b->replica = test_redis_start_as(&options, "--aclfile", acl, "--replicaof", of,
                                                 "--masteruser", "kickoff-replica", "--masterauth",
                                                 password, NULL);
                wait_until(replica_is_there, b->redis, "the replica to follow");
        }
}

static void end_redis(struct bench *b)
{
        test_redis_destroy(b->replica);
        test_redis_destroy(b->redis);
        redis_files_end(&b->files);
}

static const char *mode_of(const struct bench *b)
{
        return b->place == REPLICATED ? "--durability=replicated:1" : "--durability=fsync";
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

/* What an edge tries in vain, as it may: to load the functions, which are there, and to finish an
 * entry that is held back, which nodes that may append do. */
static bool may_be_refused(const char *text)
{
        static const char *const whose = "\nusername\nkickoff-edge\n";
        static const char *const what[] = { "function|load", "wait", "{kickoff}:touch" };
        size_t len = strcspn(text, "\n");

        for (size_t i = 0; i < countof(what); i++)
                if (strlen(what[i]) == len && strncmp(text, what[i], len) == 0)
                        return strncmp(text + len, whose, strlen(whose)) == 0;
        return false;
}

/* Redis writes down what it refuses. */
static bool nothing_was_refused(struct bench *b)
{
        char *log = test_redis_ask(b->redis, "ACL", "LOG", "128", NULL), *at = log;
        bool good = true;

        while ((at = strstr(at, "object\n")) != NULL) {
                at += strlen("object\n");
                if (may_be_refused(at))
                        continue;
                fprintf(stderr, "refused: %.*s\n", (int)strcspn(at, "\n"), at);
                good = false;
        }
        free(log);
        return good;
}

static bool is_registered(void *arg)
{
        static const char *const look = "if ARGV[1] == '1' then redis.call('SELECT', 1) end "
                                        "return redis.call('EXISTS', KEYS[1])";
        struct bench *b = arg;
        char *answer = test_redis_ask(b->redis, "EVAL", look, "1", "{kickoff}:device:tv-2",
                                      b->place == CLUSTER ? "0" : "1", NULL);
        bool is = strcmp(answer, "1") == 0;

        free(answer);
        return is;
}

/* All a node does that may append, and that a producer asks of it. */
static void as_node(struct bench *b)
{
        node_start(&b->node, "--redis", b->node_url, "--name", "node", mode_of(b), NULL);
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

        node_start(&b->edge, "--redis", b->edge_url, "--name", "edge", mode_of(b), "--admin=none",
                   NULL);
        recorder_start(&b->at_edge, &b->edge, "tv-1", NULL, ENCODING_JSON);
        prefetched(&b->edge, "{\"stage\":\"live\"}");
        seq = change(&b->node, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&b->at_edge, 1);
        wait_until(is_present, &(struct seen){ &b->node, "edge", 0 }, "the edge's presence");
        wait_until(has_reported, &(struct seen){ &b->node, "edge", seq }, "the edge's report");
        /* Asked of the node, answered by the edge: both speak to each other. */
        expect(&b->node, "POST", "/v1/devices/tv-1/messages", "{\"body\":\"hello\"}", 200);
        expect(&b->node, "GET", "/v1/audit", NULL, 200);

        strcpy(token, kickoff_device_token(b->at_edge.device));
        recorder_end(&b->at_edge);
        change(&b->node, "POST", "/v1/events/final/stage", "{\"stage\":\"break\"}");
        recorder_start(&b->at_edge, &b->edge, "tv-1", token, ENCODING_JSON);
        if (!b->at_edge.hello.recovered)
                give_up("the edge did not resume a device");
        recorder_until_signals(&b->at_edge, 1);
        recorder_end(&b->at_edge);
}

static bool stands_still(void *pid)
{
        char path[64], *stat;
        bool stopped;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)*(pid_t *)pid);
        stat = redis_files_read(path);
        stopped = strncmp(strrchr(stat, ')'), ") T", 3) == 0;
        free(stat);
        return stopped;
}

/* An entry is held back, for its replica stands still, while other nodes begin to follow the log.
 * Not by test_redis_pause: the replica need not be a child of ours. */
static void with_an_entry_held_back(struct bench *b)
{
        struct test_node late[2] = { 0 };
        pid_t pid = test_redis_pid(b->replica);

        kill(pid, SIGSTOP);
        wait_until(stands_still, &pid, "the replica to stand still");
        expect(&b->node, "POST", "/v1/events/final/refresh", "{}", 504);
        node_start(&late[0], "--redis", b->node_url, mode_of(b), "--admin=none", NULL);
        node_start(&late[1], "--redis", b->edge_url, mode_of(b), "--admin=none", NULL);
        kill(pid, SIGCONT);
        change(&b->node, "POST", "/v1/events/final/refresh", "{}");
        node_end(&late[0]);
        node_end(&late[1]);
}

static void all_of_it(struct bench *b)
{
        as_node(b);
        recorder_start(&b->at_node, &b->node, "tv-2", NULL, ENCODING_JSON);
        wait_until(is_registered, b, "the record of a device at the node");
        recorder_end(&b->at_node);
        as_edge(b);
        if (b->place == REPLICATED)
                with_an_entry_held_back(b);
        node_end(&b->edge);
        node_end(&b->node);
}

static void all_is_allowed_at(enum place place)
{
        struct bench b;

        start_redis(&b, place, true);
        all_of_it(&b);
        cr_assert(nothing_was_refused(&b));
        end_redis(&b);
}

Test(acl, both_kinds_of_nodes_may_do_all_they_do)
{
        all_is_allowed_at(ALONE);
}

Test(acl, so_they_may_in_a_cluster)
{
        all_is_allowed_at(CLUSTER);
}

Test(acl, so_they_may_where_replicas_are_waited_for)
{
        all_is_allowed_at(REPLICATED);
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

        start_redis(&b, ALONE, false);
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
                { "PUBLISH", "{kickoff}:other", "x" },
                { "HSET", "{kickoff}:req:x", "f", "v" },
                { "FCALL", "kickoff1_append", "1", "{kickoff}:log" },
                { "FCALL", "kickoff1_renew", "1", "{kickoff}:meta" },
                { "FCALL", "kickoff1_sweep", "1", "{kickoff}:replaced" },
                { "HSET", "{kickoff}:replaced", "f", "v" },
                { "DEL", "{kickoff}:body:x" },
                { "XADD", "{kickoff}:audit", "*", "f", "v" },
                { "FUNCTION", "FLUSH" },
                { "CONFIG", "SET", "appendonly", "no" },
                { "ACL", "LIST" },
                { "FLUSHALL" },
                { "KEYS", "*" },
                { "EVAL", "return 1", "0" },
                { "SUBSCRIBE", "{other}:signals" },
        };
        struct bench b;

        start_redis(&b, ALONE, true);
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

        start_redis(&b, ALONE, false);
        answer = test_redis_ask(b.redis, "PING", NULL);
        cr_assert(eq(int, strncmp(answer, "-NOAUTH", 7), 0), "%s", answer);
        free(answer);
        end_redis(&b);
}

/* --- is each permission needed? ------------------------------------------------------------ */

/* Needed, but not to be provoked: one closes a transaction that a node without memory left open,
 * the other is what the sweeper asks once an hour (tests/prefetch/test_sweeper.c). */
static bool is_known_need(const char *command)
{
        return strcmp(command, "+discard") == 0 || strcmp(command, "+hscan") == 0;
}

/* The whole scenario in a process of its own: what fails in there ends it. */
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
                all_of_it(b);
                _exit(0);
        }
        waitpid(pid, &status, 0);
        if (b->replica) /* it may have been left standing still */
                test_redis_resume(b->replica);
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

/* Something goes wrong without it, at one of the places. */
static bool is_needed(struct bench b[PLACES], const unsigned within_s[PLACES], const char *user,
                      const char *rule)
{
        char removed[64];
        bool needed = false;

        snprintf(removed, sizeof(removed), "-%s", rule + 1);
        for (int i = 0; i < PLACES && !needed; i++) {
                test_redis_do(b[i].redis, "ACL", "SETUSER", user, removed, NULL);
                needed = !goes_well(&b[i], within_s[i]);
                test_redis_do(b[i].redis, "ACL", "SETUSER", user, rule, NULL);
        }
        return needed;
}

static void each_command_of(const char *user)
{
        struct bench b[PLACES];
        unsigned within_s[PLACES];
        char *rules, *rule, *rest;
        unsigned useless = 0;

        for (int i = 0; i < PLACES; i++) {
                uint64_t started = clock_mono_ms();

                start_redis(&b[i], (enum place)i, true);
                cr_assert(goes_well(&b[i], 60), "with all commands, at place %d", i);
                within_s[i] = (unsigned)((clock_mono_ms() - started) / 1000) + 4;
        }
        rules = rules_of(&b[ALONE], user);
        for (rule = strtok_r(rules, " ", &rest);
             rule && rule[0] != '('; /* a selector is one rule */
             rule = strtok_r(NULL, " ", &rest)) {
                if (rule[0] != '+' || is_known_need(rule) || is_needed(b, within_s, user, rule))
                        continue;
                fprintf(stderr, "%s needs no %s\n", user, rule);
                useless++;
        }
        cr_assert(eq(uint, useless, 0));
        free(rules);
        for (int i = 0; i < PLACES; i++)
                end_redis(&b[i]);
}

/* Minutes: each command costs a scenario that fails, and some of these fail by waiting in vain. */
Test(acl, each_command_of_kickoff_node_is_needed, .timeout = 1800)
{
        if (!getenv("KICKOFF_TEST_SLOW"))
                cr_skip_test("slow: KICKOFF_TEST_SLOW=1 runs it");
        each_command_of("kickoff-node");
}

Test(acl, each_command_of_kickoff_edge_is_needed, .timeout = 1800)
{
        if (!getenv("KICKOFF_TEST_SLOW"))
                cr_skip_test("slow: KICKOFF_TEST_SLOW=1 runs it");
        each_command_of("kickoff-edge");
}
