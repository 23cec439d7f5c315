/* prefetch/bundle.h -- what one cohort prefetches for one event, and the index of all cohorts' bundles of
 * one event version. Both immutable and shared by threads through reference counts. Pure. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/names.h"
#include "proto/token.h"

#define BUNDLE_BODY_MAX   (1024u * 1024u) /* bytes of one body; one more is 413 */
#define BUNDLE_TYPE_MAX   127             /* bytes of a content type */
#define BUNDLE_SHA_TEXT   64              /* hex characters of SHA-256 */
#define BUNDLE_COHORTS_MAX 20000          /* cohorts of one event */

struct bundle_row { /* one cohort: where its body is and what it is */
        char cohort[COHORT_MAX + 1];
        char sha256[BUNDLE_SHA_TEXT + 1];
        char type[BUNDLE_TYPE_MAX + 1];
        uint32_t size; /* bytes */
        /* Log token of the publish that made it current; empty: a draft, or not known. A device whose own
         * token is older has not been told of it yet. */
        char position[TOKEN_TEXT_MAX + 1];
};

struct bundle_index {
        _Atomic uint32_t refs;
        char event[EVENT_ID_MAX + 1];
        uint64_t version; /* bundle version it belongs to */
        uint32_t n;
        struct bundle_row rows[]; /* sorted by cohort */
};

/* Rows are copied and sorted. NULL = no memory. */
struct bundle_index *bundle_index_create(const char *event, uint64_t version, const struct bundle_row *rows,
                                         size_t n);
struct bundle_index *bundle_index_ref(struct bundle_index *index);
void bundle_index_unref(struct bundle_index *index); /* NULL is fine */
/* The cohort's row, or that of COHORT_DEFAULT, or NULL. */
const struct bundle_row *bundle_index_find(const struct bundle_index *index, const char *cohort);

/* "[<position> ]<sha256> <size> <content type>": how Redis holds a row. fanout/kickoff.lua puts the position
 * in front when it makes a draft current. */
must_check enum err bundle_row_parse(const char *cohort, const char *text, size_t len,
                                     struct bundle_row *ret_row);
size_t bundle_row_format(const struct bundle_row *row, char *out, size_t size);
/* Lower-case hex SHA-256 of `bytes`. */
void bundle_sha256(const void *bytes, size_t len, char hex[BUNDLE_SHA_TEXT + 1]);
/* A content type we are ready to repeat in a header: printable ASCII type/subtype with parameters. */
bool bundle_type_is_valid(const char *type);
