/* tests/sim/sim_redis.h -- the one Redis of a world: the model, its disk, and the network between
 * it and the nodes. A node has two links, one for calls and one for messages. Answers and messages
 * of a link come in order, but for the faults; a broken link answers everything that waits with "no
 * answer". What a write changed is told to nobody before it is synced, in fsync mode. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/event.h"
#include "tests/sim/model_redis.h"

struct world;
struct node;
struct call;

struct server {
        struct model *model;
        bool is_up, fsync;
        size_t synced;           /* lines of the journal on disk */
        uint64_t life;           /* rises with each crash */
        uint64_t still_until_ms; /* paused, or waiting for its disk */
        uint64_t state;          /* hash of all events, see history.h */
        bool breaks_links; /* a call without an answer in time breaks its link, as in base/redis.c;
                              else it is only given up */
};

enum call_kind { CALL_HEAD, CALL_RANGE, CALL_STATE, CALL_OPEN, CALL_LOOKUP, CALL_APPEND };

/* Called once: answered, or no answer came (outcome unknown). Then the call is gone. */
typedef void call_done_fn(struct world *world, struct call *call, bool answered);

struct call {
        enum call_kind kind;
        call_done_fn *done;
        void *owner;
        unsigned request;
        /* What is asked. */
        seqno from, to; /* RANGE */
        char event[EVENT_ID_MAX + 1],
            key[REQUEST_KEY_MAX + 1]; /* LOOKUP, APPEND; key may be empty */
        char fingerprint[65];         /* APPEND */
        struct event after;           /* APPEND */
        struct signal signal;         /* APPEND */
        uint64_t expected;            /* APPEND */
        bool publish;                 /* APPEND */
        /* The answer. */
        struct token place;     /* HEAD, RANGE, STATE, OPEN */
        struct entry **entries; /* RANGE: references; NULL = one that cannot be read */
        size_t n_entries;
        struct event_state *states; /* STATE: sorted by id */
        size_t n_states;
        enum model_answer answer;     /* APPEND */
        struct token result;          /* APPEND, and LOOKUP of a known key */
        bool has_record, has_request; /* LOOKUP; APPEND that is stale */
        struct event record;
        char known_fingerprint[65]; /* LOOKUP */
        size_t line;                /* of the journal: what a write wrote */
        /* The network's. */
        struct call *next;
        struct node *node;
        uint64_t link;
        unsigned refs;
        bool finished;
};

/* A link as the node's end of it: part of struct node. */
enum link_kind { LINK_CALLS, LINK_MESSAGES, LINKS };
struct links {
        bool up[LINKS];
        uint64_t generation[LINKS];
        uint64_t silent_until_ms;
        uint64_t last_there_ms, last_back_ms, last_message_ms; /* nothing overtakes on one link */
        struct call *waiting;
};

void sim_redis_start(struct world *world);
void sim_redis_fini(struct world *world);

struct call *sim_redis_new_call(enum call_kind kind, call_done_fn *done, void *owner);
/* Takes the call. `done` is never called from inside here. The calls link must be up. */
void sim_redis_call(struct world *world, struct node *node, struct call *call);

void sim_redis_connect(struct world *world, struct node *node); /* a node began: both links */
void sim_redis_cut(struct world *world, struct node *node, enum link_kind kind);
/* Both swallow all for so long; the node notices when nobody answers. */
void sim_redis_silence(struct world *world, struct node *node, uint64_t ms);
/* The node died: nothing comes to it any more; what waits is answered with "no answer". */
void sim_redis_forget(struct world *world, struct node *node);

/* Between sim_redis.c and sim_links.c. */
bool sim_redis_is_silent(const struct world *world, const struct node *node);
void sim_redis_finish_waiting(struct world *world, struct node *node); /* with "no answer" */

/* Between sim_redis.c and sim_redis_book.c: lines that were just written. */
void sim_redis_note_opened(struct world *world, struct model_op *op);
void sim_redis_note_appended(struct world *world, struct model_op *op, const struct call *call,
                             uint64_t state_before);
/* Record and entry as nodes read them: from the text, once for all of them. */
void sim_redis_parse(struct world *world, struct model_op *op);

/* Faults. */
void sim_redis_crash(struct world *world, size_t lines_left); /* and back in a while */
void sim_redis_pause(struct world *world, uint64_t ms);
void sim_redis_wipe(struct world *world, bool only_meta);
void sim_redis_trim(struct world *world);
void sim_redis_heal(struct world *world); /* up again */
