/* tests/faults/producer.h -- producers that write what they ask and what they are answered into a
 * ledger. Each request changes the stage of an event to a name of its own (`m17`), so that the
 * checker knows the signal of a request even if no answer came. A status of 504, and no answer at
 * all, count as unknown. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/faults/ledger.h"
#include "tests/integration/harness.h"

struct produced {
        int status; /* as answered; 0 = no answer; see is_unknown */
        bool is_unknown;
        struct token token; /* if 2xx */
        uint64_t ms;        /* how long the answer took */
};

/* One request with this key (NULL: a fresh one), and no other try. */
struct produced produce(struct ledger *ledger, const struct test_node *node, const char *event,
                        const char *key);
/* The same until it is acknowledged; gives up after PATIENCE_MS. Between tries 50 ms. */
struct produced produce_until(struct ledger *ledger, const struct test_node *node,
                              const char *event);
/* Another request that is written down: any path and body; `mark` empty unless it leads to a stage
 * of its own. */
struct produced produce_as(struct ledger *ledger, const struct test_node *node, const char *path,
                           const char *body, const char *event, const char *mark, const char *key);

/* A thread that goes on producing, at the nodes in turn, one request every pace_ms, each with a
 * fresh key; whatever is not acknowledged is asked again with the same key, as a good producer
 * would (after 50 ms, at the next node), until it is, or refused as 4xx. */
struct producer;
struct producer_options {
        const struct test_node *nodes[4]; /* borrowed; up to the first NULL */
        const char *event;
        unsigned pace_ms;
        bool no_retry; /* a request of unknown outcome is left at that */
        void (*in_thread)(void *arg);
        void *arg;
};
struct producer *producer_start(struct ledger *ledger, const struct producer_options *options);
/* Acknowledged so far; other outcomes so far. From any thread. */
unsigned producer_acknowledged(const struct producer *producer);
unsigned producer_unknown(const struct producer *producer);
unsigned producer_refused(const struct producer *producer);
uint64_t producer_slowest_ms(const struct producer *producer); /* answer of any kind, so far */
/* Until `n` more are acknowledged; gives up after PATIENCE_MS. */
void producer_until_more(struct producer *producer, unsigned n);
/* Ends after the request under way has an outcome. NULL is fine. */
void producer_stop(struct producer *producer);
