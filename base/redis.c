/* base/redis.c -- decides when to connect, how long to wait and when a link counts as lost; refuses
 * to know what the commands mean.
 *
 * Happy path: on_timer (LINK_WAITING) connects -> on_connect sends the greeting (AUTH, SELECT,
 * CLIENT SETNAME, PING) -> the PING's answer makes the link up, or, on a subscriber, sends
 * SUBSCRIBE whose answer does. Replies come in the order of the commands, so one list in that order
 * is all we keep.
 *
 * Failure: whatever goes wrong calls lose(), which only notes it. The rest happens from the timer,
 * on a stack without hiredis: the context is freed (version 0.14 cannot take that inside its
 * connect callback), waiting commands get NULL, the owner hears REDIS_DOWN, the next attempt is
 * set. hiredis may also free its context by itself, after it has called on_connect or
 * on_disconnect: both forget it.
 *
 * A callback of the owner may destroy the link under us, so every place that calls one stands
 * between enter() and leave(), and the last leave() frees. */
#include "base/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <hiredis/async.h>
#include <hiredis/adapters/libevent.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"

#define DEFAULT_TIMEOUT_MS 2000
#define BACKOFF_FIRST_MS                                                                           \
        50                    /* the first wait is below this, each later one below twice the last \
                               */
#define BACKOFF_LIMIT_MS 1000 /* ... up to this */
#define STEADY_MS        1000 /* a link that lasted this long starts its backoff anew */
#define PROBE_MS         1000 /* a subscriber's sign of life */

enum link_state {
        LINK_WAITING,    /* no context; the timer is the next attempt */
        LINK_CONNECTING, /* the timer is the connect deadline */
        LINK_GREETING,   /* connected; commands of our own wait for their answers */
        LINK_UP,
        LINK_LOST /* the timer, at once, clears up; `context` may still be there */
};

struct waiting { /* one command without an answer yet */
        STAILQ_ENTRY(waiting) entry;
        redis_reply_fn *on_reply; /* NULL = nobody asks */
        void *owner;
        uint64_t deadline_ms; /* monotonic; rising along the list, as all have the same timeout */
};
STAILQ_HEAD(waiting_list, waiting);

struct redis {
        struct event_base *base;
        struct redis_options options;
        struct rng jitter;
        struct event *timer; /* the only one: its meaning is the state's */
        redisAsyncContext *context;
        struct waiting_list waiting;
        enum link_state state;
        uint64_t deadline_ms; /* LINK_CONNECTING: monotonic */
        uint64_t up_since_ms; /* monotonic; 0 = not up since the last loss */
        unsigned attempts;    /* failed ones in a row */
        char why[256];        /* of the present loss */
        char told[256];       /* the last reason the owner was given; empty while up */
        char *channel;        /* NULL = not a subscriber */
        redis_message_fn *on_message;
        void *message_owner;
        uint64_t probe_ms; /* when to subscribe again; monotonic */
        struct redis_server server;
        char peer[300]; /* "host:port" or the path */
        unsigned depth; /* callbacks of the owner on the stack */
        bool destroyed; /* free when depth is back at 0 */
};

static void enter(struct redis *redis)
{
        redis->depth++;
}

static void leave(struct redis *redis)
{
        if (--redis->depth == 0 && redis->destroyed)
                free(redis);
}

static void arm(struct redis *redis, uint64_t due_ms)
{
        uint64_t now_ms = clock_mono_ms();
        uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
        struct timeval wait = { (time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000) };

        check(event_add(redis->timer, &wait) == 0);
}

static void lose(struct redis *redis, const char *what, const char *detail)
{
        if (redis->state == LINK_LOST)
                return; /* the first reason is the cause, the rest follow from it */
        redis->state = LINK_LOST;
        snprintf(redis->why, sizeof(redis->why), "%s%s%s", what, *what && *detail ? ": " : "",
                 detail);
        arm(redis, 0);
}

/* --- commands ------------------------------------------------------------------------------ */

static void answer(struct redis *redis, const struct redis_reply *reply)
{
        struct waiting *first = STAILQ_FIRST(&redis->waiting);

        check(first != NULL);
        STAILQ_REMOVE_HEAD(&redis->waiting, entry);
        if (first->on_reply != NULL)
                first->on_reply(first->owner, reply);
        free(first);
}

static void on_reply(redisAsyncContext *context, void *reply, void *unused)
{
        struct redis *redis = context->data;

        (void)unused;
        /* NULL comes while hiredis frees the context: the timer answers in its stead. */
        if (redis == NULL || reply == NULL || redis->state == LINK_LOST)
                return;
        enter(redis);
        answer(redis, reply);
        leave(redis);
}

static enum err send_command(struct redis *redis, redisCallbackFn *on_answer, redis_reply_fn *fn,
                             void *owner, int argc, const char *const *argv, const size_t *lens)
{
        struct waiting *waiting = malloc(sizeof(*waiting));

        if (waiting == NULL)
                return ERR_NOMEM;
        if (redisAsyncCommandArgv(redis->context, on_answer, NULL, argc, (const char **)argv,
                                  lens) != REDIS_OK) {
                free(waiting);
                return ERR_NOMEM; /* a context that takes no more commands is already LINK_LOST */
        }
        waiting->on_reply = fn;
        waiting->owner = owner;
        waiting->deadline_ms = clock_mono_ms() + redis->options.timeout_ms;
        if (STAILQ_EMPTY(&redis->waiting))
                arm(redis, waiting->deadline_ms); /* or else it stands for an older one */
        STAILQ_INSERT_TAIL(&redis->waiting, waiting, entry);
        return OK;
}

static void give_up_waiting(struct redis *redis)
{
        while (!STAILQ_EMPTY(&redis->waiting))
                answer(redis, NULL);
}

/* --- up ------------------------------------------------------------------------------------ */

static void become_up(struct redis *redis)
{
        redis->state = LINK_UP;
        redis->up_since_ms = clock_mono_ms();
        redis->told[0] = '\0';
        log_info("REDIS-UP", "link=%s", redis->options.name);
        if (redis->options.on_state != NULL)
                redis->options.on_state(redis->options.owner, REDIS_UP, "");
}

static void on_published(redisAsyncContext *context, void *reply, void *unused)
{
        struct redis *redis = context->data;
        const redisReply *push = reply;

        (void)unused;
        if (redis == NULL || push == NULL || redis->state == LINK_LOST || push->elements != 3 ||
            push->element[0]->str == NULL)
                return;
        enter(redis);
        if (strcmp(push->element[0]->str, "subscribe") == 0) {
                if (!STAILQ_EMPTY(&redis->waiting))
                        answer(redis, NULL);
                arm(redis, redis->probe_ms);
                if (redis->state == LINK_GREETING)
                        become_up(redis);
        } else if (push->element[2]->type == REDIS_REPLY_STRING) {
                /* Whoever talks is alive: a backlog of messages may stand before the answer. */
                if (!STAILQ_EMPTY(&redis->waiting))
                        STAILQ_FIRST(&redis->waiting)->deadline_ms =
                            clock_mono_ms() + redis->options.timeout_ms;
                redis->on_message(redis->message_owner, push->element[2]->str,
                                  push->element[2]->len);
        }
        leave(redis);
}

static void send_subscribe(struct redis *redis)
{
        const char *const argv[] = { "SUBSCRIBE", redis->channel };

        redis->probe_ms = clock_mono_ms() + PROBE_MS;
        if (send_command(redis, on_published, NULL, NULL, 2, argv, NULL) != OK)
                lose(redis, "", "out of memory");
}

/* --- greeting ------------------------------------------------------------------------------ */

static bool greeting_failed(struct redis *redis, const char *what, const struct redis_reply *reply)
{
        if (reply == NULL || redis->destroyed || redis->state == LINK_LOST)
                return true; /* what broke the link has been told already */
        if (redis_type(reply) != REDIS_ERROR)
                return false;
        lose(redis, what, redis_text(reply, NULL));
        return true;
}

static void on_auth(void *owner, const struct redis_reply *reply)
{
        (void)greeting_failed(owner, "AUTH", reply);
}

static void on_select(void *owner, const struct redis_reply *reply)
{
        (void)greeting_failed(owner, "SELECT", reply);
}

/* Without .primary it is nobody's business who answers, so that a user without +info gets in. */
static void on_info(void *owner, const struct redis_reply *reply)
{
        struct redis *redis = owner;
        char why[sizeof(redis->why)];

        if (reply == NULL || redis->destroyed || redis->state == LINK_LOST)
                return;
        if (redis_type(reply) == REDIS_STRING &&
            redis_parse_info(redis_text(reply, NULL), &redis->server) == OK) {
                if (redis->server.is_primary || !redis->options.primary)
                        return;
                snprintf(why, sizeof(why), "%.100s is a replica of %.80s: give the primary",
                         redis->peer, redis->server.primary);
                lose(redis, "", why);
        } else if (redis->options.primary) {
                bool refused = strncmp(redis_text(reply, NULL), "NOPERM", 6) == 0;

                lose(redis, "INFO",
                     refused ? "NOPERM: this user needs the permission +info"
                     : redis_type(reply) == REDIS_ERROR ? redis_text(reply, NULL)
                                                        : "the server does not say who it is");
        }
}

/* PING ends the greeting because Redis answers it with an error for as long as it cannot serve:
 * not authenticated, loading its data, a replica cut off from its primary. The other three may pass
 * then. It comes before SUBSCRIBE, so the trap of a PING on a subscriber is not touched. */
static void on_ping(void *owner, const struct redis_reply *reply)
{
        struct redis *redis = owner;

        if (greeting_failed(redis, "PING", reply))
                return;
        if (redis->channel != NULL)
                send_subscribe(redis);
        else
                become_up(redis);
}

static enum err greet(struct redis *redis)
{
        const struct redis_address *address = &redis->options.address;
        const char *const with_user[] = { "AUTH", address->user, address->password };
        const char *const without_user[] = { "AUTH", address->password };
        const char *const name[] = { "CLIENT", "SETNAME", redis->options.name };
        const char *const info[] = { "INFO", "server", "replication" };
        const char *const ping[] = { "PING" };
        enum err err = OK;

        memset(&redis->server, 0, sizeof(redis->server));

        if (address->user[0] != '\0')
                err = send_command(redis, on_reply, on_auth, redis, 3, with_user, NULL);
        else if (address->password[0] != '\0')
                err = send_command(redis, on_reply, on_auth, redis, 2, without_user, NULL);
        if (err == OK && address->database != 0) {
                char number[12];
                const char *const select[] = { "SELECT", number };

                snprintf(number, sizeof(number), "%u", address->database);
                err = send_command(redis, on_reply, on_select, redis, 2, select, NULL);
        }
        if (err == OK) /* a name helps whoever reads CLIENT LIST; a refusal harms nobody */
                err = send_command(redis, on_reply, NULL, NULL, 3, name, NULL);
        if (err == OK)
                err = send_command(redis, on_reply, on_info, redis, 3, info, NULL);
        if (err == OK)
                err = send_command(redis, on_reply, on_ping, redis, 1, ping, NULL);
        return err;
}

/* --- connecting and losing ----------------------------------------------------------------- */

static void on_connect(const redisAsyncContext *context, int status)
{
        struct redis *redis = context->data;

        if (redis == NULL)
                return;
        if (status != REDIS_OK) {
                redis->context = NULL; /* hiredis frees it after this call */
                lose(redis, "connect", context->c.errstr);
                return;
        }
        if (redis->state != LINK_CONNECTING)
                return;
        redis->state = LINK_GREETING;
        if (greet(redis) != OK)
                lose(redis, "", "out of memory");
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
        struct redis *redis = context->data;

        (void)status;
        if (redis == NULL)
                return;
        redis->context = NULL; /* hiredis frees it after this call */
        lose(redis, "", context->c.errstr[0] != '\0' ? context->c.errstr : "disconnected");
}

static void start_connecting(struct redis *redis)
{
        const struct redis_address *address = &redis->options.address;
        redisAsyncContext *context =
            address->scheme == REDIS_UNIX
                ? redisAsyncConnectUnix(address->path)
                : redisAsyncConnect(address->hosts[0].host, address->hosts[0].port);

        redis->state = LINK_CONNECTING;
        redis->context = context;
        if (context == NULL) {
                lose(redis, "", "out of memory");
                return;
        }
        context->data = redis;
        if (context->err != 0) {
                lose(redis, "connect", context->c.errstr);
                return;
        }
        (void)fcntl(context->c.fd, F_SETFD,
                    FD_CLOEXEC); /* hiredis 0.14 leaves it open for children */
        if (redisLibeventAttach(context, redis->base) != REDIS_OK) {
                lose(redis, "", "out of memory");
                return;
        }
        (void)redisAsyncSetConnectCallback(context, on_connect);
        (void)redisAsyncSetDisconnectCallback(context, on_disconnect);
        redis->deadline_ms = clock_mono_ms() + redis->options.timeout_ms;
        arm(redis, redis->deadline_ms);
}

static void drop_context(struct redis *redis)
{
        if (redis->context == NULL)
                return;
        redis->context->data = NULL; /* its callbacks are not ours any more */
        redisAsyncFree(redis->context);
        redis->context = NULL;
}

/* Full jitter: a fleet that lost one Redis together does not come back to it together. */
static uint64_t next_attempt_ms(struct redis *redis)
{
        uint64_t now_ms = clock_mono_ms();
        uint64_t limit_ms = BACKOFF_FIRST_MS;

        if (redis->up_since_ms != 0 && now_ms - redis->up_since_ms >= STEADY_MS)
                redis->attempts = 0;
        for (unsigned i = 0; i < redis->attempts && limit_ms < BACKOFF_LIMIT_MS; i++)
                limit_ms *= 2;
        redis->attempts++;
        return now_ms + 1 +
               rng_below(&redis->jitter, limit_ms < BACKOFF_LIMIT_MS ? limit_ms : BACKOFF_LIMIT_MS);
}

static void clear_up(struct redis *redis)
{
        bool worth_telling = redis->up_since_ms != 0 || strcmp(redis->why, redis->told) != 0;

        drop_context(redis);
        redis->state = LINK_WAITING;
        arm(redis, next_attempt_ms(redis));
        redis->up_since_ms = 0;
        enter(redis);
        give_up_waiting(redis);
        if (worth_telling && !redis->destroyed) {
                memcpy(redis->told, redis->why, sizeof(redis->told));
                log_warn("REDIS-DOWN", "link=%s why=%s", redis->options.name,
                         log_quote(redis->why));
                if (redis->options.on_state != NULL)
                        redis->options.on_state(redis->options.owner, REDIS_DOWN, redis->told);
        }
        leave(redis);
}

static void look_at_deadlines(struct redis *redis)
{
        const struct waiting *oldest = STAILQ_FIRST(&redis->waiting);
        uint64_t now_ms = clock_mono_ms();

        if (oldest != NULL && oldest->deadline_ms <= now_ms) {
                char text[64];

                snprintf(text, sizeof(text), "no answer within %u ms", redis->options.timeout_ms);
                lose(redis, "", text);
        } else if (oldest != NULL) {
                arm(redis, oldest->deadline_ms);
        } else if (redis->channel != NULL && redis->probe_ms <= now_ms) {
                send_subscribe(redis);
        } else if (redis->channel != NULL) {
                arm(redis, redis->probe_ms);
        }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct redis *redis = arg;

        (void)fd;
        (void)what;
        switch (redis->state) {
        case LINK_WAITING:
                start_connecting(redis);
                break;
        case LINK_CONNECTING:
                if (clock_mono_ms() < redis->deadline_ms)
                        arm(redis, redis->deadline_ms);
                else
                        lose(redis, "connect", "no answer in time");
                break;
        case LINK_GREETING:
        case LINK_UP:
                look_at_deadlines(redis);
                break;
        case LINK_LOST:
                clear_up(redis);
                break;
        }
}

/* --- the owner's side ---------------------------------------------------------------------- */

/* hiredis and libevent write to sockets without MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
        struct sigaction now;

        if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
                (void)signal(SIGPIPE, SIG_IGN);
}

enum err redis_create(struct event_base *base, const struct redis_options *options,
                      struct redis **ret_redis)
{
        struct redis *redis = calloc(1, sizeof(*redis));

        if (redis == NULL)
                return ERR_NOMEM;
        check(options->name != NULL &&
              (options->address.n_hosts > 0 || options->address.path[0] != '\0'));
        ignore_sigpipe();
        redis->base = base;
        redis->options = *options;
        if (redis->options.timeout_ms == 0)
                redis->options.timeout_ms = DEFAULT_TIMEOUT_MS;
        if (options->address.scheme == REDIS_UNIX)
                snprintf(redis->peer, sizeof(redis->peer), "%s", options->address.path);
        else
                snprintf(redis->peer, sizeof(redis->peer), "%s:%u", options->address.hosts[0].host,
                         options->address.hosts[0].port);
        STAILQ_INIT(&redis->waiting);
        rng_seed(&redis->jitter, rng_secure_u64());
        redis->timer = evtimer_new(base, on_timer, redis);
        if (redis->timer == NULL) {
                free(redis);
                return ERR_NOMEM;
        }
        arm(redis, 0); /* LINK_WAITING: connect from the loop, so that no callback runs in here */
        *ret_redis = redis;
        return OK;
}

void redis_destroy(struct redis *redis)
{
        if (redis == NULL)
                return;
        check(!redis->destroyed);
        redis->destroyed = true;
        redis->state = LINK_LOST;
        drop_context(redis);
        event_free(redis->timer);
        enter(redis);
        give_up_waiting(redis);
        free(redis->channel);
        leave(redis);
}

bool redis_is_up(const struct redis *redis)
{
        return redis->state == LINK_UP;
}

const struct redis_server *redis_server(const struct redis *redis)
{
        return &redis->server;
}

const char *redis_peer(const struct redis *redis)
{
        return redis->peer;
}

void redis_drop(struct redis *redis, const char *why)
{
        if (redis->state == LINK_UP)
                lose(redis, "", why);
}

enum err redis_command(struct redis *redis, redis_reply_fn *fn, void *owner, int argc,
                       const char *const *argv, const size_t *lens)
{
        check(argc > 0 && redis->channel == NULL);
        if (redis->state != LINK_UP)
                return ERR_UNAVAILABLE;
        return send_command(redis, on_reply, fn, owner, argc, argv, lens);
}

enum err redis_subscribe(struct redis *redis, const char *channel, redis_message_fn *on_message,
                         void *owner)
{
        check(redis->channel == NULL && redis->state == LINK_WAITING && redis->attempts == 0);
        redis->channel = strdup(channel);
        if (redis->channel == NULL)
                return ERR_NOMEM;
        redis->on_message = on_message;
        redis->message_owner = owner;
        return OK;
}

/* --- replies: hiredis' own structure under another name ------------------------------------ */

static const redisReply *inside(const struct redis_reply *reply)
{
        return (const redisReply *)reply;
}

enum redis_type redis_type(const struct redis_reply *reply)
{
        switch (inside(reply)->type) {
        case REDIS_REPLY_STRING:
                return REDIS_STRING;
        case REDIS_REPLY_STATUS:
                return REDIS_STATUS;
        case REDIS_REPLY_ERROR:
                return REDIS_ERROR;
        case REDIS_REPLY_INTEGER:
                return REDIS_INTEGER;
        case REDIS_REPLY_ARRAY:
                return REDIS_ARRAY;
        default: /* the types of RESP3 cannot come: we never ask for it */
                return REDIS_NIL;
        }
}

const char *redis_text(const struct redis_reply *reply, size_t *ret_len)
{
        enum redis_type type = redis_type(reply);
        bool has_text = type == REDIS_STRING || type == REDIS_STATUS || type == REDIS_ERROR;

        if (ret_len != NULL)
                *ret_len = has_text ? inside(reply)->len : 0;
        return has_text ? inside(reply)->str : "";
}

int64_t redis_integer(const struct redis_reply *reply)
{
        return redis_type(reply) == REDIS_INTEGER ? inside(reply)->integer : 0;
}

size_t redis_count(const struct redis_reply *reply)
{
        return redis_type(reply) == REDIS_ARRAY ? inside(reply)->elements : 0;
}

const struct redis_reply *redis_at(const struct redis_reply *reply, size_t i)
{
        if (i >= redis_count(reply))
                return NULL;
        return (const struct redis_reply *)inside(reply)->element[i];
}
