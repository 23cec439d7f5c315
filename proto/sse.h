/* proto/sse.h -- Server-Sent Events (WHATWG HTML, 9.2 "Server-sent events"), the writing side: what a node
 * says on /v1/stream. A block is some lines and an empty one; its reader takes it over as a whole or, if the
 * stream ends within it, not at all, `id` included. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/token.h"

#define SSE_PING     ":\n\n" /* a comment: readers skip it, networks see that the connection lives */
#define SSE_PING_LEN 3

/* What a block takes beyond its payload, at most: the lines' names and ends, a retry and an id. */
#define SSE_AROUND_MAX (18 + 5 + TOKEN_TEXT_MAX + 8)

/* The line `retry: MS` of a block that goes on: how long a reader waits before it comes back, once the
 * stream has ended, unless a later one says otherwise. At most 18 bytes. */
void sse_retry(struct buf *out, uint32_t ms);
/* `id: TOKEN` unless `place` is NULL, `data: PAYLOAD` unless `len` is 0, and the end of the block. The payload
 * is JSON as message.h writes it: without line ends (checked), so it is one line. */
void sse_block(struct buf *out, const struct token *place, const void *payload, size_t len);
