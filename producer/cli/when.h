/* producer/cli/when.h -- moments and spans, as people type them and as they like to read them.
 * Local time zone. Pure but for the zone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

/* RFC 3339, or local time as "2026-11-23 20:00[:30]" (also with T), or "20:00[:30]": the next time
 * the clock shows that. */
must_check bool when_parse(const char *text, int64_t now_ms, int64_t *ret_ms);
/* Is it one of these forms? For option rows. */
bool when_accepts(const char *text, const char **ret_why);
/* "20:00:00 (in 10 min)", with the date if it is not today. */
void when_show(int64_t ms, int64_t now_ms, struct buf *out);
/* "in 10 min", "12 s ago", "now". */
void when_relative(int64_t ms, int64_t now_ms, struct buf *out);
/* "1h30m", "2s", "250ms": what the admin API and clock_parse_duration read. */
void when_duration(int64_t span_ms, struct buf *out);
