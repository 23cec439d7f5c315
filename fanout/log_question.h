/* fanout/log_question.h -- asks the log where it ends, or for its entries from a number on, naming what
 * this node holds. One question, one answer. For follower.c alone. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/answer.h"
#include "fanout/entry.h"

struct log_answer {
        seqno range_from; /* as asked */
        struct place place;           /* where the log ends, in the same moment */
        struct entry *const *entries; /* from the number asked for, in order, up to the first that is not the
                                       * next number or cannot be read; at most FOLLOWER_RANGE_COUNT */
        size_t n;
};

/* Exactly once per question, never from inside it. `answer` is NULL when there is none: then `error` is
 * what Redis said instead, NULL = nothing. Borrowed until the return. */
typedef void log_answer_fn(void *owner, unsigned request, const struct log_answer *answer,
                           const struct redis_reply *error);

/* range_from 0: only where it ends. `request` comes back with the answer. */
must_check enum err log_question(struct redis *redis, const char *ns, const struct token *mine,
                                 seqno range_from, unsigned request, log_answer_fn *done, void *owner);

/* Does the log go on beyond where it ends for everybody? True also if there is no answer. */
typedef void log_tail_fn(void *owner, bool is_held);
/* `done` exactly once, before the answers to questions that are asked after this one. */
must_check enum err log_question_tail(struct redis *redis, const char *ns, log_tail_fn *done, void *owner);
