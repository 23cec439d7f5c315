/* deploy/redis: servers really run with each line of the files there, nodes accept them, and the
 * users in them may do what replicas and sentinels must. The files are those that
 * deploy/redis/prepare writes. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "tests/integration/harness.h"
#include "tests/support/free_port.h"
#include "tests/support/redis_files.h"
#include "tests/support/redis_fleet.h"
#include "tests/support/redis_server.h"

#define SERVERS_MAX 3

/* On one machine the servers differ by address: 127.0.0.11, .12, .13. */
static const char *const address_of[SERVERS_MAX] = { "127.0.0.11", "127.0.0.12", "127.0.0.13" };

struct bench {
        struct redis_files files;
        unsigned port, sentinel_port;
        struct test_redis *server[SERVERS_MAX], *sentinel[SERVERS_MAX];
        struct test_node node;
};

static void make_files(struct bench *b, const char *addresses)
{
        char options[64];

        memset(b, 0, sizeof(*b));
        b->port = test_free_port();
        do
                b->sentinel_port = test_free_port();
        while (b->sentinel_port == b->port);
        snprintf(options, sizeof(options), "--port %u --sentinel-port %u", b->port,
                 b->sentinel_port);
        redis_files_make(&b->files, KICKOFF_SOURCE_DIR, options, addresses);
}

/* `name` and `value`: one more line, or NULL. Only what no test may touch is changed: /etc and
 * /var. */
static void start_server(struct bench *b, int i, const char *name, const char *value)
{
        char conf[160], acl[160], dir[160];
        struct test_redis_options options = { 0 };

        options.conf = redis_files_path(&b->files, address_of[i], "redis.conf", conf);
        options.dir = redis_files_path(&b->files, address_of[i], "data", dir);
        if (mkdir(dir, 0700) != 0)
                give_up("mkdir %s", dir);
        redis_files_open(&b->files, address_of[i]);
        b->server[i] = test_redis_start_as(
            &options, "--aclfile", redis_files_path(&b->files, address_of[i], "users.acl", acl),
            name, value, NULL);
}

static void end_bench(struct bench *b)
{
        for (int i = 0; i < SERVERS_MAX; i++) {
                test_redis_destroy(b->sentinel[i]);
                test_redis_destroy(b->server[i]);
        }
        redis_files_end(&b->files);
}

static void start_node(struct bench *b)
{
        char url[512];

        redis_files_url(&b->files, "kickoff-node", url);
        node_start(&b->node, "--redis", url, "--durability=fsync", NULL);
}

/* --- one server -------------------------------------------------------------------------- */

/* "32mb" -> "33554432", quotes go, anything else as it is. */
static void in_words_of_redis(const char *word, struct buf *out)
{
        char *unit;
        unsigned long number = strtoul(word, &unit, 10);

        if (unit != word && strcmp(unit, "mb") == 0)
                buf_u64(out, number << 20);
        else if (strcmp(word, "replica") == 0)
                buf_str(out, "slave");
        else
                for (; *word; word++)
                        if (*word != '"')
                                buf_char(out, *word);
}

/* The server has what this line of its configuration says. */
static void holds(struct test_redis *server, char *line)
{
        struct buf wanted = BUF_INIT;
        char *rest, *name = strtok_r(line, " ", &rest), *word, *answer;
        const char *value;

        for (word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
                if (wanted.len)
                        buf_char(&wanted, ' ');
                in_words_of_redis(word, &wanted);
        }
        buf_str(&wanted, "");
        answer = test_redis_ask(server, "CONFIG", "GET", name, NULL);
        value = strchr(answer, '\n');
        cr_assert(value != NULL, "it does not know %s", name);
        if (strcmp(name, "client-output-buffer-limit") == 0) /* it answers with all classes */
                cr_assert(strstr(value, wanted.data) != NULL, "%s: %s", name, value);
        else
                cr_assert(eq(str, (char *)value + 1, wanted.data), "%s", name);
        free(answer);
        buf_fini(&wanted);
}

/* All lines but those that name places outside of the test. Returns how many. */
static unsigned holds_all(struct bench *b, int i, const char *file)
{
        char path[160];
        char *text = redis_files_read(redis_files_path(&b->files, address_of[i], file, path)),
             *line, *rest;
        unsigned lines = 0;

        for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                if (line[0] == '#' || strncmp(line, "aclfile ", 8) == 0 ||
                    strncmp(line, "dir ", 4) == 0 || strncmp(line, "include ", 8) == 0)
                        continue;
                holds(b->server[i], line);
                lines++;
        }
        free(text);
        return lines;
}

Test(reference_conf, a_server_has_every_setting_of_redis_conf)
{
        struct bench b;

        make_files(&b, address_of[0]);
        start_server(&b, 0, NULL, NULL);
        cr_assert(gt(uint, holds_all(&b, 0, "redis.conf"), 15));
        end_bench(&b);
}

Test(reference_conf, a_node_accepts_a_server_alone_and_changes_are_committed)
{
        struct bench b;

        make_files(&b, address_of[0]);
        start_server(&b, 0, NULL, NULL);
        start_node(&b);
        create_event(&b.node, "final");
        node_end(&b.node);
        end_bench(&b);
}

Test(reference_conf, a_node_refuses_it_with_any_of_its_promises_broken)
{
        static const char *const broken[][3] = {
                { "--appendonly", "no", "appendonly yes" },
                { "--appendfsync", "everysec", "appendfsync always" },
                { "--no-appendfsync-on-rewrite", "yes", "no-appendfsync-on-rewrite no" },
                { "--maxmemory-policy", "allkeys-lru", "maxmemory-policy noeviction" },
        };

        for (size_t i = 0; i < countof(broken); i++) {
                struct bench b;
                char url[512];

                make_files(&b, address_of[0]);
                start_server(&b, 0, broken[i][0], broken[i][1]);
                redis_files_url(&b.files, "kickoff-node", url);
                node_refuses(broken[i][2], "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--redis",
                             url, NULL);
                end_bench(&b);
        }
}

static bool info_has(struct test_redis *server, const char *line)
{
        char *info = test_redis_ask(server, "INFO", "replication", NULL);
        bool has = strstr(info, line) != NULL;

        free(info);
        return has;
}

static bool replicates(void *server)
{
        return info_has(server, "master_link_status:up");
}

static bool has_good_replica(void *server)
{
        return !info_has(server, "min_slaves_good_slaves:0");
}

static int refresh(const struct test_node *node)
{
        struct answer answer = ask(node, "POST", "/v1/events/final/refresh", "{}", NULL);
        int status = answer.status;

        answer_end(&answer);
        return status;
}

static bool is_refused(void *node)
{
        return refresh(node) == 503;
}

static bool is_taken(void *node)
{
        return refresh(node) == 200;
}

/* --- what is included ------------------------------------------------------------------- */

/* Before its start: tls.conf or cluster.conf, with the server's own folder for /etc/redis. */
static void include(struct bench *b, int i, const char *file)
{
        char command[1024], path[160], dir[160];

        redis_files_path(&b->files, address_of[i], file, path);
        redis_files_path(&b->files, address_of[i], "", dir);
        snprintf(command, sizeof(command),
                 "sed -i 's|/etc/redis/|%s|' '%s' && echo 'include %s' >>'%sredis.conf'", dir, path,
                 path, dir);
        if (system(command) != 0)
                give_up("%s", command);
}

/* A certificate authority of this test's own, and a certificate for the server's address. */
static void certify(struct bench *b, int i)
{
        char command[2048];

        snprintf(
            command, sizeof(command),
            "set -e; exec 2>/dev/null; cd '%s'; "
            "q='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'; "
            "[ -e ca.crt ] || openssl req -x509 $q -subj /CN=test-ca -keyout ca.key -out ca.crt; "
            "cd %s; cp ../ca.crt .; "
            "openssl req $q -subj /CN=redis -keyout server.key -out server.csr; "
            "echo 'subjectAltName=IP:%s' >ext; "
            "openssl x509 -req -in server.csr -CA ../ca.crt -CAkey ../ca.key -CAcreateserial "
            "-days 2 -extfile ext -out server.crt",
            b->files.dir, address_of[i], address_of[i]);
        if (system(command) != 0)
                give_up("openssl: %s", command);
}

Test(reference_conf, with_tls_conf_nodes_and_replicas_speak_tls)
{
        struct bench b;
        char url[512], tls_url[800];

        make_files(&b, "127.0.0.11 127.0.0.12");
        for (int i = 0; i < 2; i++) {
                certify(&b, i);
                include(&b, i, "tls.conf");
                start_server(&b, i, NULL, NULL);
                cr_assert(gt(uint, holds_all(&b, i, "tls.conf"), 5));
        }
        wait_until(replicates, b.server[1], "the replica to follow");
        wait_until(has_good_replica, b.server[0], "the primary to count it");
        redis_files_url(&b.files, "kickoff-node", url);
        snprintf(tls_url, sizeof(tls_url), "rediss%s?ca=%s/ca.crt", strchr(url, ':'), b.files.dir);
        node_start(&b.node, "--redis", tls_url, NULL);
        create_event(&b.node, "final");
        /* Both are in the URL: whichever is the primary is found, without a sentinel. */
        test_redis_kill(b.server[0]);
        test_redis_do(b.server[1], "CONFIG", "SET", "min-replicas-to-write", "0", NULL);
        test_redis_do(b.server[1], "REPLICAOF", "NO", "ONE", NULL);
        wait_until(is_taken, &b.node, "the node to find the new primary");
        node_end(&b.node);
        end_bench(&b);
}

static bool cluster_is_ok(void *redis)
{
        char *info = test_redis_ask(redis, "CLUSTER", "INFO", NULL);
        bool ok = strstr(info, "cluster_state:ok") != NULL;

        free(info);
        return ok;
}

Test(reference_conf, with_cluster_conf_nodes_find_their_slot)
{
        struct bench b;
        char bus[8];

        make_files(&b, address_of[0]);
        include(&b, 0, "cluster.conf");
        /* Beside 6379 this is 16379; beside a port of chance it may be beyond all ports. */
        snprintf(bus, sizeof(bus), "%u", test_free_port());
        start_server(&b, 0, "--cluster-port", bus);
        cr_assert(gt(uint, holds_all(&b, 0, "cluster.conf"), 4));
        test_redis_do(b.server[0], "CLUSTER", "ADDSLOTSRANGE", "0", "16383", NULL);
        wait_until(cluster_is_ok, b.server[0], "the cluster of one to be whole");
        start_node(&b);
        create_event(&b.node, "final");
        node_end(&b.node);
        end_bench(&b);
}

/* --- a primary and its replicas ---------------------------------------------------------- */

Test(reference_conf, a_primary_without_its_replicas_takes_no_changes)
{
        struct bench b;

        make_files(&b, "127.0.0.11 127.0.0.12");
        start_server(&b, 0, NULL, NULL);
        start_server(&b, 1, NULL, NULL);
        wait_until(replicates, b.server[1], "the replica to follow");
        wait_until(has_good_replica, b.server[0], "the primary to count it");
        start_node(&b);
        create_event(&b.node, "final");
        /* Not gone, only silent: that is what a cut network looks like. */
        test_redis_pause(b.server[1]);
        wait_until(is_refused, &b.node, "changes to be refused");
        test_redis_resume(b.server[1]);
        wait_until(is_taken, &b.node, "changes to be taken again");
        node_end(&b.node);
        end_bench(&b);
}

/* --- sentinels --------------------------------------------------------------------------- */

static void start_sentinel(struct bench *b, int i)
{
        static const char *const theirs = "\ndir /var/lib/redis\n";
        char path[160], dir[160];
        char *text =
            redis_files_read(redis_files_path(&b->files, address_of[i], "sentinel.conf", path));
        char *line = strstr(text, theirs);
        struct buf conf = BUF_INIT;
        struct test_redis_options options = { .host = address_of[i] };

        if (!line)
                give_up("no line%sin %s", theirs, path);
        options.dir = redis_files_path(&b->files, address_of[i], "sentinel", dir);
        if (mkdir(dir, 0700) != 0)
                give_up("mkdir %s", dir);
        buf_add(&conf, text, (size_t)(line - text));
        buf_str(&conf, line + strlen(theirs) - 1);
        options.sentinel = conf.data;
        b->sentinel[i] = test_redis_start_as(&options, NULL);
        buf_fini(&conf);
        free(text);
}

/* Sentinels have a server write down whom it follows, and close all connections to it in the same
 * moment: one who asks may be cut off, so one reads. */
static bool conf_has(struct bench *b, int i, const char *text)
{
        char path[160];
        char *conf =
            redis_files_read(redis_files_path(&b->files, address_of[i], "redis.conf", path));
        bool has = strstr(conf, text) != NULL;

        free(conf);
        return has;
}

static bool is_promoted(void *b)
{
        return !conf_has(b, 1, "\nreplicaof ") || !conf_has(b, 2, "\nreplicaof ");
}

static bool is_put_in_its_place(void *b)
{
        return conf_has(b, 0, "\nreplicaof 127.0.0.1");
}

static bool has_two_sentinels_and_replicas(void *arg)
{
        struct bench *b = arg;

        for (int i = 0; i < SERVERS_MAX; i++) {
                char path[160];
                char *text;
                bool known;

                snprintf(path, sizeof(path), "%s/sentinel.conf", test_redis_dir(b->sentinel[i]));
                text = redis_files_read(path);
                known = strstr(text, "known-replica kickoff 127.0.0.12") &&
                        strstr(text, "known-replica kickoff 127.0.0.13") &&
                        strstr(strstr(text, "known-sentinel kickoff")
                                   ? strstr(text, "known-sentinel kickoff") + 1
                                   : "",
                               "known-sentinel kickoff");
                free(text);
                if (!known)
                        return false;
        }
        return true;
}

/* What may be done is what was done. SCRIPT KILL is for a primary that a script keeps busy. */
static void each_command_of_sentinels_was_used(struct bench *b)
{
        char path[160], wanted[64];
        char *text =
            redis_files_read(redis_files_path(&b->files, address_of[0], "users.acl", path));
        char *line = strstr(text, "user kickoff-sentinel "), *rule, *rest;

        line[strcspn(line, "\n")] = '\0';
        for (rule = strtok_r(line, " ", &rest); rule; rule = strtok_r(NULL, " ", &rest)) {
                bool used = false;

                if (rule[0] != '+' || strcmp(rule, "+script|kill") == 0)
                        continue;
                snprintf(wanted, sizeof(wanted), "cmdstat_%s:", rule + 1);
                for (int i = 0; i < SERVERS_MAX; i++) {
                        char *stats = test_redis_ask(b->server[i], "INFO", "commandstats", NULL);

                        used = used || strstr(stats, wanted);
                        free(stats);
                }
                cr_assert(used, "sentinels need no %s", rule);
        }
        free(text);
}

Test(reference_conf, sentinels_promote_a_replica_and_nodes_follow, .timeout = 200)
{
        struct bench b;

        make_files(&b, "127.0.0.11 127.0.0.12 127.0.0.13");
        for (int i = 0; i < SERVERS_MAX; i++)
                start_server(&b, i, NULL, NULL);
        for (int i = 1; i < SERVERS_MAX; i++)
                wait_until(replicates, b.server[i], "a replica to follow");
        for (int i = 0; i < SERVERS_MAX; i++)
                start_sentinel(&b, i);
        wait_until(has_two_sentinels_and_replicas, &b, "the sentinels to know all");
        start_node(&b); /* by sentinel://, as kickoff-node.env says */
        create_event(&b.node, "final");
        test_redis_kill(b.server[0]);
        wait_until(is_promoted, &b, "a replica to be promoted");
        wait_until(is_taken, &b.node, "the node to follow");
        test_redis_restart(b.server[0]);
        wait_until(is_put_in_its_place, &b, "the old primary to be made a replica");
        each_command_of_sentinels_was_used(&b);
        node_end(&b.node);
        end_bench(&b);
}
