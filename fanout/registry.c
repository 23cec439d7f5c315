/* fanout/registry.c -- see the header. Happy path: FCALL kickoff1_arrive for up to 256 devices at
 * once; HMGET of one; PUBLISH. Redis away: nothing is kept here, whoever called is told, and
 * on_up() says when to begin anew. */
#include "fanout/registry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fanout/fanout_metrics.h"
#include "fanout/writer.h"
#include "proto/keys.h"

/* Whoever listens, and is asked, answers within this, or the link counts as lost. */
#define TIMEOUT_MS 1000

struct registry {
        struct registry_options options;
        struct redis *commands, *subscriber;
        char slot_key[KEY_MAX + 1], channel_prefix[KEY_MAX + 1];
        bool is_failing; /* said so in the log, and no write has gone well since */
        bool is_loading; /* the library */
};

/* --- links ------------------------------------------------------------------------------------ */

bool registry_is_up(const struct registry *registry)
{
        return redis_is_up(registry->commands) && redis_is_up(registry->subscriber);
}

struct redis *registry_redis(struct registry *registry)
{
        return registry->commands;
}

static void on_state(void *owner, enum redis_state state, const char *why)
{
        struct registry *registry = owner;

        (void)why;
        if (state == REDIS_UP && registry->subscriber != NULL && registry_is_up(registry))
                registry->options.on_up(registry->options.owner);
}

static void on_heard(void *owner, const char *bytes, size_t len)
{
        struct registry *registry = owner;

        registry->options.on_heard(registry->options.owner, bytes, len);
}

static enum err create_links(struct event_base *base, struct registry *registry)
{
        struct redis_options link = { .address = registry->options.address,
                                      .name = "devices",
                                      .timeout_ms = TIMEOUT_MS,
                                      .primary = true,
                                      .slot_key = registry->slot_key,
                                      .on_state = on_state,
                                      .owner = registry };
        char channel[KEY_MAX + 1];
        enum err err = redis_create(base, &link, &registry->commands);

        if (err != OK)
                return err;
        link.name = "nodes";
        link.timeout_ms = 0; /* the usual */
        err = redis_create(base, &link, &registry->subscriber);
        if (err != OK)
                return err;
        key_format(channel, registry->options.ns, KEY_NODE, registry->options.node);
        err = redis_subscribe(registry->subscriber, channel, on_heard, registry);
        if (err != OK)
                return err;
        key_format(channel, registry->options.ns, KEY_ASK, NULL);
        return redis_subscribe_also(registry->subscriber, channel);
}

enum err registry_create(struct event_base *base, const struct registry_options *options,
                         struct registry **ret_registry)
{
        struct registry *registry = calloc(1, sizeof(*registry));
        enum err err;

        if (registry == NULL)
                return ERR_NOMEM;
        registry->options = *options;
        key_format(registry->slot_key, options->ns, KEY_META, NULL);
        key_format(registry->channel_prefix, options->ns, KEY_NODE, "");
        err = create_links(base, registry);
        if (err != OK) {
                registry_destroy(registry);
                return err;
        }
        *ret_registry = registry;
        return OK;
}

void registry_destroy(struct registry *registry)
{
        if (registry == NULL)
                return;
        redis_destroy(registry->subscriber);
        redis_destroy(registry->commands); /* who waits is told ERR_TIMEOUT */
        free(registry);
}

/* --- records: writing --------------------------------------------------------------------------
 */

struct call { /* FCALL: argv of one command, made of texts that live as long */
        struct buf texts;
        size_t n, at[8 + 4 * REGISTRY_ROWS_MAX];
        const char *argv[8 + 4 * REGISTRY_ROWS_MAX];
};

static void call_add(struct call *call, const char *text)
{
        call->at[call->n++] = call->texts.len;
        buf_add(&call->texts, text, strlen(text) + 1);
}

static void call_keys(struct call *call, const struct registry *registry, const char *function,
                      const struct registry_row *rows, size_t n)
{
        char key[KEY_MAX + 1], count[8];

        snprintf(count, sizeof(count), "%zu", n);
        call_add(call, "FCALL");
        call_add(call, function);
        call_add(call, count);
        for (size_t i = 0; i < n; i++) {
                key_format(key, registry->options.ns, KEY_DEVICE, rows[i].device);
                call_add(call, key);
        }
}

/* Frees the call. */
static enum err call_send(struct call *call, struct registry *registry, redis_reply_fn *on_reply,
                          void *owner)
{
        enum err err = ERR_NOMEM;

        if (!call->texts.failed) {
                for (size_t i = 0; i < call->n; i++)
                        call->argv[i] = call->texts.data + call->at[i];
                err = redis_command(registry->commands, on_reply, owner, (int)call->n, call->argv,
                                    NULL);
        }
        buf_fini(&call->texts);
        free(call);
        return err;
}

struct arriving {
        struct registry *registry;
        registry_arrived_fn *done;
        void *owner;
};

static void on_loaded(void *owner, enum err err, const char *why)
{
        struct registry *registry = owner;

        (void)err, (void)why; /* the follower says so, too */
        registry->is_loading = false;
}

static void note_failure(struct registry *registry, const struct redis_reply *reply)
{
        const char *why = reply != NULL ? redis_text(reply, NULL) : "no answer";

        metric_add(&fanout_metric_registry_failures, 1);
        if (!registry->is_failing)
                log_warn("REGISTRY-NOT-WRITTEN", "why=%s", log_quote(why));
        registry->is_failing = true;
        if (strstr(why, "Function not found") != NULL && !registry->is_loading)
                registry->is_loading = library_load(registry->commands, on_loaded, registry) == OK;
}

static bool read_lost(const struct redis_reply *one, struct registry_lost *ret)
{
        size_t len;
        const char *node = redis_text(redis_at(one, 1), &len);

        if (redis_count(one) != 3 || !name_is_valid(node, len, NODE_NAME_MAX))
                return false;
        ret->row = strtoul(redis_text(redis_at(one, 0), NULL), NULL, 10);
        memcpy(ret->node, node, len + 1);
        ret->session = strtoull(redis_text(redis_at(one, 2), NULL), NULL, 16);
        return true;
}

static void on_arrived(void *owner, const struct redis_reply *reply)
{
        struct arriving arriving = *(struct arriving *)owner;
        struct registry_lost lost[REGISTRY_ROWS_MAX];
        size_t n = 0;

        free(owner);
        if (reply == NULL || redis_type(reply) != REDIS_ARRAY) {
                note_failure(arriving.registry, reply);
                arriving.done(arriving.owner, reply == NULL ? ERR_TIMEOUT : ERR_IO, NULL, 0);
                return;
        }
        arriving.registry->is_failing = false;
        for (size_t i = 0; i < redis_count(reply) && n < REGISTRY_ROWS_MAX; i++)
                n += read_lost(redis_at(reply, i), &lost[n]);
        arriving.done(arriving.owner, OK, lost, n);
}

static const char *publish_of(const struct registry *registry)
{
        return redis_server(registry->commands)->is_cluster ? "SPUBLISH" : "PUBLISH";
}

enum err registry_arrive(struct registry *registry, const struct registry_row *rows, size_t n,
                         registry_arrived_fn *done, void *owner)
{
        struct arriving *arriving = malloc(sizeof(*arriving));
        struct call *call = calloc(1, sizeof(*call));
        char text[24];
        enum err err;

        check(n <= REGISTRY_ROWS_MAX);
        if (arriving == NULL || call == NULL) {
                free(arriving);
                free(call);
                return ERR_NOMEM;
        }
        *arriving = (struct arriving){ registry, done, owner };
        call_keys(call, registry, "kickoff1_arrive", rows, n);
        call_add(call, registry->options.node);
        snprintf(text, sizeof(text), "%u", registry->options.keep_s);
        call_add(call, text);
        call_add(call, publish_of(registry));
        call_add(call, registry->channel_prefix);
        for (size_t i = 0; i < n; i++) {
                snprintf(text, sizeof(text), "%016" PRIx64, rows[i].session);
                call_add(call, text);
                snprintf(text, sizeof(text), "%" PRIu64, rows[i].age_ms);
                call_add(call, text);
                call_add(call, rows[i].device);
        }
        err = call_send(call, registry, on_arrived, arriving);
        if (err != OK)
                free(arriving);
        else
                metric_add(&fanout_metric_registered, (int64_t)n);
        return err;
}

void registry_leave(struct registry *registry, const char *node, const struct registry_row *rows,
                    size_t n, bool unseen)
{
        struct call *call = calloc(1, sizeof(*call));
        char text[24];

        check(n <= REGISTRY_ROWS_MAX);
        if (call == NULL)
                return;
        call_keys(call, registry, "kickoff1_leave", rows, n);
        call_add(call, node);
        call_add(call, unseen ? "1" : "0");
        for (size_t i = 0; i < n; i++) {
                snprintf(text, sizeof(text), "%016" PRIx64, rows[i].session);
                call_add(call, text);
        }
        if (call_send(call, registry, NULL, NULL) != OK)
                log_debug("REGISTRY-NOT-WRITTEN", "why=redis-away");
}

/* --- records: reading --------------------------------------------------------------------------
 */

struct routing {
        registry_route_fn *done;
        void *owner;
};

static int64_t number_at(const struct redis_reply *reply, size_t i)
{
        return strtoll(redis_text(redis_at(reply, i), NULL), NULL, 10);
}

static void on_route(void *owner, const struct redis_reply *reply)
{
        struct routing routing = *(struct routing *)owner;
        struct registry_route route = { 0 };
        const char *node;
        size_t len;

        free(owner);
        if (reply == NULL || redis_type(reply) != REDIS_ARRAY || redis_count(reply) != 4) {
                routing.done(routing.owner, reply == NULL ? ERR_TIMEOUT : ERR_IO, &route);
                return;
        }
        node = redis_text(redis_at(reply, 0), &len);
        if (name_is_valid(node, len, NODE_NAME_MAX)) {
                memcpy(route.node, node, len + 1);
                route.session = strtoull(redis_text(redis_at(reply, 1), NULL), NULL, 16);
                route.came = number_at(reply, 2);
                route.went = number_at(reply, 3);
                route.is_there = route.went == 0;
        }
        routing.done(routing.owner, OK, &route);
}

enum err registry_route(struct registry *registry, const char *device, registry_route_fn *done,
                        void *owner)
{
        struct routing *routing = malloc(sizeof(*routing));
        char key[KEY_MAX + 1];
        enum err err;

        if (routing == NULL)
                return ERR_NOMEM;
        *routing = (struct routing){ done, owner };
        key_format(key, registry->options.ns, KEY_DEVICE, device);

        const char *const argv[] = { "HMGET", key, "n", "s", "t", "g" };

        err = redis_command(registry->commands, on_route, routing, countof(argv), argv, NULL);
        if (err != OK)
                free(routing);
        return err;
}

/* --- speaking ----------------------------------------------------------------------------------
 */

struct saying {
        registry_said_fn *done;
        void *owner;
};

static void on_said(void *owner, const struct redis_reply *reply)
{
        struct saying saying = *(struct saying *)owner;
        bool is_good = reply != NULL && redis_type(reply) == REDIS_INTEGER;

        free(owner);
        saying.done(saying.owner,
                    is_good         ? OK
                    : reply == NULL ? ERR_TIMEOUT
                                    : ERR_IO,
                    is_good ? (unsigned)redis_integer(reply) : 0);
}

enum err registry_say(struct registry *registry, const char *node, const char *text, size_t len,
                      registry_said_fn *done, void *owner)
{
        struct saying *saying = done != NULL ? malloc(sizeof(*saying)) : NULL;
        char channel[KEY_MAX + 1];
        enum err err;

        if (done != NULL && saying == NULL)
                return ERR_NOMEM;
        if (saying != NULL)
                *saying = (struct saying){ done, owner };
        key_format(channel, registry->options.ns, node != NULL ? KEY_NODE : KEY_ASK, node);

        const char *const argv[] = { publish_of(registry), channel, text };
        const size_t lens[] = { strlen(argv[0]), strlen(channel), len };

        err = redis_command(registry->commands, saying != NULL ? on_said : NULL, saying,
                            countof(argv), argv, lens);
        if (err != OK)
                free(saying);
        return err;
}
