/* tests/faults/producer.c -- see the header. */
#include "tests/faults/producer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"

#define ANSWER_MS 15000 /* a node answers within 2 s, whatever happens; a busy machine may not */
#define AGAIN_MS  50

struct producer {
        struct ledger *ledger;
        struct producer_options options;
        struct test_node nodes[4]; /* copies: the test may start its own anew meanwhile */
        unsigned n_nodes;
        pthread_t thread;
        _Atomic bool ends;
        _Atomic unsigned acknowledged, unknown, refused;
        _Atomic uint64_t slowest_ms;
};

static void fresh_key(char key[32])
{
        snprintf(key, 32, "key-%016llx", (unsigned long long)rng_secure_u64());
}

static void fresh_mark(char mark[LEDGER_MARK_MAX + 1])
{
        static _Atomic unsigned n;

        snprintf(mark, LEDGER_MARK_MAX + 1, "m%u", ++n);
}

struct produced produce_as(struct ledger *ledger, const struct test_node *node, const char *path,
                           const char *body, const char *event, const char *mark, const char *key)
{
        struct produced result = { 0 };
        uint64_t begin_ms = clock_mono_ms();
        bool unsent = false;
        struct answer answer;
        const char *text;
        json_t *state;

        ledger_asked(ledger, key, event, mark);
        answer = ask_within(node, ANSWER_MS, "POST", path, body, key, &unsent);
        result.ms = clock_mono_ms() - begin_ms;
        result.status = answer.status;
        result.is_unknown = answer.status == 504 || (answer.status == 0 && !unsent);
        text = json_string_value(json_object_get(answer.json, "token"));
        if (answer.status / 100 == 2 && text &&
            token_parse(text, strlen(text), &result.token) != OK)
                give_up("a token that is none: %s", text);
        state = json_object_get(answer.json, "event");
        /* Not even connected: refused as well as any 503. */
        ledger_answered(ledger, key,
                        result.is_unknown ? 0
                        : answer.status   ? answer.status
                                          : 503,
                        result.token.epoch ? &result.token : NULL,
                        result.token.epoch ? event : NULL,
                        (uint64_t)json_integer_value(json_object_get(state, "version")));
        answer_end(&answer);
        return result;
}

static struct produced produce_mark(struct ledger *ledger, const struct test_node *node,
                                    const char *event, const char *key, const char *mark)
{
        char path[128], body[64];

        snprintf(path, sizeof(path), "/v1/events/%s/stage", event);
        snprintf(body, sizeof(body), "{\"stage\":\"%s\"}", mark);
        return produce_as(ledger, node, path, body, event, mark, key);
}

struct produced produce(struct ledger *ledger, const struct test_node *node, const char *event,
                        const char *key)
{
        char mark[LEDGER_MARK_MAX + 1], fresh[32];

        fresh_key(fresh);
        fresh_mark(mark);
        return produce_mark(ledger, node, event, key ? key : fresh, mark);
}

struct produced produce_until(struct ledger *ledger, const struct test_node *node,
                              const char *event)
{
        uint64_t until = clock_mono_ms() + PATIENCE_MS;
        char mark[LEDGER_MARK_MAX + 1], key[32];

        fresh_key(key);
        fresh_mark(mark);
        for (;;) {
                struct produced result = produce_mark(ledger, node, event, key, mark);

                if (result.status / 100 == 2)
                        return result;
                if (clock_mono_ms() > until)
                        give_up("a change is not acknowledged, at last with %d", result.status);
                usleep(AGAIN_MS * 1000);
        }
}

static void produce_one(struct producer *p, unsigned *turn)
{
        char mark[LEDGER_MARK_MAX + 1], key[32];

        fresh_key(key);
        fresh_mark(mark);
        for (;;) {
                struct produced result = produce_mark(p->ledger, &p->nodes[(*turn)++ % p->n_nodes],
                                                      p->options.event, key, mark);

                if (result.ms > p->slowest_ms)
                        p->slowest_ms = result.ms;
                if (result.status / 100 == 2) {
                        p->acknowledged++;
                        return;
                }
                if (result.is_unknown)
                        p->unknown++;
                else
                        p->refused++;
                if (result.status / 100 == 4 || p->ends ||
                    (p->options.no_retry && result.is_unknown))
                        return;
                usleep(AGAIN_MS * 1000);
        }
}

static void *run(void *arg)
{
        struct producer *p = arg;
        unsigned turn = 0;

        if (p->options.in_thread)
                p->options.in_thread(p->options.arg);
        while (!p->ends) {
                produce_one(p, &turn);
                usleep(p->options.pace_ms * 1000);
        }
        return NULL;
}

struct producer *producer_start(struct ledger *ledger, const struct producer_options *options)
{
        struct producer *p = calloc(1, sizeof(*p));

        check(p != NULL && options->nodes[0] != NULL);
        p->ledger = ledger;
        p->options = *options;
        while (p->n_nodes < 4 && options->nodes[p->n_nodes]) {
                p->nodes[p->n_nodes] = *options->nodes[p->n_nodes];
                p->n_nodes++;
        }
        check(pthread_create(&p->thread, NULL, run, p) == 0);
        return p;
}

unsigned producer_acknowledged(const struct producer *producer)
{
        return producer->acknowledged;
}

unsigned producer_unknown(const struct producer *producer)
{
        return producer->unknown;
}

unsigned producer_refused(const struct producer *producer)
{
        return producer->refused;
}

uint64_t producer_slowest_ms(const struct producer *producer)
{
        return producer->slowest_ms;
}

void producer_until_more(struct producer *producer, unsigned n)
{
        unsigned goal = producer->acknowledged + n;
        uint64_t until = clock_mono_ms() + PATIENCE_MS;

        while (producer->acknowledged < goal) {
                if (clock_mono_ms() > until)
                        give_up("a producer waits for %u more acknowledgements in vain",
                                goal - producer->acknowledged);
                usleep(2000);
        }
}

void producer_stop(struct producer *producer)
{
        if (!producer)
                return;
        producer->ends = true;
        pthread_join(producer->thread, NULL);
        free(producer);
}
