/* gateway/address_counts.c -- linear probing; who goes is followed up by those it had pushed on
 * (Knuth, The Art of Computer Programming 3, 6.4, algorithm R), so there are no tombstones to
 * sweep. */
#include "gateway/address_counts.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/address.h"

#define FIRST_SIZE 256

/* The finalizer of splitmix64 (Steele, Lea and Flood 2014), over key and secret. */
static uint32_t home(const struct address_counts *counts, uint64_t key)
{
        uint64_t z = key ^ counts->secret;

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb) + counts->secret;
        z = (z ^ z >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
        return (uint32_t)(z >> 32) & (counts->size - 1);
}

/* The key's row, or the free one where it would be. `size` > 0. */
static struct address_row *find(const struct address_counts *counts, uint64_t key)
{
        uint32_t i = home(counts, key);

        while (counts->rows[i].key != ADDRESS_NOBODY && counts->rows[i].key != key)
                i = (i + 1) & (counts->size - 1);
        return &counts->rows[i];
}

static bool grow(struct address_counts *counts)
{
        struct address_counts larger = *counts;

        larger.size = counts->size > 0 ? counts->size * 2 : FIRST_SIZE;
        larger.rows = calloc(larger.size, sizeof(*larger.rows));
        if (larger.rows == NULL)
                return false;
        for (uint32_t i = 0; i < counts->size; i++)
                if (counts->rows[i].key != ADDRESS_NOBODY)
                        *find(&larger, counts->rows[i].key) = counts->rows[i];
        free(counts->rows);
        *counts = larger;
        return true;
}

void address_counts_init(struct address_counts *counts, uint64_t secret)
{
        *counts = (struct address_counts){ .secret = secret };
}

void address_counts_fini(struct address_counts *counts)
{
        free(counts->rows);
        counts->rows = NULL;
        counts->size = counts->used = 0;
}

bool address_counts_add(struct address_counts *counts, uint64_t key, enum address_count which)
{
        struct address_row *row;

        check(key != ADDRESS_NOBODY);
        if (counts->used >= counts->size / 4 * 3 && !grow(counts) &&
            (counts->size == 0 || find(counts, key)->key != key))
                return false;
        row = find(counts, key);
        if (row->key == ADDRESS_NOBODY) {
                row->key = key;
                counts->used++;
        }
        row->count[which]++;
        return true;
}

/* Frees a row, and moves up whoever stands later only because it was taken. */
static void clear(struct address_counts *counts, uint32_t hole)
{
        const uint32_t mask = counts->size - 1;

        for (uint32_t i = (hole + 1) & mask; counts->rows[i].key != ADDRESS_NOBODY;
             i = (i + 1) & mask) {
                uint32_t from_home = (i - home(counts, counts->rows[i].key)) & mask;

                if (from_home >= ((i - hole) & mask)) {
                        counts->rows[hole] = counts->rows[i];
                        hole = i;
                }
        }
        counts->rows[hole] = (struct address_row){ .key = ADDRESS_NOBODY };
        counts->used--;
}

void address_counts_take(struct address_counts *counts, uint64_t key, enum address_count which)
{
        struct address_row *row = find(counts, key);

        check(row->key == key && row->count[which] > 0);
        row->count[which]--;
        for (unsigned i = 0; i < ADDRESS_COUNTS; i++)
                if (row->count[i] > 0)
                        return;
        clear(counts, (uint32_t)(row - counts->rows));
}

uint32_t address_counts_get(const struct address_counts *counts, uint64_t key,
                            enum address_count which)
{
        const struct address_row *row = counts->size > 0 ? find(counts, key) : NULL;

        return row != NULL && row->key == key ? row->count[which] : 0;
}
