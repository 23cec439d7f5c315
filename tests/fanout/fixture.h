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
#include "fanout/primary.h"
#include "fanout/writer.h"
#include "tests/support/redis_server.h"

#define NS            "test"
#define PATIENCE_MS   20000 /* until a test gives up on something that must happen */
#define TEST_NOW      1790000000000LL
#define FINGERPRINT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FINGERPRINT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct fixture_log { /* what the fixture's node would hold of the log */
        struct token witness;
        bool keep; /* as it is; else it is read anew before each change */
};

struct fixture {
        struct test_redis *server;
        struct event_base *base;
        struct primary *primary;
        struct redis *redis; /* the primary's link */
        struct writer *writer;
        struct fixture_log *log;
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

/* Opens the log, as the first node would. */
static inline void fixture_open_log(struct test_redis *server)
{
        char *answer = test_redis_ask(server, "FCALL", "kickoff1_renew", "3", "{" NS "}:meta",
                                      "{" NS "}:log", "{" NS "}:events", "", "0001aaaaaaaaaaaa",
                                      "00000000000000aa", "", "0", "", NULL);

        cr_assert(eq(int, strncmp(answer, "renewed", 7), 0), "%s", answer);
        free(answer);
}

/* The place where the log ends for everybody. */
static inline struct token fixture_place(struct test_redis *server)
{
        char *answer = test_redis_ask(server, "FCALL_RO", "kickoff1_head", "2", "{" NS "}:meta",
                                      "{" NS "}:log", "", "0", "", NULL);
        struct token place = { 0 };

        for (char *at = strchr(answer, '\n'); at != NULL; at = strchr(at, '\n'))
                *at = '.'; /* epoch, seq, tag, parent */
        if (strrchr(answer, '.') != NULL)
                *strrchr(answer, '.') = '\0';
        if (answer[0] != '.' && answer[0] != '-')
                cr_assert(eq(int, token_parse(answer, strlen(answer), &place), OK), "%s", answer);
        free(answer);
        return place;
}

static inline struct token fixture_witness(void *owner)
{
        return ((struct fixture_log *)owner)->witness;
}

static inline void fixture_refused(void *owner, const char *why)
{
        (void)owner;
        (void)why;
}

static inline struct primary *fixture_primary(struct event_base *base,
                                              const struct redis_address *address,
                                              const char *durability)
{
        struct primary_options options = { .address = *address, .ns = NS };
        const struct primary_callbacks callbacks = { .on_refused = fixture_refused };
        struct primary *primary = NULL;
        const char *why;

        cr_assert(eq(int, durability_parse(durability, &options.durability, &why), OK));
        cr_assert(eq(int, primary_create(base, &options, &callbacks, &primary), OK));
        return primary;
}

#define fixture_writable(f) run_until((f)->base, primary_why_not_writable((f)->primary) == NULL)

static inline struct writer *fixture_writer(struct fixture *f)
{
        const struct writer_options options = {
                .primary = f->primary, .ns = NS, .witness = fixture_witness, .owner = f->log
        };
        struct writer *writer = NULL;

        cr_assert(eq(int, writer_create(f->base, &options, &writer), OK));
        return writer;
}

/* Another link and another writer on it, such as those of another node or another user. */
static inline void fixture_relink(struct fixture *f, const struct redis_address *address,
                                  const char *durability)
{
        writer_destroy(f->writer);
        primary_destroy(f->primary);
        f->primary = fixture_primary(f->base, address, durability);
        f->redis = primary_redis(f->primary);
        f->writer = fixture_writer(f);
}

static inline struct fixture fixture_start_on(struct test_redis *server, const char *durability)
{
        struct fixture f = { .server = server, .base = event_base_new() };
        struct redis_address address = fixture_address(f.server);

        f.log = calloc(1, sizeof(*f.log));
        f.primary = fixture_primary(f.base, &address, durability);
        f.redis = primary_redis(f.primary);
        run_until(f.base, redis_is_up(f.redis));
        fixture_load_library(f.base, f.redis);
        fixture_open_log(f.server);
        f.writer = fixture_writer(&f);
        return f;
}

static inline struct fixture fixture_start(void)
{
        return fixture_start_on(test_redis_start(NULL), "fsync");
}

static inline void fixture_stop(struct fixture *f)
{
        writer_destroy(f->writer);
        primary_destroy(f->primary);
        event_base_free(f->base);
        test_redis_destroy(f->server);
        free(f->log);
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
        if (!f->log->keep && test_redis_pid(f->server) != 0 && redis_is_up(f->redis))
                f->log->witness = fixture_place(f->server);
        cr_assert(eq(int, writer_submit(f->writer, change, TEST_NOW, fixture_done, result), OK));
        cr_assert(not(result->done), "told from inside the submit");
}

/* Whether changes can be written or not. */
static inline struct result fixture_try(struct fixture *f, const struct change *change)
{
        struct result result;

        fixture_submit(f, change, &result);
        run_until(f->base, result.done);
        return result;
}

static inline struct result fixture_do(struct fixture *f, const struct change *change)
{
        fixture_writable(f);
        return fixture_try(f, change);
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
