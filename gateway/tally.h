/* gateway/tally.h -- what a worker counts for the delivery report of the newest TALLY_SIGNALS
 * signals: who was connected, sent the frame, and acknowledged, and how long it took. One increment
 * and one histogram step per frame and per ack, no allocation, no lock; twice a second the counts
 * are taken out and handed to the control thread. Pure: the time is told. Worker thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanout/report.h"
#include "proto/message.h"

#define TALLY_SIGNALS 64 /* newest signals counted for; later acks of older ones are not */
#define TALLY_PLAUSIBLE_MS \
        600000 /* a device that says it acted later than this after `at` is not believed */
#define TALLY_CLOCK_SLACK_MS \
        1000 /* nor one that acted earlier than this before it; in between is "at once" */

struct tally_slot {
        struct report_part part; /* since the last take; token.epoch 0 = empty */
        int64_t sent_ms;         /* the signal's `sent` on the monotonic clock: may be negative */
        int64_t due_ms;          /* max(sent, at), likewise */
        int64_t due_wall_ms;     /* max(sent, at), Unix ms */
        bool has_news;
};

struct tally { /* zero-filled: nothing counted */
        uint64_t epoch;
        unsigned n_news;                        /* slots with has_news */
        struct tally_slot slots[TALLY_SIGNALS]; /* seq at seq mod TALLY_SIGNALS */
};

/* The log goes on in this epoch: if it is another one, all that was counted is dropped. */
void tally_epoch(struct tally *tally, uint64_t epoch);
/* A signal came, in order; `connected` sessions, those it is for, are about to be sent it. Told
 * twice (same token): nothing. `now_ms` is monotonic, `wall_ms` the same moment in Unix ms. `live`:
 * even if nobody is connected this is news; else (it was read back from the log) only what is
 * counted from now on. */
void tally_begin(struct tally *tally, const struct signal *signal, uint32_t connected, bool live,
                 uint64_t now_ms, int64_t wall_ms);
/* One device's frame of `seq` is out, whole. */
void tally_written(struct tally *tally, seqno seq, bool will_ack, uint64_t now_ms);
/* One device has all of (from, to] that were for it: bit i of `missed` says that to - i was not. It
 * acted on `to` at `activated_at`, Unix ms; 0 = it did not say. */
void tally_acked(struct tally *tally, seqno from, seqno to, uint64_t missed, int64_t activated_at,
                 uint64_t now_ms);
/* Takes the parts with news out, at most n, into `parts`; they begin at zero again. Returns how
 * many. */
size_t tally_take(struct tally *tally, struct report_part *parts, size_t n);
