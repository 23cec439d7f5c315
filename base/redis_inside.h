/* base/redis_inside.h -- what redis.c (a link, its commands and its losses) and redis_subscriber.c
 * (what a subscriber's link does besides) share; nobody else includes it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include "base/redis.h"
#include "base/redis_greeting.h"
#include "base/rng.h"

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

/* The link is to be given up: noted only, the rest happens from the timer. The first reason counts.
 */
void redis_lose(struct redis *redis, const char *what, const char *detail);
/* The same, and somebody said where to go: there at once. */
void redis_lose_and_hop(struct redis *redis, const char *why);
/* What an error says about the server, whoever asked the question. */
void redis_heed_error(struct redis *redis, const char *text);
void redis_arm(struct redis *redis, uint64_t due_ms); /* the timer; monotonic */
/* The oldest command has its answer; NULL: none came. */
void redis_answer(struct redis *redis, const struct redis_reply *reply);
must_check enum err redis_send(struct redis *redis, redis_reply_fn *fn, void *owner, int argc,
                               const char *const *argv, const size_t *lens);
void redis_become_up(struct redis *redis);

/* redis_subscriber.c */
void redis_subscriber_send(struct redis *redis); /* SUBSCRIBE: the first, or as a sign of life */
void redis_subscriber_push(struct redis *redis, const struct redis_reply *push);
