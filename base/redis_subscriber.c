/* base/redis_subscriber.c -- decides what a push means, and when a subscriber has shown that its
 * server lives: SUBSCRIBE again, once a second, whose answer is the sign. */
#include <string.h>

#include "base/clock.h"
#include "base/redis_inside.h"

#define PROBE_MS 1000 /* a subscriber's sign of life */

void redis_subscriber_send(struct redis *redis)
{
        const char *argv[1 + REDIS_CHANNELS_MAX] = { redis->server.is_cluster ? "SSUBSCRIBE"
                                                                              : "SUBSCRIBE" };

        for (unsigned i = 0; i < redis->n_channels; i++)
                argv[1 + i] = redis->channels[i];
        redis->subscribing = true;
        redis->n_subscribed = 0;
        redis->probe_ms = clock_mono_ms() + PROBE_MS;
        if (redis_send(redis, NULL, NULL, 1 + (int)redis->n_channels, argv, NULL) != OK)
                redis_lose(redis, "", "out of memory");
}

/* One push for each channel. */
static void on_subscribed(struct redis *redis)
{
        if (++redis->n_subscribed < redis->n_channels)
                return;
        if (!STAILQ_EMPTY(&redis->waiting))
                redis_answer(redis, NULL);
        redis_arm(redis, redis->probe_ms);
        if (redis->state == LINK_GREETING)
                redis_become_up(redis);
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
void redis_subscriber_push(struct redis *redis, const struct redis_reply *push)
{
        const char *kind = redis_count(push) == 3 ? redis_text(redis_at(push, 0), NULL) : "";

        if (redis_type(push) == REDIS_ERROR) {
                redis_heed_error(redis, redis_text(push, NULL));
                redis_lose(redis, "SUBSCRIBE", redis_text(push, NULL));
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
                redis_lose_and_hop(redis, "the server ended the subscription");
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
