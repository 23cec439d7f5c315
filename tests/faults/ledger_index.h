/* tests/faults/ledger_index.h -- lines of a ledger, sorted, for whatever is looked for more than
 * once. Borrows the lines: the ledger must not grow meanwhile. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/faults/ledger.h"

struct ledger_index {
        const struct ledger_line **lines; /* free() it */
        size_t n;
};
typedef bool ledger_filter_fn(const struct ledger_line *line);
typedef int
ledger_compare_fn(const void *a,
                  const void *b); /* of two const struct ledger_line *, as qsort has it */

/* By epoch, number, tag. */
int ledger_by_token(const void *a, const void *b);
/* Lines of one name stay in the order in which they were written. */
int ledger_by_name(const void *a, const void *b);
/* By the stage of the first event, then by token. Only lines that have an event. */
int ledger_by_stage(const void *a, const void *b);

struct ledger_index ledger_index_make(const struct ledger *ledger, ledger_filter_fn *is_in,
                                      ledger_compare_fn *compare);
/* The first line that is not before `key`; index->n if there is none. */
size_t ledger_index_find(const struct ledger_index *index, const struct ledger_line *key,
                         ledger_compare_fn *compare);
/* Of an index by token. */
bool ledger_index_has(const struct ledger_index *index, const struct token *token);
