/* gateway/listener.c -- what an accepted socket needs is set once on the listening socket, since
 * Linux hands it down (tcp(7)): no setsockopt per device.
 *
 * Happy path: readable -> accept up to a batch -> hand over -> the loop turns.
 * Failure: few descriptors are left -> whoever comes is closed, so that it learns and goes
 * elsewhere, then no accepting for PAUSE_MS; none left at all, for the limit is not only ours ->
 * the same, through a descriptor kept for that. The sockets at hand are not touched, and nothing
 * spins. */
#include "gateway/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "gateway/gateway_metrics.h"

#define PAUSE_MS       100
#define BACKLOG        65535 /* the kernel cuts it to net.core.somaxconn */
#define SEND_BUFFER    65536 /* bounds what the kernel holds for a reader that does not read */
#define RECEIVE_BUFFER 16384 /* heads and device messages are small */

/* With `dead_after` 45 s, who vanishes while nothing is sent to it is asked after 12, 15 and 18 s,
 * and gone after 21; who acknowledges nothing that was sent, after 20 s (TCP_USER_TIMEOUT). Not
 * sooner and not later, for two reasons:
 * - With TCP_USER_TIMEOUT, Linux does not count questions: the first that is due after that time
 * ends the connection, if only one has gone unanswered (net/ipv4/tcp_timer.c). So three must have
 * been asked by then, or one lost packet costs a living device its session.
 * - As soon as something is sent, it stops asking, and waits those 20 s for the acknowledgement.
 * That may be just before 21 s, which makes 41: freed within 45 s, whatever is sent when. It costs
 * 2 small packets in 12 s per idle session; tests/faults/cases_devices.c cuts the wire. */
#define KEEP_COUNT 3

struct keep_alive {
        int user_timeout_ms, idle_s, interval_s;
};

static struct keep_alive keep_alive_for(uint32_t dead_after_ms)
{
        uint32_t interval_s = dead_after_ms / 15 / 1000;

        return (struct keep_alive){ .user_timeout_ms = (int)(dead_after_ms / 9 * 4),
                                    .idle_s = (int)(dead_after_ms / 15 * 4 / 1000),
                                    .interval_s = (int)(interval_s > 0 ? interval_s : 1) };
}

/* A writer is told of room only when less than this waits to be sent, and takes no more than this:
 * so a reader that has stopped holds 16 KiB of kernel memory beyond what is under way to it, not
 * the 64 KiB that SEND_BUFFER allows, and does not get hundreds of old signals when it goes on. */
#define UNSENT_LOW_WATER 16384

struct listener {
        int fd;
        int reserve;  /* a descriptor to give up when there are no others; -1 = given up */
        bool is_held; /* by the owner, until it says go on */
        int fds_short, fds_end; /* descriptors from here on: no session; not accepted */
        uint16_t port;
        struct event *on_readable, *on_pause_over;
        struct listener_options options;
};

static int open_reserve(void)
{
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_accepting(struct listener *listener, int error)
{
        const struct timeval pause = { .tv_usec = PAUSE_MS * 1000 };

        if (listener->reserve >= 0 && (error == EMFILE || error == ENFILE)) {
                close(listener->reserve);

                int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

                if (fd >= 0)
                        close(fd);
                listener->reserve = open_reserve();
        }
        metric_add(&m_accept_paused, 1);
        log_warn("ACCEPT-PAUSED", "why=%s pause_ms=%d", log_quote(strerror(error)), PAUSE_MS);
        event_del(listener->on_readable);
        check(event_add(listener->on_pause_over, &pause) == 0);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
        struct listener *listener = arg;

        (void)fd;
        (void)what;
        if (listener->reserve < 0)
                listener->reserve = open_reserve();
        check(event_add(listener->on_readable, NULL) == 0);
}

static void on_readable(evutil_socket_t listening, short what, void *arg)
{
        struct listener *listener = arg;
        struct listener_guest guests[LISTENER_BATCH];
        unsigned n = 0, batch = listener->options.batch(listener->options.owner);
        int error = 0;

        (void)what;
        check(batch <= LISTENER_BATCH);
        if (batch == 0) { /* they wait in the backlog, and we do not ask again and again */
                event_del(listener->on_readable);
                listener->is_held = true;
                return;
        }
        for (unsigned i = 0; i < batch; i++) {
                union {
                        struct sockaddr any;
                        struct sockaddr_in6 v6;
                } peer;
                socklen_t len = sizeof(peer);
                int fd = accept4(listening, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd >= listener->fds_end) {
                        close(fd);
                        error = EMFILE;
                        break;
                }
                if (fd >= 0) {
                        guests[n].fd = fd;
                        guests[n++].address = address_of_socket(&peer.any);
                        continue;
                }
                if (errno == EAGAIN)
                        break;
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        error = errno;
                        break;
                }
                /* accept(2): an error of the connection that was to come, not of ours. It took its
                 * place in the batch, so that one which does not go away cannot hold the loop. */
        }
        if (n > 0)
                listener->options.on_accepted(listener->options.owner, guests, n);
        if (error != 0)
                pause_accepting(listener, error);
}

static void learn_limits(struct listener *listener)
{
        struct rlimit limit;
        int end = INT_MAX;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX)
                end = (int)limit.rlim_cur;
        listener->fds_short =
            end - (end / 2 < LISTENER_FDS_FOR_GUESTS ? end / 2 : LISTENER_FDS_FOR_GUESTS);
        listener->fds_end =
            end - (end / 4 < LISTENER_FDS_FOR_NODE ? end / 4 : LISTENER_FDS_FOR_NODE);
}

void listener_go_on(struct listener *listener)
{
        if (!listener->is_held)
                return;
        listener->is_held = false;
        check(event_add(listener->on_readable, NULL) == 0);
}

bool listener_is_short(const struct listener *listener, int fd)
{
        return fd >= listener->fds_short;
}

static int set_option(int fd, int level, int option, int value)
{
        return setsockopt(fd, level, option, &value, sizeof(value));
}

/* -1 with errno set, or the socket. */
static int open_listening(const struct addrinfo *address, uint32_t dead_after_ms)
{
        const struct keep_alive keep = keep_alive_for(dead_after_ms);
        int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -1;
        if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0 ||
            set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0 ||
            set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) != 0 ||
            set_option(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER) != 0 ||
            set_option(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER) != 0 ||
            set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keep.idle_s) != 0 ||
            set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keep.interval_s) != 0 ||
            set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT) != 0 ||
            set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_LOW_WATER) != 0 ||
            /* A signal is one small send: it must not wait for the ack of the one before (Nagle).
             */
            set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0 ||
            set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, keep.user_timeout_ms) != 0 ||
            bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
                int error = errno;

                close(fd);
                errno = error;
                return -1;
        }
        return fd;
}

static enum err open_on(struct listener *listener, const char **ret_why)
{
        static _Thread_local char why[256];
        const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                        .ai_socktype = SOCK_STREAM,
                                        .ai_flags = AI_PASSIVE };
        struct sockaddr_storage bound;
        socklen_t len = sizeof(bound);
        struct addrinfo *addresses;
        char port[8];
        int error;

        snprintf(port, sizeof(port), "%u", listener->options.port);
        error = getaddrinfo(listener->options.host, port, &hints, &addresses);
        if (error != 0) {
                snprintf(why, sizeof(why), "cannot listen on %.100s: %s", listener->options.host,
                         gai_strerror(error));
                *ret_why = why;
                return ERR_IO;
        }
        listener->fd = open_listening(addresses, listener->options.dead_after_ms);
        error = errno;
        freeaddrinfo(addresses);
        if (listener->fd < 0) {
                snprintf(why, sizeof(why), "cannot listen on %.100s:%s: %s", listener->options.host,
                         port, strerror(error));
                *ret_why = why;
                return ERR_IO;
        }
        check(getsockname(listener->fd, (struct sockaddr *)&bound, &len) == 0);
        listener->port =
            ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                              : ((struct sockaddr_in *)&bound)->sin_port);
        return OK;
}

enum err listener_create(struct event_base *base, const struct listener_options *options,
                         struct listener **ret_listener, const char **ret_why)
{
        struct listener *listener = calloc(1, sizeof(*listener));
        enum err err = ERR_NOMEM;

        if (listener == NULL)
                return ERR_NOMEM;
        listener->options = *options;
        listener->fd = -1;
        listener->reserve = open_reserve();
        learn_limits(listener);
        err = open_on(listener, ret_why);
        if (err != OK)
                goto fail;
        err = ERR_NOMEM;
        listener->on_readable =
            event_new(base, listener->fd, EV_READ | EV_PERSIST, on_readable, listener);
        listener->on_pause_over = evtimer_new(base, on_pause_over, listener);
        if (listener->on_readable == NULL || listener->on_pause_over == NULL ||
            event_add(listener->on_readable, NULL) != 0)
                goto fail;
        *ret_listener = listener;
        return OK;

fail:
        listener_destroy(listener);
        return err;
}

void listener_destroy(struct listener *listener)
{
        if (listener == NULL)
                return;
        if (listener->on_readable != NULL)
                event_free(listener->on_readable);
        if (listener->on_pause_over != NULL)
                event_free(listener->on_pause_over);
        if (listener->fd >= 0)
                close(listener->fd);
        if (listener->reserve >= 0)
                close(listener->reserve);
        free(listener);
}

uint16_t listener_port(const struct listener *listener)
{
        return listener->port;
}
