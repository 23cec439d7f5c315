/* proto/proxy.h -- the header that a TCP load balancer puts before a connection's own bytes, to say
 * whose connection it is: PROXY protocol version 1 (a line) and 2 (binary), as HAProxy's
 * proxy-protocol.txt writes them. Strict, bounded, and sure of itself early: what cannot become a
 * header any more is BAD at once, so nobody waits for the rest of something else. Whom to believe
 * is the caller's business. Pure; the bytes stay the caller's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PROXY_V1_MAX  107 /* the line with its CRLF (2.1): longer is BAD */
#define PROXY_V2_HEAD 16  /* signature, version and command, family, length (2.2) */
#define PROXY_V2_REST_MAX \
        536 /* addresses and TLVs (2.2 promises no more than 536): longer is BAD */
#define PROXY_MAX (PROXY_V2_HEAD + PROXY_V2_REST_MAX)

enum proxy_status {
        PROXY_MORE, /* may become a header: not complete yet */
        PROXY_DONE, /* *ret_header is filled, *ret_used bytes belong to it */
        PROXY_BAD   /* no header, now or later */
};

enum proxy_family {
        PROXY_NO_ADDRESS, /* UNKNOWN, LOCAL, or a family that is not TCP: the proxy does not say */
        PROXY_IPV4,       /* the first 4 bytes of `source` */
        PROXY_IPV6
};

struct proxy_header {
        enum proxy_family family;
        uint8_t source[16];   /* network order; zero-filled where unused */
        uint16_t source_port; /* 0 with PROXY_NO_ADDRESS */
};

/* `len` bytes have arrived so far, the first of the connection; the same call again when there are
 * more. TLVs (2.2.1) are skipped. Outputs are untouched unless DONE. */
enum proxy_status proxy_parse(const void *bytes, size_t len, struct proxy_header *ret_header,
                              size_t *ret_used);
