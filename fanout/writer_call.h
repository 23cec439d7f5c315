/* fanout/writer_call.h -- the writer's two calls of kickoff.lua, as keys and arguments. Decides
 * nothing. For writer.c alone. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/writer.h"

struct append { /* all borrowed until the call returns */
        const struct change *change;
        uint64_t expected;         /* version the rules were applied to; 0 = there was no event */
        const char *record, *body; /* the event after, and its signal, as text */
        int64_t now;
        unsigned hold; /* replicas that must have it before it is released; 0 = released at once */
        struct token witness;
        const char *durability; /* what the answer will name */
};

/* Errors and answers as of redis_command. */
must_check enum err writer_call_lookup(struct redis *redis, const char *ns,
                                       const struct change *change, redis_reply_fn *on_reply,
                                       void *owner);
must_check enum err writer_call_append(struct redis *redis, const char *ns,
                                       const struct append *append, redis_reply_fn *on_reply,
                                       void *owner);
