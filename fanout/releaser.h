/* fanout/releaser.h -- finishes what a writer began: an entry that is still held back a second after it was first
 * seen is written behind, waited for and released, by whichever node comes first (fanout/EPOCHS.md). Only with
 * replicated:N. Control thread only. */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "fanout/primary.h"

struct event_base;
struct releaser;

#define RELEASER_EVERY_MS 1000
#define RELEASER_WAIT_MS  1000 /* for the replicas, each time */

must_check enum err releaser_create(struct event_base *base, struct primary *primary, const char *ns,
                                    const char *node, struct releaser **ret_releaser);
void releaser_destroy(struct releaser *releaser); /* NULL is fine */
