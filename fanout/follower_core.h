/* fanout/follower_core.h -- how one node follows the log: each entry once, in order, whatever pub/sub
 * loses, repeats or reorders. Pure: step(state, input, now) -> actions. follower.c is the shell that talks
 * to Redis; the simulation drives this core directly.
 *
 * Pub/sub only wakes us. Order comes from the numbers, truth from the log: whatever is not exactly
 * head + 1 with our tag as its prev is not kept, but read back from the log (NAK repair, as in RFC 3208).
 * The head is asked for once a second, so a lost last message is found.
 *
 * Happy path: LINK up -> ASK_STATE -> STATE -> install -> ASK_HEAD -> confirmed -> message head+1 -> deliver.
 * Gap: message or head beyond head+1 -> ASK_RANGE -> deliver in order, again while behind -> ASK_HEAD.
 * Doubt: a message of another history (epoch, tag) -> ASK_HEAD. A message may be old; it proves nothing.
 * Broken: the log itself says another epoch, another tag at our number, fewer entries than we had when we
 *   asked, or no longer has our next entry (trimmed, unreadable) -> ASK_STATE -> install anew. Sessions then
 *   judge their cursors against the new ring. Never a silent jump, and never an install on a mere suspicion.
 *   Never backwards either: a state of an earlier epoch, or of an earlier place in ours, counts as no answer. The
 *   shell sees to it that a log that lost something is renewed (fanout/EPOCHS.md), and so leads forward again.
 * Failure: no answer -> asked anew; link down -> everything waits, nothing is forgotten. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/entry.h"
#include "proto/token.h"

#define FOLLOWER_HEAD_EVERY_MS  1000
#define FOLLOWER_REPLY_WAIT_MS  2000  /* a request unanswered for so long is given up and asked anew */
#define FOLLOWER_STATE_WAIT_MS  30000 /* the same for a state, which the shell reads in many steps */
#define FOLLOWER_STATE_EVERY_MS 500   /* states are asked for no faster than this */
#define FOLLOWER_RETRY_MS       250   /* after an error reply: no hot loop against a sick Redis */
#define FOLLOWER_STALE_MS       2000  /* no confirmed head for so long: stale (contract line 8) */
#define FOLLOWER_RANGE_COUNT    512   /* entries per range read */
#define FOLLOWER_TRAIL          512   /* entries delivered between question and answer that can be compared */

enum follower_input_kind {
        FOLLOWER_LINK_UP,   /* commands can be sent and the channel is subscribed */
        FOLLOWER_LINK_DOWN,
        FOLLOWER_MESSAGE,   /* entries[0], n = 1; n = 0: one came that cannot be read */
        FOLLOWER_HEAD,      /* request; token: where the log ends */
        FOLLOWER_RANGE,     /* request; token as for HEAD, read in the same moment as the entries: those from
                             * the number asked for, in order, up to the first that cannot be read */
        FOLLOWER_STATE,     /* request; token: the place of a state read; the shell holds the state itself */
        FOLLOWER_FAILED,    /* request: it got no answer or an error */
        FOLLOWER_TICK
};

struct follower_input {
        enum follower_input_kind kind;
        struct entry *const *entries; /* borrowed */
        size_t n;
        struct token token;
        unsigned request; /* which one this answers: answers to requests given up are ignored */
};

enum follower_ask { FOLLOWER_ASK_NOTHING, FOLLOWER_ASK_STATE, FOLLOWER_ASK_HEAD, FOLLOWER_ASK_RANGE };

/* What the shell must do, in this order. At most one request is outstanding at a time. */
struct follower_actions {
        bool install;          /* take the state just read as the truth; the ring restarts at its token */
        size_t deliver_from, deliver_n; /* of the input's entries: push these, in order */
        bool confirmed;        /* our head was the log's head when we asked */
        enum follower_ask ask;
        unsigned request;      /* goes with the answer */
        seqno range_from;      /* ASK_RANGE: read COUNT entries from this number */
};

enum follower_trust {
        FOLLOWER_SURE,  /* nothing speaks against our history being the log's */
        FOLLOWER_DOUBT, /* a message did not fit: ask the log's head before its time */
        FOLLOWER_BROKEN /* the log itself says otherwise, or nothing is installed yet: only a state helps */
};

struct follower_core {
        struct token head;        /* delivered up to here; epoch 0 = nothing installed yet */
        bool link_up, caught_up;
        enum follower_trust trust;
        enum follower_ask asking; /* the request outstanding */
        unsigned request;         /* its number; or that of the last one */
        struct token asked_at;    /* our head when it was sent: what moved since came by messages */
        uint64_t trail[FOLLOWER_TRAIL]; /* tags of what was delivered since: of asked_at.seq + 1 and on */
        struct token vouched;     /* a producer was told that this is in the log; epoch 0 = nothing beyond head */
        bool is_vouched_asked;    /* the question outstanding was sent after that */
        uint64_t asked_ms, retry_ms, next_head_ms, next_state_ms;
        uint64_t confirmed_ms;    /* when the log's head was last known to be ours */
        seqno seen;               /* highest number heard of: more than head.seq = there is a gap */
        seqno seen_since;         /* the same, of messages since the request outstanding was sent */
        uint64_t gaps, repeats, forks; /* counted for metrics; forks: installs but the first */
};

void follower_core_init(struct follower_core *core);
void follower_step(struct follower_core *core, const struct follower_input *input, uint64_t now_ms,
                   struct follower_actions *ret_actions);
/* The shell could not carry out a delivery or an install (no memory): read the state anew. Nothing is
 * skipped, since the state's entries hold what was not passed on. */
void follower_core_distrust(struct follower_core *core);
/* This node told a producer that `token` is committed. The log must have it from now on, although it has not
 * come to us yet: else a loss that nobody saw would never be told. `is_replay`: found by its request key, not
 * appended with our witness. */
void follower_core_vouch(struct follower_core *core, const struct token *token, bool is_replay);
/* The latest place the log must have as far as this node knows: its head, or what it vouched for. Goes with
 * every question and every append (fanout/EPOCHS.md, witness). */
const struct token *follower_core_witness(const struct follower_core *core);
/* No confirmed head within FOLLOWER_STALE_MS: say so in readiness and metrics. */
bool follower_is_stale(const struct follower_core *core, uint64_t now_ms);
