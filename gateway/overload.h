/* gateway/overload.h -- a worker's ladder in operation: reads the gauges four times a second while
 * ticks run, moves worker->ladder, and tells about each change (log, metrics, the control thread).
 * What is shed at a step is the door's (guest.c). The worker's thread, but for init, fini and the
 * two that read. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "gateway/ladder.h"
#include "gateway/lag.h"

struct worker;

struct overload {
        struct lag lag;
        int probe; /* an eventfd in the poller, by whose wait for its turn lag is told; -1 = none */
        int64_t sockets_told; /* of this worker, to gauges.h */
        _Atomic unsigned step;
        _Atomic uint32_t at[LADDER_GAUGES]; /* the last reading */
};

/* After the poller was created, which must be destroyed before fini. ERR_NOMEM, ERR_IO. */
must_check enum err overload_init(struct worker *worker);
void overload_fini(struct worker *worker);

void overload_begin(struct worker *worker); /* ticks run from now on, each WHEEL_TICK_MS */
void overload_tick(struct worker *worker);
void overload_end(struct worker *worker);    /* no ticks: there is no socket */
void overload_probed(struct worker *worker); /* the poller says that the probe is ready */

/* Any thread; relaxed. */
enum ladder_step overload_step(const struct overload *overload);
uint32_t overload_at(const struct overload *overload, enum ladder_gauge gauge);
