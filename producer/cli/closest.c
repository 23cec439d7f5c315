/* producer/cli/closest.c -- see closest.h. */
#include "producer/cli/closest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *a, const char *b)
{
        size_t row[64], b_len = strlen(b);

        if (b_len >= countof(row))
                return SIZE_MAX;
        for (size_t j = 0; j <= b_len; j++)
                row[j] = j;
        for (size_t i = 1; a[i - 1] != '\0'; i++) {
                size_t diagonal = row[0];

                row[0] = i;
                for (size_t j = 1; j <= b_len; j++) {
                        size_t above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);

                        if (above + 1 < best)
                                best = above + 1;
                        if (row[j - 1] + 1 < best)
                                best = row[j - 1] + 1;
                        row[j] = best;
                        diagonal = above;
                }
        }
        return row[b_len];
}

const char *closest_of(const char *word, const char *const *names, size_t n)
{
        const char *closest = NULL;
        size_t len = strlen(word), best = len / 3 + 2;

        for (size_t i = 0; i < n; i++) {
                bool is_start = len >= 2 && strncmp(word, names[i], len) == 0;
                size_t away = is_start ? 1 : distance(word, names[i]);

                if (away < best) {
                        best = away;
                        closest = names[i];
                }
        }
        return closest;
}
