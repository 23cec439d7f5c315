/* gateway/overload.c -- see overload.h. Refuses to know where the marks are (ladder.c) and what
 * they shed (guest.c).
 *
 * The probe: an eventfd in the poller, edge-triggered, so that a write alone makes it ready and it
 * is never read. The kernel serves ready sockets in the order in which they became so; the probe is
 * one of them. One system call per reading. */
#include "gateway/overload.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/gauges.h"
#include "gateway/gateway_metrics.h"
#include "gateway/worker_inside.h"

enum err overload_init(struct worker *worker)
{
        struct overload *overload = &worker->overload;
        enum err err;

        ladder_init(&worker->ladder);
        overload->probe = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (overload->probe < 0)
                return errno == ENOMEM ? ERR_NOMEM : ERR_IO;
        err = poller_add(worker->poller, overload->probe, overload, EPOLLIN | EPOLLET);
        if (err != OK) {
                close(overload->probe);
                overload->probe = -1;
        }
        return err;
}

void overload_fini(struct worker *worker)
{
        if (worker->overload.probe >= 0)
                close(worker->overload.probe);
}

static void tell_sockets(struct worker *worker, int64_t sockets)
{
        gauges_sockets(sockets - worker->overload.sockets_told);
        worker->overload.sockets_told = sockets;
}

static void tell_change(struct worker *worker, enum ladder_step before,
                        const struct ladder_reading *reading)
{
        const struct ladder *ladder = &worker->ladder;
        enum ladder_step at = ladder->step > before ? ladder->step : before;
        enum ladder_gauge gauge = ladder->moved_by;

        atomic_store_explicit(&worker->overload.step, ladder->step, memory_order_relaxed);
        gateway_metrics_overload(ladder->step, gauge);
        log_line(ladder->step > before ? LOG_WARN : LOG_INFO, "OVERLOAD-STEP",
                 "worker=%u step=%s before=%s gauge=%s at=%u mark=%u", worker->options.index,
                 ladder_step_name[ladder->step], ladder_step_name[before], ladder_gauge_name[gauge],
                 reading->at[gauge],
                 ladder->step > before ? ladder_mark(gauge, at) : ladder_clear(gauge, at));
}

static void read_gauges(struct worker *worker)
{
        struct overload *overload = &worker->overload;
        struct ladder_reading reading = { 0 };
        enum ladder_step before = worker->ladder.step;
        int64_t sockets = 0;

        for (unsigned phase = 0; phase < CONN_DEAD; phase++)
                sockets += worker->in_phase[phase];
        tell_sockets(worker, sockets);
        gauges_read(worker->now_ms, &reading);
        reading.at[LADDER_LAG] = lag_read(&overload->lag, worker->now_ms);
        if (worker->options.read_gauges != NULL)
                worker->options.read_gauges(worker->options.gauges_arg, &reading);
        for (unsigned i = 0; i < LADDER_GAUGES; i++)
                atomic_store_explicit(&overload->at[i], reading.at[i], memory_order_relaxed);
        if (ladder_read(&worker->ladder, &reading, worker->now_ms))
                tell_change(worker, before, &reading);
        if (lag_probe(&overload->lag, worker->now_ms)) {
                const uint64_t one = 1; /* the sum overflows after 2^64 of these */

                check(write(overload->probe, &one, sizeof(one)) == sizeof(one));
        }
}

void overload_begin(struct worker *worker)
{
        lag_begin(&worker->overload.lag, worker->now_ms, WHEEL_TICK_MS);
}

void overload_tick(struct worker *worker)
{
        if (lag_tick(&worker->overload.lag, worker->now_ms, WHEEL_TICK_MS))
                read_gauges(worker);
}

void overload_end(struct worker *worker)
{
        tell_sockets(worker, 0);
        for (unsigned i = 0; i < LADDER_GAUGES; i++)
                atomic_store_explicit(&worker->overload.at[i], 0, memory_order_relaxed);
}

void overload_probed(struct worker *worker)
{
        lag_probe_seen(&worker->overload.lag, worker->now_ms);
}

enum ladder_step overload_step(const struct overload *overload)
{
        return (enum ladder_step)atomic_load_explicit(&overload->step, memory_order_relaxed);
}

uint32_t overload_at(const struct overload *overload, enum ladder_gauge gauge)
{
        return atomic_load_explicit(&overload->at[gauge], memory_order_relaxed);
}
