/* proto/close.h -- why a session ends: one row per reason. The WebSocket close code (RFC 6455 7.4),
 * the short text in the close frame, whether it counts as somebody's error, the log and metric name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*       name              code  error  text (<= 123 bytes) */
#define CLOSE_REASONS(X)                                                                           \
        X(CLOSE_NORMAL,    1000, false, "done")                                                    \
        X(CLOSE_GOING,     1001, false, "going away")                                              \
        X(CLOSE_PROTOCOL,  1002, true,  "broken WebSocket frame")                                  \
        X(CLOSE_DATA_TYPE, 1003, true,  "text or binary frame of the other encoding")              \
        X(CLOSE_BAD_DATA,  1007, true,  "message is not what the subprotocol says")                \
        X(CLOSE_POLICY,    1008, true,  "too many messages")                                       \
        X(CLOSE_TOO_BIG,   1009, true,  "message too big")                                         \
        X(CLOSE_INTERNAL,  1011, true,  "node failed")                                             \
        X(CLOSE_DRAIN,     1012, false, "node is leaving, come back to another")                   \
        X(CLOSE_OVERLOAD,  1013, false, "node is full, come back later")                           \
        X(CLOSE_EXPIRED,   4001, false, "token expired")                                           \
        X(CLOSE_TOO_SLOW,  4008, true,  "too slow: fell out of the log twice")                     \
        X(CLOSE_REPLACED,  4009, false, "the same device connected again")                         \
        X(CLOSE_IDLE,      1001, false, "no answer to ping")                                       \
        X(CLOSE_GONE,      0,    false, "peer closed or lost")

enum close_reason {
#define X(name, code, error, text) name,
        CLOSE_REASONS(X)
#undef X
        CLOSE_KINDS
};

struct close_row {
        const char *name; /* "normal", "too-slow": lower case with dashes */
        uint16_t code;    /* 0 = no close frame is sent */
        bool is_error;
        const char *text;
};
extern const struct close_row close_table[CLOSE_KINDS];

/* May this code stand in a close frame that we receive (RFC 6455 7.4.1, 7.4.2)? */
bool close_code_is_valid(uint16_t code);
