/* gateway/audience.h -- which sorts of devices a worker has: each combination of cohort, platform,
 * region and app once, counted by its sessions. A session holds the two bytes of its number. Whom a
 * signal is for is asked per audience, and each answer remembered, so a broadcast to a million
 * devices of twenty sorts compares names twenty times.
 *
 * Decides nothing about sessions; knows entries by their target and number alone. Pure; one thread,
 * the worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/entry.h"
#include "fanout/ring.h"
#include "proto/target.h"

/* Sorts of one worker. Beyond that somebody gives each device a sort of its own, which the protocol
 * forbids; whoever brings another one is not let in. 20 MB at the worst. */
#define AUDIENCES_MAX 65535

struct audiences;

must_check enum err audiences_create(struct audiences **ret_audiences);
void audiences_destroy(struct audiences *audiences); /* NULL is fine */

/* A session of this sort comes; NULL or "" = it has not said. ERR_TOO_LARGE: AUDIENCES_MAX;
 * ERR_NOMEM. */
must_check enum err audiences_enter(struct audiences *audiences, const char *const traits[TRAITS],
                                    uint16_t *ret_audience);
void audiences_leave(struct audiences *audiences, uint16_t audience); /* and goes */

/* The log is another one, in which the numbers mean other entries: answers are void. */
void audiences_forget(struct audiences *audiences);
/* audiences NULL: nobody is told apart, all is for everyone. */
bool audiences_judge(struct audiences *audiences, uint16_t audience, const struct entry *entry);
static inline bool audiences_meant(struct audiences *audiences, uint16_t audience,
                                   const struct entry *entry)
{
        return entry->to == NULL || audiences_judge(audiences, audience, entry);
}
/* Which of the 64 entries up to `seq` were not for it: bit i stands for seq - i. Only down to after
 * `from`; what has left the ring counts as for it. */
uint64_t audiences_missed(struct audiences *audiences, uint16_t audience, const struct ring *ring,
                          seqno from, seqno seq);

/* Sessions that a signal with this target is for; NULL = all. */
uint32_t audiences_reach(const struct audiences *audiences, const struct target *to);
size_t audiences_n(const struct audiences *audiences);
/* The sorts, each once, in no order: *walk is 0 before the first. Texts are borrowed until the next
 * change;
 * "" = not said. False: there are no more. */
bool audiences_next(const struct audiences *audiences, size_t *walk, const char *ret_traits[TRAITS],
                    uint32_t *ret_sessions);
