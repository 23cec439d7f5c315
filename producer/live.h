/* producer/live.h -- GET /v1/live: what is going on, as server-sent events, for the console and
 * whoever else wants to look on. Redis is read once for all streams, however many there are, and
 * only while there are some. Decides what is read how often; how things look as JSON is view.c's
 * business.
 *
 * Each message is a whole state, so nothing needs to be resumed, and a new stream begins with the
 * last of each kind:
 *
 *   events   {events: [...]}: as view_event has them, each with `legal`: what may be done to it now
 *   nodes    {nodes: [...]}: as GET /v1/nodes
 *   signal   {head, signals: [...]}: the newest LIVE_SIGNALS, oldest first
 *   report   the newest signal with its delivery report, as GET /v1/signals/SEQ, and
 *            `curve`: {percent_step, told_ms: [...], acted_ms: [...]}, by when each further
 *            percent was told, or acted; null if nobody; and
 *            `samples`: [[ms since sent, written, acked], ...], as far back as somebody looked on
 *   status   {now, node, ready, why_not_ready, writable, why_not_writable, redis,
 *            as_of: {events, nodes, signal, report}}: when Redis last told each, null = never
 *
 * `status` comes at least once a second, and no more than two of a kind in one. What is as it was
 * is not repeated. Control thread only. */
#pragma once

#include "base/check.h"
#include "base/err.h"
#include "producer/admin.h"

struct live;
struct event_base;
struct httpd_request;

#define LIVE_TICK_MS     500
#define LIVE_STREAMS_MAX 32 /* each may hold HTTPD_STREAM_UNSENT_MAX and one message */
#define LIVE_SIGNALS     20

/* `options` is borrowed: redis, ns, name and the why_not_ callbacks are used. ERR_NOMEM. */
must_check enum err live_create(struct event_base *base, const struct admin_options *options,
                                struct live **ret_live);
/* Answers `request`: a stream until its reader leaves, or 503 beyond LIVE_STREAMS_MAX. */
void live_join(struct live *live, struct httpd_request *request);
/* After the server that its streams belong to. Reads under way may come back. NULL is fine. */
void live_destroy(struct live *live);
