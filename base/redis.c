/* base/redis.c -- decides when to connect, how long to wait and when a link counts as lost; refuses
 * to know what the commands mean, where the server is (redis_find.c) and what bytes look like
 * (redis_wire.c).
 *
 * Happy path: on_timer (LINK_WAITING) asks for a candidate -> on_found connects -> on_open sends
 * the greeting (AUTH, SELECT, CLIENT SETNAME, INFO, EXISTS, PING) -> the PING's answer makes the
 * link up, or, on a subscriber, sends SUBSCRIBE whose answer does. Replies come in the order of the
 * commands, so one list in that order is all we keep.
 *
 * Failure: whatever goes wrong calls lose(), which only notes it. The rest happens from the timer,
 * on a stack without anybody else: the wire is destroyed, waiting commands get NULL, the owner
 * hears REDIS_DOWN, the next attempt is set.
 *
 * A callback of the owner may destroy the link under us, so every place that calls one stands
 * between enter() and leave(), and the last leave() frees. */
#include "base/redis.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/redis_find.h"
#include "base/redis_greeting.h"
#include "base/redis_wire.h"
#include "base/rng.h"

#define DEFAULT_TIMEOUT_MS 2000
#define BACKOFF_FIRST_MS \
        50 /* the first wait is below this, each later one below twice the last ... */
#define BACKOFF_LIMIT_MS 1000 /* ... up to this */
#define STEADY_MS        1000 /* a link that lasted this long starts its backoff anew ... */
#define SHAKY_ATTEMPTS   2    /* ... one that was up for less goes back to waits below 200 ms */
#define PROBE_MS         1000 /* a subscriber's sign of life */
#define HOPS_MAX         5    /* redirects followed without a pause */

enum link_state {
        LINK_WAITING,    /* no wire; the timer is the next attempt */
        LINK_FINDING,    /* redis_find.c is at work, and ends in bounded time */
        LINK_CONNECTING, /* the timer is the connect deadline */
        LINK_GREETING,   /* connected; commands of our own wait for their answers */
        LINK_UP,
        LINK_LOST /* the timer, at once, clears up; `wire` may still be there */
};

struct waiting { /* one command without an answer yet */
        STAILQ_ENTRY(waiting) entry;
        redis_reply_fn *on_reply; /* NULL = nobody asks */
        void *owner;
        uint64_t deadline_ms; /* monotonic; rising along the list, as all have the same timeout */
};
STAILQ_HEAD(waiting_list, waiting);

struct greeting { /* one of our own commands */
        struct redis *redis;
        enum redis_step step;
};

struct redis {
        struct event_base *base;
        struct redis_options options;
        struct rng jitter;
        struct event *timer; /* the only one: its meaning is the state's */
        struct redis_find *find;
        struct redis_wire *wire;
        struct greeting greeting[REDIS_STEPS];
        struct redis_server server;
        char peer[300]; /* of the last candidate */
        struct waiting_list waiting;
        enum link_state state;
        uint64_t deadline_ms; /* LINK_CONNECTING: monotonic */
        uint64_t up_since_ms; /* monotonic; 0 = not up since the last loss */
        unsigned attempts;    /* failed rounds in a row */
        unsigned hops;        /* redirects since the last pause */
        bool redirected;      /* LINK_LOST: somebody said where to go, so go there at once */
        char why[256];        /* of the present loss */
        char told[256];       /* the last reason the owner was given; empty while up */
        char *channels[REDIS_CHANNELS_MAX];
        unsigned n_channels;   /* 0 = not a subscriber */
        unsigned n_subscribed; /* of them, since SUBSCRIBE was sent */
        redis_message_fn *on_message;
        void *message_owner;
        bool subscribing;  /* SUBSCRIBE was sent over this wire: what comes now are pushes */
        uint64_t probe_ms; /* when to subscribe again; monotonic */
        unsigned depth;    /* callbacks of the owner on the stack */
        bool destroyed;    /* free when depth is back at 0 */
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
        redis->redirected = false;
        snprintf(redis->why, sizeof(redis->why), "%s%s%s", what, *what && *detail ? ": " : "",
                 detail);
        arm(redis, 0);
}

static void lose_and_hop(struct redis *redis, const char *why)
{
        if (redis->state == LINK_LOST)
                return;
        lose(redis, "", why);
        redis->redirected = true;
}

/* --- commands ------------------------------------------------------------------------------ */

/* What an error says about the server, whoever asked the question. */
static void heed_error(struct redis *redis, const char *text)
{
        if (redis->destroyed || redis->state == LINK_LOST)
                return;
        if (redis->options.slot_key != NULL && redis_find_follow(redis->find, text))
                lose_and_hop(redis, text);
        else if (redis->options.primary && strncmp(text, "READONLY", 8) == 0)
                lose(redis, "not a primary any more", text);
}

static void answer(struct redis *redis, const struct redis_reply *reply)
{
        struct waiting *first = STAILQ_FIRST(&redis->waiting);

        STAILQ_REMOVE_HEAD(&redis->waiting, entry);
        if (first->on_reply != NULL)
                first->on_reply(first->owner, reply);
        free(first);
        if (reply != NULL && redis_type(reply) == REDIS_ERROR)
                heed_error(redis, redis_text(reply, NULL));
}

static enum err send_command(struct redis *redis, redis_reply_fn *fn, void *owner, int argc,
                             const char *const *argv, const size_t *lens)
{
        struct waiting *waiting = malloc(sizeof(*waiting));
        enum err err;

        if (waiting == NULL)
                return ERR_NOMEM;
        err = redis_wire_send(redis->wire, argc, argv, lens);
        if (err != OK) {
                free(waiting);
                return err;
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
        redis_find_worked(redis->find);
        log_info("REDIS-UP", "link=%s peer=%s", redis->options.name, log_quote(redis->peer));
        if (redis->options.on_state != NULL)
                redis->options.on_state(redis->options.owner, REDIS_UP, "");
}

static void send_subscribe(struct redis *redis)
{
        const char *argv[1 + REDIS_CHANNELS_MAX] = { redis->server.is_cluster ? "SSUBSCRIBE"
                                                                              : "SUBSCRIBE" };

        for (unsigned i = 0; i < redis->n_channels; i++)
                argv[1 + i] = redis->channels[i];
        redis->subscribing = true;
        redis->n_subscribed = 0;
        redis->probe_ms = clock_mono_ms() + PROBE_MS;
        if (send_command(redis, NULL, NULL, 1 + (int)redis->n_channels, argv, NULL) != OK)
                lose(redis, "", "out of memory");
}

/* One push for each channel. */
static void on_subscribed(struct redis *redis)
{
        if (++redis->n_subscribed < redis->n_channels)
                return;
        if (!STAILQ_EMPTY(&redis->waiting))
                answer(redis, NULL);
        arm(redis, redis->probe_ms);
        if (redis->state == LINK_GREETING)
                become_up(redis);
}

static void on_published(struct redis *redis, const struct redis_reply *message)
{
        size_t len;
        const char *bytes = redis_text(message, &len);

        /* Whoever talks is alive: a backlog of messages may stand before the answer. */
        if (!STAILQ_EMPTY(&redis->waiting))
                STAILQ_FIRST(&redis->waiting)->deadline_ms =
                    clock_mono_ms() + redis->options.timeout_ms;
        redis->on_message(redis->message_owner, bytes, len);
}

/* In the protocol's second version, which we speak, a push is an array that nobody asked for. Those
 * of a sharded subscription begin with an s. */
static void on_push(struct redis *redis, const struct redis_reply *push)
{
        const char *kind = redis_count(push) == 3 ? redis_text(redis_at(push, 0), NULL) : "";

        if (redis_type(push) == REDIS_ERROR) {
                heed_error(redis, redis_text(push, NULL));
                lose(redis, "SUBSCRIBE", redis_text(push, NULL));
                return;
        }
        if (strncmp(kind, "ss", 2) == 0 || strncmp(kind, "sm", 2) == 0 ||
            strncmp(kind, "sun", 3) == 0)
                kind++;
        if (strcmp(kind, "subscribe") == 0)
                on_subscribed(redis);
        else if (strcmp(kind, "message") == 0 && redis_type(redis_at(push, 2)) == REDIS_STRING)
                on_published(redis, redis_at(push, 2));
        else if (strcmp(kind, "unsubscribe") == 0)
                lose_and_hop(redis, "the server ended the subscription");
}

/* --- greeting ------------------------------------------------------------------------------ */

static void on_greeted(void *owner, const struct redis_reply *reply)
{
        const struct greeting *greeting = owner;
        struct redis *redis = greeting->redis;
        char why[sizeof(redis->why)];

        if (reply == NULL || redis->destroyed || redis->state == LINK_LOST)
                return; /* what broke the link has been told already */
        if (!redis_greeting_accepts(&redis->options, greeting->step, reply, redis->peer,
                                    &redis->server, why))
                lose(redis, "", why);
        else if (greeting->step == STEP_PING && redis->n_channels > 0)
                send_subscribe(redis);
        else if (greeting->step == STEP_PING)
                become_up(redis);
}

static enum err greet(struct redis *redis)
{
        enum err err = OK;

        memset(&redis->server, 0, sizeof(redis->server));
        for (enum redis_step step = 0; err == OK && step < REDIS_STEPS; step++) {
                struct redis_words words;

                redis->greeting[step] = (struct greeting){ redis, step };
                redis_greeting_words(&redis->options, step, &words);
                if (words.argc > 0)
                        err = send_command(redis, on_greeted, &redis->greeting[step], words.argc,
                                           words.argv, NULL);
        }
        return err;
}

/* --- connecting and losing ----------------------------------------------------------------- */

static void on_open(void *owner)
{
        struct redis *redis = owner;

        if (redis->state != LINK_CONNECTING)
                return;
        redis->state = LINK_GREETING;
        if (greet(redis) != OK)
                lose(redis, "", "out of memory");
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct redis *redis = owner;

        if (redis->state == LINK_LOST)
                return; /* the timer answers in its stead */
        enter(redis);
        if (redis->subscribing)
                on_push(redis, reply);
        else if (STAILQ_EMPTY(&redis->waiting))
                lose(redis, "an answer that nobody asked for", redis_text(reply, NULL));
        else
                answer(redis, reply);
        leave(redis);
}

static void on_lost(void *owner, const char *why)
{
        lose(owner, "", why);
}

static void on_found(void *owner, const struct redis_candidate *candidate)
{
        struct redis *redis = owner;
        const struct redis_wire_options options = {
                .address = (const struct sockaddr *)&candidate->address,
                .address_len = candidate->len,
                .tls = redis->options.address.tls ? &redis->options.address : NULL,
                .host = candidate->host,
                .on_open = on_open,
                .on_reply = on_reply,
                .on_lost = on_lost,
                .owner = redis,
        };

        snprintf(redis->peer, sizeof(redis->peer), "%s", candidate->peer);
        redis->state = LINK_CONNECTING;
        redis->deadline_ms = clock_mono_ms() + redis->options.timeout_ms;
        arm(redis, redis->deadline_ms);
        if (redis_wire_create(redis->base, &options, &redis->wire) != OK)
                lose(redis, "", "out of memory");
}

static void on_not_found(void *owner, const char *why)
{
        lose(owner, "", why);
}

static void on_moved(void *owner, const char *why)
{
        lose_and_hop(owner, why);
}

/* Full jitter: a fleet that lost one Redis together does not come back to it together. */
static uint64_t after_a_pause_ms(struct redis *redis)
{
        uint64_t limit_ms = BACKOFF_FIRST_MS;

        for (unsigned i = 0; i < redis->attempts && limit_ms < BACKOFF_LIMIT_MS; i++)
                limit_ms *= 2;
        redis->attempts++;
        redis->hops = 0;
        return clock_mono_ms() + 1 +
               rng_below(&redis->jitter, limit_ms < BACKOFF_LIMIT_MS ? limit_ms : BACKOFF_LIMIT_MS);
}

/* Within a round there is no pause. True: there is one. */
static bool set_next_attempt(struct redis *redis)
{
        bool was_up = redis->up_since_ms != 0, pause = true;

        if (was_up && clock_mono_ms() - redis->up_since_ms >= STEADY_MS)
                redis->attempts = redis->hops = 0;
        /* A server that dies twice a second serves in between. With waits of up to a second, two
         * links of one owner seldom meet the same of its lives. */
        if (was_up && redis->attempts > SHAKY_ATTEMPTS)
                redis->attempts = SHAKY_ATTEMPTS;
        if (was_up || redis->redirected)
                redis_find_again(redis->find);
        else
                pause = redis_find_give_up(redis->find);
        if (redis->redirected)
                pause = ++redis->hops > HOPS_MAX;
        redis->state = LINK_WAITING;
        arm(redis, pause ? after_a_pause_ms(redis) : 0);
        return pause;
}

static void clear_up(struct redis *redis)
{
        bool was_up = redis->up_since_ms != 0, pause;

        redis_wire_destroy(redis->wire);
        redis->wire = NULL;
        redis->subscribing = false;
        pause = set_next_attempt(redis);
        redis->up_since_ms = 0;
        enter(redis);
        give_up_waiting(redis);
        if (!redis->destroyed && (was_up || (pause && strcmp(redis->why, redis->told) != 0))) {
                memcpy(redis->told, redis->why, sizeof(redis->told));
                log_warn("REDIS-DOWN", "link=%s peer=%s why=%s", redis->options.name,
                         log_quote(redis->peer[0] != '\0' ? redis->peer : "none"),
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

                if (redis_wire_has_input(redis->wire)) { /* we are late, not they */
                        arm(redis, now_ms + 1);
                        return;
                }
                snprintf(text, sizeof(text), "no answer within %u ms", redis->options.timeout_ms);
                lose(redis, "", text);
        } else if (oldest != NULL) {
                arm(redis, oldest->deadline_ms);
        } else if (redis->n_channels > 0 && redis->probe_ms <= now_ms) {
                send_subscribe(redis);
        } else if (redis->n_channels > 0) {
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
                redis->state = LINK_FINDING;
                redis_find_start(redis->find);
                break;
        case LINK_FINDING:
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

/* libevent and OpenSSL write to sockets without MSG_NOSIGNAL. */
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
        struct redis_find_events events = {
                .found = on_found, .failed = on_not_found, .moved = on_moved, .owner = redis
        };

        if (redis == NULL)
                return ERR_NOMEM;
        check(options->name != NULL &&
              (options->address.n_hosts > 0 || options->address.path[0] != '\0'));
        ignore_sigpipe();
        redis->base = base;
        redis->options = *options;
        if (redis->options.timeout_ms == 0)
                redis->options.timeout_ms = DEFAULT_TIMEOUT_MS;
        STAILQ_INIT(&redis->waiting);
        rng_seed(&redis->jitter, rng_secure_u64());
        redis->timer = evtimer_new(base, on_timer, redis);
        if (redis->timer == NULL ||
            redis_find_create(base, &redis->options.address, redis->options.timeout_ms, &events,
                              &redis->find) != OK) {
                if (redis->timer != NULL)
                        event_free(redis->timer);
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
        redis_wire_destroy(redis->wire);
        redis_find_destroy(redis->find);
        event_free(redis->timer);
        enter(redis);
        give_up_waiting(redis);
        for (unsigned i = 0; i < redis->n_channels; i++)
                free(redis->channels[i]);
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
        check(argc > 0 && redis->n_channels == 0);
        if (redis->state != LINK_UP)
                return ERR_UNAVAILABLE;
        return send_command(redis, fn, owner, argc, argv, lens);
}

enum err redis_subscribe(struct redis *redis, const char *channel, redis_message_fn *on_message,
                         void *owner)
{
        check(redis->n_channels == 0);
        redis->on_message = on_message;
        redis->message_owner = owner;
        return redis_subscribe_also(redis, channel);
}

enum err redis_subscribe_also(struct redis *redis, const char *channel)
{
        char *copy = strdup(channel);

        check(redis->on_message != NULL && redis->n_channels < REDIS_CHANNELS_MAX &&
              redis->state == LINK_WAITING && redis->attempts == 0);
        if (copy == NULL)
                return ERR_NOMEM;
        redis->channels[redis->n_channels++] = copy;
        return OK;
}
