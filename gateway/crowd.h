/* gateway/crowd.h -- the sorts of devices of a whole node, added up from what its workers say of
 * theirs, and cut to what its presence lists. Pure; the control thread's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/presence.h"

struct crowd;

must_check enum err crowd_create(unsigned n_workers, struct crowd **ret_crowd);
void crowd_destroy(struct crowd *crowd); /* NULL is fine */
/* Instead of what this worker said before; at most PRESENCE_AUDIENCES_MAX rows, copied. Without
 * memory: ignored. */
void crowd_take(struct crowd *crowd, unsigned worker, const struct presence_audience *rows,
                size_t n, uint64_t others);
/* Each sort once, those with most devices first, at most PRESENCE_AUDIENCES_MAX; borrowed until the
 * next call. */
size_t crowd_sum(struct crowd *crowd, const struct presence_audience **ret_rows,
                 uint64_t *ret_others);
