/* Events that start by themselves, through the death of nodes. What is shown with three writers in
 * one process (fanout/test_starter.c) is here with real nodes. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

/* The planned start, Unix ms. */
static int64_t plan(const struct test_node *node, const char *id, int64_t in_ms)
{
        int64_t starts_at = clock_wall_ms() + in_ms;
        char body[256], when[CLOCK_RFC3339_SIZE];

        clock_format_rfc3339(starts_at, when);
        snprintf(body, sizeof(body),
                 "{\"id\":\"%s\",\"title\":\"A title\",\"starts_at\":\"%s\",\"auto_start\":true}",
                 id, when);
        change(node, "POST", "/v1/events", body);
        return starts_at;
}

static void expect_one_start(const struct test_node *node, size_t at, const char *acts)
{
        struct answer answer = ask(node, "GET", "/v1/signals", NULL, NULL);
        const json_t *signals = json_object_get(answer.json, "signals");
        unsigned starts = 0;

        for (size_t i = 0; i < json_array_size(signals); i++) {
                const json_t *signal = json_array_get(signals, i);

                starts += strcmp(json_string_value(json_object_get(signal, "kind")), "start") == 0;
        }
        cr_assert(eq(uint, starts, 1));
        if (acts)
                cr_assert(eq(
                    str,
                    (char *)json_string_value(json_object_get(json_array_get(signals, at), "at")),
                    (char *)acts));
        answer_end(&answer);
}

Test(auto_start, a_node_that_dies_leaves_it_to_another)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node first = { 0 }, second = { 0 };
        char acts[CLOCK_RFC3339_SIZE];
        struct recorder r;
        int64_t starts_at;

        node_start(&first, "--redis", test_redis_url(redis), NULL);
        node_start(&second, "--redis", test_redis_url(redis), NULL);
        recorder_start(&r, &second, "tv-1", NULL, ENCODING_JSON);
        starts_at = plan(&first, "final", 3000);
        node_kill(&first);
        recorder_until_signals(&r, 2);
        cr_assert(eq(int, r.signals[1].kind, SIGNAL_START));
        cr_assert(eq(i64, r.signals[1].state.at, starts_at));
        clock_format_rfc3339(starts_at, acts);
        expect_one_start(&second, 1, acts);
        recorder_end(&r);
        node_start(&first, "--redis", test_redis_url(redis),
                   NULL); /* it comes back, and starts nothing */
        expect_one_start(&first, 1, acts);
        node_end(&first);
        node_end(&second);
        test_redis_destroy(redis);
}

static bool is_past(void *arg)
{
        return clock_wall_ms() > *(int64_t *)arg;
}

static bool is_live(void *arg)
{
        struct answer answer = ask(arg, "GET", "/v1/events/final", NULL, NULL);
        const char *phase = json_string_value(json_object_get(answer.json, "phase"));
        bool live = phase && strcmp(phase, "live") == 0;

        answer_end(&answer);
        return live;
}

Test(auto_start, the_only_node_makes_up_for_a_start_that_was_due_while_it_was_away)
{
        struct test_node node = { 0 };
        int64_t starts_at;
        struct answer answer;

        node_start(&node, NULL);
        starts_at = plan(&node, "final", 2600); /* is not announced before 600 ms from now */
        node_kill(&node);
        wait_until(is_past, &starts_at, "the planned start to pass, and nobody there");
        node_start(&node, NULL);
        wait_until(is_live, &node, "the event to be started at once");
        expect_one_start(&node, 1, NULL);
        answer = ask(&node, "GET", "/v1/audit?event=final", NULL, NULL);
        cr_assert(eq(str,
                     (char *)json_string_value(json_object_get(
                         json_array_get(json_object_get(answer.json, "entries"), 1), "who")),
                     "auto-start"));
        answer_end(&answer);
        node_end(&node);
}
