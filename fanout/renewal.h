/* fanout/renewal.h -- must the log go on in a new epoch, and the call that makes it so (fanout/EPOCHS.md).
 * The judgement is pure; the simulation drives it too. For state_reader.c and the simulation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/answer.h"
#include "fanout/book.h"
#include "proto/token.h"

#define RENEWAL_SPREAD_MS 300 /* nodes wait a random part of this before they try */
#define RENEWAL_TRIES     5   /* reads of the state per install: each may find that somebody renewed */

/* `mine`: what this node holds, epoch 0 = nothing. `place`, `lost`: as kickoff1_state answered. `n_later`: records
 * of ours that are later than those there. */
bool renewal_is_needed(const struct token *mine, const struct place *place, bool lost, size_t n_later);

/* An epoch of a later generation than both; 0 if there is none left. `chance` is a random number. */
uint64_t renewal_epoch(uint64_t mine, uint64_t there, uint64_t chance);

/* kickoff1_renew. ERR_TOO_LARGE: no generation is left. */
must_check enum err renewal_call(struct redis *redis, const char *ns, const struct token *mine,
                                 uint64_t expected_epoch, const struct book_record *records, size_t n,
                                 redis_reply_fn *on_reply, void *owner);
