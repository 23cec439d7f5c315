/* base/rng.c -- xoshiro256** 1.0 and splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom
 * number generators", 2018), and the kernel's randomness. The first is for spreading load, never
 * for anything an attacker must not guess. */
#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"

uint64_t rng_secure_u64(void)
{
        uint64_t value = 0;

        while (value == 0) {
                /* Up to 256 bytes are never cut short, once the pool is ready (getrandom(2)). */
                ssize_t n = getrandom(&value, sizeof(value), 0);

                if (n < 0 && errno == EINTR) {
                        value = 0;
                        continue;
                }
                check(n == sizeof(value));
        }
        return value;
}

static uint64_t rotate_left(uint64_t x, int by)
{
        return (x << by) | (x >> (64 - by));
}

static uint64_t splitmix64(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

void rng_seed(struct rng *rng, uint64_t seed)
{
        /* Four consecutive outputs of a bijection are never all zero, the one state to avoid. */
        for (unsigned i = 0; i < countof(rng->s); i++)
                rng->s[i] = splitmix64(&seed);
}

uint64_t rng_u64(struct rng *rng)
{
        uint64_t *s = rng->s;
        uint64_t result = rotate_left(s[1] * 5, 7) * 9;
        uint64_t t = s[1] << 17;

        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate_left(s[3], 45);
        return result;
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
        if (bound == 0)
                return 0;

        /* Lemire, "Fast random integer generation in an interval", 2019: the high half of a product
         * is the answer; the few low halves that would favour some answers are drawn again. */
        unsigned __int128 product = (unsigned __int128)rng_u64(rng) * bound;

        if ((uint64_t)product < bound) {
                uint64_t unfair = -bound % bound; /* 2^64 mod bound */

                while ((uint64_t)product < unfair)
                        product = (unsigned __int128)rng_u64(rng) * bound;
        }
        return (uint64_t)(product >> 64);
}
