/* producer/cli/bundle_files.h -- a directory of bundles: each file COHORT.ext is what that cohort
 * prefetches. Finds them and says what is wrong with them before a single byte is sent. */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/names.h"

#define BUNDLE_FILE_MAX (1024u * 1024u) /* bytes: what the node takes */

struct bundle_file {
        char cohort[COHORT_MAX + 1];
        char name[256];   /* within the directory */
        const char *type; /* content type, by the extension */
};

/* Sorted by cohort; *ret_files is malloc'd. Hidden files and directories are skipped. ERR_INVALID:
 * a name that is no cohort, or two files for one cohort; ERR_TOO_LARGE; ERR_NOT_FOUND: none;
 * ERR_IO. `why` is filled unless OK. */
must_check enum err bundle_files_find(const char *directory, struct bundle_file **ret_files,
                                      size_t *ret_n, char *why, size_t why_size);
/* The whole file, malloc'd. ERR_TOO_LARGE, ERR_IO, ERR_NOMEM. */
must_check enum err bundle_files_read(const char *directory, const struct bundle_file *file,
                                      char **ret_bytes, size_t *ret_len);
/* The content type for a file name; application/octet-stream for an extension nobody knows. */
const char *bundle_files_type(const char *name);
/* Lower-case hex SHA-256. */
void bundle_files_sha256(const void *bytes, size_t len, char hex[65]);
