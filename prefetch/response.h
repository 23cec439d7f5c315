/* prefetch/response.h -- a bundle as ready-made HTTP/1.1 bytes, in each content coding there is of
 * it, and which of them one request gets (RFC 9110 12.5.3, 13.1.2).
 *
 * Made by the loader once per bundle version; picked from by any thread that holds a reference. All
 * of it is immutable, but that codings may be added later: each slot goes from NULL to a variant
 * once. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/check.h"
#include "base/err.h"
#include "prefetch/bundle.h"
#include "prefetch/coding.h"
#include "proto/head.h"

/* Caches that were filled together must not expire together: max-age is one of BUNDLE_AGES steps
 * from -20 % to +20 %, and the caller picks one at random. A response is then, in this order: head
 * (or head_304), bundle_age(pick), and for 200 to GET the body. */
#define BUNDLE_AGES      8
#define BUNDLE_MAX_AGE_S 300

/* What a coded variant must save to be kept: a tenth, and more than its head is longer. */
#define BUNDLE_SAVES_MIN 64                        /* bytes */
static inline size_t bundle_packed_max(size_t len) /* bytes; 0 = not worth trying */
{
        size_t saved = len / 10 + (len % 10 != 0);

        if (saved < BUNDLE_SAVES_MIN)
                saved = BUNDLE_SAVES_MIN;
        return len > saved ? len - saved : 0;
}

struct bundle_variant {
        char etag[BUNDLE_SHA_TEXT +
                  8];                 /* with its quotes; one per coding, as strong ETags must be */
        struct blob *head, *head_304; /* both end in "max-age=" */
        struct blob *body;            /* as it is sent */
};

struct bundle_response {
        _Atomic uint32_t refs;
        uint64_t version;
        struct bundle_row row;
        struct blob *body;                                /* not coded */
        struct bundle_variant *_Atomic variants[CODINGS]; /* identity is always there */
};

/* The reference is the caller's. NULL = no memory. `body` gains a reference. */
struct bundle_response *bundle_response_create(const struct bundle_row *row, uint64_t version,
                                               struct blob *body);
/* Loader's thread: from now on there is this coding of it, too. Once for each coding; `packed`
 * gains a reference. Without memory it stays away, which costs bytes on the wire and nothing else.
 */
void bundle_response_add(struct bundle_response *response, enum coding coding, struct blob *packed);
struct bundle_response *bundle_response_ref(struct bundle_response *response);
void bundle_response_unref(struct bundle_response *response); /* NULL is fine */

struct bundle_choice {
        const struct bundle_variant *variant; /* borrowed from the response */
        bool not_modified;                    /* 304 */
};
/* What one request gets: the coding it wants most, of equally wanted ones the smallest. If it holds
 * an acceptable variant already, 304 with that one's ETag. False: no coding that it accepts is
 * there (406). */
bool bundle_response_choose(const struct bundle_response *response, struct slice accept_encoding,
                            struct slice if_none_match, struct bundle_choice *ret_choice);
/* "240\r\n\r\n": what follows a head. `pick` < BUNDLE_AGES. Static. */
struct slice bundle_age(unsigned pick);
