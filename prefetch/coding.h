/* prefetch/coding.h -- content codings of a bundle, and which of them a request wants:
 * Accept-Encoding as RFC 9110 12.5.3 reads it. Knows no bundles. Pure; called once per request, so
 * it allocates nothing. */
#pragma once

#include <stdbool.h>

#include "proto/head.h"

enum coding { CODING_IDENTITY, CODING_ZSTD, CODING_GZIP, CODINGS };

extern const char *const coding_name[CODINGS]; /* as in Content-Encoding; identity is never sent */
extern const char *const coding_suffix[CODINGS]; /* of the ETag: "", "-zstd", "-gzip" */

struct coding_wishes {
        unsigned weight[CODINGS]; /* 0 = not acceptable; more = rather */
};

/* Absent (at == NULL), or empty: identity only. Elements that make no sense are as if they were not
 * there. What is not named is not wanted, but identity, which is acceptable (as the last choice)
 * unless it is excluded: `identity;q=0`, or `*;q=0` without naming it. */
void coding_read(struct slice accept_encoding, struct coding_wishes *ret_wishes);
