/* loadtest/bench/floor.c -- the least a server can do: the system calls each job needs, and nothing
 * else. What Kickoff's node costs is told as a ratio to this. One thread, one epoll set, no parsing
 * beyond the first bytes of the path, fixed answers made before the first connection.
 *
 *   handshake   accept4, epoll_ctl, recv, send of a fixed 101 with two frames behind it
 *   broadcast   on SIGUSR1: one send() of the same frame per socket
 *   prefetch    keep-alive: recv, send of a ready-made head and body
 *
 *   kickoff-bench-floor PORT HELLO_BYTES RESET_BYTES SIGNAL_BYTES BODY_BYTES
 * Sizes are of whole frames, so that the bytes are those of the node it is compared with; in place
 * of a size, `@FILE` is a whole frame to be sent as it is, to devices that read what they get.
 * Prints the port when it listens. A peer that does not take a whole answer at once is an error:
 * the sizes are far below any socket buffer. Only in a broadcast it may be a device that does not
 * read: it is forgotten. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "proto/ws.h"

#define SOCKETS_MAX 20000
#define EVENTS      512

struct answer {
        uint8_t *bytes;
        size_t len;
};

static struct answer upgrade, signal_frame, bundle;
static bool is_device[SOCKETS_MAX * 2]; /* by descriptor */
static int highest;

static void fail(const char *what)
{
        fprintf(stderr, "kickoff-bench-floor: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void answer_add(struct answer *answer, const void *bytes, size_t len)
{
        answer->bytes = realloc(answer->bytes, answer->len + len);
        check(answer->bytes != NULL);
        memcpy(answer->bytes + answer->len, bytes, len);
        answer->len += len;
}

static void answer_add_file(struct answer *answer, const char *path)
{
        FILE *file = fopen(path, "re");
        char bytes[16384];
        size_t n = file != NULL ? fread(bytes, 1, sizeof(bytes), file) : 0;

        if (n == 0 || n == sizeof(bytes))
                fail(path);
        fclose(file);
        answer_add(answer, bytes, n);
}

/* A text frame of `wanted` bytes with its header, or the frame in the file `@FILE`. */
static void answer_add_frame(struct answer *answer, const char *wanted)
{
        if (*wanted == '@') {
                answer_add_file(answer, wanted + 1);
                return;
        }

        size_t size = strtoul(wanted, NULL, 10), payload = size - (size <= 127 ? 2 : 4);
        uint8_t header[WS_HEADER_MAX];
        char *text = malloc(payload);

        check(size > 4 && text != NULL);
        memset(text, 'x', payload);
        answer_add(answer, header, ws_header(header, WS_TEXT, payload));
        answer_add(answer, text, payload);
        free(text);
}

static void make_answers(char **sizes)
{
        static const char head[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                   "Upgrade: websocket\r\n"
                                   "Connection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                   "Sec-WebSocket-Protocol: kickoff.v1.json\r\n\r\n";
        size_t body_len = strtoul(sizes[3], NULL, 10);
        char bundle_head[512];
        char *body = malloc(body_len + 1);

        check(body != NULL);
        memset(body, 'b', body_len);
        answer_add(&upgrade, head, sizeof(head) - 1);
        answer_add_frame(&upgrade, sizes[0]);
        answer_add_frame(&upgrade, sizes[1]);
        answer_add_frame(&signal_frame, sizes[2]);
        snprintf(bundle_head, sizeof(bundle_head),
                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                 "ETag: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\r\n"
                 "Kickoff-Bundle: 1\r\nCache-Control: public, max-age=300\r\n\r\n",
                 body_len);
        answer_add(&bundle, bundle_head, strlen(bundle_head));
        answer_add(&bundle, body, body_len);
        free(body);
}

static void send_whole(int fd, const struct answer *answer)
{
        if (send(fd, answer->bytes, answer->len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
            (ssize_t)answer->len)
                fail("send");
}

static void on_readable(int fd)
{
        char request[4096];
        ssize_t n = recv(fd, request, sizeof(request), MSG_DONTWAIT);

        if (n <= 0) {
                if (n < 0 && errno == EAGAIN)
                        return;
                is_device[fd] = false;
                close(fd);
        } else if (is_device[fd]) {
                return;                          /* an ack or a pong: taken in, and that is all */
        } else if (n > 8 && request[8] == 'c') { /* GET /v1/connect */
                is_device[fd] = true;
                highest = fd > highest ? fd : highest;
                send_whole(fd, &upgrade);
        } else if (n > 8 && request[8] == 'p') { /* GET /v1/prefetch */
                send_whole(fd, &bundle);
        }
}

static void broadcast(void)
{
        for (int fd = 0; fd <= highest; fd++)
                if (is_device[fd] && send(fd, signal_frame.bytes, signal_frame.len,
                                          MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)signal_frame.len)
                        is_device[fd] = false;
}

static void watch(int set, int fd)
{
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

        if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
                fail("epoll_ctl");
}

static void accept_all(int set, int listener)
{
        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;

                if (fd < 0)
                        return;
                check((size_t)fd < countof(is_device));
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                watch(set, fd);
        }
}

static int listen_on(uint16_t port)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
            getsockname(fd, (struct sockaddr *)&address, &len) != 0)
                fail("listen");
        printf("%u\n", ntohs(address.sin_port));
        fflush(stdout);
        return fd;
}

int main(int argc, char **argv)
{
        struct epoll_event events[EVENTS];
        struct rlimit limit;
        sigset_t wanted;
        int set, listener, signals;

        if (argc != 6) {
                fputs(
                    "usage: kickoff-bench-floor PORT HELLO_BYTES RESET_BYTES SIGNAL_BYTES BODY_BYTES\n",
                    stderr);
                return 2;
        }
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        make_answers(argv + 2);
        sigemptyset(&wanted);
        sigaddset(&wanted, SIGUSR1);
        sigprocmask(SIG_BLOCK, &wanted, NULL);
        signals = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
        set = epoll_create1(EPOLL_CLOEXEC);
        listener = listen_on((uint16_t)strtoul(argv[1], NULL, 10));
        watch(set, listener);
        watch(set, signals);
        for (;;) {
                int n = epoll_wait(set, events, EVENTS, -1);

                for (int i = 0; i < n; i++) {
                        int fd = events[i].data.fd;
                        struct signalfd_siginfo info;

                        if (fd == listener)
                                accept_all(set, fd);
                        else if (fd != signals)
                                on_readable(fd);
                        else if (read(fd, &info, sizeof(info)) == sizeof(info))
                                broadcast();
                }
        }
}
