/* fanout/ring.c -- an array of references. `base` is the token of the oldest cursor that lost
 * nothing: at first where the ring was installed, later the token of the entry that left last. So
 * every cursor from base to head can be judged by its tag, base's own included. */
#include "fanout/ring.h"

#include <stdlib.h>

struct ring {
        struct token base, head; /* entries base.seq + 1 .. head.seq are kept */
        uint64_t parent;         /* the epoch that ours continues, 0 = none */
        size_t capacity;
        struct entry *slots[]; /* entry n at n % capacity; NULL when none */
};

static struct entry **slot_of(struct ring *ring, seqno seq)
{
        return &ring->slots[seq % ring->capacity];
}

static void empty(struct ring *ring)
{
        for (seqno seq = ring->base.seq + 1; seq <= ring->head.seq; seq++) {
                struct entry **slot = slot_of(ring, seq);

                entry_unref(*slot);
                *slot = NULL;
        }
}

enum err ring_create(size_t capacity, struct ring **ret_ring)
{
        struct ring *ring;

        check(capacity > 0);
        ring = calloc(1, sizeof(*ring) + capacity * sizeof(ring->slots[0]));
        if (ring == NULL)
                return ERR_NOMEM;
        ring->capacity = capacity;
        *ret_ring = ring;
        return OK;
}

void ring_destroy(struct ring *ring)
{
        if (ring == NULL)
                return;
        empty(ring);
        free(ring);
}

void ring_install(struct ring *ring, const struct token *base, uint64_t parent)
{
        check(base->epoch != 0);
        empty(ring);
        ring->base = *base;
        ring->head = *base;
        ring->parent = parent;
}

void ring_push(struct ring *ring, struct entry *entry)
{
        const struct token *token = &entry->signal.token;

        check(token->epoch == ring->head.epoch && token->seq == ring->head.seq + 1 &&
              entry->prev_tag == ring->head.tag);

        struct entry **slot = slot_of(ring, token->seq);

        if (*slot != NULL) { /* full: the slot's tenant is the oldest entry, exactly */
                check((*slot)->signal.token.seq == ring->base.seq + 1);
                ring->base = (*slot)->signal.token;
                entry_unref(*slot);
        }
        *slot = entry_ref(entry);
        ring->head = *token;
}

const struct token *ring_head(const struct ring *ring)
{
        return &ring->head;
}

seqno ring_oldest_cursor(const struct ring *ring)
{
        return ring->base.seq;
}

struct entry *ring_at(const struct ring *ring, seqno seq)
{
        if (seq <= ring->base.seq || seq > ring->head.seq)
                return NULL;
        return ring->slots[seq % ring->capacity];
}

enum ring_place ring_judge(const struct ring *ring, const struct token *token)
{
        if (ring->head.epoch == 0 || token->epoch == 0)
                return RING_UNKNOWN;
        if (token->epoch != ring->head.epoch) {
                if (token->epoch == ring->parent)
                        return RING_FORKED;
                return token_generation(token->epoch) > token_generation(ring->head.epoch)
                           ? RING_AHEAD
                           : RING_UNKNOWN;
        }
        if (token->seq > ring->head.seq)
                return RING_AHEAD;
        if (token->seq < ring->base.seq)
                return RING_TRIMMED;

        uint64_t tag = token->seq == ring->base.seq
                           ? ring->base.tag
                           : ring->slots[token->seq % ring->capacity]->signal.token.tag;

        return token->tag == tag ? RING_KEPT : RING_FORKED;
}
