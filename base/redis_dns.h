/* base/redis_dns.h -- names to addresses without ever blocking the loop: the system's own resolver
 * (with /etc/hosts and all that nsswitch.conf names) asked on a thread of its own, given up at a
 * deadline. While it is silent or in trouble, the address that worked last is used; a name that
 * does not exist is told.
 *
 * A resolver that hangs keeps its thread until it ends by itself (resolv.conf: timeout, attempts).
 * There are never more than 8 such threads in the process; a question beyond counts as unanswered.
 *
 * Callbacks run from the loop, never from inside a call. */
#pragma once

#include <netdb.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"

#define REDIS_ADDRESSES_MAX 8

struct event_base;
struct redis_dns;    /* remembers what worked */
struct redis_lookup; /* one question; gone with its answer */

struct redis_addresses {
        unsigned n;
        struct sockaddr_storage address[REDIS_ADDRESSES_MAX]; /* in the order to be tried */
        socklen_t len[REDIS_ADDRESSES_MAX];
};

must_check enum err redis_dns_create(struct event_base *base, struct redis_dns **ret_dns);
void redis_dns_destroy(struct redis_dns *dns); /* after its lookups; NULL is fine */

/* `found` NULL: `why` is a sentence, borrowed. Both are borrowed until the return. */
typedef void redis_lookup_fn(void *owner, const struct redis_addresses *found, const char *why);
/* An address needs no resolver. `host` is copied. */
must_check enum err redis_dns_ask(struct redis_dns *dns, const char *host, uint16_t port,
                                  unsigned timeout_ms, redis_lookup_fn *done, void *owner,
                                  struct redis_lookup **ret_lookup);
void redis_lookup_cancel(struct redis_lookup *lookup); /* NULL is fine */
void redis_dns_worked(struct redis_dns *dns, const char *host,
                      const struct sockaddr_storage *address, socklen_t len);

/* For tests: what to call instead of getaddrinfo(), with a result that freeaddrinfo() frees; NULL =
 * that again. */
typedef int redis_resolver_fn(const char *host, const char *port, const struct addrinfo *hints,
                              struct addrinfo **ret_list);
void redis_dns_set_resolver(redis_resolver_fn *resolver);
