/* tests/base/redis_bench.h -- one link to Redis in a loop of its own, and what its owner heard. A
 * test waits for something to happen, never for time to pass; 30 s without it is a failure. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <event2/event.h>

#include "base/redis.h"

#define BENCH_GUARD_S 30

struct bench {
        struct event_base *base;
        struct redis *redis;
        unsigned ups, downs, answered, nulls;
        char why[256];      /* of the last REDIS_DOWN */
        char last[256];     /* text of the last reply */
        char received[512]; /* published messages, joined by ; */
};

static inline void bench_on_state(void *owner, enum redis_state state, const char *why)
{
        struct bench *b = owner;

        if (state == REDIS_UP) {
                b->ups++;
        } else {
                snprintf(b->why, sizeof(b->why), "%s", why);
                b->downs++;
        }
}

static inline void bench_on_reply(void *owner, const struct redis_reply *reply)
{
        struct bench *b = owner;

        if (reply == NULL) {
                b->nulls++;
                return;
        }
        snprintf(b->last, sizeof(b->last), "%s", redis_text(reply, NULL));
        b->answered++;
}

static inline void bench_on_message(void *owner, const char *bytes, size_t len)
{
        struct bench *b = owner;

        strncat(b->received, bytes, len);
        strcat(b->received, ";");
}

static inline void bench_too_long(evutil_socket_t fd, short what, void *arg)
{
        struct bench *b = arg;

        (void)fd;
        (void)what;
        cr_fatal("waited too long: ups=%u downs=%u answered=%u nulls=%u why=%s last=%s received=%s",
                 b->ups, b->downs, b->answered, b->nulls, b->why, b->last, b->received);
}

/* Runs the loop until `condition`, which is looked at after each turn. */
#define BENCH_UNTIL(b, condition)                                                   \
        do {                                                                        \
                const struct timeval guard_ = { BENCH_GUARD_S, 0 };                 \
                struct event *event_ = evtimer_new((b)->base, bench_too_long, (b)); \
                                                                                    \
                event_add(event_, &guard_);                                         \
                while (!(condition))                                                \
                        event_base_loop((b)->base, EVLOOP_ONCE);                    \
                event_free(event_);                                                 \
        } while (0)

static inline struct bench *bench_create(void)
{
        struct bench *b = calloc(1, sizeof(*b));

        b->base = event_base_new();
        return b;
}

/* A link by `options`, of which the callbacks are the bench's. */
static inline void bench_link(struct bench *b, const char *url, struct redis_options options,
                              const char *channel)
{
        const char *why = "";

        options.name = "test";
        options.on_state = bench_on_state;
        options.owner = b;
        cr_assert(eq(int, redis_parse_url(url, &options.address, &why), OK), "%s: %s", url, why);
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        if (channel != NULL)
                cr_assert(eq(int, redis_subscribe(b->redis, channel, bench_on_message, b), OK));
}

static inline enum err bench_command(struct bench *b, const char *name, const char *key,
                                     const char *value)
{
        const char *const argv[] = { name, key, value };

        return redis_command(b->redis, bench_on_reply, b,
                             key == NULL     ? 1
                             : value == NULL ? 2
                                             : 3,
                             argv, NULL);
}

static inline void bench_destroy(struct bench *b)
{
        redis_destroy(b->redis);
        event_base_free(b->base);
        free(b);
}
