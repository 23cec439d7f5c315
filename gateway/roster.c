/* gateway/roster.c -- linear probing; who goes is followed up by those it had pushed on (Knuth, The
 * Art of Computer Programming 3, 6.4, algorithm R), so there are no tombstones to sweep. A row has
 * its whole hash: growing and moving up look at no session.
 *
 * The hash as a fraction of 2^32 is the home as a fraction of the table (Lemire, "Fast random
 * integer generation in an interval", 2019), so that a table may have any size. And hashes that
 * follow each other have homes that do: growing reads one table and writes the other from front to
 * back. */
#include "gateway/roster.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256

/* --- SipHash-1-3 (Aumasson and Bernstein, 2012; one and three rounds as in the authors' own note
 * on hash tables) ---------------------------------------------------------------------------------
 */

static inline uint64_t rotate(uint64_t x, unsigned by)
{
        return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
}

static uint64_t sip_hash(const uint64_t key[2], const char *bytes, size_t len)
{
        uint64_t v[4] = { key[0] ^ UINT64_C(0x736f6d6570736575),
                          key[1] ^ UINT64_C(0x646f72616e646f6d),
                          key[0] ^ UINT64_C(0x6c7967656e657261),
                          key[1] ^ UINT64_C(0x7465646279746573) };
        uint64_t word, last = (uint64_t)len << 56;
        size_t at = 0;

        for (; at + 8 <= len; at += 8) {
                memcpy(&word, bytes + at,
                       8); /* no other program reads this: any byte order will do */
                v[3] ^= word;
                sip_round(v);
                v[0] ^= word;
        }
        for (unsigned i = 0; at + i < len; i++)
                last |= (uint64_t)(uint8_t)bytes[at + i] << (8 * i);
        v[3] ^= last;
        sip_round(v);
        v[0] ^= last;
        v[2] ^= 0xff;
        for (unsigned i = 0; i < 3; i++)
                sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t roster_hash(const struct roster *roster, const char *device)
{
        return (uint32_t)sip_hash(roster->secret, device, strlen(device));
}

/* --- the table ------------------------------------------------------------------------------- */

static uint32_t home(const struct roster *roster, uint32_t hash)
{
        return (uint32_t)((uint64_t)hash * roster->size >> 32);
}

static uint32_t after(const struct roster *roster, uint32_t i)
{
        return i + 1 < roster->size ? i + 1 : 0;
}

/* Rows from `from` on to `to`, which may lie beyond the table's end. */
static uint32_t distance(const struct roster *roster, uint32_t from, uint32_t to)
{
        return to >= from ? to - from : to + (roster->size - from);
}

/* There is a free row. */
static void put(struct roster *roster, struct roster_row row)
{
        uint32_t i = home(roster, row.hash);

        while (roster->rows[i].slot != ROSTER_FREE)
                i = after(roster, i);
        roster->rows[i] = row;
}

static bool grow(struct roster *roster)
{
        struct roster larger = *roster;

        larger.size = roster->size > 0 ? roster->size + roster->size / 4 : FIRST_SIZE;
        larger.rows = malloc(larger.size * sizeof(*larger.rows));
        if (larger.rows == NULL)
                return false;
        memset(larger.rows, 0xff, larger.size * sizeof(*larger.rows)); /* ROSTER_FREE */
        for (uint32_t i = 0; i < roster->size; i++)
                if (roster->rows[i].slot != ROSTER_FREE)
                        put(&larger, roster->rows[i]);
        free(roster->rows);
        *roster = larger;
        return true;
}

/* The row of this pair. */
static uint32_t find(const struct roster *roster, uint32_t hash, uint32_t slot)
{
        uint32_t i = home(roster, hash);

        while (roster->rows[i].slot != slot) {
                check(roster->rows[i].slot != ROSTER_FREE);
                i = after(roster, i);
        }
        check(roster->rows[i].hash == hash);
        return i;
}

void roster_init(struct roster *roster, uint64_t secret0, uint64_t secret1)
{
        *roster = (struct roster){ .secret = { secret0, secret1 } };
}

void roster_fini(struct roster *roster)
{
        free(roster->rows);
        roster->rows = NULL;
        roster->size = roster->n = 0;
}

bool roster_add(struct roster *roster, uint32_t hash, uint32_t slot)
{
        if (roster->n >= roster->size - roster->size / 4 && !grow(roster))
                return false;
        put(roster, (struct roster_row){ hash, slot });
        roster->n++;
        return true;
}

void roster_move(struct roster *roster, uint32_t hash, uint32_t from, uint32_t to)
{
        roster->rows[find(roster, hash, from)].slot = to;
}

void roster_remove(struct roster *roster, uint32_t hash, uint32_t slot)
{
        uint32_t hole = find(roster, hash, slot);

        for (uint32_t i = after(roster, hole); roster->rows[i].slot != ROSTER_FREE;
             i = after(roster, i)) {
                uint32_t begins = home(roster, roster->rows[i].hash);

                /* May it stand in the hole? Not if its home lies behind the hole. */
                if (distance(roster, begins, i) < distance(roster, hole, i))
                        continue;
                roster->rows[hole] = roster->rows[i];
                hole = i;
        }
        roster->rows[hole].slot = ROSTER_FREE;
        roster->n--;
}

bool roster_next(const struct roster *roster, uint32_t hash, uint32_t *walk, uint32_t *ret_slot)
{
        uint32_t at;

        if (roster->size == 0)
                return false;
        at = home(roster, hash) + *walk; /* there is a free row before it comes round */
        for (at -= at >= roster->size ? roster->size : 0;; at = after(roster, at)) {
                const struct roster_row *row = &roster->rows[at];

                if (row->slot == ROSTER_FREE)
                        return false;
                ++*walk;
                if (row->hash != hash)
                        continue;
                *ret_slot = row->slot;
                return true;
        }
}
