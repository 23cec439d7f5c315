/* fanout/follower_core.h -- how one node follows the log: each entry once, in order, whatever pub/sub
 * loses, repeats or reorders. Pure: step(state, input, now) -> actions. follower.c is the shell that talks
 * to Redis; the simulation drives this core directly.
 *
 * Pub/sub only wakes us. Order comes from the numbers, truth from the log: whatever is not exactly
 * head + 1 with our tag as its prev is not kept, but read back from the log (NAK repair, as in RFC 3208).
 * The head is asked for once a second, so a lost last message is found.
 *
 * Happy path: LINK up -> READ_STATE -> STATE -> INSTALL -> message head+1 -> DELIVER.
 * Gap: message or head beyond head+1 -> READ_RANGE -> range reply -> DELIVER in order, again while behind.
 * Fork: another epoch, or our number with another tag, or a head below ours -> READ_STATE -> INSTALL anew;
 *   sessions then judge their cursors against the new ring. Never a silent jump. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/entry.h"
#include "proto/token.h"

#define FOLLOWER_HEAD_EVERY_MS 1000
#define FOLLOWER_REPLY_WAIT_MS 2000 /* a request unanswered for so long is given up and asked anew */
#define FOLLOWER_STALE_MS      2000 /* no confirmed head for so long: stale (contract line 8) */
#define FOLLOWER_RANGE_COUNT   512  /* entries per range read */

enum follower_input_kind {
        FOLLOWER_LINK_UP,   /* commands can be sent and the channel is subscribed */
        FOLLOWER_LINK_DOWN,
        FOLLOWER_MESSAGE,   /* entries[0], n = 1 */
        FOLLOWER_RANGE,     /* entries from..from+n-1 as the log has them; n < COUNT = that was the end */
        FOLLOWER_HEAD,      /* token */
        FOLLOWER_STATE,     /* token: the place of a state read; the shell holds the state itself */
        FOLLOWER_FAILED,    /* the request outstanding got no answer or an error */
        FOLLOWER_TICK
};

struct follower_input {
        enum follower_input_kind kind;
        struct entry *const *entries; /* borrowed */
        size_t n;
        struct token token;
};

/* What the shell must do, in this order. At most one request is outstanding at a time. */
struct follower_actions {
        bool install;          /* take the state just read as the truth; the ring restarts at its token */
        size_t deliver_from, deliver_n; /* of the input's entries: push these, in order */
        enum { FOLLOWER_ASK_NOTHING, FOLLOWER_ASK_STATE, FOLLOWER_ASK_HEAD, FOLLOWER_ASK_RANGE } ask;
        seqno range_from;      /* ASK_RANGE: read COUNT entries from this number */
        bool confirmed;        /* our head was just confirmed to be the log's head */
};

struct follower_core {
        struct token head;        /* delivered up to here; epoch 0 = nothing installed yet */
        bool link_up, caught_up;
        int asking;               /* outstanding request, of the ASK_ kinds */
        uint64_t asked_ms, next_head_ms;
        uint64_t confirmed_ms;    /* when the log's head was last known to be ours */
        seqno seen;               /* highest number heard of: more than head.seq = there is a gap */
        bool distrust;            /* something did not fit: read the state as soon as the link allows */
        uint64_t gaps, repeats, forks; /* counted for metrics */
};

void follower_core_init(struct follower_core *core);
void follower_step(struct follower_core *core, const struct follower_input *input, uint64_t now_ms,
                   struct follower_actions *ret_actions);
/* No confirmed head within FOLLOWER_STALE_MS: say so in readiness and metrics. */
bool follower_is_stale(const struct follower_core *core, uint64_t now_ms);
