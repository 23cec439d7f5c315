/* fanout/writer.h -- carries out one command on one event: look up (request key, event) -> event rules ->
 * one atomic Redis function that checks the request key, the node's witness and the version, takes the next
 * number, appends, writes the event record, and publishes. All or nothing. Control thread only.
 *
 * With replicated:N the function holds the entry back; then WAIT on the same connection, and when N replicas
 * have it, `release` publishes (fanout/EPOCHS.md). Committed means released. Too few replicas within the time is
 * UNKNOWN: releaser.c goes on with it.
 *
 * If another writer was faster (version changed between look-up and append), the rules are applied anew to
 * what is there now, up to WRITER_TRIES times, unless the caller named the version it expects. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/audit.h"
#include "fanout/durability.h"
#include "fanout/event.h"
#include "fanout/primary.h"
#include "proto/target.h"
#include "proto/token.h"

/* From writer_submit to the outcome, however many questions to Redis lie between. The contract (line 9)
 * says 2 s for the producer's answer; the rest is for HTTP. */
#define WRITER_ANSWER_MS 1800

#define WRITER_TRIES         5
#define WRITER_REQUEST_TTL_S (24 * 3600) /* contract line 3 */
#define WRITER_FINGERPRINT   64          /* characters: SHA-256 in hex of what was asked */

/* Retention of the log (contract line 5): trimmed by age, never below this many entries. */
#define WRITER_KEEP_ENTRIES 20000
#define WRITER_KEEP_MS      (48 * 3600 * 1000LL)

struct event_base;
struct writer;

struct change {
        char event[EVENT_ID_MAX + 1];
        struct command command; /* command.create is copied by writer_submit */
        char request_key[REQUEST_KEY_MAX + 1];
        char fingerprint[WRITER_FINGERPRINT + 1];
        bool has_if_version;
        uint64_t if_version;
        const struct target *to; /* who is told; NULL = everyone. Copied by writer_submit */
        const struct audit_note *note; /* who asks, for the audit trail; NULL = nobody says. Copied likewise */
        bool dry_run; /* decide as in earnest, and append nothing; needs no request key */
};

enum outcome_kind {
        OUTCOME_COMMITTED, /* event, token */
        OUTCOME_REPLAYED,  /* the same key and body before: event, token are the first result's */
        OUTCOME_REFUSED,   /* refusal; event if there is one */
        OUTCOME_STALE,     /* the version is not the expected one: event is the current state */
        OUTCOME_KEY_REUSED, /* the same key with another body */
        OUTCOME_UNKNOWN,   /* no answer in time: may or may not have happened; ask again with the key */
        OUTCOME_UNAVAILABLE, /* no append was sent, and none will be: did not happen */
        OUTCOME_FAILED,    /* Redis refused: `why`; did not happen */
        OUTCOME_POSSIBLE   /* a dry run: in earnest it would be done now. event as it would be, told */
};

struct outcome {
        enum outcome_kind kind;
        struct token token;
        char durability[DURABILITY_TEXT_MAX + 1]; /* COMMITTED, REPLAYED: as it was acknowledged at first;
                                                     empty = unknown */
        bool has_event;
        struct event event;
        enum signal_kind told; /* POSSIBLE: what devices would be told */
        struct refusal refusal;
        const char *why; /* a sentence; FAILED, UNKNOWN, UNAVAILABLE */
};

/* Exactly once per accepted submit, within WRITER_ANSWER_MS, never from inside it. `outcome` is
 * borrowed. */
typedef void writer_done_fn(void *owner, const struct outcome *outcome);

/* What this node holds of the log now; epoch 0 = nothing. Appends go only to a log that has it, in its
 * epoch: else they end as UNAVAILABLE, for the node is about to find out, and the log to be renewed. */
typedef struct token writer_witness_fn(void *owner);

struct writer_options {
        struct primary *primary; /* where to write, and what that is worth; borrowed, outlives the writer */
        const char *ns;          /* borrowed */
        writer_witness_fn *witness;
        /* A change is committed, or was (the same key again), and its owner about to be told. May be NULL. */
        void (*on_committed)(void *owner, const struct token *token, const struct event *event, bool is_replay);
        void *owner;
};
must_check enum err writer_create(struct event_base *base, const struct writer_options *options,
                                  struct writer **ret_writer);
void writer_destroy(struct writer *writer); /* pending submits end as UNKNOWN or UNAVAILABLE */
must_check enum err writer_submit(struct writer *writer, const struct change *change, int64_t now,
                                  writer_done_fn *done, void *owner);

/* Load the function library into Redis (FUNCTION LOAD REPLACE). Called after each reconnect. `done` gets
 * OK, or an error with a sentence. The library's name carries its major version, so that nodes of another
 * version keep theirs. */
typedef void library_done_fn(void *owner, enum err err, const char *why);
must_check enum err library_load(struct redis *redis, library_done_fn *done, void *owner);
