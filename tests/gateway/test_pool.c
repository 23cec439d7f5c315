/* What pool.h promises: blocks of one's own, and after a rush they are given back. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/rng.h"
#include "gateway/pool.h"

#define MANY (20 * POOL_KEEP)

Test(pool, blocks_are_ones_own)
{
        struct block *blocks[MANY];
        struct pool pool = { 0 };

        for (unsigned i = 0; i < MANY; i++) {
                blocks[i] = pool_take(&pool);
                memset(blocks[i]->head.bytes, (int)i, sizeof(blocks[i]->head.bytes));
        }
        for (unsigned i = 0; i < MANY; i++) {
                cr_assert(eq(u8, (uint8_t)blocks[i]->head.bytes[0], (uint8_t)i));
                cr_assert(eq(u8, (uint8_t)blocks[i]->head.bytes[HEAD_MAX], (uint8_t)i));
        }
        for (unsigned i = 0; i < MANY; i++)
                pool_give(&pool, blocks[i]);
        pool_fini(&pool);
}

/* In whatever order; then nothing but the spare is left, and it is what the next in need get. */
Test(pool, all_but_what_is_kept_is_given_back)
{
        struct block *blocks[MANY];
        struct pool pool = { 0 };
        struct rng rng;

        rng_seed(&rng, 7);
        for (unsigned round = 0; round < 50; round++) {
                unsigned n = 1 + (unsigned)rng_below(&rng, MANY);

                for (unsigned i = 0; i < n; i++)
                        blocks[i] = pool_take(&pool);
                while (n > 0) {
                        unsigned at = (unsigned)rng_below(&rng, n);

                        if (rng_below(&rng, 4) == 0) { /* and some come in between */
                                pool_give(&pool, blocks[at]);
                                blocks[at] = pool_take(&pool);
                        }
                        pool_give(&pool, blocks[at]);
                        blocks[at] = blocks[--n];
                }
                cr_assert(eq(ptr, pool.some, NULL));
                cr_assert(ne(ptr, pool.spare, NULL));
        }
        pool_fini(&pool);
        cr_assert(eq(ptr, pool.spare, NULL));
}

Test(pool, the_block_given_last_is_taken_first)
{
        struct pool pool = { 0 };
        struct block *first = pool_take(&pool), *second = pool_take(&pool);

        pool_give(&pool, first);
        cr_assert(eq(ptr, pool_take(&pool), first)); /* still in the processor's cache */
        pool_give(&pool, first);
        pool_give(&pool, second);
        pool_give(&pool, NULL);
        pool_fini(&pool);
}
