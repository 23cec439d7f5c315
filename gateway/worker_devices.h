/* gateway/worker_devices.h -- what a worker and the control thread tell each other about single
 * devices: who came and who went (the roll), who is asked for, who has been replaced.
 *
 * The roll. conns[] below `n_known` have been told to the control thread, those from there on have
 * not: who comes is appended, so nothing is kept per session. A roll has the next of them, and some
 * who left since they were told; the next follows when the control thread says so (worker_go_on),
 * and never within 50 ms. So a herd that comes back is a queue without memory of its own, and who
 * leaves before its turn costs nothing. worker_go_on(again) begins anew with everybody: after a
 * Redis that was away.
 *
 * One session per device. Within a worker the newer one ends the older at once. Between workers
 * each compares the others' rolls with its own sessions, and ends what is older. Which of two is
 * newer, all decide alike: the later `since_ms`, then the greater session. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/metrics.h"
#include "fanout/device.h"
#include "gateway/conn.h"
#include "gateway/worker.h"

#define ROLL_EVERY_MS 50
/* Told a second, by all workers of a node together; each is a write to Redis. */
#define ROLL_PER_SECOND 2000
/* Who left, was told before, and has not been told of since; beyond it their records expire by
 * themselves. */
#define ROLL_LEFT_MAX 1024

struct worker_roll_row {
        uint64_t session;
        uint64_t since_ms; /* monotonic, of this machine: when it came */
        char device[DEVICE_ID_MAX + 1];
};

struct worker_roll {
        struct letter letter;
        worker_roll_fn *on_roll;
        unsigned worker; /* index */
        unsigned n_came, n_left;
        struct worker_roll_row rows[]; /* those who came, then those who left */
};

/* A question, posted to one worker; it comes back to the control thread with the answer in it.
 * `query` stays as it is until then. */
struct worker_errand {
        struct letter letter;
        struct mailbox *control;
        void (*on_answer)(void *owner, struct worker_errand *errand); /* owner: the mailbox's */
        void *asking;                                                 /* the asker's own */
        const struct device_query *query;
        struct device_answer answer;
        uint64_t since_ms; /* HERE: monotonic: when it came */
};

/* --- control thread */

void worker_go_on(struct worker *worker, bool again);
void worker_compare(struct worker *worker, const struct worker_roll *roll);
void worker_ask(struct worker *worker,
                struct worker_errand *errand); /* its memory is the worker's until it is back */

/* --- worker's thread; for conn.c, session_io.c and worker.c */

struct worker_left;

struct worker_devices {
        uint32_t n_known;                     /* conns[] below this have been told */
        struct worker_left *left, **left_end; /* who left, oldest first */
        uint32_t n_left;
        bool is_out;      /* a roll is with the control thread */
        bool is_waiting;  /* the timer runs */
        uint64_t told_ms; /* monotonic: the last roll */
        struct event *timer;
};

must_check enum err worker_devices_init(struct worker *worker);
void worker_devices_fini(struct worker *worker);
/* A session has begun: who had this device id before is ended. */
void worker_devices_came(struct worker *worker, struct conn *conn);
/* It ends, and leaves its place. True: it was known, so its place is filled by the last known one
 * first. */
bool worker_devices_goes(struct worker *worker, const struct conn *conn, enum close_reason reason);
void worker_devices_turn(struct worker *worker); /* the turn ends: is there anything to tell? */

extern struct metric m_replaced, m_device_messages; /* devices.c registers them */
