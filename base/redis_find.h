/* base/redis_find.h -- which server comes next: the configured hosts in turn, whom a MOVED pointed
 * to, or whom the sentinels name; each host's addresses in turn. Talks to sentinels and resolver,
 * never to a server: whether a candidate is any good, its owner finds out.
 *
 *   start -> found -> (owner connects) -> worked -> ... lost -> again -> start
 *                                      `-> give_up -> start          moved: follow, again -> start
 *
 * Callbacks run from the loop, never from inside a call. */
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include "base/redis.h"

struct redis_find;

struct redis_candidate {
        struct sockaddr_storage address;
        socklen_t len;
        const char *host; /* as it was named, for TLS; borrowed until the next start */
        const char *peer; /* "host:port", "[v6]:port" or the path; borrowed alike */
};

struct redis_find_events {
        void (*found)(void *owner, const struct redis_candidate *candidate);
        void (*failed)(void *owner, const char *why); /* no candidate this time */
        void (*moved)(void *owner, const char *why);  /* after worked(): sentinels name another */
        void *owner;
};

/* `address` is borrowed for as long as the result lives. */
must_check enum err redis_find_create(struct event_base *base, const struct redis_address *address,
                                      unsigned timeout_ms, const struct redis_find_events *events,
                                      struct redis_find **ret_find);
void redis_find_destroy(struct redis_find *find); /* NULL is fine */

void redis_find_start(struct redis_find *find); /* ends with found or failed, once */
/* The candidate was no good, or there was none. True: all were tried, so a pause is due. */
must_check bool redis_find_give_up(struct redis_find *find);
void redis_find_worked(struct redis_find *find); /* it is up; sentinels are watched from now on */
void redis_find_again(struct redis_find *find); /* it was up and is lost: look everything up anew */
/* `text` is "MOVED slot host:port": that one is next. False: it is something else. */
must_check bool redis_find_follow(struct redis_find *find, const char *text);
