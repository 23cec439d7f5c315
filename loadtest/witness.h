/* loadtest/witness.h -- what a group of simulated devices has seen of the log: one tag per (epoch,
 * seq). The first device to see a number says what its tag is, every later one is compared with
 * that, and at the end the whole table is compared with the log itself. So a device needs to keep
 * its own place only. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/token.h"

struct witness {
        struct token *tokens; /* sorted by epoch, then seq */
        size_t n, capacity;
        bool failed; /* out of memory: the table is incomplete, nothing can be proved by it */
};

void witness_init(struct witness *witness);
void witness_fini(struct witness *witness);
/* True if this is the first token of its (epoch, seq), or has the tag known for it. */
bool witness_saw(struct witness *witness, const struct token *token);
/* The token known for (epoch, seq); NULL if none. Valid until the next witness_saw. */
const struct token *witness_find(const struct witness *witness, uint64_t epoch, seqno seq);
/* How many of `seen` are not in `log`, which holds all of its epoch between its first and last
 * number. Numbers before the first of `log` cannot be judged and pass; so does seq 0, which is no
 * signal. */
size_t witness_foreign(const struct witness *seen, const struct witness *log);
