/* What accepted sockets inherit from the listening one. */
#include "gateway/listener.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <event2/event.h>

#include "tests/gateway/client.h"

struct arrivals {
        struct event_base *base;
        int fd;
};

static void on_accepted(void *owner, const struct listener_guest *guests, unsigned n)
{
        struct arrivals *arrivals = owner;

        cr_assert(eq(uint, n, 1));
        arrivals->fd = guests[0].fd;
        event_base_loopbreak(arrivals->base);
}

static unsigned one(void *owner)
{
        (void)owner;
        return 1;
}

static int option(int fd, int which)
{
        int value = -1;
        socklen_t len = sizeof(value);

        cr_assert(getsockopt(fd, IPPROTO_TCP, which, &value, &len) == 0);
        return value;
}

/* The kernel's part of "freed within dead_after": idle, asked three times, each time with an
 * interval to answer, and then perhaps something that is sent in the last moment, for which it
 * waits anew. */
Test(listener, a_peer_that_vanished_is_noticed_within_dead_after_and_asked_three_times_before)
{
        static const uint32_t spans_ms[] = { LISTENER_DEAD_AFTER_MIN_MS, LISTENER_DEAD_AFTER_MS,
                                             100000, LISTENER_DEAD_AFTER_MAX_MS };

        for (unsigned i = 0; i < 4; i++) {
                struct arrivals arrivals = { .base = event_base_new(), .fd = -1 };
                struct listener_options options = { .host = "127.0.0.1",
                                                    .dead_after_ms = spans_ms[i],
                                                    .on_accepted = on_accepted,
                                                    .batch = one,
                                                    .owner = &arrivals };
                struct listener *listener;
                const char *why;
                int device, idle_ms, interval_ms, user_ms;

                cr_assert(
                    eq(int, (int)listener_create(arrivals.base, &options, &listener, &why), OK));
                device = client_connect_to(listener_port(listener), 0);
                event_base_dispatch(arrivals.base);
                idle_ms = option(arrivals.fd, TCP_KEEPIDLE) * 1000;
                interval_ms = option(arrivals.fd, TCP_KEEPINTVL) * 1000;
                user_ms = option(arrivals.fd, TCP_USER_TIMEOUT);
                cr_expect(idle_ms + 2 * interval_ms < user_ms, "%u: %d + 2 * %d, %d", spans_ms[i],
                          idle_ms, interval_ms, user_ms);
                cr_expect(idle_ms + 4 * interval_ms + user_ms <= (int)spans_ms[i],
                          "%u: %d + 4 * %d + %d", spans_ms[i], idle_ms, interval_ms, user_ms);
                close(device);
                close(arrivals.fd);
                listener_destroy(listener);
                event_base_free(arrivals.base);
        }
}
