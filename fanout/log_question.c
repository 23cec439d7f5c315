/* fanout/log_question.c -- the calls of head, range and tail, and their answers into entries. */
#include "fanout/log_question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fanout/fanout_metrics.h"
#include "fanout/follower_core.h"
#include "proto/keys.h"

struct question {
        log_answer_fn *done;
        void *owner;
        unsigned request;
        seqno range_from; /* 0: only the head */
};

static size_t take_entries(seqno from, const struct redis_reply *list, uint64_t epoch,
                           struct entry *entries[FOLLOWER_RANGE_COUNT])
{
        size_t n = 0;

        while (list != NULL && n < redis_count(list) && n < FOLLOWER_RANGE_COUNT) {
                enum err err = answer_entry(redis_at(list, n), epoch, &entries[n]);

                if (err == OK) {
                        n++;
                        continue;
                }
                log_error("ENTRY-UNREADABLE", "seq=%llu err=%s", (unsigned long long)(from + n),
                          err_name(err));
                metric_add(&fanout_metric_log_unreadable, 1);
                break;
        }
        return n;
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct question question = *(struct question *)owner;
        struct log_answer answer = { .range_from = question.range_from };
        struct entry *entries[FOLLOWER_RANGE_COUNT];

        free(owner);
        if (reply == NULL || answer_is_error(reply) ||
            answer_place(reply, 0, &answer.place) != OK) {
                question.done(question.owner, question.request, NULL,
                              answer_is_error(reply) ? reply : NULL);
                return;
        }
        if (question.range_from > 0)
                answer.n = take_entries(question.range_from, redis_at(reply, ANSWER_PLACE_MEMBERS),
                                        answer.place.token.epoch, entries);
        answer.entries = entries;
        question.done(question.owner, question.request, &answer, NULL);
        for (size_t i = 0; i < answer.n; i++)
                entry_unref(entries[i]);
}

enum err log_question(struct redis *redis, const char *ns, const struct token *mine,
                      seqno range_from, unsigned request, log_answer_fn *done, void *owner)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], from[24], to[24];
        struct witness at;
        const char *const head[] = { "FCALL_RO", "kickoff1_head", "2",    meta,
                                     log,        at.epoch,        at.seq, at.tag };
        const char *const range[] = { "FCALL_RO", "kickoff1_range", "2",    meta,  log, from, to,
                                      "512",      at.epoch,         at.seq, at.tag };
        bool is_range = range_from > 0;
        struct question *question = malloc(sizeof(*question));
        enum err err;

        _Static_assert(FOLLOWER_RANGE_COUNT == 512, "the text above says it again");
        if (question == NULL)
                return ERR_NOMEM;
        *question = (struct question){ done, owner, request, range_from };
        answer_witness(mine, &at);
        key_format(meta, ns, KEY_META, NULL);
        key_format(log, ns, KEY_LOG, NULL);
        snprintf(from, sizeof(from), "%llu", (unsigned long long)range_from);
        snprintf(to, sizeof(to), "%llu",
                 (unsigned long long)(range_from + FOLLOWER_RANGE_COUNT - 1));
        err = redis_command(redis, on_reply, question,
                            is_range ? (int)countof(range) : (int)countof(head),
                            is_range ? range : head, NULL);
        if (err != OK)
                free(question);
        return err;
}

/* --- the tail ------------------------------------------------------------------------------- */

struct tail_question {
        log_tail_fn *done;
        void *owner;
};

static void on_tail(void *owner, const struct redis_reply *reply)
{
        struct tail_question question = *(struct tail_question *)owner;
        const struct redis_reply *held = reply != NULL ? redis_at(reply, 3) : NULL;

        free(owner);
        question.done(question.owner, held == NULL || strcmp(redis_text(held, NULL), "0") != 0);
}

enum err log_question_tail(struct redis *redis, const char *ns, log_tail_fn *done, void *owner)
{
        char meta[KEY_MAX + 1];
        const char *const argv[] = { "FCALL_RO", "kickoff1_tail", "1", meta };
        struct tail_question *question = malloc(sizeof(*question));
        enum err err;

        if (question == NULL)
                return ERR_NOMEM;
        *question = (struct tail_question){ done, owner };
        key_format(meta, ns, KEY_META, NULL);
        err = redis_command(redis, on_tail, question, countof(argv), argv, NULL);
        if (err != OK)
                free(question);
        return err;
}
