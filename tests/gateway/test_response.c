/* What response.h promises, byte by byte: other people's clients parse this. */
#include "gateway/response.h"

#include <stdio.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define EVERYBODY                                                                               \
        "Access-Control-Allow-Origin: *\r\n"                                                    \
        "Access-Control-Expose-Headers: ETag, Kickoff-Bundle, Kickoff-Hash, Kickoff-Position, " \
        "Retry-After\r\n"

static const struct token token = { .epoch = 0x11, .seq = 7, .tag = 0xab };

Test(response, a_refusal_is_problem_details)
{
        static const struct refusal_text text = { 400, "device is missing", "Add it." };
        struct buf out = BUF_INIT;

        response_refusal(&out, &text, 0, 0, false, false);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 400 Bad Request\r\n"
                     "Content-Type: application/problem+json\r\n"
                     "Content-Length: 62\r\n"
                     "Cache-Control: no-store\r\n" EVERYBODY "\r\n"
                     "{\"title\":\"device is missing\",\"status\":400,\"detail\":\"Add it.\"}\n"));
        buf_fini(&out);
}

Test(response, a_shed_request_is_told_when_to_come_back_and_that_the_connection_ends)
{
        static const struct refusal_text text = { 503, "full", "Wait." };
        struct buf out = BUF_INIT;

        response_refusal(&out, &text, 13, 0, true, true);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 503 Service Unavailable\r\n"
                     "Content-Type: application/problem+json\r\n"
                     "Content-Length: 47\r\n"
                     "Retry-After: 13\r\n"
                     "Cache-Control: no-store\r\n"
                     "Connection: close\r\n" EVERYBODY "\r\n"));
        buf_fini(&out);
}

Test(response, a_status_that_needs_a_field_has_it)
{
        static const struct {
                unsigned status;
                bool closes;
                const char *first, *field;
        } table[] = {
                { 405, false, "HTTP/1.1 405 Method Not Allowed\r\n", "\r\nAllow: GET, HEAD\r\n" },
                { 426, false, "HTTP/1.1 426 Upgrade Required\r\n",
                  "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n" },
                { 426, true, "HTTP/1.1 426 Upgrade Required\r\n",
                  "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: close, "
                  "Upgrade\r\n" },
                { 431, true, "HTTP/1.1 431 Request Header Fields Too Large\r\n",
                  "\r\nConnection: close\r\n" },
                { 429, true, "HTTP/1.1 429 Too Many Requests\r\n", "\r\nConnection: close\r\n" },
                { 403, false, "HTTP/1.1 403 Forbidden\r\n", "\r\nCache-Control: no-store\r\n" },
                { 501, true, "HTTP/1.1 501 Not Implemented\r\n", "\r\nContent-Length: " },
                { 505, true, "HTTP/1.1 505 HTTP Version Not Supported\r\n", "\r\n" },
        };

        for (size_t i = 0; i < countof(table); i++) {
                const struct refusal_text text = { table[i].status, "t", "d" };
                struct buf out = BUF_INIT;

                response_refusal(&out, &text, 0, 0, table[i].closes, false);
                cr_assert(zero(int, strncmp(out.data, table[i].first, strlen(table[i].first))));
                cr_assert(strstr(out.data, table[i].field) != NULL, "row %zu: %s", i, out.data);
                buf_fini(&out);
        }
}

Test(response, a_refusal_with_a_lifetime_may_be_kept_by_caches)
{
        static const struct refusal_text text = { 404, "not yet", "Wait." };
        struct buf out = BUF_INIT;

        response_refusal(&out, &text, 0, 10, false, false);
        cr_assert(strstr(out.data, "\r\nCache-Control: public, max-age=10\r\n") != NULL);
        cr_assert(strstr(out.data, "no-store") == NULL);
        buf_fini(&out);
}

Test(response, health_is_two_letters)
{
        struct buf out = BUF_INIT;

        response_health(&out, false, false);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
                     "Cache-Control: no-store\r\n\r\nok\n"));
        buf_clear(&out);
        response_health(&out, true, true);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
                     "Cache-Control: no-store\r\nConnection: close\r\n\r\n"));
        buf_fini(&out);
}

Test(response, the_state_page_has_the_token_as_its_etag)
{
        struct buf out = BUF_INIT;

        response_events_head(&out, &token, 1234, false);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234\r\n"
                     "ETag: \"0000000000000011.7.00000000000000ab\"\r\n"
                     "Cache-Control: public, max-age=2\r\n" EVERYBODY "\r\n"));
        buf_clear(&out);
        response_events_304(&out, &token, true);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 304 Not Modified\r\n"
                     "ETag: \"0000000000000011.7.00000000000000ab\"\r\n"
                     "Cache-Control: public, max-age=2\r\n" EVERYBODY "Connection: close\r\n\r\n"));
        buf_fini(&out);
}

Test(response, if_none_match_names_the_state_by_its_whole_token)
{
        static const struct {
                const char *field;
                bool matches;
        } table[] = {
                { "\"0000000000000011.7.00000000000000ab\"", true },
                { "W/\"0000000000000011.7.00000000000000ab\"", true },
                { "\"a,b\", \"0000000000000011.7.00000000000000ab\"", true },
                { "*", true },
                { "", false },
                { "0000000000000011.7.00000000000000ab", false },
                { "\"0000000000000011.8.00000000000000ab\"", false },
                { "\"x0000000000000011.7.00000000000000ab\"", false },
        };

        for (size_t i = 0; i < countof(table); i++) {
                struct slice slice = { table[i].field, strlen(table[i].field) };

                cr_assert(eq(int, response_events_matches(&token, slice), table[i].matches), "%s",
                          table[i].field);
        }
        cr_assert(not(response_events_matches(&token, (struct slice){ NULL, 0 })));
}

Test(response, the_upgrade_answers_the_key_of_the_rfc)
{
        struct buf out = BUF_INIT;

        response_upgrade(&out, "dGhlIHNhbXBsZSBub25jZQ==", false, ENCODING_JSON);
        cr_assert(
            eq(str, out.data,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        buf_clear(&out);
        response_upgrade(&out, "dGhlIHNhbXBsZSBub25jZQ==", true, ENCODING_MSGPACK);
        cr_assert(
            eq(str, out.data,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
               "Sec-WebSocket-Protocol: kickoff.v1.msgpack\r\n\r\n"));
        buf_fini(&out);
}

Test(response, a_browser_is_turned_away_inside_the_upgrade)
{
        static const char goaway[] =
            "{\"t\":\"goaway\",\"reason\":\"overload\",\"min_ms\":4000,\"max_ms\":8000}";
        const char *at;
        struct buf out = BUF_INIT;

        response_turned_away(&out, "dGhlIHNhbXBsZSBub25jZQ==", true, ENCODING_JSON, 4000, 8000);
        cr_assert(zero(int, strncmp(out.data, "HTTP/1.1 101 ", 13)));
        cr_assert(strstr(out.data, "\r\nSec-WebSocket-Protocol: kickoff.v1.json\r\n") != NULL);
        at = strstr(out.data, "\r\n\r\n") + 4;
        cr_assert(eq(uint, (uint8_t)at[0], 0x81));
        cr_assert(eq(sz, (size_t)at[1], sizeof(goaway) - 1));
        cr_assert(zero(int, memcmp(at + 2, goaway, sizeof(goaway) - 1)));
        at += 2 + sizeof(goaway) - 1;
        cr_assert(zero(int, memcmp(at, "\x88", 1)));
        cr_assert(zero(int, memcmp(at + 2, "\x03\xf5", 2))); /* 1013 */
        cr_assert(eq(sz, (size_t)(at - out.data) + 2 + (size_t)at[1], out.len));
        buf_fini(&out);
}

Test(response, a_method_that_a_page_has_not_is_not_offered)
{
        static const struct refusal_text text = { 405, "t", "d" };
        struct buf out = BUF_INIT;

        response_refusal(&out, &text, 0, 0, false, true); /* to a HEAD */
        cr_assert(strstr(out.data, "\r\nAllow: GET\r\n") != NULL, "%s", out.data);
        buf_fini(&out);
}

Test(response, a_stream_ends_with_its_connection_and_begins_with_the_place_that_was_brought)
{
        struct buf out = BUF_INIT;

        response_stream(&out, &token, 4711);
        cr_assert(eq(str, out.data,
                     "HTTP/1.1 200 OK\r\n"
                     "Content-Type: text/event-stream\r\n"
                     "Cache-Control: no-store, no-transform\r\n"
                     "X-Accel-Buffering: no\r\n"
                     "Connection: close\r\n" EVERYBODY "\r\n"
                     "retry: 4711\nid: 0000000000000011.7.00000000000000ab\n\n"));
        buf_clear(&out);
        response_stream(&out, NULL, 1000);
        cr_assert(strstr(out.data, "\r\n\r\nretry: 1000\n\n") != NULL, "%s", out.data);
        cr_assert(strstr(out.data, "id:") == NULL);
        buf_fini(&out);
}

Test(response, a_reader_that_knows_no_goaway_comes_back_within_its_span_all_the_same)
{
        static const struct goaway goaway = { GOAWAY_DRAIN, 4000, 8000 };
        static const struct goaway replaced = { GOAWAY_REPLACED, 0, 0 };
        unsigned lowest = 8000, highest = 4000;
        struct buf out = BUF_INIT;
        struct rng rng;

        rng_seed(&rng, 1);
        for (int i = 0; i < 500; i++) {
                unsigned retry;
                int used = 0;

                buf_clear(&out);
                response_stream_goaway(&out, &goaway, &rng);
                cr_assert(eq(int, sscanf(out.data, "retry: %u\n%n", &retry, &used), 1));
                cr_assert(eq(str, out.data + used,
                             "data: {\"t\":\"goaway\",\"reason\":\"drain\",\"min_ms\":4000,"
                             "\"max_ms\":8000}\n\n"));
                cr_assert(ge(uint, retry, 4000));
                cr_assert(le(uint, retry, 8000));
                lowest = retry < lowest ? retry : lowest;
                highest = retry > highest ? retry : highest;
        }
        cr_assert(lt(uint, lowest, 4200));
        cr_assert(gt(uint, highest, 7800));
        buf_clear(&out);
        response_stream_goaway(&out, &replaced, &rng);
        cr_assert(zero(int, strncmp(out.data, "retry: 86400000\n", 16)), "%s", out.data);
        buf_fini(&out);
}
