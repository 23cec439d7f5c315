/* The model Redis of the simulation against a real one with the real functions: the same random
 * commands, the same answers, also after the data was deleted, trimmed, or its meta lost. If the
 * two ever differ, the simulation proves nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/buf.h"
#include "base/rng.h"
#include "tests/sim/model_redis.h"
#include "tests/support/redis_server.h"

#define KEYS            "{t}:"
#define EVENTS          5 /* ids used; one more than fit */
#define EVENTS_MAX_HERE 4
#define NOW             INT64_C(1790000000000)

extern const char kickoff_lua[];

struct pair {
        struct test_redis *server;
        struct model *model;
        struct rng rng;
        unsigned step;
};

static uint64_t below(struct pair *pair, uint64_t n)
{
        return rng_below(&pair->rng, n);
}

static struct pair begin(uint64_t seed)
{
        struct pair pair = { .server = test_redis_start("--appendfsync", "no", NULL),
                             .model = model_create() };

        rng_seed(&pair.rng, seed);
        test_redis_do(pair.server, "FUNCTION", "LOAD", kickoff_lua, NULL);
        return pair;
}

static void end(struct pair *pair)
{
        model_destroy(pair->model);
        test_redis_destroy(pair->server);
}

/* --- the model's answers, as test_redis_ask() writes those of Redis --------------------------- */

static void add_place(struct buf *out, struct token place)
{
        char epoch[17] = "", tag[17] = "";

        if (place.epoch != 0) {
                token_hex(place.epoch, epoch);
                token_hex(place.tag, tag);
        }
        buf_printf(out, "%s\n%llu\n%s", epoch, (unsigned long long)place.seq, tag);
}

static void add_result(struct buf *out, const char *word, const struct model_op *op)
{
        char token[TOKEN_TEXT_MAX + 1];

        token_format(&op->token, token);
        buf_printf(out, "%s\n%s\n%s", word, token, op->record);
}

static void expect(struct pair *pair, char *real, struct buf *model, const char *what)
{
        char *text = buf_take(model);

        cr_assert(text != NULL);
        cr_assert(eq(str, real, text), "step %u: %s", pair->step, what);
        free(text);
        free(real);
}

/* Records in the order of their text: Redis gives them in that of its hash. */
static int by_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(char *text)
{
        char *lines[16], *copy = strdup(text), *rest = copy;
        size_t n = 0, at = 0;

        while (n < 16 && (lines[n] = strsep(&rest, "\n")) != NULL)
                n++;
        qsort(lines, n, sizeof(lines[0]), by_text);
        for (size_t i = 0; i < n; i++)
                at += (size_t)sprintf(text + at, "%s%s", i > 0 ? "\n" : "", lines[i]);
        free(copy);
}

/* --- the questions -------------------------------------------------------------------------- */

static void compare_head(struct pair *pair)
{
        struct buf out = BUF_INIT;

        add_place(&out, model_head(pair->model));
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_head", "1", KEYS "meta", NULL),
               &out, "head");
}

static void compare_state(struct pair *pair)
{
        const struct model_op *ops[EVENTS];
        size_t n = model_state(pair->model, EVENTS, ops);
        struct buf out = BUF_INIT;
        char *real = test_redis_ask(pair->server, "FCALL_RO", "kickoff1_state", "2", KEYS "meta",
                                    KEYS "events", NULL),
             *mine;

        add_place(&out, model_head(pair->model));
        buf_char(&out, '\n');
        for (size_t i = 0; i < n; i++)
                buf_printf(&out, "%s%s", i > 0 ? "\n" : "", ops[i]->record);
        mine = buf_take(&out);
        sort_lines(real);
        sort_lines(mine);
        cr_assert(eq(str, real, mine), "step %u: state", pair->step);
        free(mine);
        free(real);
}

static void compare_range(struct pair *pair, seqno from, seqno to, size_t max)
{
        struct model_op **ops = calloc(max, sizeof(*ops));
        size_t n = model_range(pair->model, from, to, max, ops);
        struct buf out = BUF_INIT;
        char texts[3][24];

        snprintf(texts[0], sizeof(texts[0]), "%llu", (unsigned long long)from);
        snprintf(texts[1], sizeof(texts[1]), "%llu", (unsigned long long)to);
        snprintf(texts[2], sizeof(texts[2]), "%zu", max);
        add_place(&out, model_head(pair->model));
        buf_char(&out, '\n');
        for (size_t i = 0; i < n; i++) {
                char tag[17], prev[17];

                token_hex(ops[i]->token.tag, tag);
                token_hex(ops[i]->prev, prev);
                buf_printf(&out, "%s%llu-0\ntag\n%s\nprev\n%s\nbody\n%s", i > 0 ? "\n" : "",
                           (unsigned long long)ops[i]->token.seq, tag, prev, ops[i]->body);
        }
        free(ops);
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_range", "2", KEYS "meta",
                              KEYS "log", texts[0], texts[1], texts[2], NULL),
               &out, "range");
}

static void compare_lookup(struct pair *pair, const char *event, const char *key)
{
        const struct model_op *there, *request;
        struct buf out = BUF_INIT;
        char req[64];

        snprintf(req, sizeof(req), KEYS "req:%s", key);
        model_lookup(pair->model, event, key, &there, &request);
        buf_printf(&out, "%s\n", there != NULL ? there->record : "(nil)");
        if (request != NULL)
                add_result(&out, request->fingerprint, request);
        else
                buf_str(&out, "(nil)");
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_lookup", "2", KEYS "events", req,
                              event, "1", NULL),
               &out, "lookup");
}

/* --- the changes ---------------------------------------------------------------------------- */

static void compare_open(struct pair *pair)
{
        uint64_t fresh_epoch = rng_u64(&pair->rng), fresh_tag = rng_u64(&pair->rng);
        struct buf out = BUF_INIT;
        char epoch[17], tag[17];

        token_hex(fresh_epoch, epoch);
        token_hex(fresh_tag, tag);
        add_place(&out, model_open(pair->model, fresh_epoch, fresh_tag));
        expect(pair,
               test_redis_ask(pair->server, "FCALL", "kickoff1_open", "2", KEYS "meta", KEYS "log",
                              epoch, tag, NULL),
               &out, "open");
}

struct texts { /* of an append */
        char event[8], record[200], body[100], key[24], fingerprint[8];
        char req[64], bundles[64], drafts[64];
        char expected[24], tag[17], epoch[17], fresh[17], keep[24], keep_ms[24], now[24];
};

static char *append_to_redis(struct pair *pair, const struct texts *t, bool publish)
{
        return test_redis_ask(pair->server, "FCALL", "kickoff1_append", "6", KEYS "log",
                              KEYS "meta", KEYS "events", t->req, t->bundles, t->drafts, t->event,
                              t->expected, t->record, t->body, t->tag, KEYS "signals",
                              publish ? "1" : "0", t->fingerprint, "86400", "4", t->keep,
                              t->keep_ms, t->now, t->epoch, t->fresh, NULL);
}

static void compare_append(struct pair *pair, seqno keep_entries)
{
        const struct model_op *there = NULL, *result = NULL;
        struct model_append append = { .keep_entries = keep_entries, .keep_ms = 1000 };
        struct buf out = BUF_INIT;
        struct texts t = { .event = "" };

        snprintf(t.event, sizeof(t.event), "e%u", (unsigned)below(pair, EVENTS));
        model_lookup(pair->model, t.event, NULL, &there, &result);
        append.expected = there != NULL ? there->version : 0;
        if (below(pair, 8) == 0)
                append.expected = below(pair, 4); /* somebody else was faster */
        append.version = append.expected + 1;
        append.sent = NOW + (int64_t)pair->step * 100;
        append.now = append.sent;
        append.tag = rng_u64(&pair->rng);
        append.fresh_epoch = rng_u64(&pair->rng);
        append.fresh_tag = rng_u64(&pair->rng);
        append.publish = below(pair, 5) == 0;
        append.events_max = EVENTS_MAX_HERE;
        snprintf(t.key, sizeof(t.key), "k%u", (unsigned)below(pair, pair->step + 10));
        if (below(pair, 4) > 0) /* else without a request key */
                snprintf(t.fingerprint, sizeof(t.fingerprint), "f%u", (unsigned)below(pair, 3));
        snprintf(t.record, sizeof(t.record), "{\"id\":\"%s\",\"version\":%llu,\"step\":%u}",
                 t.event, (unsigned long long)append.version, pair->step);
        snprintf(t.body, sizeof(t.body), "{\"kind\":\"start\",\"sent\":%lld}",
                 (long long)append.sent);
        snprintf(t.req, sizeof(t.req), KEYS "req:%s", t.key);
        snprintf(t.bundles, sizeof(t.bundles), KEYS "bundles:%s", t.event);
        snprintf(t.drafts, sizeof(t.drafts), KEYS "drafts:%s", t.event);
        snprintf(t.expected, sizeof(t.expected), "%llu", (unsigned long long)append.expected);
        snprintf(t.keep, sizeof(t.keep), "%llu", (unsigned long long)keep_entries);
        snprintf(t.keep_ms, sizeof(t.keep_ms), "%lld", (long long)append.keep_ms);
        snprintf(t.now, sizeof(t.now), "%lld", (long long)append.now);
        token_hex(append.tag, t.tag);
        token_hex(append.fresh_epoch, t.epoch);
        token_hex(append.fresh_tag, t.fresh);
        append.event = t.event;
        append.record = t.record;
        append.body = t.body;
        append.key = t.key;
        append.fingerprint = t.fingerprint;

        result = NULL;
        switch (model_append(pair->model, &append, &result)) {
        case MODEL_COMMITTED:
                add_result(&out, "committed", result);
                break;
        case MODEL_REPLAYED:
                add_result(&out, "replayed", result);
                break;
        case MODEL_MISMATCH:
                buf_str(&out, "mismatch");
                break;
        case MODEL_STALE:
                /* Lua's false at the end of a table is an empty answer, not none. */
                buf_printf(&out, "stale\n%s", result != NULL ? result->record : "(nil)");
                break;
        case MODEL_FULL:
                buf_str(&out, "full");
                break;
        case MODEL_NODRAFTS:
                buf_str(&out, "nodrafts");
                break;
        }
        expect(pair, append_to_redis(pair, &t, append.publish), &out, "append");
}

static void draft(struct pair *pair)
{
        char event[8], drafts[64];

        snprintf(event, sizeof(event), "e%u", (unsigned)below(pair, EVENTS));
        snprintf(drafts, sizeof(drafts), KEYS "drafts:%s", event);
        test_redis_do(pair->server, "HSET", drafts, "default", "x", NULL);
        model_draft(pair->model, event);
}

static void hurt(struct pair *pair)
{
        seqno below_seq = 1 + below(pair, model_head(pair->model).seq + 1);
        char text[32];

        switch (below(pair, 12)) {
        case 0:
                test_redis_do(pair->server, "FLUSHALL", NULL);
                model_wipe(pair->model);
                break;
        case 1:
        case 2:
                test_redis_do(pair->server, "DEL", KEYS "meta", NULL);
                model_lose_meta(pair->model);
                break;
        default:
                snprintf(text, sizeof(text), "%llu-0", (unsigned long long)below_seq);
                test_redis_do(pair->server, "XTRIM", KEYS "log", "MINID", text, NULL);
                model_trim(pair->model, below_seq);
                break;
        }
}

/* --- tests ---------------------------------------------------------------------------------- */

static void compare_all(struct pair *pair)
{
        compare_head(pair);
        compare_state(pair);
        compare_range(pair, 1, UINT64_C(1) << 50, 100000);
}

Test(model, answers_as_redis_does_whatever_is_asked)
{
        for (uint64_t seed = 1; seed <= 3; seed++) {
                struct pair pair = begin(seed);

                for (pair.step = 0; pair.step < 400; pair.step++) {
                        seqno head = model_head(pair.model).seq, from = below(&pair, head + 3);
                        char event[8], key[24];

                        snprintf(event, sizeof(event), "e%u", (unsigned)below(&pair, EVENTS));
                        snprintf(key, sizeof(key), "k%u", (unsigned)below(&pair, pair.step + 10));
                        switch (below(&pair, 12)) {
                        case 0:
                                compare_open(&pair);
                                break;
                        case 1:
                                compare_range(&pair, from, from + below(&pair, 20),
                                              1 + below(&pair, 10));
                                break;
                        case 2:
                                compare_lookup(&pair, event, key);
                                break;
                        case 3:
                                compare_state(&pair);
                                break;
                        case 4:
                                draft(&pair);
                                break;
                        case 5:
                                if (below(&pair, 4) == 0)
                                        hurt(&pair);
                                break;
                        default:
                                compare_append(&pair, 20000);
                                break;
                        }
                        compare_head(&pair);
                }
                compare_all(&pair);
                end(&pair);
        }
}

Test(model, trims_its_log_where_redis_does)
{
        struct pair pair = begin(9);

        for (pair.step = 0; model_head(pair.model).seq < 1100; pair.step++) {
                compare_append(&pair, 100);
                if (below(&pair, 4) == 0)
                        draft(&pair);
                if (model_head(pair.model).seq % 256 == 0)
                        compare_all(&pair);
        }
        compare_all(&pair);
        end(&pair);
}

/* What Redis finds in its append-only file after a crash is what the model has after a cut. */
Test(model, cut_back_it_is_what_it_was)
{
        struct pair pair = begin(11);
        struct token then, now;
        size_t lines;

        for (pair.step = 0; pair.step < 60; pair.step++)
                compare_append(&pair, 20000);
        then = model_head(pair.model);
        lines = model_journal(pair.model);
        for (unsigned i = 0; i < 3; i++) { /* the model alone goes on, and forgets it again */
                const struct model_op *unused;
                const struct model_append lost = { .event = "lost",
                                                   .record = "{}",
                                                   .body = "{}",
                                                   .version = 1,
                                                   .tag = 1 + i,
                                                   .key = "",
                                                   .fingerprint = "",
                                                   .events_max = 100 };

                model_append(pair.model, &lost, &unused);
                model_lose_meta(pair.model);
                model_wipe(pair.model);
                cr_assert(eq(u64, model_head(pair.model).epoch, 0));
                model_cut(pair.model, lines);
        }
        now = model_head(pair.model);
        cr_assert(token_equal(&now, &then));
        compare_all(&pair);
        for (; pair.step < 120; pair.step++)
                compare_append(&pair, 20000);
        compare_all(&pair);
        end(&pair);
}
