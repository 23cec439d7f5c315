/* The forms in which a message leaves: the same payload in each. */
#include "fanout/frame.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "fanout/entry.h"
#include "fanout/snapshot.h"

static const struct token token = { .epoch = 0x11, .seq = 7, .tag = 0xab };

/* What a stream must say: the place, and the JSON that the WebSocket's frame holds. */
static void expect_block(const struct blob *block, const struct blob *frame, size_t header)
{
        static char text[4096];
        int len =
            snprintf(text, sizeof(text), "id: 0000000000000011.7.00000000000000ab\ndata: %.*s\n\n",
                     (int)(frame->len - header), (const char *)frame->data + header);

        cr_assert(eq(sz, block->len, (size_t)len));
        cr_assert(zero(int, memcmp(block->data, text, block->len)), "%.*s", (int)block->len,
                  (const char *)block->data);
}

Test(frame, a_signal_on_a_stream_is_its_json_and_its_place_and_is_made_once)
{
        struct signal signal = { .token = token,
                                 .kind = SIGNAL_START,
                                 .state = { .event = "final", .stage = "live", .version = 3 } };
        struct entry *entry = entry_create(&signal, 99, NULL);
        struct blob *block = entry_signal_frame(entry, WIRE_STREAM);

        cr_assert(entry_signal_frame(entry, WIRE_JSON) == entry->frames[ENCODING_JSON]);
        cr_assert(entry_signal_frame(entry, WIRE_MSGPACK) == entry->frames[ENCODING_MSGPACK]);
        cr_assert(block == entry_signal_frame(entry, WIRE_STREAM));
        expect_block(block, entry->frames[ENCODING_JSON], 4); /* 16 bits of length */
        entry_unref(entry);
}

Test(frame, a_reset_on_a_stream_is_its_json_and_its_place)
{
        const struct event_state event = { .event = "final", .stage = "live", .version = 3 };
        struct snapshot *snapshot = snapshot_create(&token, 0, &event, 1);

        expect_block(snapshot_frame(snapshot, RESET_NEW, WIRE_STREAM),
                     snapshot_frame(snapshot, RESET_NEW, WIRE_JSON), 4);
        snapshot_unref(snapshot);
}

Test(frame, what_moves_nobody_has_no_place_on_a_stream)
{
        struct buf payload = BUF_INIT, out = BUF_INIT;

        buf_str(&payload, "{\"t\":\"time\"}");
        frame_add(&out, WIRE_STREAM, &payload, NULL);
        cr_assert(eq(str, out.data, "data: {\"t\":\"time\"}\n\n"));
        buf_fini(&payload);
        buf_fini(&out);
}
