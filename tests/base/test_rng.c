/* The published generators, and fairness. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/rng.h"

Test(rng, is_xoshiro256_starstar)
{
        /* From state 1, 2, 3, 4: the vector that other implementations are tested with. */
        static const uint64_t expected[] = { 11520, 0, 1509978240, 1215971899390074240 };
        struct rng rng = { { 1, 2, 3, 4 } };

        for (size_t i = 0; i < countof(expected); i++)
                cr_assert(eq(u64, rng_u64(&rng), expected[i]), "number %zu", i);
}

Test(rng, is_seeded_by_splitmix64)
{
        struct rng rng;

        rng_seed(&rng, 1234567);
        cr_assert(eq(u64, rng.s[0], 6457827717110365317u));
        cr_assert(eq(u64, rng.s[1], 3203168211198807973u));
        cr_assert(eq(u64, rng.s[2], 9817491932198370423u));
        cr_assert(eq(u64, rng.s[3], 4593380528125082431u));
}

Test(rng, repeats_itself_with_the_same_seed_and_not_with_another)
{
        struct rng a, b, c;
        unsigned same = 0;

        rng_seed(&a, 42);
        rng_seed(&b, 42);
        rng_seed(&c, 43);
        for (int i = 0; i < 1000; i++) {
                uint64_t value = rng_u64(&a);

                cr_assert(eq(u64, value, rng_u64(&b)));
                same += value == rng_u64(&c);
        }
        cr_assert(eq(uint, same, 0));
}

Test(rng, stays_below_its_bound)
{
        static const uint64_t bounds[] = { 1,         2, 3, 7, 1000, UINT32_MAX, (1ull << 63) + 1,
                                           UINT64_MAX };
        struct rng rng;

        rng_seed(&rng, 7);
        cr_assert(eq(u64, rng_below(&rng, 0), 0));
        for (size_t i = 0; i < countof(bounds); i++) {
                for (int j = 0; j < 2000; j++)
                        cr_assert(lt(u64, rng_below(&rng, bounds[i]), bounds[i]));
        }
}

/* For this bound, the high half of the product alone would give every third number twice the share.
 */
Test(rng, gives_every_number_the_same_share)
{
        unsigned thirds[3] = { 0 }, lower = 0, n = 90000;
        uint64_t bound = UINT64_C(3) << 62;
        struct rng rng;

        rng_seed(&rng, 99);
        for (unsigned i = 0; i < n; i++) {
                uint64_t value = rng_below(&rng, bound);

                thirds[value % 3]++;
                lower += value < bound / 2;
        }
        for (int i = 0; i < 3; i++)
                cr_assert(thirds[i] > n / 3 - 1000 && thirds[i] < n / 3 + 1000, "%u", thirds[i]);
        cr_assert(lower > n / 2 - 1000 && lower < n / 2 + 1000, "%u of %u", lower, n);
}

Test(rng, small_bounds_are_even)
{
        unsigned counts[10] = { 0 };
        struct rng rng;

        rng_seed(&rng, 5);
        for (int i = 0; i < 100000; i++)
                counts[rng_below(&rng, 10)]++;
        for (int i = 0; i < 10; i++)
                cr_assert(counts[i] > 9500 && counts[i] < 10500, "%d: %u", i, counts[i]);
}

Test(rng, secure_numbers_are_never_zero_and_differ)
{
        uint64_t last = 0;

        for (int i = 0; i < 1000; i++) {
                uint64_t value = rng_secure_u64();

                cr_assert(ne(u64, value, 0));
                cr_assert(ne(u64, value, last));
                last = value;
        }
}
