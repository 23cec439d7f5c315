/* tests/faults/ledger.h -- what producers asked and were answered, and what devices were told, in
 * the order in which each of them saw it. Written by any thread while a fault is under way; judged
 * afterwards by checker.h. Knows nothing of nodes or processes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

enum ledger_kind {
        /* a producer's; `name` is the request key */
        LEDGER_ASKED,    /* event, mark, body_kind: about to be sent */
        LEDGER_ANSWERED, /* status; token and events[0] (event, version) if 2xx. Status 0: no answer
                            came, or the answer was "unknown" */
        /* a device's; `name` is its id */
        LEDGER_HELLO,  /* token, recovered, reason */
        LEDGER_RESET,  /* token, reason, events */
        LEDGER_SIGNAL, /* token, signal_kind, events[0] */
        LEDGER_LOST,   /* not connected any more; text is the SDK's sentence */
        LEDGER_LEFT, /* the test took the device away: what comes while it is away is not owed to it
                      */
        /* the book of truth, read at the end; `name` is the node or Redis it was read from */
        LEDGER_TRUTH, /* token, events: GET /v1/events */
        LEDGER_LOG,   /* token, signal_kind, events[0] (version 0): one entry of the log in Redis */
};
extern const char *const ledger_kind_name[];

#define LEDGER_NAME_MAX 63
#define LEDGER_MARK_MAX STAGE_MAX

struct ledger_line {
        enum ledger_kind kind;
        uint64_t at_us; /* monotonic */
        char name[LEDGER_NAME_MAX + 1];
        struct token token; /* epoch 0 = none */
        int status;         /* ANSWERED. 0 = unknown: no answer, or one that says so (504) */
        bool recovered;     /* HELLO */
        enum reset_reason reason;
        enum signal_kind signal_kind;
        char event[EVENT_ID_MAX + 1]; /* ASKED */
        char mark[LEDGER_MARK_MAX +
                  1]; /* ASKED: the stage this request leads to, which no other request
                         does; empty if it does not lead to a stage of its own */
        struct event_state *events; /* RESET, TRUTH: all; SIGNAL, LOG, ANSWERED: one */
        size_t n_events;
        char text[160];
};

struct ledger;

struct ledger *ledger_create(void);
void ledger_destroy(struct ledger *ledger);
/* `line` is copied, its events too; at_us is set here. From any thread. */
void ledger_add(struct ledger *ledger, const struct ledger_line *line);

/* Short forms. */
void ledger_asked(struct ledger *ledger, const char *key, const char *event, const char *mark);
/* `token` NULL unless 2xx; `event` and `version`: what the change led to, NULL and 0 if not said.
 */
void ledger_answered(struct ledger *ledger, const char *key, int status, const struct token *token,
                     const char *event, uint64_t version);
void ledger_device(struct ledger *ledger, enum ledger_kind kind, const char *device,
                   const struct token *token);

/* Only when nobody writes any more. */
size_t ledger_count(const struct ledger *ledger);
const struct ledger_line *ledger_at(const struct ledger *ledger, size_t i);
/* One line of text each; returns false if the file cannot be written. */
bool ledger_write(const struct ledger *ledger, const char *path);
/* Milliseconds from each acknowledgement's answer to its arrival at each device that had it as a
 * signal: percentile 0..100 of them; -1 if there is none. Arrivals before the answer count as 0. */
double ledger_lag_ms(const struct ledger *ledger, double percentile);
