/* fanout/reader.h -- questions of producers to the log: events with their titles, signals after a number,
 * nodes. Straight from Redis, the authority; devices never cause a read. Control thread only. */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/entry.h"
#include "fanout/event.h"

#define READER_SIGNALS_MAX 1000 /* per read */

/* err is OK, ERR_TIMEOUT (no answer), ERR_IO (Redis said no), ERR_NOMEM. Arrays are borrowed.
 * Each is called exactly once, never from inside the reader_ call. */
typedef void reader_events_fn(void *owner, enum err err, const struct event *events, size_t n);
/* `head`: number of the log's last entry in the moment of the read; 0 = there is none. */
typedef void reader_signals_fn(void *owner, enum err err, struct entry *const *entries, size_t n, seqno head);

/* All events, sorted by planned start; or with `event` that one alone (n is 0 if there is none). */
must_check enum err reader_events(struct redis *redis, const char *ns, const char *event,
                                  reader_events_fn *done, void *owner);
/* Entries after < seq <= after + limit; limit <= READER_SIGNALS_MAX. */
must_check enum err reader_signals(struct redis *redis, const char *ns, seqno after, size_t limit,
                                   reader_signals_fn *done, void *owner);

/* What became of a request key (contract line 3). */
enum request_state {
        REQUEST_NONE,      /* nothing was done under this key within the last 24 h; or not yet */
        REQUEST_HELD,      /* appended, and not yet held by enough replicas */
        REQUEST_COMMITTED, /* event, token: its first result */
};
/* `durability`: as durability_format named it when it was made; "" = unknown. All but state are of a change that
 * was done. */
typedef void reader_request_fn(void *owner, enum err err, enum request_state state, const struct token *token,
                               const struct event *event, const char *durability);
must_check enum err reader_request(struct redis *redis, const char *ns, const char *key,
                                   reader_request_fn *done, void *owner);
