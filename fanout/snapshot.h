/* fanout/snapshot.h -- the state of all events at one place in the log: what `reset` carries, what
 * prefetch looks events up in. Immutable, shared by all threads, replaced as a whole after each signal.
 * Frames are made when first asked for: most snapshots are never sent. */
#pragma once

#include <stddef.h>

#include "base/blob.h"
#include "base/check.h"
#include "fanout/frame.h"
#include "proto/message.h"

struct snapshot;

/* `parent`: the epoch that token's continues, 0 = none. `events` are copied, and must be sorted by id
 * without doubles. NULL = no memory. */
struct snapshot *snapshot_create(const struct token *token, uint64_t parent,
                                 const struct event_state *events, size_t n);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot); /* NULL is fine */

const struct token *snapshot_token(const struct snapshot *snapshot);
uint64_t snapshot_parent(const struct snapshot *snapshot);
const struct event_state *snapshot_events(const struct snapshot *snapshot, size_t *ret_n);
/* NULL if there is no such event. Binary search. */
const struct event_state *snapshot_find(const struct snapshot *snapshot, const char *event);

/* The whole `reset` frame, ready for send(). Any thread; threads may race to make it, one wins. Borrowed:
 * lives as long as the snapshot (take a blob_ref to keep it). NULL = no memory. */
struct blob *snapshot_frame(struct snapshot *snapshot, enum reset_reason reason, enum wire wire);

/* A snapshot one signal later. NULL = no memory. */
struct snapshot *snapshot_after(const struct snapshot *snapshot, const struct signal *signal);
