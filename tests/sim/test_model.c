/* The model Redis of the simulation against a real one with the real functions: the same random
 * commands, the same answers, also after the data was deleted, trimmed, or its meta lost, with
 * entries held back, witnesses of all kinds, and renewals. If the two ever differ, the simulation
 * proves nothing. Here is what changes them; what is only asked is in model_pair.h. */
#include "tests/sim/model_pair.h"

/* --- the changes ---------------------------------------------------------------------------- */

struct texts { /* of an append */
        char event[8], record[200], body[100], key[24], fingerprint[8];
        char req[64], bundles[64], drafts[64];
        char expected[24], tag[17], keep[24], keep_ms[24], now[24];
        struct words witness;
};

static void format_record(char out[200], const char *event, uint64_t version, uint64_t epoch,
                          unsigned step)
{
        char hex[17];

        token_hex(epoch, hex);
        snprintf(out, 200, "{\"id\":\"%s\",\"version\":%llu,\"step\":%u,\"epoch\":\"%s\"}", event,
                 (unsigned long long)version, step, hex);
}

static void compare_renew(struct pair *pair)
{
        struct token tail = tail_of(pair);
        struct model_renew renew = { .expected = tail.epoch,
                                     .fresh_epoch = below(pair, 8) << 48 | (pair->step + 1),
                                     .fresh_tag = rng_u64(&pair->rng),
                                     .witness = some_witness(pair) };
        struct words w = words_of(&renew.witness);
        struct model_record *records[2];
        char expected[17] = "", epoch[17], tag[17], texts[2][200], events[2][8];
        struct buf out = BUF_INIT;
        struct place place;
        enum model_renewal result;

        if (below(pair, 6) == 0)
                renew.expected = renew.witness.epoch;
        for (unsigned i = 0; i < 2; i++) {
                uint64_t made = below(pair, 5) << 48 | 7, version = 1 + below(pair, 12);

                snprintf(events[i], sizeof(events[i]), "e%u", (unsigned)(2 * i + below(pair, 2)));
                format_record(texts[i], events[i], version, made, pair->step);
                records[i] = model_record_create(events[i], texts[i], made, version);
        }
        renew.records = records;
        renew.n = below(pair, 3);
        if (renew.expected != 0)
                token_hex(renew.expected, expected);
        token_hex(renew.fresh_epoch, epoch);
        token_hex(renew.fresh_tag, tag);
        result = model_renew(pair->model, &renew);
        place = model_head(pair->model, &renew.witness);
        cr_assert(result != MODEL_TOO_LATE);
        buf_printf(&out, "%s\n",
                   result == MODEL_RENEWED        ? "renewed"
                   : result == MODEL_INTACT       ? "intact"
                   : result == MODEL_RENEWAL_HELD ? "held"
                                                  : "changed");
        add_place(&out, &place);
        expect(pair,
               test_redis_ask(pair->server, "FCALL", "kickoff1_renew", "3", KEYS "meta", KEYS "log",
                              KEYS "events", expected, epoch, tag, w.epoch, w.seq, w.tag,
                              renew.n > 0 ? events[0] : NULL, texts[0],
                              renew.n > 1 ? events[1] : NULL, texts[1], NULL),
               &out, "renew");
        for (unsigned i = 0; i < 2; i++)
                model_record_unref(records[i]);
}

static void compare_release(struct pair *pair)
{
        struct token token = some_witness(pair);
        struct words w = words_of(&token);
        struct buf out = BUF_INIT;
        size_t n;

        if (token.epoch == 0)
                return;
        buf_str(&out, model_release(pair->model, &token, &n) ? "released" : "lost");
        expect(pair,
               test_redis_ask(pair->server, "FCALL", "kickoff1_release", "2", KEYS "meta",
                              KEYS "log", w.epoch, w.seq, w.tag, "PUBLISH", KEYS "signals", NULL),
               &out, "release");
}

static char *append_to_redis(struct pair *pair, const struct texts *t, bool publish, bool held)
{
        return test_redis_ask(
            pair->server, "FCALL", "kickoff1_append", "7", KEYS "log", KEYS "meta", KEYS "events",
            t->req, t->bundles, t->drafts, KEYS "audit", t->event, t->expected, t->record, t->body,
            t->tag, "PUBLISH", KEYS "signals", publish ? "1" : "0", t->fingerprint, "86400", "4",
            t->keep, t->keep_ms, t->now, held ? "1" : "0", t->witness.epoch, t->witness.seq,
            t->witness.tag, "fsync", "start", "somebody", "somewhere", "{}", "100000", NULL);
}

static void choose_texts(struct pair *pair, struct model_append *append, struct texts *t)
{
        snprintf(t->key, sizeof(t->key), "k%u", (unsigned)below(pair, pair->step + 10));
        if (below(pair, 4) > 0) /* else without a request key */
                snprintf(t->fingerprint, sizeof(t->fingerprint), "f%u", (unsigned)below(pair, 3));
        format_record(t->record, t->event, append->expected + 1, append->witness.epoch, pair->step);
        snprintf(t->body, sizeof(t->body), "{\"kind\":\"start\",\"sent\":%lld}",
                 (long long)append->sent);
        snprintf(t->req, sizeof(t->req), KEYS "req:%s", t->key);
        snprintf(t->bundles, sizeof(t->bundles), KEYS "bundles:%s", t->event);
        snprintf(t->drafts, sizeof(t->drafts), KEYS "drafts:%s", t->event);
        snprintf(t->expected, sizeof(t->expected), "%llu", (unsigned long long)append->expected);
        snprintf(t->keep, sizeof(t->keep), "%llu", (unsigned long long)append->keep_entries);
        snprintf(t->keep_ms, sizeof(t->keep_ms), "%lld", (long long)append->keep_ms);
        snprintf(t->now, sizeof(t->now), "%lld", (long long)append->now);
        token_hex(append->tag, t->tag);
        t->witness = words_of(&append->witness);
        append->event = t->event;
        append->body = t->body;
        append->key = t->key;
        append->fingerprint = t->fingerprint;
        append->record =
            model_record_create(t->event, t->record, append->witness.epoch, append->expected + 1);
}

static void add_append(struct buf *out, enum model_answer answer, const struct model_op *op,
                       const struct model_record *there)
{
        static const char *const word[] = {
                [MODEL_COMMITTED] = "committed", [MODEL_HELD] = "held",
                [MODEL_REPLAYED] = "replayed",   [MODEL_REPLAYED_HELD] = "replayed",
                [MODEL_MISMATCH] = "mismatch",   [MODEL_MOVED] = "moved",
                [MODEL_LOST] = "lost",           [MODEL_MIXED] = "mixed",
                [MODEL_STALE] = "stale",         [MODEL_FULL] = "full",
                [MODEL_NODRAFTS] = "nodrafts",
        };

        if (op != NULL)
                add_result(out, word[answer], op);
        else
                buf_str(out, word[answer]);
        if (answer == MODEL_REPLAYED || answer == MODEL_REPLAYED_HELD)
                buf_printf(out, "\n%d\nfsync", answer == MODEL_REPLAYED_HELD);
        /* Lua's false at the end of a table is an empty answer, not none. */
        if (answer == MODEL_STALE)
                buf_printf(out, "\n%s", there != NULL ? there->text : "(nil)");
}

/* `wild`: with any witness; else as a node that has all. */
static void compare_append(struct pair *pair, seqno keep_entries, bool wild)
{
        struct model_record *there = NULL;
        struct model_op *result = NULL;
        struct model_append append = { .keep_entries = keep_entries, .keep_ms = 1000 };
        struct buf out = BUF_INIT;
        struct texts t = { .event = "" };
        enum model_answer answer;
        bool unused;

        snprintf(t.event, sizeof(t.event), "e%u", (unsigned)below(pair, EVENTS));
        model_lookup(pair->model, t.event, NULL, &there, &result, &unused);
        append.expected = there != NULL ? there->version : 0;
        if (below(pair, 8) == 0)
                append.expected = below(pair, 4); /* somebody else was faster */
        append.sent = NOW + (int64_t)pair->step * 100;
        append.now = append.sent;
        append.tag = rng_u64(&pair->rng);
        append.publish = below(pair, 5) == 0;
        append.held = wild && below(pair, 3) > 0;
        append.events_max = EVENTS_MAX_HERE;
        append.witness = wild && below(pair, 3) == 0 ? some_witness(pair) : tail_of(pair);
        choose_texts(pair, &append, &t);
        there = NULL;
        answer = model_append(pair->model, &append, &result, &there);
        add_append(&out, answer, result, there);
        expect(pair, append_to_redis(pair, &t, append.publish, append.held), &out, "append");
        model_record_unref(append.record);
        remember(pair);
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
        const struct token none = { .epoch = 0 };
        seqno below_seq = 1 + below(pair, model_head(pair->model, &none).token.seq + 1);
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
        compare_tail(pair);
        compare_audit(pair);
        compare_range(pair, 1, UINT64_C(1) << 50, 100000);
}

static void one_step(struct pair *pair)
{
        seqno head = tail_of(pair).seq, from = below(pair, head + 3);
        char event[8], key[24];

        snprintf(event, sizeof(event), "e%u", (unsigned)below(pair, EVENTS));
        snprintf(key, sizeof(key), "k%u", (unsigned)below(pair, pair->step + 10));
        switch (below(pair, 16)) {
        case 0:
                if (tail_of(pair).epoch == 0 || below(pair, 3) == 0)
                        compare_renew(pair);
                break;
        case 1:
                compare_range(pair, from, from + below(pair, 20), 1 + below(pair, 10));
                break;
        case 2:
                compare_lookup(pair, event, key);
                break;
        case 3:
                compare_state(pair);
                break;
        case 4:
                draft(pair);
                break;
        case 5:
                if (below(pair, 4) == 0)
                        hurt(pair);
                break;
        case 6:
        case 7:
                compare_release(pair);
                break;
        default:
                compare_append(pair, 20000, true);
                break;
        }
        compare_head(pair);
        compare_tail(pair);
        compare_audit(pair);
}

Test(model, answers_as_redis_does_whatever_is_asked)
{
        for (uint64_t seed = 1; seed <= 5; seed++) {
                struct pair pair = begin(seed);

                for (pair.step = 0; pair.step < 400; pair.step++) {
                        if (pair.step % 50 == 0)
                                compare_renew(&pair);
                        one_step(&pair);
                }
                compare_all(&pair);
                end(&pair);
        }
}

Test(model, trims_its_log_where_redis_does)
{
        struct pair pair = begin(9);

        while (tail_of(&pair).epoch == 0)
                compare_renew(&pair);
        for (pair.step = 0; tail_of(&pair).seq < 1100; pair.step++) {
                compare_append(&pair, 100, false);
                if (below(&pair, 4) == 0)
                        draft(&pair);
                if (tail_of(&pair).seq % 256 == 0)
                        compare_all(&pair);
        }
        compare_all(&pair);
        end(&pair);
}

/* What Redis finds in its append-only file after a crash is what the model has after a cut; and a
 * model that takes over its lines is the same. */
Test(model, cut_back_it_is_what_it_was_and_a_replica_is_the_same)
{
        struct pair pair = begin(11);
        struct token then, now;
        struct model *replica = model_create(), *first;
        size_t lines;

        while (tail_of(&pair).epoch == 0)
                compare_renew(&pair);
        for (pair.step = 0; pair.step < 60; pair.step++)
                compare_append(&pair, 20000, true);
        then = tail_of(&pair);
        lines = model_journal(pair.model);
        for (unsigned i = 0; i < 3; i++) { /* the model alone goes on, and forgets it again */
                model_draft(pair.model, "lost");
                model_lose_meta(pair.model);
                model_wipe(pair.model);
                cr_assert(eq(u64, tail_of(&pair).epoch, 0));
                model_cut(pair.model, lines);
        }
        now = tail_of(&pair);
        cr_assert(token_equal(&now, &then));
        compare_all(&pair);
        for (size_t i = 0; i < lines; i++)
                model_follow(replica, pair.model, i);
        cr_assert(eq(sz, model_common(replica, pair.model), lines));
        first = pair.model;
        pair.model = replica;
        compare_all(&pair);
        for (; pair.step < 120; pair.step++)
                compare_append(&pair, 20000, true);
        compare_all(&pair);
        cr_assert(eq(sz, model_common(replica, first), lines));
        model_destroy(first);
        end(&pair);
}
