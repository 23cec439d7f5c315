/* loadtest/due.h -- who is to do something when, to the microsecond: a binary heap. base/wheel.h is
 * for deadlines, and fires up to 64 ms late. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct due {
        struct due_entry {
                uint64_t us;
                uint32_t who;
        } *entries; /* entry i is due no later than 2i + 1 and 2i + 2 */
        size_t n, capacity;
};

void due_init(struct due *due);
void due_fini(struct due *due);
/* The same one may be in it several times. False: no memory, it is not in. */
must_check bool due_put(struct due *due, uint64_t us, uint32_t who);
/* When the first is due; UINT64_MAX: there is none. */
uint64_t due_next_us(const struct due *due);
/* The first one, if it is due by now. */
bool due_take(struct due *due, uint64_t now_us, uint32_t *ret_who);
