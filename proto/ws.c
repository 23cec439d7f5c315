/* proto/ws.c -- reads and writes WebSocket frames. The reader decides each byte as early as the RFC
 * allows: a header is refused at the byte that breaks it, a length before its payload, a text at
 * the first byte that is not UTF-8; so a peer that breaks a rule never makes us wait for, or hold,
 * the rest. What is then done about it (close frame, metrics) is the caller's. */
#include "proto/ws.h"

#include <string.h>

#include "proto/utf8.h"

#define WS_FIN           0x80
#define WS_RSV           0x70
#define WS_OPCODE        0x0F
#define WS_MASKED        0x80
#define WS_LENGTH        0x7F
#define WS_LENGTH_16     126
#define WS_LENGTH_64     127
#define WS_HEADER_BROKEN 0xFF /* in header_len; header[0] then holds the reason */

void ws_reader_init(struct ws_reader *reader, enum ws_role role, uint8_t *buffer, uint32_t limit)
{
        memset(reader, 0, sizeof(*reader));
        reader->role = role;
        reader->buffer = buffer;
        reader->limit = limit;
}

bool ws_reader_is_idle(const struct ws_reader *reader)
{
        return reader->header_len == 0 && reader->message_opcode == 0;
}

static uint8_t frame_opcode(const struct ws_reader *reader)
{
        return reader->header[0] & WS_OPCODE;
}

static bool frame_is_final(const struct ws_reader *reader)
{
        return (reader->header[0] & WS_FIN) != 0;
}

static bool frame_is_control(const struct ws_reader *reader)
{
        return (reader->header[0] & 0x08) != 0;
}

static enum ws_status broken(struct ws_reader *reader, enum close_reason reason,
                             struct ws_event *ret_event)
{
        reader->header_len = WS_HEADER_BROKEN;
        reader->header[0] = (uint8_t)reason;
        *ret_event = (struct ws_event){ .reason = reason };
        return WS_BROKEN;
}

static uint64_t big_endian(const uint8_t *bytes, size_t n)
{
        uint64_t value = 0;

        for (size_t i = 0; i < n; i++)
                value = value << 8 | bytes[i];
        return value;
}

size_t ws_header_size(const uint8_t *frame)
{
        switch (frame[1] & WS_LENGTH) {
        case WS_LENGTH_16:
                return 4;
        case WS_LENGTH_64:
                return 10;
        default:
                return 2;
        }
}

/* How long this header is with its mask, known once its second byte is. */
static size_t header_size(const struct ws_reader *reader)
{
        return ws_header_size(reader->header) + (reader->role == WS_SERVER ? 4 : 0);
}

/* RFC 6455 5.2, 5.4, 5.5: what the first byte alone can break. CLOSE_NORMAL = nothing. */
static enum close_reason judge_first_byte(const struct ws_reader *reader)
{
        if ((reader->header[0] & WS_RSV) != 0) /* no extension was agreed on */
                return CLOSE_PROTOCOL;
        switch (frame_opcode(reader)) {
        case WS_CLOSE:
        case WS_PING:
        case WS_PONG:
                return frame_is_final(reader) ? CLOSE_NORMAL : CLOSE_PROTOCOL;
        case WS_TEXT:
        case WS_BINARY:
                return reader->message_opcode == 0 ? CLOSE_NORMAL : CLOSE_PROTOCOL;
        case WS_CONTINUATION:
                if (reader->message_opcode == 0)
                        return CLOSE_PROTOCOL;
                /* Endless empty frames cost no memory, but time (CVE-2014-0193 in Netty). */
                return reader->fragments < WS_FRAGMENTS_MAX ? CLOSE_NORMAL : CLOSE_POLICY;
        default:
                return CLOSE_PROTOCOL;
        }
}

static enum close_reason judge_second_byte(const struct ws_reader *reader)
{
        bool masked = (reader->header[1] & WS_MASKED) != 0;
        unsigned length = reader->header[1] & WS_LENGTH;

        if (masked != (reader->role == WS_SERVER)) /* RFC 6455 5.1: both sides MUST close on it */
                return CLOSE_PROTOCOL;
        if (frame_is_control(reader) && length > WS_CONTROL_MAX)
                return CLOSE_PROTOCOL;
        if (frame_opcode(reader) == WS_CLOSE && length == 1) /* RFC 6455 5.5.1: empty, or a code */
                return CLOSE_PROTOCOL;
        return CLOSE_NORMAL;
}

/* The length is complete (the mask may still be missing). */
static enum close_reason judge_length(struct ws_reader *reader)
{
        uint64_t length = reader->header[1] & WS_LENGTH;
        uint64_t shortest = 0;

        if (length == WS_LENGTH_16) {
                length = big_endian(reader->header + 2, 2);
                shortest = WS_LENGTH_16;
        } else if (length == WS_LENGTH_64) {
                length = big_endian(reader->header + 2, 8);
                shortest = 0x10000;
        }
        if (length < shortest || length >> 63 != 0) /* RFC 6455 5.2: minimal, and bit 63 is 0 */
                return CLOSE_PROTOCOL;
        if (!frame_is_control(reader) && length > reader->limit - reader->message_len)
                return CLOSE_TOO_BIG;
        reader->frame_len = (uint32_t)length;
        return CLOSE_NORMAL;
}

static void begin_payload(struct ws_reader *reader)
{
        reader->in_payload = true;
        reader->frame_got = 0;
        if (frame_is_control(reader))
                return;
        if (frame_opcode(reader) != WS_CONTINUATION) {
                reader->message_opcode = frame_opcode(reader);
                reader->message_len = 0;
                reader->fragments = 0;
                reader->utf8_state = UTF8_START;
        }
        reader->fragments++;
}

/* Takes one byte of the header. */
static enum close_reason read_header(struct ws_reader *reader, uint8_t byte)
{
        size_t size, length_end;
        enum close_reason verdict = CLOSE_NORMAL;

        reader->header[reader->header_len++] = byte;
        if (reader->header_len == 1)
                return judge_first_byte(reader);
        if (reader->header_len == 2)
                verdict = judge_second_byte(reader);
        if (verdict != CLOSE_NORMAL)
                return verdict;

        size = header_size(reader);
        length_end = reader->role == WS_SERVER ? size - 4 : size;
        if (reader->header_len == length_end)
                verdict = judge_length(reader);
        if (verdict == CLOSE_NORMAL && reader->header_len == size)
                begin_payload(reader);
        return verdict;
}

/* out[i] = in[i] xor mask[(offset + i) % 4]; `out` may be `in`. Eight bytes at a time. */
static void mask_copy(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[4],
                      size_t offset)
{
        uint8_t turned[8];
        uint64_t word, key;
        size_t i = 0;

        for (size_t k = 0; k < sizeof(turned); k++)
                turned[k] = mask[(offset + k) & 3];
        memcpy(&key, turned, sizeof(key));
        for (; len - i >= sizeof(word); i += sizeof(word)) {
                memcpy(&word, in + i, sizeof(word));
                word ^= key;
                memcpy(out + i, &word, sizeof(word));
        }
        for (; i < len; i++)
                out[i] = in[i] ^ turned[i & 7];
}

/* Where the frame's payload goes: control frames may stand between the fragments of a message, so
 * they have a place of their own behind it. */
static uint8_t *frame_buffer(const struct ws_reader *reader)
{
        if (frame_is_control(reader))
                return reader->buffer + reader->limit;
        return reader->buffer + reader->message_len;
}

/* Takes what there is of the payload. False: not UTF-8. */
static bool read_payload(struct ws_reader *reader, const uint8_t *bytes, size_t len)
{
        uint8_t *to = frame_buffer(reader) + reader->frame_got;

        if (reader->role == WS_SERVER)
                mask_copy(to, bytes, len, reader->header + header_size(reader) - 4,
                          reader->frame_got);
        else
                memcpy(to, bytes, len);
        reader->frame_got += (uint32_t)len;
        if (frame_is_control(reader) || reader->message_opcode != WS_TEXT)
                return true;
        return utf8_feed(&reader->utf8_state, to, len);
}

static enum ws_status end_control(struct ws_reader *reader, struct ws_event *ret_event)
{
        struct ws_event event = { .opcode = (enum ws_opcode)frame_opcode(reader),
                                  .payload = frame_buffer(reader),
                                  .len = reader->frame_len };

        if (event.opcode == WS_CLOSE) {
                event.close_code = 1005; /* RFC 6455 7.1.5: no code was in it */
                if (event.len >= 2) {
                        event.close_code = (uint16_t)big_endian(event.payload, 2);
                        if (!close_code_is_valid(event.close_code))
                                return broken(reader, CLOSE_PROTOCOL, ret_event);
                        if (!utf8_is_valid(event.payload + 2, event.len - 2))
                                return broken(reader, CLOSE_BAD_DATA, ret_event);
                }
        }
        *ret_event = event;
        return WS_CONTROL;
}

static enum ws_status end_frame(struct ws_reader *reader, struct ws_event *ret_event)
{
        bool final = frame_is_final(reader);

        reader->in_payload = false;
        reader->header_len = 0;
        if (frame_is_control(reader))
                return end_control(reader, ret_event);
        reader->message_len += reader->frame_len;
        if (!final)
                return WS_MORE;
        if (reader->message_opcode == WS_TEXT && reader->utf8_state != UTF8_START)
                return broken(reader, CLOSE_BAD_DATA, ret_event);
        *ret_event = (struct ws_event){ .opcode = (enum ws_opcode)reader->message_opcode,
                                        .payload = reader->buffer,
                                        .len = reader->message_len };
        reader->message_opcode = 0;
        reader->message_len = 0;
        return WS_MESSAGE;
}

enum ws_status ws_read(struct ws_reader *reader, const uint8_t *bytes, size_t len, size_t *ret_used,
                       struct ws_event *ret_event)
{
        enum ws_status status = WS_MORE;
        size_t at = 0;

        if (reader->header_len == WS_HEADER_BROKEN)
                status = broken(reader, (enum close_reason)reader->header[0], ret_event);
        while (status == WS_MORE && at < len) {
                if (!reader->in_payload) {
                        enum close_reason verdict = read_header(reader, bytes[at++]);

                        if (verdict != CLOSE_NORMAL)
                                status = broken(reader, verdict, ret_event);
                } else {
                        size_t n = reader->frame_len - reader->frame_got;

                        if (n > len - at)
                                n = len - at;
                        if (!read_payload(reader, bytes + at, n))
                                status = broken(reader, CLOSE_BAD_DATA, ret_event);
                        at += n;
                }
                if (status == WS_MORE && reader->in_payload &&
                    reader->frame_got == reader->frame_len)
                        status = end_frame(reader, ret_event);
        }
        *ret_used = at;
        return status;
}

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t payload_len)
{
        check(opcode < WS_CLOSE || payload_len <= WS_CONTROL_MAX);
        check(payload_len >> 63 == 0);
        out[0] = (uint8_t)(WS_FIN | opcode);
        if (payload_len < WS_LENGTH_16) {
                out[1] = (uint8_t)payload_len;
                return 2;
        }
        if (payload_len <= UINT16_MAX) {
                out[1] = WS_LENGTH_16;
                out[2] = (uint8_t)(payload_len >> 8);
                out[3] = (uint8_t)payload_len;
                return 4;
        }
        out[1] = WS_LENGTH_64;
        for (int i = 0; i < 8; i++)
                out[2 + i] = (uint8_t)(payload_len >> (56 - 8 * i));
        return 10;
}

size_t ws_client_frame(uint8_t *out, enum ws_opcode opcode, const void *payload, size_t len,
                       const uint8_t mask[4])
{
        size_t at = ws_header(out, opcode, len);

        out[1] |= WS_MASKED;
        memcpy(out + at, mask, 4);
        at += 4;
        if (len > 0)
                mask_copy(out + at, payload, len, mask, 0);
        return at + len;
}

size_t ws_close_frame(uint8_t *out, enum close_reason reason)
{
        const struct close_row *row = &close_table[reason];
        size_t text_len = strlen(row->text), at;

        if (row->code == 0)
                return 0;
        check(text_len <= WS_CONTROL_MAX - 2);
        at = ws_header(out, WS_CLOSE, 2 + text_len);
        out[at++] = (uint8_t)(row->code >> 8);
        out[at++] = (uint8_t)row->code;
        memcpy(out + at, row->text, text_len);
        return at + text_len;
}
