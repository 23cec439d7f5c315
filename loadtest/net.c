/* loadtest/net.c -- see net.h. */
#include "loadtest/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* `url` is one of the list, `len` bytes. */
static enum err parse_target(const char *url, size_t len, struct net_target *ret_target,
                             const char **ret_why)
{
        static const char scheme[] = "ws://";
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
        struct net_target target = { 0 };
        char name[NET_HOST_MAX], *port, *host = name;
        size_t skip = sizeof(scheme) - 1;

        if (len < skip || strncmp(url, scheme, skip) != 0 || len - skip >= sizeof(name)) {
                *ret_why = "it must begin with ws://";
                return ERR_INVALID;
        }
        snprintf(name, sizeof(name), "%.*s", (int)(len - skip), url + skip);
        name[strcspn(name, "/")] = '\0';
        snprintf(target.host, sizeof(target.host), "%s", name);
        port = strrchr(name, ':');
        if (port == NULL || port == name || port[1] == '\0') {
                *ret_why = "it needs a host and a port: ws://127.0.0.1:8080";
                return ERR_INVALID;
        }
        *port++ = '\0';
        if (*host == '[' && host[strlen(host) - 1] == ']') {
                host[strlen(host) - 1] = '\0';
                host++;
        }
        if (getaddrinfo(host, port, &hints, &found) != 0) {
                *ret_why = "its host name does not resolve";
                return ERR_NOT_FOUND;
        }
        memcpy(&target.address, found->ai_addr, found->ai_addrlen);
        target.len = found->ai_addrlen;
        target.is_loopback4 =
            found->ai_family == AF_INET &&
            ntohl(((const struct sockaddr_in *)&target.address)->sin_addr.s_addr) >> 24 == 127;
        freeaddrinfo(found);
        *ret_target = target;
        return OK;
}

enum err net_parse_targets(const char *urls, struct net_target targets[NET_TARGETS_MAX],
                           unsigned *ret_n, const char **ret_why)
{
        unsigned n = 0;

        for (const char *url = urls; url != NULL; n++) {
                const char *comma = strchr(url, ',');
                size_t len = comma != NULL ? (size_t)(comma - url) : strlen(url);
                enum err err;

                if (n == NET_TARGETS_MAX) {
                        *ret_why = "there are more than 64 of them";
                        return ERR_INVALID;
                }
                err = parse_target(url, len, &targets[n], ret_why);
                if (err != OK)
                        return err;
                url = comma != NULL ? comma + 1 : NULL;
        }
        *ret_n = n;
        return OK;
}

int net_connect(const struct net_target *target, uint32_t source)
{
        return net_connect_small(target, source, 0);
}

int net_connect_small(const struct net_target *target, uint32_t source, int receive_bytes)
{
        int one = 1, error;
        int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (receive_bytes >
            0) /* before connect(): a window that was offered cannot be taken back */
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
        if (source != 0 && target->is_loopback4) {
                struct sockaddr_in from = { .sin_family = AF_INET,
                                            .sin_addr.s_addr = htonl(source) };

                /* The port is chosen when the target is known, so it need be free towards that
                 * only. */
                setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
                if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) != 0)
                        goto fail;
        }
        if (connect(fd, (const struct sockaddr *)&target->address, target->len) == 0 ||
            errno == EINPROGRESS)
                return fd;
fail:
        error = errno;
        close(fd);
        errno = error;
        return -1;
}

uint32_t net_source(uint32_t number)
{
        uint32_t host = number / NET_PER_SOURCE;

        /* .0 and .255 are left out: some tools take them for a network and a broadcast. */
        return 0x7f000000u | (host / 254 + 1) % 256 << 8 | (host % 254 + 1);
}

bool net_answers(const struct net_target *target, int timeout_ms)
{
        int fd = net_connect(target, 0), error = 0;
        struct pollfd wait = { .fd = fd, .events = POLLOUT };
        socklen_t len = sizeof(error);
        bool answers;

        if (fd < 0)
                return false;
        answers = poll(&wait, 1, timeout_ms) == 1 &&
                  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
        close(fd);
        return answers;
}

bool net_is_peer(int fd, const struct net_target *target)
{
        struct sockaddr_storage peer = { 0 };
        socklen_t len = sizeof(peer);

        return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == target->len &&
               memcmp(&peer, &target->address, len) == 0;
}

uint64_t net_raise_descriptors(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
                return 1024;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
        return limit.rlim_cur;
}
