/* Messages as bytes: what one encoding alone can get wrong, and the limits that hold before any
 * field is looked at. What both encodings are asked alike is in test_message.c. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "proto/message.h"
#include "tests/proto/decode.h"

/* clang-format off */
#define ACK "\xa1t\xa3" "ack"
#define SEQ "\xa3seq"
#define BYTES(err, bytes) { err, sizeof(bytes) - 1, bytes }
/* clang-format on */

Test(message, refuses_text_that_c_or_utf8_could_not_hold)
{
        const char *bad_json[] = {
                "{\"t\":\"message\",\"id\":\"a\\u0000\",\"body\":\"\"}",
                "{\"t\":\"message\",\"id\":\"\xff\",\"body\":\"\"}",
                "{\"t\":\"message\",\"id\":\"\xc0\x80\",\"body\":\"\"}",
                "{\"t\":\"message\",\"id\":\"\\ud800\",\"body\":\"\"}",
                "{\"t\":\"ack\",\"seq\":1,\"new\":\"\xff\"}",
        };
        static const struct {
                enum err err;
                size_t len;
                const char *bytes;
        } bad_msgpack[] = {
                BYTES(ERR_INVALID, "\x83\xa1t\xa7message\xa2id\xa1\0\xa4"
                                   "body\xa0"),
                BYTES(ERR_INVALID, "\x83\xa1t\xa7message\xa2id\xa1\xff\xa4"
                                   "body\xa0"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x01\xa1n\xa1\xff"),
                BYTES(OK, "\x83\xa1t\xa7message\xa2id\xa1z\xa4"
                          "body\xa0"),
                BYTES(OK, "\x83" ACK SEQ "\x01\xa1n\xa1z"),
        };
        struct message back;

        for (size_t i = 0; i < countof(bad_json); i++)
                cr_assert(eq(int, decode(bad_json[i], strlen(bad_json[i]), ENCODING_JSON, &back),
                             ERR_INVALID),
                          "%s", bad_json[i]);
        for (size_t i = 0; i < countof(bad_msgpack); i++)
                cr_assert(
                    eq(int,
                       decode(bad_msgpack[i].bytes, bad_msgpack[i].len, ENCODING_MSGPACK, &back),
                       bad_msgpack[i].err),
                    "row %zu", i);
}

Test(message, in_msgpack_is_read_by_the_specification)
{
        static const struct {
                enum err err;
                size_t len;
                const char *bytes;
        } rows[] = {
                /* any form of a number or a length, not only the shortest */
                BYTES(OK, "\x82" ACK SEQ "\x05"),
                BYTES(OK, "\x82" SEQ "\x05" ACK),
                BYTES(OK, "\x82" ACK SEQ "\xcc\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xcd\0\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xce\0\0\0\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xcf\0\0\0\0\0\0\0\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xd0\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xd1\0\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xd2\0\0\0\x05"),
                BYTES(OK, "\x82" ACK SEQ "\xd3\0\0\0\0\0\0\0\x05"),
                BYTES(OK, "\xde\0\x02" ACK SEQ "\x05"),
                BYTES(OK, "\xdf\0\0\0\x02" ACK SEQ "\x05"),
                BYTES(OK, "\x82\xd9\x01t\xda\0\x03"
                          "ack\xdb\0\0\0\x03seq\x05"),
                /* values nobody asked for, of every kind */
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xc4\x02\xff\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xc5\0\x01\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xc6\0\0\0\x01\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xc7\x01\x05\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xc8\0\x01\x05\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xc9\0\0\0\x01\x05\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xd4\x05\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xd8\x05"
                          "0123456789abcdef"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xca\0\0\0\0"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xcb\0\0\0\0\0\0\0\0"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\xdc\0\x01\xc0"),
                BYTES(OK, "\x83" ACK SEQ "\x05\xa1n\x81\x01\x02"),
                /* counts and lengths that the bytes do not cover */
                BYTES(ERR_INVALID, "\xdd\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\xdf\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\xdf\x7f\xff\xff\xff" ACK SEQ "\x05"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xdd\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xdb\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xc6\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xc9\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xc7\x01\x05"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xd8\x05"
                                   "0123456789abcde"),
                /* what is no message */
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\xa1n\xc1"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05" SEQ "\x05"),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05" ACK),
                BYTES(ERR_INVALID, "\x83" ACK SEQ "\x05\x01\x02"),
                BYTES(ERR_INVALID, "\x82" ACK SEQ "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
                BYTES(ERR_INVALID, "\x82" ACK SEQ "\xcb\x40\x14\0\0\0\0\0\0"),
                BYTES(ERR_INVALID, "\x82" ACK SEQ "\xc0"),
                BYTES(ERR_INVALID, "\x82\xc4\x01t\xa3"
                                   "ack" SEQ "\x05"),
                BYTES(ERR_INVALID, "\x82" ACK SEQ "\x05\x00"),
                BYTES(ERR_INVALID, "\x05"),
                BYTES(ERR_INVALID, "\xc0"),
        };
        struct message back;

        for (size_t i = 0; i < countof(rows); i++) {
                cr_assert(eq(int, decode(rows[i].bytes, rows[i].len, ENCODING_MSGPACK, &back),
                             rows[i].err),
                          "row %zu", i);
                if (rows[i].err == OK)
                        cr_assert(eq(u64, back.ack.seq, 5), "row %zu", i);
        }
}

Test(message, in_json_refuses_what_two_readers_could_read_differently)
{
        const char *bad[] = {
                "{\"t\":\"ack\",\"seq\":1,\"seq\":2}",
                "{\"t\":\"ack\",\"t\":\"time\",\"seq\":1,\"t0\":1}",
                "{\"t\":\"ack\",\"seq\":1,\"x\":1,\"x\":1}",
                "{\"t\":\"ack\",\"seq\":01}",
                "{\"t\":\"ack\",\"seq\":+1}",
                "{\"t\":\"ack\",\"seq\":1,}",
                "{\"t\":\"ack\",\"seq\":1}{}",
                "{\"t\":\"ack\",\"seq\":1} x",
                "{\"t\":\"ack\",\"seq\":18446744073709551617}",
                "{'t':'ack','seq':1}",
                "\xef\xbb\xbf{\"t\":\"ack\",\"seq\":1}",
                "// \n{\"t\":\"ack\",\"seq\":1}",
                "{\"t\":\"ack\",\"seq\":NaN}",
                "\"ack\"",
                "",
        };
        struct message back;

        for (size_t i = 0; i < countof(bad); i++)
                cr_assert(
                    eq(int, decode(bad[i], strlen(bad[i]), ENCODING_JSON, &back), ERR_INVALID),
                    "%s", bad[i]);
}

/* An ack with an unknown field that nests `depth` lists, so depth + 1 containers inside each other.
 */
static enum err decode_nested(unsigned depth, enum encoding encoding)
{
        struct buf text = BUF_INIT;
        struct message back;
        enum err err;
        const bool json = encoding == ENCODING_JSON;

        buf_str(&text, json ? "{\"t\":\"ack\",\"seq\":1,\"n\":" : "\x83" ACK SEQ "\x01\xa1n");
        for (unsigned i = 0; i < depth; i++)
                buf_str(&text, json ? "[" : "\x91");
        buf_str(&text, json ? "1" : "\x01");
        for (unsigned i = 0; json && i < depth; i++)
                buf_str(&text, "]");
        if (json)
                buf_str(&text, "}");
        err = decode(text.data, text.len, encoding, &back);
        buf_fini(&text);
        return err;
}

Test(message, nests_as_deep_as_the_limit_and_no_deeper)
{
        for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                cr_assert(eq(int, decode_nested(MESSAGE_DEPTH_MAX - 1, encoding), OK));
                cr_assert(eq(int, decode_nested(MESSAGE_DEPTH_MAX, encoding), ERR_INVALID));
                cr_assert(eq(int, decode_nested(100000, encoding), ERR_INVALID));
        }
}

/* An ack with a list of `n` empty lists. */
static enum err decode_wide(size_t n, enum encoding encoding)
{
        struct buf text = BUF_INIT;
        struct message back;
        enum err err;

        if (encoding == ENCODING_JSON) {
                buf_str(&text, "{\"t\":\"ack\",\"seq\":1,\"n\":[[]");
                for (size_t i = 1; i < n; i++)
                        buf_str(&text, ",[]");
                buf_str(&text, "]}");
        } else {
                char count[2] = { (char)(n >> 8), (char)n };

                buf_str(&text, "\x83" ACK SEQ "\x01\xa1n\xdc");
                buf_add(&text, count, 2);
                for (size_t i = 0; i < n; i++)
                        buf_str(&text, "\x90");
        }
        err = decode(text.data, text.len, encoding, &back);
        buf_fini(&text);
        return err;
}

Test(message, holds_as_many_lists_as_the_limit_and_no_more)
{
        for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                cr_assert(eq(int, decode_wide(MESSAGE_CONTAINERS_MAX - 2, encoding), OK));
                cr_assert(eq(int, decode_wide(MESSAGE_CONTAINERS_MAX - 1, encoding), ERR_INVALID));
        }
}
