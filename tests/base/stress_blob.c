/* Threads take and drop references to the same blobs; the last one out frees. */
#include <string.h>

#include "base/blob.h"
#include "stress.h"

#define ROUNDS 2000

static struct blob *shared;

static void take_read_drop(unsigned index)
{
        for (int i = 0; i < 20; i++) {
                struct blob *mine = blob_ref(shared);

                check(mine->len == 5 && memcmp(mine->data, "frame", 5) == 0);
                blob_unref(mine);
        }
        (void)index;
        blob_unref(shared); /* the reference that was made for this thread */
}

int main(void)
{
        for (int round = 0; round < ROUNDS; round++) {
                shared = blob_create("frame", 5);
                check(shared != NULL);
                for (int i = 1; i < STRESS_THREADS; i++)
                        blob_ref(shared);
                stress_run(take_read_drop);
        }
        return 0;
}
