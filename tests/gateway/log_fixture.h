/* tests/gateway/log_fixture.h -- a signal log made up for a test: entries with chained tags, rings
 * and snapshots of it. Tags are a function of (history, seq), so that two histories of one epoch
 * differ. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "fanout/entry.h"
#include "fanout/ring.h"
#include "fanout/snapshot.h"

#define EPOCH UINT64_C(0x1111222233334444)

static inline uint64_t log_tag(unsigned history, seqno seq)
{
        return ((uint64_t)history << 48 | seq) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static inline struct token log_token(uint64_t epoch, unsigned history, seqno seq)
{
        return (struct token){ .epoch = epoch, .seq = seq, .tag = log_tag(history, seq) };
}

/* The entry `seq` of a history; `prev` is the history its predecessor is of. */
static inline struct entry *log_entry_of(uint64_t epoch, unsigned history, unsigned prev, seqno seq)
{
        struct signal signal = { .token = log_token(epoch, history, seq), .kind = SIGNAL_START };
        struct entry *entry;

        strcpy(signal.state.event, "derby");
        snprintf(signal.state.stage, sizeof(signal.state.stage), "s%llu", (unsigned long long)seq);
        signal.state.version = seq;
        signal.state.at = 1000 + (int64_t)seq;
        entry = entry_create(&signal, log_tag(prev, seq - 1), NULL);
        if (entry == NULL)
                abort();
        return entry;
}

static inline struct entry *log_entry(seqno seq)
{
        return log_entry_of(EPOCH, 0, 0, seq);
}

/* A ring with the entries base+1..head of history 0. */
static inline struct ring *log_ring(size_t capacity, seqno base, seqno head)
{
        struct token token = log_token(EPOCH, 0, base);
        struct ring *ring;

        if (ring_create(capacity, &ring) != OK)
                abort();
        ring_install(ring, &token, 0);
        for (seqno seq = base + 1; seq <= head; seq++) {
                struct entry *entry = log_entry(seq);

                ring_push(ring, entry);
                entry_unref(entry);
        }
        return ring;
}

static inline void log_push(struct ring *ring, seqno seq)
{
        struct entry *entry = log_entry(seq);

        ring_push(ring, entry);
        entry_unref(entry);
}

/* The state after entry `seq`: one event, and `others` more to make it long. */
static inline struct snapshot *log_snapshot_of(uint64_t epoch, unsigned history, seqno seq,
                                               size_t others)
{
        struct event_state *events = calloc(others + 1, sizeof(*events));
        struct token token = log_token(epoch, history, seq);
        struct snapshot *snapshot;

        strcpy(events[0].event, "derby");
        snprintf(events[0].stage, sizeof(events[0].stage), "s%llu", (unsigned long long)seq);
        events[0].version = seq;
        for (size_t i = 1; i <= others; i++) {
                snprintf(events[i].event, sizeof(events[i].event), "event-%06zu", i);
                strcpy(events[i].stage, "scheduled");
                events[i].version = 1;
        }
        snapshot = snapshot_create(&token, 0, events, others + 1);
        if (snapshot == NULL)
                abort();
        free(events);
        return snapshot;
}

static inline struct snapshot *log_snapshot(seqno seq)
{
        return log_snapshot_of(EPOCH, 0, seq, 0);
}
