/* tests/faults/crew.h -- devices on the C SDK that write what they are told into a ledger, while
 * the test does something else: one thread serves them all. They are named tv-0, tv-1, ...; even
 * ones speak JSON, odd ones msgpack. They keep their place over any loss of the connection, and
 * come back by themselves, to the same URL: who may move between nodes is given a tcp_proxy with
 * several servers, as behind a load balancer. Waiting functions end the test after PATIENCE_MS
 * (tests/integration/harness.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/token.h"
#include "tests/faults/ledger.h"

struct crew;

#define CREW_MAX 64

struct crew_options {
        unsigned n;          /* devices; 0 = 8 */
        const char *urls[4]; /* device i goes to urls[i % how many]; "ws://127.0.0.1:PORT" */
        unsigned backoff_min_ms, backoff_max_ms; /* 0 = 20 and 500: tests are in a hurry */
        /* For the thread that serves them, first of all: netns_enter, say. NULL = nothing. */
        void (*in_thread)(void *arg);
        void *arg;
};

/* Waits until all had hello, and reset. */
struct crew *crew_start(struct ledger *ledger, const struct crew_options *options);
void crew_end(struct crew *crew); /* closes them in order; NULL is fine */

/* Device i is taken away (closed, its place kept), and comes back with its place. */
void crew_leave(struct crew *crew, unsigned i);
void crew_return(struct crew *crew, unsigned i);
void crew_cut(struct crew *crew, unsigned i); /* its connection dies without a word */

struct crew_member { /* of one device, now */
        struct token place;
        bool is_connected, is_away;
        unsigned hellos, recovered, resets, signals, goaways,
            losses;                /* hellos: recovered ones too */
        char stage[STAGE_MAX + 1]; /* of the event it heard of last, by signal or reset */
        enum reset_reason last_reset;
        char why[160];                         /* the SDK's last sentence */
        uint64_t lost_us, hello_us, signal_us; /* monotonic, the latest of each; 0 = none */
};
struct crew_member crew_member(struct crew *crew, unsigned i);
unsigned crew_size(const struct crew *crew);

/* Until every device that is not away is at this place (epoch, seq and tag). False after limit_ms.
 */
bool crew_reaches(struct crew *crew, const struct token *place, unsigned limit_ms);
bool crew_is_connected(struct crew *crew, unsigned limit_ms); /* all that are not away */
unsigned crew_hellos(struct crew *crew);                      /* sums */
unsigned crew_resets(struct crew *crew);
