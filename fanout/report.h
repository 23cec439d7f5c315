/* fanout/report.h -- the delivery report of one signal: how many devices were told, how many said
 * so, and how long it took. Devices cost Redis nothing: each node counts in memory
 * (gateway/tally.h) and writes one *part* per signal, its absolute counts (reporter.h); whoever
 * asks reads all parts and adds them up here.
 *
 *   {ns}:report:<seq>, a hash, 24 h:   "<node>/<started>" -> {"epoch", "tag", "at", counts,
 * histograms}
 *
 * A part belongs to one run of one node: a node that is started again begins a part of its own and
 * leaves the old one as it was. Epoch and tag are in the part, so that parts of a history that is
 * gone are not counted. Control thread only; all but report_read is pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "fanout/latency.h"
#include "fanout/presence.h"
#include "proto/message.h"

#define REPORT_FIELD_MAX (NODE_NAME_MAX + 1 + 20)

struct report_part {         /* of one signal; counts of devices */
        struct token token;  /* the signal's; epoch 0 = none */
        uint32_t connected;  /* sessions when the signal came */
        uint32_t written;    /* were sent it whole: at once, or after they came back */
        uint32_t silent;     /* of those written: connected with ack=0 */
        uint32_t acked;      /* said that they have it */
        uint32_t said;       /* of those acked: named a plausible moment of acting */
        struct latency told; /* of those written: from `sent` until their frame was out */
        /* From max(sent, at) until it acted, as it said itself; of those that never say, until
         * their ack came. An ack before `at` without a moment says nothing of acting, nor does one
         * that names the moment of a later signal. */
        struct latency acted;
};

void report_part_add(struct report_part *into,
                     const struct report_part *from); /* all but the token */
/* The hash field of this run. `started` is Unix ms. Returns its length. */
size_t report_field(char out[REPORT_FIELD_MAX + 1], const char *node, int64_t started);
/* Appends the text of a part written at `at`, Unix ms; at most about 6 KiB, usually 500 bytes. */
void report_part_format(const struct report_part *part, int64_t at, struct buf *out);
/* ERR_INVALID: not a part, or one that contradicts itself. ERR_NOMEM. */
must_check enum err report_part_parse(const char *text, size_t len, struct report_part *ret_part,
                                      int64_t *ret_at);

struct report_node { /* one run of a node */
        char name[NODE_NAME_MAX + 1];
        int64_t started;
        int64_t seen;  /* last heard of, Unix ms */
        bool gone;     /* that run has ended: what it did not write in time is lost */
        bool has_part; /* false: it had devices when the signal came, and went without a word of it
                        */
        struct report_part part; /* without a part: `connected` as its presence said last */
};

struct report {
        struct token token;
        int64_t sent;              /* of the signal, Unix ms */
        struct report_node *nodes; /* by name, then by start */
        size_t n;
        struct report_part sum;
        unsigned unreadable; /* parts of this history or another that made no sense */
        bool complete; /* no node is awaited, every device connected was sent it, and all that would
                          say so have */
        bool partial;  /* some of it may be missing: a node is gone, or a part unreadable */
};

void report_init(struct report *report, const struct signal *signal);
/* One field of the hash. A malformed one is counted, one of another history passed over. ERR_NOMEM.
 */
must_check enum err report_add(struct report *report, const char *field, const char *text,
                               size_t len);
/* All parts are in: who is gone, the sums. ERR_NOMEM. */
must_check enum err report_finish(struct report *report, const struct presence *nodes, size_t n);
void report_fini(struct report *report);

/* err: OK, ERR_TIMEOUT (no answer), ERR_IO (Redis said no), ERR_UNAVAILABLE, ERR_NOMEM; report is
 * NULL but for OK, and borrowed. Exactly once, never from inside report_read. `signal` is copied.
 */
typedef void report_fn(void *owner, enum err err, const struct report *report);
must_check enum err report_read(struct redis *redis, const char *ns, const struct signal *signal,
                                int64_t now, report_fn *done, void *owner);
