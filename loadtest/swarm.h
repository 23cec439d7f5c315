/* loadtest/swarm.h -- thousands of simulated devices in one process: connects them at a rate,
 * prefetches, follows the log, acknowledges, comes back with full jitter when a connection is lost,
 * as a device would. Whether what it is sent is right is simdevice.h's judgement. One epoll loop;
 * nobody else in the process.
 *
 * A device that has been refused for good (400, 401, 403, 404, 405, 426) gives up; any other keeps
 * trying. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/histogram.h"
#include "loadtest/cohorts.h"
#include "loadtest/model.h"
#include "loadtest/moments.h"
#include "loadtest/net.h"
#include "loadtest/series.h"
#include "loadtest/simdevice.h"
#include "loadtest/witness.h"

#define SWARM_TURNED_BACK_MS 2000
#define SWARM_CHANGES_MAX    1024 /* changes of the event that can be timed in one run */

enum swarm_phase { SWARM_RUN, SWARM_FINISH };

/* Shared by all processes of a run: written by the parent, read by the swarms. */
struct swarm_board {
        _Atomic int phase; /* enum swarm_phase */
        _Atomic uint64_t head_epoch,
            head_seq; /* where every device should be; seq is written last */
        /* The event's version before the run's first change, and when each change was asked for:
         * Unix us, 0 = not yet. Change i makes version base_version + 1 + i; change 0 is the start.
         */
        _Atomic uint64_t base_version;
        _Atomic int64_t asked_us[SWARM_CHANGES_MAX];
        _Atomic uint64_t origin_us;  /* monotonic: where the series begin */
        _Atomic unsigned turns_over; /* processes whose devices have all begun to arrive */
        _Atomic int is_asleep;  /* slow and stuck devices do as their name says; 0: they read */
        _Atomic int is_beside;  /* stages are timed as TIMING_BESIDE */
        _Atomic unsigned churn; /* devices that drop out per minute, in ten-thousandths */
        /* A new round cuts all connections to the target of this index, as if its node had died. */
        _Atomic unsigned cut_target, cut_round;
        /* Devices with this number and above say goodbye, and nothing is expected of them from then
         * on; 0: all stay. Set once. */
        _Atomic uint32_t keep;
        /* So many devices of the lowest numbers drop their connection and do not come back, though
         * they should: what a test loses on purpose. Set once. */
        _Atomic uint32_t lose;
        /* Written by the swarms: when a device was last welcomed for the first time, had its
         * bundle, was in again after it had been away, had told and content together; monotonic us.
         * The processes share that clock, so the latest writer is the latest. */
        _Atomic uint64_t last_welcome_us, last_prefetch_us, last_back_us, last_shown_us;
};

enum swarm_encodings { SWARM_JSON, SWARM_MSGPACK, SWARM_BOTH };

typedef void swarm_sample_fn(void *owner, const struct series_sample *sample);

struct swarm_options {
        uint32_t first, n; /* numbers of its devices */
        uint32_t run;      /* random: makes device ids of two runs different */
        const struct net_target *targets;
        unsigned n_targets;
        const char *event;
        enum swarm_encodings encodings;
        struct cohorts cohorts;
        bool no_ack, no_prefetch;
        bool fetches_at_start;    /* nobody prefetches: all fetch when they are told of the start */
        uint32_t fetch_window_ms; /* prefetch at a random moment in so long after hello */
        uint32_t fetch_slots;     /* fetches at a time; 0 = FETCHER_SLOTS */
        uint32_t late_ms;         /* told so much before the content came: shown late */
        struct model model;
        bool keeps_time;  /* devices have clocks of their own, and act at `at`: swarm_clocks.h */
        uint32_t skew_ms; /* by which these are wrong at most */
        uint64_t connects_per_s; /* 0 = all at once */
        uint32_t window;         /* with a rate: first handshakes on their way at a time; 0 = 512 */
        /* How many of those who come back may be at it at a time; the others look again within
         * SWARM_TURNED_BACK_MS. 0 = any number, which a machine that is too slow for all these
         * devices cannot do: their requests come so late that nodes take them for silent. */
        uint32_t back_window;
        /* Other than 0: those of so many processes arrive at a time, and at one target after the
         * other, so that a small machine does one thing at a time; `turn` is this process's. */
        unsigned in_turn, turn;
        uint64_t seed;
        const char *key; /* Sec-WebSocket-Key of all; NULL: one is drawn */
        struct swarm_board *board;
        uint64_t report_every_ms;   /* 0 = 200 */
        swarm_sample_fn *on_sample; /* NULL: nobody wants series */
        void *sample_owner;
};

struct swarm_counts { /* sums; plain data, goes over a pipe */
        uint64_t devices, started;
        uint64_t connected_once; /* devices that got hello at least once */
        uint64_t open;           /* now */
        uint64_t
            at_head; /* now, of all devices; the board's head_seq was judged_seq then (a sum too) */
        uint64_t judged_seq;
        uint64_t owing; /* now: devices whose ack waits for its moment */
        uint64_t dead;  /* by the model: welcomed once, silent since */
        uint64_t
            excused; /* now: dead, or slow while these sleep: in none of at_head, behind, owing */
        uint64_t told, shown,
            shown_late;        /* of the start: devices; shown: and the content is there */
        uint64_t timed, acted; /* devices with clocks: those that know the node's time, and that have acted */
        uint64_t churned, cut; /* connections that the herd itself broke */
        uint64_t too_slow;     /* closed by a node with 4008 */
        uint64_t gave_up;      /* refused for good */
        uint64_t left; /* now: let go by the board's `keep`: in none of at_head, behind, owing */
        uint64_t prefetched, prefetch_failed;   /* devices; failed: nothing more will be tried */
        uint64_t prefetch_shed, prefetch_again; /* tries: 503 or 429; lost connections */
        uint64_t connects, reconnects, refused, connect_errors, lost_connections, broken;
        uint64_t goaways, closed_by_node, acks, pings;
        uint64_t flawed;       /* devices */
        uint64_t behind;       /* signals not there at the end, of all devices */
        uint64_t proof_failed; /* processes that ran out of memory for their proof */
        uint64_t last_refusal; /* status of the last refused handshake */
        struct simtally tally;
};

enum swarm_timing {
        TIMING_CONNECT, /* from connect() to hello */
        TIMING_PREFETCH,
        TIMING_START, /* from the producer's request to the device */
        TIMING_STAGE,
        TIMING_BESIDE, /* the same, while the board said is_beside */
        TIMING_SHOWN,  /* from the producer's request until a device has signal and content */
        TIMING_BACK,   /* from a lost connection to the next hello */
        TIMINGS
};

struct swarm_result {
        struct swarm_counts counts;
        struct histogram timings[TIMINGS]; /* us */
        struct moments moments; /* devices with clocks: when they acted, counted from the start's `at` */
};

struct swarm;
typedef void swarm_report_fn(void *owner, const struct swarm_counts *counts);

must_check enum err swarm_create(const struct swarm_options *options, swarm_report_fn *report,
                                 void *owner, struct swarm **ret_swarm);
void swarm_destroy(struct swarm *swarm);
/* Until the board says SWARM_FINISH. *ret_result and swarm_seen() are complete then; sockets stay
 * open. */
void swarm_run(struct swarm *swarm, struct swarm_result *ret_result);
const struct witness *swarm_seen(const struct swarm *swarm);
/* Close frames to all, and a few seconds' patience for the answers. */
void swarm_say_goodbye(struct swarm *swarm);
