/* base/redis.h -- one link to Redis: finds the server, connects (TCP, unix socket, TLS), authenticates,
 * verifies who answers, reconnects with full-jitter backoff (50 ms .. 1 s), gives every command a deadline,
 * and serves either commands or one subscription. hiredis writes and reads the protocol (redis_wire.c, the
 * only file that includes it); libevent carries the bytes. Knows nothing of Kickoff.
 *
 * hiredis' own async API is not used: in version 0.14 (Debian 12) it has no deadlines and no TLS, leaks a
 * callback on PING while subscribed, aborts on sharded pub/sub, and looks names up in the loop.
 *
 * Happy path: create -> find (sentinel, or the configured hosts in turn) -> connect -> greet: AUTH, SELECT,
 * CLIENT SETNAME, INFO (who are you?), EXISTS slot_key (cluster: is it yours?), PING (can you serve?)
 * -> REDIS_UP -> commands, replies in order.
 * Failure: a deadline passes, or the socket breaks -> every waiting command gets a NULL reply (outcome
 * unknown) -> REDIS_DOWN -> find and connect anew. A command given while down is refused at once.
 *   Not a primary: a link that wants one does not come up on a replica, and goes down when told READONLY.
 *   MOVED: the link goes down and comes up, at once, where the slot lives now. A command that was answered
 *   MOVED was not carried out; its owner sees that error reply.
 *   Sentinel: while up, one sentinel after another is asked once a second. Another primary of a higher
 *   config-epoch -> the link goes down and follows. An answer of a lower config-epoch is a stale
 *   sentinel's, and ignored.
 * A host name is looked up anew at each attempt, without blocking the loop; while the resolver is silent
 * the last address that worked is used.
 *
 * SIGPIPE: the process must ignore it (OpenSSL writes without MSG_NOSIGNAL); redis_create() does so unless
 * the program handles it already.
 *
 * One thread: the one that runs `base`. Callbacks never run from inside redis_create(), redis_command(),
 * redis_drop() or redis_destroy() -- but for the NULL replies of the latter -- and never after
 * redis_destroy(); a callback may call redis_destroy(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct redis;

#define REDIS_URL_MAX   2048
#define REDIS_HOSTS_MAX 16

enum redis_scheme { REDIS_TCP, REDIS_UNIX, REDIS_SENTINEL };

struct redis_host {
        char host[256]; /* name or address, IPv6 without brackets */
        uint16_t port;
};

struct redis_address { /* where and as whom; filled by redis_parse_url */
        enum redis_scheme scheme;
        char path[108]; /* UNIX */
        unsigned n_hosts;
        struct redis_host hosts[REDIS_HOSTS_MAX]; /* TCP: servers, tried in turn; SENTINEL: the sentinels */
        char primary[64];                         /* SENTINEL: the name the sentinels know it by */
        char user[128], password[128];            /* empty = none */
        char sentinel_password[128];
        unsigned database;
        bool tls;
        char ca_file[256], cert_file[256], key_file[256]; /* TLS; empty = the system's, none, none */
};

/* redis://[user[:password]@]host[:port][,host[:port]..][/db]
 * rediss://... the same over TLS, the server's certificate verified for the host's name or address;
 *          ?ca=FILE&cert=FILE&key=FILE, each optional
 * unix:///path[?db=N]
 * sentinel://[user[:password]@]host[:port],.../name[?db=N][&sentinel_password=P]; port 26379 if none
 * Several hosts of redis:// are seeds of one cluster, or a primary and its replicas. ERR_INVALID: *ret_why
 * is a sentence for the user. */
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

/* Who answers, in its own words (INFO server replication). */
struct redis_server {
        char version[32]; /* Redis' own; Valkey says 7.2.4 there */
        char run_id[41];  /* drawn at each start of the process */
        char replid[41];  /* drawn at each start as, or promotion to, a primary: the same id and offset mean
                           * the same data (Redis documentation, "Replication") */
        bool is_cluster, is_primary;
        unsigned replicas; /* connected ones; primaries only */
        char primary[300]; /* replicas: "host:port" of theirs */
};
/* From the text of an INFO reply that has the sections server and replication. ERR_INVALID. */
must_check enum err redis_parse_info(const char *text, struct redis_server *ret_server);

struct redis_options {
        struct redis_address address;
        const char *name;        /* for CLIENT SETNAME and logs, "commands"; borrowed for ever */
        unsigned timeout_ms;     /* per command, and for connecting; 0 = 2000 */
        bool primary;            /* only a primary will do */
        const char *slot_key;    /* a key whose slot this link is for: in a cluster, MOVED is followed to its
                                  * primary. NULL = none. Borrowed for ever */
        redis_state_fn *on_state; /* up after the greeting; down once per loss, and again when the reason why
                                     it stays down changes. `why` is borrowed. May be NULL */
        void *owner;
};

must_check enum err redis_create(struct event_base *base, const struct redis_options *options,
                                 struct redis **ret_redis);
void redis_destroy(struct redis *redis); /* waiting commands get NULL replies first; NULL is fine */
bool redis_is_up(const struct redis *redis);
const struct redis_server *redis_server(const struct redis *redis); /* of the last greeting; borrowed */
const char *redis_peer(const struct redis *redis); /* "host:port" or the path it is, or was last, linked to */

/* Give up this link, for `why`, and find the server anew. For an owner who knows better. Nothing if down. */
void redis_drop(struct redis *redis, const char *why);

/* argv/lens are copied before the return. `lens` NULL = NUL-terminated. ERR_UNAVAILABLE when down: the
 * callback is then never called and nothing was sent. on_reply may be NULL. */
must_check enum err redis_command(struct redis *redis, redis_reply_fn *on_reply, void *owner, int argc,
                                  const char *const *argv, const size_t *lens);

/* Turn this link into a subscriber of a channel: subscribed again after each reconnect, and once a
 * second as a sign of life (no answer within the deadline = link lost). In a cluster the subscription is a
 * sharded one (SSUBSCRIBE), as the channel's messages must be (SPUBLISH). on_state REDIS_UP then means
 * "subscribed". Call once, right after redis_create(). `channel` is copied. */
must_check enum err redis_subscribe(struct redis *redis, const char *channel, redis_message_fn *on_message,
                                    void *owner);
/* One more channel for the same on_message; right after redis_subscribe(). In a cluster all must be in one
 * slot. REDIS_UP means that all are subscribed. */
#define REDIS_CHANNELS_MAX 4
must_check enum err redis_subscribe_also(struct redis *redis, const char *channel);
