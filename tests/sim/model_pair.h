/* tests/sim/model_pair.h -- a real redis-server with the real functions, and the model: what each
 * answers to the same question. Part of test_model.c. */
#pragma once

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
#define PLACES          8 /* remembered, to be witnesses later */
#define NOW             INT64_C(1790000000000)

extern const char kickoff_lua[];

struct pair {
        struct test_redis *server;
        struct model *model;
        struct rng rng;
        unsigned step;
        struct token places[PLACES];
        unsigned n_places;
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

static void add_hex(struct buf *out, uint64_t value)
{
        char text[17] = "";

        if (value != 0)
                token_hex(value, text);
        buf_str(out, text);
}

static void add_token(struct buf *out, const struct token *token)
{
        add_hex(out, token->epoch);
        buf_printf(out, "\n%llu\n", (unsigned long long)token->seq);
        if (token->epoch != 0)
                add_hex(out, token->tag);
}

static void add_place(struct buf *out, const struct place *place)
{
        add_token(out, &place->token);
        buf_char(out, '\n');
        add_hex(out, place->parent);
}

static void add_result(struct buf *out, const char *word, const struct model_op *op)
{
        char token[TOKEN_TEXT_MAX + 1];

        token_format(&op->token, token);
        buf_printf(out, "%s\n%s\n%s", word, token, op->record->text);
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

/* --- witnesses ------------------------------------------------------------------------------ */

struct words { /* of a witness */
        char epoch[17], seq[24], tag[17];
};

static struct words words_of(const struct token *token)
{
        struct words words = { .epoch = "", .seq = "0", .tag = "" };

        if (token->epoch == 0)
                return words;
        token_hex(token->epoch, words.epoch);
        snprintf(words.seq, sizeof(words.seq), "%llu", (unsigned long long)token->seq);
        token_hex(token->tag, words.tag);
        return words;
}

static struct token tail_of(const struct pair *pair)
{
        bool is_held;

        return model_tail(pair->model, &is_held);
}

static void remember(struct pair *pair)
{
        struct token tail = tail_of(pair);

        if (tail.epoch != 0)
                pair->places[pair->n_places++ % PLACES] = tail;
}

/* None, the log's end, a place it had, one it never had, one of another epoch. */
static struct token some_witness(struct pair *pair)
{
        struct token token = tail_of(pair);

        switch (below(pair, 8)) {
        case 0:
                return (struct token){ .epoch = 0 };
        case 1:
                token.seq += below(pair, 3);
                break;
        case 2:
                token.tag = rng_u64(&pair->rng);
                break;
        case 3:
                token.seq = below(pair, token.seq + 1);
                token.tag = rng_u64(&pair->rng);
                break;
        case 4:
                token.epoch = below(pair, 6) << 48 | 1;
                break;
        case 5:
        case 6:
                if (pair->n_places > 0)
                        token = pair->places[below(pair, pair->n_places < PLACES ? pair->n_places
                                                                                 : PLACES)];
                break;
        default:
                break;
        }
        return token;
}

/* --- the questions -------------------------------------------------------------------------- */

static void compare_head(struct pair *pair)
{
        struct token witness = some_witness(pair);
        struct words w = words_of(&witness);
        struct place place = model_head(pair->model, &witness);
        struct buf out = BUF_INIT;

        add_place(&out, &place);
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_head", "2", KEYS "meta",
                              KEYS "log", w.epoch, w.seq, w.tag, NULL),
               &out, "head");
}

static void compare_tail(struct pair *pair)
{
        struct buf out = BUF_INIT;
        bool is_held;
        struct token tail = model_tail(pair->model, &is_held);

        add_token(&out, &tail);
        buf_printf(&out, "\n%d", is_held);
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_tail", "1", KEYS "meta", NULL),
               &out, "tail");
}

static void compare_audit(struct pair *pair)
{
        struct buf out = BUF_INIT;

        buf_printf(&out, "%zu", model_data(pair->model)->n_audits);
        expect(pair, test_redis_ask(pair->server, "XLEN", KEYS "audit", NULL), &out, "audit");
}

static void compare_state(struct pair *pair)
{
        struct token witness = some_witness(pair);
        struct words w = words_of(&witness);
        struct place place = model_head(pair->model, &witness);
        struct model_record *records[EVENTS];
        bool lost;
        size_t n = model_state(pair->model, &witness, EVENTS, records, &lost);
        struct buf out = BUF_INIT;
        char *real = test_redis_ask(pair->server, "FCALL_RO", "kickoff1_state", "3", KEYS "meta",
                                    KEYS "log", KEYS "events", w.epoch, w.seq, w.tag, NULL),
             *mine;

        add_place(&out, &place);
        buf_printf(&out, "\n%d\n", lost);
        for (size_t i = 0; i < n; i++)
                buf_printf(&out, "%s%s", i > 0 ? "\n" : "", records[i]->text);
        mine = buf_take(&out);
        sort_lines(real);
        sort_lines(mine);
        cr_assert(eq(str, real, mine), "step %u: state", pair->step);
        free(mine);
        free(real);
}

static void add_entry(struct buf *out, const struct model_op *op)
{
        char tag[17], prev[17];

        token_hex(op->token.tag, tag);
        token_hex(op->prev, prev);
        buf_printf(out, "%llu-0\ntag\n%s\nprev\n%s\nbody\n%s\nrecord\n%s",
                   (unsigned long long)op->token.seq, tag, prev, op->body, op->record->text);
        if (op->held)
                buf_printf(out, "\nevent\n%s\nbefore\n%s\nreq\n%s%s", op->event,
                           op->before != NULL ? op->before->text : "",
                           op->key[0] != '\0' ? KEYS "req:" : "", op->key);
}

static void compare_range(struct pair *pair, seqno from, seqno to, size_t max)
{
        struct model_op **ops = calloc(max, sizeof(*ops));
        struct token witness = some_witness(pair);
        struct words w = words_of(&witness);
        struct place place = model_head(pair->model, &witness);
        size_t n = model_range(pair->model, from, to, max, &witness, ops);
        struct buf out = BUF_INIT;
        char texts[3][24];

        snprintf(texts[0], sizeof(texts[0]), "%llu", (unsigned long long)from);
        snprintf(texts[1], sizeof(texts[1]), "%llu", (unsigned long long)to);
        snprintf(texts[2], sizeof(texts[2]), "%zu", max);
        add_place(&out, &place);
        buf_char(&out, '\n');
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        buf_char(&out, '\n');
                add_entry(&out, ops[i]);
        }
        free(ops);
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_range", "2", KEYS "meta",
                              KEYS "log", texts[0], texts[1], texts[2], w.epoch, w.seq, w.tag,
                              NULL),
               &out, "range");
}

static void compare_lookup(struct pair *pair, const char *event, const char *key)
{
        struct model_record *there;
        struct model_op *request;
        struct buf out = BUF_INIT;
        char req[64];
        bool is_held;

        snprintf(req, sizeof(req), KEYS "req:%s", key);
        model_lookup(pair->model, event, key, &there, &request, &is_held);
        buf_printf(&out, "%s\n", there != NULL ? there->text : "(nil)");
        if (request != NULL) {
                add_result(&out, request->fingerprint, request);
                buf_printf(&out, "\n%d\nfsync", is_held);
        } else {
                buf_str(&out, "(nil)");
        }
        expect(pair,
               test_redis_ask(pair->server, "FCALL_RO", "kickoff1_lookup", "3", KEYS "events", req,
                              KEYS "meta", event, "1", NULL),
               &out, "lookup");
}
