/* producer/pending.c -- a request that waits for Redis, and who answers it first: the outcome or
 * the deadline.
 *
 * A pending lives until its callback has come, however late: the deadline only takes the request
 * away from it. admin_destroy takes the admin away too, and the pending goes on alone. */
#include <event2/event.h>

#include "base/clock.h"
#include "producer/admin_inside.h"

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct pending *pending = arg;

        (void)fd;
        (void)what;
        check(pending_is_open(pending));
        pending->on_deadline(pending);
        pending_answered(pending);
}

static bool start_timer(struct pending *pending, struct admin *admin)
{
        const struct timeval within = { ADMIN_ANSWER_MS / 1000, ADMIN_ANSWER_MS % 1000 * 1000 };

        pending->deadline = evtimer_new(admin->base, on_timer, pending);
        if (pending->deadline == NULL)
                return false;
        if (evtimer_add(pending->deadline, &within) == 0)
                return true;
        event_free(pending->deadline);
        pending->deadline = NULL;
        return false;
}

bool pending_start(struct pending *pending, struct admin *admin, struct httpd_request *request,
                   void (*on_deadline)(struct pending *pending))
{
        if (on_deadline != NULL && !start_timer(pending, admin)) {
                reply_redis(request, ERR_NOMEM);
                return false;
        }
        pending->admin = admin;
        pending->request = request;
        pending->on_deadline = on_deadline;
        pending->started_ms = clock_mono_ms();
        LIST_INSERT_HEAD(&admin->pendings, pending, entry);
        return true;
}

bool pending_is_open(const struct pending *pending)
{
        return pending->request != NULL;
}

void pending_answered(struct pending *pending)
{
        pending->request = NULL;
        if (pending->deadline != NULL)
                evtimer_del(pending->deadline);
}

void pending_abandon(struct pending *pending)
{
        pending_finish(pending);
        pending->admin = NULL;
}

void pending_finish(struct pending *pending)
{
        if (pending->admin == NULL)
                return; /* abandoned: nothing is left to undo */
        pending->request = NULL;
        if (pending->deadline != NULL)
                event_free(pending->deadline);
        pending->deadline = NULL;
        LIST_REMOVE(pending, entry);
}

uint64_t pending_ms(const struct pending *pending)
{
        return clock_mono_ms() - pending->started_ms;
}

void pending_read_late(struct pending *pending)
{
        reply_redis(pending->request, ERR_TIMEOUT);
}
