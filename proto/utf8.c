/* proto/utf8.c -- a checker whose whole state is "how many bytes are still to come, and between
 * which bounds must the next one lie". RFC 3629 section 4 needs no more: only the second byte of a
 * character ever has bounds other than 80..BF. */
#include "proto/utf8.h"

#include <string.h>

#define STATE(left, low, high) ((uint32_t)(left) << 16 | (uint32_t)(low) << 8 | (uint32_t)(high))
#define LEFT(state)            ((state) >> 16)
#define LOW(state)             ((state) >> 8 & 0xff)
#define HIGH(state)            ((state)&0xff)

#define HIGH_BITS 0x8080808080808080u /* set in a word if any of its bytes is not ASCII */

/* The state after the first byte of a character; false if none begins so. */
static bool begin(uint8_t byte, uint32_t *state)
{
        if (byte < 0x80)
                *state = UTF8_START;
        else if (byte >= 0xC2 && byte <= 0xDF) /* C0 and C1 could only be overlong */
                *state = STATE(1, 0x80, 0xBF);
        else if (byte == 0xE0)
                *state = STATE(2, 0xA0, 0xBF); /* below: overlong */
        else if (byte == 0xED)
                *state = STATE(2, 0x80, 0x9F); /* above: surrogates D800-DFFF */
        else if (byte >= 0xE1 && byte <= 0xEF)
                *state = STATE(2, 0x80, 0xBF);
        else if (byte == 0xF0)
                *state = STATE(3, 0x90, 0xBF); /* below: overlong */
        else if (byte >= 0xF1 && byte <= 0xF3)
                *state = STATE(3, 0x80, 0xBF);
        else if (byte == 0xF4)
                *state = STATE(3, 0x80, 0x8F); /* above: past U+10FFFF */
        else
                return false;
        return true;
}

bool utf8_feed(uint32_t *state, const void *bytes, size_t len)
{
        const uint8_t *at = bytes, *end;
        uint32_t s = *state;

        if (len == 0)
                return true;
        end = at + len;
        while (at < end) {
                uint64_t word;

                if (s == UTF8_START) {
                        /* Nearly all text here is ASCII: take eight bytes at a time. */
                        if ((size_t)(end - at) >= sizeof(word)) {
                                memcpy(&word, at, sizeof(word));
                                if ((word & HIGH_BITS) == 0) {
                                        at += sizeof(word);
                                        continue;
                                }
                        }
                        if (!begin(*at++, &s))
                                return false;
                } else {
                        if (*at < LOW(s) || *at > HIGH(s))
                                return false;
                        at++;
                        s = LEFT(s) == 1 ? UTF8_START : STATE(LEFT(s) - 1, 0x80, 0xBF);
                }
        }
        *state = s;
        return true;
}

bool utf8_is_valid(const void *bytes, size_t len)
{
        uint32_t state = UTF8_START;

        return utf8_feed(&state, bytes, len) && state == UTF8_START;
}
