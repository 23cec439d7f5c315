/* fanout/durability.h -- what a 2xx answer is worth, and whether this Redis can keep it (contract line 1).
 * `memory` is asked for by name and promises nothing; `fsync` needs appendonly yes and appendfsync
 * always, asked from the server itself at start, after each reconnect and once a second; `replicated:N` needs
 * the same, and N replicas each time. A node never weakens the promise: it refuses, and names the line to
 * change. Control thread only. */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"

enum durability_mode { DURABILITY_MEMORY, DURABILITY_FSYNC, DURABILITY_REPLICATED, DURABILITIES };
#define DURABILITY_REPLICAS_MAX 16
#define DURABILITY_TEXT_MAX     16

struct durability {
        enum durability_mode mode;
        unsigned replicas; /* REPLICATED: 1 .. DURABILITY_REPLICAS_MAX; else 0 */
};

/* "memory", "fsync", "replicated" (one replica), "replicated:N". ERR_INVALID with a sentence. */
must_check enum err durability_parse(const char *text, struct durability *ret, const char **ret_why);
/* As acknowledgements name it: "memory", "fsync", "replicated:2". */
void durability_format(const struct durability *durability, char text[DURABILITY_TEXT_MAX + 1]);

/* OK; ERR_CONFLICT: the settings cannot keep it, `why` has the exact lines to change; ERR_TIMEOUT: no
 * answer, or it is busy;
 * ERR_IO: could not be asked (an ACL without CONFIG GET: `why` says how to allow it). */
typedef void durability_fn(void *owner, enum err err, const char *why);
must_check enum err durability_check(struct redis *redis, enum durability_mode wanted,
                                     durability_fn *done, void *owner);
