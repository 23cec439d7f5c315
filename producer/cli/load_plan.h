/* producer/cli/load_plan.h -- what `prefetch load` has to do, from what is in the directory and
 * what the node holds already. That is also how it resumes after a break: there is no state but the
 * node's. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "producer/cli/bundle_files.h"

enum load_state {
        LOAD_SEND,   /* not there, or other bytes, or another content type */
        LOAD_DRAFT,  /* stored as a draft already */
        LOAD_CURRENT /* devices have it, and no draft would replace it */
};

struct load_plan {
        size_t send, draft, current; /* files of each state */
        size_t send_bytes, bytes;    /* of those to send, of all */
        size_t others;      /* drafts of cohorts that are not in the directory: published along */
        json_int_t version; /* bundle version now; 0 = none yet */
        bool publishes;     /* something of ours is, or will be, a draft */
};

/* `files` have hashes; `answer` is that of GET /v1/events/ID/bundles. ret_states: one for each
 * file. ERR_INVALID: that is no such answer; ERR_NOMEM. */
must_check enum err load_plan_make(const struct bundle_file *files, size_t n, const json_t *answer,
                                   enum load_state *ret_states, struct load_plan *ret_plan);
/* For people: what would be, or is to be, done. */
void load_plan_show(const struct load_plan *plan, const char *event, struct buf *out);
json_t *load_plan_json(const struct load_plan *plan, const char *event); /* NULL = no memory */
