/* tests/prefetch/test_store.c -- drafts and indexes in a real redis-server: what is taken, what is
 * refused, and what nobody knows. */
#include "prefetch/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "fanout/event.h"
#include "tests/support/redis_server.h"

#define GUARD_MS 20000 /* only a broken test waits so long */

struct rig {
        struct test_redis *server;
        struct event_base *base;
        struct redis *redis;
        bool up;
        unsigned done; /* answers of the store, and the last of them: */
        enum err err;
        uint32_t rows;
};

static struct rig rig;

static void on_state(void *owner, enum redis_state state, const char *why)
{
        (void)owner;
        (void)why;
        rig.up = state == REDIS_UP;
}

/* Turn the loop until `condition` holds. */
#define TURN_UNTIL(condition)                                                                  \
        do {                                                                                   \
                uint64_t until = clock_mono_ms() + GUARD_MS;                                   \
                while (!(condition)) {                                                         \
                        struct timeval slice = { 0, 20000 };                                   \
                        cr_assert(lt(u64, clock_mono_ms(), until), "waited for: " #condition); \
                        event_base_loopexit(rig.base, &slice);                                 \
                        event_base_dispatch(rig.base);                                         \
                }                                                                              \
        } while (0)

static void start(void)
{
        struct redis_options options = { .name = "test", .on_state = on_state };
        const char *why;

        memset(&rig, 0, sizeof(rig));
        rig.server = test_redis_start(NULL);
        rig.base = event_base_new();
        cr_assert(eq(int, redis_parse_url(test_redis_url(rig.server), &options.address, &why), OK));
        cr_assert(eq(int, redis_create(rig.base, &options, &rig.redis), OK));
        TURN_UNTIL(rig.up);
}

static void stop(void)
{
        redis_destroy(rig.redis);
        event_base_free(rig.base);
        test_redis_destroy(rig.server);
}

TestSuite(store, .init = start, .fini = stop);

static void on_done(void *owner, enum err err, const char *why)
{
        (void)owner;
        rig.done++;
        rig.err = err;
        if (err != OK)
                cr_assert(gt(sz, strlen(why), 0));
}

static void on_rows(void *owner, enum err err, struct bundle_index *index)
{
        (void)owner;
        rig.done++;
        rig.err = err;
        rig.rows = index != NULL ? index->n : 0;
}

static struct bundle_row row_of(const char *cohort, const char *body)
{
        struct bundle_row row = { .type = "text/plain", .size = (uint32_t)strlen(body) };

        snprintf(row.cohort, sizeof(row.cohort), "%s", cohort);
        bundle_sha256(body, strlen(body), row.sha256);
        return row;
}

static enum err put(const char *cohort, const char *body)
{
        struct bundle_row row = row_of(cohort, body);
        unsigned before = rig.done;

        cr_assert(eq(int, store_put_draft(rig.redis, "t", "cup", &row, body, on_done, &rig), OK));
        TURN_UNTIL(rig.done > before);
        return rig.err;
}

/* What a publish leaves in Redis. */
static void publish(const char *event, uint64_t bundle)
{
        struct event record = { .title = "Cup", .phase = PHASE_SCHEDULED };
        char *json;

        strcpy(record.state.event, event);
        strcpy(record.state.stage, "scheduled");
        record.state.version = bundle + 1;
        record.state.bundle = bundle;
        json = event_format(&record);
        test_redis_do(rig.server, "HSET", "{t}:events", event, json, NULL);
        free(json);
}

static void read_drafts(void)
{
        unsigned before = rig.done;

        cr_assert(eq(int, store_read_drafts(rig.redis, "t", "cup", on_rows, &rig), OK));
        TURN_UNTIL(rig.done > before);
        cr_assert(eq(int, rig.err, OK));
}

Test(store, a_draft_is_replaced_by_the_next_of_its_cohort_and_is_not_current)
{
        read_drafts();
        cr_assert(eq(u32, rig.rows, 0));
        cr_assert(eq(int, put("tv", "first"), OK));
        cr_assert(eq(int, put("tv", "second"), OK));
        cr_assert(eq(int, put("phone", ""), OK));
        read_drafts();
        cr_assert(eq(u32, rig.rows, 2));
        publish("cup", 1);
        cr_assert(eq(int, store_read_index(rig.redis, "t", "cup", 1, on_rows, &rig), OK));
        rig.done = 0;
        TURN_UNTIL(rig.done == 1);
        cr_assert(eq(int, rig.err, ERR_NOT_FOUND));
}

Test(store, a_cohort_past_the_limit_leaves_nothing_behind)
{
        const char *fill =
            "for i=1,tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], 'c'..i, 'x') end";

        test_redis_do(rig.server, "EVAL", fill, "1", "{t}:drafts:cup", "19999", NULL);
        cr_assert(eq(int, put("last", "x"), OK));
        cr_assert(eq(int, put("one-more", "x"), ERR_TOO_LARGE));
        cr_assert(eq(int, put("last", "y"), OK));
        TURN_UNTIL(rig.up);
        {
                char *n = test_redis_ask(rig.server, "HLEN", "{t}:drafts:cup", NULL);

                cr_assert(eq(str, n, "20000"));
                free(n);
        }
        test_redis_do(rig.server, "DEL", "{t}:drafts:cup", NULL);
        test_redis_do(rig.server, "EVAL", fill, "1", "{t}:bundles:cup", "20000", NULL);
        cr_assert(eq(int, put("c17", "x"), OK));
        cr_assert(eq(int, put("one-more", "x"), ERR_TOO_LARGE));
}

static enum err check_draft(const char *cohort)
{
        unsigned before = rig.done;

        cr_assert(eq(int, store_check_draft(rig.redis, "t", "cup", cohort, on_done, &rig), OK));
        TURN_UNTIL(rig.done > before);
        return rig.err;
}

Test(store, a_draft_is_checked_as_it_would_be_refused_and_nothing_is_written)
{
        const char *fill =
            "for i=1,tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], 'c'..i, 'x') end";
        char *n;

        cr_assert(eq(int, check_draft("tv"), OK));
        n = test_redis_ask(rig.server, "EXISTS", "{t}:drafts:cup", NULL);
        cr_assert(eq(str, n, "0"));
        free(n);
        test_redis_do(rig.server, "EVAL", fill, "1", "{t}:drafts:cup", "20000", NULL);
        cr_assert(eq(int, check_draft("one-more"), ERR_TOO_LARGE));
        cr_assert(eq(int, check_draft("c17"), OK)); /* would replace its own */
        test_redis_do(rig.server, "DEL", "{t}:drafts:cup", NULL);
        test_redis_do(rig.server, "EVAL", fill, "1", "{t}:bundles:cup", "20000", NULL);
        cr_assert(eq(int, check_draft("one-more"), ERR_TOO_LARGE));
        cr_assert(eq(int, check_draft("c17"), OK));
}

Test(store, what_redis_refuses_is_told_in_its_words)
{
        test_redis_do(rig.server, "SET", "{t}:drafts:cup", "not a hash", NULL);
        cr_assert(eq(int, put("tv", "x"), ERR_IO));
        test_redis_do(rig.server, "DEL", "{t}:drafts:cup", NULL);
        test_redis_do(rig.server, "CONFIG", "SET", "maxmemory", "1", NULL);
        cr_assert(eq(int, put("tv", "x"), ERR_IO));
        test_redis_do(rig.server, "CONFIG", "SET", "maxmemory", "0", NULL);
        cr_assert(eq(int, put("tv", "x"), OK));
}

Test(store, a_lost_redis_leaves_the_outcome_of_a_draft_unknown)
{
        struct bundle_row row = row_of("tv", "x");

        test_redis_pause(rig.server);
        cr_assert(eq(int, store_put_draft(rig.redis, "t", "cup", &row, "x", on_done, &rig), OK));
        test_redis_kill(rig.server);
        TURN_UNTIL(rig.done == 1);
        cr_assert(eq(int, rig.err, ERR_TIMEOUT));
        TURN_UNTIL(!rig.up);
        cr_assert(eq(int, store_put_draft(rig.redis, "t", "cup", &row, "x", on_done, &rig),
                     ERR_UNAVAILABLE));
}
