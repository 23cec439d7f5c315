/* The proxy does what it is told, and nothing else: what a fault test makes of it depends on that.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/tcp_proxy.h"

#define PATIENCE_S 30

static int listen_at(uint16_t *ret_port)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        cr_assert(bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 8) == 0 &&
                  getsockname(fd, (struct sockaddr *)&address, &len) == 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

static void be_patient(int fd)
{
        const struct timeval limit = { .tv_sec = PATIENCE_S };

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static int connect_to(uint16_t port)
{
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        cr_assert(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
        be_patient(fd);
        return fd;
}

struct path { /* client - proxy - server */
        struct tcp_proxy *proxy;
        int listener, client, server;
};

static struct path path_open(void)
{
        struct path path;
        char server[32];
        uint16_t port;

        path.listener = listen_at(&port);
        snprintf(server, sizeof(server), "127.0.0.1:%u", port);
        path.proxy = tcp_proxy_start(server, NULL, NULL);
        path.client = connect_to(tcp_proxy_port(path.proxy));
        path.server = accept(path.listener, NULL, NULL);
        be_patient(path.server);
        return path;
}

static void path_close(struct path *path)
{
        close(path->client);
        close(path->server);
        close(path->listener);
        tcp_proxy_destroy(path->proxy);
}

static void send_text(int fd, const char *text)
{
        cr_assert(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Reads exactly what is expected. */
static void expect(int fd, const char *text)
{
        char got[256];
        size_t len = 0, want = strlen(text);

        while (len < want) {
                ssize_t n = recv(fd, got + len, want - len, 0);

                cr_assert(n > 0, "got %zu of %zu bytes", len, want);
                len += (size_t)n;
        }
        cr_assert(memcmp(got, text, want) == 0);
}

static bool nothing_within(int fd, unsigned ms)
{
        const struct timeval brief = { .tv_usec = ms * 1000 };
        char byte;
        bool nothing;

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof(brief));
        nothing = recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN;
        be_patient(fd);
        return nothing;
}

Test(tcp_proxy, carries_both_ways_and_passes_the_end_on)
{
        struct path path = path_open();
        char byte;

        send_text(path.client, "question");
        expect(path.server, "question");
        shutdown(path.client, SHUT_WR);
        cr_assert(recv(path.server, &byte, 1, 0) == 0);
        send_text(path.server, "answer");
        expect(path.client, "answer");
        path_close(&path);
}

Test(tcp_proxy, delays_one_direction)
{
        struct path path = path_open();
        uint64_t begin_ms = clock_mono_ms();

        tcp_proxy_delay(path.proxy, PROXY_TO_SERVER, 300);
        send_text(path.client, "a");
        expect(path.server, "a");
        cr_assert(ge(u64, clock_mono_ms() - begin_ms, 300));
        path_close(&path);
}

Test(tcp_proxy, stalls_and_goes_on_without_a_loss)
{
        struct path path = path_open();

        tcp_proxy_stall(path.proxy, PROXY_TO_CLIENT, 1);
        send_text(path.server, "held");
        cr_assert(nothing_within(path.client, 200));
        send_text(path.client, "other way");
        expect(path.server, "other way");
        tcp_proxy_stall(path.proxy, PROXY_TO_CLIENT, 0);
        expect(path.client, "held");
        path_close(&path);
}

Test(tcp_proxy, cuts_with_fin_and_resets_with_rst)
{
        struct path path = path_open();
        char byte;

        tcp_proxy_cut(path.proxy);
        cr_assert(recv(path.client, &byte, 1, 0) == 0);
        cr_assert(recv(path.server, &byte, 1, 0) == 0);
        path_close(&path);
        path = path_open();
        tcp_proxy_reset(path.proxy);
        cr_assert(recv(path.client, &byte, 1, 0) == -1 && errno == ECONNRESET);
        path_close(&path);
}

Test(tcp_proxy, ends_in_mid_message)
{
        struct path path = path_open();
        char byte;

        send_text(path.client, "whole");
        expect(path.server, "whole");
        tcp_proxy_truncate(path.proxy, PROXY_TO_SERVER, 3);
        send_text(path.client, "abcdef");
        expect(path.server, "abc");
        cr_assert(recv(path.server, &byte, 1, 0) == 0);
        cr_assert(eq(u64, tcp_proxy_counts(path.proxy).truncated, 1));
        path_close(&path);
}

Test(tcp_proxy, loses_exactly_the_published_messages_it_is_told_to)
{
        static const char message[] = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n";
        struct path path = path_open();

        tcp_proxy_lose_messages(path.proxy, 0); /* from now on connections are watched */
        close(path.client);
        close(path.server);
        path.client = connect_to(tcp_proxy_port(path.proxy));
        path.server = accept(path.listener, NULL, NULL);
        send_text(path.server, message);
        expect(path.client, message);
        tcp_proxy_lose_messages(path.proxy, 1);
        send_text(path.server, "*3\r\n$7\r\nmess"); /* in pieces, as they come */
        usleep(20000);
        send_text(path.server, "age\r\n$1\r\nc\r\n$1\r\n2\r\n+PONG\r\n*1\r\n:7\r\n");
        send_text(path.server, message);
        expect(path.client, "+PONG\r\n*1\r\n:7\r\n");
        expect(path.client, message);
        cr_assert(eq(u64, tcp_proxy_counts(path.proxy).messages_lost, 1));
        path_close(&path);
}

Test(tcp_proxy, deals_connections_to_its_servers_and_passes_over_one_that_is_gone)
{
        struct path path = path_open();
        uint16_t port, gone_port;
        char server[32];
        int other = listen_at(&port), gone = listen_at(&gone_port), clients[4];

        close(gone);
        snprintf(server, sizeof(server), "127.0.0.1:%u", gone_port);
        tcp_proxy_set_server(path.proxy, 1, server);
        snprintf(server, sizeof(server), "127.0.0.1:%u", port);
        tcp_proxy_set_server(path.proxy, 2, server);
        for (int i = 0; i < 4; i++)
                clients[i] = connect_to(tcp_proxy_port(path.proxy));
        for (int i = 0; i < 2; i++) {
                close(accept(path.listener, NULL, NULL));
                close(accept(other, NULL, NULL));
        }
        for (int i = 0; i < 4; i++)
                close(clients[i]);
        close(other);
        path_close(&path);
}
