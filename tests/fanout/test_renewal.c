/* When the log must go on in a new epoch, and the call that makes it so, against a real Redis. */
#include "fanout/renewal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <event2/event.h>

#include "base/clock.h"
#include "fanout/writer.h"
#include "tests/support/redis_server.h"

#define NS                      "test"
#define META                    "{" NS "}:meta"
#define LOG                     "{" NS "}:log"
#define EVENTS                  "{" NS "}:events"
#define PATIENCE_MS             20000
#define EPOCH(generation, rest) ((uint64_t)(generation) << 48 | (rest))

/* --- the judgement -------------------------------------------------------------------------- */

static const struct {
        uint64_t mine, there;
        bool lost;
        size_t n_later;
        bool needed;
} table[] = {
        /* nothing there */
        { 0, 0, false, 0, true },
        { EPOCH(1, 5), 0, false, 0, true },
        { EPOCH(1, 5), 0, false, 3, true },
        /* nothing here */
        { 0, EPOCH(1, 5), false, 0, false },
        /* the same epoch */
        { EPOCH(1, 5), EPOCH(1, 5), false, 0, false },
        { EPOCH(1, 5), EPOCH(1, 5), true, 0, true },
        { EPOCH(1, 5), EPOCH(1, 5), true, 2, true },
        { EPOCH(1, 5), EPOCH(1, 5), false, 2, true }, /* lost, and trimmed since */
        /* another of the same generation, an earlier one */
        { EPOCH(2, 5), EPOCH(2, 6), false, 0, true },
        { EPOCH(2, 5), EPOCH(2, 4), false, 0, true },
        { EPOCH(2, 5), EPOCH(1, 9), false, 0, true },
        { EPOCH(2, 5), EPOCH(1, 9), false, 1, true },
        /* a later one */
        { EPOCH(2, 5), EPOCH(3, 1), false, 0, false },
        { EPOCH(2, 5), EPOCH(3, 1), false, 1, true },
};

Test(renewal, is_needed_when_the_log_lacks_what_this_node_knows_or_leads_backwards)
{
        for (size_t i = 0; i < countof(table); i++) {
                struct token mine = { table[i].mine, 3, 30 };
                struct place place = { .token = { table[i].there, 2, 20 } };

                cr_assert(eq(int, renewal_is_needed(&mine, &place, table[i].lost, table[i].n_later),
                             table[i].needed),
                          "row %zu", i);
        }
}

Test(renewal, its_epoch_is_of_a_later_generation_than_both)
{
        cr_assert(eq(u64, renewal_epoch(0, 0, 7), EPOCH(1, 7)));
        cr_assert(eq(u64, renewal_epoch(EPOCH(4, 9), EPOCH(2, 9), 7), EPOCH(5, 7)));
        cr_assert(eq(u64, renewal_epoch(EPOCH(2, 9), EPOCH(4, 9), 7), EPOCH(5, 7)));
        cr_assert(eq(u64, renewal_epoch(0, EPOCH(1, 0), UINT64_MAX), EPOCH(2, 0xffffffffffff)));
        cr_assert(eq(u64, renewal_epoch(EPOCH(0xfffe, 1), 0, 7), EPOCH(0xffff, 7)));
        cr_assert(eq(u64, renewal_epoch(EPOCH(0xffff, 1), 0, 7), 0));
        cr_assert(eq(u64, renewal_epoch(0, UINT64_MAX, 7), 0));
}

/* --- the call ------------------------------------------------------------------------------- */

struct rig {
        struct test_redis *server;
        struct event_base *base;
        struct redis *redis;
        bool loaded;
};

#define run_until(rig, condition)                                                         \
        do {                                                                              \
                uint64_t run_until_deadline = clock_mono_ms() + PATIENCE_MS;              \
                while (!(condition)) {                                                    \
                        struct timeval run_until_turn = { 0, 20000 };                     \
                        cr_assert(clock_mono_ms() < run_until_deadline, "never came: %s", \
                                  #condition);                                            \
                        event_base_loopexit((rig)->base, &run_until_turn);                \
                        event_base_loop((rig)->base, EVLOOP_ONCE);                        \
                }                                                                         \
        } while (0)

static void on_loaded(void *owner, enum err err, const char *why)
{
        cr_assert(eq(int, err, OK), "%s", why);
        ((struct rig *)owner)->loaded = true;
}

static struct rig *rig_start(void)
{
        struct rig *rig = calloc(1, sizeof(*rig));
        /* Thousands of records take their time on a busy machine: no deadline is asked about here. */
        struct redis_options options = { .name = "test", .timeout_ms = 60000 };
        const char *why;

        rig->server = test_redis_start(NULL);
        rig->base = event_base_new();
        cr_assert(
            eq(int, redis_parse_url(test_redis_url(rig->server), &options.address, &why), OK));
        cr_assert(eq(int, redis_create(rig->base, &options, &rig->redis), OK));
        run_until(rig, redis_is_up(rig->redis));
        cr_assert(eq(int, library_load(rig->redis, on_loaded, rig), OK));
        run_until(rig, rig->loaded);
        return rig;
}

static void rig_stop(struct rig *rig)
{
        redis_destroy(rig->redis);
        event_base_free(rig->base);
        test_redis_destroy(rig->server);
        free(rig);
}

struct answered {
        bool done;
        char word[200]; /* or the error */
        struct place place;
};

static void on_answer(void *owner, const struct redis_reply *reply)
{
        struct answered *answered = owner;

        answered->done = true;
        cr_assert(reply != NULL);
        if (redis_type(reply) == REDIS_ERROR) {
                snprintf(answered->word, sizeof(answered->word), "%s", redis_text(reply, NULL));
                return;
        }
        snprintf(answered->word, sizeof(answered->word), "%s",
                 redis_text(redis_at(reply, 0), NULL));
        cr_assert(eq(int, answer_place(reply, 1, &answered->place), OK));
}

static void begin(struct rig *rig, struct token mine, uint64_t expected,
                  const struct book_record *records, size_t n, struct answered *ret)
{
        *ret = (struct answered){ 0 };
        cr_assert(
            eq(int, renewal_call(rig->redis, NS, &mine, expected, records, n, on_answer, ret), OK));
}

static struct answered renew(struct rig *rig, struct token mine, uint64_t expected,
                             const struct book_record *records, size_t n)
{
        struct answered answered;

        begin(rig, mine, expected, records, n, &answered);
        run_until(rig, answered.done);
        return answered;
}

static const struct token nothing;

/* The least that kickoff.lua needs to know of a record. */
#define RECORD(generation, version) \
        "{\"version\":" #version ",\"epoch\":\"000" #generation "00000000000a\"}"

/* The log as another node may have left it: meta alone, or with its last entry. */
static void set_log(struct rig *rig, uint64_t epoch, unsigned seq, uint64_t tag)
{
        char epoch_text[17], seq_text[16], tag_text[17], id[24];

        token_hex(epoch, epoch_text);
        token_hex(tag, tag_text);
        snprintf(seq_text, sizeof(seq_text), "%u", seq);
        snprintf(id, sizeof(id), "%u-0", seq);
        test_redis_do(rig->server, "DEL", META, LOG, NULL);
        test_redis_do(rig->server, "HSET", META, "epoch", epoch_text, "seq", seq_text, "tag",
                      tag_text, NULL);
        if (seq > 0)
                test_redis_do(rig->server, "XADD", LOG, id, "tag", tag_text, "prev",
                              "00000000000000ff", "body", "{}", NULL);
}

static void has_record(struct rig *rig, const char *event, const char *wanted)
{
        char *record = test_redis_ask(rig->server, "HGET", EVENTS, event, NULL);

        cr_assert(eq(str, record, (char *)wanted), "%s", event);
        free(record);
}

Test(renewal, opens_a_log_where_there_is_none)
{
        struct rig *rig = rig_start();
        struct answered first = renew(rig, nothing, 0, NULL, 0);
        struct answered second = renew(rig, nothing, 0, NULL, 0);

        cr_assert(eq(str, first.word, "renewed"));
        cr_assert(eq(uint, token_generation(first.place.token.epoch), 1));
        cr_assert(eq(u64, first.place.token.seq, 0));
        cr_assert(eq(u64, first.place.parent, 0));
        cr_assert(eq(str, second.word, "changed"));
        cr_assert(token_equal(&first.place.token, &second.place.token));
        cr_assert(eq(str, renew(rig, nothing, first.place.token.epoch, NULL, 0).word, "intact"));
        rig_stop(rig);
}

Test(renewal, of_twenty_callers_at_once_one_wins)
{
        struct rig *rig = rig_start();
        struct answered answers[20];
        struct token mine = { EPOCH(1, 5), 7, 70 };
        unsigned won = 0, all = 0;

        set_log(rig, EPOCH(1, 5), 6, 60); /* the tail is lost */
        for (size_t i = 0; i < countof(answers); i++)
                begin(rig, mine, EPOCH(1, 5), NULL, 0, &answers[i]);
        run_until(rig, answers[countof(answers) - 1].done);
        for (size_t i = 0; i < countof(answers); i++) {
                won += strcmp(answers[i].word, "renewed") == 0;
                all += strcmp(answers[i].word, "changed") == 0;
                cr_assert(token_equal(&answers[i].place.token, &answers[0].place.token));
        }
        cr_assert(eq(uint, won, 1));
        cr_assert(eq(uint, all, 19));
        cr_assert(eq(uint, token_generation(answers[0].place.token.epoch), 2));
        cr_assert(eq(u64, answers[0].place.parent, EPOCH(1, 5)));
        rig_stop(rig);
}

static const struct {
        uint64_t epoch; /* there */
        unsigned seq;
        uint64_t tag;
        struct token mine;
        const char *word;
        uint64_t parent;
} losses[] = {
        { EPOCH(2, 5), 7, 70, { EPOCH(2, 5), 7, 70 }, "intact", 0 },
        { EPOCH(2, 5), 9, 90, { EPOCH(2, 5), 7, 70 }, "intact", 0 }, /* trimmed: cannot be compared
                                                                      */
        { EPOCH(2, 5), 8, 80, { EPOCH(2, 5), 7, 0xff }, "intact", 0 }, /* the next one chains to
                                                                          ours */
        { EPOCH(2, 5), 6, 60, { EPOCH(2, 5), 7, 70 }, "renewed", EPOCH(2, 5) },
        { EPOCH(2, 5), 7, 71, { EPOCH(2, 5), 7, 70 }, "renewed", EPOCH(2, 5) },
        { EPOCH(2, 5), 8, 80, { EPOCH(2, 5), 7, 70 }, "renewed", EPOCH(2, 5) }, /* chains to another
                                                                                 */
        { EPOCH(2, 6), 9, 90, { EPOCH(2, 5), 7, 70 }, "renewed", EPOCH(2, 5) },
        { EPOCH(1, 5), 9, 90, { EPOCH(2, 5), 7, 70 }, "renewed", EPOCH(2, 5) },
        { EPOCH(3, 5), 0, 10, { EPOCH(2, 5), 7, 70 }, "intact", 0 },
};

Test(renewal, only_who_proves_a_loss_may_end_an_epoch)
{
        struct rig *rig = rig_start();

        for (size_t i = 0; i < countof(losses); i++) {
                struct answered answer;

                set_log(rig, losses[i].epoch, losses[i].seq, losses[i].tag);
                answer = renew(rig, losses[i].mine, losses[i].epoch, NULL, 0);
                cr_assert(eq(str, answer.word, (char *)losses[i].word), "row %zu", i);
                cr_assert(eq(u64, answer.place.parent, losses[i].parent), "row %zu", i);
                if (strcmp(answer.word, "renewed") == 0) {
                        cr_assert(gt(uint, token_generation(answer.place.token.epoch), 2));
                        cr_assert(eq(u64, answer.place.token.seq, 0));
                } else {
                        cr_assert(eq(u64, answer.place.token.epoch, losses[i].epoch), "row %zu", i);
                        cr_assert(eq(u64, answer.place.token.seq, losses[i].seq), "row %zu", i);
                }
        }
        rig_stop(rig);
}

Test(renewal, records_are_merged_each_the_latest_one)
{
        struct rig *rig = rig_start();
        struct token mine = { EPOCH(2, 5), 7, 70 };
        const struct book_record ours[] = {
                { "missing", RECORD(1, 1) }, { "older", RECORD(2, 2) },
                { "newer", RECORD(2, 4) },   { "equal", RECORD(2, 3) },
                { "decided", RECORD(2, 9) }, { "ancient", RECORD(2, 1) },
        };
        char *left;

        set_log(rig, EPOCH(2, 5), 6, 60);
        test_redis_do(rig->server, "HSET", EVENTS, "older", RECORD(2, 3), "newer", RECORD(2, 3),
                      "equal", RECORD(2, 3) " ", "decided", RECORD(3, 1), "theirs", RECORD(1, 1),
                      "ancient", "{\"version\":8}", NULL);
        cr_assert(eq(str, renew(rig, mine, EPOCH(2, 5), ours, countof(ours)).word, "renewed"));
        has_record(rig, "missing", RECORD(1, 1));
        has_record(rig, "older", RECORD(2, 3));
        has_record(rig, "newer", RECORD(2, 4));
        has_record(rig, "equal", RECORD(2, 3) " ");
        has_record(rig, "decided", RECORD(3, 1));
        has_record(rig, "theirs", RECORD(1, 1));
        has_record(rig, "ancient", RECORD(2, 1));
        left = test_redis_ask(rig->server, "EXISTS", LOG, NULL);
        cr_assert(eq(str, left, "0"));
        free(left);
        rig_stop(rig);
}

Test(renewal, a_later_epoch_is_renewed_only_for_a_record_it_lacks)
{
        struct rig *rig = rig_start();
        struct token mine = { EPOCH(2, 5), 7, 70 };
        const struct book_record older = { "final", RECORD(2, 9) },
                                 lost = { "other", RECORD(2, 1) };
        struct answered answer;

        set_log(rig, EPOCH(3, 1), 0, 10);
        test_redis_do(rig->server, "HSET", EVENTS, "final", RECORD(3, 1), NULL);
        cr_assert(eq(str, renew(rig, mine, EPOCH(3, 1), &older, 1).word, "intact"));
        answer = renew(rig, mine, EPOCH(3, 1), &lost, 1);
        cr_assert(eq(str, answer.word, "renewed"));
        cr_assert(eq(uint, token_generation(answer.place.token.epoch), 4));
        cr_assert(eq(u64, answer.place.parent, EPOCH(3, 1)));
        has_record(rig, "final", RECORD(3, 1));
        has_record(rig, "other", RECORD(2, 1));
        rig_stop(rig);
}

/* Nothing else is left to tell it by. */
Test(renewal, a_missing_record_proves_a_loss_whose_place_was_trimmed_since)
{
        struct rig *rig = rig_start();
        struct token mine = { EPOCH(2, 5), 7, 70 };
        const struct book_record there = { "final", RECORD(2, 3) },
                                 lost = { "final", RECORD(2, 4) };

        set_log(rig, EPOCH(2, 5), 9, 90);
        test_redis_do(rig->server, "HSET", EVENTS, "final", RECORD(2, 3), NULL);
        cr_assert(eq(str, renew(rig, mine, EPOCH(2, 5), &there, 1).word, "intact"));
        cr_assert(eq(str, renew(rig, mine, EPOCH(2, 5), &lost, 1).word, "renewed"));
        has_record(rig, "final", RECORD(2, 4));
        rig_stop(rig);
}

/* Of a log whose place is gone, records may still be there: the epochs they name have been. */
Test(renewal, its_generation_is_later_than_those_that_records_remember)
{
        struct rig *rig = rig_start();
        struct answered answer;

        test_redis_do(rig->server, "HSET", EVENTS, "final", RECORD(7, 3), NULL);
        answer = renew(rig, nothing, 0, NULL, 0);
        cr_assert(eq(str, answer.word, "renewed"));
        cr_assert(eq(uint, token_generation(answer.place.token.epoch), 8));
        rig_stop(rig);
}

/* An entry that fewer replicas hold than were asked for was told to nobody: it never happened. */
static void hold(struct rig *rig, unsigned seq, const char *event, const char *before,
                 const char *record, const char *req)
{
        char id[24], text[16], tag[17], prev[17];

        snprintf(id, sizeof(id), "%u-0", seq);
        snprintf(text, sizeof(text), "%u", seq);
        token_hex(seq * 10, tag);
        token_hex((seq - 1) * 10, prev);
        test_redis_do(rig->server, "XADD", LOG, id, "tag", tag, "prev", prev, "body", "{}", "event",
                      event, "before", before, "req", req, NULL);
        test_redis_do(rig->server, "HSET", EVENTS, event, record, NULL);
        if (req[0] != '\0')
                test_redis_do(rig->server, "HSET", req, "fingerprint", "f", NULL);
        test_redis_do(rig->server, "HSET", META, "seq", text, "tag", tag, NULL);
}

/* A failover can lose the mark alone, so what looks held back may have been acknowledged. */
Test(renewal, waits_until_what_is_held_back_is_released)
{
        struct rig *rig = rig_start();
        struct token mine = { EPOCH(2, 5), 7, 71 }; /* another 7 than theirs: that one is lost */
        const struct book_record ours[] = { { "final", RECORD(2, 4) }, { "gone", RECORD(2, 1) } };
        char tag[17];

        set_log(rig, EPOCH(2, 5), 7, 70);
        token_hex(70, tag);
        test_redis_do(rig->server, "HSET", META, "mark", "7", "mark_tag", tag, NULL);
        test_redis_do(rig->server, "HSET", EVENTS, "final", RECORD(2, 3), NULL);
        hold(rig, 8, "final", RECORD(2, 3), RECORD(2, 5), "{" NS "}:req:a");

        cr_assert(eq(str, renew(rig, mine, EPOCH(2, 5), ours, countof(ours)).word, "held"));
        has_record(rig, "final", RECORD(2, 5));
        has_record(rig, "gone", "(nil)");

        token_hex(80, tag);
        test_redis_do(rig->server, "HSET", META, "mark", "8", "mark_tag", tag, NULL);
        cr_assert(eq(str, renew(rig, mine, EPOCH(2, 5), ours, countof(ours)).word, "renewed"));
        has_record(rig, "final", RECORD(2, 5)); /* later than ours */
        has_record(rig, "gone", RECORD(2, 1));
        rig_stop(rig);
}

/* A thousand are as many as fit, but histories are merged: there may be more. */
Test(renewal, thousands_of_records_go_with_one_call)
{
        const size_t n = 5 * EVENTS_MAX;
        struct rig *rig = rig_start();
        struct book_record *ours = calloc(n, sizeof(*ours));
        char(*ids)[16] = calloc(n, sizeof(*ids)), *count;
        char record[5000];

        memset(record, ' ', sizeof(record));
        memcpy(record, RECORD(1, 1), strlen(RECORD(1, 1)));
        record[sizeof(record) - 1] = '\0';
        for (size_t i = 0; i < n; i++) {
                snprintf(ids[i], sizeof(ids[i]), "e%zu", i);
                ours[i] = (struct book_record){ ids[i], record };
        }
        cr_assert(eq(str, renew(rig, nothing, 0, ours, n).word, "renewed"));
        count = test_redis_ask(rig->server, "HLEN", EVENTS, NULL);
        cr_assert(eq(str, count, "5120"));
        free(count);
        free(ours);
        free(ids);
        rig_stop(rig);
}

Test(renewal, who_may_not_write_is_told_and_changes_nothing)
{
        struct rig *rig = rig_start();
        struct token mine = { EPOCH(2, 5), 7, 70 };
        char *epoch;

        set_log(rig, EPOCH(2, 5), 6, 60);
        test_redis_do(rig->server, "ACL", "SETUSER", "default", "-del", NULL);
        cr_assert(eq(int, strncmp(renew(rig, mine, EPOCH(2, 5), NULL, 0).word, "NOPERM", 6), 0));
        test_redis_do(rig->server, "ACL", "SETUSER", "default", "+del", NULL);
        epoch = test_redis_ask(rig->server, "HGET", META, "epoch", NULL);
        cr_assert(eq(str, epoch, "0002000000000005"));
        free(epoch);
        rig_stop(rig);
}

Test(renewal, without_a_later_generation_there_is_no_call)
{
        struct token mine = { UINT64_MAX, 7, 70 };

        cr_assert(eq(int, renewal_call(NULL, NS, &mine, 0, NULL, 0, NULL, NULL), ERR_TOO_LARGE));
}
