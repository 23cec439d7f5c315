/* fanout/starter.h -- starts events that are to start by themselves (auto_start), at the planned moment.
 *
 * Every node that takes changes has one, and none is elected: each knows from the log what is planned, and
 * STARTER_LEAD_MS before a planned start sends the same request, "start it, acting at that moment, if it is still at
 * this version", under the same request key. The append compares both (contract lines 3 and 13), so one start is
 * made however many nodes ask, and any living one will do. A delay before that moment makes another version, so
 * nobody asks for the old one; a delay within the lead takes the start back as it does any other, and the new moment
 * is waited for. Nodes ask up to STARTER_JITTER_MS apart, so that mostly one does, and the others see it done.
 *
 * Of many planned for one moment 32 are under way at a time, and the next ones follow as these are answered.
 *
 * A start that is due when a node comes up is made at once; one that is overdue by more than STARTER_LATE_MS is
 * logged and left to people. Acts only while the node follows the log and may write; asks again until it is done.
 *
 * Happy path: tick -> what is due -> writer_submit -> outcome -> the log shows it started: due no more.
 * Control thread only. */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "fanout/follower.h"
#include "fanout/primary.h"
#include "fanout/writer.h"

#define STARTER_LEAD_MS   2000 /* so that all devices are told before, and switch together */
#define STARTER_JITTER_MS 200
#define STARTER_LATE_MS   (3600 * 1000LL)
#define STARTER_LOOK_MS   500 /* at least so often; wall clocks may be set */
#define STARTER_AGAIN_MS  500 /* after a try that came to nothing */

/* How its request is known to Redis: producers' own keys never begin so (producer/input.c). */
#define STARTER_KEY_PREFIX "auto-start:"

struct event_base;
struct starter;

struct starter_options { /* all borrowed, and to outlive the starter, but for the writer: that is destroyed first */
        struct follower *follower;
        struct primary *primary;
        struct writer *writer;
        const char *node; /* name, for the audit trail */
};
must_check enum err starter_create(struct event_base *base, const struct starter_options *options,
                                   struct starter **ret_starter);
/* After writer_destroy(), which ends what is under way. NULL is fine. */
void starter_destroy(struct starter *starter);
