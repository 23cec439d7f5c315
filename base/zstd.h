/* base/zstd.h -- packs bytes as one Zstandard frame (RFC 8878), a step at a time, as gzip.h does.
 * Its window stays below the 8 MiB that every HTTP client can take (RFC 9659). Pure; libzstd's only
 * home. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/err.h"

struct zstd;

/* `bytes` are borrowed until zstd_destroy. `limit`: bytes the result may have. ERR_NOMEM. */
must_check enum err zstd_create(const void *bytes, size_t len, size_t limit,
                                struct zstd **ret_zstd);
void zstd_destroy(struct zstd *zstd); /* NULL is fine */
/* Packs up to `step` bytes more (libzstd works in blocks of 128 KiB, so some steps do nothing yet);
 * not again after *ret_done or an error. ERR_TOO_LARGE: it does not fit in `limit`; ERR_NOMEM. */
must_check enum err zstd_step(struct zstd *zstd, size_t step, bool *ret_done);
/* Once done: borrowed until zstd_destroy. */
const void *zstd_result(const struct zstd *zstd, size_t *ret_len);
