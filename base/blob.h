/* base/blob.h -- immutable bytes shared by threads: a ready-made frame, a ready-made response. Made
 * once, read by any thread while it holds a reference, freed by whoever drops the last one. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
        _Atomic uint32_t refs;
        uint32_t len; /* bytes */
        uint8_t data[];
};

/* A copy of `bytes` with one reference, the caller's. NULL when out of memory or len > UINT32_MAX. */
struct blob *blob_create(const void *bytes, size_t len);
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob); /* NULL is fine */
