/* gateway/listener.h -- a worker's listening socket: options that accepted sockets inherit,
 * accepting in batches, and what to do when descriptors run out. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct listener;

/* A batch of new sockets, non-blocking, close-on-exec, the callee's from now on. */
typedef void listener_accepted_fn(void *owner, const int *fds, unsigned n);
typedef unsigned listener_batch_fn(void *owner); /* how many may come at once, 1..LISTENER_BATCH */

#define LISTENER_BATCH 64

struct listener_options {
        const char *host;
        uint16_t port; /* 0 = any */
        listener_accepted_fn *on_accepted;
        listener_batch_fn *batch;
        void *owner;
};

/* On ERR_IO *ret_why is a sentence, valid until the next call on this thread. */
must_check enum err listener_create(struct event_base *base, const struct listener_options *options,
                                    struct listener **ret_listener, const char **ret_why);
void listener_destroy(struct listener *listener); /* NULL is fine */
uint16_t listener_port(const struct listener *listener);
