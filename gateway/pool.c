/* gateway/pool.c -- a free list: the block used last is the one still in the processor's cache. */
#include "gateway/pool.h"

#include <stdlib.h>

struct block *pool_take(struct pool *pool)
{
        struct block *block = pool->free;

        if (block == NULL)
                return malloc(sizeof(*block));
        pool->free = block->next;
        pool->n_free--;
        return block;
}

void pool_give(struct pool *pool, struct block *block)
{
        if (block == NULL)
                return;
        if (pool->n_free == POOL_KEEP) {
                free(block);
                return;
        }
        block->next = pool->free;
        pool->free = block;
        pool->n_free++;
}

void pool_fini(struct pool *pool)
{
        while (pool->free != NULL) {
                struct block *block = pool->free;

                pool->free = block->next;
                free(block);
        }
        pool->n_free = 0;
}
