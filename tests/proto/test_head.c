/* The request head: what is refused and with which status, what is kept, and that no cut of the
 * stream changes either. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/head.h"

#define CONNECT                                                           \
        "GET /v1/connect?device=tv-1&since=a.1.b HTTP/1.1\r\n"            \
        "Host: push.example:8080\r\n"                                     \
        "Upgrade: websocket\r\n"                                          \
        "Connection: keep-alive, Upgrade\r\n"                             \
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                 \
        "Sec-WebSocket-Version: 13\r\n"                                   \
        "Sec-WebSocket-Protocol: kickoff.v1.msgpack, kickoff.v1.json\r\n" \
        "Origin: https://tv.example\r\n"                                  \
        "User-Agent: \t TV \xe9/1.0 \t \r\n"                              \
        "X-Empty:\r\n"                                                    \
        "\r\n"

#define H      "Host: a\r\n"
#define GET    "GET / HTTP/1.1\r\n"
#define GET_10 "GET / HTTP/1.0\r\n"

/* 0 = DONE, 1 = MORE, else the status. The bytes arrive in pieces: `first` bytes, then `step` each.
 */
static unsigned parse(const char *bytes, size_t len, size_t first, size_t step, struct head *head,
                      size_t *ret_used)
{
        size_t scanned = 0, n = first < len ? first : len;

        for (;;) {
                unsigned status = 0;
                /* Each time in a new place, with nothing behind it that could be read by mistake.
                 */
                char *copy = malloc(n > 0 ? n : 1);
                enum head_status result;

                memcpy(copy, bytes, n);
                result = head_parse(copy, n, &scanned, head, ret_used, &status);
                free(copy);
                if (result == HEAD_DONE) /* with slices into bytes that stay */
                        return head_parse(bytes, len, &(size_t){ 0 }, head, ret_used, &status) ==
                                       HEAD_DONE
                                   ? 0
                                   : 2;
                if (result == HEAD_BAD)
                        return status;
                if (n == len)
                        return 1;
                n = len - n < step ? len : n + step;
        }
}

static unsigned parse_whole(const char *text, struct head *head)
{
        size_t used;

        return parse(text, strlen(text), strlen(text), 1, head, &used);
}

Test(head, keeps_what_a_handshake_says)
{
        struct head head;

        cr_assert(eq(int, parse_whole(CONNECT, &head), 0));
        cr_assert(slice_is(head.method, "GET"));
        cr_assert(slice_is(head.path, "/v1/connect"));
        cr_assert(slice_is(head.query, "device=tv-1&since=a.1.b"));
        cr_assert(eq(u32, head.minor, 1));
        cr_assert(head.keep_alive);
        cr_assert(head.connection_upgrade);
        cr_assert(not(head.has_body));
        cr_assert(slice_is(head.host, "push.example:8080"));
        cr_assert(head.upgrade_websocket);
        cr_assert(slice_is(head.origin, "https://tv.example"));
        cr_assert(slice_is(head.ws_key, "dGhlIHNhbXBsZSBub25jZQ=="));
        cr_assert(slice_is(head.ws_version, "13"));
        cr_assert(eq(u32, head.n_ws_protocols, 1));
        cr_assert(slice_has_token(head.ws_protocols[0], "kickoff.v1.json"));
        cr_assert(slice_is(head.user_agent, "TV \xe9/1.0"));
        cr_assert(eq(ptr, (void *)head.authorization.at, NULL));
        cr_assert(eq(ptr, (void *)head.last_event_id.at, NULL));
}

/* clang-format off */
#define F8    "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n"
#define F63   F8 F8 F8 F8 F8 F8 F8 "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n"
#define P15   "a&b&c&d&e&f&g&h&i&j&k&l&m&n&o"
#define ROW(status, text) { status, sizeof(text) - 1, text }

static const struct row {
        unsigned status; /* 0 = good, 1 = more to come */
        size_t len;
        const char *text;
} rows[] = {
        ROW(0, CONNECT),
        ROW(0, GET H "\r\n"),
        ROW(0, GET_10 "\r\n"), /* health checks of load balancers come so */
        ROW(0, "OPTIONS /healthz HTTP/1.0\r\n\r\n"),
        ROW(1, ""),
        ROW(1, "GET"),
        ROW(1, GET H),
        ROW(1, GET H "\r"),
        /* request line */
        ROW(400, "\r\n" GET H "\r\n"),
        ROW(400, " GET / HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "\x16\x03\x01"),
        ROW(400, "GET  / HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /  HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET / HTTP/1.1 \r\n" H "\r\n"),
        ROW(400, "GET\t/\tHTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /\r\n\r\n"),
        ROW(400, "GET\r\n\r\n"),
        ROW(400, "G(T / HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET http://a/ HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "CONNECT a:80 HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "OPTIONS * HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /a#b HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /\xc3\xbc HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /a\x7f HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /a\0b HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /a%00b HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /?a=%00 HTTP/1.1\r\n" H "\r\n"),
        ROW(0, "GET /?" P15 "&p HTTP/1.1\r\n" H "\r\n"),
        ROW(400, "GET /?" P15 "&p&q HTTP/1.1\r\n" H "\r\n"),
        /* version */
        ROW(505, "GET / HTTP/2.0\r\n" H "\r\n"),
        ROW(505, "GET / HTTP/1.2\r\n" H "\r\n"),
        ROW(505, "GET / HTTP/0.9\r\n" H "\r\n"),
        ROW(400, "GET / http/1.1\r\n" H "\r\n"),
        ROW(400, "GET / HTTP/1.10\r\n" H "\r\n"),
        ROW(400, "GET / HTTP/11\r\n" H "\r\n"),
        ROW(400, "GET / HTTP/2.0\r\n" H "a b: c\r\n\r\n"),
        ROW(400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        /* line ends */
        ROW(400, "GET / HTTP/1.1\n" H "\r\n"),
        ROW(400, GET "Host: a\n\r\n"),
        ROW(400, GET H "\n"),
        ROW(400, GET H "A: b\rC: d\r\n\r\n"),
        ROW(400, GET H "A: b\r\r\n\r\n"),
        ROW(400, "GET / HTTP/1.1\r\r\n" H "\r\n"),
        /* field lines */
        ROW(400, GET H "A : b\r\n\r\n"),
        ROW(400, GET H " A: b\r\n\r\n"),
        ROW(400, GET H "A: b\r\n c\r\n\r\n"),
        ROW(400, GET H "A: b\r\n\tc: d\r\n\r\n"),
        ROW(400, GET " Host: a\r\n\r\n"),
        ROW(400, GET H "A\r\n\r\n"),
        ROW(400, GET H ": b\r\n\r\n"),
        ROW(400, GET H "A\xc3: b\r\n\r\n"),
        ROW(400, GET H "A: b\0c\r\n\r\n"),
        ROW(400, GET H "A: 12345678\0bcdefghi\r\n\r\n"),
        ROW(400, GET H "A: 1234567\x7f" "bcdefghi\r\n\r\n"),
        ROW(400, GET H "A: 1234567\x1f" "bcdefghi\r\n\r\n"),
        ROW(400, GET H "A: b\x01\r\n\r\n"),
        ROW(400, GET H "A: b\x7f\r\n\r\n"),
        ROW(0, GET H "A: b\tc \xff~!\x80 tail of it\tand more\r\n\r\n"),
        ROW(0, GET H F63 "\r\n"),
        ROW(431, GET H F63 "A: b\r\n\r\n"),
        /* Host */
        ROW(400, GET "\r\n"),
        ROW(400, GET H H "\r\n"),
        ROW(400, GET H "HOST: a\r\n\r\n"),
        ROW(400, GET_10 H H "\r\n"),
        ROW(400, GET "Host:\r\n\r\n"),
        ROW(400, GET "Host: a b\r\n\r\n"),
        ROW(400, GET "Host: a/b\r\n\r\n"),
        ROW(400, GET "Host: u@a\r\n\r\n"),
        ROW(0, GET "Host: [::1]:8080\r\n\r\n"),
        /* bodies: flagged, or refused where two readings are possible */
        ROW(0, GET H "Content-Length: 0\r\n\r\n"),
        ROW(0, GET H "Content-Length: 7\r\n\r\n"),
        ROW(400, GET H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        ROW(400, GET H "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"),
        ROW(400, GET H "Content-Length: 5, 5\r\n\r\n"),
        ROW(400, GET H "Content-Length: +5\r\n\r\n"),
        ROW(400, GET H "Content-Length: -5\r\n\r\n"),
        ROW(400, GET H "Content-Length: 0x5\r\n\r\n"),
        ROW(400, GET H "Content-Length: \r\n\r\n"),
        ROW(400, GET H "Content-Length: 18446744073709551616\r\n\r\n"),
        ROW(0, GET H "Transfer-Encoding: chunked\r\n\r\n"),
        ROW(400, GET H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        ROW(400, GET H "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ROW(400, GET H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ROW(400, GET_10 H "Transfer-Encoding: chunked\r\n\r\n"),
        ROW(501, GET H "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        ROW(501, GET H "Transfer-Encoding: xchunked\r\n\r\n"),
        ROW(400, GET H "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n"),
        ROW(400, GET H "Transfer-Encoding : chunked\r\n\r\n"),
        /* fields that stand once */
        ROW(400, GET H "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: a\r\n\r\n"),
        ROW(400, GET H "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n\r\n"),
        ROW(400, GET H "Authorization: a\r\nAuthorization: b\r\n\r\n"),
        ROW(400, GET H "Origin: a\r\nOrigin: b\r\n\r\n"),
        ROW(400, GET H "Last-Event-ID: a\r\nLast-Event-ID: b\r\n\r\n"),
        ROW(0, GET H "Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n\r\n"),
};
/* clang-format on */

Test(head, is_judged_the_same_however_the_stream_is_cut)
{
        for (size_t i = 0; i < countof(rows); i++) {
                const struct row *row = &rows[i];
                struct head head;
                size_t used;

                cr_assert(
                    eq(u32, parse(row->text, row->len, row->len, 1, &head, &used), row->status),
                    "row %zu: %s", i, row->text);
                cr_assert(eq(u32, parse(row->text, row->len, 1, 1, &head, &used), row->status),
                          "row %zu, byte by byte: %s", i, row->text);
                for (size_t cut = 1; cut < row->len; cut++)
                        cr_assert(eq(u32, parse(row->text, row->len, cut, row->len, &head, &used),
                                     row->status),
                                  "row %zu, cut at %zu: %s", i, cut, row->text);
        }
}

Test(head, survives_every_flipped_bit)
{
        char copy[1024];

        for (size_t i = 0; i < countof(rows); i++) {
                for (size_t bit = 0; bit < 8 * rows[i].len; bit++) {
                        struct head head;
                        size_t used = 0;
                        unsigned status;

                        memcpy(copy, rows[i].text, rows[i].len);
                        copy[bit / 8] ^= (char)(1 << bit % 8);
                        status = parse(copy, rows[i].len, rows[i].len, 1, &head, &used);
                        cr_assert(status <= 1 || status == 400 || status == 431 || status == 501 ||
                                  status == 505);
                        cr_assert(le(sz, used, rows[i].len));
                }
        }
}

Test(head, leaves_what_comes_after_it_alone)
{
        static const char stream[] = CONNECT "\x81\x85rest";
        size_t scanned = 0, used = 0;
        struct head head;
        unsigned status;

        cr_assert(eq(int, head_parse(stream, sizeof(stream) - 1, &scanned, &head, &used, &status),
                     HEAD_DONE));
        cr_assert(eq(sz, used, strlen(CONNECT)));
        cr_assert(eq(sz, scanned, 0), "the next head begins from nothing");
}

Test(head, takes_pipelined_requests_one_by_one)
{
        const char *stream = "GET /a HTTP/1.1\r\n" H "\r\n"
                             "GET /b HTTP/1.1\r\n" H "\r\n"
                             "GET /c";
        const char *paths[] = { "/a", "/b" };
        size_t scanned = 0, used, at = 0;
        struct head head;
        unsigned status;

        for (size_t i = 0; i < 2; i++) {
                cr_assert(eq(
                    int,
                    head_parse(stream + at, strlen(stream + at), &scanned, &head, &used, &status),
                    HEAD_DONE));
                cr_assert(slice_is(head.path, paths[i]));
                at += used;
        }
        cr_assert(eq(int,
                     head_parse(stream + at, strlen(stream + at), &scanned, &head, &used, &status),
                     HEAD_MORE));
}

/* A head of exactly `size` bytes. */
static char *head_of(size_t size)
{
        const char *begin = GET H "A: ";
        char *text = malloc(size + 1);

        memset(text, 'x', size);
        memcpy(text, begin, strlen(begin));
        memcpy(text + size - 4, "\r\n\r\n", 5);
        return text;
}

Test(head, may_have_exactly_the_bytes_of_the_limit)
{
        static const struct {
                size_t size;
                unsigned status;
        } sizes[] = { { HEAD_MAX - 1, 0 }, { HEAD_MAX, 0 }, { HEAD_MAX + 1, 431 } };

        for (size_t i = 0; i < countof(sizes); i++) {
                char *text = head_of(sizes[i].size);
                struct head head;
                size_t used;

                for (size_t first = 1; first < sizes[i].size; first += 997)
                        cr_assert(eq(u32, parse(text, sizes[i].size, first, 1, &head, &used),
                                     sizes[i].status));
                cr_assert(eq(u32, parse_whole(text, &head), sizes[i].status));
                free(text);
        }
}

Test(head, says_whether_the_connection_stays)
{
        static const struct {
                const char *text;
                bool keep_alive, upgrade;
        } cases[] = {
                { GET H "\r\n", true, false },
                { GET H "Connection: close\r\n\r\n", false, false },
                { GET H "Connection: CLOSE , Upgrade\r\n\r\n", false, true },
                { GET H "Connection: keep-alive\r\nConnection: upgrade\r\n\r\n", true, true },
                { GET H "Connection: keep-alive\r\nConnection: close\r\n\r\n", false, false },
                { GET H "Connection: closed, upgrades\r\n\r\n", true, false },
                { GET_10 H "\r\n", false, false },
                { GET_10 H "Connection: Keep-Alive\r\n\r\n", true, false },
                { GET_10 H "Connection: keep-alive, close\r\n\r\n", false, false },
        };

        for (size_t i = 0; i < countof(cases); i++) {
                struct head head;

                cr_assert(eq(int, parse_whole(cases[i].text, &head), 0));
                cr_assert(eq(int, head.keep_alive, cases[i].keep_alive), "case %zu", i);
                cr_assert(eq(int, head.connection_upgrade, cases[i].upgrade), "case %zu", i);
        }
}

/* RFC 9110 5.3 and 7.8, RFC 6455 11.3.4: a list may be split over several lines. */
Test(head, reads_offers_on_all_their_lines)
{
        struct head head;

        cr_assert(eq(int,
                     parse_whole(GET H "Upgrade: h2c\r\nUpgrade: WebSocket\r\n"
                                       "Sec-WebSocket-Protocol: chat\r\n"
                                       "Sec-WebSocket-Protocol: a , b\r\n\r\n",
                                 &head),
                     0));
        cr_assert(head.upgrade_websocket);
        cr_assert(eq(u32, head.n_ws_protocols, 2));
        cr_assert(slice_is(head.ws_protocols[0], "chat"));
        cr_assert(slice_is(head.ws_protocols[1], "a , b"));
        cr_assert(eq(int, parse_whole(GET H "Upgrade: websockets, h2c\r\n\r\n", &head), 0));
        cr_assert(not(head.upgrade_websocket));
        cr_assert(eq(u32, head.n_ws_protocols, 0));
}

Test(head, bounds_the_lines_of_an_offer)
{
#define OFFER "Sec-WebSocket-Protocol: a\r\n"
        struct head head;

        cr_assert(eq(int, parse_whole(GET H OFFER OFFER OFFER OFFER "\r\n", &head), 0));
        cr_assert(eq(u32, head.n_ws_protocols, HEAD_OFFERS_MAX));
        cr_assert(eq(int, parse_whole(GET H OFFER OFFER OFFER OFFER OFFER "\r\n", &head), 400));
}

Test(head, takes_a_list_apart)
{
        struct slice list = { "a , ,b\t", 7 }, element;

        cr_assert(slice_next(&list, &element));
        cr_assert(slice_is(element, "a"));
        cr_assert(slice_next(&list, &element));
        cr_assert(slice_is(element, ""));
        cr_assert(slice_next(&list, &element));
        cr_assert(slice_is(element, "b"));
        cr_assert(not(slice_next(&list, &element)));
}

Test(head, flags_requests_with_a_body)
{
        struct head head;

        cr_assert(eq(int, parse_whole(GET H "Content-Length: 0\r\n\r\n", &head), 0));
        cr_assert(not(head.has_body));
        cr_assert(eq(int, parse_whole(GET H "Content-Length: 007\r\n\r\n", &head), 0));
        cr_assert(head.has_body);
        cr_assert(eq(int, parse_whole(GET H "Transfer-Encoding: Chunked\r\n\r\n", &head), 0));
        cr_assert(head.has_body);
}

Test(head, tells_an_absent_field_from_an_empty_one)
{
        struct head head;

        cr_assert(eq(int, parse_whole("GET /? HTTP/1.1\r\n" H "Origin:\r\n\r\n", &head), 0));
        cr_assert(not(eq(ptr, (void *)head.origin.at, NULL)));
        cr_assert(eq(sz, head.origin.len, 0));
        cr_assert(not(eq(ptr, (void *)head.query.at, NULL)));
        cr_assert(eq(sz, head.query.len, 0));
        cr_assert(eq(int, parse_whole(GET H "\r\n", &head), 0));
        cr_assert(eq(ptr, (void *)head.query.at, NULL));
}

Test(head_param, is_decoded_once)
{
        static const struct {
                const char *query, *value; /* NULL = the error */
                enum err err;
        } cases[] = {
                { "device=tv-1", "tv-1", OK },
                { "a=1&device=tv-1&b=2", "tv-1", OK },
                { "device=", "", OK },
                { "device", "", OK },
                { "device=a=b", "a=b", OK },
                { "device=a%2Bb+c", "a+b+c", OK },
                { "device=%25%32%35", "%25", OK },
                { "device=%e2%82%AC", "\xe2\x82\xac", OK },
                { "devic%65=x", "x", OK },
                { "device=12345678", "12345678", OK },
                { "device=%31%32%33%34%35%36%37%38", "12345678", OK },
                { "device=123456789", NULL, ERR_TOO_LARGE },
                { "devices=x", NULL, ERR_NOT_FOUND },
                { "devic=x", NULL, ERR_NOT_FOUND },
                { "Device=x", NULL, ERR_NOT_FOUND },
                { "a=device=x", NULL, ERR_NOT_FOUND },
                { "", NULL, ERR_NOT_FOUND },
                { "&&", NULL, ERR_NOT_FOUND },
                { "device=%", NULL, ERR_INVALID },
                { "device=%4", NULL, ERR_INVALID },
                { "device=%4g", NULL, ERR_INVALID },
                { "device=%zz12345678", NULL, ERR_INVALID },
                { "device=a&device=a", NULL, ERR_INVALID },
                { "device=a&d%65vice=b", NULL, ERR_INVALID },
                { "device&device", NULL, ERR_INVALID },
        };

        for (size_t i = 0; i < countof(cases); i++) {
                struct head head = { .query = { cases[i].query, strlen(cases[i].query) } };
                char out[9] = "before";

                cr_assert(eq(int, head_param(&head, "device", out, sizeof(out)), cases[i].err),
                          "%s", cases[i].query);
                cr_assert(eq(str, out, (char *)(cases[i].err == OK ? cases[i].value : "before")));
        }
}

Test(head_param, refuses_an_encoded_nul)
{
        struct head head = { .query = { "a=%00", 5 } };
        char out[9];

        cr_assert(eq(int, head_param(&head, "a", out, sizeof(out)), ERR_INVALID));
}

Test(head_param, is_not_found_without_a_query)
{
        struct head head = { 0 };
        char out[9];

        cr_assert(eq(int, head_param(&head, "a", out, sizeof(out)), ERR_NOT_FOUND));
}

Test(slice, finds_tokens_in_lists_as_rfc_9110_writes_them)
{
        const char *list = " , websocket,\tH2C ,x;q=1,,";
        struct slice slice = { list, strlen(list) };

        cr_assert(slice_has_token(slice, "websocket"));
        cr_assert(slice_has_token(slice, "h2c"));
        cr_assert(not(slice_has_token(slice, "web")));
        cr_assert(not(slice_has_token(slice, "x")));
        cr_assert(not(slice_has_token((struct slice){ NULL, 0 }, "x")));
}

Test(slice, absent_is_not_empty)
{
        cr_assert(slice_is((struct slice){ "", 0 }, ""));
        cr_assert(not(slice_is((struct slice){ NULL, 0 }, "")));
        cr_assert(not(slice_is_nocase((struct slice){ NULL, 0 }, "")));
        cr_assert(slice_is_nocase((struct slice){ "WebSocket", 9 }, "websocket"));
        cr_assert(not(slice_is_nocase((struct slice){ "[", 1 }, "{")));
}
