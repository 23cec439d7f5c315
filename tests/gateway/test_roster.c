/* tests/gateway/test_roster.c -- the roster against a model that is too simple to be wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/rng.h"
#include "gateway/message_limit.h"
#include "gateway/roster.h"

#define IDS 100000

static uint32_t hash_of(const struct roster *roster, uint32_t id)
{
        char device[40];

        snprintf(device, sizeof(device), "%08x-1111-4222-8333-%012x", id, id * 7);
        return roster_hash(roster, device);
}

static bool has(const struct roster *roster, uint32_t hash, uint32_t slot)
{
        uint32_t walk = 0, found;

        while (roster_next(roster, hash, &walk, &found))
                if (found == slot)
                        return true;
        return false;
}

/* conns[] as conn.c keeps it: dense, the last takes the place of who goes. */
Test(roster, agrees_with_a_model_through_the_churn_of_100000_ids)
{
        uint32_t *place = malloc(IDS * sizeof(*place)), *who = malloc(IDS * sizeof(*who)), n = 0;
        struct roster roster;
        struct rng rng;

        rng_seed(&rng, 11);
        roster_init(&roster, rng_u64(&rng), rng_u64(&rng));
        for (uint32_t id = 0; id < IDS; id++)
                place[id] = ROSTER_FREE;
        for (unsigned i = 0; i < 6 * IDS; i++) {
                uint32_t id = (uint32_t)rng_below(&rng, IDS), hash = hash_of(&roster, id);

                /* It grows, then shrinks, so that both long and short runs of rows come about. */
                if (place[id] == ROSTER_FREE && (i < 4 * IDS || rng_below(&rng, 8) == 0)) {
                        place[id] = n;
                        who[n++] = id;
                        cr_assert(roster_add(&roster, hash, place[id]));
                } else if (place[id] != ROSTER_FREE && (i >= 4 * IDS || rng_below(&rng, 4) == 0)) {
                        uint32_t slot = place[id], last = --n;

                        roster_remove(&roster, hash, slot);
                        place[id] = ROSTER_FREE;
                        cr_assert(not(has(&roster, hash, slot)));
                        if (slot != last) {
                                roster_move(&roster, hash_of(&roster, who[last]), last, slot);
                                who[slot] = who[last];
                                place[who[slot]] = slot;
                        }
                }
                if (roster.n != n || roster.n > roster.size - roster.size / 4)
                        cr_assert(false, "%u rows of %u for %u", roster.n, roster.size, n);
        }
        for (uint32_t id = 0; id < IDS; id++) {
                if (place[id] != ROSTER_FREE)
                        cr_assert(has(&roster, hash_of(&roster, id), place[id]), "id %u", id);
        }
        roster_fini(&roster);
        free(place);
        free(who);
}

/* Also at the end of the table, where they go on at its beginning. */
Test(roster, holds_several_of_one_hash)
{
        static const uint32_t hashes[] = { 77, UINT32_MAX, UINT32_MAX - (1u << 24) };

        for (size_t k = 0; k < countof(hashes); k++) {
                uint32_t walk = 0, slot, sum = 0, others = 0;
                struct roster roster;

                roster_init(&roster, 1, 2);
                for (uint32_t i = 0; i < 5; i++) {
                        cr_assert(roster_add(&roster, hashes[k], 1u << i));
                        cr_assert(roster_add(&roster, hashes[k] + 1, 1u << (8 + i)));
                }
                roster_remove(&roster, hashes[k], 4);
                while (roster_next(&roster, hashes[k], &walk, &slot))
                        sum += slot;
                cr_assert(eq(u32, sum, 1 + 2 + 8 + 16));
                walk = 0;
                while (roster_next(&roster, hashes[k] + 1, &walk, &slot))
                        others += slot;
                cr_assert(eq(u32, others, 31u << 8));
                roster_fini(&roster);
        }
}

Test(roster, finds_nobody_before_the_first_came)
{
        uint32_t walk = 0, slot;
        struct roster roster;

        roster_init(&roster, 1, 2);
        cr_assert(not(roster_next(&roster, 1, &walk, &slot)));
        roster_fini(&roster);
}

Test(roster, costs_at_most_14_bytes_a_session_from_a_thousand_on)
{
        struct roster roster;

        roster_init(&roster, 3, 4);
        for (uint32_t i = 0; i < 50000; i++) {
                cr_assert(roster_add(&roster, hash_of(&roster, i), i));
                if (i >= 1000 && roster.size * sizeof(struct roster_row) > 14ull * (i + 1))
                        cr_assert(false, "%u rows for %u", roster.size, i + 1);
        }
        roster_fini(&roster);
}

/* Ids that are alike must not stand in one place, and another secret is another order. */
Test(roster, spreads_ids_by_a_secret)
{
        unsigned in_bin[16] = { 0 }, same = 0;
        struct roster a, b;

        roster_init(&a, 5, 6);
        roster_init(&b, 5, 7);
        for (uint32_t i = 0; i < 16000; i++) {
                in_bin[hash_of(&a, i) % 16]++;
                same += hash_of(&a, i) % 16 == hash_of(&b, i) % 16;
        }
        for (unsigned i = 0; i < 16; i++)
                cr_assert(in_bin[i] > 850 && in_bin[i] < 1150, "bin %u has %u", i, in_bin[i]);
        cr_assert(same > 850 && same < 1150);
}

Test(message_limit, lets_three_through_and_then_one_in_two_thirds_of_a_second)
{
        static struct message_limit limit;
        uint64_t now_ms = 1000;

        for (unsigned i = 0; i < MESSAGE_LIMIT_BURST; i++)
                cr_assert(eq(u32, message_limit_take(&limit, 9, now_ms), 0));
        cr_assert(eq(u32, message_limit_take(&limit, 9, now_ms), 667));
        cr_assert(eq(u32, message_limit_take(&limit, 9, now_ms + 666), 1));
        cr_assert(eq(u32, message_limit_take(&limit, 9, now_ms + 667), 0));
        cr_assert(gt(u32, message_limit_take(&limit, 9, now_ms + 667), 0));
        cr_assert(eq(u32, message_limit_take(&limit, 10, now_ms), 0)); /* another device */
        for (unsigned i = 0; i < MESSAGE_LIMIT_BURST; i++)
                cr_assert(eq(u32, message_limit_take(&limit, 9, now_ms + 9000), 0));
        cr_assert(gt(u32, message_limit_take(&limit, 9, now_ms + 9000), 0));
}
