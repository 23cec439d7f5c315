/* tests/fanout/fixture.h -- a real redis-server, an event loop that runs until something is true,
 * and one call per thing that the tests of this folder do to a log. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <event2/event.h>

#include "base/clock.h"
#include "base/redis.h"
#include "fanout/writer.h"
#include "tests/support/redis_server.h"

#define NS            "test"
#define PATIENCE_MS   20000 /* until a test gives up on something that must happen */
#define TEST_NOW      1790000000000LL
#define FINGERPRINT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FINGERPRINT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct fixture {
        struct test_redis *server;
        struct event_base *base;
        struct redis *redis;
        struct writer *writer;
};

/* Runs the loop until `condition`, or fails the test. */
#define run_until(base, condition)                                                        \
        do {                                                                              \
                uint64_t run_until_deadline = clock_mono_ms() + PATIENCE_MS;              \
                while (!(condition)) {                                                    \
                        struct timeval run_until_turn = { 0, 20000 };                     \
                        cr_assert(clock_mono_ms() < run_until_deadline, "never came: %s", \
                                  #condition);                                            \
                        event_base_loopexit(base, &run_until_turn);                       \
                        event_base_loop(base, EVLOOP_ONCE);                               \
                }                                                                         \
        } while (0)

static inline struct redis_address fixture_address(struct test_redis *server)
{
        struct redis_address address;
        const char *why;

        cr_assert(eq(int, redis_parse_url(test_redis_url(server), &address, &why), OK));
        return address;
}

static inline struct redis *fixture_link(struct event_base *base, struct test_redis *server)
{
        struct redis_options options = { .address = fixture_address(server), .name = "test" };
        struct redis *redis = NULL;

        cr_assert(eq(int, redis_create(base, &options, &redis), OK));
        run_until(base, redis_is_up(redis));
        return redis;
}

static inline void fixture_loaded(void *owner, enum err err, const char *why)
{
        cr_assert(eq(int, err, OK), "%s", why);
        *(bool *)owner = true;
}

static inline void fixture_load_library(struct event_base *base, struct redis *redis)
{
        bool loaded = false;

        cr_assert(eq(int, library_load(redis, fixture_loaded, &loaded), OK));
        run_until(base, loaded);
}

static inline struct fixture fixture_start(void)
{
        struct fixture f = { .server = test_redis_start(NULL), .base = event_base_new() };

        f.redis = fixture_link(f.base, f.server);
        fixture_load_library(f.base, f.redis);
        cr_assert(eq(int, writer_create(f.base, f.redis, NS, &f.writer), OK));
        return f;
}

static inline void fixture_stop(struct fixture *f)
{
        writer_destroy(f->writer);
        redis_destroy(f->redis);
        event_base_free(f->base);
        test_redis_destroy(f->server);
}

/* --- changes -------------------------------------------------------------------------------- */

struct result {
        bool done;
        struct outcome outcome; /* why points to `why` */
        char why[300];
};

static inline void fixture_done(void *owner, const struct outcome *outcome)
{
        struct result *result = owner;

        cr_assert(not(result->done), "told twice");
        result->done = true;
        result->outcome = *outcome;
        snprintf(result->why, sizeof(result->why), "%s", outcome->why != NULL ? outcome->why : "");
}

static inline struct event fixture_event(const char *id)
{
        struct event event = { .title = "A title" };

        snprintf(event.state.event, sizeof(event.state.event), "%s", id);
        event.state.starts_at = TEST_NOW + 3600000;
        return event;
}

static inline struct change fixture_change(const char *event, enum command_kind kind)
{
        struct change change = { .command = { .kind = kind } };

        snprintf(change.event, sizeof(change.event), "%s", event);
        return change;
}

static inline void fixture_submit(struct fixture *f, const struct change *change,
                                  struct result *result)
{
        *result = (struct result){ 0 };
        cr_assert(eq(int, writer_submit(f->writer, change, TEST_NOW, fixture_done, result), OK));
        cr_assert(not(result->done), "told from inside the submit");
}

static inline struct result fixture_do(struct fixture *f, const struct change *change)
{
        struct result result;

        fixture_submit(f, change, &result);
        run_until(f->base, result.done);
        return result;
}

static inline struct result fixture_create(struct fixture *f, const char *id)
{
        struct event wanted = fixture_event(id);
        struct change change = fixture_change(id, COMMAND_CREATE);

        change.command.create = &wanted;
        return fixture_do(f, &change);
}

static inline struct result fixture_command(struct fixture *f, const char *event,
                                            enum command_kind kind)
{
        struct change change = fixture_change(event, kind);

        return fixture_do(f, &change);
}
