/* loadtest/play.h -- what scenarios are made of: nodes, an event, a herd, signals, waiting, and the
 * proof at the end. While anything here waits, the herd's reports are taken in, the nodes are
 * watched, signals that go out by themselves go out, and progress is shown. Main thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loadtest/account.h"
#include "loadtest/admin.h"
#include "loadtest/fleet.h"
#include "loadtest/nodes.h"
#include "loadtest/progress.h"
#include "loadtest/scenario.h"

struct play {
        const struct wishes *wishes;
        struct account *account;
        struct nodes *nodes; /* ours; NULL: they are others' */
        struct net_target targets[NET_TARGETS_MAX];
        unsigned n_targets;
        struct fleet *fleet;
        struct admin admin;
        struct swarm_options swarm; /* as the fleet was started */
        char event[EVENT_ID_MAX + 1];
        uint64_t version; /* of the event */
        int64_t lead_ms;  /* so long before its moment the start is announced; 0: it is for now */
        unsigned changes; /* asked for so far */
        bool is_broken;   /* a process of the herd ended early */
        bool is_held;     /* it stays until Ctrl-C: that is then its proper end */
        uint64_t origin_us, watch_ms;
        /* Signals by themselves: the next is due then; 0: none. */
        uint64_t due_ms, every_ms;
        bool at_random; /* exponential with that mean */
        struct rng rng;
        struct progress progress;
};

/* A scenario's own changes to what the wishes say of the devices. NULL: none. */
typedef void play_adjust_fn(const struct wishes *wishes, struct swarm_options *options);

/* ERR_INVALID, and account->why, if nodes of ours could not hold the devices when only `left` of
 * them are there. */
must_check enum err play_check_room(const struct wishes *wishes, unsigned left,
                                    struct account *account);
/* Starts or finds the nodes, makes or finds the event, starts the herd: devices begin to connect.
 * On an error account->why tells, and nothing is left behind. `play` is the caller's memory; OK
 * means that play_close must follow. */
must_check enum err play_open(struct play *play, const struct wishes *wishes,
                              struct account *account, play_adjust_fn *adjust);
/* Everybody is up to date, which is proved against the log; herd and own nodes end; figures that
 * all scenarios have are in the account. */
void play_close(struct play *play);

/* Is there any point in going on? False after Ctrl-C, a failed signal, a herd that broke. */
bool play_goes_on(const struct play *play);
double play_s(const struct play *play); /* since the origin */
struct swarm_counts play_counts(const struct play *play);
struct swarm_board *play_board(struct play *play);
void play_mark(struct play *play, const char *label);
/* The same, and this is the moment the scenario is about. */
void play_zero(struct play *play, const char *label);

typedef bool play_done_fn(const struct play *play, const struct swarm_counts *counts, void *arg);
/* Until done, or --timeout without any progress. False when it ended without being done. */
bool play_wait(struct play *play, const char *what, play_done_fn *done, void *arg);
void play_pass(struct play *play, const char *what, int64_t ms); /* lets so long go by */
bool play_all_up_to_date(const struct play *play, const struct swarm_counts *counts, void *unused);
/* All have connected and, where they are to, prefetched. */
bool play_connect(struct play *play);
/* The start (stage NULL) or a stage; returns when the node has answered. */
bool play_signal(struct play *play, const char *stage);
/* The same, and waits until all devices have it. */
bool play_tell(struct play *play, const char *stage);
/* From now on signals go out by themselves, `every_ms` apart; 0: no more. */
void play_signals(struct play *play, uint64_t every_ms, bool at_random);
