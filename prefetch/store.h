/* prefetch/store.h -- bundles in Redis: drafts in, indexes and bodies out. Making drafts current is not
 * here: that is a change of the event, so the one Redis function of fanout does it. Control thread only. */
#pragma once

#include <stddef.h>

#include "base/blob.h"
#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "prefetch/bundle.h"

/* OK; ERR_TIMEOUT: unknown; ERR_IO: Redis said no; ERR_NOT_FOUND; ERR_MISMATCH: a body that does not have
 * the hash it is filed under (never handed on); ERR_TOO_LARGE: too many cohorts; ERR_CONFLICT: this Redis
 * still has an older bundle version than the one asked for. `why` is a sentence. Each
 * is called exactly once, never from inside the store_ call. */
typedef void store_done_fn(void *owner, enum err err, const char *why);
typedef void store_index_fn(void *owner, enum err err, struct bundle_index *index); /* borrowed */
typedef void store_body_fn(void *owner, enum err err, struct blob *body);           /* borrowed */

/* Write body and draft row, in one transaction; a draft of the same cohort is replaced. */
must_check enum err store_put_draft(struct redis *redis, const char *ns, const char *event,
                                    const struct bundle_row *row, const void *body, store_done_fn *done,
                                    void *owner);
/* Would a draft of this cohort be taken? OK, or as above; ERR_TIMEOUT: not known. Writes nothing. */
must_check enum err store_check_draft(struct redis *redis, const char *ns, const char *event,
                                      const char *cohort, store_done_fn *done, void *owner);
/* The current rows, labelled with the version they really have: `version` or newer. */
must_check enum err store_read_index(struct redis *redis, const char *ns, const char *event,
                                     uint64_t version, store_index_fn *done, void *owner);
must_check enum err store_read_drafts(struct redis *redis, const char *ns, const char *event,
                                      store_index_fn *done, void *owner);
must_check enum err store_read_body(struct redis *redis, const char *ns, const struct bundle_row *row,
                                    store_body_fn *done, void *owner);
