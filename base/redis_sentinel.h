/* base/redis_sentinel.h -- one question to one sentinel: where is the primary called so? A
 * connection of its own, closed with the answer. Judges nothing: which answer counts is
 * redis_find.c's business.
 *
 * The callback runs once, from the loop, never from inside a call; the question is gone by then. */
#pragma once

#include "base/redis.h"

struct redis_dns;
struct redis_question;

struct redis_named { /* what a sentinel says */
        struct redis_host primary;
        uint64_t epoch; /* config-epoch: drawn by the winner of each failover, so a higher one is
                           newer */
};

/* `named` NULL: `why` is a sentence with the sentinel's name. Both are borrowed until the return.
 */
typedef void redis_named_fn(void *owner, const struct redis_named *named, const char *why);
/* `sentinel` is copied, `address` (name, password) borrowed. */
must_check enum err redis_question_create(struct event_base *base, struct redis_dns *dns,
                                          const struct redis_host *sentinel,
                                          const struct redis_address *address, unsigned timeout_ms,
                                          redis_named_fn *done, void *owner,
                                          struct redis_question **ret_question);
void redis_question_destroy(struct redis_question *question); /* NULL is fine */
