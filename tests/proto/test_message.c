/* Messages in both encodings. The malformed ones are built from JSON texts, and turned into
 * MessagePack by a plain converter of the test's own, so that both decoders are asked the same
 * questions. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/proto/decode.h"

#define TOKEN                                                     \
        {                                                         \
                .epoch = 0xfedcba9876543210u, .seq = 41, .tag = 7 \
        }
#define TOKENS "\"fedcba9876543210.41.0000000000000007\""

static struct event_state events[] = {
        { "cup-final", "live", 1790000002000, 1790000000000, 3, 2 },
        { "a:b~c", "half.time", -1, 0, 1, 0 },
};

static const struct message samples[] = {
        { MESSAGE_HELLO, .hello = { .node = "node-a",
                                    .session = "0123456789abcdef",
                                    .token = TOKEN,
                                    .now = 1790000000123,
                                    .ping_s = 50,
                                    .lifetime_s = 1800,
                                    .ack_spread_ms = 5000,
                                    .recovered = true } },
        { MESSAGE_HELLO, .hello = { .node = "b",
                                    .session = "x",
                                    .token = TOKEN,
                                    .now = 1,
                                    .lifetime_s = UINT32_MAX,
                                    .has_reason = true,
                                    .reason = RESET_TRIMMED } },
        { MESSAGE_HELLO, .hello = { .node = "c",
                                    .session = "y",
                                    .token = TOKEN,
                                    .now = 1,
                                    .recovered = true,
                                    .has_prefetch_ms = true,
                                    .prefetch_ms = 0 } },
        { MESSAGE_SIGNAL, .signal = { TOKEN, SIGNAL_START, { "cup", "live", 5, 4, 3, 2 }, 1, 0 } },
        { MESSAGE_SIGNAL,
          .signal = { TOKEN, SIGNAL_REFRESH, { "cup", "live", 5, 4, 3, 2 }, 1, 60000 } },
        { MESSAGE_RESET, .reset = { RESET_NEW, TOKEN, NULL, 0 } },
        { MESSAGE_RESET, .reset = { RESET_FORKED, TOKEN, events, 2 } },
        { MESSAGE_GOAWAY, .goaway = { GOAWAY_DRAIN, 0, 30000 } },
        { MESSAGE_TIME, .time = { .t0 = -9007199254740991 } },
        { MESSAGE_TIME, .time = { .t0 = 1, .has_t1 = true, .t1 = 9007199254740991 } },
        { MESSAGE_MESSAGE, .message = { "id-1", "quote \" backslash \\ line\n tab\t \x01 Grüße" } },
        { MESSAGE_MESSAGE, .message = { "", "" } },
        { MESSAGE_SKIP, .skip = { TOKEN } },
        { MESSAGE_ACK, .ack = { .seq = 0 } },
        { MESSAGE_ACK, .ack = { .seq = SEQNO_MAX, .has_activated_at = true, .activated_at = 9 } },
};

static void assert_same(const struct message *a, const struct message *b, const char *what)
{
        if (a->type == MESSAGE_RESET && b->type == MESSAGE_RESET) {
                cr_assert(eq(int, a->reset.reason, b->reset.reason), "%s", what);
                cr_assert(token_equal(&a->reset.token, &b->reset.token), "%s", what);
                cr_assert(eq(sz, a->reset.n, b->reset.n), "%s", what);
                for (size_t i = 0; i < a->reset.n; i++)
                        cr_assert(
                            eq(int,
                               memcmp(&a->reset.events[i], &b->reset.events[i], sizeof(*events)),
                               0),
                            "%s, event %zu", what, i);
                return;
        }
        cr_assert(eq(int, memcmp(a, b, sizeof(*a)), 0), "%s", what);
}

static void pack(msgpack_packer *packer, const json_t *json)
{
        const char *key;
        const json_t *item;
        size_t i;

        switch (json_typeof(json)) {
        case JSON_OBJECT:
                msgpack_pack_map(packer, json_object_size(json));
                json_object_foreach((json_t *)json, key, item)
                {
                        msgpack_pack_str(packer, strlen(key));
                        msgpack_pack_str_body(packer, key, strlen(key));
                        pack(packer, item);
                }
                break;
        case JSON_ARRAY:
                msgpack_pack_array(packer, json_array_size(json));
                json_array_foreach(json, i, item) pack(packer, item);
                break;
        case JSON_STRING:
                msgpack_pack_str(packer, json_string_length(json));
                msgpack_pack_str_body(packer, json_string_value(json), json_string_length(json));
                break;
        case JSON_INTEGER:
                msgpack_pack_int64(packer, json_integer_value(json));
                break;
        case JSON_REAL:
                msgpack_pack_double(packer, json_real_value(json));
                break;
        case JSON_TRUE:
                msgpack_pack_true(packer);
                break;
        case JSON_FALSE:
                msgpack_pack_false(packer);
                break;
        case JSON_NULL:
                msgpack_pack_nil(packer);
                break;
        }
}

/* Decodes the same message in both encodings; both must say the same. */
static enum err decode_both(const json_t *json, struct message *ret_message)
{
        char *text = json_dumps(json, JSON_COMPACT);
        struct message packed;
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        enum err err;

        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        pack(&packer, json);
        err = decode(text, strlen(text), ENCODING_JSON, ret_message);
        cr_assert(eq(int, decode(bytes.data, bytes.size, ENCODING_MSGPACK, &packed), err), "%s",
                  text);
        if (err == OK) {
                assert_same(ret_message, &packed, text);
                message_fini(&packed);
        }
        msgpack_sbuffer_destroy(&bytes);
        free(text);
        return err;
}

static enum err decode_both_text(const char *text, struct message *ret_message)
{
        json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
        enum err err;

        cr_assert(json != NULL, "the test's own text is broken: %s", text);
        err = decode_both(json, ret_message);
        json_decref(json);
        return err;
}

Test(message, comes_back_from_both_encodings)
{
        for (size_t i = 0; i < countof(samples); i++) {
                for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                        struct buf out = BUF_INIT;
                        struct message back;

                        message_encode(&samples[i], encoding, &out);
                        cr_assert(not(out.failed));
                        cr_assert(eq(int, decode(out.data, out.len, encoding, &back), OK),
                                  "sample %zu", i);
                        assert_same(&samples[i], &back, message_type_name[samples[i].type]);
                        message_fini(&back);
                        buf_fini(&out);
                }
        }
}

Test(message, is_what_independent_readers_take_it_for)
{
        for (size_t i = 0; i < countof(samples); i++) {
                struct buf text = BUF_INIT, packed = BUF_INIT;
                msgpack_unpacked result;
                msgpack_sbuffer bytes;
                msgpack_packer packer;
                size_t at = 0;
                json_t *json;

                message_encode(&samples[i], ENCODING_JSON, &text);
                message_encode(&samples[i], ENCODING_MSGPACK, &packed);
                json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
                cr_assert(json != NULL);

                /* jansson keeps the order, so its reading, packed again, must be our msgpack. */
                msgpack_sbuffer_init(&bytes);
                msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
                pack(&packer, json);
                cr_assert(eq(sz, bytes.size, packed.len), "sample %zu", i);
                cr_assert(eq(int, memcmp(bytes.data, packed.data, packed.len), 0));

                msgpack_unpacked_init(&result);
                cr_assert(eq(int, msgpack_unpack_next(&result, packed.data, packed.len, &at),
                             MSGPACK_UNPACK_SUCCESS));
                cr_assert(eq(sz, at, packed.len));
                msgpack_unpacked_destroy(&result);
                msgpack_sbuffer_destroy(&bytes);
                json_decref(json);
                buf_fini(&text);
                buf_fini(&packed);
        }
}

Test(message, is_refused_when_cut_anywhere)
{
        for (size_t i = 0; i < countof(samples); i++) {
                for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                        struct buf out = BUF_INIT;
                        struct message back = { .type = MESSAGE_TYPES };

                        message_encode(&samples[i], encoding, &out);
                        for (size_t len = 0; len < out.len; len++)
                                cr_assert(
                                    eq(int, decode(out.data, len, encoding, &back), ERR_INVALID),
                                    "sample %zu, %zu bytes", i, len);
                        buf_char(&out, encoding == ENCODING_JSON ? 'x' : 0);
                        cr_assert(eq(int, decode(out.data, out.len, encoding, &back), ERR_INVALID),
                                  "something after the end");
                        cr_assert(eq(int, back.type, MESSAGE_TYPES), "the output was touched");
                        buf_fini(&out);
                }
        }
}

Test(message, with_a_flipped_bit_is_refused_or_is_a_whole_other_message)
{
        for (size_t i = 0; i < countof(samples); i++) {
                for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                        struct buf out = BUF_INIT;

                        message_encode(&samples[i], encoding, &out);
                        for (size_t bit = 0; bit < 8 * out.len; bit++) {
                                struct buf again = BUF_INIT;
                                struct message back, twice;

                                out.data[bit / 8] ^= (char)(1 << bit % 8);
                                if (decode(out.data, out.len, encoding, &back) == OK) {
                                        message_encode(&back, encoding, &again);
                                        cr_assert(
                                            eq(int, decode(again.data, again.len, encoding, &twice),
                                               OK));
                                        assert_same(&back, &twice, "flipped");
                                        message_fini(&back);
                                        message_fini(&twice);
                                }
                                out.data[bit / 8] ^= (char)(1 << bit % 8);
                                buf_fini(&again);
                        }
                        buf_fini(&out);
                }
        }
}

/* Is this field one that may be absent? */
static bool is_optional(const char *name)
{
        return strcmp(name, "t1") == 0 || strcmp(name, "activated_at") == 0 ||
               strcmp(name, "window_ms") == 0 || strcmp(name, "prefetch_ms") == 0;
}

Test(message, needs_every_required_field_and_every_field_of_its_type)
{
        const char *wrong[] = { "null", "[]", "{}", "1.5", "\"x\"", "true", "-1", "[1]" };

        for (size_t i = 0; i < countof(samples); i++) {
                struct buf text = BUF_INIT;
                struct message back;
                json_t *json, *value, *without, *bad;
                const char *name;

                message_encode(&samples[i], ENCODING_JSON, &text);
                json = json_loadb(text.data, text.len, 0, NULL);
                json_object_foreach(json, name, value)
                {
                        bool optional = is_optional(name) || (samples[i].type == MESSAGE_HELLO &&
                                                              strcmp(name, "reason") == 0);

                        without = json_copy(json);
                        json_object_del(without, name);
                        cr_assert(eq(int, decode_both(without, &back), optional ? OK : ERR_INVALID),
                                  "%s without %s", text.data, name);
                        json_decref(without);
                        for (size_t k = 0; k < 5; k++) {
                                bad = json_loads(wrong[k], JSON_DECODE_ANY, NULL);
                                if (json_typeof(bad) != json_typeof(value)) {
                                        without = json_copy(json);
                                        json_object_set(without, name, bad);
                                        cr_assert(eq(int, decode_both(without, &back),
                                                     strcmp(name, "t") == 0 && k == 4
                                                         ? ERR_NOT_FOUND
                                                         : ERR_INVALID),
                                                  "%s of %s is %s", name, text.data, wrong[k]);
                                        json_decref(without);
                                }
                                json_decref(bad);
                        }
                }
                json_decref(json);
                buf_fini(&text);
        }
}

Test(message, skips_fields_it_does_not_know)
{
        const char *unknown[] = {
                "null",
                "true",
                "-3",
                "1e300",
                "\"x\"",
                "[1,[2,[3,{\"t\":\"x\"}]]]",
                "{\"seq\":\"x\",\"a\":{\"b\":[{}]}}",
                "18446744073709551615.0",
        };
        struct message back;

        for (size_t i = 0; i < countof(unknown); i++) {
                char text[256];

                snprintf(text, sizeof(text), "{\"new\":%s,\"seq\":7,\"t\":\"ack\",\"\":1}",
                         unknown[i]);
                cr_assert(eq(int, decode_both_text(text, &back), OK), "%s", text);
                cr_assert(eq(u64, back.ack.seq, 7));
                snprintf(text, sizeof(text),
                         "{\"t\":\"reset\",\"reason\":\"new\",\"token\":" TOKENS
                         ",\"events\":[{\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":2,"
                         "\"version\":3,\"bundle\":4,\"new\":%s}]}",
                         unknown[i]);
                cr_assert(eq(int, decode_both_text(text, &back), OK), "%s", text);
                cr_assert(eq(sz, back.reset.n, 1));
                message_fini(&back);
        }
}

Test(message, of_an_unknown_type_is_not_found_and_of_none_is_invalid)
{
        struct message back;

        cr_assert(eq(int, decode_both_text("{\"t\":\"later\",\"x\":1}", &back), ERR_NOT_FOUND));
        cr_assert(eq(int, decode_both_text("{\"t\":\"Ack\",\"seq\":1}", &back), ERR_NOT_FOUND));
        cr_assert(eq(int, decode_both_text("{\"t\":\"\"}", &back), ERR_NOT_FOUND));
        cr_assert(eq(int, decode_both_text("{}", &back), ERR_INVALID));
        cr_assert(eq(int, decode_both_text("{\"seq\":1}", &back), ERR_INVALID));
        cr_assert(eq(int, decode_both_text("{\"t\":1,\"seq\":1}", &back), ERR_INVALID));
        cr_assert(eq(int, decode_both_text("[]", &back), ERR_INVALID));
        cr_assert(eq(int, decode_both_text("[\"t\",\"ack\"]", &back), ERR_INVALID));
}

Test(message, takes_only_whole_numbers_below_two_to_the_53)
{
        static const struct {
                const char *number;
                enum err seq, time, u32; /* ack.seq, time.t0, goaway.max_ms */
        } rows[] = {
                { "0", OK, OK, OK },
                { "-0", OK, OK, OK },
                { "-1", ERR_INVALID, OK, ERR_INVALID },
                { "127", OK, OK, OK },
                { "128", OK, OK, OK },
                { "-32", ERR_INVALID, OK, ERR_INVALID },
                { "-33", ERR_INVALID, OK, ERR_INVALID },
                { "-128", ERR_INVALID, OK, ERR_INVALID },
                { "-129", ERR_INVALID, OK, ERR_INVALID },
                { "-32769", ERR_INVALID, OK, ERR_INVALID },
                { "-2147483649", ERR_INVALID, OK, ERR_INVALID },
                { "4294967295", OK, OK, OK },
                { "4294967296", OK, OK, ERR_INVALID },
                { "9007199254740991", OK, OK, ERR_INVALID },
                { "9007199254740992", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "-9007199254740991", ERR_INVALID, OK, ERR_INVALID },
                { "-9007199254740992", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "9223372036854775807", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "-9223372036854775808", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "1.0", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "1e3", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "true", ERR_INVALID, ERR_INVALID, ERR_INVALID },
                { "\"1\"", ERR_INVALID, ERR_INVALID, ERR_INVALID },
        };
        struct message back;
        char text[128];

        for (size_t i = 0; i < countof(rows); i++) {
                snprintf(text, sizeof(text), "{\"t\":\"ack\",\"seq\":%s}", rows[i].number);
                cr_assert(eq(int, decode_both_text(text, &back), rows[i].seq), "%s", text);
                snprintf(text, sizeof(text), "{\"t\":\"time\",\"t0\":%s}", rows[i].number);
                cr_assert(eq(int, decode_both_text(text, &back), rows[i].time), "%s", text);
                if (rows[i].time == OK)
                        cr_assert(eq(i64, back.time.t0, strtoll(rows[i].number, NULL, 10)));
                snprintf(text, sizeof(text),
                         "{\"t\":\"goaway\",\"reason\":\"drain\",\"min_ms\":0,\"max_ms\":%s}",
                         rows[i].number);
                cr_assert(eq(int, decode_both_text(text, &back), rows[i].u32), "%s", text);
        }
}

Test(message, refuses_a_seq_that_is_not_its_tokens)
{
        const char *fmt = "{\"t\":\"signal\",\"seq\":%d,\"token\":" TOKENS
                          ",\"event\":\"e\",\"kind\":\"start\",\"stage\":\"live\",\"at\":1,"
                          "\"starts_at\":1,\"version\":1,\"bundle\":1,\"sent\":1,\"window_ms\":%d}";
        struct message back;
        char text[512];

        snprintf(text, sizeof(text), fmt, 41, 0);
        cr_assert(eq(int, decode_both_text(text, &back), OK));
        cr_assert(eq(i64, back.signal.window_ms, 0));
        snprintf(text, sizeof(text), fmt, 42, 5);
        cr_assert(eq(int, decode_both_text(text, &back), ERR_INVALID));
        snprintf(text, sizeof(text), fmt, 41, -1);
        cr_assert(eq(int, decode_both_text(text, &back), ERR_INVALID));
}

/* `{"t":"message","id":ID,"body":BODY}` with bodies of any length. */
static enum err decode_device_message(const char *id, size_t body_len, struct message *ret)
{
        json_t *json;
        char *body = malloc(body_len + 1);
        enum err err;

        memset(body, 'b', body_len);
        body[body_len] = '\0';
        json = json_pack("{s:s, s:s, s:s}", "t", "message", "id", id, "body", body);
        err = decode_both(json, ret);
        json_decref(json);
        free(body);
        return err;
}

Test(message, has_texts_of_at_most_their_size)
{
        char id[67];
        struct message back;

        memset(id, 'i', sizeof(id));
        id[64] = '\0';
        cr_assert(eq(int, decode_device_message(id, MESSAGE_BODY_MAX, &back), OK));
        cr_assert(eq(sz, strlen(back.message.body), MESSAGE_BODY_MAX));
        cr_assert(eq(int, decode_device_message(id, MESSAGE_BODY_MAX + 1, &back), ERR_INVALID));
        id[64] = 'i';
        id[65] = '\0';
        cr_assert(eq(int, decode_device_message(id, 1, &back), ERR_INVALID));
}

Test(message, brackets_inside_texts_do_not_count)
{
        const char *text = "{\"t\":\"ack\",\"seq\":1,\"n\":\"[[[[[[[[[[[[\\\"{{{{{{{{{{\\\\\"}";
        struct message back;

        cr_assert(eq(int, decode_both_text(text, &back), OK));
}

static struct event_state *many_events(size_t n)
{
        struct event_state *many = calloc(n, sizeof(*many));

        for (size_t i = 0; i < n; i++) {
                memset(many[i].event, 'e', EVENT_ID_MAX);
                memset(many[i].stage, 's', STAGE_MAX);
                many[i].at = many[i].starts_at = -9007199254740991;
                many[i].version = many[i].bundle = 9007199254740991;
        }
        return many;
}

Test(reset, holds_as_many_events_as_there_may_be_within_the_size_a_device_takes)
{
        struct event_state *many = many_events(EVENTS_MAX + 1);
        const struct token token = TOKEN;

        for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                struct message back, expected = { MESSAGE_RESET, .reset = { RESET_UNKNOWN, TOKEN,
                                                                            many, EVENTS_MAX } };
                struct buf out = BUF_INIT;

                message_encode_reset(RESET_UNKNOWN, &token, many, EVENTS_MAX, encoding, &out);
                cr_assert(le(sz, out.len, MESSAGE_FROM_NODE_MAX));
                cr_assert(eq(int, decode(out.data, out.len, encoding, &back), OK));
                assert_same(&expected, &back, "many");
                message_fini(&back);

                buf_clear(&out);
                message_encode_reset(RESET_UNKNOWN, &token, many, EVENTS_MAX + 1, encoding, &out);
                cr_assert(eq(int, decode(out.data, out.len, encoding, &back), ERR_INVALID));
                buf_fini(&out);
        }
        free(many);
}

Test(reset, frees_what_it_read_when_a_later_event_is_broken)
{
        struct message back;

        cr_assert(eq(int,
                     decode_both_text("{\"t\":\"reset\",\"events\":[{\"event\":\"e\",\"stage\":"
                                      "\"s\",\"at\":1,\"starts_at\":2,\"version\":3,"
                                      "\"bundle\":4},{\"event\":\"e\",\"stage\":\"s\",\"at\":1,"
                                      "\"starts_at\":2,\"version\":3}]}",
                                      &back),
                     ERR_INVALID));
}

Test(message, is_written_the_same_without_the_struct)
{
        for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                struct buf whole = BUF_INIT, direct = BUF_INIT;
                const struct token token = TOKEN;

                message_encode(&samples[4], encoding, &whole);
                message_encode_signal(&samples[4].signal, encoding, &direct);
                message_encode(&samples[6], encoding, &whole);
                message_encode_reset(RESET_FORKED, &token, events, 2, encoding, &direct);
                message_encode(&samples[12], encoding, &whole);
                message_encode_skip(&samples[12].skip.token, encoding, &direct);
                cr_assert(eq(sz, whole.len, direct.len));
                cr_assert(eq(int, memcmp(whole.data, direct.data, whole.len), 0));
                buf_fini(&whole);
                buf_fini(&direct);
        }
}

Test(message, longer_than_a_device_takes_is_refused)
{
        size_t len = MESSAGE_FROM_NODE_MAX + 1;
        char *text = malloc(len);
        struct message back;

        memset(text, ' ', len);
        memcpy(text, "{\"t\":\"ack\",\"seq\":1}", 19);
        cr_assert(eq(int, message_decode(text, len, ENCODING_JSON, &back), ERR_INVALID));
        cr_assert(eq(int, message_decode(text, len - 1, ENCODING_JSON, &back), OK));
        free(text);
}

Test(message, that_does_not_fit_a_fixed_buffer_says_so)
{
        for (enum encoding encoding = 0; encoding < ENCODINGS; encoding++) {
                char array[64];
                struct buf out;

                buf_init_fixed(&out, array, sizeof(array));
                message_encode(&samples[0], encoding, &out);
                cr_assert(out.failed);
        }
}
