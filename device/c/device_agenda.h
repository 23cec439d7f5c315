/* device/c/device_agenda.h -- what is to be done about each event the device knows of, and when:
 * act on its stage when the node's clock reaches `at`, and fetch its bundle at a moment of the span
 * that was given for it. Pure, as device_core: no I/O, no clock; the rows lie on the heap.
 * kickoff_device.c tells it what the app is told, asks what is due, and carries it out.
 *
 * Acting: a stage is due once, at its `at`, at once if that has passed; a newer signal of the same
 * event takes its place (a delay takes a start back), one of an older version is nothing. That a bundle changed (same stage, same
 * `at`), or that a reset repeats it, does not make it due again.
 *
 * Fetching: everybody is told in the same instant, so nobody fetches then. A first bundle is
 * fetched at a uniformly random moment of `prefetch_ms` (hello; without it 10 s), one that has
 * changed at a random moment of `window_ms` (the signal; without it 60 s). A moment once drawn
 * stands: it is as random as any other, and the bundle of that moment is the one that is fetched.
 * What fails is tried again with full jitter, between 0 and a step that grows from 1 s to 60 s. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "device/c/device_core.h"

#define DEVICE_AGENDA_PREFETCH_MS  10000u
#define DEVICE_AGENDA_WINDOW_MS    60000u
#define DEVICE_AGENDA_RETRY_MIN_MS 1000u
#define DEVICE_AGENDA_RETRY_MAX_MS 60000u

struct device_row {
        struct event_state state;
        seqno seq;      /* of the signal that said so; 0 = a reset */
        bool acts;      /* `state` is still to be acted on */
        bool has_shown; /* what was acted on last */
        char shown[STAGE_MAX + 1];
        int64_t shown_at;
        uint64_t held; /* version of the bundle the app was given; 0 = none, or of another epoch */
        char hash[65]; /* of what the app was given, hex; "" = nothing */
        uint64_t due_ms; /* monotonic: when it is fetched; never = not to be fetched */
        unsigned tries;  /* that failed */
        bool is_asked;   /* a request is under way */
        bool stays;      /* while a reset is taken over */
};

struct device_agenda {
        struct rng rng;
        bool acts, fetches; /* the app wants to be told; wants bundles */
        uint32_t prefetch_ms;
        uint64_t epoch; /* that versions of bundles count in */
        struct device_row *rows;
        size_t n, size;
};

enum device_fetch_end {
        DEVICE_FETCH_GOOD,   /* the body is what its hash says, or 304 */
        DEVICE_FETCH_FAILED, /* no answer, a broken one, a status that may pass, a wrong body */
        DEVICE_FETCH_OVER /* 410 and the like: nothing to fetch until something is said of the event
                           */
};

void device_agenda_init(struct device_agenda *agenda, bool acts, bool fetches, uint64_t seed);
void device_agenda_fini(struct device_agenda *agenda);

void device_agenda_hello(struct device_agenda *agenda, const struct hello *hello);
/* The app has been told. ERR_NOMEM: that event is not looked after; the rest is. */
must_check enum err device_agenda_signal(struct device_agenda *agenda, const struct signal *signal,
                                         struct device_now now);
must_check enum err device_agenda_reset(struct device_agenda *agenda, const struct reset *reset,
                                        struct device_now now);

/* The next state to act on by the node's clock, taken off the list. False: none. */
bool device_agenda_act(struct device_agenda *agenda, int64_t node_ms, struct device_row *ret_row);
/* The next event whose bundle is to be fetched now; it counts as asked for until
 * device_agenda_fetched(). False: none. The row is borrowed until the next call. */
bool device_agenda_fetch(struct device_agenda *agenda, struct device_now now,
                         const struct device_row **ret_row);
/* How it ended. `version` and `hash` (hex) of what the app now has, for GOOD; `retry_ms`: what the
 * node asked for, or 0. False: the event has been forgotten meanwhile, and its bundle is nobody's. */
bool device_agenda_fetched(struct device_agenda *agenda, const char *event,
                           enum device_fetch_end end, uint64_t version, const char *hash,
                           uint64_t retry_ms, struct device_now now);
/* A copy with this hash lies in the app's cache ("" = not after all): it is asked about by its
 * hash. */
void device_agenda_found(struct device_agenda *agenda, const char *event, const char *hash);
/* Is `version` of `event` what is wanted (then nothing need be fetched)? */
bool device_agenda_wants(const struct device_agenda *agenda, const char *event, uint64_t version);
/* How long until something is due; DEVICE_CORE_NEVER = nothing. Without `may_fetch`: to be acted
 * on. */
uint64_t device_agenda_wait_ms(const struct device_agenda *agenda, struct device_now now,
                               int64_t node_ms, bool may_fetch);
