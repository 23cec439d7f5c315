/* Counted references. Threads: stress_blob.c. */
#include <signal.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/blob.h"

Test(blob, holds_a_copy)
{
        char bytes[] = "frame";
        struct blob *blob = blob_create(bytes, 5);

        memset(bytes, 'x', 5);
        cr_assert(eq(u32, blob->len, 5));
        cr_assert(memcmp(blob->data, "frame", 5) == 0);
        blob_unref(blob);
}

Test(blob, lives_until_the_last_reference_goes)
{
        struct blob *blob = blob_create("frame", 5);

        cr_assert(eq(ptr, blob_ref(blob), blob));
        blob_unref(blob);
        cr_assert(memcmp(blob->data, "frame", 5) == 0); /* the address sanitizer watches */
        blob_unref(blob);
        blob_unref(NULL);
}

Test(blob, may_be_empty)
{
        struct blob *blob = blob_create(NULL, 0);

        cr_assert(eq(u32, blob->len, 0));
        blob_unref(blob);
}

Test(blob, refuses_more_than_its_length_can_say)
{
        cr_assert(eq(ptr, blob_create("", (size_t)UINT32_MAX + 1), NULL));
}

Test(blob, a_reference_from_nothing_is_our_bug, .signal = SIGABRT)
{
        struct blob blob = { .refs = 0 };

        blob_ref(&blob);
}
