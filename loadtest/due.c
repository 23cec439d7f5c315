/* loadtest/due.c -- see due.h. */
#include "loadtest/due.h"

#include <stdlib.h>

void due_init(struct due *due)
{
        *due = (struct due){ .n = 0 };
}

void due_fini(struct due *due)
{
        free(due->entries);
        due_init(due);
}

bool due_put(struct due *due, uint64_t us, uint32_t who)
{
        size_t at = due->n;

        if (due->n == due->capacity) {
                size_t capacity = due->capacity > 0 ? 2 * due->capacity : 1024;
                struct due_entry *entries = realloc(due->entries, capacity * sizeof(*entries));

                if (entries == NULL)
                        return false;
                due->entries = entries;
                due->capacity = capacity;
        }
        due->n++;
        for (; at > 0 && due->entries[(at - 1) / 2].us > us; at = (at - 1) / 2)
                due->entries[at] = due->entries[(at - 1) / 2];
        due->entries[at] = (struct due_entry){ .us = us, .who = who };
        return true;
}

uint64_t due_next_us(const struct due *due)
{
        return due->n > 0 ? due->entries[0].us : UINT64_MAX;
}

bool due_take(struct due *due, uint64_t now_us, uint32_t *ret_who)
{
        struct due_entry last;
        size_t at = 0, child;

        if (due_next_us(due) > now_us || due->n == 0)
                return false;
        *ret_who = due->entries[0].who;
        last = due->entries[--due->n];
        for (; (child = 2 * at + 1) < due->n; at = child) {
                if (child + 1 < due->n && due->entries[child + 1].us < due->entries[child].us)
                        child++;
                if (due->entries[child].us >= last.us)
                        break;
                due->entries[at] = due->entries[child];
        }
        if (due->n > 0)
                due->entries[at] = last;
        return true;
}
