/* fanout/state_reader.h -- reads, in many steps, what an install needs: the state of all events at one
 * place of the log, and the entries that lead up to it. For follower.c alone. Control thread only. */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/entry.h"
#include "fanout/snapshot.h"

struct state_reader;

/* OK: `snapshot` and `entries` (in order, without a hole, ending exactly at the snapshot's token; n may be
 * 0) are borrowed until the return. Else `why` is a sentence. */
typedef void state_reader_fn(void *owner, enum err err, struct snapshot *snapshot,
                             struct entry *const *entries, size_t n, const char *why);

/* Up to `keep` entries. `done` comes exactly once, never from inside here, not even if `redis` goes down or
 * is destroyed. `redis` and `ns` are borrowed until then. */
must_check enum err state_reader_start(struct redis *redis, const char *ns, size_t keep,
                                       state_reader_fn *done, void *owner);
