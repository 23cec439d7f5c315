/* loadtest/swarm.c -- the loop of a swarm: who connects when, who prefetches when, what is counted.
 */
#include "loadtest/swarm.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "loadtest/swarm_clocks.h"
#include "loadtest/swarm_device.h"

#define UNDER_WAY_MAX   512 /* handshakes at a time, unless all are wanted at once */
#define EVENTS          512
#define TURN_MS         20   /* longest sleep: the board is looked at between two turns */
#define GOODBYE_MS      4000 /* patience for the nodes' answers to our close frames */
#define FETCH_TRIES_MAX 10
#define FETCH_RETRY_MS  2000 /* jitter after a lost connection, and on top of Retry-After */

#define device_of(timer, member) \
        ((struct device *)(void *)((char *)(timer)-offsetof(struct device, member)))

/* Any 16 bytes make a good key (RFC 6455 4.1); the answer to it is the same for every device. */
static void make_key(struct swarm *swarm)
{
        const char *given = swarm->options.key;
        unsigned char raw[16], text[WS_KEY_LEN + 1];
        uint64_t random[2] = { rng_u64(&swarm->rng), rng_u64(&swarm->rng) };

        memcpy(raw, random, sizeof(raw));
        EVP_EncodeBlock(text, raw, sizeof(raw));
        memcpy(swarm->key, text, sizeof(swarm->key));
        if (given != NULL) {
                check(strlen(given) == WS_KEY_LEN);
                memcpy(swarm->key, given, sizeof(swarm->key));
        }
        ws_accept_key(swarm->key, swarm->accept);
}

static void fetch_later(struct swarm *swarm, struct device *device, uint64_t not_before_ms)
{
        wheel_start(&swarm->fetches, &device->fetch_timer,
                    swarm->now_ms + not_before_ms + rng_below(&swarm->rng, FETCH_RETRY_MS));
}

static void on_fetched(void *owner, uint32_t index, const struct fetch_outcome *outcome)
{
        struct swarm *swarm = owner;
        struct device *device = &swarm->devices[index];
        struct swarm_counts *counts = &swarm->result.counts;
        bool is_first = !device->fetch_settled;

        switch (outcome->result) {
        case FETCH_GOOD:
                device->bundle = (uint32_t)outcome->bundle;
                device->fetch_settled = true;
                device->fetch_tries = 0;
                if (is_first) {
                        counts->prefetched++;
                        atomic_store(&swarm->options.board->last_prefetch_us, clock_mono_us());
                        swarm_has_content(swarm, device);
                }
                histogram_record(&swarm->result.timings[TIMING_PREFETCH], outcome->took_us);
                return;
        case FETCH_SHED:
                counts->prefetch_shed++;
                swarm_note(swarm, SERIES_SHED);
                fetch_later(swarm, device, (uint64_t)outcome->retry_after_s * 1000);
                return;
        case FETCH_BROKEN:
                counts->prefetch_again++;
                if (++device->fetch_tries < FETCH_TRIES_MAX) {
                        fetch_later(swarm, device, 0);
                        return;
                }
                break;
        case FETCH_BAD:
                break;
        }
        device->fetch_settled = true;
        device->fetch_tries = 0;
        counts->prefetch_failed += is_first;
}

enum err swarm_create(const struct swarm_options *options, swarm_report_fn *report, void *owner,
                      struct swarm **ret_swarm)
{
        struct swarm *swarm = calloc(1, sizeof(*swarm));

        if (swarm == NULL)
                return ERR_NOMEM;
        swarm->options = *options;
        swarm->report = report;
        swarm->owner = owner;
        swarm->devices = calloc(options->n, sizeof(*swarm->devices));
        swarm->inbox = inbox_create();
        swarm->set = epoll_create1(EPOLL_CLOEXEC);
        swarm->fetcher = fetcher_create(
            swarm->set, options->event,
            options->fetch_slots > 0 ? options->fetch_slots : FETCHER_SLOTS, on_fetched, swarm);
        if (swarm->devices == NULL || swarm->inbox == NULL || swarm->set < 0 ||
            swarm->fetcher == NULL) {
                swarm_destroy(swarm);
                return ERR_NOMEM;
        }
        witness_init(&swarm->witness);
        rng_seed(&swarm->rng, options->seed);
        make_key(swarm);
        swarm->fetch_first = swarm->fetch_last = DEVICE_NOBODY;
        swarm->now_ms = clock_mono_ms();
        wheel_init(&swarm->links, swarm->now_ms);
        wheel_init(&swarm->fetches, swarm->now_ms);
        for (unsigned i = 0; i < TIMINGS; i++)
                histogram_init(&swarm->result.timings[i]);
        swarm->result.counts.devices = options->n;
        if (swarm_clocks_create(swarm) != OK) {
                swarm_destroy(swarm);
                return ERR_NOMEM;
        }
        *ret_swarm = swarm;
        return OK;
}

void swarm_destroy(struct swarm *swarm)
{
        if (swarm == NULL)
                return;
        if (swarm->devices != NULL && swarm->inbox != NULL) {
                for (uint32_t i = 0; i < swarm->options.n; i++) {
                        struct device *device = &swarm->devices[i];

                        inbox_drop(swarm->inbox, device->partial);
                        if (device->state == DEVICE_CONNECTING ||
                            device->state == DEVICE_UPGRADING || device->state == DEVICE_OPEN ||
                            device->state == DEVICE_CLOSING)
                                close(device->fd);
                }
        }
        swarm_clocks_destroy(swarm);
        fetcher_destroy(swarm->fetcher);
        inbox_destroy(swarm->inbox);
        witness_fini(&swarm->witness);
        free(swarm->devices);
        if (swarm->set >= 0)
                close(swarm->set);
        free(swarm);
}

void swarm_device_wants_bundle(struct swarm *swarm, struct device *device)
{
        uint32_t index = (uint32_t)(device - swarm->devices);

        device->next_fetch = DEVICE_NOBODY;
        if (swarm->fetch_last == DEVICE_NOBODY)
                swarm->fetch_first = index;
        else
                swarm->devices[swarm->fetch_last].next_fetch = index;
        swarm->fetch_last = index;
}

static void start_fetches(struct swarm *swarm)
{
        const struct swarm_options *options = &swarm->options;

        while (swarm->fetch_first != DEVICE_NOBODY && !fetcher_is_full(swarm->fetcher)) {
                uint32_t index = swarm->fetch_first, number = options->first + index;
                const struct net_target *target = &options->targets[swarm->devices[index].target];
                char cohort[COHORT_MAX + 1];

                swarm->fetch_first = swarm->devices[index].next_fetch;
                if (swarm->fetch_first == DEVICE_NOBODY)
                        swarm->fetch_last = DEVICE_NOBODY;
                cohorts_name(&options->cohorts, number, cohort);
                swarm_note(swarm, SERIES_REQUESTS);
                fetcher_start(swarm->fetcher, index, cohort, target,
                              target->is_loopback4 ? net_source(number) : 0);
        }
}

static void be_born(struct swarm *swarm, struct device *device)
{
        const struct swarm_options *options = &swarm->options;
        uint32_t jitter_ms = options->model.jitter_ms,
                 number = options->first + (uint32_t)(device - swarm->devices);

        device->target = (uint8_t)(number % options->n_targets);
        if (jitter_ms == 0) {
                swarm_connect_begin(swarm, device);
                return;
        }
        device->state = DEVICE_WAITING;
        wheel_start(&swarm->links, &device->link_timer,
                    swarm->now_ms + rng_below(&swarm->rng, (uint64_t)jitter_ms + 1));
}

/* Who arrives as the k-th. In turn: first all of one target, then those of the next. */
static uint32_t arriving(const struct swarm_options *options, uint32_t k)
{
        uint32_t targets = options->n_targets, rows = options->n / targets,
                 more = options->n % targets, of_larger = more * (rows + 1);

        if (options->in_turn == 0)
                return k;
        if (k < of_larger)
                return k % (rows + 1) * targets + k / (rows + 1);
        return (k - of_larger) % rows * targets + more + (k - of_larger) / rows;
}

/* True while more devices are to be born as time goes by; others wait for those that are under way.
 */
static bool start_devices(struct swarm *swarm, uint64_t began_us)
{
        const struct swarm_options *options = &swarm->options;
        uint64_t *started = &swarm->result.counts.started, allowed = options->n;
        uint32_t window = options->window > 0 ? options->window : UNDER_WAY_MAX;

        if (*started == options->n ||
            (options->in_turn > 0 &&
             options->turn >= atomic_load(&options->board->turns_over) + options->in_turn))
                return false;
        if (options->connects_per_s > 0) {
                uint64_t due = (clock_mono_us() - began_us) * options->connects_per_s / 1000000 + 1;

                allowed = due < allowed ? due : allowed;
        }
        while (*started < allowed && (options->connects_per_s == 0 || swarm->under_way < window))
                be_born(swarm, &swarm->devices[arriving(options, (uint32_t)(*started)++)]);
        if (*started == options->n)
                atomic_fetch_add(&options->board->turns_over, 1);
        return *started == allowed && allowed < options->n;
}

static void on_link_timer(void *owner, struct wheel_timer *timer)
{
        swarm_device_timer(owner, device_of(timer, link_timer));
}

static void on_fetch_timer(void *owner, struct wheel_timer *timer)
{
        swarm_device_wants_bundle(owner, device_of(timer, fetch_timer));
}

void swarm_note(struct swarm *swarm, enum series_column column)
{
        swarm->sample.counts[column]++;
}

/* Hands over what happened in the ticks that are over. */
static void close_tick(struct swarm *swarm, bool is_last)
{
        const struct swarm_options *options = &swarm->options;
        uint64_t origin_us = atomic_load(&options->board->origin_us), now_us = clock_mono_us();
        uint32_t tick = now_us > origin_us ? (uint32_t)((now_us - origin_us) / SERIES_TICK_US) : 0;
        uint64_t sum = 0;

        if (tick == swarm->sample.tick && !is_last)
                return;
        for (unsigned c = 0; c < SERIES_COLUMNS; c++)
                sum += swarm->sample.counts[c];
        if (sum > 0 && options->on_sample != NULL)
                options->on_sample(options->sample_owner, &swarm->sample);
        swarm->sample = (struct series_sample){ .tick = tick };
}

static void turn(struct swarm *swarm, int timeout_ms)
{
        struct epoll_event events[EVENTS];
        int n = epoll_wait(swarm->set, events, EVENTS, timeout_ms);

        swarm->now_ms = clock_mono_ms();
        close_tick(swarm, false);
        for (int i = 0; i < n; i++) {
                uint64_t data = events[i].data.u64;

                if ((data & FETCHER_MARK) != 0)
                        fetcher_ready(swarm->fetcher, data);
                else
                        swarm_device_ready(swarm, &swarm->devices[data], events[i].events);
        }
}

/* What is the same for all is counted as it happens; where each device is, when somebody asks. */
static void count_devices(struct swarm *swarm)
{
        struct swarm_board *board = swarm->options.board;
        struct swarm_counts *counts = &swarm->result.counts;
        struct token head = { .epoch = atomic_load(&board->head_epoch),
                              .seq = atomic_load(&board->head_seq) };
        uint32_t keep = atomic_load(&board->keep);

        counts->at_head = counts->flawed = counts->behind = counts->owing = 0;
        counts->dead = counts->excused = counts->left = 0;
        for (uint32_t i = 0; i < swarm->options.n; i++) {
                const struct simdevice *sim = &swarm->devices[i].sim;
                uint64_t behind = head.epoch == 0 ? 0 : simdevice_behind(sim, &head);

                if (keep != 0 && swarm->options.first + i >= keep) {
                        counts->left += swarm->devices[i].state == DEVICE_CLOSED;
                        counts->flawed += sim->flawed;
                        continue;
                }
                /* One that never came in lost nothing: it is told as not connected. */
                if (!swarm->devices[i].welcomed)
                        continue;
                counts->dead += swarm->devices[i].is_dead;
                if (swarm_is_excused(swarm, &swarm->devices[i])) {
                        counts->excused++;
                        counts->flawed += sim->flawed;
                        continue;
                }
                counts->at_head += behind == 0;
                counts->behind += behind;
                counts->flawed += sim->flawed;
                counts->owing += swarm->devices[i].unacked &&
                                 swarm->devices[i].state != DEVICE_GAVE_UP &&
                                 swarm->devices[i].state != DEVICE_CLOSED;
        }
        counts->judged_seq = head.seq;
        counts->proof_failed = swarm->witness.failed;
}

void swarm_run(struct swarm *swarm, struct swarm_result *ret_result)
{
        uint64_t began_us = clock_mono_us(), report_ms = clock_mono_ms();

        while (atomic_load(&swarm->options.board->phase) == SWARM_RUN) {
                bool hurry = start_devices(swarm, began_us);

                start_fetches(swarm);
                turn(swarm, swarm_clocks_wait_ms(swarm, hurry ? 1 : TURN_MS));
                swarm_clocks_tick(swarm);
                wheel_advance(&swarm->links, swarm->now_ms, on_link_timer, swarm);
                wheel_advance(&swarm->fetches, swarm->now_ms, on_fetch_timer, swarm);
                fetcher_tick(swarm->fetcher, clock_mono_us());
                swarm_habits_tick(swarm);
                if (swarm->now_ms >= report_ms) {
                        report_ms = swarm->now_ms + swarm->options.report_every_ms;
                        count_devices(swarm);
                        swarm->report(swarm->owner, &swarm->result.counts);
                }
        }
        close_tick(swarm, true);
        count_devices(swarm);
        *ret_result = swarm->result;
}

const struct witness *swarm_seen(const struct swarm *swarm)
{
        return &swarm->witness;
}

void swarm_say_goodbye(struct swarm *swarm)
{
        uint64_t until_ms = clock_mono_ms() + GOODBYE_MS;
        uint32_t waiting = 1;

        for (uint32_t i = 0; i < swarm->options.n; i++) {
                swarm_device_goodbye(swarm, &swarm->devices[i]);
                if (i % 64 == 63)
                        turn(swarm, 0);
        }
        while (waiting > 0 && clock_mono_ms() < until_ms) {
                turn(swarm, TURN_MS);
                waiting = 0;
                for (uint32_t i = 0; i < swarm->options.n; i++)
                        waiting += swarm->devices[i].state == DEVICE_CLOSING;
        }
}
