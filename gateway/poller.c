/* gateway/poller.c -- one epoll set inside libevent's. A batch is at most POLLER_BATCH sockets,
 * then the loop gets its turn; whatever is left keeps the set readable. */
#include "gateway/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <event2/event.h>

#define POLLER_BATCH 256

struct poller {
        int set;
        struct event *on_set;
        poller_turn_fn *on_turn;
        poller_ready_fn *on_ready;
        void *owner;
        struct epoll_event batch[POLLER_BATCH];
};

static void on_set_ready(evutil_socket_t set, short what, void *arg)
{
        struct poller *poller = arg;
        int n = epoll_wait(set, poller->batch, POLLER_BATCH, 0);

        (void)what;
        check(n >= 0 || errno == EINTR);
        if (n <= 0)
                return;
        poller->on_turn(poller->owner);
        for (int i = 0; i < n; i++)
                poller->on_ready(poller->owner, poller->batch[i].data.ptr, poller->batch[i].events);
}

enum err poller_create(struct event_base *base, poller_turn_fn *on_turn, poller_ready_fn *on_ready,
                       void *owner, struct poller **ret_poller)
{
        struct poller *poller = calloc(1, sizeof(*poller));
        enum err err = ERR_NOMEM;

        if (poller == NULL)
                return ERR_NOMEM;
        poller->on_turn = on_turn;
        poller->on_ready = on_ready;
        poller->owner = owner;
        poller->set = epoll_create1(EPOLL_CLOEXEC);
        if (poller->set < 0) {
                err = errno == ENOMEM ? ERR_NOMEM : ERR_IO;
                goto fail_poller;
        }
        poller->on_set = event_new(base, poller->set, EV_READ | EV_PERSIST, on_set_ready, poller);
        if (poller->on_set == NULL)
                goto fail_set;
        if (event_add(poller->on_set, NULL) != 0)
                goto fail_event;
        *ret_poller = poller;
        return OK;

fail_event:
        event_free(poller->on_set);
fail_set:
        close(poller->set);
fail_poller:
        free(poller);
        return err;
}

void poller_destroy(struct poller *poller)
{
        if (poller == NULL)
                return;
        event_free(poller->on_set);
        close(poller->set);
        free(poller);
}

enum err poller_add(struct poller *poller, int fd, void *ptr, uint32_t what)
{
        struct epoll_event event = { .events = what, .data.ptr = ptr };

        if (epoll_ctl(poller->set, EPOLL_CTL_ADD, fd, &event) == 0)
                return OK;
        check(errno == ENOMEM || errno == ENOSPC); /* ENOSPC: fs.epoll.max_user_watches */
        return ERR_NOMEM;
}

void poller_change(struct poller *poller, int fd, void *ptr, uint32_t what)
{
        struct epoll_event event = { .events = what, .data.ptr = ptr };

        check(epoll_ctl(poller->set, EPOLL_CTL_MOD, fd, &event) == 0);
}
