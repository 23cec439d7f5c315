/* tests/sim/history.h -- what really happened: every place the log ever had, also those it lost
 * since, found by tag. The judge's own book: filled when the model commits, never read by the code
 * under test. The state of all events at a place is kept as one number (the XOR of one hash per
 * event), so that anybody's state can be compared with it at any time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "proto/target.h"

struct past {
        struct token token;
        uint64_t parent;            /* seq 0: the epoch before it */
        uint64_t prev;              /* tag before it; 0 at the beginning of an epoch */
        struct signal signal;       /* seq > 0 */
        const struct target *to;    /* NULL: for everyone */
        uint64_t version_before;    /* of the event; 0 = there was none */
        uint64_t state;             /* of all events, after it */
        uint64_t sent_ms, shown_ms; /* virtual; shown 0 = held back */
        uint64_t released_ms[3];    /* by each server, last */
        char key[24];               /* request key; empty = none */
        bool safe;                  /* on the disk of who wrote it, unless the mode is memory */
        bool acknowledged;          /* a producer was told */
        bool lost;                  /* a log that somebody follows had to do without it since */
        unsigned on, ever;          /* servers, as bits, in whose data it counts; or ever did */
};

struct history {
        struct past *pasts;
        unsigned n, size;
        uint32_t *by_tag; /* open addressing; index + 1 */
        uint32_t n_slots;
};

void history_init(struct history *history);
void history_fini(struct history *history);
/* The index of a copy of `past`. */
unsigned history_add(struct history *history, const struct past *past);
/* NULL if the log never had this place. Good until the next history_add. */
struct past *history_find(const struct history *history, const struct token *token);
/* Is `place` on the way that led to `token`, within one epoch? */
bool history_is_before(const struct history *history, const struct token *place,
                       const struct token *token);

/* Was `epoch` continued by any other? */
bool history_has_heir(const struct history *history, uint64_t epoch);

uint64_t history_hash(const struct event_state *state);
uint64_t history_hash_all(const struct event_state *states, size_t n);
bool history_same(const struct event_state *a, const struct event_state *b);
