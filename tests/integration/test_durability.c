/* Contract line 1 while a node runs: settings of Redis may change under it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"
#include "tests/support/sentinel.h"

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

Test(durability, a_redis_that_stops_syncing_gets_no_more_changes_until_it_is_mended)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct answer answer;

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        test_redis_do(redis, "CONFIG", "SET", "appendfsync", "everysec", NULL);
        wait_until(is_refused, &node, "changes to be refused");
        answer = ask(&node, "POST", "/v1/events/final/refresh", "{}", NULL);
        cr_assert(strstr(json_string_value(json_object_get(answer.json, "detail")),
                         "appendfsync always") != NULL);
        answer_end(&answer);
        test_redis_do(redis, "CONFIG", "SET", "appendfsync", "always", NULL);
        wait_until(is_taken, &node, "changes to be taken again");
        node_end(&node);
        test_redis_destroy(redis);
}

static int status_of(const struct test_node *node, const char *path)
{
        struct answer answer = ask(node, "GET", path, NULL, NULL);
        int status = answer.status;

        answer_end(&answer);
        return status;
}

static bool is_unready(void *node)
{
        return status_of(node, "/readyz") == 503;
}

static bool is_ready(void *node)
{
        return status_of(node, "/readyz") == 200;
}

static bool is_not_writable(void *node)
{
        return node_metric(node, "kickoff_writable") == 0;
}

/* A primary that was cut off from its replicas, and told not to go on without them, looks like
 * this. */
Test(durability, a_primary_that_refuses_writes_makes_the_node_unready_and_takes_no_changes)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        cr_assert(eq(i64, node_metric(&node, "kickoff_writable"), 1));
        test_redis_do(redis, "CONFIG", "SET", "min-replicas-to-write", "1", NULL);
        wait_until(is_unready, &node, "the node to be unready");
        cr_assert(is_refused(&node));
        wait_until(is_not_writable, &node, "the metric to say so");
        cr_assert(node_log_has(&node, "PRIMARY-REFUSES"));
        test_redis_do(redis, "CONFIG", "SET", "min-replicas-to-write", "0", NULL);
        wait_until(is_ready, &node, "the node to be ready");
        wait_until(is_taken, &node, "changes to be taken again");
        node_end(&node);
        test_redis_destroy(redis);
}

/* --- replicas --- */

static struct test_redis *tcp_redis(void)
{
        const struct test_redis_options options = { .host = "127.0.0.1" };

        return test_redis_start_as(&options, "--repl-diskless-sync-delay", "0", NULL);
}

static bool has_signal_2(void *arg)
{
        return ((struct recorder *)arg)->n_signals >= 2;
}

static bool is_writable(void *node)
{
        return node_metric(node, "kickoff_writable") == 1;
}

static bool is_committed(void *node)
{
        return status_of(node, "/v1/requests/my-key") == 200;
}

Test(durability, replicated_tells_no_device_before_its_replica_and_the_key_tells_the_producer)
{
        struct test_redis *redis = tcp_redis(), *replica = tcp_redis();
        struct test_node node = { 0 };
        struct recorder device;
        struct answer answer;

        test_redis_follow(replica, "127.0.0.1", test_redis_port(redis));
        node_start(&node, "--redis", test_redis_url(redis), "--durability", "replicated", NULL);
        wait_until(is_ready, &node, "the node to be ready");
        create_event(&node, "final");
        recorder_start(&device, &node, "tv", NULL, ENCODING_JSON);
        answer = ask(&node, "POST", "/v1/events/final/refresh", "{}", NULL);
        cr_assert(eq(int, answer.status, 200));
        cr_assert(eq(str, (char *)json_string_value(json_object_get(answer.json, "durability")),
                     "replicated:1"));
        answer_end(&answer);
        recorder_until_signals(&device, 1);

        test_redis_pause(replica);
        answer = ask(&node, "POST", "/v1/events/final/start", "{}", "my-key");
        cr_assert(eq(int, answer.status, 504));
        cr_assert(eq(str, (char *)json_string_value(json_object_get(answer.json, "request_path")),
                     "/v1/requests/my-key"));
        answer_end(&answer);
        cr_assert(eq(int, status_of(&node, "/v1/requests/my-key"), 202));
        recorder_run(&device, 300);
        cr_assert(eq(sz, device.n_signals, 1));

        test_redis_resume(replica); /* the writer has given up; the node itself goes on */
        recorder_until_signals(&device, 2);
        cr_assert(has_signal_2(&device));
        wait_until(is_committed, &node, "the key to tell that it was done");
        recorder_end(&device);
        node_end(&node);
        test_redis_destroy(replica);
        test_redis_destroy(redis);
}

Test(durability, replicated_without_replicas_serves_devices_and_takes_no_changes)
{
        struct test_redis *redis = tcp_redis(), *replica = tcp_redis();
        struct test_node node = { 0 };
        struct answer answer;

        node_start(&node, "--redis", test_redis_url(redis), "--durability", "replicated:1", NULL);
        answer = ask(&node, "POST", "/v1/events/final/refresh", "{}", NULL);
        cr_assert(eq(int, answer.status, 503));
        cr_assert(strstr(json_string_value(json_object_get(answer.json, "detail")),
                         "needs 1 replica") != NULL);
        answer_end(&answer);
        test_redis_follow(replica, "127.0.0.1", test_redis_port(redis));
        wait_until(is_writable, &node, "changes to be taken");
        node_end(&node);
        test_redis_destroy(replica);
        test_redis_destroy(redis);
}

Test(durability, the_private_redis_server_has_no_replicas)
{
        char *out;

        cr_assert(eq(int,
                     run_program(&out, "kickoffd", "--durability", "replicated:1", "--listen",
                                 "127.0.0.1:0", NULL),
                     2));
        free(out);
}
