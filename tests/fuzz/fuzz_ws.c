/* Any bytes as a stream of frames, read whole and in pieces: both readings must tell the same. The
 * first byte of the input picks the role and the limit, the second the size of the pieces. */
#include <stdlib.h>
#include <string.h>

#include "proto/utf8.h"
#include "proto/ws.h"

#define LIMIT_MAX 512u

struct story { /* a hash over all events, and how it ended */
        uint64_t hash;
        bool broken, idle;
};

static void add(struct story *story, const void *bytes, size_t len)
{
        const uint8_t *at = bytes;

        for (size_t i = 0; i < len; i++)
                story->hash = (story->hash ^ at[i]) * 0x100000001b3u; /* FNV-1a */
}

static void add_event(struct story *story, const struct ws_reader *reader, enum ws_status status,
                      const struct ws_event *event)
{
        add(story, &status, sizeof(status));
        if (status == WS_BROKEN) {
                add(story, &event->reason, sizeof(event->reason));
                story->broken = true;
                return;
        }
        add(story, &event->opcode, sizeof(event->opcode));
        add(story, &event->len, sizeof(event->len));
        add(story, event->payload, event->len);
        if (status == WS_MESSAGE) {
                check(event->opcode == WS_TEXT || event->opcode == WS_BINARY);
                check(event->len <= reader->limit);
                check(event->opcode == WS_BINARY || utf8_is_valid(event->payload, event->len));
        } else {
                check(event->opcode >= WS_CLOSE && event->len <= WS_CONTROL_MAX);
                if (event->opcode == WS_CLOSE && event->len >= 2)
                        check(close_code_is_valid(event->close_code));
        }
}

static struct story read_in_pieces(enum ws_role role, uint32_t limit, const uint8_t *bytes,
                                   size_t len, size_t step)
{
        struct story story = { .hash = 0xcbf29ce484222325u };
        uint8_t *buffer = malloc(WS_BUFFER_SIZE(limit));
        struct ws_reader reader;

        ws_reader_init(&reader, role, buffer, limit);
        for (size_t at = 0; at < len && !story.broken;) {
                size_t n = len - at < step ? len - at : step, used = 0;
                struct ws_event event;
                enum ws_status status = ws_read(&reader, bytes + at, n, &used, &event);

                check(used > 0 && used <= n);
                check(status != WS_MORE || used == n);
                if (status != WS_MORE)
                        add_event(&story, &reader, status, &event);
                at += used;
        }
        story.idle = ws_reader_is_idle(&reader);
        free(buffer);
        return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
        struct story whole, pieces;
        enum ws_role role;
        uint32_t limit;

        if (len < 2)
                return 0;
        role = (bytes[0] & 1) != 0 ? WS_CLIENT : WS_SERVER;
        limit = (bytes[0] >> 1) * 4u;
        check(limit <= LIMIT_MAX);
        whole = read_in_pieces(role, limit, bytes + 2, len - 2, len);
        pieces = read_in_pieces(role, limit, bytes + 2, len - 2, 1 + bytes[1] % 16u);
        check(whole.hash == pieces.hash);
        check(whole.broken == pieces.broken && whole.idle == pieces.idle);
        return 0;
}
