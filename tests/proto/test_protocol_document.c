/* PROTOCOL.md is the normative text, so it is read here as a program would read it: its examples,
 * its tables of fields, words, codes and limits, each held against the code. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/close.h"
#include "proto/head.h"
#include "proto/message.h"
#include "proto/sse.h"
#include "proto/ws.h"

#define LINES_MAX  2000
#define FIELDS_MAX 16

static char *document;
static char *lines[LINES_MAX];
static size_t n_lines;

static void read_document(void)
{
        FILE *file = fopen(KICKOFF_SOURCE_DIR "/proto/PROTOCOL.md", "r");
        long size;

        cr_assert(file != NULL);
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        rewind(file);
        document = calloc(1, (size_t)size + 1);
        cr_assert(eq(sz, fread(document, 1, (size_t)size, file), (size_t)size));
        fclose(file);
        for (char *at = document; at != NULL && *at != '\0';) {
                cr_assert(lt(sz, n_lines, LINES_MAX));
                lines[n_lines++] = at;
                at = strchr(at, '\n');
                if (at != NULL)
                        *at++ = '\0';
        }
}

static void forget_document(void)
{
        free(document);
}

TestSuite(protocol_document, .init = read_document, .fini = forget_document);

/* If `line` opens a block of this kind, the example's name. */
static const char *example_name(const char *line, const char *kind)
{
        char opening[32];

        snprintf(opening, sizeof(opening), "```%s example=", kind);
        return strncmp(line, opening, strlen(opening)) == 0 ? line + strlen(opening) : NULL;
}

/* The bytes of the hex block of that name; there must be exactly one. */
static size_t hex_block(const char *name, uint8_t *bytes, size_t size)
{
        size_t n = 0, found = 0;

        for (size_t i = 0; i < n_lines; i++) {
                const char *here = example_name(lines[i], "hex");

                if (here == NULL || strcmp(here, name) != 0)
                        continue;
                found++;
                for (i++; strcmp(lines[i], "```") != 0; i++) {
                        unsigned byte;
                        int used;

                        for (const char *at = lines[i]; sscanf(at, "%2x%n", &byte, &used) == 1;
                             at += used) {
                                cr_assert(lt(sz, n, size));
                                bytes[n++] = (uint8_t)byte;
                        }
                }
        }
        cr_assert(eq(sz, found, 1), "hex blocks of example %s", name);
        return n;
}

static void assert_same_token(const struct token *a, const struct token *b)
{
        cr_assert(eq(u64, a->epoch, b->epoch));
        cr_assert(eq(u64, a->seq, b->seq));
        cr_assert(eq(u64, a->tag, b->tag));
}

static void assert_same_state(const struct event_state *a, const struct event_state *b)
{
        cr_assert(eq(str, (char *)a->event, (char *)b->event));
        cr_assert(eq(str, (char *)a->stage, (char *)b->stage));
        cr_assert(eq(i64, a->at, b->at));
        cr_assert(eq(i64, a->starts_at, b->starts_at));
        cr_assert(eq(u64, a->version, b->version));
        cr_assert(eq(u64, a->bundle, b->bundle));
}

static void assert_same_hello(const struct hello *a, const struct hello *b)
{
        cr_assert(eq(str, (char *)a->node, (char *)b->node));
        cr_assert(eq(str, (char *)a->session, (char *)b->session));
        assert_same_token(&a->token, &b->token);
        cr_assert(eq(i64, a->now, b->now));
        cr_assert(eq(u32, a->ping_s, b->ping_s));
        cr_assert(eq(u32, a->lifetime_s, b->lifetime_s));
        cr_assert(eq(u32, a->ack_spread_ms, b->ack_spread_ms));
        cr_assert(eq(int, a->recovered, b->recovered));
        cr_assert(eq(int, a->has_reason, b->has_reason));
        cr_assert(eq(int, a->reason, b->reason));
        cr_assert(eq(int, a->has_prefetch_ms, b->has_prefetch_ms));
        cr_assert(eq(u32, a->prefetch_ms, b->prefetch_ms));
}

static void assert_same(const struct message *a, const struct message *b)
{
        cr_assert(eq(int, a->type, b->type));
        switch (a->type) {
        case MESSAGE_HELLO:
                assert_same_hello(&a->hello, &b->hello);
                break;
        case MESSAGE_SIGNAL:
                assert_same_token(&a->signal.token, &b->signal.token);
                cr_assert(eq(int, a->signal.kind, b->signal.kind));
                assert_same_state(&a->signal.state, &b->signal.state);
                cr_assert(eq(i64, a->signal.sent, b->signal.sent));
                cr_assert(eq(i64, a->signal.window_ms, b->signal.window_ms));
                break;
        case MESSAGE_RESET:
                cr_assert(eq(int, a->reset.reason, b->reset.reason));
                assert_same_token(&a->reset.token, &b->reset.token);
                cr_assert(eq(sz, a->reset.n, b->reset.n));
                for (size_t i = 0; i < a->reset.n; i++)
                        assert_same_state(&a->reset.events[i], &b->reset.events[i]);
                break;
        case MESSAGE_GOAWAY:
                cr_assert(eq(int, a->goaway.reason, b->goaway.reason));
                cr_assert(eq(u32, a->goaway.min_ms, b->goaway.min_ms));
                cr_assert(eq(u32, a->goaway.max_ms, b->goaway.max_ms));
                break;
        case MESSAGE_TIME:
                cr_assert(eq(i64, a->time.t0, b->time.t0));
                cr_assert(eq(int, a->time.has_t1, b->time.has_t1));
                cr_assert(eq(i64, a->time.t1, b->time.t1));
                break;
        case MESSAGE_MESSAGE:
                cr_assert(eq(str, (char *)a->message.id, (char *)b->message.id));
                cr_assert(eq(str, (char *)a->message.body, (char *)b->message.body));
                break;
        case MESSAGE_SKIP:
                assert_same_token(&a->skip.token, &b->skip.token);
                break;
        case MESSAGE_ACK:
                cr_assert(eq(u64, a->ack.seq, b->ack.seq));
                cr_assert(eq(int, a->ack.has_activated_at, b->ack.has_activated_at));
                cr_assert(eq(i64, a->ack.activated_at, b->ack.activated_at));
                break;
        case MESSAGE_TYPES:
                cr_fatal("no message");
        }
}

static void assert_encodes_to(const struct message *message, enum encoding encoding,
                              const void *bytes, size_t len, const char *name)
{
        struct buf out = BUF_INIT;

        message_encode(message, encoding, &out);
        cr_assert(eq(sz, out.len, len), "example %s", name);
        cr_assert(eq(int, memcmp(out.data, bytes, len), 0), "example %s is encoded as %s", name,
                  out.data);
        buf_fini(&out);
}

Test(protocol_document, examples_are_the_bytes_that_the_code_reads_and_writes)
{
        bool shown[MESSAGE_TYPES] = { false };
        size_t examples = 0, hex_blocks = 0;

        for (size_t i = 0; i + 1 < n_lines; i++) {
                const char *name = example_name(lines[i], "json"), *text = lines[i + 1];
                struct message json, packed;
                uint8_t bytes[4096];
                size_t len;

                hex_blocks += example_name(lines[i], "hex") != NULL;
                if (name == NULL)
                        continue;
                examples++;
                len = hex_block(name, bytes, sizeof(bytes));
                cr_assert(eq(int, message_decode(text, strlen(text), ENCODING_JSON, &json), OK),
                          "example %s", name);
                cr_assert(eq(int, message_decode(bytes, len, ENCODING_MSGPACK, &packed), OK),
                          "example %s", name);
                assert_same(&json, &packed);
                assert_encodes_to(&json, ENCODING_JSON, text, strlen(text), name);
                assert_encodes_to(&json, ENCODING_MSGPACK, bytes, len, name);
                shown[json.type] = true;
                message_fini(&json);
                message_fini(&packed);
        }
        cr_assert(eq(sz, examples, hex_blocks), "a hex block without its JSON");
        for (size_t type = 0; type < MESSAGE_TYPES; type++)
                cr_assert(shown[type], "%s has no example", message_type_name[type]);
}

/* The text between the backquotes that begin a table's row, or false. */
static bool row_word(const char *line, char word[64])
{
        return sscanf(line, "| `%63[^`]` |", word) == 1;
}

/* One section on a message: the fields of its table, and which of them some example shows. */
struct section {
        char type[64];
        char fields[FIELDS_MAX][64];
        bool shown[FIELDS_MAX];
        size_t n;
};

static void end_section(const struct section *section)
{
        for (size_t i = 0; i < section->n; i++)
                cr_assert(section->shown[i], "no example of %s shows `%s`", section->type,
                          section->fields[i]);
}

/* The example's fields must be among the table's, and in its order. */
static void check_example(struct section *section, const char *text)
{
        json_t *json = json_loads(text, 0, NULL), *value;
        const char *name;
        size_t at = 0;

        cr_assert(eq(str, section->type, (char *)json_string_value(json_object_get(json, "t"))));
        json_object_foreach(json, name, value)
        {
                while (at < section->n && strcmp(section->fields[at], name) != 0)
                        at++;
                cr_assert(lt(sz, at, section->n), "`%s` of %s: not in the table, or out of order",
                          name, section->type);
                section->shown[at] = true;
        }
        json_decref(json);
}

Test(protocol_document, tables_list_the_fields_in_the_order_of_the_wire)
{
        struct section section = { .n = 0 };
        bool in_fields = false, described[MESSAGE_TYPES] = { false };
        char word[64];

        for (size_t i = 0; i < n_lines; i++) {
                if (strncmp(lines[i], "##", 2) == 0) {
                        end_section(&section);
                        section = (struct section){ .n = 0 };
                        sscanf(lines[i], "### `%63[^`]`", section.type);
                }
                if (strncmp(lines[i], "| field |", 9) == 0)
                        in_fields = true;
                else if (lines[i][0] != '|')
                        in_fields = false;
                if (in_fields && row_word(lines[i], word)) {
                        cr_assert(lt(sz, section.n, FIELDS_MAX));
                        memcpy(section.fields[section.n++], word, sizeof(word));
                }
                if (example_name(lines[i], "json") != NULL) {
                        check_example(&section, lines[i + 1]);
                        for (size_t type = 0; type < MESSAGE_TYPES; type++)
                                described[type] |=
                                    strcmp(section.type, message_type_name[type]) == 0;
                }
        }
        end_section(&section);
        for (size_t type = 0; type < MESSAGE_TYPES; type++)
                cr_assert(described[type], "%s has no section", message_type_name[type]);
}

/* The first table after `heading` that begins with `head` must list exactly these words. */
static void check_words(const char *heading, const char *head, const char *const *words, size_t n)
{
        bool here = false, in_table = false, listed[16] = { false };
        char word[64];

        for (size_t i = 0; i < n_lines; i++) {
                if (lines[i][0] == '#')
                        here = strcmp(lines[i], heading) == 0;
                if (here && strncmp(lines[i], head, strlen(head)) == 0)
                        in_table = true;
                else if (lines[i][0] != '|')
                        in_table = false;
                if (in_table && row_word(lines[i], word)) {
                        size_t k = 0;

                        while (k < n && strcmp(words[k], word) != 0)
                                k++;
                        cr_assert(lt(sz, k, n), "%s: the code does not know `%s`", heading, word);
                        listed[k] = true;
                }
        }
        for (size_t k = 0; k < n; k++)
                cr_assert(listed[k], "%s: `%s` is missing", heading, words[k]);
}

Test(protocol_document, lists_every_kind_and_reason_and_no_other)
{
        check_words("### `signal`", "| kind |", signal_kind_name, SIGNAL_KINDS);
        check_words("### `reset`", "| reason |", reset_reason_name, RESET_REASONS);
        check_words("### `goaway`", "| reason |", goaway_reason_name, GOAWAY_REASONS);
        check_words("## 1. Connecting", "| subprotocol |", encoding_subprotocol, ENCODINGS);
}

Test(protocol_document, lists_every_close_code_with_its_reason_and_text)
{
        size_t in_document = 0, in_table = 0;
        unsigned code;

        for (size_t i = 0; i < n_lines; i++)
                in_document += sscanf(lines[i], "| %4u | `", &code) == 1 && code >= 1000;
        for (size_t i = 0; i < CLOSE_KINDS; i++) {
                const struct close_row *row = &close_table[i];
                char expected[256];
                bool found = false;

                if (row->code == 0)
                        continue;
                in_table++;
                snprintf(expected, sizeof(expected), "| %u | `%s` | %s |", row->code, row->name,
                         row->text);
                for (size_t k = 0; k < n_lines; k++)
                        found |= strncmp(lines[k], expected, strlen(expected)) == 0;
                cr_assert(found, "%s", expected);
        }
        cr_assert(eq(sz, in_document, in_table), "a code that the code does not know");
}

Test(protocol_document, names_every_limit)
{
        static const struct {
                const char *row; /* how the table's row begins */
                unsigned long limit;
        } rows[] = {
                { "| message from a device |", MESSAGE_FROM_DEVICE_MAX },
                { "| message from a node |", MESSAGE_FROM_NODE_MAX },
                { "| frames of one message |", WS_FRAGMENTS_MAX },
                { "| control frame |", WS_CONTROL_MAX },
                { "| lists and objects inside each other |", MESSAGE_DEPTH_MAX },
                { "| lists and objects in one message |", MESSAGE_CONTAINERS_MAX },
                { "| event id |", EVENT_ID_MAX },
                { "| stage |", STAGE_MAX },
                { "| node name |", NODE_NAME_MAX },
                { "| `message`.`id` |", sizeof((struct device_message *)0)->id - 1 },
                { "| `message`.`body` |", MESSAGE_BODY_MAX },
                { "| `reset`.`events` |", EVENTS_MAX },
                { "The request head must be HTTP/1.1", HEAD_MAX },
                { "400, and so are more than", HEAD_PARAMS_MAX },
                { "| `device` | yes | this device's id, the same at each connection; 1 to",
                  DEVICE_ID_MAX },
                { "| `cohort` | no | the group whose recommendations it shows; 1 to", COHORT_MAX },
                { "| `platform` | no | what it runs on, such as `tv`; 1 to", ATTRIBUTE_MAX },
                { "| `region` | no | where it is, as coarse as signals are to tell apart; 1 to",
                  ATTRIBUTE_MAX },
                { "| `app` | no | which app or version of it this is; 1 to", ATTRIBUTE_MAX },
        };
        char header_lines[64];
        bool found_lines = false;

        for (size_t k = 0; k < countof(rows); k++) {
                bool found = false;

                for (size_t i = 0; i < n_lines; i++) {
                        const char *at = lines[i] + strlen(rows[k].row);

                        if (strncmp(lines[i], rows[k].row, strlen(rows[k].row)) != 0)
                                continue;
                        for (; *at != '\0' && !found; at++)
                                found = isdigit((unsigned char)*at) &&
                                        !isalnum((unsigned char)at[-1]) &&
                                        strtoul(at, NULL, 10) == rows[k].limit;
                }
                cr_assert(found, "%s %lu", rows[k].row, rows[k].limit);
        }
        snprintf(header_lines, sizeof(header_lines), "%d header lines", HEAD_FIELDS_MAX);
        for (size_t i = 0; i < n_lines; i++)
                found_lines |= strstr(lines[i], header_lines) != NULL;
        cr_assert(found_lines);
}

static const struct token *place_of(const struct message *message)
{
        return message->type == MESSAGE_SIGNAL  ? &message->signal.token
               : message->type == MESSAGE_RESET ? &message->reset.token
               : message->type == MESSAGE_SKIP  ? &message->skip.token
                                                : NULL;
}

/* The line after the opening of the JSON example of that name, or NULL. */
static const char *json_line(const char *name)
{
        for (size_t i = 0; i + 1 < n_lines; i++) {
                const char *here = example_name(lines[i], "json");

                if (here != NULL && strcmp(here, name) == 0)
                        return lines[i + 1];
        }
        return NULL;
}

/* Lines from `i` on up to the end of the block, as they are on the wire. */
static void stream_bytes(size_t i, struct buf *out)
{
        for (; strcmp(lines[i], "```") != 0; i++) {
                buf_str(out, lines[i]);
                buf_char(out, '\n');
        }
}

Test(protocol_document, blocks_of_a_stream_are_the_bytes_that_the_code_writes)
{
        size_t examples = 0;

        for (size_t i = 0; i + 1 < n_lines; i++) {
                const char *name = example_name(lines[i], "sse"), *json, *id;
                struct buf expected = BUF_INIT, shown = BUF_INIT;
                const struct token *place = NULL;
                struct message message;
                struct token token;
                unsigned retry_ms;

                if (name == NULL)
                        continue;
                examples++;
                stream_bytes(i + 1, &shown);
                if (sscanf(shown.data, "retry: %u", &retry_ms) == 1)
                        sse_retry(&expected, retry_ms);
                json = json_line(name);
                id = strstr(shown.data, "id: ");
                if (json != NULL) {
                        cr_assert(eq(
                            int, message_decode(json, strlen(json), ENCODING_JSON, &message), OK));
                        place = place_of(&message);
                } else if (id != NULL) {
                        cr_assert(eq(int, token_parse(id + 4, strcspn(id + 4, "\n"), &token), OK));
                        place = &token;
                }
                sse_block(&expected, place, json, json != NULL ? strlen(json) : 0);
                cr_assert(eq(str, shown.data, expected.data), "example %s", name);
                if (json != NULL)
                        message_fini(&message);
                buf_fini(&expected);
                buf_fini(&shown);
        }
        cr_assert(eq(sz, examples, 4));
}
