/* base/redis.c -- decides when to connect, how long to wait and when a link counts as lost; refuses
 * to know what the commands mean, where the server is (redis_find.c) and what bytes look like
 * (redis_wire.c).
 *
 * Happy path: on_timer (LINK_WAITING) asks for a candidate -> on_found connects -> on_open sends
 * the greeting (AUTH, SELECT, CLIENT SETNAME, INFO, EXISTS, PING) -> the PING's answer makes the
 * link up, or, on a subscriber, sends SUBSCRIBE whose answer does. Replies come in the order of the
 * commands, so one list in that order is all we keep.
 *
 * Failure: whatever goes wrong calls redis_lose(), which only notes it. The rest happens from the
 * timer, on a stack without anybody else: the wire is destroyed, waiting commands get NULL, the
 * owner hears REDIS_DOWN, the next attempt is set.
 *
 * A callback of the owner may destroy the link under us, so every place that calls one stands
 * between enter() and leave(), and the last leave() frees. */
#include "base/redis.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/redis_find.h"
#include "base/redis_greeting.h"
#include "base/redis_inside.h"
#include "base/redis_wire.h"

#define DEFAULT_TIMEOUT_MS 2000
#define BACKOFF_FIRST_MS \
        50 /* the first wait is below this, each later one below twice the last ... */
#define BACKOFF_LIMIT_MS 1000 /* ... up to this */
#define STEADY_MS        1000 /* a link that lasted this long starts its backoff anew ... */
#define SHAKY_ATTEMPTS   2    /* ... one that was up for less goes back to waits below 200 ms */
#define HOPS_MAX         5    /* redirects followed without a pause */

static void enter(struct redis *redis)
{
        redis->depth++;
}

static void leave(struct redis *redis)
{
        if (--redis->depth == 0 && redis->destroyed)
                free(redis);
}

void redis_arm(struct redis *redis, uint64_t due_ms)
{
        uint64_t now_ms = clock_mono_ms();
        uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
        struct timeval wait = { (time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000) };

        check(event_add(redis->timer, &wait) == 0);
}

void redis_lose(struct redis *redis, const char *what, const char *detail)
{
        if (redis->state == LINK_LOST)
                return; /* the first reason is the cause, the rest follow from it */
        redis->state = LINK_LOST;
        redis->redirected = false;
        snprintf(redis->why, sizeof(redis->why), "%s%s%s", what, *what && *detail ? ": " : "",
                 detail);
        redis_arm(redis, 0);
}

void redis_lose_and_hop(struct redis *redis, const char *why)
{
        if (redis->state == LINK_LOST)
                return;
        redis_lose(redis, "", why);
        redis->redirected = true;
}

/* --- commands ------------------------------------------------------------------------------ */

/* What an error says about the server, whoever asked the question. */
void redis_heed_error(struct redis *redis, const char *text)
{
        if (redis->destroyed || redis->state == LINK_LOST)
                return;
        if (redis->options.slot_key != NULL && redis_find_follow(redis->find, text))
                redis_lose_and_hop(redis, text);
        else if (redis->options.primary && strncmp(text, "READONLY", 8) == 0)
                redis_lose(redis, "not a primary any more", text);
}

void redis_answer(struct redis *redis, const struct redis_reply *reply)
{
        struct waiting *first = STAILQ_FIRST(&redis->waiting);

        STAILQ_REMOVE_HEAD(&redis->waiting, entry);
        if (first->on_reply != NULL)
                first->on_reply(first->owner, reply);
        free(first);
        if (reply != NULL && redis_type(reply) == REDIS_ERROR)
                redis_heed_error(redis, redis_text(reply, NULL));
}

enum err redis_send(struct redis *redis, redis_reply_fn *fn, void *owner, int argc,
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
                redis_arm(redis, waiting->deadline_ms); /* or else it stands for an older one */
        STAILQ_INSERT_TAIL(&redis->waiting, waiting, entry);
        return OK;
}

static void give_up_waiting(struct redis *redis)
{
        while (!STAILQ_EMPTY(&redis->waiting))
                redis_answer(redis, NULL);
}

/* --- up ------------------------------------------------------------------------------------ */

void redis_become_up(struct redis *redis)
{
        redis->state = LINK_UP;
        redis->up_since_ms = clock_mono_ms();
        redis->told[0] = '\0';
        redis_find_worked(redis->find);
        log_info("REDIS-UP", "link=%s peer=%s", redis->options.name, log_quote(redis->peer));
        if (redis->options.on_state != NULL)
                redis->options.on_state(redis->options.owner, REDIS_UP, "");
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
                redis_lose(redis, "", why);
        else if (greeting->step == STEP_PING && redis->n_channels > 0)
                redis_subscriber_send(redis);
        else if (greeting->step == STEP_PING)
                redis_become_up(redis);
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
                        err = redis_send(redis, on_greeted, &redis->greeting[step], words.argc,
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
                redis_lose(redis, "", "out of memory");
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct redis *redis = owner;

        if (redis->state == LINK_LOST)
                return; /* the timer answers in its stead */
        enter(redis);
        if (redis->subscribing)
                redis_subscriber_push(redis, reply);
        else if (STAILQ_EMPTY(&redis->waiting))
                redis_lose(redis, "an answer that nobody asked for", redis_text(reply, NULL));
        else
                redis_answer(redis, reply);
        leave(redis);
}

static void on_lost(void *owner, const char *why)
{
        redis_lose(owner, "", why);
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
        redis_arm(redis, redis->deadline_ms);
        if (redis_wire_create(redis->base, &options, &redis->wire) != OK)
                redis_lose(redis, "", "out of memory");
}

static void on_not_found(void *owner, const char *why)
{
        redis_lose(owner, "", why);
}

static void on_moved(void *owner, const char *why)
{
        redis_lose_and_hop(owner, why);
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
        redis_arm(redis, pause ? after_a_pause_ms(redis) : 0);
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
                        redis_arm(redis, now_ms + 1);
                        return;
                }
                snprintf(text, sizeof(text), "no answer within %u ms", redis->options.timeout_ms);
                redis_lose(redis, "", text);
        } else if (oldest != NULL) {
                redis_arm(redis, oldest->deadline_ms);
        } else if (redis->n_channels > 0 && redis->probe_ms <= now_ms) {
                redis_subscriber_send(redis);
        } else if (redis->n_channels > 0) {
                redis_arm(redis, redis->probe_ms);
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
                        redis_arm(redis, redis->deadline_ms);
                else
                        redis_lose(redis, "connect", "no answer in time");
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
        redis_arm(redis,
                  0); /* LINK_WAITING: connect from the loop, so that no callback runs in here */
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
                redis_lose(redis, "", why);
}

enum err redis_command(struct redis *redis, redis_reply_fn *fn, void *owner, int argc,
                       const char *const *argv, const size_t *lens)
{
        check(argc > 0 && redis->n_channels == 0);
        if (redis->state != LINK_UP)
                return ERR_UNAVAILABLE;
        return redis_send(redis, fn, owner, argc, argv, lens);
}
