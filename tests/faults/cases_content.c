/* tests/faults/cases_content.c -- what devices hold and present: bundles that are damaged or
 * missing, tokens from elsewhere, entries of another version. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rng.h"
#include "proto/token.h"
#include "tests/faults/scene.h"

#define BUNDLE "{\"live\":[1,2,3]}"

static void publish_bundle(struct scene *s)
{
        struct answer answer =
            ask(&s->nodes[0], "PUT", "/v1/events/final/bundles/default", BUNDLE, NULL);

        CHECK_KEPT(answer.status / 100 == 2, "a draft was answered %d", answer.status);
        answer_end(&answer);
        change(&s->nodes[0], "POST", "/v1/events/final/bundles", "{}");
}

/* The name of the only body in Redis. */
static char *find_body(struct scene *s)
{
        char *names = test_redis_ask(s->redis, "KEYS", "{kickoff}:body:*", NULL);

        check(names[0] && !strchr(names, '\n'));
        return names;
}

static void poison(const char *kind)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });
        struct answer answer;
        char *body;

        publish_bundle(s);
        body = find_body(s);
        if (strcmp(kind, "flipped") == 0)
                test_redis_do(s->redis, "SETRANGE", body, "3", "x", NULL);
        else
                test_redis_do(s->redis, "SET", body, "{\"li", NULL);
        answer = scene_get(&s->nodes[0], "/v1/prefetch/final?cohort=default");
        CHECK_KEPT(answer.status == 503, "line 14: a %s bundle was answered %d", kind,
                   answer.status);
        answer_end(&answer);
        CHECK_KEPT(scene_log_count(&s->nodes[0], "PREFETCH-POISONED") > 0,
                   "line 14: nothing was said of it");
        test_redis_do(s->redis, "SET", body, BUNDLE, NULL);
        free(body);
        for (unsigned i = 0; i < 100 && answer.status != 200; i++) {
                usleep(50000);
                answer = scene_get(&s->nodes[0], "/v1/prefetch/final?cohort=default");
                answer_end(&answer);
        }
        CHECK_KEPT(answer.status == 200, "line 14: mended, it was answered %d", answer.status);
        scene_close(s);
}

FAULT_OF(69, a, "a byte of a stored bundle is another one",
         "it is refused, not served; mended, it is (line 14)", .quick = true)
{
        poison("flipped");
}

FAULT_OF(69, b, "a stored bundle is truncated",
         "it is refused, not served; mended, it is (line 14)", .quick = true)
{
        poison("truncated");
}

FAULT(
    70, "the event starts while a device holds no bundle, or an older one",
    "every signal names the bundle's version and a refresh the span to fetch it in; fetched, it has that version "
    "(line 14)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });
        struct answer answer;
        struct recorder r;
        bool told = false;

        publish_bundle(s);
        recorder_start(&r, &s->nodes[0], "late", NULL, ENCODING_JSON);
        CHECK_KEPT(r.events[0].bundle == 1, "line 14: the state names bundle %" PRIu64,
                   r.events[0].bundle);
        answer =
            ask(&s->nodes[0], "PUT", "/v1/events/final/bundles/default", "{\"live\":[4]}", NULL);
        answer_end(&answer);
        change(&s->nodes[0], "POST", "/v1/events/final/bundles", "{}");
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        recorder_until_signals(&r, 2);
        for (size_t i = 0; i < r.n_signals; i++) {
                CHECK_KEPT(r.signals[i].state.bundle == 2,
                           "line 14: a signal names bundle %" PRIu64, r.signals[i].state.bundle);
                told = told || (r.signals[i].kind == SIGNAL_REFRESH && r.signals[i].window_ms > 0);
        }
        CHECK_KEPT(told, "line 14: no span to fetch it in");
        answer = scene_get(&s->nodes[0], "/v1/prefetch/final?cohort=default");
        CHECK_KEPT(answer.status == 200 && json_is_object(answer.json),
                   "line 14: the bundle was answered %d", answer.status);
        answer_end(&answer);
        recorder_end(&r);
        scene_close(s);
}

/* --- 71: tokens from elsewhere --- */

/* Comes with this token, and says what came of it. */
static void come_with(struct scene *s, const char *token, bool may_resume)
{
        struct recorder r;

        recorder_start(&r, &s->nodes[0], "stranger", token, ENCODING_JSON);
        CHECK_KEPT(may_resume || r.resets == 1, "line 6: a device with the token %s was not reset",
                   token);
        CHECK_KEPT(r.resets == 0 || r.n_events == 1,
                   "line 6: the reset does not carry the whole state");
        recorder_end(&r);
}

static int status_of(struct scene *s, const char *token)
{
        char request[512], answer[64] = "";
        int fd = raw_connect(&s->nodes[0], 0), len;

        len = snprintf(
            request, sizeof(request),
            "GET /v1/connect?device=x&since=%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            token);
        check(send(fd, request, (size_t)len, MSG_NOSIGNAL) == len);
        (void)!recv(fd, answer, sizeof(answer) - 1, 0);
        close(fd);
        return atoi(answer + 9);
}

struct expected {
        const struct test_node *node;
        int64_t resets;
};

static bool has_reset(void *arg)
{
        const struct expected *expected = arg;

        return node_metric(expected->node, "kickoff_resets_total") >= expected->resets;
}

FAULT(71, "devices come with tokens of other logs, with numbers to come, wrong tags, and nonsense",
      "reset with the state, or 400; the node stays (lines 6, 7)", .quick = true, .limit_s = 120)
{
        static const char *const nonsense[] = {
                "",
                ".",
                "..",
                "1.2",
                "x.1.y",
                "8c1f0a2b3d4e5f60.-1.deadbeef00000001",
                "8c1f0a2b3d4e5f60.99999999999999999999.deadbeef00000001",
                "8C1F0A2B3D4E5F60.1.DEADBEEF00000001",
                "8c1f0a2b3d4e5f60.1.deadbeef00000001%00",
                "0000000000000000.1.deadbeef00000001"
        };
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });
        struct produced here = produce_until(s->ledger, &s->nodes[0], "final");
        struct token token = here.token;
        char text[TOKEN_TEXT_MAX + 1];
        struct expected expected = { &s->nodes[0], 0 };
        int64_t resets;
        struct rng rng;

        rng_seed(&rng, rng_secure_u64());
        token_format(&token, text);
        come_with(s, text, true);
        resets = node_metric(&s->nodes[0], "kickoff_resets_total");
        token.tag ^= 1; /* a fork */
        token_format(&token, text);
        come_with(s, text, false);
        token = here.token; /* a number to come, of this epoch */
        token.seq += 1000;
        token_format(&token, text);
        come_with(s, text, false);
        for (unsigned i = 0; i < 30; i++) {
                token =
                    (struct token){ rng_u64(&rng) | 1, rng_below(&rng, SEQNO_MAX), rng_u64(&rng) };
                token_format(&token, text);
                come_with(s, text, false);
        }
        CHECK_KEPT(node_metric(&s->nodes[0], "kickoff_resets_total") >= resets + 32,
                   "resets are not counted");
        expected.resets = node_metric(&s->nodes[0], "kickoff_resets_total");
        for (unsigned i = 0; i < countof(nonsense); i++) {
                int status = status_of(s, nonsense[i]);

                CHECK_KEPT(status == 400 || status == 101,
                           "line 6: the token \"%s\" was answered %d", nonsense[i], status);
                expected.resets += status == 101;
        }
        wait_until(has_reset, &expected, "devices with nonsense for a token to be reset");
        scene_close(s);
}

/* --- 72: mixed versions --- */

/* What a newer node would do: the last entry once more, with its own words in it. ARGV: a pattern
 * in the body and what stands there instead. */
static const char append_as_newer[] =
    "local log, meta, events = '{kickoff}:log', '{kickoff}:meta', '{kickoff}:events'\n"
    "local m = redis.call('HMGET', meta, 'epoch', 'seq', 'tag')\n"
    "local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1][2]\n"
    "local body\n"
    "for i = 1, #last, 2 do if last[i] == 'body' then body = last[i + 1] end end\n"
    "local version = tonumber(string.match(body, '\"version\":(%d+)'))\n"
    "body = string.gsub(body, '\"version\":%d+', '\"version\":' .. version + 1)\n"
    "body = string.gsub(body, ARGV[1], ARGV[2])\n"
    "local record = redis.call('HGET', events, 'final')\n"
    "record = string.gsub(record, '\"version\":%d+', '\"version\":' .. version + 1)\n"
    "record = string.gsub(record, '^{', '{\"newer\":{\"deep\":[1,2]},')\n"
    "local stage = '\"stage\":\"newer-' .. version .. '\"'\n"
    "body = string.gsub(body, '\"stage\":\"[^\"]*\"', stage)\n"
    "record = string.gsub(record, '\"stage\":\"[^\"]*\"', stage)\n"
    "local seq, tag = string.format('%.0f', tonumber(m[2]) + 1), ARGV[3]\n"
    "redis.call('XADD', log, seq .. '-0', 'tag', tag, 'prev', m[3], 'body', body)\n"
    "redis.call('HSET', events, 'final', record)\n"
    "redis.call('HSET', meta, 'seq', seq, 'tag', tag)\n"
    "redis.call('PUBLISH', '{kickoff}:signals', m[1] .. '.' .. seq .. '.' .. tag .. ' ' .. m[3] .. ' ' .. body)\n"
    "return m[1] .. '.' .. seq .. '.' .. tag\n";

static struct token append_newer(struct scene *s, const char *pattern, const char *instead)
{
        struct token token;
        char tag[17], *text;

        token_hex(rng_secure_u64(), tag);
        text = test_redis_ask(s->redis, "EVAL", append_as_newer, "0", pattern, instead, tag, NULL);
        if (token_parse(text, strlen(text), &token) != OK)
                give_up("could not append as a newer node: %s", text);
        free(text);
        return token;
}

FAULT_OF(72, a, "a newer node writes entries and records with members this version does not know",
         "they are skipped, the entry is delivered (lines 4, 5)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct token token;

        for (unsigned i = 0; i < 5; i++) {
                (void)produce_until(s->ledger, &s->nodes[i % 2], "final");
                token = append_newer(
                    s, "^{", "{\"newer\":{\"deep\":[1,{\"a\":null}]},\"audience\":\"all\",");
        }
        CHECK_KEPT(crew_reaches(s->crew, &token, PATIENCE_MS),
                   "line 5: an entry with unknown members never came");
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 5: devices were reset");
        scene_close(s);
}

FAULT_OF(72, b, "a newer node writes an entry of a kind this version does not know",
         "devices are reset to the state beyond it, and all goes on: never a silent gap (line 6)",
         .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });

        (void)produce_until(s->ledger, &s->nodes[0], "final");
        (void)append_newer(s, "\"kind\":\"%a+\"", "\"kind\":\"rewind\"");
        (void)produce_until(s->ledger, &s->nodes[1], "final");
        scene_judge(s);
        CHECK_KEPT(scene_log_count(&s->nodes[0], "ENTRY-UNREADABLE") +
                           scene_log_count(&s->nodes[0], "MESSAGE-UNREADABLE") >
                       0,
                   "the fault was not made: the entry was readable");
        scene_close(s);
}
