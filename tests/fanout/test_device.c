/* tests/fanout/test_device.c -- what nodes write to each other about one device comes back as it
 * was, and nothing else is taken for it. */
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "fanout/device.h"

static const struct device_query message = { .what = DEVICE_MESSAGE,
                                             .device = "tv-1",
                                             .session = 0xab,
                                             .message = { "m-7", "Kick-off für \"alle\"\n" } };

Test(device, a_question_comes_back_as_it_was)
{
        struct buf text = BUF_INIT;
        struct device_heard heard;

        device_query_format(&message, 0x1234567890abcdefULL, "a1", &text);
        cr_assert(eq(int, device_heard_parse(text.data, text.len, &heard), DEVICE_LETTER_QUERY));
        cr_assert(eq(u64, heard.errand, 0x1234567890abcdefULL));
        cr_assert(eq(str, heard.from, "a1"));
        cr_assert(eq(int, heard.query.what, DEVICE_MESSAGE));
        cr_assert(eq(str, heard.query.device, "tv-1"));
        cr_assert(eq(u64, heard.query.session, 0xab));
        cr_assert(eq(str, heard.query.message.id, "m-7"));
        cr_assert(eq(str, heard.query.message.body, (char *)message.message.body));
        buf_fini(&text);
}

Test(device, the_longest_message_comes_back_as_it_was)
{
        struct device_query query = message;
        struct buf text = BUF_INIT;
        struct device_heard heard;

        memset(query.message.body, 1, MESSAGE_BODY_MAX); /* written as six bytes each */
        query.message.body[MESSAGE_BODY_MAX] = '\0';
        device_query_format(&query, 1, "a1", &text);
        cr_assert(eq(int, device_heard_parse(text.data, text.len, &heard), DEVICE_LETTER_QUERY));
        cr_assert(eq(str, heard.query.message.body, query.message.body));
        buf_fini(&text);
}

Test(device, an_answer_comes_back_as_it_was)
{
        for (enum device_outcome outcome = 0; outcome < DEVICE_OUTCOMES; outcome++) {
                struct device_answer answer = { .outcome = outcome,
                                                .node = "b2",
                                                .session = 7,
                                                .connected_since = 1790000000123,
                                                .age_ms = 4000000000,
                                                .cohort = "de",
                                                .transport = "sse",
                                                .retry_after_ms = 667 };
                struct buf text = BUF_INIT;
                struct device_heard heard;

                device_answer_format(&answer, 5, &text);
                cr_assert(
                    eq(int, device_heard_parse(text.data, text.len, &heard), DEVICE_LETTER_ANSWER));
                cr_assert(eq(u64, heard.errand, 5));
                cr_assert(eq(int, heard.answer.outcome, outcome));
                cr_assert(eq(str, heard.answer.node, "b2"));
                cr_assert(eq(u64, heard.answer.session, 7));
                cr_assert(eq(i64, heard.answer.connected_since, 1790000000123));
                cr_assert(eq(u64, heard.answer.age_ms, 4000000000));
                cr_assert(eq(str, heard.answer.cohort, "de"));
                cr_assert(eq(str, heard.answer.transport, "sse"));
                cr_assert(eq(u32, heard.answer.retry_after_ms, 667));
                buf_fini(&text);
        }
}

Test(device, hears_who_has_been_replaced)
{
        const char text[] =
            "{\"k\":\"replaced\",\"device\":\"tv-1\",\"session\":\"00000000000000ff\"}";
        struct device_heard heard;

        cr_assert(eq(int, device_heard_parse(text, strlen(text), &heard), DEVICE_LETTER_QUERY));
        cr_assert(eq(int, heard.query.what, DEVICE_REPLACED));
        cr_assert(eq(u64, heard.query.session, 255));
}

Test(device, hears_whose_record_is_claimed_as_the_function_writes_it)
{
        const char text[] = "{\"k\":\"claimed\",\"device\":\"tv-1\",\"session\":\"00000000000000ff\","
                            "\"rival\":\"000000000000000a\"}";
        struct device_heard heard;

        cr_assert(eq(int, device_heard_parse(text, strlen(text), &heard), DEVICE_LETTER_QUERY));
        cr_assert(eq(int, heard.query.what, DEVICE_CLAIMED));
        cr_assert(eq(u64, heard.query.session, 255));
        cr_assert(eq(u64, heard.query.rival, 10));
}

Test(device, nothing_else_is_taken_for_a_letter)
{
        static const char *const texts[] = {
                "",
                "{",
                "[]",
                "7",
                "{}",
                "{\"k\":1}",
                "{\"k\":\"later\",\"errand\":\"1\"}",
                "{\"k\":\"look\",\"errand\":\"1\",\"from\":\"a\"}",
                "{\"k\":\"look\",\"device\":\"tv-1\",\"from\":\"a\"}", /* whom to answer? */
                "{\"k\":\"look\",\"errand\":\"1\",\"device\":\"tv 1\",\"from\":\"a\"}",
                "{\"k\":\"look\",\"errand\":\"xyz\",\"device\":\"tv-1\",\"from\":\"a\"}",
                "{\"k\":\"look\",\"errand\":\"1\",\"device\":\"tv-1\"}",
                "{\"k\":\"replaced\",\"device\":\"tv-1\"}",
                "{\"k\":\"answer\",\"errand\":\"1\",\"outcome\":\"maybe\",\"from\":\"a\"}",
                "{\"k\":\"answer\",\"outcome\":\"here\",\"from\":\"a\"}",
        };
        struct device_heard heard;

        for (size_t i = 0; i < countof(texts); i++)
                cr_assert(eq(int, device_heard_parse(texts[i], strlen(texts[i]), &heard),
                             DEVICE_LETTER_NONE),
                          "%s", texts[i]);
}
