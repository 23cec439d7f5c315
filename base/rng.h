/* base/rng.h -- random numbers. rng_secure_u64() for tags, epochs and keys (getrandom(2)); struct rng
 * for jitter, seeded so that simulations can repeat themselves. Algorithm: xoshiro256** (Blackman and
 * Vigna, 2018), seeded by splitmix64. A struct rng belongs to one thread. */
#pragma once

#include <stdint.h>

struct rng {
        uint64_t s[4];
};

uint64_t rng_secure_u64(void); /* never 0; stops the process if the kernel has no randomness */
void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_u64(struct rng *rng);
/* Uniform in [0, bound), without modulo bias (Lemire 2019); 0 when bound is 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);
