/* tests/gateway/client.h -- a raw device for tests: a blocking socket, bytes in, bytes out; and a
 * worker to talk to, whose control side the test plays. Reads give up after 10 s, so that a broken
 * worker fails a test instead of hanging it. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/worker.h"
#include "proto/ws.h"
#include "tests/gateway/log_fixture.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

/* --- the worker ------------------------------------------------------------------------------- */

static inline struct worker_options test_worker_options(void)
{
        return (struct worker_options){ .host = "127.0.0.1",
                                        .node = "n1",
                                        .lifetime_ms = 1800000,
                                        .ack_spread_ms = 2000,
                                        .max_devices = 100000,
                                        .ring_capacity = 64 };
}

static inline struct worker *test_worker_start(const struct worker_options *options)
{
        struct worker *worker;
        const char *why;

        cr_assert(eq(int, worker_create(options, &worker, &why), OK), "%s", why);
        return worker;
}

/* `n` entries from `first` on, in one letter. */
static inline void test_entries(struct worker *worker, seqno first, size_t n)
{
        struct snapshot *snapshot = log_snapshot(first + n - 1);
        struct entry **entries = calloc(n, sizeof(*entries));

        for (size_t i = 0; i < n; i++)
                entries[i] = log_entry(first + i);
        worker_entries(worker, entries, n, snapshot);
        for (size_t i = 0; i < n; i++)
                entry_unref(entries[i]);
        free(entries);
        snapshot_unref(snapshot);
}

static inline void test_entry(struct worker *worker, seqno seq)
{
        test_entries(worker, seq, 1);
}

/* Until `devices` sessions are held; letters and sockets are asynchronous. */
static inline bool test_wait_devices(const struct worker *worker, uint64_t devices)
{
        for (int i = 0; i < 10000; i++) {
                if (worker_devices(worker) == devices)
                        return true;
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        }
        return false;
}

/* --- the socket ------------------------------------------------------------------------------- */

/* An interrupted connect() goes on by itself (POSIX, connect): it is over when the socket is
 * writable, and well if it holds no error. sender_destroy() in this thread may interrupt
 * (sender.h). */
static inline int client_finish_connect(int fd)
{
        struct pollfd poller = { .fd = fd, .events = POLLOUT };
        socklen_t len = sizeof(int);
        int error = 0, n;

        do
                n = poll(&poller, 1, 10000);
        while (n < 0 && errno == EINTR);
        if (n != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
                return -1;
        errno = error;
        return error == 0 ? 0 : -1;
}

static inline int client_connect_to(uint16_t port, int receive_buffer)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct timeval limit = { .tv_sec = 10 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, result;

        cr_assert(ge(int, fd, 0));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (receive_buffer > 0)
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        result = connect(fd, (struct sockaddr *)&address, sizeof(address));
        if (result != 0 && errno == EINTR)
                result = client_finish_connect(fd);
        cr_assert(zero(int, result), "connect: %s", strerror(errno));
        return fd;
}

static inline int client_connect_with(const struct worker *worker, int receive_buffer)
{
        return client_connect_to(worker_port(worker), receive_buffer);
}

static inline int client_connect(const struct worker *worker)
{
        return client_connect_with(worker, 0);
}

static inline void client_send(int fd, const void *bytes, size_t len)
{
        cr_assert(eq(i64, send(fd, bytes, len, MSG_NOSIGNAL), (int64_t)len));
}

static inline void client_say(int fd, const char *text)
{
        client_send(fd, text, strlen(text));
}

static inline void client_read(int fd, void *into, size_t len)
{
        char *at = into;

        while (len > 0) {
                ssize_t n = recv(fd, at, len, 0);

                if (n < 0 && errno == EINTR) /* sender_destroy() in this thread, for one */
                        continue;
                cr_assert(gt(i64, n, 0), "recv: %s", n == 0 ? "closed" : strerror(errno));
                at += n;
                len -= (size_t)n;
        }
}

/* True when the peer closes without another byte. */
static inline bool client_sees_end(int fd)
{
        char byte;
        ssize_t n;

        do {
                n = recv(fd, &byte, 1, 0);
        } while (n < 0 && errno == EINTR);
        return n == 0;
}

/* A head, up to and with the empty line; NUL-terminated. */
static inline void client_read_head(int fd, char *head, size_t size)
{
        size_t len = 0;

        do {
                cr_assert(lt(sz, len, size - 1));
                client_read(fd, head + len++, 1);
                head[len] = '\0';
        } while (len < 4 || strcmp(head + len - 4, "\r\n\r\n") != 0);
}

/* A whole response with Content-Length. Returns the status; the body is NUL-terminated. */
static inline int client_read_response(int fd, char *head, size_t head_size, char *body,
                                       size_t body_size)
{
        const char *field;
        size_t len = 0;

        client_read_head(fd, head, head_size);
        field = strstr(head, "\r\nContent-Length: ");
        if (field != NULL)
                len = strtoul(field + 18, NULL, 10);
        cr_assert(lt(sz, len, body_size));
        client_read(fd, body, len);
        body[len] = '\0';
        return atoi(head + 9);
}

/* Installs, and waits until the worker says that it is ready: letters are asynchronous. */
static inline void test_install_snapshot(struct worker *worker, struct snapshot *snapshot,
                                         struct entry *const *entries, size_t n)
{
        char head[1024], body[1024];
        int status = 0;

        worker_install(worker, snapshot, entries, n);
        for (int i = 0; i < 10000 && status != 200; i++) {
                int fd = client_connect(worker);

                client_say(fd, "GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
                status = client_read_response(fd, head, sizeof(head), body, sizeof(body));
                close(fd);
        }
        cr_assert(eq(int, status, 200));
}

static inline void test_install(struct worker *worker, seqno head)
{
        struct snapshot *snapshot = log_snapshot(head);

        test_install_snapshot(worker, snapshot, NULL, 0);
        snapshot_unref(snapshot);
}

/* A worker of its own, whose log reaches to `head`. */
static inline struct worker *test_worker_at(seqno head)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);

        test_install(worker, head);
        return worker;
}

/* With the entries after `base`. */
static inline void test_install_with(struct worker *worker, seqno base, seqno head, size_t others)
{
        struct snapshot *snapshot = log_snapshot_of(EPOCH, 0, head, others);
        struct entry **entries = calloc(head - base + 1, sizeof(*entries));
        size_t n = 0;

        for (seqno seq = base + 1; seq <= head; seq++)
                entries[n++] = log_entry(seq);
        test_install_snapshot(worker, snapshot, entries, n);
        for (size_t i = 0; i < n; i++)
                entry_unref(entries[i]);
        free(entries);
        snapshot_unref(snapshot);
}

/* --- WebSocket -------------------------------------------------------------------------------- */

static inline void client_upgrade(int fd, const char *query, const char *fields)
{
        char text[2048];

        snprintf(text, sizeof(text),
                 "GET /v1/connect?device=tv-1%s HTTP/1.1\r\nHost: n\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY
                 "\r\n%s\r\n",
                 query, fields);
        client_say(fd, text);
}

struct client_frame {
        unsigned opcode;
        size_t len;
        char *payload; /* NUL-terminated; free() it */
};

static inline struct client_frame client_read_frame(int fd)
{
        struct client_frame frame;
        uint8_t header[8];

        client_read(fd, header, 2);
        cr_assert(eq(uint, header[0] & 0xF0u, 0x80u)); /* final, no extension */
        cr_assert(zero(uint, header[1] & 0x80u));      /* a server does not mask */
        frame.opcode = header[0] & 0x0Fu;
        frame.len = header[1];
        if (frame.len >= 126) {
                size_t more = frame.len == 126 ? 2 : 8;

                client_read(fd, header, more);
                frame.len = 0;
                for (size_t i = 0; i < more; i++)
                        frame.len = frame.len << 8 | header[i];
        }
        frame.payload = malloc(frame.len + 1);
        client_read(fd, frame.payload, frame.len);
        frame.payload[frame.len] = '\0';
        return frame;
}

static inline void client_send_frame(int fd, enum ws_opcode opcode, const void *payload, size_t len)
{
        static const uint8_t mask[4] = { 1, 2, 3, 4 };
        uint8_t *frame = malloc(WS_HEADER_MAX + len);

        client_send(fd, frame, ws_client_frame(frame, opcode, payload, len, mask));
        free(frame);
}

static inline void client_send_text(int fd, const char *text)
{
        client_send_frame(fd, WS_TEXT, text, strlen(text));
}

/* One message of the node, decoded; message_fini() it. */
static inline struct message client_read_message(int fd, enum encoding encoding)
{
        struct client_frame frame = client_read_frame(fd);
        struct message message;

        cr_assert(eq(uint, frame.opcode, encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY));
        cr_assert(eq(int, message_decode(frame.payload, frame.len, encoding, &message), OK), "%s",
                  frame.payload);
        free(frame.payload);
        return message;
}

static inline void client_expect_close(int fd, unsigned code)
{
        struct client_frame frame = client_read_frame(fd);

        cr_assert(eq(uint, frame.opcode, WS_CLOSE));
        cr_assert(ge(sz, frame.len, 2));
        cr_assert(
            eq(uint, (unsigned)(uint8_t)frame.payload[0] << 8 | (uint8_t)frame.payload[1], code));
        free(frame.payload);
        cr_assert(client_sees_end(fd));
}

/* Connects, upgrades, and reads hello and (unless recovered) the reset. */
static inline int client_join(const struct worker *worker, const char *query)
{
        int fd = client_connect(worker);
        char head[1024];
        struct message message;

        client_upgrade(fd, query, "");
        client_read_head(fd, head, sizeof(head));
        cr_assert(zero(int, strncmp(head, "HTTP/1.1 101 ", 13)), "%s", head);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_HELLO));
        if (!message.hello.recovered) {
                message_fini(&message);
                message = client_read_message(fd, ENCODING_JSON);
                cr_assert(eq(int, message.type, MESSAGE_RESET));
        }
        message_fini(&message);
        return fd;
}

static inline void client_expect_signal(int fd, enum encoding encoding, seqno seq)
{
        struct message message = client_read_message(fd, encoding);

        cr_assert(eq(int, message.type, MESSAGE_SIGNAL));
        cr_assert(eq(u64, message.signal.token.seq, seq));
        cr_assert(eq(u64, message.signal.token.tag, log_tag(0, seq)));
        message_fini(&message);
}
