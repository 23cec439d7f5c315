/* Whole path, nothing broken: from the producer's request to the devices, and back after an
 * absence. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/integration/harness.h"

static json_t *herd(const struct test_node *node, const char *encoding, const char *devices)
{
        char *out;
        int status =
            run_program(&out, "kickoff-herd", "--devices", devices, "--encoding", encoding, "--url",
                        node->url, "--admin", node->admin, "--signals", "3", "--json", NULL);
        json_t *report = json_loads(out, 0, NULL);

        cr_assert(eq(int, status, 0), "kickoff-herd ended with %d: %s", status, out);
        cr_assert(report != NULL, "not JSON: %s", out);
        free(out);
        return report;
}

static void start_reaches_2000(const char *encoding)
{
        struct test_node node = { 0 };
        json_t *report;

        node_start(&node, "--workers=2", NULL);
        report = herd(&node, encoding, "2000");
        cr_assert(eq(int, (int)json_integer_value(json_object_get(report, "devices")), 2000));
        cr_assert(eq(int, (int)json_integer_value(json_object_get(report, "lost")), 0));
        cr_assert(eq(int, (int)json_integer_value(json_object_get(report, "prefetched")), 2000));
        cr_assert(eq(int, (int)json_integer_value(json_object_get(report, "delivered")), 4 * 2000));
        json_decref(report);
        node_end(&node);
}

Test(delivery, a_start_reaches_2000_devices_in_json)
{
        start_reaches_2000("json");
}

Test(delivery, a_start_reaches_2000_devices_in_msgpack)
{
        start_reaches_2000("msgpack");
}

Test(delivery, a_device_away_for_5_signals_gets_exactly_those_5)
{
        struct test_node node = { 0 };
        struct recorder before, after;
        char token[TOKEN_TEXT_MAX + 1];

        node_start(&node, NULL);
        create_event(&node, "final");
        recorder_start(&before, &node, "tv-1", NULL, ENCODING_JSON);
        cr_assert(eq(int, before.reset_reason, RESET_NEW));
        change(&node, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&before, 1);
        strcpy(token, kickoff_device_token(before.device));
        recorder_end(&before);
        for (int i = 0; i < 5; i++) {
                char body[64];

                snprintf(body, sizeof(body), "{\"stage\":\"part-%d\"}", i);
                change(&node, "POST", "/v1/events/final/stage", body);
        }
        recorder_start(&after, &node, "tv-1", token, ENCODING_MSGPACK);
        cr_assert(after.hello.recovered);
        recorder_until_signals(&after, 5);
        recorder_run(&after, 100);
        cr_assert(eq(sz, after.n_signals, 5));
        cr_assert(eq(int, after.resets, 0));
        for (int i = 0; i < 5; i++) {
                char stage[24];

                snprintf(stage, sizeof(stage), "part-%d", i);
                cr_assert(eq(u64, after.signals[i].token.seq,
                             before.signals[0].token.seq + 1 + (seqno)i));
                cr_assert(eq(str, after.signals[i].state.stage, stage));
        }
        recorder_end(&after);
        node_end(&node);
}

Test(delivery, a_foreign_token_gets_reset_with_the_whole_state)
{
        struct test_node node = { 0 };
        struct recorder r;

        node_start(&node, NULL);
        create_event(&node, "final");
        create_event(&node, "another");
        change(&node, "POST", "/v1/events/final/start", "{}");
        recorder_start(&r, &node, "tv-1", "00000000deadbeef.7.0123456789abcdef", ENCODING_JSON);
        cr_assert(not(r.hello.recovered));
        cr_assert(eq(int, r.reset_reason, RESET_UNKNOWN));
        cr_assert(eq(sz, r.n_events, 2));
        cr_assert(eq(str, r.events[0].event, "another"));
        cr_assert(eq(str, r.events[0].stage, "scheduled"));
        cr_assert(eq(str, r.events[1].event, "final"));
        cr_assert(eq(str, r.events[1].stage, "live"));
        /* and it goes on from there */
        change(&node, "POST", "/v1/events/final/end", "{}");
        recorder_until_signals(&r, 1);
        cr_assert(eq(str, r.signals[0].state.stage, "ended"));
        recorder_end(&r);
        node_end(&node);
}

Test(delivery, a_same_epoch_token_with_another_tag_is_a_fork)
{
        struct test_node node = { 0 };
        struct recorder r;
        char token[TOKEN_TEXT_MAX + 1];
        size_t last;

        node_start(&node, NULL);
        create_event(&node, "final");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        strcpy(token, kickoff_device_token(r.device));
        recorder_end(&r);
        last = strlen(token) - 1;
        token[last] = token[last] == '0' ? '1' : '0';
        recorder_start(&r, &node, "tv-1", token, ENCODING_JSON);
        cr_assert(eq(int, r.reset_reason, RESET_FORKED));
        recorder_end(&r);
        node_end(&node);
}

Test(delivery, a_cut_connection_resumes_by_itself_without_a_gap)
{
        struct test_node node = { 0 };
        struct recorder r;

        node_start(&node, NULL);
        create_event(&node, "final");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        change(&node, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&r, 1);
        kickoff_device_cut(r.device);
        change(&node, "POST", "/v1/events/final/stage", "{\"stage\":\"halftime\"}");
        change(&node, "POST", "/v1/events/final/end", "{}");
        recorder_until_signals(&r, 3);
        cr_assert(eq(int, r.hellos, 2));
        cr_assert(eq(int, r.resets, 1)); /* the first connection's only */
        cr_assert(eq(u64, r.signals[1].token.seq, r.signals[0].token.seq + 1));
        cr_assert(eq(u64, r.signals[2].token.seq, r.signals[0].token.seq + 2));
        recorder_end(&r);
        node_end(&node);
}

Test(delivery, the_same_idempotency_key_gives_one_signal)
{
        struct test_node node = { 0 };
        struct answer first, again, other;
        struct recorder r;

        node_start(&node, NULL);
        create_event(&node, "final");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        first = ask(&node, "POST", "/v1/events/final/start", "{}", "the-key");
        again = ask(&node, "POST", "/v1/events/final/start", "{}", "the-key");
        other = ask(&node, "POST", "/v1/events/final/start", "{\"lead\":\"2s\"}", "the-key");
        cr_assert(eq(int, first.status, 200));
        cr_assert(eq(int, again.status, 200));
        cr_assert(eq(int, other.status, 422));
        cr_assert(eq(str, (char *)json_string_value(json_object_get(first.json, "token")),
                     (char *)json_string_value(json_object_get(again.json, "token"))));
        answer_end(&first);
        answer_end(&again);
        answer_end(&other);
        change(&node, "POST", "/v1/events/final/end", "{}");
        recorder_until_signals(&r, 2);
        cr_assert(eq(int, r.signals[0].kind, SIGNAL_START));
        cr_assert(eq(int, r.signals[1].kind, SIGNAL_END));
        recorder_end(&r);
        node_end(&node);
}
