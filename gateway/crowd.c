/* gateway/crowd.c -- sorts by name to find what is the same, then by number. */
#include "gateway/crowd.h"

#include <stdlib.h>
#include <string.h>

struct share { /* of one worker */
        struct presence_audience *rows;
        size_t n;
        uint64_t others;
};

struct crowd {
        struct presence_audience *sum; /* room for all rows of all workers */
        unsigned n_workers;
        struct share shares[];
};

enum err crowd_create(unsigned n_workers, struct crowd **ret_crowd)
{
        struct crowd *crowd = calloc(1, sizeof(*crowd) + n_workers * sizeof(crowd->shares[0]));

        if (crowd == NULL)
                return ERR_NOMEM;
        crowd->n_workers = n_workers;
        *ret_crowd = crowd;
        return OK;
}

void crowd_destroy(struct crowd *crowd)
{
        if (crowd == NULL)
                return;
        for (unsigned i = 0; i < crowd->n_workers; i++)
                free(crowd->shares[i].rows);
        free(crowd->sum);
        free(crowd);
}

void crowd_take(struct crowd *crowd, unsigned worker, const struct presence_audience *rows,
                size_t n, uint64_t others)
{
        struct presence_audience *copy = calloc(n + 1, sizeof(*copy));

        check(worker < crowd->n_workers && n <= PRESENCE_AUDIENCES_MAX);
        if (copy == NULL)
                return;
        memcpy(copy, rows, n * sizeof(*copy));
        free(crowd->shares[worker].rows);
        crowd->shares[worker] = (struct share){ .rows = copy, .n = n, .others = others };
}

static int by_traits(const void *a, const void *b)
{
        const struct presence_audience *left = a, *right = b;

        for (unsigned i = 0; i < TRAITS; i++) {
                int order = strcmp(left->traits[i], right->traits[i]);

                if (order != 0)
                        return order;
        }
        return 0;
}

static int by_devices(const void *a, const void *b)
{
        const struct presence_audience *left = a, *right = b;

        if (left->devices != right->devices)
                return left->devices < right->devices ? 1 : -1;
        return by_traits(a, b);
}

size_t crowd_sum(struct crowd *crowd, const struct presence_audience **ret_rows,
                 uint64_t *ret_others)
{
        struct presence_audience *sum;
        size_t all = 0, n = 0, kept;
        uint64_t others = 0;

        for (unsigned i = 0; i < crowd->n_workers; i++)
                all += crowd->shares[i].n;
        sum = realloc(crowd->sum, (all + 1) * sizeof(*sum));
        *ret_rows = NULL;
        *ret_others = 0;
        if (sum == NULL)
                return 0;
        crowd->sum = sum;
        all = 0;
        for (unsigned i = 0; i < crowd->n_workers; i++) {
                const struct share *share = &crowd->shares[i];

                if (share->n > 0)
                        memcpy(sum + all, share->rows, share->n * sizeof(*sum));
                all += share->n;
                others += share->others;
        }
        qsort(sum, all, sizeof(*sum), by_traits);
        for (size_t i = 0; i < all; i++) {
                if (n > 0 && by_traits(&sum[n - 1], &sum[i]) == 0)
                        sum[n - 1].devices += sum[i].devices;
                else
                        sum[n++] = sum[i];
        }
        qsort(sum, n, sizeof(*sum), by_devices);
        kept = n < PRESENCE_AUDIENCES_MAX ? n : PRESENCE_AUDIENCES_MAX;
        for (size_t i = kept; i < n; i++)
                others += sum[i].devices;
        *ret_rows = sum;
        *ret_others = others;
        return kept;
}
