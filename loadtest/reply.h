/* loadtest/reply.h -- the head of an HTTP/1.1 response, as far as a simulated device needs it. A
 * reader for the load side: it expects our own node, so it takes what it knows and calls anything
 * odd broken. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_HEAD_MAX 4096 /* bytes: more is broken */
#define REPLY_ETAG_MAX 80

struct reply {
        unsigned status;
        bool has_length;
        uint64_t length;      /* Content-Length */
        uint32_t retry_after; /* s; 0 = absent */
        bool has_bundle;
        uint64_t bundle;               /* Kickoff-Bundle */
        char etag[REPLY_ETAG_MAX + 1]; /* with its quotes; "" = absent */
        char accept[29];               /* Sec-WebSocket-Accept; "" = absent */
        char protocol[33];             /* Sec-WebSocket-Protocol; "" = absent */
};

enum reply_status { REPLY_MORE, REPLY_DONE, REPLY_BROKEN };

/* *ret_used bytes belong to the head; *ret_reply and it are set on REPLY_DONE only. */
enum reply_status reply_parse(const char *bytes, size_t len, struct reply *ret_reply,
                              size_t *ret_used);
