#include "loadtest/inbox.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static size_t signal_frame(seqno seq, enum encoding encoding, uint8_t *out)
{
        const struct signal signal = { .token = { .epoch = 1, .seq = seq, .tag = seq },
                                       .kind = SIGNAL_STAGE,
                                       .state = {
                                           .event = "cup", .stage = "live", .version = seq } };
        struct buf payload = BUF_INIT;
        size_t n;

        message_encode_signal(&signal, encoding, &payload);
        n = ws_header(out, encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY, payload.len);
        memcpy(out + n, payload.data, payload.len);
        n += payload.len;
        buf_fini(&payload);
        return n;
}

Test(inbox, decodes_a_frame_once_however_many_devices_get_it)
{
        struct inbox *inbox = inbox_create();
        uint8_t frame[1024];
        struct inbox_event event;

        for (unsigned e = 0; e < ENCODINGS; e++) {
                size_t len = signal_frame(9, (enum encoding)e, frame), used;

                for (unsigned device = 0; device < 1000; device++) {
                        struct inbox_partial *partial = NULL;

                        cr_assert(eq(int,
                                     inbox_read(inbox, &partial, (enum encoding)e, frame, len,
                                                &used, &event),
                                     INBOX_MESSAGE));
                        cr_assert(eq(sz, used, len));
                        cr_assert(eq(u64, event.message->signal.token.seq, 9));
                }
        }
        cr_assert(eq(u64, inbox_decoded(inbox), ENCODINGS));
        inbox_destroy(inbox);
}

Test(inbox, reads_any_cut_of_the_stream_for_interleaved_devices)
{
        struct inbox *inbox = inbox_create();
        uint8_t frame[1024];
        size_t len = signal_frame(9, ENCODING_JSON, frame);

        for (size_t cut = 1; cut < len; cut++) {
                struct inbox_partial *partials[2] = { NULL, NULL };
                struct inbox_event event;
                size_t used;

                for (unsigned d = 0; d < 2; d++)
                        cr_assert(eq(int,
                                     inbox_read(inbox, &partials[d], ENCODING_JSON, frame, cut,
                                                &used, &event),
                                     INBOX_MORE));
                for (unsigned d = 0; d < 2; d++) {
                        cr_assert(eq(int,
                                     inbox_read(inbox, &partials[d], ENCODING_JSON, frame + cut,
                                                len - cut, &used, &event),
                                     INBOX_MESSAGE));
                        cr_assert(eq(u64, event.message->signal.token.seq, 9));
                        cr_assert(eq(ptr, partials[d], NULL), "the reader is given back");
                }
        }
        inbox_destroy(inbox);
}

Test(inbox, refuses_what_a_node_may_not_send)
{
        static const struct {
                const char *bytes;
                size_t len;
        } broken[] = {
                { "\x81\x81xxxxx", 7 },               /* masked */
                { "\x82\x02{}", 4 },                  /* binary to a device that speaks JSON */
                { "\x81\x02{}", 4 },                  /* no t */
                { "\x81\x0e{\"t\":\"signal\"}", 16 }, /* fields missing */
        };

        for (size_t i = 0; i < countof(broken); i++) {
                struct inbox *inbox = inbox_create();
                struct inbox_partial *partial = NULL;
                struct inbox_event event;
                size_t used;

                cr_expect(
                    eq(int,
                       inbox_read(inbox, &partial, ENCODING_JSON, (const uint8_t *)broken[i].bytes,
                                  broken[i].len, &used, &event),
                       INBOX_BROKEN),
                    "case %zu", i);
                inbox_drop(inbox, partial);
                inbox_destroy(inbox);
        }
}

Test(inbox, tells_ping_and_close_and_skips_the_unknown)
{
        static const uint8_t bytes[] = "\x89\x02hi\x81\x0e{\"t\":\"future\"}\x88\x02\x03\xf4";
        struct inbox *inbox = inbox_create();
        struct inbox_partial *partial = NULL;
        struct inbox_event event;
        size_t used, at = 0;

        cr_assert(
            eq(int,
               inbox_read(inbox, &partial, ENCODING_JSON, bytes, sizeof(bytes) - 1, &used, &event),
               INBOX_PING));
        cr_assert(eq(sz, event.len, 2));
        at += used;
        cr_assert(eq(int,
                     inbox_read(inbox, &partial, ENCODING_JSON, bytes + at, sizeof(bytes) - 1 - at,
                                &used, &event),
                     INBOX_SKIPPED));
        at += used;
        cr_assert(eq(int,
                     inbox_read(inbox, &partial, ENCODING_JSON, bytes + at, sizeof(bytes) - 1 - at,
                                &used, &event),
                     INBOX_CLOSE));
        cr_assert(eq(u16, event.close_code, 1012));
        inbox_destroy(inbox);
}
