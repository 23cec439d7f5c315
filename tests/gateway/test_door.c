/* What door.h promises: one verdict per request head. */
#include "gateway/door.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define KEY     "dGhlIHNhbXBsZSBub25jZQ=="
#define UPGRADE "Host: n\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define WS      UPGRADE "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"
#define X16     "xxxxxxxxxxxxxxxx"
#define X64     X16 X16 X16 X16

static const char *const origins[] = { "https://tv.example", "https://www.example" };
static const struct door_rules listed = { .origins = origins, .n_origins = 2 }, open_to_all;

static struct door_verdict decide(const char *text, const struct door_rules *rules)
{
        struct door_verdict verdict;
        static char bytes[HEAD_MAX];
        struct head head;
        size_t used, scanned = 0;
        unsigned status;

        snprintf(bytes, sizeof(bytes), "%s\r\n", text);
        cr_assert(
            eq(int, head_parse(bytes, strlen(bytes), &scanned, &head, &used, &status), HEAD_DONE),
            "%s", text);
        memset(&verdict, 0x55, sizeof(verdict));
        door_decide(&head, rules, &verdict);
        return verdict;
}

static struct door_verdict connect_with(const char *target, const char *fields)
{
        char text[2048];

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n%s", target, fields);
        return decide(text, &open_to_all);
}

Test(door, refuses_with_the_status_that_tells_most)
{
        static const struct {
                const char *request, *fields;
                unsigned status;
        } table[] = {
                /* pages and methods */
                { "GET / HTTP/1.1", "Host: n\r\n", 404 },
                { "GET /v1/connect/ HTTP/1.1", WS, 404 },
                { "GET /v1/%63onnect?device=a HTTP/1.1", WS, 404 },
                { "GET /v1//events HTTP/1.1", "Host: n\r\n", 404 },
                { "GET /v1/prefetch/ HTTP/1.1", "Host: n\r\n", 404 },
                { "GET /v1/prefetch HTTP/1.1", "Host: n\r\n", 404 },
                { "GET /v1/prefetch/derby/x HTTP/1.1", "Host: n\r\n", 404 },
                { "POST /v1/events HTTP/1.1", "Host: n\r\n", 405 },
                { "get /v1/events HTTP/1.1", "Host: n\r\n", 405 },
                { "DELETE /v1/prefetch/derby HTTP/1.1", "Host: n\r\n", 405 },
                { "HEAD /v1/connect?device=a HTTP/1.1", WS, 405 },
                { "HEAD /v1/stream?device=a HTTP/1.1", "Host: n\r\n", 405 },
                { "POST /v1/stream?device=a HTTP/1.1", "Host: n\r\n", 405 },
                { "OPTIONS /v1/stream?device=a HTTP/1.1", "Host: n\r\n", 405 },
                { "GET /v1/stream?device=a HTTP/1.0", "Host: n\r\n", 505 },
                { "GET /v1/stream HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/stream?device=a&cohort= HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/stream?device=a&ack=2 HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/stream?device=a&since=1&since=2 HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/stream?device=a HTTP/1.1", "Host: n\r\nContent-Length: 1\r\n", 400 },
                { "POST /nowhere HTTP/1.1", "Host: n\r\n", 404 },
                { "GET /v1/events HTTP/1.1", "Host: n\r\nContent-Length: 1\r\n", 400 },
                { "GET /v1/events HTTP/1.1", "Host: n\r\nTransfer-Encoding: chunked\r\n", 400 },
                /* the upgrade */
                { "GET /v1/connect?device=a HTTP/1.1", "Host: n\r\n", 426 },
                { "GET /v1/connect?device=a HTTP/1.1", "Host: n\r\nUpgrade: websocket\r\n", 426 },
                { "GET /v1/connect?device=a HTTP/1.1",
                  "Host: n\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", 426 },
                { "GET /v1/connect?device=a HTTP/1.0", WS, 426 },
                { "GET /v1/connect?device=a HTTP/1.1", UPGRADE "Sec-WebSocket-Key: " KEY "\r\n",
                  426 },
                { "GET /v1/connect?device=a HTTP/1.1",
                  UPGRADE "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n", 426 },
                { "GET /v1/connect?device=a HTTP/1.1", UPGRADE "Sec-WebSocket-Version: 13\r\n",
                  400 },
                /* parameters */
                { "GET /v1/connect HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device= HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a%20b HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a%2 HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&device=b HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=" X64 X64 "y HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&cohort=" X64 "y HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&cohort= HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&ack=2 HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&ack=00 HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&since=1&since=2 HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a&since=%zz HTTP/1.1", WS, 400 },
                { "GET /v1/connect?device=a HTTP/1.1",
                  WS "Sec-WebSocket-Protocol: mqtt, kickoff.v2.json\r\n", 400 },
                { "GET /v1/connect?device=a HTTP/1.1",
                  WS "Sec-WebSocket-Protocol: KICKOFF.V1.JSON\r\n", 400 },
                { "GET /v1/prefetch/a%20b HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/prefetch/a%2fb HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/prefetch/a%2 HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/prefetch/a% HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/prefetch/a%g0 HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/prefetch/" X64 "y HTTP/1.1", "Host: n\r\n", 400 },
                { "GET /v1/prefetch/derby?cohort=a/b HTTP/1.1", "Host: n\r\n", 400 },
        };

        for (size_t i = 0; i < countof(table); i++) {
                char text[2048];
                struct door_verdict verdict;

                snprintf(text, sizeof(text), "%s\r\n%s", table[i].request, table[i].fields);
                verdict = decide(text, &open_to_all);
                cr_assert(eq(int, verdict.kind, DOOR_REFUSE), "%s", text);
                cr_assert(eq(u32, verdict.status, table[i].status), "%s", text);
                cr_assert(verdict.title != NULL && verdict.detail != NULL);
        }
}

Test(door, a_websocket_key_is_sixteen_bytes_in_base64)
{
        static const struct {
                const char *key;
                bool is_good;
        } table[] = {
                { "dGhlIHNhbXBsZSBub25jZQ==", true },  { "AAAAAAAAAAAAAAAAAAAAAA==", true },
                { "++++++++++//////////+w==", true },  { "dGhlIHNhbXBsZSBub25jZR==", false },
                { "dGhlIHNhbXBsZSBub25jZQ=", false },  { "dGhlIHNhbXBsZSBub25jZQ===", false },
                { "dGhlIHNhbXBsZSBub25jZQAA", false }, { "dGhlIHNhbXBsZSBub25jZ===", false },
                { "dGhlIHNh-XBsZSBub25jZQ==", false }, { "x", false },
        };

        for (size_t i = 0; i < countof(table); i++) {
                char text[512];
                struct door_verdict verdict;

                snprintf(text, sizeof(text),
                         UPGRADE "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
                         table[i].key);
                verdict = connect_with("/v1/connect?device=a", text);
                cr_assert(eq(int, verdict.kind, table[i].is_good ? DOOR_CONNECT : DOOR_REFUSE),
                          "%s", table[i].key);
                if (!table[i].is_good)
                        cr_assert(eq(u32, verdict.status, 400));
        }
}

Test(door, lets_a_device_in_with_all_it_said)
{
        struct door_verdict verdict = connect_with(
            "/v1/connect?device=tv%3A1&cohort=de-sport&since=1111222233334444.7.00000000000000ab&ack=0",
            WS "Sec-WebSocket-Protocol: kickoff.v1.msgpack\r\n");

        cr_assert(eq(int, verdict.kind, DOOR_CONNECT));
        cr_assert(eq(str, verdict.device, "tv:1"));
        cr_assert(eq(str, verdict.cohort, "de-sport"));
        cr_assert(verdict.has_since);
        cr_assert(not(verdict.since_malformed));
        cr_assert(eq(u64, verdict.since.epoch, UINT64_C(0x1111222233334444)));
        cr_assert(eq(u64, verdict.since.seq, 7));
        cr_assert(eq(u64, verdict.since.tag, 0xab));
        cr_assert(not(verdict.wants_ack));
        cr_assert(eq(int, verdict.encoding, ENCODING_MSGPACK));
        cr_assert(verdict.subprotocol_named);
        cr_assert(zero(int, memcmp(verdict.ws_key, KEY, 24)));
}

Test(door, only_the_device_id_is_required)
{
        struct door_verdict verdict = connect_with("/v1/connect?device=a", WS);

        cr_assert(eq(int, verdict.kind, DOOR_CONNECT));
        cr_assert(eq(str, verdict.cohort, COHORT_DEFAULT));
        cr_assert(not(verdict.has_since));
        cr_assert(not(verdict.since_malformed));
        cr_assert(verdict.wants_ack);
        cr_assert(eq(int, verdict.encoding, ENCODING_JSON));
        cr_assert(not(verdict.subprotocol_named));
}

Test(door, ids_may_have_their_full_length)
{
        struct door_verdict verdict =
            connect_with("/v1/connect?device=" X64 X64 "&cohort=" X64, WS);

        cr_assert(eq(int, verdict.kind, DOOR_CONNECT));
        cr_assert(eq(str, verdict.device, X64 X64));
        cr_assert(eq(str, verdict.cohort, X64));
        verdict = connect_with("/v1/prefetch/" X64, "Host: n\r\n");
        cr_assert(eq(int, verdict.kind, DOOR_PREFETCH));
        cr_assert(eq(str, verdict.event, X64));
}

Test(door, a_token_that_does_not_parse_lets_the_device_in_all_the_same)
{
        static const char *const table[] = { "", "x", "1111222233334444.07.00000000000000ab",
                                             "1111222233334444.7", X64 X64 };

        for (size_t i = 0; i < countof(table); i++) {
                char target[512];
                struct door_verdict verdict;

                snprintf(target, sizeof(target), "/v1/connect?device=a&since=%s", table[i]);
                verdict = connect_with(target, WS);
                cr_assert(eq(int, verdict.kind, DOOR_CONNECT), "%s", target);
                cr_assert(verdict.since_malformed, "%s", target);
                cr_assert(not(verdict.has_since), "%s", target);
        }
}

/* RFC 6455 11.3.4: an offer may be split over several lines. */
Test(door, takes_a_subprotocol_from_any_line_of_the_offer)
{
        struct door_verdict verdict =
            connect_with("/v1/connect?device=a", WS "Sec-WebSocket-Protocol: chat\r\n"
                                                    "Sec-WebSocket-Protocol: kickoff.v1.msgpack\r\n"
                                                    "Sec-WebSocket-Protocol: kickoff.v1.json\r\n");

        cr_assert(eq(int, verdict.kind, DOOR_CONNECT));
        cr_assert(verdict.subprotocol_named);
        cr_assert(eq(int, verdict.encoding, ENCODING_MSGPACK));
}

Test(door, takes_the_first_subprotocol_of_the_list_that_it_speaks)
{
        static const struct {
                const char *offer;
                enum encoding encoding;
        } table[] = {
                { "kickoff.v1.json", ENCODING_JSON },
                { "kickoff.v1.msgpack,kickoff.v1.json", ENCODING_MSGPACK },
                { "kickoff.v1.json, kickoff.v1.msgpack", ENCODING_JSON },
                { "mqtt ,\t kickoff.v1.msgpack \t", ENCODING_MSGPACK },
                { ",,kickoff.v1.json", ENCODING_JSON },
        };

        for (size_t i = 0; i < countof(table); i++) {
                char fields[512];
                struct door_verdict verdict;

                snprintf(fields, sizeof(fields), WS "Sec-WebSocket-Protocol: %s\r\n",
                         table[i].offer);
                verdict = connect_with("/v1/connect?device=a", fields);
                cr_assert(eq(int, verdict.kind, DOOR_CONNECT), "%s", table[i].offer);
                cr_assert(eq(int, verdict.encoding, table[i].encoding), "%s", table[i].offer);
                cr_assert(verdict.subprotocol_named);
        }
}

Test(door, browsers_are_held_to_the_origin_list_exactly)
{
        static const struct {
                const char *origin;
                bool is_allowed;
        } table[] = {
                { "", true }, /* no browser */
                { "Origin: https://tv.example\r\n", true },
                { "Origin: https://www.example\r\n", true },
                { "Origin: https://tv.example.evil\r\n", false },
                { "Origin: https://evil/https://tv.example\r\n", false },
                { "Origin: http://tv.example\r\n", false },
                { "Origin: https://TV.example\r\n", false },
                { "Origin: null\r\n", false },
                { "Origin: https://tv.exampl\r\n", false },
        };

        for (size_t i = 0; i < countof(table); i++) {
                char text[1024];
                struct door_verdict verdict;

                snprintf(text, sizeof(text), "GET /v1/connect?device=a HTTP/1.1\r\n" WS "%s",
                         table[i].origin);
                verdict = decide(text, &listed);
                cr_assert(eq(int, verdict.kind, table[i].is_allowed ? DOOR_CONNECT : DOOR_REFUSE),
                          "%s", table[i].origin);
                if (!table[i].is_allowed)
                        cr_assert(eq(u32, verdict.status, 403));
                cr_assert(eq(int, verdict.from_browser, table[i].origin[0] != '\0'));
                cr_assert(eq(int, decide(text, &open_to_all).kind, DOOR_CONNECT));
        }
}

Test(door, a_connection_list_and_any_case_still_upgrade)
{
        struct door_verdict verdict =
            connect_with("/v1/connect?device=a",
                         "host: n\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n"
                         "sec-websocket-version: 13\r\nsec-websocket-key: " KEY "\r\n");

        cr_assert(eq(int, verdict.kind, DOOR_CONNECT));
}

Test(door, pages_that_are_read_take_get_and_head)
{
        static const struct {
                const char *target;
                enum door_kind kind;
        } table[] = {
                { "/v1/events", DOOR_EVENTS },
                { "/v1/events?x=1", DOOR_EVENTS },
                { "/healthz", DOOR_HEALTH },
                { "/v1/prefetch/derby", DOOR_PREFETCH },
                { "/v1/prefetch/derby%3a1?cohort=de", DOOR_PREFETCH },
        };

        for (size_t i = 0; i < countof(table); i++) {
                for (int head_only = 0; head_only < 2; head_only++) {
                        char text[256];
                        struct door_verdict verdict;

                        snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: n\r\n",
                                 head_only ? "HEAD" : "GET", table[i].target);
                        verdict = decide(text, &open_to_all);
                        cr_assert(eq(int, verdict.kind, table[i].kind), "%s", text);
                        cr_assert(eq(int, verdict.head_only, head_only), "%s", text);
                }
        }
        cr_assert(eq(str, decide("GET /v1/prefetch/derby%3a1 HTTP/1.0\r\n", &open_to_all).event,
                     "derby:1"));
        cr_assert(eq(str, decide("GET /v1/prefetch/a HTTP/1.0\r\n", &open_to_all).cohort,
                     COHORT_DEFAULT));
}

/* --- event streams --------------------------------------------------------------------------- */

#define SINCE "0000000000000011.7.00000000000000ab"
#define NEWER "0000000000000011.9.00000000000000cd"

Test(door, a_stream_is_a_device_that_sends_no_acks)
{
        struct door_verdict verdict = connect_with(
            "/v1/stream?device=tv-1&cohort=sports&since=" SINCE "&ack=1", "Host: n\r\n");

        cr_assert(eq(int, verdict.kind, DOOR_STREAM));
        cr_assert(eq(str, verdict.device, "tv-1"));
        cr_assert(eq(str, verdict.cohort, "sports"));
        cr_assert(verdict.has_since);
        cr_assert(eq(u64, verdict.since.seq, 7));
        cr_assert(not(verdict.wants_ack));
        cr_assert(eq(int, verdict.encoding, ENCODING_JSON));
        cr_assert(not(verdict.from_event_source));
}

Test(door, what_a_browser_remembers_is_newer_than_its_address)
{
        static const struct {
                const char *query, *field;
                bool has_since, is_malformed;
                seqno seq;
        } table[] = {
                { "", "Last-Event-ID: " NEWER "\r\n", true, false, 9 },
                { "&since=" SINCE, "Last-Event-ID: " NEWER "\r\n", true, false, 9 },
                { "&since=" SINCE, "Last-Event-ID:\r\n", true, false, 7 },
                { "&since=" SINCE, "", true, false, 7 },
                { "&since=" SINCE, "Last-Event-ID: 41\r\n", false, true, 0 },
                { "&since=x", "Last-Event-ID: " NEWER "\r\n", true, false, 9 },
                { "", "Last-Event-ID: " NEWER "x\r\n", false, true, 0 },
                { "", "", false, false, 0 },
        };

        for (size_t i = 0; i < countof(table); i++) {
                struct door_verdict verdict;
                char target[256], fields[256];

                snprintf(target, sizeof(target), "/v1/stream?device=a%s", table[i].query);
                snprintf(fields, sizeof(fields), "Host: n\r\n%s", table[i].field);
                verdict = connect_with(target, fields);
                cr_assert(eq(int, verdict.kind, DOOR_STREAM), "row %zu", i);
                cr_assert(eq(int, verdict.has_since, table[i].has_since), "row %zu", i);
                cr_assert(eq(int, verdict.since_malformed, table[i].is_malformed), "row %zu", i);
                if (table[i].has_since)
                        cr_assert(eq(u64, verdict.since.seq, table[i].seq), "row %zu", i);
        }
}

Test(door, only_who_names_the_type_is_taken_for_an_event_source)
{
        static const struct {
                const char *accept;
                bool is_one;
        } table[] = {
                { "Accept: text/event-stream\r\n", true },
                { "Accept: TEXT/Event-Stream\r\n", true },
                { "Accept: text/html, text/event-stream ;q=0.9\r\n", true },
                { "Accept: */*\r\n", false },
                { "Accept: text/*\r\n", false },
                { "Accept: text/event-streams\r\n", false },
                { "", false },
        };

        for (size_t i = 0; i < countof(table); i++) {
                char fields[256];

                snprintf(fields, sizeof(fields), "Host: n\r\n%s", table[i].accept);
                cr_assert(eq(int, connect_with("/v1/stream?device=a", fields).from_event_source,
                             table[i].is_one),
                          "row %zu", i);
        }
}

Test(door, a_stream_is_for_the_origins_that_a_websocket_is_for)
{
        static const char begin[] = "GET /v1/stream?device=a HTTP/1.1\r\nHost: n\r\n";
        char text[256];

        snprintf(text, sizeof(text), "%sOrigin: https://tv.example\r\n", begin);
        cr_assert(eq(int, decide(text, &listed).kind, DOOR_STREAM));
        snprintf(text, sizeof(text), "%sOrigin: https://evil.example\r\n", begin);
        cr_assert(eq(u32, decide(text, &listed).status, 403));
        cr_assert(eq(int, decide(text, &open_to_all).kind, DOOR_STREAM));
        cr_assert(eq(int, decide(begin, &listed).kind, DOOR_STREAM));
}
