/* tests/sim/sim_redis.h -- the Redis servers of a world: one primary and up to two replicas; the
 * model, its disk, and the network between servers and nodes. A node has three links: one for
 * following, one for messages, one for writing; each finds a primary by itself. Answers and
 * messages of a link come in order, but for the faults; a broken link answers everything that waits
 * with "no answer". What a write changed is told to nobody before it is synced, unless the mode is
 * memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/durability.h"
#include "fanout/event.h"
#include "tests/sim/model_redis.h"
#include "tests/sim/faults.h"

#define SERVERS_MAX 3

struct world;
struct node;
struct call;

struct server {
        unsigned index;
        struct model *model;
        bool is_up;
        bool is_primary;         /* says so itself: two do while the brain is split */
        size_t synced;           /* lines of the journal on disk */
        uint64_t life;           /* rises with each crash */
        uint64_t still_until_ms; /* paused, or waiting for its disk */
        uint64_t hurt_ms;        /* when it last lost something, or became another one's */
        uint64_t promoted_ms;
        /* As a replica. */
        unsigned master;
        uint64_t stream;           /* rises with each resync; else nothing of the old one counts */
        uint64_t stalled_until_ms; /* nothing comes through from the master */
        uint64_t last_stream_ms;   /* nothing overtakes */
        size_t known;              /* lines that the master knows it has */
        /* As a primary. */
        struct call *waits; /* calls of WAIT that still wait */
};

enum call_kind {
        CALL_HEAD,
        CALL_RANGE,
        CALL_STATE,
        CALL_RENEW,
        CALL_HELD, /* as CALL_TAIL, on the way that CALL_HEAD goes */
        CALL_LOOKUP,
        CALL_APPEND,
        CALL_WAIT, /* a small write, and WAIT behind it */
        CALL_RELEASE,
        CALL_TAIL
};

/* Called once: answered, or no answer came (outcome unknown). Then the call is gone. */
typedef void call_done_fn(struct world *world, struct call *call, bool answered);

struct call {
        enum call_kind kind;
        call_done_fn *done;
        void *owner;
        unsigned request;
        /* What is asked. */
        struct token witness; /* HEAD, RANGE, STATE, RENEW, APPEND; RELEASE: the entry */
        seqno from, to;       /* RANGE */
        char event[EVENT_ID_MAX + 1],
            key[REQUEST_KEY_MAX + 1];  /* LOOKUP, APPEND; key may be empty */
        char fingerprint[65];          /* APPEND */
        struct signal signal;          /* APPEND */
        const struct target *target;   /* APPEND; lives for ever */
        uint64_t expected;             /* APPEND: version; RENEW: epoch */
        uint64_t fresh;                /* RENEW: epoch */
        bool publish;                  /* APPEND */
        struct model_record **records; /* RENEW: what the node knows better; STATE: the answer */
        size_t n_records;              /* references */
        unsigned wait_ms;              /* WAIT */
        /* The answer. */
        bool refused;           /* it is a replica, and does no writes; nothing was changed */
        struct place place;     /* HEAD, RANGE, STATE, RENEW */
        bool lost;              /* STATE; RELEASE; TAIL: held */
        struct entry **entries; /* RANGE: references; NULL = one that cannot be read */
        size_t n_entries;
        enum model_answer answer;     /* APPEND */
        enum model_renewal renewal;   /* RENEW */
        struct token result;          /* APPEND, TAIL, and LOOKUP of a known key */
        bool has_record, has_request; /* LOOKUP; APPEND that is stale */
        bool is_held;                 /* LOOKUP, TAIL, HELD */
        char known_fingerprint[65];   /* LOOKUP */
        unsigned replicas;            /* WAIT: how many have it */
        size_t line;                  /* of the journal: what a write wrote */
        struct entry **tell; /* APPEND, RELEASE: to publish; references, NULL = unreadable */
        size_t n_told;
        /* The network's. */
        struct call *next, *next_wait;
        struct node *node;
        unsigned server;
        uint64_t link, life;
        unsigned refs;
        bool finished;
        /* Large, and not zeroed when the call is made. */
        struct event after;  /* APPEND */
        struct event record; /* has_record */
        struct event known;  /* LOOKUP, APPEND: what an earlier one with this key made */
};

/* A link as the node's end of it: part of struct node. */
enum link_kind { LINK_CALLS, LINK_MESSAGES, LINK_WRITES, LINKS };
struct links {
        bool up[LINKS];
        unsigned server[LINKS];
        uint64_t since_ms[LINKS]; /* it came up */
        uint64_t generation[LINKS];
        uint64_t silent_until_ms;
        uint64_t last_there_ms[LINKS], last_back_ms[LINKS]; /* nothing overtakes on one link */
        struct call *waiting;
        unsigned believes; /* which server is the primary, as far as this node was told */
};

void sim_redis_start(struct world *world);
void sim_redis_fini(struct world *world);
struct server *sim_redis_primary(struct world *world); /* of whom the sentinels say so */

struct call *sim_redis_new_call(enum call_kind kind, call_done_fn *done, void *owner);
/* Takes the call. `done` is never called from inside here. Its link must be up. */
void sim_redis_call(struct world *world, struct node *node, struct call *call);
enum link_kind sim_redis_link_of(enum call_kind kind);

void sim_redis_connect(struct world *world, struct node *node); /* a node began: all links */
void sim_redis_cut(struct world *world, struct node *node, enum link_kind kind);
/* All swallow everything for so long; the node notices when nobody answers. */
void sim_redis_silence(struct world *world, struct node *node, uint64_t ms);
/* The node died: nothing comes to it any more; what waits is answered with "no answer". */
void sim_redis_forget(struct world *world, struct node *node);

/* Between sim_redis.c, sim_calls.c and sim_links.c. */
bool sim_redis_is_silent(const struct world *world, const struct node *node);
/* With "no answer". */
void sim_redis_finish_waiting(struct world *world, struct node *node, enum link_kind kind);
void sim_redis_cut_all(struct world *world, unsigned server); /* of one server */
uint64_t sim_redis_travel(struct world *world, uint64_t *last_ms, enum fault late);
void sim_redis_carry_out(struct world *world, struct call *call);
void sim_redis_answer(struct world *world, struct call *call);
void sim_redis_wrote(struct world *world, struct call *call); /* sync, then tell */
void sim_redis_hold_call(struct call *call);                  /* one more reference */
void sim_redis_unref_call(void *load);

/* Between those and sim_redis_book.c: a line that was just written, or taken over, or lost. */
void sim_book_line(struct world *world, struct server *server, struct model_op *op,
                   const struct call *call);
void sim_book_parse(struct world *world, struct model_op *op, const struct signal *signal,
                    const struct target *to);
struct model_record *sim_book_record(const struct event *event, const char *text);
/* What of the journal the server has now: after it was cut, or had another one written over it. */
void sim_book_again(struct world *world, struct server *server);
void sim_book_lost(struct world *world, struct server *server, size_t lines_left, bool rolled_back);
void sim_book_will_be_wiped(struct world *world, struct server *server);
void sim_book_is_on_disk(struct world *world, struct server *server); /* what it has */
void sim_book_promoted(struct world *world, struct server *server);

/* Replication (sim_replication.c). */
void sim_replication_wrote(struct world *world, struct server *server);
void sim_replication_attach(struct world *world, struct server *replica, struct server *master);
void sim_replication_attach_all(struct world *world, struct server *master);
void sim_replication_wait(struct world *world, struct call *call);
void sim_replication_forget_waits(struct server *server);
void sim_replication_failover(struct world *world); /* a replica is promoted, lagging or not */
void sim_replication_heal(struct world *world);     /* one primary, and all others follow it */

/* Faults. */
void sim_redis_crash(struct world *world, struct server *server, size_t lines_left,
                     bool rolled_back); /* and back in a while */
void sim_redis_pause(struct world *world, struct server *server, uint64_t ms);
void sim_redis_wipe(struct world *world, struct server *server, bool only_meta);
void sim_redis_trim(struct world *world, struct server *server);
void sim_redis_heal(struct world *world); /* all up again */
