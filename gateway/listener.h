/* gateway/listener.h -- a worker's listening socket: options that accepted sockets inherit,
 * accepting in batches, and what to do when descriptors run out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "gateway/address.h"

struct event_base;
struct listener;

struct listener_guest {
        int fd; /* non-blocking, close-on-exec, the callee's from now on */
        struct address address;
};

typedef void listener_accepted_fn(void *owner, const struct listener_guest *guests, unsigned n);
/* How many may come at once, up to LISTENER_BATCH; 0: nobody before listener_go_on(). */
typedef unsigned listener_batch_fn(void *owner);

#define LISTENER_BATCH 64

/* Of RLIMIT_NOFILE, as it is when the listener is made, so many descriptors are not for sessions, so
 * that guests can still be answered; and the last of them not for sockets of devices at all, so that
 * links to Redis and files can still be opened. (Of a small limit: a half and a quarter.) */
#define LISTENER_FDS_FOR_GUESTS 128
#define LISTENER_FDS_FOR_NODE   64

#define LISTENER_DEAD_AFTER_MS     45000 /* design: dead peers freed within 45 s */
#define LISTENER_DEAD_AFTER_MIN_MS 15000 /* below that, three lost packets would be one bad second */
#define LISTENER_DEAD_AFTER_MAX_MS (600 * 1000)

struct listener_options {
        const char *host;
        uint16_t port;          /* 0 = any */
        uint32_t dead_after_ms; /* a peer that vanished is noticed within this */
        listener_accepted_fn *on_accepted;
        listener_batch_fn *batch;
        void *owner;
};

/* On ERR_IO *ret_why is a sentence, valid until the next call on this thread. */
must_check enum err listener_create(struct event_base *base, const struct listener_options *options,
                                    struct listener **ret_listener, const char **ret_why);
void listener_destroy(struct listener *listener); /* NULL is fine */
uint16_t listener_port(const struct listener *listener);
void listener_go_on(struct listener *listener); /* harmless if nothing was held up */
/* Is `fd` one of the last? The kernel gives out the lowest free number, so it tells how many are in use,
 * in the whole process. */
bool listener_is_short(const struct listener *listener, int fd);
