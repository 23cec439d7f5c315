/* proto/proxy.c -- both versions, told apart by their first byte. Nothing is kept between two
 * calls: version 2 is decided by its 16 first bytes and a length, version 1 has at most 107 to look
 * at. */
#include "proto/proxy.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"

#define ADDRESSES_IPV4 12 /* two of 4 bytes, two ports */
#define ADDRESSES_IPV6 36

static const char v1_begin[] = "PROXY ";
static const uint8_t v2_begin[] = {
        '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'
};

/* --- version 1 ------------------------------------------------------------------------------- */

/* The text up to the next space, or to the end: moves `*at` past both. False: it is empty, or
 * longer than `size` - 1. */
static bool take_word(const char **at, const char *end, char *word, size_t size)
{
        const char *space = memchr(*at, ' ', (size_t)(end - *at));
        size_t len = (size_t)((space != NULL ? space : end) - *at);

        if (len == 0 || len >= size)
                return false;
        memcpy(word, *at, len);
        word[len] = '\0';
        *at += len + (space != NULL);
        return strlen(word) == len; /* or a NUL hid the rest from inet_pton */
}

/* Decimal, 0 to 65535, without leading zeros. */
static bool parse_port(const char *word, uint16_t *ret_port)
{
        unsigned long port = 0;

        if (word[0] == '0' && word[1] != '\0')
                return false;
        for (const char *at = word; *at != '\0'; at++) {
                if (*at < '0' || *at > '9')
                        return false;
                port = port * 10 + (unsigned)(*at - '0');
        }
        if (port > 65535) /* five digits at most: take_word() saw to it */
                return false;
        *ret_port = (uint16_t)port;
        return true;
}

/* What stands between "PROXY " and CRLF. */
static bool parse_line(const char *at, const char *end, struct proxy_header *header)
{
        char protocol[8], source[INET6_ADDRSTRLEN], target[INET6_ADDRSTRLEN], ports[2][6];
        uint8_t ignored[16];
        uint16_t target_port;
        int family;

        if (!take_word(&at, end, protocol, sizeof(protocol)))
                return false;
        if (strcmp(protocol, "UNKNOWN") == 0)
                return true; /* whatever follows must be ignored (2.1) */
        if (strcmp(protocol, "TCP4") == 0)
                family = AF_INET;
        else if (strcmp(protocol, "TCP6") == 0)
                family = AF_INET6;
        else
                return false;
        if (!take_word(&at, end, source, sizeof(source)) ||
            !take_word(&at, end, target, sizeof(target)) ||
            !take_word(&at, end, ports[0], sizeof(ports[0])) ||
            !take_word(&at, end, ports[1], sizeof(ports[1])) || at != end || end[-1] == ' ')
                return false;
        header->family = family == AF_INET ? PROXY_IPV4 : PROXY_IPV6;
        return inet_pton(family, source, header->source) == 1 &&
               inet_pton(family, target, ignored) == 1 &&
               parse_port(ports[0], &header->source_port) && parse_port(ports[1], &target_port);
}

static enum proxy_status parse_v1(const char *bytes, size_t len, struct proxy_header *header,
                                  size_t *used)
{
        const size_t begin = sizeof(v1_begin) - 1;
        size_t look = len < PROXY_V1_MAX ? len : PROXY_V1_MAX;
        const char *cr;

        if (memcmp(bytes, v1_begin, len < begin ? len : begin) != 0)
                return PROXY_BAD;
        cr = memchr(bytes, '\r', look);
        if (memchr(bytes, '\n', cr != NULL ? (size_t)(cr - bytes) : look) != NULL)
                return PROXY_BAD; /* a line that ends in LF alone */
        if (cr == NULL || cr + 1 == bytes + look)
                return len < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
        if (cr[1] != '\n' || (size_t)(cr - bytes) < begin || !parse_line(bytes + begin, cr, header))
                return PROXY_BAD;
        *used = (size_t)(cr + 2 - bytes);
        return PROXY_DONE;
}

/* --- version 2 ------------------------------------------------------------------------------- */

/* Bytes that the addresses of this family and protocol need; false: there is no such value (2.2).
 */
static bool parse_family(uint8_t byte, enum proxy_family *ret_family, size_t *ret_len)
{
        static const struct {
                uint8_t byte;
                enum proxy_family family;
                size_t len;
        } table[] = {
                { 0x00, PROXY_NO_ADDRESS, 0 },
                { 0x11, PROXY_IPV4, ADDRESSES_IPV4 },
                { 0x12, PROXY_NO_ADDRESS, ADDRESSES_IPV4 }, /* UDP: not this connection's */
                { 0x21, PROXY_IPV6, ADDRESSES_IPV6 },
                { 0x22, PROXY_NO_ADDRESS, ADDRESSES_IPV6 },
                { 0x31, PROXY_NO_ADDRESS, 216 }, /* Unix sockets have no address to limit by */
                { 0x32, PROXY_NO_ADDRESS, 216 },
        };

        for (size_t i = 0; i < countof(table); i++) {
                if (table[i].byte == byte) {
                        *ret_family = table[i].family;
                        *ret_len = table[i].len;
                        return true;
                }
        }
        return false;
}

static enum proxy_status parse_v2(const uint8_t *bytes, size_t len, struct proxy_header *header,
                                  size_t *used)
{
        enum { LOCAL = 0x20, PROXIED = 0x21 };
        enum proxy_family family = PROXY_NO_ADDRESS;
        size_t rest, needed = 0;

        if (memcmp(bytes, v2_begin, len < sizeof(v2_begin) ? len : sizeof(v2_begin)) != 0)
                return PROXY_BAD;
        if (len > 12 && bytes[12] != LOCAL && bytes[12] != PROXIED)
                return PROXY_BAD;
        if (len > 13 && !parse_family(bytes[13], &family, &needed))
                return PROXY_BAD;
        if (len < PROXY_V2_HEAD)
                return PROXY_MORE;
        rest = (size_t)bytes[14] << 8 | bytes[15];
        if (rest > PROXY_V2_REST_MAX || (bytes[12] == PROXIED && rest < needed))
                return PROXY_BAD;
        if (len < PROXY_V2_HEAD + rest)
                return PROXY_MORE;
        *used = PROXY_V2_HEAD + rest;
        if (bytes[12] == LOCAL || family == PROXY_NO_ADDRESS)
                return PROXY_DONE; /* the proxy's own check, or nothing it can tell */
        header->family = family;
        bytes += PROXY_V2_HEAD;
        memcpy(header->source, bytes, family == PROXY_IPV4 ? 4 : 16);
        bytes += family == PROXY_IPV4 ? 8 : 32; /* past both addresses */
        header->source_port = (uint16_t)(bytes[0] << 8 | bytes[1]);
        return PROXY_DONE;
}

/* --- both ------------------------------------------------------------------------------------ */

enum proxy_status proxy_parse(const void *bytes, size_t len, struct proxy_header *ret_header,
                              size_t *ret_used)
{
        struct proxy_header header = { .family = PROXY_NO_ADDRESS };
        enum proxy_status status;
        size_t used = 0;

        if (len == 0)
                return PROXY_MORE;
        if (*(const uint8_t *)bytes == v2_begin[0])
                status = parse_v2(bytes, len, &header, &used);
        else
                status = parse_v1(bytes, len, &header, &used);
        if (status == PROXY_DONE) {
                check(used <= len && used <= PROXY_MAX);
                *ret_header = header;
                *ret_used = used;
        }
        return status;
}
