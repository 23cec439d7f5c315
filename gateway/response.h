/* gateway/response.h -- the bytes of every answer at the device port but bundles: refusals as
 * problem details (RFC 9457), the health check, the head of the state page, the upgrade. Pure:
 * appends to a buffer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
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
void response_health(struct buf *out, bool closes, bool head_only);
/* 200 head of GET /v1/events; `body_len` bytes of JSON follow. ETag is the token in quotes. */
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
