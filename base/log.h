/* base/log.h -- one line per happening on stderr: time, level, a stable id, then key=value pairs.
 *   2026-11-23T20:00:00.000Z info NODE-READY node=a1 listen=0.0.0.0:8080
 * Ids are upper case with dashes, never reused for something else, and listed in HACKING.md.
 * Values with spaces, quotes or control characters are quoted by log_quote(). One write() per line,
 * so lines of threads and processes never mix. Any thread. Colour only when stderr is a terminal. */
#pragma once

#include "base/check.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level); /* LOG_INFO at first; KICKOFF_LOG=debug|info|warn|error too */
void log_line(enum log_level level, const char *id, const char *fmt, ...) printf_like(3, 4);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* `text` made safe as one value, in a per-thread buffer that the fourth later call reuses; at most
 * 200 bytes of it are kept. For text that came from outside. */
const char *log_quote(const char *text);
