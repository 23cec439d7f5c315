/* gateway/pool.c -- blocks come in slabs of POOL_KEEP, each a mapping of its own. From malloc they
 * would lie between the small parts of sessions that stay, and never go back to the system: after
 * 5,000 handshakes in halves, 20 MiB were left (tests/integration/test_memory.c).
 *
 * A block is taken from the fullest slab known, so that those that are nearly empty become empty;
 * an empty one is given back, unless it is the only one. */
#include "gateway/pool.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"

#define SLAB_BYTES (POOL_KEEP * sizeof(struct block))

_Static_assert(sizeof(struct block) == 7968, "DESIGN.md: what a connection can hold");

struct slab {
        struct slab *next, *before; /* in pool->some; full ones are in no list */
        struct block *blocks;       /* the mapping */
        struct block *free;
        unsigned n_taken;
        unsigned n_begun; /* blocks from here on have never been taken: not touched yet */
};

static struct slab *slab_create(void)
{
        struct slab *slab = calloc(1, sizeof(*slab));

        if (slab == NULL)
                return NULL;
        slab->blocks =
            mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (slab->blocks == MAP_FAILED) {
                free(slab);
                return NULL;
        }
        return slab;
}

static void slab_destroy(struct slab *slab)
{
        if (slab == NULL)
                return;
        check(slab->n_taken == 0);
        check(munmap(slab->blocks, SLAB_BYTES) == 0);
        free(slab);
}

static void link_first(struct pool *pool, struct slab *slab)
{
        slab->before = NULL;
        slab->next = pool->some;
        if (slab->next != NULL)
                slab->next->before = slab;
        pool->some = slab;
}

static void unlink_slab(struct pool *pool, struct slab *slab)
{
        if (slab->next != NULL)
                slab->next->before = slab->before;
        if (slab->before != NULL)
                slab->before->next = slab->next;
        else
                pool->some = slab->next;
}

struct block *pool_take(struct pool *pool)
{
        struct slab *slab = pool->some;
        struct block *block;

        if (slab == NULL) {
                slab = pool->spare != NULL ? pool->spare : slab_create();
                if (slab == NULL)
                        return NULL;
                pool->spare = NULL;
                link_first(pool, slab);
        }
        block = slab->free;
        if (block != NULL)
                slab->free = block->next; /* used last: still in the processor's cache */
        else
                block = &slab->blocks[slab->n_begun++];
        block->slab = slab;
        if (++slab->n_taken == POOL_KEEP)
                unlink_slab(pool, slab);
        return block;
}

void pool_give(struct pool *pool, struct block *block)
{
        struct slab *slab;

        if (block == NULL)
                return;
        slab = block->slab;
        block->next = slab->free;
        slab->free = block;
        if (slab->n_taken-- == POOL_KEEP)
                link_first(pool, slab);
        if (slab->n_taken > 0)
                return;
        unlink_slab(pool, slab);
        if (pool->spare == NULL)
                pool->spare = slab;
        else
                slab_destroy(slab);
}

void pool_fini(struct pool *pool)
{
        check(pool->some == NULL);
        slab_destroy(pool->spare);
        pool->spare = NULL;
}
