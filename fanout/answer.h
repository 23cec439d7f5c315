/* fanout/answer.h -- reading what the functions of kickoff.lua answer: a place in the log, a stream
 * entry, an error. Checked as strictly as what strangers send. For the files of fanout/ alone. */
#pragma once

#include <stdbool.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/entry.h"

#define ANSWER_PLACE_MEMBERS 4 /* epoch, seq, tag, parent: every answer about the log has these */

struct place { /* where the log ends for everybody */
        struct token token; /* epoch 0: there is no log */
        uint64_t parent;    /* the epoch it continues, 0 = none */
};

/* What a node holds, as arguments of a call: kickoff.lua compares the log with it. Epoch 0 = nothing. */
struct witness {
        char epoch[17], seq[24], tag[17];
};
void answer_witness(const struct token *held, struct witness *ret_witness);

/* Members `from` .. `from` + 3 of an array. ERR_INVALID. */
must_check enum err answer_place(const struct redis_reply *reply, size_t from, struct place *ret_place);
/* One entry as XRANGE gives it: id and fields. ERR_INVALID, ERR_NOMEM. */
must_check enum err answer_entry(const struct redis_reply *reply, uint64_t epoch,
                                 struct entry **ret_entry);
bool answer_is_error(const struct redis_reply *reply); /* NULL is none */
/* Somebody did FUNCTION FLUSH, or this Redis began empty: library_load helps. */
bool answer_lacks_function(const struct redis_reply *reply);
