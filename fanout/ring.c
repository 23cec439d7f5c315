/* fanout/ring.c -- an array of references. `base` is the token of the oldest cursor that lost
 * nothing: at first where the ring was installed, later the token of the entry that left last. So
 * every cursor from base to head can be judged by its tag, base's own included.
 *
 * Growing and shrinking replace the array; no entry and no judgement changes with it. */
#include "fanout/ring.h"

#include <stdlib.h>

/* What one push may have to free, besides the one whose place it takes. More than one, so that a
 * ring that a burst has filled empties faster than it fills; few, so that no broadcast waits for
 * it. */
#define LEAVE_STEP 64

struct ring {
        struct token base, head; /* entries base.seq + 1 .. head.seq are kept */
        uint64_t parent;         /* the epoch that ours continues, 0 = none */
        uint64_t young_lost;
        size_t capacity, capacity_min, capacity_max;
        struct entry **slots; /* entry n at n % capacity; NULL when none */
};

static struct entry **slot_of(const struct ring *ring, seqno seq)
{
        return &ring->slots[seq % ring->capacity];
}

static size_t held(const struct ring *ring)
{
        return ring->head.seq - ring->base.seq;
}

static void empty(struct ring *ring)
{
        for (seqno seq = ring->base.seq + 1; seq <= ring->head.seq; seq++) {
                struct entry **slot = slot_of(ring, seq);

                entry_unref(*slot);
                *slot = NULL;
        }
}

/* What is held must fit. False: no memory, and nothing has changed. */
static bool resize(struct ring *ring, size_t capacity)
{
        struct entry **slots = calloc(capacity, sizeof(slots[0]));

        check(held(ring) <= capacity);
        if (slots == NULL)
                return false;
        for (seqno seq = ring->base.seq + 1; seq <= ring->head.seq; seq++)
                slots[seq % capacity] = *slot_of(ring, seq);
        free(ring->slots);
        ring->slots = slots;
        ring->capacity = capacity;
        return true;
}

enum err ring_create(size_t capacity, struct ring **ret_ring)
{
        struct ring *ring;

        check(capacity > 0);
        ring = calloc(1, sizeof(*ring));
        if (ring == NULL)
                return ERR_NOMEM;
        ring->capacity_min = ring->capacity_max = capacity;
        if (!resize(ring, capacity)) {
                free(ring);
                return ERR_NOMEM;
        }
        *ret_ring = ring;
        return OK;
}

void ring_destroy(struct ring *ring)
{
        if (ring == NULL)
                return;
        empty(ring);
        free(ring->slots);
        free(ring);
}

void ring_let_grow(struct ring *ring, size_t capacity_max)
{
        check(capacity_max >= ring->capacity);
        ring->capacity_max = capacity_max;
}

void ring_install(struct ring *ring, const struct token *base, uint64_t parent)
{
        check(base->epoch != 0);
        empty(ring);
        ring->base = *base;
        ring->head = *base;
        ring->parent = parent;
        if (ring->capacity > ring->capacity_min)
                (void)resize(ring, ring->capacity_min); /* the larger one will do as well */
}

static bool oldest_is_young(const struct ring *ring, int64_t newest_sent)
{
        return ring_is_young((*slot_of(ring, ring->base.seq + 1))->signal.sent, newest_sent);
}

static void drop_oldest(struct ring *ring)
{
        struct entry **slot = slot_of(ring, ring->base.seq + 1);

        check((*slot)->signal.token.seq == ring->base.seq + 1);
        ring->base = (*slot)->signal.token;
        entry_unref(*slot);
        *slot = NULL;
}

static bool grow(struct ring *ring)
{
        size_t twice = 2 * ring->capacity;

        return ring->capacity < ring->capacity_max &&
               resize(ring, twice < ring->capacity_max ? twice : ring->capacity_max);
}

/* Old ones beyond capacity_min leave. If that is not enough the array grows, or one leaves that is
 * young. */
static void make_room(struct ring *ring, int64_t newest_sent)
{
        for (unsigned i = 0; i <= LEAVE_STEP && held(ring) >= ring->capacity_min &&
                             !oldest_is_young(ring, newest_sent);
             i++)
                drop_oldest(ring);
        if (held(ring) == ring->capacity && !grow(ring)) {
                drop_oldest(ring);
                ring->young_lost++;
        }
}

/* Not at once when it would fit: a log that is at the edge must not move its entries with every
 * push. */
static void shrink(struct ring *ring)
{
        size_t capacity = ring->capacity;

        while (capacity > ring->capacity_min && held(ring) <= capacity / 4)
                capacity = capacity / 2 > ring->capacity_min ? capacity / 2 : ring->capacity_min;
        if (capacity < ring->capacity)
                (void)resize(ring, capacity);
}

void ring_push(struct ring *ring, struct entry *entry)
{
        const struct token *token = &entry->signal.token;

        check(token->epoch == ring->head.epoch && token->seq == ring->head.seq + 1 &&
              entry->prev_tag == ring->head.tag);
        make_room(ring, entry->signal.sent);
        shrink(ring);

        struct entry **slot = slot_of(ring, token->seq);

        check(*slot == NULL);
        *slot = entry_ref(entry);
        ring->head = *token;
}

size_t ring_capacity(const struct ring *ring)
{
        return ring->capacity;
}

uint64_t ring_young_lost(const struct ring *ring)
{
        return ring->young_lost;
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
        return *slot_of(ring, seq);
}

enum ring_place ring_judge(const struct ring *ring, const struct token *token)
{
        if (ring->head.epoch == 0 || token->epoch == 0)
                return RING_UNKNOWN;
        if (token->epoch != ring->head.epoch) {
                if (token->epoch == ring->parent)
                        return RING_FORKED;
                return token_generation(token->epoch) >= token_generation(ring->head.epoch)
                           ? RING_AHEAD
                           : RING_UNKNOWN;
        }
        if (token->seq > ring->head.seq)
                return RING_AHEAD;
        if (token->seq < ring->base.seq)
                return RING_TRIMMED;

        uint64_t tag = token->seq == ring->base.seq
                           ? ring->base.tag
                           : (*slot_of(ring, token->seq))->signal.token.tag;

        return token->tag == tag ? RING_KEPT : RING_FORKED;
}
