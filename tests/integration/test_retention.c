/* A device that was away while more was said than a node keeps in memory on an ordinary day: it
 * gets all of it, from a node that was there and from one that was started since (contract line 5).
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

#define BURST      "17000"
#define BURST_N    17000
#define META       "{kickoff}:meta"
#define LOG        "{kickoff}:log"
#define SERVICE_MS 20

/* As the function writes them, but 17,000 at once, and without a word to the nodes: they find out
 * by the head. */
static void burst(struct test_redis *redis)
{
        const char *fill =
            "local seq = tonumber(redis.call('HGET', KEYS[1], 'seq')) "
            "local prev = redis.call('HGET', KEYS[1], 'tag') "
            "for i = 1, tonumber(ARGV[1]) do seq = seq + 1 "
            "local at = string.format('%.0f', tonumber(ARGV[2]) + i) "
            "local tag = string.format('%016x', seq) "
            "redis.call('XADD', KEYS[2], seq .. '-0', 'tag', tag, 'prev', prev, 'body', "
            "'{\"kind\":\"stage\",\"event\":\"final\",\"stage\":\"part-' .. seq .. '\",\"at\":' .. at .. "
            "',\"starts_at\":' .. at .. ',\"version\":' .. seq + 1 .. ',\"bundle\":0,\"sent\":' .. at .. '}') "
            "prev = tag end redis.call('HSET', KEYS[1], 'seq', seq, 'tag', prev) return seq";
        char now[24];

        snprintf(now, sizeof(now), "%lld", (long long)clock_wall_ms());
        test_redis_do(redis, "EVAL", fill, "2", META, LOG, BURST, now, NULL);
}

static bool has_the_burst(void *arg)
{
        return node_metric(arg, "kickoff_log_seq") > BURST_N;
}

/* --- a device that only counts ---------------------------------------------------------------- */

struct counter {
        struct kickoff_device *device;
        unsigned hellos, resets;
        bool recovered;
        seqno last;
        size_t n;
};

static void on_hello(void *owner, const struct hello *hello)
{
        struct counter *counter = owner;

        counter->hellos++;
        counter->recovered = hello->recovered;
}

static void on_signal(void *owner, const struct signal *signal)
{
        struct counter *counter = owner;

        cr_assert(eq(u64, signal->token.seq, counter->last + 1));
        counter->last = signal->token.seq;
        counter->n++;
}

static void on_reset(void *owner, const struct reset *reset)
{
        struct counter *counter = owner;

        counter->resets++;
        (void)reset;
}

static void resumes_without_a_reset(const struct test_node *node, const char *since, seqno seq)
{
        struct counter counter = { .last = seq };
        const struct kickoff_device_options options = { .url = node->url,
                                                        .device = "tv-1",
                                                        .since = since,
                                                        .on_hello = on_hello,
                                                        .on_signal = on_signal,
                                                        .on_reset = on_reset,
                                                        .owner = &counter };
        const uint64_t until = clock_mono_ms() + PATIENCE_MS;

        cr_assert(eq(int, kickoff_device_create(&options, &counter.device), OK));
        while (counter.n < BURST_N && counter.resets == 0) {
                cr_assert(clock_mono_ms() < until, "only %zu signals came", counter.n);
                kickoff_device_service(counter.device, SERVICE_MS);
        }
        cr_assert(eq(uint, counter.resets, 0));
        cr_assert(eq(uint, counter.hellos, 1));
        cr_assert(counter.recovered);
        kickoff_device_destroy(counter.device);
}

Test(retention, a_device_away_for_17000_signals_gets_them_all_from_every_node)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node there = { 0 }, restarted = { 0 };
        char token[TOKEN_TEXT_MAX + 1];
        struct recorder before;
        seqno seq;

        node_start(&there, "--redis", test_redis_url(redis), "--name=there", NULL);
        node_start(&restarted, "--redis", test_redis_url(redis), "--name=restarted", NULL);
        create_event(&there, "final");
        recorder_start(&before, &there, "tv-1", NULL, ENCODING_JSON);
        seq = change(&there, "POST", "/v1/events/final/start", "{}");
        recorder_until_signals(&before, 1);
        strcpy(token, kickoff_device_token(before.device));
        recorder_end(&before);

        node_kill(&restarted);
        burst(redis);
        wait_until(has_the_burst, &there, "the node to read the burst");
        node_start(&restarted, "--redis", test_redis_url(redis), "--name=restarted", NULL);
        resumes_without_a_reset(&there, token, seq);
        resumes_without_a_reset(&restarted, token, seq);
        cr_assert(eq(int, (int)node_metric(&there, "kickoff_ring_young_lost_total"), 0));
        node_end(&restarted);
        node_end(&there);
        test_redis_destroy(redis);
}
