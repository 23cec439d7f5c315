/* tests/fanout/node.h -- a node as the follower sees it: a ring, and what was said. Holds every
 * follower to the promise that it never goes backwards, and never skips. */
#pragma once

#include "fanout/follower.h"
#include "fanout/ring.h"

#include "tests/fanout/fixture.h"

#define META   "{" NS "}:meta"
#define LOG    "{" NS "}:log"
#define EVENTS "{" NS "}:events"

struct node {
        struct follower *follower;
        struct ring *ring;
        struct token state_at;
        size_t events, read_back; /* entries of the last install */
        unsigned installs, confirmed;
        seqno delivered;
        bool link_up;
};

static inline void on_install(void *owner, struct snapshot *snapshot, struct entry *const *entries,
                              size_t n)
{
        struct node *node = owner;
        struct token base = *snapshot_token(snapshot);
        const struct token *before = ring_head(node->ring);

        /* Contract line 7: no node goes backwards. */
        cr_assert(token_generation(base.epoch) > token_generation(before->epoch) ||
                  (base.epoch == before->epoch && base.seq >= before->seq));
        if (n > 0)
                base = (struct token){ base.epoch, entries[0]->signal.token.seq - 1,
                                       entries[0]->prev_tag };
        ring_install(node->ring, &base, snapshot_parent(snapshot));
        for (size_t i = 0; i < n; i++)
                ring_push(node->ring, entries[i]); /* checks the order */
        cr_assert(token_equal(ring_head(node->ring), snapshot_token(snapshot)));
        for (size_t i = 0; i < n; i++)
                cr_assert(entries[i]->record == NULL, "kept in memory for nothing");
        node->state_at = *snapshot_token(snapshot);
        (void)snapshot_events(snapshot, &node->events);
        node->read_back = n;
        node->installs++;
}

static inline void on_entries(void *owner, struct entry *const *entries, size_t n,
                              struct snapshot *snapshot)
{
        struct node *node = owner;

        for (size_t i = 0; i < n; i++)
                ring_push(node->ring, entries[i]);
        cr_assert(token_equal(ring_head(node->ring), snapshot_token(snapshot)));
        node->state_at = *snapshot_token(snapshot);
        (void)snapshot_events(snapshot, &node->events);
        node->delivered += n;
}

static inline void on_confirmed(void *owner)
{
        ((struct node *)owner)->confirmed++;
}

static inline void on_link(void *owner, bool up)
{
        struct node *node = owner;

        cr_assert(ne(int, node->link_up, up));
        node->link_up = up;
}

static inline void node_start_keeping(struct node *node, struct fixture *f,
                                      struct redis_address address, size_t keep, size_t keep_max,
                                      unsigned drop_every)
{
        struct follower_options options = { .address = address,
                                            .ns = NS,
                                            .keep = keep,
                                            .keep_max = keep_max,
                                            .may_hold_back = true,
                                            .drop_every = drop_every };
        struct follower_callbacks callbacks = { .on_install = on_install,
                                                .on_entries = on_entries,
                                                .on_confirmed = on_confirmed,
                                                .on_link = on_link,
                                                .owner = node };

        *node = (struct node){ 0 };
        cr_assert(eq(int, ring_create(keep, &node->ring), OK));
        if (keep_max > keep)
                ring_let_grow(node->ring, keep_max);
        cr_assert(eq(int, follower_create(f->base, &options, &callbacks, &node->follower), OK));
        cr_assert(not(follower_is_ready(node->follower)));
        cr_assert(ne(str, (char *)follower_why_not_ready(node->follower), ""));
}

static inline void node_start_as(struct node *node, struct fixture *f, struct redis_address address,
                                 size_t keep, unsigned drop_every)
{
        node_start_keeping(node, f, address, keep, 0, drop_every);
}

static inline void node_start(struct node *node, struct fixture *f, size_t keep,
                              unsigned drop_every)
{
        node_start_as(node, f, fixture_address(f->server), keep, drop_every);
}

static inline void node_stop(struct node *node)
{
        follower_destroy(node->follower);
        ring_destroy(node->ring);
}

static inline seqno head(const struct node *node)
{
        return ring_head(node->ring)->seq;
}
