/* base/redis_tls.h -- TLS for a connection to Redis: version 1.2 or later, the server's certificate
 * verified always, for the host's name or address (RFC 6125; no partial wildcards). The files are
 * read anew for each connection, so renewed certificates need no restart. Only file of base that
 * includes OpenSSL's ssl.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/redis.h"

struct bufferevent;

/* Starts the handshake over the connected socket `fd`; the bufferevent says BEV_EVENT_CONNECTED
 * once the server is verified, and closes `fd` when freed. NULL: *ret_why is a sentence, borrowed
 * until the next call; `fd` is still the caller's. */
struct bufferevent *redis_tls_bufferevent(struct event_base *base, int fd,
                                          const struct redis_address *address, const char *host,
                                          const char **ret_why);
/* Why such a bufferevent failed. False: not for a reason of TLS's. */
bool redis_tls_explain(struct bufferevent *bytes, const char *host, char *text, size_t size);
