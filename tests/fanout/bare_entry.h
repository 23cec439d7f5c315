/* tests/fanout/bare_entry.h -- an entry that is only its place in the log: for cores that ask for
 * no more. */
#pragma once

#include <stdlib.h>

#include "fanout/entry.h"

#define GENERATION(n) ((uint64_t)(n) << 48) /* an epoch of it */

static inline struct entry *make_entry(uint64_t epoch, seqno seq, uint64_t tag, uint64_t prev)
{
        struct entry *entry = calloc(1, sizeof(*entry));

        atomic_init(&entry->refs, 1);
        entry->signal.token = (struct token){ epoch, seq, tag };
        entry->prev_tag = prev;
        return entry;
}
