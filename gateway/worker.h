/* gateway/worker.h -- one thread, one libevent loop, one listening socket (SO_REUSEPORT), its own ring,
 * wheel and bundle cache: shares nothing with other workers but immutable entries, snapshots and bodies.
 * Device sockets sit in an epoll set of the worker's own (poller.h), which the loop watches as one
 * descriptor: a session then costs no struct event. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "fanout/entry.h"
#include "fanout/presence.h"
#include "fanout/report.h"
#include "fanout/snapshot.h"
#include "gateway/address.h"
#include "gateway/admission.h"
#include "gateway/door.h"
#include "gateway/ladder.h"
#include "gateway/sender.h"
#include "prefetch/loader.h"
#include "proto/names.h"

struct worker;

/* What this worker counted for these signals since the last call: to be added up. `owner` is the mailbox's;
 * runs on its thread. */
typedef void worker_tally_fn(void *owner, const struct report_part *parts, size_t n);

/* Who came and who went (worker_devices.h); `roll` becomes the owner's, to be freed. */
struct worker_roll;
typedef void worker_roll_fn(void *owner, struct worker_roll *roll);

/* The sorts of devices this worker has, PRESENCE_AUDIENCES_MAX at most, those with most, in no order; `others`
 * is how many devices are of the rest. `owner` is the mailbox's; runs on its thread. */
typedef void worker_audiences_fn(void *owner, unsigned index, const struct presence_audience *rows,
                                 size_t n, uint64_t others);

struct worker_options {
        unsigned index;
        const char *host; /* address to listen on */
        uint16_t port;
        char node[NODE_NAME_MAX + 1];
        uint32_t ping_ms, lifetime_ms, ack_spread_ms;
        uint32_t dead_after_ms; /* a peer that vanished is freed within this; 0 = 45 s */
        uint32_t guard_ms; /* no session ends by itself so close to a planned start; 0 = no matter */
        uint64_t max_devices; /* share of this worker */
        uint32_t prefetch_rate; /* requests a second that devices are asked to keep below; 0 = WINDOW_RATE_DEFAULT */
        const _Atomic uint64_t *expected; /* its share of the fleet's devices, kept up to date; NULL = not known */
        size_t ring_capacity; /* 0 = RING_CAPACITY_DEFAULT */
        size_t ring_capacity_max; /* young entries may make it grow so far (ring.h); 0 = not at all */
        struct door_rules rules;
        struct loader *loader; /* borrowed, outlives the worker; NULL: every prefetch is answered 503 */
        uint32_t handshake_ms; /* from accept to a whole request head; 0 = 5 s */
        struct admission_limits admission; /* of this worker; handshakes 0 = WORKER_HANDSHAKES */
        const struct address_ranges *proxies; /* who must send a PROXY header; borrowed; NULL = nobody */
        enum sender_io io;       /* how broadcasts are sent */
        /* Tests: may change what the gauges say, before the ladder sees it; NULL: nothing. The worker's
         * thread. */
        void (*read_gauges)(void *arg, struct ladder_reading *reading);
        void *gauges_arg;
        struct mailbox *control; /* borrowed, outlives the worker; NULL: nobody asks what was counted */
        worker_tally_fn *on_tally;
        /* The same device id again ends the session before it (4009), and devices can be looked up. Off, an
         * id may be used by any number, as some tests do. */
        bool one_per_device;
        worker_audiences_fn *on_audiences; /* answers worker_ask_audiences; NULL: nobody asks */
        worker_roll_fn *on_roll; /* NULL: nobody asks who is here */
        unsigned roll_max;       /* who came, and who left, in one of them at most */
};

/* Listens, starts the thread. Until the first install devices are refused with 503. On ERR_IO *ret_why is
 * a sentence (address in use, no io_uring where `io` insists on it ...). Control thread, as all below. */
must_check enum err worker_create(const struct worker_options *options, struct worker **ret_worker,
                                  const char **ret_why);
uint16_t worker_port(const struct worker *worker); /* as bound: tells what port 0 became */

/* From the follower's callbacks; references are taken. */
void worker_install(struct worker *worker, struct snapshot *snapshot, struct entry *const *entries, size_t n);
void worker_entries(struct worker *worker, struct entry *const *entries, size_t n, struct snapshot *snapshot);
void worker_confirmed(struct worker *worker);

enum ladder_step worker_overload(const struct worker *worker); /* relaxed, as is the next */
uint32_t worker_gauge(const struct worker *worker, enum ladder_gauge gauge); /* last reading */
void worker_ask_audiences(struct worker *worker); /* on_audiences is called later */
/* What telling one device took in the broadcasts of late, smoothed, in ns of wall time; 0 = not measured yet. */
uint32_t worker_ns_per_device(const struct worker *worker);
uint64_t worker_devices(const struct worker *worker); /* sessions held; relaxed read of an atomic */
uint32_t worker_prefetch_ms(const struct worker *worker); /* any thread: what hello says at present */

/* Stop accepting, tell the devices `goaway drain` one after the other over `over_ms` (drain.h), close with
 * 1012 by `within_ms` who did not leave. worker_is_empty turns true when all have gone, and the letter with
 * the last counts is posted. Once more: those that were not told yet at this pace, all by this time. */
void worker_drain(struct worker *worker, uint32_t within_ms, uint32_t over_ms);
bool worker_is_empty(const struct worker *worker);
void worker_destroy(struct worker *worker); /* closes what is left, joins the thread */
