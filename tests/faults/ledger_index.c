/* tests/faults/ledger_index.c -- see the header. */
#include "tests/faults/ledger_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct ledger_index ledger_index_make(const struct ledger *ledger, ledger_filter_fn *is_in,
                                      ledger_compare_fn *compare)
{
        struct ledger_index index = { calloc(ledger_count(ledger) + 1, sizeof(*index.lines)), 0 };

        check(index.lines != NULL);
        for (size_t i = 0; i < ledger_count(ledger); i++)
                if (is_in(ledger_at(ledger, i)))
                        index.lines[index.n++] = ledger_at(ledger, i);
        qsort(index.lines, index.n, sizeof(*index.lines), compare);
        return index;
}

size_t ledger_index_find(const struct ledger_index *index, const struct ledger_line *key,
                         ledger_compare_fn *compare)
{
        size_t low = 0, high = index->n;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (compare(&index->lines[middle], &key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static int compare_token(const struct token *a, const struct token *b)
{
        if (a->epoch != b->epoch)
                return a->epoch < b->epoch ? -1 : 1;
        if (a->seq != b->seq)
                return a->seq < b->seq ? -1 : 1;
        return (a->tag > b->tag) - (a->tag < b->tag);
}

int ledger_by_token(const void *a, const void *b)
{
        return compare_token(&(*(const struct ledger_line *const *)a)->token,
                             &(*(const struct ledger_line *const *)b)->token);
}

/* All lines lie in one array, so their addresses rise in the order in which they were written. */
int ledger_by_name(const void *a, const void *b)
{
        const struct ledger_line *left = *(const struct ledger_line *const *)a;
        const struct ledger_line *right = *(const struct ledger_line *const *)b;
        int order = strcmp(left->name, right->name);

        return order ? order : (left > right) - (left < right);
}

int ledger_by_stage(const void *a, const void *b)
{
        const struct ledger_line *left = *(const struct ledger_line *const *)a;
        const struct ledger_line *right = *(const struct ledger_line *const *)b;
        int order = strcmp(left->events[0].stage, right->events[0].stage);

        return order ? order : compare_token(&left->token, &right->token);
}

bool ledger_index_has(const struct ledger_index *index, const struct token *token)
{
        const struct ledger_line key = { .token = *token };
        size_t at = ledger_index_find(index, &key, ledger_by_token);

        return at < index->n && token_equal(&index->lines[at]->token, token);
}
