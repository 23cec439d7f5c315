/* gateway/worker_inside.h -- what the files that make up a worker share; nobody else includes it.
 * All of it belongs to the worker's thread, but for the two atomics. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <event2/util.h>

#include "base/mailbox.h"
#include "base/rng.h"
#include "base/wheel.h"
#include "fanout/ring.h"
#include "gateway/admission.h"
#include "gateway/audience.h"
#include "gateway/broadcast.h"
#include "gateway/conn.h"
#include "gateway/drain.h"
#include "gateway/ladder.h"
#include "gateway/listener.h"
#include "gateway/message_limit.h"
#include "gateway/overload.h"
#include "gateway/poller.h"
#include "gateway/pool.h"
#include "gateway/pump.h"
#include "gateway/roster.h"
#include "gateway/sender.h"
#include "gateway/tally.h"
#include "gateway/worker.h"
#include "gateway/worker_devices.h"
#include "prefetch/cache.h"

#define WORKER_HANDSHAKE_MS 5000 /* from accept to a whole head, however slowly it drips */
#define WORKER_HANDSHAKES   16384 /* in line at most, if nobody says */
#define WORKER_RECV_SIZE    16384
#define WORKER_COMPOSE_SIZE 16384

struct worker {
        struct worker_options options;
        struct session_config session_config;
        struct lifetime lifetime; /* windows around the starts in `snapshot` */
        uint64_t start_ms; /* monotonic: the sessions' clock counts from here */
        uint64_t now_ms;   /* monotonic, read at the beginning of a turn */
        struct rng rng;

        struct event_base *base;
        struct mailbox *mailbox;
        struct poller *poller;
        struct listener *listener; /* NULL once drained */
        struct event *on_tick;     /* every WHEEL_TICK_MS, while a timer runs */
        bool is_ticking;
        unsigned ticks;
        struct wheel wheel;
        struct ladder ladder; /* what is shed at present; moved by overload.c alone */
        struct overload overload;
        struct cache *cache; /* NULL: no loader was given */

        struct ring *ring, *spare; /* spare: empty, for the next install */
        struct snapshot *snapshot; /* the state at ring's head; NULL before the first install */
        uint64_t confirmed_ms[2];  /* when the head was confirmed last, and before that */

        struct conn **conns; /* the sessions, dense: what broadcast walks */
        uint32_t n_conns, conns_size;
        uint32_t in_phase[CONN_PHASES]; /* sockets by phase */
        uint32_t n_waiting; /* upper bound of sessions in SESSION_WAITING since the last walk */
        struct conn *dead;
        struct admission admission; /* who may come in; who of those in HEAD waits */
        struct broadcast broadcast;
        struct sender *sender; /* NULL: send() */

        struct roster roster; /* device id -> place in conns[]; empty unless one_per_device */
        struct worker_devices devices_roll; /* who came and went; worker_devices.c */
        struct message_limit message_limit;

        struct audiences *audiences; /* the sorts of devices that are here */
        struct pump_joined joined;

        struct tally tally;     /* for the delivery report */
        struct event *on_tally; /* hands it over; runs while there is news */
        bool is_telling;

        bool is_draining, is_stopping;
        struct drain drain;
        uint32_t drain_left; /* conns[] below this have not been told yet */
        struct event *on_drain;

        struct pool pool;
        struct block *frame; /* WebSocket input that comes whole */
        uint8_t recv[WORKER_RECV_SIZE];
        char compose[WORKER_COMPOSE_SIZE];

        pthread_t thread;
        uint16_t port;            /* as bound */
        _Atomic uint32_t ns_per_device; /* measured by broadcast.c, for the control thread */
        _Atomic uint64_t devices; /* n_conns, for the control thread */
        _Atomic bool is_empty;
};

/* The sessions' clock. */
static inline uint32_t worker_now(const struct worker *worker)
{
        return (uint32_t)(worker->now_ms - worker->start_ms);
}

/* --- worker_letters.c, for worker.c */

void worker_letters_drain(evutil_socket_t fd, short what, void *arg); /* one slice; runs on_drain */
void worker_letters_stop(struct worker *worker);  /* control thread: close all, end the loop */
void worker_letters_tally(struct worker *worker); /* to the control thread: what was counted */
