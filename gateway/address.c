/* gateway/address.c -- everything is made IPv6 first, so that there is one way to compare. */
#include "gateway/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };               /* ::ffff:0:0/96 */
static const uint8_t translated[12] = { 0x00, 0x64, [2] = 0xff, [3] = 0x9b }; /* 64:ff9b::/96 */

static struct address of_ipv4(const void *bytes)
{
        struct address address;

        memcpy(address.bytes, mapped, sizeof(mapped));
        memcpy(address.bytes + sizeof(mapped), bytes, 4);
        return address;
}

struct address address_of_socket(const struct sockaddr *socket)
{
        struct address address = { { 0 } };

        if (socket->sa_family == AF_INET)
                return of_ipv4(&((const struct sockaddr_in *)socket)->sin_addr);
        if (socket->sa_family == AF_INET6)
                memcpy(address.bytes, &((const struct sockaddr_in6 *)socket)->sin6_addr, 16);
        return address;
}

struct address address_of_proxy(const struct proxy_header *header)
{
        struct address address;

        check(header->family != PROXY_NO_ADDRESS);
        if (header->family == PROXY_IPV4)
                return of_ipv4(header->source);
        memcpy(address.bytes, header->source, 16);
        return address;
}

static uint64_t big_endian(const uint8_t *bytes, unsigned n)
{
        uint64_t number = 0;

        for (unsigned i = 0; i < n; i++)
                number = number << 8 | bytes[i];
        return number;
}

/* Both below lie in ::/8, which holds no network of anybody's (RFC 4291 2.5): no /64 has these
 * numbers. */
uint64_t address_key(const struct address *address)
{
        uint64_t network = big_endian(address->bytes, 8);

        if (memcmp(address->bytes, mapped, sizeof(mapped)) == 0 ||
            memcmp(address->bytes, translated, sizeof(translated)) == 0)
                return UINT64_C(0xffff) << 32 | big_endian(address->bytes + 12, 4);
        return network != 0 ? network : 1; /* ::/64, where ::1 lives */
}

/* --- ranges ---------------------------------------------------------------------------------- */

static bool is_within(const struct address *address, const struct address *first, unsigned bits)
{
        unsigned whole = bits / 8, rest = bits % 8;

        if (memcmp(address->bytes, first->bytes, whole) != 0)
                return false;
        return rest == 0 || (address->bytes[whole] ^ first->bytes[whole]) >> (8 - rest) == 0;
}

bool address_ranges_hold(const struct address_ranges *ranges, const struct address *address)
{
        for (unsigned i = 0; i < ranges->n; i++)
                if (is_within(address, &ranges->at[i].first, ranges->at[i].bits))
                        return true;
        return false;
}

/* "24" after the slash; false if it is no number from 0 to `max`. */
static bool parse_bits(const char *text, unsigned max, unsigned *ret_bits)
{
        unsigned bits = 0;

        if (*text == '\0' || strlen(text) > 3)
                return false;
        for (; *text != '\0'; text++) {
                if (*text < '0' || *text > '9')
                        return false;
                bits = bits * 10 + (unsigned)(*text - '0');
        }
        *ret_bits = bits;
        return bits <= max;
}

/* NULL, or what is wrong with it. `text` is cut in two. */
static const char *parse_range(char *text, struct address_range *range)
{
        char *slash = strchr(text, '/');
        uint8_t ipv4[4];
        unsigned before = 0, bits;

        if (slash != NULL)
                *slash++ = '\0';
        if (inet_pton(AF_INET, text, ipv4) == 1) {
                range->first = of_ipv4(ipv4);
                before = 96;
        } else if (inet_pton(AF_INET6, text, range->first.bytes) != 1) {
                return "is no numeric address; give ranges such as 10.0.0.0/8 or 2001:db8::/32";
        }
        bits = 128 - before;
        if (slash != NULL && !parse_bits(slash, 128 - before, &bits))
                return before ? "has no length from 0 to 32 after the slash"
                              : "has no length from 0 to 128 after the slash";
        range->bits = before + bits;
        for (unsigned bit = range->bits; bit < 128; bit++)
                if (range->first.bytes[bit / 8] & 0x80 >> bit % 8)
                        return "has bits set beyond its length; give the first address of the range";
        return NULL;
}

enum err address_ranges_parse(const char *text, struct address_ranges *ret_ranges,
                              const char **ret_why)
{
        static _Thread_local char why[192];
        struct address_ranges ranges = { 0 };

        for (const char *at = text;; at++) {
                size_t len = strcspn(at, ",");
                char one[INET6_ADDRSTRLEN + 8];
                const char *wrong = "is too long for an address";

                snprintf(one, sizeof(one), "%.*s", (int)(len < sizeof(one) ? len : sizeof(one)),
                         at);
                if (ranges.n == ADDRESS_RANGES_MAX) {
                        *ret_why = "at most 64 ranges";
                        return ERR_TOO_LARGE;
                }
                if (len < sizeof(one))
                        wrong = parse_range(one, &ranges.at[ranges.n++]);
                if (wrong != NULL) {
                        snprintf(why, sizeof(why), "'%.*s' %s", len < 60 ? (int)len : 60, at,
                                 wrong);
                        *ret_why = why;
                        return ERR_INVALID;
                }
                at += len;
                if (*at == '\0')
                        break;
        }
        *ret_ranges = ranges;
        return OK;
}
