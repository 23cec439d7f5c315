/* base/redis_wire.h -- one connection that speaks Redis' protocol: commands go in, replies come
 * out, in order. Connects, does TLS where asked, writes and parses (hiredis' codec). Knows no
 * command, keeps no deadline, never comes back: whoever made it decides all that.
 *
 * Replies are read from the socket before any is handed out, for up to 20 ms at a time: Redis cuts
 * off a subscriber that reads too slowly (client-output-buffer-limit). What waits in here is
 * bounded by 64 MiB, and so is one reply; an array may have 1,048,576 members and be nested as deep
 * as hiredis parses (7).
 *
 * One thread. Callbacks run from the loop only, never from inside a call, and not after destroy;
 * each may destroy the wire. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/redis.h"

struct redis_wire;

struct redis_wire_options {
        const struct sockaddr *address; /* borrowed until redis_wire_create() returns */
        socklen_t address_len;
        const struct redis_address *tls; /* its certificate files; NULL = no TLS. Borrowed */
        const char *host;                /* TLS: whose certificate it must be. Borrowed */
        void (*on_open)(void *owner);    /* connected, with TLS: and verified */
        redis_reply_fn *on_reply;        /* never NULL */
        void (*on_lost)(void *owner, const char *why); /* once, last; `why` is borrowed */
        void *owner;
};

must_check enum err redis_wire_create(struct event_base *base,
                                      const struct redis_wire_options *options,
                                      struct redis_wire **ret_wire);
void redis_wire_destroy(struct redis_wire *wire); /* NULL is fine */

/* After on_open. Copied before the return; ERR_NOMEM: nothing was sent. */
must_check enum err redis_wire_send(struct redis_wire *wire, int argc, const char *const *argv,
                                    const size_t *lens);
/* Something has come that has not been handed out yet: the peer is alive. */
bool redis_wire_has_input(const struct redis_wire *wire);
