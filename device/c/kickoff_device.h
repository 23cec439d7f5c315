/* device/c/kickoff_device.h -- the C SDK for devices: connects to a Kickoff node over WebSocket
 * (libwebsockets), keeps its place in the signal log, resumes with full-jitter backoff, answers `goaway`,
 * and knows by how much its clock is off, so that it can act at the moment the signal names.
 *
 *   struct kickoff_device_options options = { .url = "ws://127.0.0.1:8080", .device = "tv-1",
 *                                             .on_signal = switch_stage, .owner = &app };
 *   struct kickoff_device *device;
 *   if (kickoff_device_create(&options, &device) == OK)
 *           while (running)
 *                   kickoff_device_service(device, 1000);
 *   kickoff_device_destroy(device);
 *
 * One thread per device object: all callbacks run inside kickoff_device_service(). Callbacks must not
 * destroy the device. Signals arrive in order; a repeat (same number and tag) is swallowed here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/message.h"

struct kickoff_device;

enum kickoff_device_state {
        KICKOFF_DEVICE_WAITING,    /* for the moment of the next attempt */
        KICKOFF_DEVICE_CONNECTING,
        KICKOFF_DEVICE_CONNECTED,  /* hello received */
        KICKOFF_DEVICE_STOPPED     /* refused for good (400, 401, 403, 404 ...): create it anew */
};

struct kickoff_device_bundle { /* borrowed until the callback returns */
        const char *event;
        uint64_t version;
        const void *bytes; /* NULL: those that this callback last gave for the event, under the same hash */
        size_t len;
        const char *content_type;
        const char *hash;  /* SHA-256 of the bytes, hex */
        bool from_cache;   /* not sent again: of cache_dir, or held by the app (bytes is NULL) */
};

struct kickoff_device_options {
        const char *url;    /* ws://host:port, without a path; copied */
        const char *device; /* this device's id; copied */
        const char *cohort; /* NULL = default; copied */
        const char *platform, *region, *app; /* NULL = not said; copied. Signals may name them */
        const char *since;  /* token kept from an earlier run; NULL = none; copied */
        enum encoding encoding;
        bool no_ack;        /* ask the node not to expect acks, and send none */
        uint32_t backoff_min_ms, backoff_max_ms; /* 0 = 500 and 30000. Full jitter between 0 and the step */
        uint64_t seed;      /* for jitter; 0 = from the system */
        bool no_stream;     /* never turn to the event stream where no WebSocket comes through */
        /* Where good bundles are kept over a restart: a directory that exists, of this app alone; NULL = not
         * kept; copied. */
        const char *cache_dir;
        int64_t clock_skew_ms; /* added to this machine's wall clock; for tests */

        /* `recovered`: signals since the token follow; otherwise on_reset follows. */
        void (*on_hello)(void *owner, const struct hello *hello);
        void (*on_signal)(void *owner, const struct signal *signal);
        /* Forget all you knew: this is the state. */
        void (*on_reset)(void *owner, const struct reset *reset);
        void (*on_message)(void *owner, const struct device_message *message);
        void (*on_goaway)(void *owner, const struct goaway *goaway);
        /* Act on it now: the node's clock has reached state->at. Once for each stage of an event, also for
         * what a reset tells; `seq` is the signal's, 0 of a reset. A newer signal of the event takes the place
         * of one that was not due yet. Counts as kickoff_device_activated(). Without it nothing is waited for. */
        void (*on_due)(void *owner, const struct event_state *state, seqno seq);
        /* A bundle whose bytes have the hash that came with it: the app keeps it, and shows it when a stage is
         * due. Without it nothing is fetched. */
        void (*on_bundle)(void *owner, const struct kickoff_device_bundle *bundle);
        /* `why` is a sentence: "connecting", "refused: 503, again in 2.1 s", "closed 1012: node is ..." */
        void (*on_state)(void *owner, enum kickoff_device_state state, const char *why);
        void *owner; /* any callback may be NULL */
};

/* ERR_INVALID (url, ids, token), ERR_NOMEM. Nothing is connected before the first service call. */
must_check enum err kickoff_device_create(const struct kickoff_device_options *options,
                                          struct kickoff_device **ret_device);
void kickoff_device_destroy(struct kickoff_device *device); /* closes with 1000; NULL is fine */

/* Run for about timeout_ms or until something happened. Call it in a loop. */
void kickoff_device_service(struct kickoff_device *device, unsigned timeout_ms);
/* From any thread: make a waiting kickoff_device_service return soon. */
void kickoff_device_wake(struct kickoff_device *device);

/* The place in the log, to be kept over a restart of the program; empty before the first hello. */
const char *kickoff_device_token(const struct kickoff_device *device);
enum kickoff_device_state kickoff_device_state_of(const struct kickoff_device *device);
/* The app has acted on the signal `seq` just now: the ack of it, if still to be sent, says when. From any
 * callback, or in between. Only the newest signal's moment is told; without a call none is. */
void kickoff_device_activated(struct kickoff_device *device, seqno seq);
/* Node clock minus this device's clock, ms, best estimate; 0 before the first hello. A signal is due when
 * the own wall clock + offset >= signal.state.at. */
int64_t kickoff_device_clock_offset_ms(const struct kickoff_device *device);
/* Cut the connection without a word, as a dead network would; it resumes by itself. For tests. */
void kickoff_device_cut(struct kickoff_device *device);
