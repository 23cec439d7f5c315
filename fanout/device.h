/* fanout/device.h -- a question about one device, its answer, and how nodes write both to each
 * other (pub/sub: `{ns}:node:<name>` for one node, `{ns}:nodes-ask` for all). Pure.
 *
 * JSON objects. Unknown members are ignored, an unknown `k` is nobody's: so later versions may add
 * to both. Who answers names itself: the registry is a cache, and only a node knows whom it holds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "proto/message.h"
#include "proto/names.h"

enum device_question {
        DEVICE_LOOK,    /* do you hold it? */
        DEVICE_MESSAGE, /* give it this message */
        /* The registry has another session of it, `rival`, as the later one: is that so? No answer
         */
        DEVICE_CLAIMED,
        DEVICE_REPLACED, /* its session has been replaced by a newer one elsewhere: end it. No
                            answer */
        DEVICE_QUESTIONS
};

struct device_query {
        enum device_question what;
        char device[DEVICE_ID_MAX + 1];
        uint64_t session;              /* this session alone; 0 = whichever the device has */
        uint64_t rival;                /* CLAIMED */
        struct device_message message; /* MESSAGE */
};

enum device_outcome {                 /* better ones later: of several answers the largest counts */
                      DEVICE_ABSENT,  /* not here; of the whole fleet: not connected anywhere */
                      DEVICE_UNKNOWN, /* Redis could not be asked, and the device is not at this
                                         node */
                      DEVICE_SILENT,  /* a node that may hold it gave no answer in time */
                      DEVICE_JOINING, /* here, but it has had no hello yet */
                      DEVICE_FULL,    /* here, but its socket is full: more than one frame waits */
                      DEVICE_LIMITED, /* here, but it was sent too many messages of late */
                      DEVICE_HERE,    /* here; a message has been written to its socket, or waits
                                         behind one frame */
                      DEVICE_OUTCOMES
};

struct device_answer {
        enum device_outcome outcome;
        char node[NODE_NAME_MAX + 1]; /* who holds it; SILENT: who did not answer, if known */
        uint64_t session;             /* 0 = not known */
        int64_t connected_since;      /* Unix ms; 0 = not known */
        uint64_t age_ms;              /* HERE: how long ago that was, when this was answered */
        char cohort[COHORT_MAX + 1];  /* empty = not known */
        char transport[16];           /* "websocket", "sse"; empty = not known */
        uint32_t retry_after_ms;      /* LIMITED, FULL, JOINING, SILENT, UNKNOWN */
        int64_t last_seen;            /* ABSENT: Unix ms; 0 = not known */
};

/* `errand` is the asker's own number for it, `from` its node's name. */
void device_query_format(const struct device_query *query, uint64_t errand, const char *from,
                         struct buf *out);
void device_answer_format(const struct device_answer *answer, uint64_t errand, struct buf *out);

enum device_letter { DEVICE_LETTER_NONE, DEVICE_LETTER_QUERY, DEVICE_LETTER_ANSWER };
struct device_heard {
        uint64_t errand; /* 0: nobody waits for an answer */
        char from[NODE_NAME_MAX + 1];
        struct device_query query;
        struct device_answer answer;
};
/* What came over a channel; NONE: nothing that this version understands. */
enum device_letter device_heard_parse(const char *bytes, size_t len,
                                      struct device_heard *ret_heard);
