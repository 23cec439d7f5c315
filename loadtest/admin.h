/* loadtest/admin.h -- the producer's side of a rehearsal, through the admin API: makes the event,
 * starts it, changes its stage, and reads the log that everything devices saw is compared with.
 * Blocks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "loadtest/witness.h"
#include "proto/names.h"
#include "proto/token.h"

struct admin {
        const char *url;    /* "http://127.0.0.1:9090"; borrowed */
        const char *bearer; /* "Bearer ..."; borrowed; NULL = none */
        char why[320];      /* after anything but OK: a sentence for the person at the terminal */
};

struct admin_event {
        bool exists;
        char stage[STAGE_MAX + 1];
        uint64_t version, bundle;
};

/* For all: ERR_UNAVAILABLE nobody answers there; ERR_TIMEOUT, ERR_IO outcome unknown; ERR_INVALID
 * it answered something else than expected, or refused. */
must_check enum err admin_find(struct admin *admin, const char *event,
                               struct admin_event *ret_event);
/* Creates the event with one bundle of `bundle_bytes` for all cohorts, and makes that current. */
must_check enum err admin_make(struct admin *admin, const char *event, uint32_t bundle_bytes,
                               struct admin_event *ret_event);
/* POST .../start {lead} or .../stage {stage}, once, whatever happens on the way: tried again under the
 * same Idempotency-Key while the outcome is unknown. `version` is what the event must be at. stage
 * NULL = start; lead_ms 0 = without. */
must_check enum err admin_change(struct admin *admin, const char *event, const char *stage,
                                 int64_t lead_ms, uint64_t version, struct token *ret_token, uint64_t *ret_version);
/* POST /v1/nodes/NODE/drain: it sends its devices away and ends by itself, within that time. */
must_check enum err admin_drain(struct admin *admin, const char *node, unsigned within_ms);
/* All of the log after `after`, up to its head. */
must_check enum err admin_read_log(struct admin *admin, seqno after, struct witness *log);
