/* base/blob.c -- counted references to bytes that never change. */
#include "base/blob.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct blob *blob_create(const void *bytes, size_t len)
{
        struct blob *blob;

        if (len > UINT32_MAX)
                return NULL;
        blob = malloc(sizeof(*blob) + len);
        if (blob == NULL)
                return NULL;
        atomic_init(&blob->refs, 1);
        blob->len = (uint32_t)len;
        if (len > 0)
                memcpy(blob->data, bytes, len);
        return blob;
}

struct blob *blob_ref(struct blob *blob)
{
        /* Relaxed: whoever can call this holds a reference, so nobody is freeing it meanwhile. */
        uint32_t before = atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);

        check(before > 0 && before < UINT32_MAX);
        return blob;
}

void blob_unref(struct blob *blob)
{
        if (blob == NULL)
                return;

        /* Release our reads before the count drops; the last one acquires everybody's, then frees.
         */
        uint32_t before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);

        check(before > 0);
        if (before == 1)
                free(blob);
}
