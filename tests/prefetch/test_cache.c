/* tests/prefetch/test_cache.c -- cache, loader and store together, against a real redis-server.
 * Worker and control thread are one loop here; stress_cache.c has them apart. */
#include "prefetch/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "fanout/event.h"
#include "tests/support/redis_server.h"

#define GUARD_MS 20000 /* only a broken test waits so long */

struct told {
        unsigned n;
        enum cache_answer answer;
        char body[64];
        uint64_t version;
        void *waiter;
};

struct rig {
        struct test_redis *server;
        struct event_base *base;
        struct redis *redis;
        struct mailbox *mailbox;
        struct loader *loader;
        struct cache *cache;
        struct snapshot *snapshot;
        struct told told;
        uint64_t now_ms;
        bool up;
};

static struct rig rig;

static void on_state(void *owner, enum redis_state state, const char *why)
{
        (void)owner;
        (void)why;
        rig.up = state == REDIS_UP;
}

static void on_loaded(void *owner, void *waiter, enum cache_answer answer,
                      struct bundle_response *response)
{
        (void)owner;
        rig.told.n++;
        rig.told.waiter = waiter;
        rig.told.answer = answer;
        if (response != NULL) {
                snprintf(rig.told.body, sizeof(rig.told.body), "%.*s", (int)response->body->len,
                         (const char *)response->body->data);
                rig.told.version = response->version;
        }
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
        rig.now_ms = 1000;
        rig.server = test_redis_start(NULL);
        rig.base = event_base_new();
        cr_assert(eq(int, redis_parse_url(test_redis_url(rig.server), &options.address, &why), OK));
        cr_assert(eq(int, redis_create(rig.base, &options, &rig.redis), OK));
        cr_assert(eq(int, loader_create(rig.base, rig.redis, "t", &rig.loader), OK));
        cr_assert(eq(int, mailbox_create(rig.base, NULL, &rig.mailbox), OK));
        cr_assert(eq(int, cache_create(rig.loader, rig.mailbox, on_loaded, &rig, &rig.cache), OK));
        TURN_UNTIL(rig.up);
}

static void stop(void)
{
        cache_destroy(rig.cache);
        mailbox_destroy(rig.mailbox);
        loader_destroy(rig.loader);
        redis_destroy(rig.redis);
        event_base_free(rig.base);
        snapshot_unref(rig.snapshot);
        test_redis_destroy(rig.server);
}

TestSuite(cache, .init = start, .fini = stop);

static void see(uint64_t epoch, seqno seq, const char *event, const char *stage, uint64_t bundle)
{
        struct token token = { epoch, seq, 77 };
        struct event_state state = { .version = seq, .bundle = bundle };

        snprintf(state.event, sizeof(state.event), "%s", event);
        snprintf(state.stage, sizeof(state.stage), "%s", stage);
        snapshot_unref(rig.snapshot);
        rig.snapshot = snapshot_create(&token, 0, &state, event[0] != '\0' ? 1 : 0);
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

static void put_row(const char *event, const char *cohort, const char *body)
{
        char sha256[BUNDLE_SHA_TEXT + 1], key[128], bundles[128], text[256];

        bundle_sha256(body, strlen(body), sha256);
        snprintf(key, sizeof(key), "{t}:body:%s", sha256);
        snprintf(bundles, sizeof(bundles), "{t}:bundles:%s", event);
        snprintf(text, sizeof(text), "%s %zu text/plain", sha256, strlen(body));
        test_redis_do(rig.server, "SET", key, body, NULL);
        test_redis_do(rig.server, "HSET", bundles, cohort, text, NULL);
}

static enum cache_answer ask(const char *cohort, void *waiter, struct bundle_response **ret)
{
        struct bundle_response *ignored = NULL;

        return cache_get(rig.cache, rig.snapshot, "cup", cohort, waiter, rig.now_ms,
                         ret != NULL ? ret : &ignored);
}

static int one, two, three;

/* Ask, wait if need be, and give the answer as on_loaded would have. */
static struct told fetch(const char *cohort)
{
        struct bundle_response *response = NULL;
        unsigned before = rig.told.n;
        enum cache_answer answer = ask(cohort, &one, &response);

        if (answer != CACHE_WAITING) {
                memset(rig.told.body, 0, sizeof(rig.told.body));
                on_loaded(&rig, &one, answer, response);
        }
        TURN_UNTIL(rig.told.n > before);
        return rig.told;
}

Test(cache, a_miss_is_loaded_and_then_a_hit)
{
        struct bundle_response *response = NULL;

        put_row("cup", "tv", "for tv");
        put_row("cup", "default", "for all");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(int, ask("tv", &one, &response), CACHE_WAITING));
        TURN_UNTIL(rig.told.n == 1);
        cr_assert(eq(int, rig.told.answer, CACHE_HIT));
        cr_assert(eq(str, rig.told.body, "for tv"));
        cr_assert(eq(u64, rig.told.version, 1));
        cr_assert(eq(ptr, rig.told.waiter, &one));
        cr_assert(eq(int, ask("tv", &one, &response), CACHE_HIT));
        cr_assert(eq(int, memcmp(response->body->data, "for tv", 6), 0));
        cr_assert(eq(str, fetch("unheard-of").body, "for all"));
        cr_assert(eq(int, ask("another", &one, &response), CACHE_HIT));
}

Test(cache, what_the_snapshot_rules_out_never_reaches_redis)
{
        see(5, 1, "cup", "scheduled", 0);
        cr_assert(eq(int, ask("tv", &one, NULL), CACHE_NOT_YET));
        see(5, 2, "cup", "ended", 3);
        cr_assert(eq(int, ask("tv", &one, NULL), CACHE_OVER));
        see(5, 3, "cup", "cancelled", 3);
        cr_assert(eq(int, ask("tv", &one, NULL), CACHE_OVER));
        see(5, 4, "", "", 0);
        cr_assert(eq(int, ask("tv", &one, NULL), CACHE_UNKNOWN));
        cr_assert(eq(int, cache_get(rig.cache, NULL, "cup", "tv", &one, 1, NULL), CACHE_BUSY));
        cr_assert(eq(uint, rig.told.n, 0));
}

Test(cache, without_default_an_unknown_cohort_is_told_so)
{
        put_row("cup", "tv", "for tv");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(int, fetch("phone").answer, CACHE_NO_COHORT));
        cr_assert(eq(int, fetch("tv").answer, CACHE_HIT));
}

Test(cache, many_who_wait_cause_one_read)
{
        char *calls;

        put_row("cup", "default", "for all");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        test_redis_do(rig.server, "CONFIG", "RESETSTAT", NULL);
        for (uintptr_t i = 1; i <= 500; i++)
                cr_assert(eq(int, ask("default", (void *)i, NULL), CACHE_WAITING));
        TURN_UNTIL(rig.told.n == 500);
        calls = test_redis_ask(rig.server, "INFO", "commandstats", NULL);
        cr_assert(not(eq(ptr, strstr(calls, "cmdstat_get:calls=1,"), NULL)), "%s", calls);
        cr_assert(not(eq(ptr, strstr(calls, "cmdstat_hgetall:calls=1,"), NULL)), "%s", calls);
        free(calls);
}

static int64_t index_reads(void)
{
        static const char name[] = "kickoff_prefetch_reads_total{what=\"index\"} ";
        struct buf text = BUF_INIT;
        const char *line;
        int64_t n;

        metrics_render(&text);
        buf_char(&text, '\0');
        line = strstr(text.data, name);
        cr_assert(not(eq(ptr, (void *)line, NULL)));
        n = atoll(line + sizeof(name) - 1);
        buf_fini(&text);
        return n;
}

Test(cache, a_herd_over_many_events_leaves_the_link_to_the_writer)
{
        const struct token token = { 1, 1, 77 };
        struct event_state states[20];
        struct bundle_response *response;
        int64_t before = index_reads();

        memset(states, 0, sizeof(states));
        for (int i = 0; i < 20; i++) {
                snprintf(states[i].event, sizeof(states[i].event), "cup-%02d", i);
                strcpy(states[i].stage, "scheduled");
                states[i].version = states[i].bundle = 1;
                publish(states[i].event, 1);
                put_row(states[i].event, "default", "body");
        }
        rig.snapshot = snapshot_create(&token, 0, states, 20);
        test_redis_pause(rig.server);
        for (int i = 0; i < 20; i++)
                cr_assert(eq(int,
                             cache_get(rig.cache, rig.snapshot, states[i].event, "default",
                                       &states[i], rig.now_ms, &response),
                             CACHE_WAITING));
        TURN_UNTIL(index_reads() > before);
        cr_assert(eq(i64, index_reads() - before, 4)); /* all letters are read in one turn */
        test_redis_resume(rig.server);
        TURN_UNTIL(rig.told.n == 20);
        cr_assert(eq(i64, index_reads() - before, 20));
        cr_assert(eq(int, rig.told.answer, CACHE_HIT));
}

Test(cache, a_new_version_replaces_the_old_and_unchanged_bodies_are_not_read_again)
{
        char *calls;

        put_row("cup", "tv", "tv one");
        put_row("cup", "default", "same");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(str, fetch("tv").body, "tv one"));
        cr_assert(eq(str, fetch("default").body, "same"));
        put_row("cup", "tv", "tv two");
        publish("cup", 2);
        see(5, 2, "cup", "scheduled", 2);
        test_redis_do(rig.server, "CONFIG", "RESETSTAT", NULL);
        fetch("default");
        cr_assert(eq(str, rig.told.body, "same"));
        cr_assert(eq(u64, rig.told.version, 2));
        calls = test_redis_ask(rig.server, "INFO", "commandstats", NULL);
        cr_assert(eq(ptr, strstr(calls, "cmdstat_get:"), NULL), "%s", calls);
        free(calls);
        fetch("tv");
        cr_assert(eq(str, rig.told.body, "tv two"));
        cr_assert(eq(u64, rig.told.version, 2));
}

Test(cache, an_index_is_labelled_with_the_version_it_has_not_the_one_asked_for)
{
        put_row("cup", "default", "newest");
        publish("cup", 9);
        see(5, 1, "cup", "scheduled", 8);
        fetch("default");
        cr_assert(eq(u64, rig.told.version, 9));
        see(5, 2, "cup", "scheduled", 9);
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_HIT));
}

Test(cache, another_epoch_counts_anew)
{
        put_row("cup", "default", "before the loss");
        publish("cup", 9);
        see(5, 1, "cup", "scheduled", 9);
        cr_assert(eq(str, fetch("default").body, "before the loss"));
        put_row("cup", "default", "after");
        publish("cup", 2);
        see(6, 1, "cup", "scheduled", 2);
        fetch("default");
        cr_assert(eq(str, rig.told.body, "after"));
        cr_assert(eq(u64, rig.told.version, 2));
}

Test(cache, without_redis_the_version_before_is_served_and_nothing_else)
{
        put_row("cup", "tv", "old tv");
        put_row("cup", "default", "old");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(str, fetch("tv").body, "old tv"));
        test_redis_kill(rig.server);
        TURN_UNTIL(!rig.up);
        see(5, 2, "cup", "scheduled", 2);
        fetch("tv");
        cr_assert(eq(int, rig.told.answer, CACHE_HIT));
        cr_assert(eq(str, rig.told.body, "old tv"));
        cr_assert(eq(u64, rig.told.version, 1));
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_BUSY));
        test_redis_restart(rig.server);
        TURN_UNTIL(rig.up);
        put_row("cup", "tv", "new tv");
        publish("cup", 2);
        rig.now_ms += 10000;
        cr_assert(eq(str, fetch("tv").body, "new tv"));
}

Test(cache, a_body_with_a_wrong_hash_is_never_served)
{
        char sha256[BUNDLE_SHA_TEXT + 1], key[128];

        put_row("cup", "default", "honest");
        publish("cup", 1);
        bundle_sha256("honest", 6, sha256);
        snprintf(key, sizeof(key), "{t}:body:%s", sha256);
        test_redis_do(rig.server, "SET", key, "forged", NULL);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(int, fetch("default").answer, CACHE_BUSY));
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_BUSY));
        test_redis_do(rig.server, "SET", key, "honest", NULL);
        rig.now_ms += 10000;
        cr_assert(eq(str, fetch("default").body, "honest"));
}

Test(cache, a_poisoned_new_body_does_not_bring_back_the_old_one)
{
        char sha256[BUNDLE_SHA_TEXT + 1], key[128];

        put_row("cup", "default", "old");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(str, fetch("default").body, "old"));
        put_row("cup", "default", "new");
        bundle_sha256("new", 3, sha256);
        snprintf(key, sizeof(key), "{t}:body:%s", sha256);
        test_redis_do(rig.server, "SET", key, "bad", NULL);
        publish("cup", 2);
        see(5, 2, "cup", "scheduled", 2);
        cr_assert(eq(int, fetch("default").answer, CACHE_BUSY));
}

Test(cache, who_waits_too_long_is_told_so)
{
        put_row("cup", "default", "slow");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        test_redis_pause(rig.server);
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_WAITING));
        cr_assert(eq(int, ask("default", &two, NULL), CACHE_WAITING));
        cr_assert(eq(int, ask("default", &three, NULL), CACHE_WAITING));
        cache_forget(rig.cache, &two);
        cache_forget(rig.cache, &two);
        cache_tick(rig.cache, rig.now_ms + CACHE_WAIT_MS - 1);
        cr_assert(eq(uint, rig.told.n, 0));
        cache_tick(rig.cache, rig.now_ms + CACHE_WAIT_MS);
        cr_assert(eq(uint, rig.told.n, 2));
        cr_assert(eq(int, rig.told.answer, CACHE_BUSY));
        test_redis_resume(rig.server);
}

Test(cache, one_waiter_too_many_is_refused)
{
        see(5, 1, "cup", "scheduled", 1);
        test_redis_pause(rig.server);
        for (uintptr_t i = 1; i <= CACHE_WAITERS_MAX; i++)
                cr_assert(eq(int, ask("default", (void *)i, NULL), CACHE_WAITING));
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_BUSY));
        cache_forget(rig.cache, (void *)7);
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_WAITING));
        test_redis_resume(rig.server);
}

Test(cache, a_worker_may_end_while_its_answers_are_under_way)
{
        struct cache *second;

        put_row("cup", "default", "late");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_WAITING));
        cache_destroy(rig.cache);
        rig.cache = NULL;
        cr_assert(eq(int, cache_create(rig.loader, rig.mailbox, on_loaded, &rig, &second), OK));
        rig.cache = second;
        cr_assert(eq(str, fetch("default").body, "late"));
        cr_assert(eq(uint, rig.told.n, 1));
}

Test(cache, the_loader_may_end_while_redis_has_not_answered)
{
        put_row("cup", "default", "late");
        publish("cup", 1);
        see(5, 1, "cup", "scheduled", 1);
        test_redis_pause(rig.server);
        cr_assert(eq(int, ask("default", &one, NULL), CACHE_WAITING));
        event_base_loop(rig.base, EVLOOP_NONBLOCK);
        cache_destroy(rig.cache);
        rig.cache = NULL;
        loader_destroy(rig.loader);
        rig.loader = NULL;
        test_redis_resume(rig.server);
        cr_assert(eq(uint, rig.told.n, 0));
}
