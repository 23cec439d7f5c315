/* gateway/roster.h -- which of a worker's sessions has which device id: an open-addressing table of
 * 8 bytes a row, which holds a hash of the id and the session's place in conns[]. The ids
 * themselves lie with the sessions, so whoever looks somebody up compares them: several rows may
 * have one hash. At most three rows in four are taken, and the table grows by a quarter then: 10.7
 * to 13.3 bytes a session, and each row is moved about four times while a table fills. It does
 * not shrink, as conns[] does not.
 *
 * The hash is keyed (SipHash-1-3), for devices choose their ids: without the key nobody can choose
 * ten thousand that stand in each other's way.
 *
 * Pure; one thread, the worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

#define ROSTER_FREE UINT32_MAX

struct roster_row {
        uint32_t hash;
        uint32_t slot; /* in conns[]; ROSTER_FREE = no session */
};

struct roster {
        struct roster_row *rows; /* NULL until the first session */
        uint32_t size;           /* rows */
        uint32_t n;              /* rows taken */
        uint64_t secret[2];
};

void roster_init(struct roster *roster, uint64_t secret0, uint64_t secret1);
void roster_fini(struct roster *roster);

uint32_t roster_hash(const struct roster *roster, const char *device);

/* False = no memory, and nothing changed. The same pair must not be there already. */
must_check bool roster_add(struct roster *roster, uint32_t hash, uint32_t slot);
/* The session of this hash has moved from one place to another, or has gone. It must be there. */
void roster_move(struct roster *roster, uint32_t hash, uint32_t from, uint32_t to);
void roster_remove(struct roster *roster, uint32_t hash, uint32_t slot);

/* The places of all sessions of this hash, one per call; *walk is 0 before the first. False: there
 * are no more. Nothing may change in between. */
bool roster_next(const struct roster *roster, uint32_t hash, uint32_t *walk, uint32_t *ret_slot);
