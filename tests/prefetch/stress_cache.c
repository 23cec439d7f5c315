/* tests/prefetch/stress_cache.c -- workers' caches and the loader on threads of their own, while
 * bundle versions come and go and caches end with answers under way. Every body says which cohort
 * and version it is of, so a mixed-up answer shows. For ThreadSanitizer; exit 0 = ok. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sched.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fanout/event.h"
#include "prefetch/cache.h"

/* Stress programs are linked with their folder alone; this one also wants a real Redis. */
#include "tests/support/free_port.c"
#include "tests/support/redis_server.c"

#define WORKERS      3
#define COHORTS      20
#define BODY_LEN     60000 /* of all cohorts more than the first answers wait for being packed */
#define VERSIONS     12
#define HITS_NEEDED  300 /* of a version, by each worker, before the next is published */
#define CACHE_ROUNDS 400 /* turns of a worker before its cache is replaced */
#define GUARD_MS     100000

static struct test_redis *server;
static struct loader *loader;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `current` */
static struct snapshot *current;
static _Atomic bool ended;
static _Atomic unsigned hits[WORKERS][VERSIONS + 1];
static _Atomic unsigned packed; /* hits that were of a coded variant */

struct worker {
        unsigned index;
        struct event_base *base;
        struct mailbox *mailbox;
        struct cache *cache;
        struct rng rng;
        char asked[64][COHORT_MAX + 1]; /* by waiter; empty = not waiting */
};

static void verify(struct worker *worker, const char *cohort,
                   const struct bundle_response *response)
{
        static const struct slice any = { "gzip, zstd", 10 };
        struct bundle_choice choice;
        char wanted[64];

        snprintf(wanted, sizeof(wanted), "%s of %llu ", cohort,
                 (unsigned long long)response->version);
        check(response->body->len == BODY_LEN);
        check(memcmp(response->body->data, wanted, strlen(wanted)) == 0);
        check(response->version <= VERSIONS);
        /* A variant that came while others read is there whole, or not at all. */
        check(bundle_response_choose(response, any, (struct slice){ 0 }, &choice));
        check(choice.variant->body->len == BODY_LEN || choice.variant->body->len < BODY_LEN / 2);
        check(memcmp(choice.variant->head->data, "HTTP/1.1 200 OK", 15) == 0);
        if (choice.variant->body->len < BODY_LEN)
                atomic_fetch_add(&packed, 1);
        atomic_fetch_add(&hits[worker->index][response->version], 1);
}

static void on_loaded(void *owner, void *waiter, enum cache_answer answer,
                      struct bundle_response *response)
{
        struct worker *worker = owner;
        char *asked = waiter;

        check(asked[0] != '\0');
        check(answer == CACHE_HIT || answer == CACHE_BUSY);
        if (answer == CACHE_HIT)
                verify(worker, asked, response);
        asked[0] = '\0';
}

static void ask_once(struct worker *worker, struct snapshot *snapshot)
{
        char *asked = worker->asked[rng_below(&worker->rng, countof(worker->asked))];
        struct bundle_response *response = NULL;
        enum cache_answer answer;

        if (asked[0] != '\0') {
                if (rng_below(&worker->rng, 8) == 0) {
                        cache_forget(worker->cache, asked);
                        asked[0] = '\0';
                }
                return;
        }
        snprintf(asked, COHORT_MAX + 1, "c%u", (unsigned)rng_below(&worker->rng, COHORTS));
        answer =
            cache_get(worker->cache, snapshot, "cup", asked, asked, clock_mono_ms(), &response);
        if (answer == CACHE_WAITING)
                return;
        check(answer == CACHE_HIT || answer == CACHE_BUSY);
        if (answer == CACHE_HIT)
                verify(worker, asked, response);
        asked[0] = '\0';
}

static void new_cache(struct worker *worker)
{
        cache_destroy(worker->cache);
        memset(worker->asked, 0, sizeof(worker->asked));
        check(cache_create(loader, worker->mailbox, on_loaded, worker, &worker->cache) == OK);
}

static void *work(void *arg)
{
        struct worker *worker = arg;

        worker->base = event_base_new();
        rng_seed(&worker->rng, worker->index + 1);
        check(mailbox_create(worker->base, NULL, &worker->mailbox) == OK);
        for (unsigned turn = 0; !atomic_load(&ended); turn++) {
                struct snapshot *snapshot;

                if (turn % CACHE_ROUNDS == 0)
                        new_cache(worker);
                pthread_mutex_lock(&lock);
                snapshot = snapshot_ref(current);
                pthread_mutex_unlock(&lock);
                for (unsigned i = 0; i < 16; i++)
                        ask_once(worker, snapshot);
                event_base_loop(worker->base, EVLOOP_NONBLOCK);
                cache_tick(worker->cache, clock_mono_ms());
                snapshot_unref(snapshot);
                sched_yield();
        }
        cache_destroy(worker->cache);
        mailbox_destroy(worker->mailbox);
        event_base_free(worker->base);
        return NULL;
}

/* --- the control thread's part -------------------------------------------------------------- */

static void put_drafts(unsigned version)
{
        for (unsigned i = 0; i < COHORTS; i++) {
                char cohort[16], sha256[BUNDLE_SHA_TEXT + 1], key[128], row[128];
                static char body[BODY_LEN + 1];
                size_t len;

                snprintf(cohort, sizeof(cohort), "c%u", i);
                len = (size_t)snprintf(body, sizeof(body), "%s of %u ", cohort, version);
                while (len < BODY_LEN) { /* packs well, but not to nothing */
                        body[len] = "0123456789abcdef"[(len * len / 7) % 16];
                        len++;
                }
                body[BODY_LEN] = '\0';
                bundle_sha256(body, strlen(body), sha256);
                snprintf(key, sizeof(key), "{t}:body:%s", sha256);
                snprintf(row, sizeof(row), "%s %zu text/plain", sha256, strlen(body));
                test_redis_do(server, "SET", key, body, NULL);
                test_redis_do(server, "HSET", "{t}:drafts:cup", cohort, row, NULL);
        }
}

static void publish(unsigned version)
{
        struct token token = { 5, version, version };
        struct event record = { .title = "Cup",
                                .state = { .event = "cup",
                                           .stage = "scheduled",
                                           .version = version,
                                           .bundle = version } };
        struct snapshot *next = snapshot_create(&token, 0, &record.state, 1), *before;
        char *json = event_format(&record);

        put_drafts(version);
        test_redis_do(server, "EVAL",
                      "redis.call('RENAME', KEYS[1], KEYS[2]) "
                      "redis.call('HSET', KEYS[3], 'cup', ARGV[1])",
                      "3", "{t}:drafts:cup", "{t}:bundles:cup", "{t}:events", json, NULL);
        free(json);
        pthread_mutex_lock(&lock);
        before = current;
        current = next;
        pthread_mutex_unlock(&lock);
        snapshot_unref(before);
}

static bool all_have(unsigned version)
{
        for (unsigned i = 0; i < WORKERS; i++) {
                if (atomic_load(&hits[i][version]) < HITS_NEEDED)
                        return false;
        }
        return true;
}

int main(void)
{
        struct redis_options options = { .name = "stress" };
        struct event_base *base = event_base_new();
        struct worker workers[WORKERS] = { { 0 } };
        pthread_t threads[WORKERS];
        uint64_t until = clock_mono_ms() + GUARD_MS;
        struct redis *redis;
        const char *why;

        server = test_redis_start(NULL);
        check(redis_parse_url(test_redis_url(server), &options.address, &why) == OK);
        check(redis_create(base, &options, &redis) == OK);
        check(loader_create(base, redis, "t", &loader) == OK);
        publish(1);
        for (unsigned i = 0; i < WORKERS; i++) {
                workers[i].index = i;
                check(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
        }
        for (unsigned version = 1; version <= VERSIONS; version++) {
                if (version > 1)
                        publish(version);
                while (!all_have(version)) {
                        check(clock_mono_ms() < until);
                        event_base_loop(base, EVLOOP_NONBLOCK);
                }
        }
        atomic_store(&ended, true);
        for (unsigned i = 0; i < WORKERS; i++)
                check(pthread_join(threads[i], NULL) == 0);
        check(atomic_load(&packed) > 0);
        loader_destroy(loader);
        redis_destroy(redis);
        event_base_free(base);
        snapshot_unref(current);
        test_redis_destroy(server);
        return 0;
}
