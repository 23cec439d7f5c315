/* loadtest/swarm_habits.c -- what makes the devices of a swarm unlike each other
 * (loadtest/model.h): who falls silent, who does not read, who drops out, who waits how long; and
 * when a device's screen switches: told, and the content is there. Asked by swarm.c and
 * swarm_device.c, decides for them. */
#include "loadtest/swarm_device.h"

#include <sys/epoll.h>
#include <time.h>

#include "base/clock.h"

enum model_role swarm_role(const struct swarm *swarm, const struct device *device)
{
        const struct model *model = &swarm->options.model;

        if (model->dead == 0 && model->slow == 0)
                return MODEL_BRISK;
        return model_role(model, swarm->options.first + (uint32_t)(device - swarm->devices));
}

static bool is_drowsy(const struct swarm *swarm, const struct device *device)
{
        enum model_role role = swarm_role(swarm, device);

        return atomic_load(&swarm->options.board->is_asleep) != 0 &&
               (role == MODEL_SLOW || role == MODEL_STUCK);
}

bool swarm_is_excused(const struct swarm *swarm, const struct device *device)
{
        return device->is_dead || is_drowsy(swarm, device);
}

/* Its kernel still answers the node's TCP, as that of a television whose application hangs. */
static void die(struct swarm *swarm, struct device *device)
{
        device->is_dead = true;
        swarm_watch(swarm, device, EPOLL_CTL_DEL, 0);
        wheel_stop(&swarm->links, &device->link_timer);
}

static void fetch_in(struct swarm *swarm, struct device *device, uint64_t ms)
{
        if (ms == 0)
                swarm_device_wants_bundle(swarm, device);
        else
                wheel_start(&swarm->fetches, &device->fetch_timer, swarm->now_ms + ms);
}

void swarm_settle_in(struct swarm *swarm, struct device *device)
{
        const struct swarm_options *options = &swarm->options;

        if (swarm_role(swarm, device) == MODEL_DEAD) {
                die(swarm, device);
                return;
        }
        if (options->no_prefetch || options->fetches_at_start)
                return;
        fetch_in(swarm, device,
                 options->fetch_window_ms > 0 ? rng_below(&swarm->rng, options->fetch_window_ms)
                                              : model_pause_ms(&options->model, &swarm->rng));
}

bool swarm_may_read(struct swarm *swarm, struct device *device)
{
        /* Until it knows where it is it reads like everybody: it is to be slow, not half born. */
        if (device->is_dead)
                return false;
        if (device->sim.phase != SIM_FOLLOWING || !is_drowsy(swarm, device))
                return true;
        swarm_watch(swarm, device, EPOLL_CTL_MOD, 0);
        device->is_asleep = swarm->has_sleepers = true;
        return false;
}

static void show(struct swarm *swarm, struct device *device)
{
        struct swarm_board *board = swarm->options.board;
        struct swarm_counts *counts = &swarm->result.counts;
        struct timespec now;
        int64_t took_us;

        if (device->is_shown)
                return;
        clock_gettime(CLOCK_REALTIME, &now);
        took_us =
            (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - atomic_load(&board->asked_us[0]);
        took_us = took_us > 0 ? took_us : 0;
        device->is_shown = true;
        counts->shown++;
        counts->shown_late += took_us > (int64_t)swarm->options.late_ms * 1000;
        swarm_note(swarm, SERIES_SHOWN);
        atomic_store(&board->last_shown_us, clock_mono_us());
        histogram_record(&swarm->result.timings[TIMING_SHOWN], (uint64_t)took_us);
}

void swarm_is_told(struct swarm *swarm, struct device *device)
{
        if (device->is_told)
                return;
        device->is_told = true;
        swarm->result.counts.told++;
        swarm_note(swarm, SERIES_TOLD);
        if (device->bundle > 0)
                show(swarm, device);
        else if (swarm->options.fetches_at_start && !device->is_dead)
                fetch_in(swarm, device, model_pause_ms(&swarm->options.model, &swarm->rng));
}

void swarm_has_content(struct swarm *swarm, struct device *device)
{
        swarm_note(swarm, SERIES_FETCHED);
        if (device->is_told)
                show(swarm, device);
}

static void tend_sleepers(struct swarm *swarm)
{
        bool is_over = atomic_load(&swarm->options.board->is_asleep) == 0;

        if (!swarm->has_sleepers || (!is_over && swarm->now_ms < swarm->sip_ms))
                return;
        swarm->sip_ms = swarm->now_ms + MODEL_SIP_MS;
        for (uint32_t i = 0; i < swarm->options.n; i++) {
                struct device *device = &swarm->devices[i];

                if (!device->is_asleep || device->state != DEVICE_OPEN)
                        continue;
                if (is_over) {
                        device->is_asleep = false;
                        swarm_watch(swarm, device, EPOLL_CTL_MOD, EPOLLIN);
                } else if (swarm_role(swarm, device) == MODEL_SLOW) {
                        swarm_device_read(swarm, device, MODEL_SIP_BYTES);
                }
        }
        swarm->has_sleepers = !is_over;
}

static void churn(struct swarm *swarm)
{
        unsigned share = atomic_load(&swarm->options.board->churn);
        double elapsed_min = (double)(swarm->now_ms - swarm->churn_ms) / 60e3;

        if (swarm->churn_ms != 0)
                swarm->churn_due +=
                    elapsed_min * (double)swarm->options.n * share / MODEL_SHARE_WHOLE;
        swarm->churn_ms = swarm->now_ms;
        for (; swarm->churn_due >= 1; swarm->churn_due--) {
                uint64_t random = rng_u64(&swarm->rng);
                struct device *device = &swarm->devices[random % swarm->options.n];

                if (device->state != DEVICE_OPEN || !device->welcomed || device->is_leaving ||
                    swarm_is_excused(swarm, device))
                        continue;
                swarm->result.counts.churned++;
                swarm_device_drop(swarm, device, random >> 63 != 0);
        }
}

static void cut(struct swarm *swarm)
{
        const struct swarm_options *options = &swarm->options;
        unsigned round = atomic_load(&options->board->cut_round);
        unsigned target = atomic_load(&options->board->cut_target);

        if (round == swarm->cut_round)
                return;
        swarm->cut_round = round;
        for (uint32_t i = 0; i < options->n; i++) {
                struct device *device = &swarm->devices[i];

                if (device->state != DEVICE_OPEN || device->is_dead ||
                    !net_is_peer(device->fd, &options->targets[target]))
                        continue;
                swarm->result.counts.cut++;
                swarm_device_drop(swarm, device, false);
        }
}

/* Some leave in order, some are lost: both for good. */
static void let_go(struct swarm *swarm)
{
        const struct swarm_options *options = &swarm->options;
        uint32_t keep = atomic_load(&options->board->keep),
                 lose = atomic_load(&options->board->lose);

        if (keep == swarm->kept && lose == swarm->lost)
                return;
        swarm->kept = keep;
        swarm->lost = lose;
        for (uint32_t i = 0; i < options->n; i++) {
                struct device *device = &swarm->devices[i];

                if (keep != 0 && options->first + i >= keep && device->state != DEVICE_CLOSED) {
                        swarm_device_goodbye(swarm, device);
                } else if (options->first + i < lose && device->state == DEVICE_OPEN) {
                        swarm_device_release(swarm, device);
                        device->state = DEVICE_CLOSED;
                }
        }
}

void swarm_habits_tick(struct swarm *swarm)
{
        tend_sleepers(swarm);
        churn(swarm);
        cut(swarm);
        let_go(swarm);
}
