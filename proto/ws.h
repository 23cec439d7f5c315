/* proto/ws.h -- WebSocket frames (RFC 6455 section 5), both roles, no extensions. A strict incremental
 * reader that may be fed any cut of the stream, and writers. Pure: no I/O, no clock; memory is the
 * caller's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/close.h"

enum ws_opcode {
        WS_CONTINUATION = 0x0,
        WS_TEXT = 0x1,
        WS_BINARY = 0x2,
        WS_CLOSE = 0x8,
        WS_PING = 0x9,
        WS_PONG = 0xA
};

enum ws_role { WS_SERVER, WS_CLIENT }; /* who reads: a server wants masked frames, a client unmasked */

#define WS_FRAGMENTS_MAX 16  /* frames of one message, empty ones counted */
#define WS_CONTROL_MAX   125 /* RFC 6455 5.5 */
#define WS_HEADER_MAX    14  /* bytes: 2 + 8 + 4 */
#define WS_KEY_LEN       24  /* Sec-WebSocket-Key: 16 bytes in base64 */

/* State between two reads. `buffer` holds one message's payload (unmasked) as it comes together. */
struct ws_reader {
        enum ws_role role;
        uint8_t *buffer; /* caller's; `limit` bytes for the message, then WS_CONTROL_MAX for control frames */
        uint32_t limit;
        /* private to ws.c from here */
        uint32_t message_len, frame_len, frame_got; /* frame_len fits: it is refused beyond limit */
        uint32_t utf8_state;                        /* text is checked as it arrives (RFC 6455 8.1) */
        uint8_t header[WS_HEADER_MAX], header_len;  /* WS_HEADER_BROKEN: nothing more is read */
        uint8_t message_opcode;                     /* 0 = no message begun */
        uint8_t fragments;                          /* frames of this message so far */
        bool in_payload;
};

enum ws_status {
        WS_MORE,    /* all bytes used, nothing complete */
        WS_MESSAGE, /* event: opcode WS_TEXT or WS_BINARY, whole payload */
        WS_CONTROL, /* event: opcode WS_PING, WS_PONG or WS_CLOSE */
        WS_BROKEN   /* event.reason says why, now and at every later call */
};

struct ws_event {
        enum ws_opcode opcode;
        const uint8_t *payload; /* in the reader's buffer: valid until the next ws_read */
        size_t len;
        uint16_t close_code;       /* WS_CLOSE: 1005 when the frame had none */
        enum close_reason reason;  /* WS_BROKEN: PROTOCOL, BAD_DATA (not UTF-8), POLICY (fragments), TOO_BIG */
};

void ws_reader_init(struct ws_reader *reader, enum ws_role role, uint8_t *buffer, uint32_t limit);
/* Bytes the buffer must have for a message limit. */
#define WS_BUFFER_SIZE(limit) ((size_t)(limit) + WS_CONTROL_MAX)
/* Reads up to one event; *ret_used bytes were taken, call again with the rest. */
enum ws_status ws_read(struct ws_reader *reader, const uint8_t *bytes, size_t len, size_t *ret_used,
                       struct ws_event *ret_event);
/* True when nothing has been kept between frames or messages: the buffer may be given to another. */
bool ws_reader_is_idle(const struct ws_reader *reader);

/* Header of an unmasked, final frame; returns its length. */
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t payload_len);
/* How long the header at the beginning of such a frame is. */
size_t ws_header_size(const uint8_t *frame);
/* A whole client frame, masked with `mask`; out must hold WS_HEADER_MAX + len. Returns its length. */
size_t ws_client_frame(uint8_t *out, enum ws_opcode opcode, const void *payload, size_t len,
                       const uint8_t mask[4]);
/* A whole server close frame for the reason; out must hold 2 + WS_CONTROL_MAX. */
size_t ws_close_frame(uint8_t *out, enum close_reason reason);

/* Is this Sec-WebSocket-Key the base64 of 16 bytes (RFC 6455 4.2.1)? */
bool ws_key_is_valid(const char *key, size_t len);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key of 24 characters (RFC 6455 4.2.2): 28 characters + NUL. */
void ws_accept_key(const char key[WS_KEY_LEN], char accept[29]);
