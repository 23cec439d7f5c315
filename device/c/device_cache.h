/* device/c/device_cache.h -- the last good bundle of each event in a directory of the app's, so
 * that a device that starts again need not fetch what it holds. One file for each event and cohort:
 *
 *   kickoff-bundle 1 <epoch, 16 hex> <version> <sha-256, 64 hex> <size> <content type>\n<bytes>
 *
 * Written aside and renamed, so that a crash leaves the old or the new, readable by this user alone.
 * What is read is believed only if its bytes have its hash, for a power cut may tear a file all the
 * same, and others may write there: a file is not a promise. Only the device's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

#define DEVICE_CONTENT_TYPE_MAX 127

struct device_copy {
        uint64_t epoch, version;
        char hash[65]; /* SHA-256 of the bytes, hex */
        char content_type[DEVICE_CONTENT_TYPE_MAX + 1];
        struct buf bytes;
};

/* Hex of the SHA-256 of `bytes`. */
void device_cache_hash(const void *bytes, size_t len, char ret_hex[65]);
/* ERR_NOT_FOUND: none, or none that is whole; ERR_NOMEM. The caller ends ret_copy->bytes. */
must_check enum err device_cache_read(const char *dir, const char *cohort, const char *event,
                                      struct device_copy *ret_copy);
/* ERR_IO: errno says why; the old copy is still there. */
must_check enum err device_cache_write(const char *dir, const char *cohort, const char *event,
                                       const struct device_copy *copy);
