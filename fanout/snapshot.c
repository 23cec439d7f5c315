/* fanout/snapshot.c -- a sorted array that never changes, and the `reset` frames made of it. A
 * frame is made by whichever thread asks first and put in place by one compare-and-swap; a loser
 * throws its own away, since both hold the same bytes. */
#include "fanout/snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct snapshot {
        _Atomic uint32_t refs;
        struct token token;
        uint64_t parent; /* the epoch that token's continues, 0 = none */
        _Atomic(struct blob *) frames[RESET_REASONS][WIRES];
        size_t n;
        struct event_state events[]; /* sorted by id */
};

static struct snapshot *allocate(const struct token *token, uint64_t parent, size_t n)
{
        struct snapshot *snapshot = calloc(1, sizeof(*snapshot) + n * sizeof(snapshot->events[0]));

        if (snapshot == NULL)
                return NULL;
        atomic_init(&snapshot->refs, 1);
        snapshot->token = *token;
        snapshot->parent = parent;
        snapshot->n = n;
        return snapshot;
}

struct snapshot *snapshot_create(const struct token *token, uint64_t parent,
                                 const struct event_state *events, size_t n)
{
        struct snapshot *snapshot = allocate(token, parent, n);

        for (size_t i = 1; i < n; i++)
                check(strcmp(events[i - 1].event, events[i].event) < 0);
        if (snapshot != NULL && n > 0)
                memcpy(snapshot->events, events, n * sizeof(events[0]));
        return snapshot;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
        uint32_t before = atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);

        check(before > 0 && before < UINT32_MAX);
        return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
        if (snapshot == NULL)
                return;

        uint32_t before = atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel);

        check(before > 0);
        if (before > 1)
                return;
        for (unsigned reason = 0; reason < RESET_REASONS; reason++) {
                for (unsigned wire = 0; wire < WIRES; wire++)
                        blob_unref(atomic_load(&snapshot->frames[reason][wire]));
        }
        free(snapshot);
}

const struct token *snapshot_token(const struct snapshot *snapshot)
{
        return &snapshot->token;
}

uint64_t snapshot_parent(const struct snapshot *snapshot)
{
        return snapshot->parent;
}

const struct event_state *snapshot_events(const struct snapshot *snapshot, size_t *ret_n)
{
        *ret_n = snapshot->n;
        return snapshot->events;
}

/* Index of the first event whose id is not below `event`; n if there is none. */
static size_t lower_bound(const struct snapshot *snapshot, const char *event)
{
        size_t low = 0, high = snapshot->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(snapshot->events[middle].event, event) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

const struct event_state *snapshot_find(const struct snapshot *snapshot, const char *event)
{
        size_t i = lower_bound(snapshot, event);

        if (i == snapshot->n || strcmp(snapshot->events[i].event, event) != 0)
                return NULL;
        return &snapshot->events[i];
}

static struct blob *make_frame(const struct snapshot *snapshot, enum reset_reason reason,
                               enum wire wire)
{
        struct buf payload = BUF_INIT;
        struct blob *frame;

        message_encode_reset(reason, &snapshot->token, snapshot->events, snapshot->n,
                             wire_encoding(wire), &payload);
        frame = frame_create(wire, &payload, &snapshot->token);
        buf_fini(&payload);
        return frame;
}

struct blob *snapshot_frame(struct snapshot *snapshot, enum reset_reason reason, enum wire wire)
{
        _Atomic(struct blob *) *place = &snapshot->frames[reason][wire];
        struct blob *there = atomic_load_explicit(place, memory_order_acquire);

        if (there != NULL)
                return there;

        struct blob *made = make_frame(snapshot, reason, wire);

        if (made == NULL)
                return NULL;
        if (atomic_compare_exchange_strong(place, &there, made))
                return made;
        blob_unref(made);
        return there;
}

struct snapshot *snapshot_after(const struct snapshot *snapshot, const struct signal *signal)
{
        size_t i = lower_bound(snapshot, signal->state.event);
        bool known = i < snapshot->n && strcmp(snapshot->events[i].event, signal->state.event) == 0;
        size_t rest = snapshot->n - i - (known ? 1 : 0);
        struct snapshot *after;

        check(signal->token.epoch == snapshot->token.epoch &&
              signal->token.seq == snapshot->token.seq + 1);
        after = allocate(&signal->token, snapshot->parent, i + 1 + rest);
        if (after == NULL)
                return NULL;
        memcpy(after->events, snapshot->events, i * sizeof(after->events[0]));
        after->events[i] = signal->state;
        memcpy(after->events + i + 1, snapshot->events + snapshot->n - rest,
               rest * sizeof(after->events[0]));
        return after;
}
