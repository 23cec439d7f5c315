/* tests/gateway/target_fixture.h -- entries that are for some devices only; `to` is JSON, or NULL
 * for everyone. */
#pragma once

#include <jansson.h>

#include "tests/gateway/log_fixture.h"

static inline struct entry *target_entry(seqno seq, const char *to)
{
        struct entry *plain = log_entry(seq), *entry;
        struct target *target = NULL;
        json_t *json = to != NULL ? json_loads(to, 0, NULL) : NULL;

        if (to != NULL)
                cr_assert(eq(int, target_parse_object(json, &target), OK));
        entry = entry_create_for(&plain->signal, target, plain->prev_tag, NULL);
        cr_assert(entry != NULL);
        entry_unref(plain);
        target_destroy(target);
        json_decref(json);
        return entry;
}

static inline void target_push(struct ring *ring, seqno seq, const char *to)
{
        struct entry *entry = target_entry(seq, to);

        ring_push(ring, entry);
        entry_unref(entry);
}

/* Empty; of 64 entries at most. */
static inline struct ring *target_ring(void)
{
        return log_ring(64, 0, 0);
}
