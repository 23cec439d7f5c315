/* Entries: the two forms of one signal. */
#include "fanout/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "proto/ws.h"

static struct signal sample(void)
{
        struct signal signal = { .token = { 0x0123456789abcdef, 42, 0xfedcba9876543210 },
                                 .kind = SIGNAL_REFRESH,
                                 .state = { .event = "final",
                                            .stage = "half-time",
                                            .at = 1790000000000,
                                            .starts_at = 1790003600000,
                                            .version = 7,
                                            .bundle = 3 },
                                 .sent = 1790000000123,
                                 .window_ms = 60000 };

        return signal;
}

static char *published(const struct signal *signal, uint64_t prev)
{
        char token[TOKEN_TEXT_MAX + 1], prev_text[17], *body = entry_format_body(signal, NULL),
                                                       *message;

        token_format(&signal->token, token);
        token_hex(prev, prev_text);
        cr_assert(ge(int, asprintf(&message, "%s %s %s", token, prev_text, body), 0));
        free(body);
        return message;
}

/* Not memcmp: between and behind the texts there may be anything. */
static void assert_same(const struct signal *a, const struct signal *b)
{
        char *a_body = entry_format_body(a, NULL), *b_body = entry_format_body(b, NULL);

        cr_assert(token_equal(&a->token, &b->token));
        cr_assert(eq(str, a_body, b_body));
        free(a_body);
        free(b_body);
}

Test(entry, what_is_published_reads_back_as_it_was)
{
        for (int window = 0; window < 2; window++) {
                struct signal signal = sample();
                struct entry *entry;
                char *message;

                signal.window_ms = window ? 60000 : 0;
                message = published(&signal, 99);
                cr_assert(eq(int, entry_parse_message(message, strlen(message), &entry), OK), "%s",
                          message);
                assert_same(&entry->signal, &signal);
                cr_assert(eq(i64, entry->signal.window_ms, signal.window_ms));
                cr_assert(eq(str, entry->signal.state.stage, "half-time"));
                cr_assert(eq(u64, entry->prev_tag, 99));
                entry_unref(entry);
                free(message);
        }
}

Test(entry, the_log_and_the_message_give_the_same_entry)
{
        struct signal signal = sample();
        char tag[17], prev[17], *body = entry_format_body(&signal, NULL);
        struct entry *entry;

        token_hex(signal.token.tag, tag);
        token_hex(99, prev);
        cr_assert(eq(int,
                     entry_parse_fields(signal.token.epoch, signal.token.seq, tag, prev, body,
                                        strlen(body), NULL, &entry),
                     OK));
        assert_same(&entry->signal, &signal);
        entry_unref(entry);
        cr_assert(eq(int, entry_parse_fields(0, 1, tag, prev, body, strlen(body), NULL, &entry),
                     ERR_INVALID));
        cr_assert(eq(int, entry_parse_fields(1, 0, tag, prev, body, strlen(body), NULL, &entry),
                     ERR_INVALID));
        cr_assert(eq(int, entry_parse_fields(1, 1, "xyz", prev, body, strlen(body), NULL, &entry),
                     ERR_INVALID));
        free(body);
}

Test(entry, the_record_comes_along_in_both_forms)
{
        const char record[] = "{\"id\":\"final\"}";
        const struct {
                const char *after_the_body, *record;
        } table[] = {
                { "", NULL }, /* as an older version publishes it */
                { "\n", NULL },
                { "\n{\"id\":\"final\"}", record },
        };
        struct signal signal = sample();
        char tag[17], *body = entry_format_body(&signal, NULL), *plain = published(&signal, 99);
        struct entry *entry;

        for (size_t i = 0; i < countof(table); i++) {
                char *message;

                cr_assert(ge(int, asprintf(&message, "%s%s", plain, table[i].after_the_body), 0));
                cr_assert(eq(int, entry_parse_message(message, strlen(message), &entry), OK),
                          "row %zu", i);
                assert_same(&entry->signal, &signal);
                if (table[i].record == NULL)
                        cr_assert(entry->record == NULL, "row %zu", i);
                else
                        cr_assert(eq(str, entry->record, (char *)table[i].record));
                entry_unref(entry);
                free(message);
        }

        token_hex(signal.token.tag, tag);
        cr_assert(eq(int,
                     entry_parse_fields(signal.token.epoch, signal.token.seq, tag, tag, body,
                                        strlen(body), record, &entry),
                     OK));
        cr_assert(eq(str, entry->record, (char *)record));
        entry_drop_record(entry);
        cr_assert(entry->record == NULL);
        entry_unref(entry);
        free(body);
        free(plain);
}

Test(entry, whom_it_is_for_comes_along_but_not_in_its_frames)
{
        struct signal signal = sample();
        char tag[17], *plain = entry_format_body(&signal, NULL), *body, *again;
        struct entry *entry, *everyone = entry_create(&signal, 99, NULL);

        cr_assert(ge(int,
                     asprintf(&body, "%.*s,\"to\":{\"cohorts\":[\"de\",\"fr\"]}}",
                              (int)strlen(plain) - 1, plain),
                     0));
        token_hex(signal.token.tag, tag);
        cr_assert(eq(int,
                     entry_parse_fields(signal.token.epoch, signal.token.seq, tag, tag, body,
                                        strlen(body), NULL, &entry),
                     OK));
        cr_assert(target_matches(entry->to, (const char *[TRAITS]){ "de" }));
        cr_assert(not(target_matches(entry->to, (const char *[TRAITS]){ "at" })));
        again = entry_format_body(&entry->signal, entry->to);
        cr_assert(eq(str, again, body));
        for (unsigned i = 0; i < ENCODINGS; i++) {
                cr_assert(eq(sz, entry->frames[i]->len, everyone->frames[i]->len));
                cr_assert(eq(int,
                             memcmp(entry->frames[i]->data, everyone->frames[i]->data,
                                    everyone->frames[i]->len),
                             0));
                cr_assert(entry->skips[i] != NULL);
                cr_assert(everyone->skips[i] == NULL, "nobody skips what is for everyone");
        }
        entry_unref(entry);
        entry_unref(everyone);
        free(again);
        free(body);
        free(plain);
}

Test(entry, no_part_of_a_message_passes_for_a_whole_one)
{
        struct signal signal = sample();
        char *message = published(&signal, 99);
        struct entry *entry;

        for (size_t len = 0; len < strlen(message); len++)
                cr_assert(eq(int, entry_parse_message(message, len, &entry), ERR_INVALID), "%zu",
                          len);
        free(message);
}

static const char *const bad_bodies[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"kind\":\"teleport\",\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1}",
        "{\"kind\":\"start\",\"event\":\"a b\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"s\",\"at\":-1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":0,"
        "\"bundle\":0,\"sent\":1}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":\"0\",\"sent\":1}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1,\"window_ms\":true}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1,\"to\":{}}",
        "{\"kind\":\"start\",\"event\":\"e\",\"stage\":\"s\",\"at\":1,\"starts_at\":1,\"version\":1,"
        "\"bundle\":0,\"sent\":1,\"to\":{\"cohorts\":[]}}",
};

Test(entry, a_body_that_is_not_a_signal_is_refused)
{
        for (size_t i = 0; i < countof(bad_bodies); i++) {
                struct entry *entry;

                cr_assert(eq(int,
                             entry_parse_fields(1, 1, "00000000000000aa", "00000000000000bb",
                                                bad_bodies[i], strlen(bad_bodies[i]), NULL, &entry),
                             ERR_INVALID),
                          "row %zu", i);
        }
}

Test(entry, its_frames_are_whole_and_say_the_signal_in_both_encodings)
{
        struct signal signal = sample();
        struct entry *entry = entry_create(&signal, 99, NULL);

        for (unsigned encoding = 0; encoding < ENCODINGS; encoding++) {
                uint8_t buffer[WS_BUFFER_SIZE(4096)];
                struct ws_reader reader;
                struct ws_event event;
                struct message message;
                size_t used;

                ws_reader_init(&reader, WS_CLIENT, buffer, 4096);
                cr_assert(eq(int,
                             ws_read(&reader, entry->frames[encoding]->data,
                                     entry->frames[encoding]->len, &used, &event),
                             WS_MESSAGE));
                cr_assert(eq(sz, used, entry->frames[encoding]->len));
                cr_assert(eq(int, event.opcode, encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY));
                cr_assert(
                    eq(int,
                       message_decode(event.payload, event.len, (enum encoding)encoding, &message),
                       OK));
                cr_assert(eq(int, message.type, MESSAGE_SIGNAL));
                cr_assert(token_equal(&message.signal.token, &signal.token));
                cr_assert(eq(str, message.signal.state.stage, "half-time"));
                message_fini(&message);
        }
        entry_unref(entry_ref(entry));
        entry_unref(entry);
        entry_unref(NULL);
}
