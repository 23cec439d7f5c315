/* gateway/pool.h -- the only input memory a connection can hold: one block, either for a request
 * head that has not come whole, or for a WebSocket frame in the making. Most input comes whole and
 * is read in the worker's own scratch, so blocks are few: an idle session holds none. After a rush
 * in which they were many, all but POOL_KEEP go back to the system. One worker's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/head.h"
#include "proto/message.h"
#include "proto/ws.h"

#define POOL_KEEP 64 /* blocks kept for the next in need: half a MiB per worker */

struct slab;

struct block {
        union {                     /* the pool's */
                struct block *next; /* while free */
                struct slab *slab;  /* while taken: where it goes back to */
        };
        union {
                struct {
                        uint32_t len;
                        size_t scanned;           /* of head_parse */
                        char bytes[HEAD_MAX + 1]; /* one more than a head may have: shows that it is
                                                     too long */
                } head;
                struct {
                        struct ws_reader reader; /* points to `bytes` */
                        uint8_t bytes[WS_BUFFER_SIZE(MESSAGE_FROM_DEVICE_MAX)];
                } frame;
        };
};

struct pool {
        struct slab *some;  /* slabs with blocks free and others taken, the fuller ones first */
        struct slab *spare; /* one with all of them free; NULL = none */
};

struct block *pool_take(struct pool *pool);             /* contents undefined; NULL = no memory */
void pool_give(struct pool *pool, struct block *block); /* NULL is fine */
void pool_fini(struct pool *pool);                      /* all blocks have been given back */
