/* The frame reader, driven by a table: each row is a stream of bytes and the story it must tell.
 * Every row is read whole, byte by byte, and cut in two at every position; all readings must tell
 * the same. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/ws.h"

#define LIMIT 300u

/* A story: one word per event, `end` or `open` (something is kept) at the end of the stream. */
struct story {
        char text[4096];
        size_t len;
        unsigned messages, events;
        bool broken, idle;
};

static void tell(struct story *story, const char *what, const struct ws_event *event, size_t skip)
{
        size_t left = sizeof(story->text) - story->len;

        story->events++;
        story->len += (size_t)snprintf(story->text + story->len, left, "%s", what);
        for (size_t i = skip; i < event->len; i++) {
                left = sizeof(story->text) - story->len;
                cr_assert(gt(sz, left, 8));
                if (event->len > 130 && i == 8) {
                        story->len +=
                            (size_t)snprintf(story->text + story->len, left, "..%zu", event->len);
                        break;
                }
                story->text[story->len++] = (char)event->payload[i];
        }
        story->text[story->len++] = ' ';
        story->text[story->len] = '\0';
}

static void tell_event(struct story *story, enum ws_status status, const struct ws_event *event)
{
        char what[64];

        if (status == WS_MESSAGE) {
                story->messages++;
                tell(story, event->opcode == WS_TEXT ? "text:" : "binary:", event, 0);
        } else if (status == WS_BROKEN) {
                story->broken = true;
                snprintf(what, sizeof(what), "broken:%s", close_table[event->reason].name);
                tell(story, what, event, event->len);
        } else if (event->opcode == WS_CLOSE) {
                snprintf(what, sizeof(what), "close:%u:", event->close_code);
                tell(story, what, event, event->len < 2 ? event->len : 2);
        } else {
                tell(story, event->opcode == WS_PING ? "ping:" : "pong:", event, 0);
        }
}

/* Feeds one piece; false once broken. The piece is copied to the heap, so that ASan sees its end.
 */
static bool feed(struct ws_reader *reader, const uint8_t *bytes, size_t len, struct story *story)
{
        uint8_t *piece = malloc(len > 0 ? len : 1);
        size_t at = 0;

        memcpy(piece, bytes, len);
        while (at < len && !story->broken) {
                struct ws_event event;
                size_t used = 0;
                enum ws_status status = ws_read(reader, piece + at, len - at, &used, &event);

                cr_assert(le(sz, used, len - at));
                cr_assert(gt(sz, used, 0), "no progress");
                at += used;
                if (status != WS_MORE)
                        tell_event(story, status, &event);
                else
                        cr_assert(eq(sz, at, len), "WS_MORE with bytes left");
        }
        free(piece);
        return !story->broken;
}

/* Reads `bytes` in pieces of `step`, the first of `first` bytes. */
static struct story read_stream(enum ws_role role, const uint8_t *bytes, size_t len, size_t first,
                                size_t step)
{
        struct story story = { .len = 0 };
        struct ws_reader reader;
        uint8_t *buffer = malloc(WS_BUFFER_SIZE(LIMIT));
        size_t n = first;

        ws_reader_init(&reader, role, buffer, LIMIT);
        cr_assert(ws_reader_is_idle(&reader));
        for (size_t at = 0; at < len; at += n, n = step) {
                if (n > len - at)
                        n = len - at;
                if (!feed(&reader, bytes + at, n, &story))
                        break;
        }
        story.idle = ws_reader_is_idle(&reader);
        if (!story.broken)
                strcat(story.text, story.idle ? "end" : "open");
        free(buffer);
        return story;
}

/* clang-format off */
#define HELLO   "Hello"
#define MASK0   "\0\0\0\0"
#define A16     "aaaaaaaaaaaaaaaa"
#define A125    A16 A16 A16 A16 A16 A16 A16 "aaaaaaaaaaaaa"
#define A126    A125 "a"
#define A299    A125 A125 A16 A16 A16 "a"
#define A300    A299 "a"
#define E       "\x00\x80" MASK0 /* an empty continuation, not final */
#define ROW(role, bytes, story) { role, sizeof(bytes) - 1, (const uint8_t *)(bytes), story }

static const struct row {
        enum ws_role role;
        size_t len;
        const uint8_t *bytes;
        const char *story;
} rows[] = {
        /* RFC 6455 5.7, its own examples */
        ROW(WS_CLIENT, "\x81\x05" HELLO, "text:Hello end"),
        ROW(WS_SERVER, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text:Hello end"),
        ROW(WS_CLIENT, "\x01\x03Hel\x80\x02lo", "text:Hello end"),
        ROW(WS_CLIENT, "\x89\x05" HELLO, "ping:Hello end"),
        ROW(WS_SERVER, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "pong:Hello end"),
        /* sizes */
        ROW(WS_SERVER, "\x81\x80" MASK0, "text: end"),
        ROW(WS_CLIENT, "\x82\x00", "binary: end"),
        ROW(WS_CLIENT, "\x82\x7d" A125, "binary:" A125 " end"),
        ROW(WS_CLIENT, "\x82\x7e\x00\x7e" A126, "binary:" A126 " end"),
        ROW(WS_CLIENT, "\x81\x7e\x01\x2b" A299, "text:aaaaaaaa..299 end"),
        ROW(WS_CLIENT, "\x81\x7e\x01\x2c" A300, "text:aaaaaaaa..300 end"),
        ROW(WS_SERVER, "\x81\xfe\x01\x2c" MASK0 A300, "text:aaaaaaaa..300 end"),
        ROW(WS_CLIENT, "\x81\x7e\x01\x2d", "broken:too-big "),
        ROW(WS_SERVER, "\x81\xfe\x01\x2d", "broken:too-big "),
        ROW(WS_CLIENT, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "broken:too-big "),
        ROW(WS_CLIENT, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "broken:too-big "),
        ROW(WS_CLIENT, "\x01\x7e\x01\x2b" A299 "\x80\x01z", "text:aaaaaaaa..300 end"),
        ROW(WS_CLIENT, "\x01\x7e\x01\x2b" A299 "\x80\x02", "broken:too-big "),
        ROW(WS_CLIENT, "\x01\x7e\x01\x2c" A300 "\x80\x00", "text:aaaaaaaa..300 end"),
        /* several in one stream; control frames between fragments */
        ROW(WS_CLIENT, "\x81\x01" "a" "\x82\x01" "b" "\x89\x00", "text:a binary:b ping: end"),
        ROW(WS_CLIENT, "\x01\x01" "a" "\x89\x01p" "\x00\x01" "b" "\x8a\x01q" "\x80\x01" "c",
            "ping:p pong:q text:abc end"),
        ROW(WS_CLIENT, "\x01\x01" "a" "\x88\x02\x03\xe8", "close:1000: open"),
        ROW(WS_CLIENT, "\x02\x00" "\x00\x00" "\x80\x00", "binary: end"),
        ROW(WS_CLIENT, "\x81\x05Hel", "open"),
        ROW(WS_CLIENT, "\x01\x05" HELLO, "open"),
        /* masking */
        ROW(WS_SERVER, "\x81\x05", "broken:protocol "),
        ROW(WS_CLIENT, "\x81\x85", "broken:protocol "),
        ROW(WS_SERVER, "\x89\x00", "broken:protocol "),
        /* bits and opcodes */
        ROW(WS_CLIENT, "\xc1", "broken:protocol "),
        ROW(WS_CLIENT, "\xa1", "broken:protocol "),
        ROW(WS_CLIENT, "\x91", "broken:protocol "),
        ROW(WS_CLIENT, "\xc9", "broken:protocol "),
        ROW(WS_CLIENT, "\x83", "broken:protocol "),
        ROW(WS_CLIENT, "\x84", "broken:protocol "),
        ROW(WS_CLIENT, "\x87", "broken:protocol "),
        ROW(WS_CLIENT, "\x8b", "broken:protocol "),
        ROW(WS_CLIENT, "\x8f", "broken:protocol "),
        /* lengths */
        ROW(WS_CLIENT, "\x81\x7e\x00\x7d", "broken:protocol "),
        ROW(WS_CLIENT, "\x81\x7e\x00\x00", "broken:protocol "),
        ROW(WS_CLIENT, "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05", "broken:protocol "),
        ROW(WS_CLIENT, "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "broken:protocol "),
        ROW(WS_CLIENT, "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "broken:protocol "),
        ROW(WS_SERVER, "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", "broken:protocol "),
        /* control frames */
        ROW(WS_CLIENT, "\x89\x7d" A125, "ping:" A125 " end"),
        ROW(WS_CLIENT, "\x89\x7e", "broken:protocol "),
        ROW(WS_CLIENT, "\x8a\x7f", "broken:protocol "),
        ROW(WS_CLIENT, "\x09", "broken:protocol "),
        ROW(WS_CLIENT, "\x08", "broken:protocol "),
        /* fragments */
        ROW(WS_CLIENT, "\x80", "broken:protocol "),
        ROW(WS_CLIENT, "\x00", "broken:protocol "),
        ROW(WS_CLIENT, "\x81\x01" "a" "\x80", "text:a broken:protocol "),
        ROW(WS_CLIENT, "\x01\x01" "a" "\x81", "broken:protocol "),
        ROW(WS_CLIENT, "\x01\x01" "a" "\x02", "broken:protocol "),
        ROW(WS_SERVER, "\x01\x80" MASK0 E E E E E E E E E E E E E E "\x80\x80" MASK0, "text: end"),
        ROW(WS_SERVER, "\x01\x80" MASK0 E E E E E E E E E E E E E E E "\x80", "broken:policy "),
        /* UTF-8: judged at the byte, across fragments, and at the end */
        ROW(WS_CLIENT, "\x81\x02\xc3\xbc", "text:\xc3\xbc end"),
        ROW(WS_CLIENT, "\x01\x01\xc3\x80\x01\xbc", "text:\xc3\xbc end"),
        ROW(WS_CLIENT, "\x01\x01\xc3\x89\x01p\x80\x01\xbc", "ping:p text:\xc3\xbc end"),
        ROW(WS_CLIENT, "\x81\x05" "a\xc0", "broken:bad-data "),
        ROW(WS_CLIENT, "\x81\x7e\x01\x2c\xff", "broken:bad-data "),
        ROW(WS_CLIENT, "\x81\x01\xc3", "broken:bad-data "),
        ROW(WS_CLIENT, "\x01\x01\xc3\x80\x00", "broken:bad-data "),
        ROW(WS_CLIENT, "\x81\x03\xed\xa0", "broken:bad-data "),
        ROW(WS_CLIENT, "\x82\x01\xff", "binary:\xff end"),
        ROW(WS_CLIENT, "\x89\x01\xff", "ping:\xff end"),
        /* close */
        ROW(WS_CLIENT, "\x88\x00", "close:1005: end"),
        ROW(WS_CLIENT, "\x88\x02\x03\xe8", "close:1000: end"),
        ROW(WS_CLIENT, "\x88\x06\x0f\xa9" "gone", "close:4009:gone end"),
        ROW(WS_CLIENT, "\x88\x01", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x03\xe7", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x03\xec", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x03\xed", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x03\xee", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x03\xf7", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x00\x00", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x02\x13\x88", "broken:protocol "),
        ROW(WS_CLIENT, "\x88\x03\x03\xe8\xff", "broken:bad-data "),
        ROW(WS_CLIENT, "\x88\x03\x03\xe8\xc3", "broken:bad-data "),
};
/* clang-format on */

Test(ws, tells_the_same_story_however_the_stream_is_cut)
{
        for (size_t i = 0; i < countof(rows); i++) {
                const struct row *row = &rows[i];
                struct story story = read_stream(row->role, row->bytes, row->len, row->len, 1);

                cr_assert(eq(str, story.text, (char *)row->story), "row %zu, whole", i);
                story = read_stream(row->role, row->bytes, row->len, 1, 1);
                cr_assert(eq(str, story.text, (char *)row->story), "row %zu, byte by byte", i);
                for (size_t cut = 1; cut < row->len; cut++) {
                        story = read_stream(row->role, row->bytes, row->len, cut, row->len);
                        cr_assert(eq(str, story.text, (char *)row->story), "row %zu, cut at %zu", i,
                                  cut);
                }
        }
}

Test(ws, refuses_at_the_last_byte_of_each_broken_row_and_no_sooner)
{
        for (size_t i = 0; i < countof(rows); i++) {
                const struct row *row = &rows[i];
                struct story story;

                if (strstr(row->story, "broken") == NULL)
                        continue;
                story = read_stream(row->role, row->bytes, row->len - 1, row->len, 1);
                cr_assert(not(story.broken), "row %zu", i);
        }
}

/* How many bytes of a one-frame row say what the frame is; what follows is mask and payload. */
static size_t judged_bytes(const struct row *row)
{
        unsigned length = row->bytes[1] & 0x7f;

        return length == 126 ? 4 : length == 127 ? 10 : 2;
}

Test(ws, never_gives_another_message_for_a_flipped_bit_of_the_header)
{
        uint8_t bytes[512];

        for (size_t i = 0; i < countof(rows); i++) {
                const struct row *row = &rows[i];
                struct story whole = read_stream(row->role, row->bytes, row->len, row->len, 1);
                bool one_message = whole.messages == 1 && whole.events == 1 && whole.idle &&
                                   (row->bytes[0] & 0x80) != 0;

                for (size_t bit = 0; bit < 8 * row->len; bit++) {
                        struct story story;

                        memcpy(bytes, row->bytes, row->len);
                        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                        story = read_stream(row->role, bytes, row->len, row->len, 1);
                        if (one_message && bit / 8 < judged_bytes(row))
                                cr_assert(
                                    not(story.messages == 1 && story.events == 1 && story.idle),
                                    "row %zu, bit %zu: %s", i, bit, story.text);
                }
        }
}

Test(ws, stays_broken)
{
        uint8_t buffer[WS_BUFFER_SIZE(LIMIT)];
        struct ws_reader reader;
        struct ws_event event;
        size_t used;

        ws_reader_init(&reader, WS_SERVER, buffer, LIMIT);
        ws_read(&reader, (const uint8_t *)"\x81\xfe\xff\xff", 4, &used, &event);
        for (int i = 0; i < 50; i++) { /* with what would have been a good frame */
                const uint8_t *bytes = (const uint8_t *)"\x81\x80" MASK0;

                cr_assert(eq(int, ws_read(&reader, bytes, 6, &used, &event), WS_BROKEN));
                cr_assert(eq(int, event.reason, CLOSE_TOO_BIG));
        }
}

Test(ws, keeps_nothing_between_messages_so_that_the_buffer_can_be_lent)
{
        uint8_t buffer[WS_BUFFER_SIZE(LIMIT)];
        const uint8_t *bytes = (const uint8_t *)"\x01\x01"
                                                "a\x80\x01"
                                                "b";
        struct ws_reader reader;
        struct ws_event event;
        size_t used;

        ws_reader_init(&reader, WS_CLIENT, buffer, LIMIT);
        for (size_t i = 0; i < 6; i++) {
                cr_assert(eq(int, ws_reader_is_idle(&reader), i == 0), "before byte %zu", i);
                ws_read(&reader, bytes + i, 1, &used, &event);
        }
        cr_assert(ws_reader_is_idle(&reader));
}

Test(ws, writes_headers_of_the_shortest_form)
{
        static const struct {
                uint64_t len;
                size_t header;
        } sizes[] = { { 0, 2 },     { 125, 2 },    { 126, 4 },
                      { 65535, 4 }, { 65536, 10 }, { 1ull << 40, 10 } };
        uint8_t out[WS_HEADER_MAX];

        for (size_t i = 0; i < countof(sizes); i++) {
                cr_assert(eq(sz, ws_header(out, WS_BINARY, sizes[i].len), sizes[i].header));
                cr_assert(eq(sz, ws_header_size(out), sizes[i].header));
        }
        ws_header(out, WS_BINARY, 0x0102030405060708u);
        cr_assert(eq(int, memcmp(out, "\x82\x7f\x01\x02\x03\x04\x05\x06\x07\x08", 10), 0));
}

Test(ws, reads_back_every_frame_it_writes)
{
        for (size_t len = 0; len <= LIMIT; len++) {
                uint8_t payload[LIMIT], frame[WS_HEADER_MAX + LIMIT], buffer[WS_BUFFER_SIZE(LIMIT)];
                struct ws_reader reader;
                struct ws_event event;
                size_t used, n;

                for (size_t i = 0; i < len; i++)
                        payload[i] = (uint8_t)(i * 7 + len);
                ws_reader_init(&reader, WS_SERVER, buffer, LIMIT);
                n = ws_client_frame(frame, WS_BINARY, payload, len, (uint8_t[4]){ 1, 2, 4, 255 });
                cr_assert(eq(int, ws_read(&reader, frame, n, &used, &event), WS_MESSAGE));
                cr_assert(eq(sz, used, n));
                cr_assert(eq(sz, event.len, len));
                cr_assert(eq(int, memcmp(event.payload, payload, len), 0));

                ws_reader_init(&reader, WS_CLIENT, buffer, LIMIT);
                n = ws_header(frame, WS_BINARY, len);
                memcpy(frame + n, payload, len);
                cr_assert(eq(int, ws_read(&reader, frame, n + len, &used, &event), WS_MESSAGE));
                cr_assert(eq(sz, event.len, len));
                cr_assert(eq(int, memcmp(event.payload, payload, len), 0));
        }
}

Test(ws, says_each_close_reason_so_that_a_client_can_read_it)
{
        for (unsigned reason = 0; reason < CLOSE_KINDS; reason++) {
                const struct close_row *row = &close_table[reason];
                uint8_t frame[2 + WS_CONTROL_MAX], buffer[WS_BUFFER_SIZE(0)];
                struct ws_reader reader;
                struct ws_event event;
                size_t used, n = ws_close_frame(frame, (enum close_reason)reason);

                if (row->code == 0) {
                        cr_assert(eq(sz, n, 0));
                        continue;
                }
                ws_reader_init(&reader, WS_CLIENT, buffer, 0);
                cr_assert(eq(int, ws_read(&reader, frame, n, &used, &event), WS_CONTROL));
                cr_assert(eq(int, event.opcode, WS_CLOSE));
                cr_assert(eq(int, event.close_code, row->code));
                cr_assert(eq(sz, event.len, 2 + strlen(row->text)));
                cr_assert(eq(int, memcmp(event.payload + 2, row->text, strlen(row->text)), 0));
        }
}
