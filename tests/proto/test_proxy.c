/* The PROXY header as HAProxy's proxy-protocol.txt writes it. Every row is read whole, with bytes
 * after it, and cut at each place. */
#include "proto/proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/check.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static uint8_t bytes[PROXY_MAX + 64];
static struct proxy_header header;
static size_t used;

static enum proxy_status parse(size_t len)
{
        memset(&header, 0xee, sizeof(header));
        used = 0xeeee;
        return proxy_parse(bytes, len, &header, &used);
}

/* A version 2 header whose addresses and TLVs are `rest` bytes; the addresses are counted up. */
static size_t v2(uint8_t command, uint8_t family, size_t rest)
{
        memcpy(bytes, SIGNATURE, 12);
        bytes[12] = command;
        bytes[13] = family;
        bytes[14] = (uint8_t)(rest >> 8);
        bytes[15] = (uint8_t)rest;
        for (size_t i = 0; i < rest && i < PROXY_V2_REST_MAX + 16; i++)
                bytes[PROXY_V2_HEAD + i] = (uint8_t)(i + 1);
        return PROXY_V2_HEAD + rest;
}

static size_t v1(const char *line)
{
        size_t len = strlen(line);

        memcpy(bytes, line, len);
        return len;
}

/* Every prefix is MORE, the whole is DONE, and what follows is left. */
static void expect_header(size_t len, enum proxy_family family, const char *source, uint16_t port)
{
        uint8_t want[16] = { 0 };

        for (size_t n = 0; n < len; n++)
                cr_assert(eq(int, parse(n), PROXY_MORE), "%zu of %zu bytes", n, len);
        memcpy(bytes + len, "GET / HTTP/1.1\r\n", 16);
        for (size_t more = 0; more <= 16; more += 16) {
                cr_assert(eq(int, parse(len + more), PROXY_DONE));
                cr_assert(eq(sz, used, len));
                cr_assert(eq(int, header.family, family));
                if (source != NULL)
                        cr_assert(eq(
                            int, inet_pton(family == PROXY_IPV4 ? AF_INET : AF_INET6, source, want),
                            1));
                cr_assert(zero(int, memcmp(header.source, want, 16)));
                cr_assert(eq(u16, header.source_port, port));
        }
}

/* --- version 1 ------------------------------------------------------------------------------- */

Test(proxy, reads_the_lines_of_version_1)
{
        static const struct {
                const char *line;
                enum proxy_family family;
                const char *source;
                uint16_t port;
        } table[] = {
                { "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", PROXY_IPV4, "192.0.2.7",
                  56324 },
                { "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", PROXY_IPV4,
                  "255.255.255.255", 65535 },
                { "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", PROXY_IPV4, "0.0.0.0", 0 },
                { "PROXY TCP6 2001:db8::7 ::1 1 2\r\n", PROXY_IPV6, "2001:db8::7", 1 },
                { "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                  PROXY_IPV6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535 },
                { "PROXY UNKNOWN\r\n", PROXY_NO_ADDRESS, NULL, 0 },
                { "PROXY UNKNOWN whatever it likes\r\n", PROXY_NO_ADDRESS, NULL, 0 },
        };

        for (size_t i = 0; i < countof(table); i++)
                expect_header(v1(table[i].line), table[i].family, table[i].source, table[i].port);
}

Test(proxy, refuses_other_lines_and_never_waits_after_their_end)
{
        static const char *const table[] = {
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
                "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
                "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
                "PROXY TCP4 192.0.2.7 198.51.100.1 056 443\r\n",
                "PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
                "PROXY TCP4 192.0.2.07 198.51.100.1 1 443\r\n",
                "PROXY TCP4 192.0.2 198.51.100.1 1 443\r\n",
                "PROXY TCP4 ::1 ::1 1 443\r\n",
                "PROXY TCP6 192.0.2.7 ::1 1 443\r\n",
                "PROXY TCP6 2001:db8::g ::1 1 443\r\n",
                "PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
                "PROXY tcp4 192.0.2.7 198.51.100.1 1 443\r\n",
                "PROXY \r\n",
                "PROXY\r\n",
                "PROXY UNKNOWN\n",
                "PROXY UNKNOWN\r\r\n",
                "PROXY UNKNOWNS\r\n",
                "proxy UNKNOWN\r\n",
        };

        for (size_t i = 0; i < countof(table); i++)
                cr_assert(eq(int, parse(v1(table[i])), PROXY_BAD), "%s", table[i]);
        memcpy(bytes, "PROXY TCP4 1.2.3.4\0x 1.2.3.4 1 2\r\n", 35);
        cr_assert(eq(int, parse(35), PROXY_BAD));
}

Test(proxy, a_line_has_107_bytes_at_most)
{
        for (size_t len = PROXY_V1_MAX; len <= PROXY_V1_MAX + 1; len++) {
                memset(bytes, 'x', sizeof(bytes));
                memcpy(bytes, "PROXY UNKNOWN ", 14);
                memcpy(bytes + len - 2, "\r\n", 2);
                cr_assert(eq(int, parse(PROXY_V1_MAX - 1), PROXY_MORE));
                if (len == PROXY_V1_MAX) {
                        expect_header(len, PROXY_NO_ADDRESS, NULL, 0);
                } else {
                        cr_assert(
                            eq(int, parse(PROXY_V1_MAX), PROXY_BAD)); /* it cannot end in time */
                        cr_assert(eq(int, parse(len), PROXY_BAD));
                }
        }
}

/* --- version 2 ------------------------------------------------------------------------------- */

Test(proxy, reads_the_addresses_of_version_2)
{
        expect_header(v2(0x21, 0x11, 12), PROXY_IPV4, "1.2.3.4", 9 << 8 | 10);
        expect_header(v2(0x21, 0x21, 36), PROXY_IPV6, "102:304:506:708:90a:b0c:d0e:f10",
                      33 << 8 | 34);
}

Test(proxy, skips_what_follows_the_addresses_up_to_536_bytes)
{
        expect_header(v2(0x21, 0x11, 13), PROXY_IPV4, "1.2.3.4", 9 << 8 | 10);
        expect_header(v2(0x21, 0x21, PROXY_V2_REST_MAX), PROXY_IPV6,
                      "102:304:506:708:90a:b0c:d0e:f10", 33 << 8 | 34);
        cr_assert(eq(int, parse(v2(0x21, 0x21, PROXY_V2_REST_MAX + 1)), PROXY_BAD));
        v2(0x21, 0x21, PROXY_V2_REST_MAX + 1);
        cr_assert(eq(int, parse(PROXY_V2_HEAD), PROXY_BAD)); /* known by its length alone */
        v2(0x20, 0x00, 65535);
        cr_assert(eq(int, parse(PROXY_V2_HEAD), PROXY_BAD));
}

Test(proxy, version_2_may_tell_no_address)
{
        expect_header(v2(0x20, 0x00, 0), PROXY_NO_ADDRESS, NULL, 0);  /* LOCAL: a health check */
        expect_header(v2(0x20, 0x11, 12), PROXY_NO_ADDRESS, NULL, 0); /* LOCAL beats the family */
        expect_header(v2(0x20, 0x11, 0), PROXY_NO_ADDRESS, NULL, 0);
        expect_header(v2(0x21, 0x00, 0), PROXY_NO_ADDRESS, NULL, 0); /* UNSPEC */
        expect_header(v2(0x21, 0x00, 7), PROXY_NO_ADDRESS, NULL, 0);
        expect_header(v2(0x21, 0x12, 12), PROXY_NO_ADDRESS, NULL, 0);  /* UDP */
        expect_header(v2(0x21, 0x31, 216), PROXY_NO_ADDRESS, NULL, 0); /* Unix */
}

Test(proxy, refuses_other_version_2_headers_as_soon_as_it_can)
{
        cr_assert(eq(int, parse(v2(0x21, 0x11, 11)), PROXY_BAD)); /* addresses do not fit */
        cr_assert(eq(int, parse(v2(0x21, 0x21, 35)), PROXY_BAD));
        cr_assert(eq(int, parse(v2(0x21, 0x31, 215)), PROXY_BAD));
        for (unsigned command = 0; command < 256; command++) {
                v2((uint8_t)command, 0x11, 12);
                cr_assert(eq(int, parse(13),
                             command == 0x20 || command == 0x21 ? PROXY_MORE : PROXY_BAD));
        }
        for (unsigned family = 0; family < 256; family++) {
                bool known = family == 0 || (family >> 4 >= 1 && family >> 4 <= 3 &&
                                             (family & 15) >= 1 && (family & 15) <= 2);

                v2(0x21, (uint8_t)family, 216);
                cr_assert(eq(int, parse(14), known ? PROXY_MORE : PROXY_BAD), "%02x", family);
        }
}

/* --- neither --------------------------------------------------------------------------------- */

Test(proxy, any_other_first_byte_is_bad_at_once)
{
        for (unsigned first = 0; first < 256; first++) {
                bytes[0] = (uint8_t)first;
                cr_assert(
                    eq(int, parse(1), first == 'P' || first == '\r' ? PROXY_MORE : PROXY_BAD));
        }
        cr_assert(eq(int, parse(v1("GET / HTTP/1.1\r\n")), PROXY_BAD));
        cr_assert(eq(int, parse(v1("PU")), PROXY_BAD));
        cr_assert(eq(int, parse(v1("\r\n\r\nG")), PROXY_BAD));
}

Test(proxy, leaves_its_outputs_alone_unless_done)
{
        struct proxy_header untouched;

        memset(&untouched, 0xee, sizeof(untouched));
        cr_assert(eq(int, parse(v1("PROXY TCP4 192.0.2.7 198.51.100.1 1 x\r\n")), PROXY_BAD));
        cr_assert(eq(sz, used, 0xeeee));
        cr_assert(zero(int, memcmp(&header, &untouched, sizeof(header))));
}
