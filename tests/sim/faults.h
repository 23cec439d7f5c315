/* tests/sim/faults.h -- what may go wrong. Each seed switches a random part of the list on, with
 * random rates ("swarm testing": a run in which everything goes wrong at once never gets far enough
 * to find what one fault alone does over and over). Rates are per thousand opportunities. */
#pragma once

#include <stdbool.h>

struct world;

/*        name                  opportunity */
#define FAULTS(X)                                                                                 \
        X(FAULT_MESSAGE_DROP) /* a message to one node */                                         \
        X(FAULT_MESSAGE_DOUBLE)                                                                   \
        X(FAULT_MESSAGE_LATE) /* so late that others overtake it */                               \
        X(FAULT_REPLY_DROP)   /* an answer of Redis to one node */                                \
        X(FAULT_REPLY_DOUBLE)                                                                     \
        X(FAULT_REPLY_LATE)                                                                       \
        X(FAULT_DISK_SLOW)   /* a write: Redis stands still until it is on disk */                \
        X(FAULT_UNREADABLE)  /* an append: its entry cannot be read by our nodes */               \
        X(FAULT_WORKER_SLOW) /* a letter to a worker */                                           \
        X(FAULT_SOCKET_LOST) /* a frame: the connection breaks instead */                         \
        X(FAULT_REPLICA_LAG) /* a write: a replica hears of it late, and of all after it */       \
        /* From here on the opportunity is the nemesis' turn, a few times a second. */            \
        X(FAULT_LINK_CUT)                                                                         \
        X(FAULT_LINK_SILENT) /* a link swallows everything for a while */                         \
        X(FAULT_NODE_CRASH)                                                                       \
        X(FAULT_NODE_DRAIN)                                                                       \
        X(FAULT_REDIS_CRASH) /* keeps what is synced: all of it but in memory mode */             \
        X(FAULT_REDIS_PAUSE)                                                                      \
        X(FAULT_REDIS_ROLLBACK) /* comes back with older data, whatever the mode promised */      \
        X(FAULT_REDIS_WIPE)                                                                       \
        X(FAULT_REDIS_LOSE_META)                                                                  \
        X(FAULT_REDIS_TRIM)                                                                       \
        X(FAULT_REPLICA_STALL) /* it hears nothing for a while */                                 \
        X(FAULT_REPLICA_CRASH)                                                                    \
        X(FAULT_FAILOVER)   /* a replica is promoted; the old primary may live on, split brain */ \
        X(FAULT_CLOCK_JUMP) /* a wall clock, of a node or a device */                             \
        X(FAULT_DEVICE_SLOW)                                                                      \
        X(FAULT_DEVICE_CUT)                                                                       \
        X(FAULT_DEVICE_AWAY)                                                                      \
        X(FAULT_DEVICE_RESTART) /* with its token and state, or as a new one */                   \
        X(FAULT_DEVICE_GARBAGE) /* a token that is no token */

enum fault {
#define X(name) name,
        FAULTS(X)
#undef X
            FAULT_KINDS
};
#define FAULT_FIRST_OF_NEMESIS FAULT_LINK_CUT

struct faults {
        unsigned rate[FAULT_KINDS]; /* 0 = switched off */
};

void faults_draw(struct world *world);
/* Does it go wrong this time? Never in the quiet after. */
bool faults_strike(struct world *world, enum fault fault);
/* May this run lose committed signals, or epochs? */
bool faults_may_lose(const struct world *world);
void faults_print(const struct world *world);
/* Begins the nemesis' turns, and the quiet at the end of them. */
void faults_start(struct world *world);
