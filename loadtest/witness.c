/* loadtest/witness.c -- a sorted array: signals are few and come in order, so nearly every look-up
 * ends at the last element and nearly every insertion is an append. */
#include "loadtest/witness.h"

#include <stdlib.h>
#include <string.h>

void witness_init(struct witness *witness)
{
        memset(witness, 0, sizeof(*witness));
}

void witness_fini(struct witness *witness)
{
        free(witness->tokens);
        witness_init(witness);
}

static int compare_place(const struct token *a, uint64_t epoch, seqno seq)
{
        if (a->epoch != epoch)
                return a->epoch < epoch ? -1 : 1;
        if (a->seq != seq)
                return a->seq < seq ? -1 : 1;
        return 0;
}

/* Index of the first element that is not before (epoch, seq). */
static size_t lower_bound(const struct witness *witness, uint64_t epoch, seqno seq)
{
        size_t low = 0, high = witness->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (compare_place(&witness->tokens[middle], epoch, seq) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static void insert_at(struct witness *witness, size_t at, const struct token *token)
{
        if (witness->n == witness->capacity) {
                size_t capacity = witness->capacity == 0 ? 64 : 2 * witness->capacity;
                struct token *tokens = realloc(witness->tokens, capacity * sizeof(*tokens));

                if (tokens == NULL) {
                        witness->failed = true;
                        return;
                }
                witness->tokens = tokens;
                witness->capacity = capacity;
        }
        memmove(&witness->tokens[at + 1], &witness->tokens[at],
                (witness->n - at) * sizeof(*witness->tokens));
        witness->tokens[at] = *token;
        witness->n++;
}

bool witness_saw(struct witness *witness, const struct token *token)
{
        size_t at = lower_bound(witness, token->epoch, token->seq);

        if (at < witness->n && compare_place(&witness->tokens[at], token->epoch, token->seq) == 0)
                return witness->tokens[at].tag == token->tag;
        insert_at(witness, at, token);
        return true;
}

const struct token *witness_find(const struct witness *witness, uint64_t epoch, seqno seq)
{
        size_t at = lower_bound(witness, epoch, seq);

        if (at < witness->n && compare_place(&witness->tokens[at], epoch, seq) == 0)
                return &witness->tokens[at];
        return NULL;
}

size_t witness_foreign(const struct witness *seen, const struct witness *log)
{
        size_t foreign = 0;

        for (size_t i = 0; i < seen->n; i++) {
                const struct token *token = &seen->tokens[i], *known;
                size_t first = lower_bound(log, token->epoch, 0);

                if (token->seq == 0)
                        continue;
                if (first < log->n && log->tokens[first].epoch == token->epoch &&
                    token->seq < log->tokens[first].seq)
                        continue;
                known = witness_find(log, token->epoch, token->seq);
                foreign += known == NULL || known->tag != token->tag;
        }
        return foreign;
}
