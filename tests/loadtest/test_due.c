#include "loadtest/due.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/rng.h"

Test(due, comes_out_in_order_and_never_too_early)
{
        struct due due;
        struct rng rng;
        uint64_t before = 0;
        uint32_t who = 77;

        due_init(&due);
        rng_seed(&rng, 7);
        cr_assert(eq(u64, due_next_us(&due), UINT64_MAX));
        cr_assert(not(due_take(&due, UINT64_MAX, &who)));
        cr_assert(eq(u32, who, 77));
        for (uint32_t i = 0; i < 5000; i++)
                cr_assert(due_put(&due, 1000 + rng_below(&rng, 2000), i));
        cr_assert(not(due_take(&due, due_next_us(&due) - 1, &who)));
        for (unsigned n = 0; n < 5000; n++) {
                uint64_t at = due_next_us(&due);

                cr_assert(ge(u64, at, before));
                cr_assert(due_take(&due, at, &who));
                before = at;
                if (n % 3 == 0 && n < 3000) /* one may put itself in again */
                        cr_assert(due_put(&due, at + 5, who));
        }
        cr_assert(eq(sz, due.n, 1000));
        due_fini(&due);
}
