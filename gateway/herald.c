/* gateway/herald.c -- see the header. A presence that Redis does not take is not told again: the
 * next one says more. */
#include "gateway/herald.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/crowd.h"
#include "gateway/worker.h"

#define LEAVING_EVERY_MS 250 /* of a node that drains: somebody looks on */

struct herald {
        struct herald_options options;
        struct worker *const *workers;
        unsigned n_workers;
        uint64_t room;
        struct crowd *crowd; /* the sorts of devices that are here */
        int64_t started;     /* Unix ms */
        int64_t leaves;      /* Unix ms; 0 = it stays */
        uint64_t next_ms;    /* monotonic */
        bool has_ended, has_stopped;
};

enum err herald_create(const struct herald_options *options, struct herald **ret_herald)
{
        struct herald *herald = calloc(1, sizeof(*herald));
        enum err err;

        if (herald == NULL)
                return ERR_NOMEM;
        herald->options = *options;
        herald->started = clock_wall_ms();
        err = crowd_create(options->options->workers, &herald->crowd);
        if (err != OK) {
                free(herald);
                return err;
        }
        *ret_herald = herald;
        return OK;
}

void herald_destroy(struct herald *herald)
{
        if (herald == NULL)
                return;
        crowd_destroy(herald->crowd);
        free(herald);
}

void herald_stop(struct herald *herald)
{
        herald->has_stopped = true;
        herald->n_workers = 0;
}

int64_t herald_started(const struct herald *herald)
{
        return herald->started;
}

void herald_workers(struct herald *herald, struct worker *const *workers, unsigned n, uint64_t room)
{
        herald->workers = workers;
        herald->n_workers = n;
        herald->room = room;
}

void herald_audiences(struct herald *herald, unsigned worker, const struct presence_audience *rows,
                      size_t n, uint64_t others)
{
        crowd_take(herald->crowd, worker, rows, n, others);
}

/* --- what it is ------------------------------------------------------------------------------ */

static void on_written(void *owner, const struct redis_reply *reply)
{
        struct herald *herald = owner;

        if (!herald->has_stopped)
                primary_heard(herald->options.primary, reply);
}

/* Workers tell theirs at the same time: the one that takes longest tells when all are told. */
static void add_up(const struct herald *herald, struct presence *mine)
{
        double longest_us = 0;

        for (unsigned i = 0; i < herald->n_workers; i++) {
                uint64_t its = worker_devices(herald->workers[i]);
                double us = (double)its * worker_ns_per_device(herald->workers[i]) / 1000;

                mine->devices += its;
                if (us > longest_us)
                        longest_us = us;
        }
        if (mine->devices > 0)
                mine->us_per_device = longest_us / (double)mine->devices;
}

static void say(struct herald *herald)
{
        const struct options *options = herald->options.options;
        struct snapshot *snapshot = follower_snapshot(herald->options.follower);
        struct presence mine = { .seq = snapshot != NULL ? snapshot_token(snapshot)->seq : 0,
                                 .started = herald->started,
                                 .room = herald->room,
                                 .leaves = herald->leaves,
                                 .ended = herald->has_ended,
                                 .seen = clock_wall_ms() };

        if (herald->n_workers == 0)
                return;
        add_up(herald, &mine);
        mine.n_audiences = crowd_sum(herald->crowd, &mine.audiences, &mine.other_devices);
        for (unsigned i = 0; i < herald->n_workers; i++)
                worker_ask_audiences(herald->workers[i]); /* for the next one */
        strcpy(mine.name, options->name);
        snprintf(mine.listen, sizeof(mine.listen), "%.56s:%u", options->listen.host,
                 worker_port(herald->workers[0]));
        snprintf(mine.version, sizeof(mine.version), "%s", KICKOFF_VERSION);
        if (presence_write(primary_redis(herald->options.primary), options->ns, &mine, on_written,
                           herald) != OK)
                log_debug("PRESENCE-SKIPPED", "why=redis-away");
}

void herald_leave(struct herald *herald, int64_t until)
{
        herald->leaves = until;
        say(herald);
}

void herald_end(struct herald *herald)
{
        herald->has_ended = true;
        say(herald);
}

/* --- what it is told ------------------------------------------------------------------------- */

static void on_order(void *owner, const struct redis_reply *reply)
{
        struct herald *herald = owner;
        struct order order;

        if (herald->has_stopped || !order_parse(reply, &order))
                return;
        if (order_holds(&order, herald->started, clock_wall_ms()))
                herald->options.on_order(herald->options.owner, &order);
}

void herald_tick(struct herald *herald)
{
        const struct options *options = herald->options.options;
        uint64_t now_ms = clock_mono_ms();

        if (now_ms < herald->next_ms)
                return;
        herald->next_ms = now_ms + (herald->leaves != 0 ? LEAVING_EVERY_MS : PRESENCE_EVERY_MS);
        say(herald);
        if (order_read(primary_redis(herald->options.primary), options->ns, options->name, on_order,
                       herald) != OK)
                log_debug("PRESENCE-SKIPPED", "why=redis-away"); /* the next time */
}
