/* gateway/response.h -- the bytes of every answer at the device port but bundles: refusals as
 * problem details (RFC 9457), the health check, the head of the state page, the upgrade. Pure:
 * appends to a buffer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"
#include "proto/head.h"
#include "proto/message.h"
#include "proto/token.h"

/* Retry-After of what is not the door's to say (admission.h) is drawn from these, in seconds, so that
 * those who ask do not come back together. */
#define RESPONSE_RETRY_MIN_S 1
#define RESPONSE_RETRY_MAX_S 15

struct refusal_text {
        unsigned status;
        const char *title;  /* plain ASCII, as is `detail` */
        const char *detail; /* what to do */
};

/* `retry_s` > 0 adds Retry-After, `max_age_s` > 0 lets caches keep the refusal so long. 426 names
 * the protocol it wants, 405 the methods. `closes`: the connection ends with it. */
void response_refusal(struct buf *out, const struct refusal_text *text, unsigned retry_s,
                      unsigned max_age_s, bool closes, bool head_only);
/* How old a poller's news may be beyond its own interval, so that a cache in front asks a node no more often
 * than that, however many poll. */
#define RESPONSE_EVENTS_MAX_AGE_S 2
void response_health(struct buf *out, bool closes, bool head_only);
/* 200 head of GET /v1/events; `body_len` bytes of JSON follow. ETag is the token in quotes: one place in the
 * log is one state. Caches may keep either answer for RESPONSE_EVENTS_MAX_AGE_S. */
void response_events_head(struct buf *out, const struct token *token, size_t body_len, bool closes);
void response_events_304(struct buf *out, const struct token *token, bool closes);
/* Does If-None-Match name this state? */
bool response_events_matches(const struct token *token, struct slice if_none_match);
/* 101; the subprotocol is echoed when the client named it. */
void response_upgrade(struct buf *out, const char key[24], bool names_subprotocol,
                      enum encoding encoding);
/* The upgrade, `goaway overload` and close 1013 in one: a refusal that a browser lets its page see. */
void response_turned_away(struct buf *out, const char key[24], bool names_subprotocol,
                          enum encoding encoding, uint32_t min_ms, uint32_t max_ms);

/* An EventSource comes back by itself `retry` after its stream has ended, and knows no back-off and no
 * goaway. So `retry` is drawn for each stream: a node that dies sends nobody back in the same moment. */
#define RESPONSE_COME_BACK_MIN_MS 1000
#define RESPONSE_COME_BACK_MAX_MS 10000
#define RESPONSE_COME_BACK_NEVER_MS 86400000 /* `replaced`: there is no word for never */

/* The head of an event stream, whose body ends with the connection, and its first block: `retry`, and as `id`
 * the place that the device came with (NULL: it came without one). It has no data, so it is no message, but
 * without it a reader that is told something else first would forget the place that it had. */
void response_stream(struct buf *out, const struct token *since, uint32_t come_back_ms);
/* `goaway` as a block of a stream, with a `retry` of its own. */
void response_stream_goaway(struct buf *out, const struct goaway *goaway, struct rng *rng);
