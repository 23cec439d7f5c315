/* tests/fanout/replicas.h -- a primary and its replicas, all real, and a listener for what is
 * published there. */
#pragma once

#include "fanout/entry.h"
#include "fanout/reader.h"
#include "tests/fanout/fixture.h"
#include "tests/support/sentinel.h"

#define REPLICAS_MAX 2
#define HEARD_MAX    16

struct fleet {
        struct fixture f; /* f.server is the primary */
        struct test_redis *replicas[REPLICAS_MAX];
        size_t n;
        struct redis *listener;
        struct token heard[HEARD_MAX]; /* what was published, in order */
        size_t n_heard;
};

static inline struct test_redis *server_start(void)
{
        const struct test_redis_options options = { .host = "127.0.0.1" };

        return test_redis_start_as(&options, "--repl-diskless-sync-delay", "0", NULL);
}

/* After it was given its data, a replica writes its append-only file anew; until then a kill would
 * lose it all. */
static inline void server_settle(struct test_redis *server)
{
        bool busy = true;

        for (uint64_t until_ms = clock_mono_ms() + PATIENCE_MS; busy;) {
                char *info = test_redis_ask(server, "INFO", "persistence", NULL);

                cr_assert(clock_mono_ms() < until_ms, "%s", info);
                busy = strstr(info, "aof_rewrite_in_progress:0") == NULL ||
                       strstr(info, "aof_rewrite_scheduled:0") == NULL;
                free(info);
        }
}

static inline void fleet_hear(void *owner, const char *bytes, size_t len)
{
        struct fleet *fleet = owner;
        struct entry *entry;

        cr_assert(eq(int, entry_parse_message(bytes, len, &entry), OK), "%.*s", (int)len, bytes);
        cr_assert(fleet->n_heard < HEARD_MAX);
        fleet->heard[fleet->n_heard++] = entry->signal.token;
        entry_unref(entry);
}

/* Hears what is published at `server` from now on. */
static inline void fleet_listen(struct fleet *fleet, struct test_redis *server)
{
        struct redis_options options = { .address = fixture_address(server), .name = "listener" };

        redis_destroy(fleet->listener);
        fleet->n_heard = 0;
        cr_assert(eq(int, redis_create(fleet->f.base, &options, &fleet->listener), OK));
        cr_assert(
            eq(int, redis_subscribe(fleet->listener, "{" NS "}:signals", fleet_hear, fleet), OK));
        run_until(fleet->f.base, redis_is_up(fleet->listener));
}

/* On the heap: the listener points to it. */
static inline struct fleet *fleet_start(size_t n, const char *durability)
{
        struct fleet *fleet = calloc(1, sizeof(*fleet));
        struct test_redis *primary = server_start();

        fleet->n = n;
        for (size_t i = 0; i < n; i++) {
                fleet->replicas[i] = server_start();
                test_redis_follow(fleet->replicas[i], "127.0.0.1", test_redis_port(primary));
                server_settle(fleet->replicas[i]);
        }
        fleet->f = fixture_start_on(primary, durability);
        fleet_listen(fleet, primary);
        return fleet;
}

static inline void fleet_stop(struct fleet *fleet)
{
        redis_destroy(fleet->listener);
        fixture_stop(&fleet->f);
        for (size_t i = 0; i < fleet->n; i++)
                test_redis_destroy(fleet->replicas[i]);
        free(fleet);
}

/* The primary is gone; replica 0 is the primary now, as a sentinel would have it, and has a replica
 * of its own. */
static inline void fleet_fail_over(struct fleet *fleet, const char *durability)
{
        struct test_redis *gone = fleet->f.server;
        struct redis_address address;

        fleet->f.server = fleet->replicas[0];
        test_redis_destroy(gone);
        test_redis_follow(fleet->f.server, NULL, 0);
        fleet->replicas[0] = server_start();
        test_redis_follow(fleet->replicas[0], "127.0.0.1", test_redis_port(fleet->f.server));
        address = fixture_address(fleet->f.server);
        fixture_relink(&fleet->f, &address, durability);
        fixture_writable(&fleet->f);
        fleet_listen(fleet, fleet->f.server);
}

/* --- what is there ---------------------------------------------------------------------------- */

static inline bool server_says(struct test_redis *server, const char *expected, const char *command,
                               const char *key, const char *more)
{
        char *answer = test_redis_ask(server, command, key, more, NULL);
        bool is_so = strcmp(answer, expected) == 0;

        free(answer);
        return is_so;
}

#define server_has_entries(server, n) server_says(server, n, "XLEN", "{" NS "}:log", NULL)

struct found {
        bool done;
        enum err err;
        enum request_state state;
        struct token token;
        struct event event;
        char durability[DURABILITY_TEXT_MAX + 1];
};

static inline void fleet_found(void *owner, enum err err, enum request_state state,
                               const struct token *token, const struct event *event,
                               const char *durability)
{
        struct found *found = owner;

        *found = (struct found){ .done = true, .err = err, .state = state };
        if (token != NULL) {
                found->token = *token;
                found->event = *event;
        }
        snprintf(found->durability, sizeof(found->durability), "%s", durability);
}

static inline struct found fleet_request(struct fleet *fleet, const char *key)
{
        struct found found = { 0 };

        cr_assert(eq(int, reader_request(fleet->f.redis, NS, key, fleet_found, &found), OK));
        run_until(fleet->f.base, found.done);
        cr_assert(eq(int, found.err, OK));
        return found;
}

static inline struct change change_with_key(enum command_kind kind, const char *key)
{
        struct change change = fixture_change("final", kind);

        strcpy(change.request_key, key);
        strcpy(change.fingerprint, FINGERPRINT_A);
        return change;
}
