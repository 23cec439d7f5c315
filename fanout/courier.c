/* fanout/courier.c -- see the header. An errand is in one state, and has one timer; whatever ends
 * it calls finish(), and what comes for it afterwards finds its number gone. */
#include "fanout/courier.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fanout/fanout_metrics.h"
#include "fanout/presence.h"

enum errand_state {
        ERRAND_HERE,   /* this node is asked */
        ERRAND_ROUTE,  /* the registry is */
        ERRAND_NODE,   /* the node it named is */
        ERRAND_ALL,    /* all are */
        ERRAND_LIVING, /* all that answered said no: which nodes live? */
        ERRAND_FOREIGN /* another node's; this one is asked for it */
};

#define SAYERS_MAX 256 /* nodes whose no is remembered */

struct errand {
        struct courier *courier;
        uint64_t number; /* random above, place in the table below */
        enum errand_state state;
        struct device_query query;
        courier_answer_fn *done; /* FOREIGN: none */
        void *owner;
        uint64_t theirs;              /* FOREIGN: the asker's number */
        char from[NODE_NAME_MAX + 1]; /* FOREIGN: the asker; NODE: who was asked */
        struct registry_route route;
        int64_t last_seen;
        unsigned receivers;          /* ALL: nodes that got the question; 0 = not known yet */
        unsigned n_sayers;           /* ALL: nodes that said no */
        uint32_t sayers[SAYERS_MAX]; /* their names, hashed */
        struct event *timer;
};

struct courier {
        struct courier_options options;
        struct registry *registry;
        struct rng rng;
        unsigned n_all; /* errands in ALL */
        struct errand *errands[COURIER_ERRANDS];
};

struct reference { /* what a callback of Redis gets: the errand may be gone */
        struct courier *courier;
        uint64_t number;
};

/* FNV-1a (Fowler, Noll, Vo), 32 bits. */
static uint32_t name_hash(const char *name)
{
        uint32_t hash = 2166136261u;

        for (; *name != '\0'; name++)
                hash = (hash ^ (uint8_t)*name) * 16777619u;
        return hash;
}

static struct errand *find(struct courier *courier, uint64_t number)
{
        struct errand *errand = courier->errands[number % COURIER_ERRANDS];

        return errand != NULL && errand->number == number ? errand : NULL;
}

static void end(struct errand *errand)
{
        struct courier *courier = errand->courier;

        courier->n_all -= errand->state == ERRAND_ALL;
        courier->errands[errand->number % COURIER_ERRANDS] = NULL;
        if (errand->timer != NULL)
                event_free(errand->timer);
        free(errand);
}

static void finish(struct errand *errand, const struct device_answer *answer)
{
        courier_answer_fn *done = errand->done;
        void *owner = errand->owner;
        struct device_answer copy = *answer;

        end(errand);
        if (done != NULL)
                done(owner, &copy);
}

static void finish_with(struct errand *errand, enum device_outcome outcome, const char *node)
{
        struct device_answer answer = { .outcome = outcome,
                                        .retry_after_ms = COURIER_RETRY_MS,
                                        .last_seen = errand->last_seen };

        strcpy(answer.node, node);
        metric_add(outcome == DEVICE_ABSENT ? &fanout_metric_errands_absent
                                            : &fanout_metric_errands_silent,
                   1);
        finish(errand, &answer);
}

static void set_state(struct errand *errand, enum errand_state state, unsigned within_ms)
{
        const struct timeval within = { within_ms / 1000, within_ms % 1000 * 1000 };

        errand->courier->n_all += state == ERRAND_ALL;
        errand->courier->n_all -= errand->state == ERRAND_ALL;
        errand->state = state;
        check(event_add(errand->timer, &within) == 0);
}

/* For a callback of Redis. NULL = no memory; then the timer ends the errand. */
static struct reference *refer(struct errand *errand)
{
        struct reference *reference = malloc(sizeof(*reference));

        if (reference != NULL)
                *reference = (struct reference){ errand->courier, errand->number };
        return reference;
}

static struct errand *resolve(void *owner)
{
        struct reference reference = *(struct reference *)owner;

        free(owner);
        return find(reference.courier, reference.number);
}

/* --- all nodes -------------------------------------------------------------------------------- */

static bool has_said_no(const struct errand *errand, const char *name)
{
        uint32_t hash = name_hash(name);

        for (unsigned i = 0; i < errand->n_sayers; i++)
                if (errand->sayers[i] == hash)
                        return true;
        return false;
}

/* A node may be there and not listen: its link is on its way back. Then nothing is known of its
 * devices. */
static void on_living(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct errand *errand = resolve(owner);

        if (errand == NULL || errand->state != ERRAND_LIVING)
                return;
        if (err != OK) {
                finish_with(errand, DEVICE_UNKNOWN, "");
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (nodes[i].gone || nodes[i].ended ||
                    strcmp(nodes[i].name, errand->courier->options.node) == 0 ||
                    has_said_no(errand, nodes[i].name))
                        continue;
                finish_with(errand, DEVICE_SILENT, nodes[i].name);
                return;
        }
        if (errand->route.is_there) {
                const struct registry_row row = { .device = errand->query.device,
                                                  .session = errand->route.session };

                registry_leave(errand->courier->registry, errand->route.node, &row, 1, true);
        }
        finish_with(errand, DEVICE_ABSENT, "");
}

static void ask_who_lives(struct errand *errand)
{
        struct courier *courier = errand->courier;
        struct reference *reference = refer(errand);

        set_state(errand, ERRAND_LIVING, COURIER_NODE_MS);
        if (reference == NULL ||
            presence_read(registry_redis(courier->registry), courier->options.ns, clock_wall_ms(),
                          on_living, reference) != OK) {
                free(reference);
                finish_with(errand, DEVICE_UNKNOWN, "");
        }
}

/* This node hears its own question, too, and does not answer it. */
static void conclude(struct errand *errand)
{
        if (errand->receivers > 0 && errand->n_sayers + 1 >= errand->receivers)
                ask_who_lives(errand);
}

static void on_all_said(void *owner, enum err err, unsigned receivers)
{
        struct errand *errand = resolve(owner);

        if (errand == NULL || errand->state != ERRAND_ALL)
                return;
        if (err != OK) {
                finish_with(errand, DEVICE_UNKNOWN, "");
                return;
        }
        errand->receivers = receivers > 0 ? receivers : 1;
        conclude(errand);
}

/* False: nothing was sent. */
static bool say(struct errand *errand, const char *node, registry_said_fn *done)
{
        struct courier *courier = errand->courier;
        struct reference *reference = refer(errand);
        struct buf text = BUF_INIT;
        bool is_said;

        device_query_format(&errand->query, errand->number, courier->options.node, &text);
        is_said = reference != NULL && !text.failed &&
                  registry_say(courier->registry, node, text.data, text.len, done, reference) == OK;
        if (!is_said)
                free(reference);
        buf_fini(&text);
        return is_said;
}

static void ask_all(struct errand *errand)
{
        struct courier *courier = errand->courier;

        if (courier->n_all >= COURIER_ASKS_ALL) {
                finish_with(errand, DEVICE_SILENT, "");
                return;
        }
        set_state(errand, ERRAND_ALL, COURIER_ALL_MS);
        metric_add(&fanout_metric_errands_all, 1);
        if (!say(errand, NULL, on_all_said))
                finish_with(errand, DEVICE_UNKNOWN, "");
}

/* --- the node that the registry names ----------------------------------------------------------
 */

static void on_node_said(void *owner, enum err err, unsigned receivers)
{
        struct errand *errand = resolve(owner);

        if (errand == NULL || errand->state != ERRAND_NODE)
                return;
        if (err != OK)
                finish_with(errand, DEVICE_UNKNOWN, "");
        else if (receivers == 0) /* it has died, or its link is on its way back */
                ask_all(errand);
}

/* That node does not hold it: the record is of a session that is gone. */
static void forget_route(struct errand *errand)
{
        const struct registry_row row = { .device = errand->query.device,
                                          .session = errand->route.session };

        metric_add(&fanout_metric_routes_stale, 1);
        errand->last_seen = errand->route.came;
        registry_leave(errand->courier->registry, errand->route.node, &row, 1, true);
        errand->route.is_there = false;
}

static void on_route(void *owner, enum err err, const struct registry_route *route)
{
        struct errand *errand = resolve(owner);

        if (errand == NULL || errand->state != ERRAND_ROUTE)
                return;
        if (err == ERR_TIMEOUT) {
                finish_with(errand, DEVICE_UNKNOWN, "");
                return;
        }
        errand->route = *route;
        errand->last_seen = route->is_there ? route->came : route->went;
        if (route->is_there && strcmp(route->node, errand->courier->options.node) == 0)
                forget_route(errand); /* this node was asked first */
        if (!errand->route.is_there) {
                ask_all(errand);
                return;
        }
        strcpy(errand->from, route->node);
        set_state(errand, ERRAND_NODE, COURIER_NODE_MS);
        if (!say(errand, route->node, on_node_said))
                finish_with(errand, DEVICE_UNKNOWN, "");
}

static void ask_elsewhere(struct errand *errand)
{
        struct courier *courier = errand->courier;
        struct reference *reference;

        if (!registry_is_up(courier->registry)) {
                finish_with(errand, DEVICE_UNKNOWN, "");
                return;
        }
        if (!courier->options.uses_registry) {
                ask_all(errand);
                return;
        }
        set_state(errand, ERRAND_ROUTE, COURIER_NODE_MS);
        reference = refer(errand);
        if (reference == NULL ||
            registry_route(courier->registry, errand->query.device, on_route, reference) != OK) {
                free(reference);
                finish_with(errand, DEVICE_UNKNOWN, "");
        }
}

/* --- answers -----------------------------------------------------------------------------------
 */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct errand *errand = arg;

        (void)fd;
        (void)what;
        switch (errand->state) {
        case ERRAND_FOREIGN: /* who asked has given up, too */
                end(errand);
                break;
        case ERRAND_NODE:
                finish_with(errand, DEVICE_SILENT, errand->from);
                break;
        case ERRAND_ROUTE:
        case ERRAND_LIVING:
                finish_with(errand, DEVICE_UNKNOWN, "");
                break;
        case ERRAND_HERE:
        case ERRAND_ALL:
                finish_with(errand, DEVICE_SILENT, "");
                break;
        }
}

static void reply_to(struct errand *errand, const struct device_answer *answer)
{
        struct courier *courier = errand->courier;
        struct device_answer named = *answer;
        struct buf text = BUF_INIT;

        strcpy(named.node, courier->options.node);
        device_answer_format(&named, errand->theirs, &text);
        if (text.failed ||
            registry_say(courier->registry, errand->from, text.data, text.len, NULL, NULL) != OK)
                metric_add(&fanout_metric_registry_failures, 1); /* it asks again */
        buf_fini(&text);
        end(errand);
}

void courier_told(struct courier *courier, uint64_t number, const struct device_answer *answer)
{
        struct errand *errand = find(courier, number);

        if (errand == NULL)
                return;
        if (errand->state == ERRAND_FOREIGN) {
                reply_to(errand, answer);
        } else if (errand->state == ERRAND_HERE && answer->outcome == DEVICE_ABSENT) {
                ask_elsewhere(errand);
        } else if (errand->state == ERRAND_HERE) {
                struct device_answer named = *answer;

                strcpy(named.node, courier->options.node);
                metric_add(&fanout_metric_errands_here, 1);
                finish(errand, &named);
        }
}

static void on_answer(struct courier *courier, const struct device_heard *heard)
{
        const struct device_answer *answer = &heard->answer;
        struct errand *errand = find(courier, heard->errand);

        if (errand == NULL || (errand->state != ERRAND_NODE && errand->state != ERRAND_ALL))
                return;
        if (answer->outcome != DEVICE_ABSENT) {
                metric_add(&fanout_metric_errands_there, 1);
                finish(errand, answer);
        } else if (errand->state == ERRAND_NODE) {
                forget_route(errand);
                ask_all(errand);
        } else if (!has_said_no(errand, answer->node) && errand->n_sayers < SAYERS_MAX) {
                errand->sayers[errand->n_sayers++] = name_hash(answer->node);
                conclude(errand);
        }
}

/* --- beginning ---------------------------------------------------------------------------------
 */

/* NULL: no room, or no memory. Its timer is not set. */
static struct errand *begin(struct courier *courier, const struct device_query *query)
{
        uint64_t number = rng_u64(&courier->rng) | COURIER_ERRANDS; /* never 0 */
        struct errand *errand;

        for (unsigned i = 0; courier->errands[number % COURIER_ERRANDS] != NULL; i++, number++)
                if (i == COURIER_ERRANDS)
                        return NULL;
        errand = calloc(1, sizeof(*errand));
        if (errand == NULL)
                return NULL;
        errand->timer = evtimer_new(courier->options.base, on_timer, errand);
        if (errand->timer == NULL) {
                free(errand);
                return NULL;
        }
        errand->courier = courier;
        errand->number = number;
        errand->query = *query;
        courier->errands[number % COURIER_ERRANDS] = errand;
        return errand;
}

void courier_ask(struct courier *courier, const struct device_query *query, courier_answer_fn *done,
                 void *owner)
{
        struct errand *errand = begin(courier, query);

        if (errand == NULL) {
                const struct device_answer full = { .outcome = DEVICE_SILENT,
                                                    .retry_after_ms = COURIER_RETRY_MS };

                done(owner, &full);
                return;
        }
        errand->done = done;
        errand->owner = owner;
        set_state(errand, ERRAND_HERE, COURIER_NODE_MS);
        courier->options.ask_here(courier->options.owner, &errand->query, errand->number);
}

void courier_tell(struct courier *courier, const char *node, const struct device_query *query)
{
        struct buf text = BUF_INIT;

        device_query_format(query, 0, courier->options.node, &text);
        if (text.failed ||
            registry_say(courier->registry, node, text.data, text.len, NULL, NULL) != OK)
                metric_add(&fanout_metric_registry_failures, 1);
        buf_fini(&text);
}

static void on_query(struct courier *courier, const struct device_heard *heard)
{
        struct errand *errand;

        if (heard->query.what == DEVICE_REPLACED || heard->query.what == DEVICE_CLAIMED) {
                courier->options.ask_here(courier->options.owner, &heard->query, 0);
                return;
        }
        if (strcmp(heard->from, courier->options.node) == 0)
                return; /* this node has been asked already */
        errand = begin(courier, &heard->query);
        if (errand == NULL)
                return;
        errand->theirs = heard->errand;
        strcpy(errand->from, heard->from);
        set_state(errand, ERRAND_FOREIGN, COURIER_NODE_MS);
        courier->options.ask_here(courier->options.owner, &errand->query, errand->number);
}

static void on_heard(void *owner, const char *bytes, size_t len)
{
        struct courier *courier = owner;
        struct device_heard heard;

        switch (device_heard_parse(bytes, len, &heard)) {
        case DEVICE_LETTER_QUERY:
                on_query(courier, &heard);
                break;
        case DEVICE_LETTER_ANSWER:
                on_answer(courier, &heard);
                break;
        case DEVICE_LETTER_NONE:
                metric_add(&fanout_metric_log_unreadable, 1);
                break;
        }
}

static void on_up(void *owner)
{
        struct courier *courier = owner;

        courier->options.on_up(courier->options.owner);
}

enum err courier_create(const struct courier_options *options, struct courier **ret_courier)
{
        struct courier *courier = calloc(1, sizeof(*courier));
        const struct registry_options registry = { .address = options->address,
                                                   .ns = options->ns,
                                                   .node = options->node,
                                                   .keep_s = options->keep_s,
                                                   .on_heard = on_heard,
                                                   .on_up = on_up,
                                                   .owner = courier };
        enum err err;

        if (courier == NULL)
                return ERR_NOMEM;
        courier->options = *options;
        rng_seed(&courier->rng, rng_secure_u64());
        err = registry_create(options->base, &registry, &courier->registry);
        if (err != OK) {
                free(courier);
                return err;
        }
        *ret_courier = courier;
        return OK;
}

void courier_destroy(struct courier *courier)
{
        const struct device_answer silent = { .outcome = DEVICE_SILENT,
                                              .retry_after_ms = COURIER_RETRY_MS };

        if (courier == NULL)
                return;
        for (unsigned i = 0; i < COURIER_ERRANDS; i++)
                if (courier->errands[i] != NULL)
                        finish(courier->errands[i], &silent);
        registry_destroy(courier->registry);
        free(courier);
}

struct registry *courier_registry(struct courier *courier)
{
        return courier->registry;
}

bool courier_uses_registry(const struct courier *courier)
{
        return courier->options.uses_registry;
}
