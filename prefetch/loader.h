/* prefetch/loader.h -- the control thread's half of a node's bundle cache: merges the misses of all
 * workers into one Redis read per thing, builds the ready-made response, and hands it to each that asked.
 *
 *   worker's cache ──miss──► loader's mailbox ──► store (Redis) ──► loader ──► each worker's mailbox
 */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"

struct event_base;
struct loader;

/* Control thread. `redis` is borrowed and outlives the loader. */
must_check enum err loader_create(struct event_base *base, struct redis *redis, const char *ns,
                                  struct loader **ret_loader);
/* After all workers (and their caches) have ended. */
void loader_destroy(struct loader *loader);
