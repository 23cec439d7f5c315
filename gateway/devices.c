/* gateway/devices.c -- see the header. */
#include "gateway/devices.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"

#define AGAIN_MS 1000 /* after a write that did not go well */

struct metric m_replaced = METRIC_COUNTER(
    "kickoff_replaced_total", "Sessions ended because the same device connected again.");
struct metric m_device_messages = METRIC_COUNTER("kickoff_device_messages_total",
                                                 "Messages for one device written to its socket.");
static struct metric *const metrics[] = { &m_replaced, &m_device_messages };

struct devices {
        struct devices_options options;
        struct courier *courier;
        struct worker *const *workers;
        unsigned n_workers;
        struct event *again; /* runs while a write has not gone well */
};

/* --- questions -------------------------------------------------------------------------------- */

struct asking { /* one question to all workers */
        struct devices *devices;
        uint64_t errand; /* the courier's; 0 = nobody waits */
        struct device_query query;
        struct device_answer best;
        uint64_t since_ms; /* best is HERE: monotonic */
        unsigned left;     /* workers that have not answered */
        struct worker_errand errands[];
};

static void on_claimed(struct devices *devices, const struct asking *asking);

/* A worker may date a session a little ahead (worker_devices.c). */
static uint64_t age_of(uint64_t since_ms)
{
        uint64_t now_ms = clock_mono_ms();

        return now_ms > since_ms ? now_ms - since_ms : 0;
}

static void on_answer(void *owner, struct worker_errand *errand)
{
        struct asking *asking = errand->asking;

        (void)owner;
        if (errand->answer.outcome > asking->best.outcome) {
                asking->best = errand->answer;
                asking->since_ms = errand->since_ms;
                asking->best.age_ms = age_of(errand->since_ms);
                asking->best.connected_since = clock_wall_ms() - (int64_t)asking->best.age_ms;
        }
        if (--asking->left > 0)
                return;
        if (asking->errand != 0 && asking->devices->courier != NULL)
                courier_told(asking->devices->courier, asking->errand, &asking->best);
        else if (asking->query.what == DEVICE_CLAIMED && asking->best.outcome == DEVICE_HERE)
                on_claimed(asking->devices, asking);
        free(asking);
}

static void ask_here(void *owner, const struct device_query *query, uint64_t number)
{
        struct devices *devices = owner;
        struct asking *asking =
            calloc(1, sizeof(*asking) + devices->n_workers * sizeof(asking->errands[0]));

        if (asking == NULL || devices->n_workers == 0) { /* the errand's time runs out */
                free(asking);
                return;
        }
        asking->devices = devices;
        asking->errand = number;
        asking->query = *query;
        asking->left = devices->n_workers;
        for (unsigned i = 0; i < devices->n_workers; i++) {
                struct worker_errand *errand = &asking->errands[i];

                errand->control = devices->options.mailbox;
                errand->on_answer = on_answer;
                errand->asking = asking;
                errand->query = &asking->query;
                worker_ask(devices->workers[i], errand);
        }
}

/* --- the registry ----------------------------------------------------------------------------- */

/* The registry says that a device of ours came later elsewhere. Its times may be off by as long as
 * a command was under way, and the session may have gone; so before `replaced` sends anybody away
 * for good the other node is asked how old its session is. That was counted before we hear it, so
 * ours is the newer one if it is younger still when we do. No clock is compared. */
struct doubt {
        struct devices *devices;
        struct worker_roll_row row; /* ours */
        struct device_query query;  /* theirs */
};

static void end_here(struct devices *devices, const struct worker_roll_row *row)
{
        struct device_query query = { .what = DEVICE_REPLACED, .session = row->session };

        strcpy(query.device, row->device);
        ask_here(devices, &query, 0);
}

static void on_alone_again(void *owner, enum err err, const struct registry_lost *lost, size_t n)
{
        (void)owner, (void)err, (void)lost, (void)n; /* if not, all nodes are asked for it */
}

static void write_again(struct doubt *doubt)
{
        const struct registry_row row = { .device = doubt->row.device,
                                          .session = doubt->row.session,
                                          .age_ms = age_of(doubt->row.since_ms) };

        if (registry_arrive(courier_registry(doubt->devices->courier), &row, 1, on_alone_again,
                            NULL) != OK)
                log_debug("REGISTRY-NOT-WRITTEN", "why=redis-away");
}

static void end_there(struct doubt *doubt, const char *node)
{
        struct courier *courier = doubt->devices->courier;
        const struct registry_row theirs = { .device = doubt->row.device,
                                             .session = doubt->query.session };

        doubt->query.what = DEVICE_REPLACED;
        courier_tell(courier, node, &doubt->query);
        registry_leave(courier_registry(courier), node, &theirs, 1, true);
        write_again(doubt);
}

static void on_doubt(void *owner, const struct device_answer *answer)
{
        struct doubt *doubt = owner;
        /* Only who came for certain before ours is contested: within the time of the question the
         * registry's word stands. One side of the two has the record, and the other doubts, so one
         * of them stays. */
        bool theirs_is_newer = answer->age_ms <= age_of(doubt->row.since_ms);

        if (doubt->devices->courier == NULL) {
                free(doubt);
                return;
        }
        if (answer->outcome > DEVICE_SILENT && theirs_is_newer)
                end_here(doubt->devices, &doubt->row);
        else if (answer->outcome > DEVICE_SILENT)
                end_there(doubt, answer->node);
        else if (answer->outcome == DEVICE_ABSENT)
                write_again(doubt);
        free(doubt);
}

static void look_into(struct devices *devices, const struct worker_roll_row *row, uint64_t theirs)
{
        struct doubt *doubt = calloc(1, sizeof(*doubt));

        if (doubt == NULL)
                return;
        doubt->devices = devices;
        doubt->row = *row;
        doubt->query.what = DEVICE_LOOK;
        doubt->query.session = theirs;
        strcpy(doubt->query.device, row->device);
        courier_ask(devices->courier, &doubt->query, on_doubt, doubt);
}

/* The other side of it: our record was taken from us. */
static void on_claimed(struct devices *devices, const struct asking *asking)
{
        struct worker_roll_row row = { .session = asking->query.session,
                                       .since_ms = asking->since_ms };

        strcpy(row.device, asking->query.device);
        if (devices->courier != NULL)
                look_into(devices, &row, asking->query.rival);
}

struct registering {
        struct devices *devices;
        struct worker_roll *roll;
};

static void try_again_later(struct devices *devices)
{
        static const struct timeval in = { AGAIN_MS / 1000, AGAIN_MS % 1000 * 1000 };

        if (!event_pending(devices->again, EV_TIMEOUT, NULL))
                (void)event_add(devices->again, &in);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
        struct devices *devices = arg;

        (void)fd;
        (void)what;
        for (unsigned i = 0; i < devices->n_workers; i++)
                worker_go_on(devices->workers[i], true);
}

static void go_on(struct devices *devices, const struct worker_roll *roll)
{
        if (devices->n_workers > 0)
                worker_go_on(devices->workers[roll->worker], false);
}

static void on_registered(void *owner, enum err err, const struct registry_lost *lost, size_t n)
{
        struct registering *registering = owner;
        struct devices *devices = registering->devices;
        struct worker_roll *roll = registering->roll;

        free(registering);
        if (devices->n_workers > 0) {
                for (size_t i = 0; i < n; i++)
                        if (lost[i].row < roll->n_came)
                                look_into(devices, &roll->rows[lost[i].row], lost[i].session);
                if (err == OK)
                        go_on(devices, roll);
                else
                        try_again_later(devices);
        }
        free(roll);
}

static void rows_of(const struct worker_roll_row *from, unsigned n, struct registry_row *rows)
{
        for (unsigned i = 0; i < n; i++)
                rows[i] = (struct registry_row){ from[i].device, from[i].session,
                                                 age_of(from[i].since_ms) };
}

/* True: on_registered() comes, and takes the roll. */
static bool write_roll(struct devices *devices, struct worker_roll *roll)
{
        struct registry *registry = courier_registry(devices->courier);
        struct registry_row rows[REGISTRY_ROWS_MAX];
        struct registering *registering;

        check(roll->n_came <= REGISTRY_ROWS_MAX && roll->n_left <= REGISTRY_ROWS_MAX);
        if (!registry_is_up(registry))
                return false; /* on_up() begins anew */
        if (roll->n_left > 0) {
                rows_of(roll->rows + roll->n_came, roll->n_left, rows);
                registry_leave(registry, devices->options.node, rows, roll->n_left, false);
        }
        if (roll->n_came == 0)
                return false;
        registering = malloc(sizeof(*registering));
        if (registering == NULL)
                return false;
        *registering = (struct registering){ devices, roll };
        rows_of(roll->rows, roll->n_came, rows);
        if (registry_arrive(registry, rows, roll->n_came, on_registered, registering) == OK)
                return true;
        free(registering);
        return false;
}

void devices_roll(struct devices *devices, struct worker_roll *roll)
{
        for (unsigned i = 0; i < devices->n_workers; i++)
                if (i != roll->worker && roll->n_came > 0)
                        worker_compare(devices->workers[i], roll);
        if (devices->n_workers > 0 && courier_uses_registry(devices->courier) &&
            write_roll(devices, roll))
                return;
        go_on(devices, roll);
        free(roll);
}

static void on_up(void *owner)
{
        struct devices *devices = owner;

        if (!courier_uses_registry(devices->courier))
                return;
        for (unsigned i = 0; i < devices->n_workers; i++)
                worker_go_on(devices->workers[i], true);
}

/* --- beginning and end ------------------------------------------------------------------------ */

enum err devices_create(const struct devices_options *options, struct devices **ret_devices)
{
        struct devices *devices = calloc(1, sizeof(*devices));
        const struct courier_options courier = { .base = options->base,
                                                 .address = options->address,
                                                 .ns = options->ns,
                                                 .node = options->node,
                                                 .uses_registry = options->uses_registry,
                                                 .keep_s = options->lifetime_ms / 1000 * 2 + 60,
                                                 .ask_here = ask_here,
                                                 .on_up = on_up,
                                                 .owner = devices };
        enum err err = ERR_NOMEM;

        if (devices == NULL)
                return ERR_NOMEM;
        metrics_register(metrics, countof(metrics));
        devices->options = *options;
        devices->again = evtimer_new(options->base, on_again, devices);
        if (devices->again != NULL)
                err = courier_create(&courier, &devices->courier);
        if (err != OK) {
                devices_destroy(devices);
                return err;
        }
        *ret_devices = devices;
        return OK;
}

void devices_workers(struct devices *devices, struct worker *const *workers, unsigned n)
{
        devices->workers = workers;
        devices->n_workers = n;
}

void devices_destroy(struct devices *devices)
{
        struct courier *courier;

        if (devices == NULL)
                return;
        courier = devices->courier;
        devices->courier = NULL;
        devices->n_workers = 0; /* they are gone */
        courier_destroy(courier);
        if (devices->again != NULL)
                event_free(devices->again);
        free(devices);
}

struct courier *devices_courier(struct devices *devices)
{
        return devices->courier;
}
