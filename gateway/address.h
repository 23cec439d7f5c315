/* gateway/address.h -- whose a connection is, as far as limits care: an address, the key it is
 * counted under, and the ranges whose word about others is believed. Pure; knows no sockets, only
 * their sockaddr. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/proxy.h"

struct sockaddr;

struct address { /* an IPv6 address; an IPv4 one as ::ffff:a.b.c.d (RFC 4291 2.5.5.2) */
        uint8_t bytes[16];
};

/* Neither AF_INET nor AF_INET6: all zero. */
struct address address_of_socket(const struct sockaddr *socket);
struct address address_of_proxy(const struct proxy_header *header); /* not with PROXY_NO_ADDRESS */

/* What is counted together: one IPv4 address, whether it came as itself, mapped, or translated
 * (64:ff9b::/96, RFC 6052), or one IPv6 /64, which is what a single household or phone is given and
 * can draw addresses from at will (RFC 6177). Never ADDRESS_NOBODY. */
#define ADDRESS_NOBODY UINT64_C(0) /* of those who are not counted */
uint64_t address_key(const struct address *address);

#define ADDRESS_RANGES_MAX 64

struct address_ranges {
        unsigned n;
        struct address_range {
                struct address first; /* bits beyond `bits` are zero */
                unsigned bits;        /* 0..128; of IPv4: 96 more than in its text */
        } at[ADDRESS_RANGES_MAX];
};

/* "10.0.0.0/8,2001:db8::/32,192.0.2.7": a comma list; without a length a single address.
 * ERR_INVALID, ERR_TOO_LARGE: *ret_why is a sentence for the operator, valid until the next call on
 * this thread. */
must_check enum err address_ranges_parse(const char *text, struct address_ranges *ret_ranges,
                                         const char **ret_why);
bool address_ranges_hold(const struct address_ranges *ranges, const struct address *address);
