/* gateway/lifetime.h -- when a session may not end of old age: around a planned start, when every
 * reconnect is one too many. Decides the windows of time in which no session ends by itself, and
 * how long one whose end falls into such a window lives on. Pure: no I/O, no clock; refuses to know
 * sessions, which ask when their own timer fires (session.c), so that a window costs nothing per
 * session, and an event that was delayed meanwhile has moved its window.
 *
 *        window of a start: what leaves before it has left          behind it: spread
 *   ──────┤◄─ 20 s ─►◄── guard ──►◄── guard ──►├┄┄┄┄┄┄ as long as the window ┄┄┄┄┄┄├──►
 *                              start
 *
 * How wide they are spread. Without the window their ends had been spread over it; over a span of
 * the same length they go at the same rate as then, and together with those whose own end lies
 * there at no more than twice that. Where all came at once, their ends lie within the last tenth of
 * the lifetime (session.c): a window shorter than that is no reason to squeeze them, so the span is
 * a tenth of the lifetime at least. Worker thread, each its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

#define LIFETIME_WINDOWS 16 /* the next ones; overlapping ones are one */
#define LIFETIME_REPLAN_MS \
        60000 /* the wall clock may be set: windows older than this are made anew */
#define LIFETIME_LEAVING_MS   20000 /* from goaway recycle until the node closes: see session.c */
#define LIFETIME_GUARD_MAX_MS (3600 * 1000)

struct lifetime_window {
        uint32_t from_ms, until_ms; /* the sessions' clock (session.h) */
};

struct lifetime { /* zero-filled: no windows */
        uint32_t planned_ms;
        unsigned n;
        struct lifetime_window windows[LIFETIME_WINDOWS]; /* by time, disjoint, none that is over */
};

/* The windows of these events (snapshot_events): around `at` of one that is in stage `live`, which
 * may be a start announced for later; none for one that is `ended` or `cancelled`; around
 * `starts_at` of all others, and of a start that is overdue until it is `guard_ms` late. `guard_ms`
 * 0: no windows. Both clocks are read at the same moment. O(events). */
void lifetime_plan(struct lifetime *lifetime, const struct event_state *events, size_t n,
                   uint32_t guard_ms, int64_t wall_ms, uint32_t now_ms);

/* A session wants to end now. 0: it may. Else in so many ms, behind the window (and behind those
 * that follow), spread over the window's length but no less than `least_span_ms`; never more than
 * `most_ms`, even if that is within a window. `seed` is any number of the session's own. */
uint32_t lifetime_postpone(const struct lifetime *lifetime, uint32_t now_ms, uint32_t least_span_ms,
                           uint32_t most_ms, uint64_t seed);
