/* loadtest/fetcher.h -- prefetches of simulated devices: each over a connection of its own, as a
 * device's would be, a bounded number at a time. Decides whether what came is what was promised:
 * 200 with a body whose SHA-256 is the ETag, and a bundle version. Knows nothing of sessions. One
 * thread; the sockets sit in the owner's epoll set. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loadtest/net.h"
#include "proto/names.h"

#define FETCHER_SLOTS 64 /* on their way at a time, unless more are wanted */

/* A socket in the owner's epoll set: data.u64 = FETCHER_MARK | slot. */
#define FETCHER_MARK (UINT64_C(1) << 63)

enum fetch_result {
        FETCH_GOOD,
        FETCH_SHED,  /* 429 or 503: come back after retry_after_s */
        FETCH_BAD,   /* another status, or bytes that do not match their ETag */
        FETCH_BROKEN /* connection lost or nothing came in time */
};

struct fetch_outcome {
        enum fetch_result result;
        unsigned status; /* of the response; 0 = none came */
        uint32_t retry_after_s;
        uint64_t bundle;
        uint64_t took_us; /* from the beginning of the connection to the last byte */
};

/* Called from fetcher_ready and fetcher_tick; a new fetch may be started. */
typedef void fetch_done_fn(void *owner, uint32_t device, const struct fetch_outcome *outcome);

struct fetcher;

/* `event` is borrowed. slots: how many may be on their way at a time. NULL: no memory. */
struct fetcher *fetcher_create(int epoll_set, const char *event, uint32_t slots,
                               fetch_done_fn *done, void *owner);
void fetcher_destroy(struct fetcher *fetcher); /* what is on its way is dropped without a word */
bool fetcher_is_full(const struct fetcher *fetcher);
/* Not when full. `target` is borrowed until done. A failure is told through done, later. */
void fetcher_start(struct fetcher *fetcher, uint32_t device, const char *cohort,
                   const struct net_target *target, uint32_t source);
void fetcher_ready(struct fetcher *fetcher, uint64_t data); /* epoll said so */
void fetcher_tick(struct fetcher *fetcher,
                  uint64_t now_us); /* now and then: gives up on the silent */
