/* base/clock.h -- the two clocks. Wall time (Unix milliseconds) is for what people and other
 * machines see; monotonic time is for every deadline and interval. Pure cores take `now` as an
 * argument and never call these. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);

/* RFC 3339 in UTC with milliseconds, "2026-11-23T20:00:00.000Z": 24 characters and a NUL. */
#define CLOCK_RFC3339_SIZE 25
void clock_format_rfc3339(int64_t wall_ms, char text[CLOCK_RFC3339_SIZE]);

/* Strict RFC 3339 with any offset and 0-3 decimals kept (more are cut). 0 on success, -1 if `text`
 * is not a time; *ret_wall_ms is then untouched. Years 1970-9999 in
 * UTC; a leap second counts as the second after it. */
int clock_parse_rfc3339(const char *text, int64_t *ret_wall_ms);

/* A duration as people write it: "250ms", "2s", "15m", "1h", "90s", "1h30m", "7d". 0 or -1 as above.
 * At most 366 days; larger units first, each once; no sign, no fractions, no bare number. */
int clock_parse_duration(const char *text, int64_t *ret_ms);
