/* fanout/durability.h -- what a 2xx answer is worth, and whether this Redis can keep it (contract line 1).
 * `memory` is asked for by name and promises nothing; `fsync` needs appendonly yes and appendfsync
 * always, asked from the server itself at start and after each reconnect. A node never weakens the
 * promise: it refuses, and names the line to change. Control thread only. */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"

enum durability { DURABILITY_MEMORY, DURABILITY_FSYNC, DURABILITIES };
extern const char *const durability_name[DURABILITIES];

/* ERR_INVALID with a sentence; `replicated` is ERR_UNSUPPORTED until it is built. */
must_check enum err durability_parse(const char *text, enum durability *ret, const char **ret_why);

/* OK; ERR_CONFLICT: the settings cannot keep it, `why` has the exact lines to change; ERR_TIMEOUT;
 * ERR_IO: could not be asked (an ACL without CONFIG GET: `why` says how to allow it). */
typedef void durability_fn(void *owner, enum err err, const char *why);
must_check enum err durability_check(struct redis *redis, enum durability wanted, durability_fn *done,
                                     void *owner);
