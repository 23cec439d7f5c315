/* gateway/poller.h -- a worker's device sockets in one epoll set, which the libevent loop watches
 * as a single descriptor. Level-triggered: what is not read now is told again. Costs nothing per
 * socket in user space, where a struct event would be 128 bytes and two more lists. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct poller;

/* `what` is of EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. A socket closed earlier in the
 * same turn may still be told: `ptr` must stay valid until the loop has turned. */
typedef void poller_ready_fn(void *owner, void *ptr, uint32_t what);
typedef void poller_turn_fn(void *owner); /* once before each batch */

must_check enum err poller_create(struct event_base *base, poller_turn_fn *on_turn,
                                  poller_ready_fn *on_ready, void *owner,
                                  struct poller **ret_poller);
void poller_destroy(struct poller *poller); /* NULL is fine; sockets stay open */

/* `what` to watch for; EPOLLHUP and EPOLLERR always are. ERR_NOMEM: the kernel has no room. */
must_check enum err poller_add(struct poller *poller, int fd, void *ptr, uint32_t what);
void poller_change(struct poller *poller, int fd, void *ptr, uint32_t what);
/* No poller_remove: closing a socket takes it out (nobody duplicates descriptors here). */
