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

static void until_reset(struct recorder *r, unsigned resets)
{
        for (unsigned waited_ms = 0; r->resets < resets; waited_ms += 20) {
                if (waited_ms > PATIENCE_MS)
                        give_up("a device has %u of %u resets", r->resets, resets);
                recorder_run(r, 20);
        }
}

static struct token token_of(const struct recorder *r)
{
        const char *text = kickoff_device_token(r->device);
        struct token token;

        cr_assert(eq(int, token_parse(text, strlen(text), &token), OK));
        return token;
}

static void is_in_stage(const struct recorder *r, const char *event, const char *stage)
{
        for (size_t i = 0; i < r->n_events; i++) {
                if (strcmp(r->events[i].event, event) == 0) {
                        cr_assert(eq(str, (char *)r->events[i].stage, (char *)stage));
                        return;
                }
        }
        cr_assert(false, "the reset lacks %s", event);
}

/* What a failover may leave behind: the last two changes are gone, and four others took their
 * numbers. */
static void lose_tail_and_refill(struct test_redis *redis)
{
        test_redis_do(
            redis, "EVAL",
            "local seq = tonumber(redis.call('HGET', KEYS[2], 'seq')) "
            "local last = redis.call('XRANGE', KEYS[1], (seq - 2) .. '-0', (seq - 2) .. '-0')[1][2] "
            "local field = {} for i = 1, #last, 2 do field[last[i]] = last[i + 1] end "
            "redis.call('XDEL', KEYS[1], (seq - 1) .. '-0', seq .. '-0') "
            "redis.call('XTRIM', KEYS[1], 'MAXLEN', seq - 2) "
            "redis.call('COPY', KEYS[1], KEYS[1] .. ':new') redis.call('DEL', KEYS[1]) "
            "for _, e in ipairs(redis.call('XRANGE', KEYS[1] .. ':new', '-', '+')) do "
            "redis.call('XADD', KEYS[1], e[1], unpack(e[2])) end "
            "local prev = field.tag "
            "for i = seq - 1, seq + 2 do local tag = string.format('%016x', 7000 + i) "
            "redis.call('XADD', KEYS[1], i .. '-0', 'tag', tag, 'prev', prev, 'body', field.body) "
            "prev = tag end "
            "redis.call('HSET', KEYS[2], 'seq', seq + 2, 'tag', prev) "
            "redis.call('HSET', KEYS[3], cjson.decode(field.record).id, field.record) return 1",
            "3", "{kickoff}:log", "{kickoff}:meta", "{kickoff}:events", NULL);
}

Test(redis, a_lost_tail_that_was_refilled_resets_all_devices_into_one_new_epoch)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node nodes[2] = { 0 };
        struct recorder at[2];
        struct token before, after;

        node_start(&nodes[0], "--redis", test_redis_url(redis), "--name", "a", NULL);
        node_start(&nodes[1], "--redis", test_redis_url(redis), "--name", "b", NULL);
        create_event(&nodes[0], "final");
        change(&nodes[0], "POST", "/v1/events/final/start", "{}");
        change(&nodes[0], "POST", "/v1/events/final/stage", "{\"stage\":\"half-time\"}");
        change(&nodes[0], "POST", "/v1/events/final/end", "{}");
        for (int i = 0; i < 2; i++)
                recorder_start(&at[i], &nodes[i], i == 0 ? "tv-a" : "tv-b", NULL, ENCODING_JSON);
        for (int i = 0; i < 2; i++) { /* b may still be behind */
                while (token_of(&at[i]).seq < 4)
                        recorder_run(&at[i], 20);
        }
        before = token_of(&at[0]);

        lose_tail_and_refill(redis);
        for (int i = 0; i < 2; i++) {
                until_reset(&at[i], 2);
                cr_assert(eq(int, at[i].reset_reason, RESET_FORKED));
                is_in_stage(&at[i], "final", "ended");
                cr_assert(eq(int, at[i].hellos, 1)); /* nobody had to come again */
        }
        after = token_of(&at[0]);
        cr_assert(eq(uint, token_generation(after.epoch), token_generation(before.epoch) + 1));
        cr_assert(eq(u64, after.seq, 0));
        cr_assert(eq(str, (char *)kickoff_device_token(at[0].device),
                     (char *)kickoff_device_token(at[1].device)));
        cr_assert(eq(i64,
                     node_metric(&nodes[0], "kickoff_log_renewals_total") +
                         node_metric(&nodes[1], "kickoff_log_renewals_total"),
                     1));

        /* And on it goes, for both. */
        create_event(&nodes[0], "next");
        for (int i = 0; i < 2; i++) {
                recorder_until_signals(&at[i], at[i].n_signals + 1);
                cr_assert(eq(u64, token_of(&at[i]).epoch, after.epoch));
                cr_assert(eq(u64, token_of(&at[i]).seq, 1));
                recorder_end(&at[i]);
                node_end(&nodes[i]);
        }
        test_redis_destroy(redis);
}

Test(redis, one_that_comes_back_empty_gets_all_events_back_and_devices_are_told)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct recorder r;
        struct token before;
        struct answer answer;

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        create_event(&node, "other");
        change(&node, "POST", "/v1/events/final/start", "{}");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        before = token_of(&r);
        test_redis_kill(redis);
        test_redis_forget(redis);
        test_redis_restart(redis);

        until_reset(&r, 2);
        cr_assert(eq(int, r.reset_reason, RESET_UNKNOWN));
        cr_assert(eq(int, r.hellos, 1));
        cr_assert(eq(sz, r.n_events, 2));
        is_in_stage(&r, "final", "live");
        is_in_stage(&r, "other", "scheduled");
        cr_assert(
            eq(uint, token_generation(token_of(&r).epoch), token_generation(before.epoch) + 1));

        answer = ask(&node, "GET", "/v1/events/final", NULL, NULL);
        cr_assert(eq(int, answer.status, 200));
        cr_assert(
            eq(str, (char *)json_string_value(json_object_get(answer.json, "title")), "Test"));
        answer_end(&answer);
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

struct counting {
        struct test_redis *redis;
        long asked; /* by us */
};

/* As INFO counts it; 0 if it does not. */
static long count_of(struct counting *counting, const char *section, const char *what)
{
        char *info = test_redis_ask(counting->redis, "INFO", section, NULL);
        const char *at = strstr(info, what);
        long n = at != NULL ? strtol(at + strlen(what), NULL, 10) : 0;

        counting->asked++;
        free(info);
        return n;
}

static bool ten_heads(void *arg)
{
        return count_of(arg, "commandstats", "cmdstat_fcall_ro:calls=") >= 10;
}

/* All it asks, it asks once a second, so heads are the clock. HMGET is the head's own. */
Test(redis, an_idle_node_costs_eight_commands_a_second)
{
        struct counting counting = { .redis = test_redis_start(NULL) };
        struct test_node node = { 0 };
        long all;

        node_start(&node, "--redis", test_redis_url(counting.redis), NULL);
        test_redis_do(counting.redis, "CONFIG", "RESETSTAT", NULL);
        wait_until(ten_heads, &counting, "ten heads");
        all = count_of(&counting, "stats", "total_commands_processed:") - counting.asked;
        cr_assert(all <= (10 + 1) * (8 + 1), "%ld commands in ten seconds", all);
        node_end(&node);
        test_redis_destroy(counting.redis);
}
