/* What Redis does to us, and what devices notice of it: nothing. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

static bool writes_work(void *arg)
{
        const struct test_node *node = arg;
        struct answer answer =
            ask(node, "POST", "/v1/events/final/stage", "{\"stage\":\"after\"}", "retried");
        bool ok = answer.status == 200;

        answer_end(&answer);
        return ok;
}

Test(redis, a_restart_in_mid_run_loses_nothing_and_no_device_reconnects)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct recorder r;

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        change(&node, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&r, 1);
        test_redis_kill(redis);
        {
                struct answer answer = ask(&node, "POST", "/v1/events/final/end", "{}", NULL);

                cr_assert(answer.status == 503 || answer.status == 504);
                answer_end(&answer);
        }
        test_redis_restart(redis);
        wait_until(writes_work, &node, "a write to be acknowledged after the restart");
        recorder_until_signals(&r, 2);
        cr_assert(eq(str, r.signals[1].state.stage, "after"));
        cr_assert(eq(u64, r.signals[1].token.epoch, r.signals[0].token.epoch));
        cr_assert(eq(u64, r.signals[1].token.seq, r.signals[0].token.seq + 1));
        cr_assert(eq(int, r.hellos, 1)); /* never reconnected */
        cr_assert(eq(int, r.resets, 1)); /* the one at the beginning */
        recorder_end(&r);
        node_end(&node);
        test_redis_destroy(redis);
}

Test(redis, two_nodes_on_one_redis_both_deliver)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node a = { 0 }, b = { 0 };
        struct recorder at_a, at_b;
        char token[TOKEN_TEXT_MAX + 1];

        node_start(&a, "--redis", test_redis_url(redis), "--name", "a", NULL);
        node_start(&b, "--redis", test_redis_url(redis), "--name", "b", NULL);
        create_event(&a, "final");
        recorder_start(&at_a, &a, "tv-a", NULL, ENCODING_JSON);
        recorder_start(&at_b, &b, "tv-b", NULL, ENCODING_MSGPACK);
        change(&a, "POST", "/v1/events/final/start", "{}");
        change(&b, "POST", "/v1/events/final/end", "{}");
        /* b may have been let in before it had heard of the create: then that is its first signal
         */
        recorder_until_signals(&at_a, 2);
        recorder_until_signals(&at_b, 2);
        cr_assert(eq(str, at_a.signals[at_a.n_signals - 1].state.stage, "ended"));
        while (strcmp(at_b.signals[at_b.n_signals - 1].state.stage, "ended") != 0)
                recorder_until_signals(&at_b, at_b.n_signals + 1);
        /* a token of one node is good at the other */
        strcpy(token, kickoff_device_token(at_a.device));
        recorder_end(&at_a);
        recorder_start(&at_a, &b, "tv-a", token, ENCODING_JSON);
        cr_assert(at_a.hello.recovered);
        recorder_end(&at_a);
        recorder_end(&at_b);
        node_end(&a);
        node_end(&b);
        test_redis_destroy(redis);
}

Test(redis, dropped_messages_are_repaired_from_the_log)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct recorder r;

        /* every 2nd published message is thrown away, the last one of the run among them */
        setenv("KICKOFF_TEST_DROP_MESSAGES", "2", 1);
        node_start(&node, "--redis", test_redis_url(redis), NULL);
        unsetenv("KICKOFF_TEST_DROP_MESSAGES");
        create_event(&node, "final");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        change(&node, "POST", "/v1/events/final/start", "{}");
        for (int i = 0; i < 20; i++) {
                char body[64];

                snprintf(body, sizeof(body), "{\"stage\":\"part-%d\"}", i);
                change(&node, "POST", "/v1/events/final/stage", body);
        }
        recorder_until_signals(&r, 21);
        for (size_t i = 1; i < r.n_signals; i++)
                cr_assert(eq(u64, r.signals[i].token.seq, r.signals[0].token.seq + i));
        cr_assert(eq(int, r.resets, 1));
        cr_assert(gt(i64, node_metric(&node, "kickoff_log_gaps_total"), 0));
        recorder_end(&r);
        node_end(&node);
        test_redis_destroy(redis);
}

Test(redis, a_server_that_cannot_keep_fsync_is_refused_with_the_line_to_change)
{
        struct test_redis *redis = test_redis_start("--appendfsync", "everysec", NULL);

        node_refuses("appendfsync always", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--redis",
                     test_redis_url(redis), NULL);
        test_redis_destroy(redis);
}
