/* gateway/devices.h -- single devices, on the control thread: joins what the workers know
 * (worker_devices.h) with what other nodes know (fanout/courier.h). Keeps no list of devices of its
 * own.
 *
 *   worker ──roll──► the other workers, which end older sessions of the same devices
 *              └───► registry in Redis; who came later elsewhere, as it says, is asked for,
 *                    and if it is there, ours is ended
 *   courier ──question──► every worker ──answer──► courier
 *
 * A roll is answered (worker_go_on) when Redis has taken it, so a slow Redis slows the rolls and
 * nothing waits here. If Redis did not take it, or the link comes up anew, the workers tell
 * everybody again, at the same pace. Control thread only. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "fanout/courier.h"
#include "gateway/worker_devices.h"

struct devices;

struct devices_options {
        struct event_base *base;
        struct redis_address address;
        const char *ns, *node; /* borrowed */
        bool uses_registry;
        uint32_t lifetime_ms;    /* a record lasts twice as long, as a session does at most */
        struct mailbox *mailbox; /* the workers' to the control thread; borrowed */
};

must_check enum err devices_create(const struct devices_options *options,
                                   struct devices **ret_devices);
/* Once, right after they were created: borrowed, until devices_destroy(). */
void devices_workers(struct devices *devices, struct worker *const *workers, unsigned n);
/* A worker's roll, taken. */
void devices_roll(struct devices *devices, struct worker_roll *roll);
/* After the workers and their mailbox are gone. NULL is fine. */
void devices_destroy(struct devices *devices);

struct courier *devices_courier(struct devices *devices);
