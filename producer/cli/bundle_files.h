/* producer/cli/bundle_files.h -- a directory of bundles: each file COHORT.ext is what that cohort
 * prefetches. Finds them and says what is wrong with them before a single byte is sent. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "proto/names.h"

#define BUNDLE_FILE_MAX (1024u * 1024u) /* bytes: what the node takes */

struct bundle_file {
        char cohort[COHORT_MAX + 1];
        char name[256];   /* within the directory */
        const char *type; /* content type, by the extension */
        size_t size;      /* bytes, when it was found */
        char sha256[65];  /* empty until bundle_files_hash */
};

#define BUNDLE_FAULTS_SHOWN 20 /* of a directory with more of them, the others are counted */

/* Sorted by cohort; *ret_files is malloc'd. Hidden files and directories are skipped. Everything
 * that is wrong is told at once, each a line in `faults`: names that are no cohort, several files
 * for one cohort, files that are too large (ERR_INVALID), a directory that is empty (ERR_NOT_FOUND)
 * or cannot be read (ERR_IO). */
must_check enum err bundle_files_find(const char *directory, struct bundle_file **ret_files,
                                      size_t *ret_n, struct buf *faults);
/* Reads each file once and fills in its hash. What cannot be read, or has grown too large, is in
 * `faults`. */
must_check enum err bundle_files_hash(const char *directory, struct bundle_file *files, size_t n,
                                      struct buf *faults);
/* The whole file, malloc'd. ERR_TOO_LARGE, ERR_IO, ERR_NOMEM. */
must_check enum err bundle_files_read(const char *directory, const struct bundle_file *file,
                                      char **ret_bytes, size_t *ret_len);
/* The content type for a file name; application/octet-stream for an extension nobody knows. */
const char *bundle_files_type(const char *name);
/* Lower-case hex SHA-256. */
void bundle_files_sha256(const void *bytes, size_t len, char hex[65]);
