/* base/gzip.h -- packs bytes as one gzip member (RFC 1952), a step at a time, so that a megabyte
 * does not hold up a loop; gives up as soon as the result would be larger than it may be. The same
 * bytes give the same result with the same zlib. And the way back, in one go. Pure; zlib's only
 * home. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

struct gzip;

/* `bytes` are borrowed until gzip_destroy. `limit`: bytes the result may have. ERR_NOMEM. */
must_check enum err gzip_create(const void *bytes, size_t len, size_t limit,
                                struct gzip **ret_gzip);
void gzip_destroy(struct gzip *gzip); /* NULL is fine */
/* Packs up to `step` bytes more; not again after *ret_done or an error. ERR_TOO_LARGE: it does not
 * fit in `limit`; ERR_NOMEM. */
must_check enum err gzip_step(struct gzip *gzip, size_t step, bool *ret_done);
/* Once done: borrowed until gzip_destroy. */
const void *gzip_result(const struct gzip *gzip, size_t *ret_len);

/* Appends to `out` what one gzip member holds. ERR_TOO_LARGE: that is more than `limit` bytes, which
 * is noticed before more is unpacked (a few bytes can stand for very many); ERR_INVALID: broken, cut
 * short, or something follows it; ERR_NOMEM. After an error `out` is of no use. */
must_check enum err gzip_unpack(const void *bytes, size_t len, size_t limit, struct buf *out);
