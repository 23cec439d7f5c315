/* base/redis.h -- one link to Redis over hiredis' async API and libevent: connects, authenticates,
 * reconnects with full-jitter backoff (50 ms .. 1 s), and gives every command a deadline, which hiredis
 * 0.14 (Debian 12) cannot do itself. The only file that includes hiredis. Knows nothing of Kickoff.
 *
 * Happy path: create -> REDIS_UP -> commands, replies in order.
 * Failure: a deadline passes, or the socket breaks -> every waiting command gets a NULL reply (outcome
 * unknown) -> REDIS_DOWN -> reconnect by itself. A command given while down is refused at once.
 * A link with a subscription serves only that: with hiredis 0.14 a PING there leaks, so liveness is
 * asked by subscribing again to the same channel, once a second.
 *
 * A host name is looked up anew at each attempt, by hiredis, which blocks the loop for as long as the
 * system's resolver takes: give an address where that resolver may hang.
 *
 * SIGPIPE: hiredis writes without MSG_NOSIGNAL, so the process must ignore it; redis_create() does so
 * unless the program handles it already.
 *
 * One thread: the one that runs `base`. Callbacks never run from inside redis_create(), redis_command()
 * or redis_destroy(), and never after redis_destroy(); a callback may call redis_destroy(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct redis;

#define REDIS_URL_MAX 512

enum redis_scheme { REDIS_TCP, REDIS_UNIX };

struct redis_address { /* where and as whom; filled by redis_parse_url */
        enum redis_scheme scheme;
        char host[256]; /* TCP: name or address. UNIX: the socket's path */
        uint16_t port;  /* TCP */
        char user[128], password[128]; /* empty = none */
        unsigned database;
};

/* redis://[user[:password]@]host[:port][/db], unix:///path[?db=N]. `rediss://` and `sentinel://` give
 * ERR_UNSUPPORTED; *ret_why then (and for ERR_INVALID) is a sentence for the user. */
must_check enum err redis_parse_url(const char *url, struct redis_address *ret_address, const char **ret_why);

enum redis_state { REDIS_DOWN, REDIS_UP };
typedef void redis_state_fn(void *owner, enum redis_state state, const char *why);

/* A reply, readable without hiredis. Borrowed until the callback returns. */
enum redis_type { REDIS_NIL, REDIS_STRING, REDIS_STATUS, REDIS_ERROR, REDIS_INTEGER, REDIS_ARRAY };
struct redis_reply;
enum redis_type redis_type(const struct redis_reply *reply);
const char *redis_text(const struct redis_reply *reply, size_t *ret_len); /* string, status, error; else "" */
int64_t redis_integer(const struct redis_reply *reply);                   /* integer; else 0 */
size_t redis_count(const struct redis_reply *reply);                      /* array; else 0 */
const struct redis_reply *redis_at(const struct redis_reply *reply, size_t i); /* NULL past the end */

/* Exactly once per accepted command. reply == NULL: no answer came (deadline or broken link), so it
 * is unknown whether the command was carried out. */
typedef void redis_reply_fn(void *owner, const struct redis_reply *reply);
/* One published message. Bytes are borrowed until the call returns. */
typedef void redis_message_fn(void *owner, const char *bytes, size_t len);

struct redis_options {
        struct redis_address address;
        const char *name;        /* for CLIENT SETNAME and logs, "commands"; borrowed for ever */
        unsigned timeout_ms;     /* per command, and for connecting; 0 = 2000 */
        redis_state_fn *on_state; /* up after authentication; down once per loss, and again when the
                                     reason why it stays down changes. `why` is borrowed. May be NULL */
        void *owner;
};

must_check enum err redis_create(struct event_base *base, const struct redis_options *options,
                                 struct redis **ret_redis);
void redis_destroy(struct redis *redis); /* waiting commands get NULL replies first; NULL is fine */
bool redis_is_up(const struct redis *redis);

/* argv/lens are copied before the return. `lens` NULL = NUL-terminated. ERR_UNAVAILABLE when down: the
 * callback is then never called and nothing was sent. on_reply may be NULL. */
must_check enum err redis_command(struct redis *redis, redis_reply_fn *on_reply, void *owner, int argc,
                                  const char *const *argv, const size_t *lens);

/* Turn this link into a subscriber of one channel: subscribed again after each reconnect, and once a
 * second as a sign of life (no answer within the deadline = link lost). on_state REDIS_UP then means
 * "subscribed". Call once, right after redis_create(). `channel` is copied. */
must_check enum err redis_subscribe(struct redis *redis, const char *channel, redis_message_fn *on_message,
                                    void *owner);
