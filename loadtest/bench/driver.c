/* loadtest/bench/driver.c -- the load side of a measurement: holds many WebSocket connections and
 * counts frames and bytes, or asks for bundles over keep-alive connections. It does as told on
 * stdin, one command a line, and answers each with one line of JSON on stdout:
 *
 *   connect M WINDOW   M devices with 36-byte ids, at most WINDOW on their way; a device is in when
 *                      it has its greeting. Whom the server refuses (429, 503) comes again after
 *                      its Retry-After; whose connection breaks is lost
 *   stuck M            M devices with small receive buffers that read nothing after their greeting
 *   silent M           M sockets that connect and say nothing
 *   wait K TIMEOUT_MS  until each device (but the stuck ones) has K more frames than at the last
 *                      wait; latencies are from the first byte to anybody since then
 *   prefetch R C PATH  R requests over C connections
 *   close              all sockets
 *
 * Checks nothing but completeness: that is kickoff-herd's work. Of several ports each gets 50
 * connections in turn: dealt out one by one, servers that share a core would wake for each, and
 * that would be measured. Source addresses are 127.1.0.x, 200 connections each: one address has
 * only 28,232 ports, and a server may take thousands behind one for an attack. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "proto/ws.h"

#define SOCKETS_MAX     19800
#define PER_SOURCE      200
#define STARTS          64 /* in a row, before what came meanwhile is seen to */
#define EVENTS          512
#define FRAME_SIZES_MAX 4
#define PORTS_MAX       64
#define PER_TURN        50
#define STUCK_RCVBUF    4096
#define PATIENCE_US     UINT64_C(20000000) /* without anybody new */
/* Loopback's segments of 64 KiB make the kernel offer the server's side megabytes of send buffer,
 * in which a peer that reads nothing would go unnoticed. This is what a network's path gives. */
#define STUCK_MSS 1400

enum state { UNUSED, CONNECTING, UPGRADING, READY, REFUSED, SILENT, STUCK, FETCHING };

struct peer {
        int fd;
        uint8_t state, header_len;
        bool is_stuck;
        uint8_t header[4];
        uint32_t remaining; /* of the frame or body being read, bytes */
        uint32_t frames;
        uint32_t told_us;  /* when it reached the goal, after first_us */
        uint64_t again_us; /* REFUSED: when it comes again */
};

static struct peer *peers;
static size_t n_peers, n_ready, n_failed, n_lost, n_refused, n_refusals;
static uint32_t greeting_frames; /* that make a device ready */
static uint64_t bytes_in, first_us, last_us;
static uint32_t goal; /* frames each device should have */
static size_t n_at_goal;
static uint32_t frame_sizes[FRAME_SIZES_MAX]; /* whole frames as they came to the first device */
static uint64_t fetches_asked, fetches_done, fetches_wanted, fetches_bad;
static char fetch_request[512];
static int set;
static uint16_t ports[PORTS_MAX];
static size_t n_ports;
static uint8_t buffer[256 * 1024];

static void fail(const char *what)
{
        fprintf(stderr, "kickoff-bench-driver: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void open_socket(struct peer *peer)
{
        size_t index = (size_t)(peer - peers);
        uint32_t source = 0x7f010001u + (uint32_t)(index / PER_SOURCE);
        struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(ports[index / PER_TURN % n_ports]),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.u64 = index };
        int one = 1, small = STUCK_RCVBUF, mss = STUCK_MSS;

        peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (peer->fd < 0)
                fail("socket");
        setsockopt(peer->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (peer->is_stuck && (setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) ||
                               setsockopt(peer->fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss))))
                fail("setsockopt");
        if (bind(peer->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
                fail("bind");
        if (connect(peer->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
                fail("connect");
        if (epoll_ctl(set, EPOLL_CTL_ADD, peer->fd, &event) != 0)
                fail("epoll_ctl");
}

static void start_peer(enum state state)
{
        peers[n_peers] = (struct peer){ .state = (uint8_t)(state == STUCK ? CONNECTING : state),
                                        .is_stuck = state == STUCK };
        open_socket(&peers[n_peers++]);
}

/* Failed: before it was in. */
static void lose(struct peer *peer)
{
        close(peer->fd);
        n_failed += peer->state == CONNECTING || peer->state == UPGRADING;
        peer->state = UNUSED;
        n_lost++;
}

/* 429 and 503 are the server's way to say "not now": the device does as it is told. */
static void come_again(struct peer *peer, const uint8_t *head, size_t len)
{
        static const char field[] = "\r\nretry-after:";
        unsigned long seconds = 1;

        for (size_t i = 0; i + sizeof(field) < len; i++)
                if (strncasecmp((const char *)head + i, field, sizeof(field) - 1) == 0)
                        seconds = strtoul((const char *)head + i + sizeof(field) - 1, NULL, 10);
        close(peer->fd);
        *peer = (struct peer){ .state = REFUSED,
                               .is_stuck = peer->is_stuck,
                               .again_us = clock_mono_us() + seconds * 1000000 };
        n_refused++;
        n_refusals++;
}

static void start_again(void)
{
        uint64_t now = clock_mono_us();

        for (size_t i = 0; i < n_peers && n_refused > 0; i++)
                if (peers[i].state == REFUSED && peers[i].again_us <= now) {
                        peers[i].state = CONNECTING;
                        n_refused--;
                        open_socket(&peers[i]);
                }
}

static void say(struct peer *peer, const char *text, size_t len)
{
        if (send(peer->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
                lose(peer);
}

static void on_connected(struct peer *peer)
{
        size_t index = (size_t)(peer - peers);
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = index };
        char request[512];
        int n;

        epoll_ctl(set, EPOLL_CTL_MOD, peer->fd, &event);
        if (peer->state == SILENT) {
                n_ready++;
                return;
        }
        if (peer->state == FETCHING) {
                fetches_asked++;
                say(peer, fetch_request, strlen(fetch_request));
                return;
        }
        peer->state = UPGRADING;
        n = snprintf(request, sizeof(request),
                     "GET /v1/connect?device=%08zx-0000-4000-8000-%012zx&ack=0 HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Protocol: kickoff.v1.json\r\n\r\n",
                     index, index, ports[index / PER_TURN % n_ports]);
        say(peer, request, (size_t)n);
}

/* Empty and masked with zeros. A node pings with nothing in it, and closes whoever does not answer.
 */
static const char pong[] = { (char)(0x80 | WS_PONG), (char)0x80, 0, 0, 0, 0 };

static void come_in(struct peer *peer)
{
        peer->state = peer->is_stuck ? STUCK : READY;
        n_ready++;
        if (peer->is_stuck)
                epoll_ctl(set, EPOLL_CTL_DEL, peer->fd, NULL);
}

static void count_frame(struct peer *peer, uint32_t payload, size_t header_len)
{
        if ((peer->header[0] & 0x0f) >= WS_CLOSE) { /* control frames are not what is counted */
                if ((peer->header[0] & 0x0f) == WS_PING)
                        say(peer, pong, sizeof(pong));
                return;
        }
        if (peer == peers && peer->frames < FRAME_SIZES_MAX)
                frame_sizes[peer->frames] = payload + (uint32_t)header_len;
        peer->frames++;
        if (peer->state == UPGRADING && peer->frames == greeting_frames)
                come_in(peer);
        if (peer->frames == goal && goal > greeting_frames) {
                n_at_goal++;
                peer->told_us = (uint32_t)(last_us - first_us);
        }
}

/* A frame is counted when its header is complete and done when its payload is: near enough for
 * counting. */
static void read_frames(struct peer *peer, const uint8_t *bytes, size_t len)
{
        while (len > 0) {
                size_t take, need;

                if (peer->remaining > 0) {
                        take = len < peer->remaining ? len : peer->remaining;
                        peer->remaining -= (uint32_t)take;
                        bytes += take;
                        len -= take;
                        continue;
                }
                peer->header[peer->header_len++] = *bytes++;
                len--;
                need = peer->header_len < 2 ? 2 : peer->header[1] == 126 ? 4 : 2;
                if (peer->header_len < need)
                        continue;
                check(peer->header[1] <= 126);
                peer->remaining = need == 4 ? (uint32_t)(peer->header[2] << 8 | peer->header[3])
                                            : peer->header[1];
                peer->header_len = 0;
                count_frame(peer, peer->remaining, need);
        }
}

/* Heads are small enough to come in one piece on loopback; one that does not is an error here. */
static size_t read_head(struct peer *peer, const uint8_t *bytes, size_t len, const char *status)
{
        const uint8_t *stop = memmem(bytes, len, "\r\n\r\n", 4);

        if (stop != NULL && len >= 12 && memcmp(bytes + 9, status, 3) == 0)
                return (size_t)(stop - bytes) + 4;
        if (stop != NULL && peer->state == UPGRADING &&
            (memcmp(bytes + 9, "503", 3) == 0 || memcmp(bytes + 9, "429", 3) == 0))
                come_again(peer, bytes, (size_t)(stop - bytes) + 4);
        else
                lose(peer);
        return 0;
}

static void read_bundle(struct peer *peer, const uint8_t *bytes, size_t len)
{
        if (peer->remaining == 0) {
                size_t used = read_head(peer, bytes, len, "200");
                const char *field = used > 0 ? memmem(bytes, used, "ontent-", 7) : NULL;

                while (field != NULL && strncasecmp(field, "ontent-length:", 14) != 0)
                        field = memmem(field + 1, used - (size_t)(field + 1 - (const char *)bytes),
                                       "ontent-", 7);
                if (field == NULL) {
                        fetches_bad++;
                        return;
                }
                peer->remaining = (uint32_t)strtoul(field + 14, NULL, 10);
                bytes += used;
                len -= used;
        }
        check(len <= peer->remaining);
        peer->remaining -= (uint32_t)len;
        if (peer->remaining > 0)
                return;
        fetches_done++;
        if (fetches_asked < fetches_wanted) {
                fetches_asked++;
                say(peer, fetch_request, strlen(fetch_request));
        }
}

static void on_readable(struct peer *peer)
{
        ssize_t n = recv(peer->fd, buffer, sizeof(buffer), 0);
        const uint8_t *bytes = buffer;
        size_t len = (size_t)n, head;

        if (n <= 0) {
                if (n == 0 || errno != EAGAIN)
                        lose(peer);
                return;
        }
        last_us = clock_mono_us();
        if (first_us == 0)
                first_us = last_us;
        bytes_in += len;
        if (peer->state == FETCHING) {
                read_bundle(peer, bytes, len);
                return;
        }
        if (peer->state == UPGRADING && peer->frames == 0 && peer->remaining == 0 &&
            peer->header_len == 0 && *bytes == 'H') {
                head = read_head(peer, bytes, len, "101");
                if (head == 0)
                        return;
                if (greeting_frames == 0)
                        come_in(peer);
                bytes += head;
                len -= head;
        }
        read_frames(peer, bytes, len);
}

static void turn(int timeout_ms)
{
        struct epoll_event events[EVENTS];
        int n = epoll_wait(set, events, EVENTS, timeout_ms);

        for (int i = 0; i < n; i++) {
                struct peer *peer = &peers[events[i].data.u64];

                if (peer->state == UNUSED)
                        continue;
                if ((events[i].events & EPOLLOUT) != 0)
                        on_connected(peer);
                if (peer->state != UNUSED &&
                    (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
                        on_readable(peer);
        }
}

static void connect_many(size_t many, size_t window, enum state state)
{
        uint64_t began = clock_mono_us(), moved = began, looked = began, told;
        size_t ready_before = n_ready, failed_before = n_failed, seen = 0, started = 0;

        bytes_in = 0;
        n_refusals = 0;
        while (seen < many && clock_mono_us() - moved < (n_refused > 0 ? 3 : 1) * PATIENCE_US) {
                size_t now;

                for (unsigned i = 0; i < STARTS && started < many &&
                                     started - seen - n_refused < window && n_peers < SOCKETS_MAX;
                     i++) {
                        start_peer(state);
                        started++;
                }
                turn(started < many ? 0 : 10);
                if (n_refused > 0 && clock_mono_us() - looked > 20000) {
                        looked = clock_mono_us();
                        start_again();
                }
                now = n_ready - ready_before + n_failed - failed_before;
                if (now != seen)
                        moved = clock_mono_us();
                seen = now;
        }
        told = moved - began; /* not the patience after the last one */
        printf("{\"ready\": %zu, \"lost\": %zu, \"refusals\": %zu, \"seconds\": %.6f, "
               "\"bytes\": %llu, \"hello_bytes\": %u, \"reset_bytes\": %u}\n",
               n_ready - ready_before, many - (n_ready - ready_before), n_refusals,
               (double)told / 1e6, (unsigned long long)bytes_in, frame_sizes[0], frame_sizes[1]);
        goal = greeting_frames;
}

static int by_size(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

/* `goal` may rise by more than one at a time; devices may have passed it already. */
static void wait_frames(uint32_t more, uint64_t timeout_ms)
{
        static uint32_t told[SOCKETS_MAX];
        uint64_t until = clock_mono_us() + timeout_ms * 1000;
        size_t devices = 0, n = 0;

        first_us = 0;
        goal += more;
        n_at_goal = 0;
        for (size_t i = 0; i < n_peers; i++) {
                devices += peers[i].state == READY;
                n_at_goal += peers[i].state == READY && peers[i].frames >= goal;
        }
        while (n_at_goal < devices && clock_mono_us() < until)
                turn(50);
        for (size_t i = 0; i < n_peers; i++)
                if (peers[i].state == READY && peers[i].frames >= goal)
                        told[n++] = peers[i].told_us;
        qsort(told, n, sizeof(*told), by_size);
        printf("{\"devices\": %zu, \"complete\": %zu, \"lost\": %zu, \"bytes\": %llu, "
               "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"signal_bytes\": %u}\n",
               devices, n_at_goal, n_lost, (unsigned long long)bytes_in,
               n == 0 ? 0 : told[n / 2] / 1e3, n == 0 ? 0 : told[n * 99 / 100] / 1e3,
               n == 0 ? 0 : told[n - 1] / 1e3, frame_sizes[greeting_frames]);
        bytes_in = 0;
}

static void prefetch(uint64_t requests, size_t connections, const char *path)
{
        uint64_t began = clock_mono_us();

        snprintf(fetch_request, sizeof(fetch_request),
                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", path, ports[0]);
        fetches_asked = fetches_done = fetches_bad = 0;
        fetches_wanted = requests;
        bytes_in = 0;
        for (size_t i = 0; i < connections && n_peers < SOCKETS_MAX; i++)
                start_peer(FETCHING);
        while (fetches_done + fetches_bad < requests && clock_mono_us() - began < 120000000 &&
               fetches_bad < connections)
                turn(50);
        printf("{\"done\": %llu, \"bad\": %llu, \"seconds\": %.6f, \"bytes\": %llu}\n",
               (unsigned long long)fetches_done, (unsigned long long)fetches_bad,
               (double)(clock_mono_us() - began) / 1e6, (unsigned long long)bytes_in);
}

static void close_all(void)
{
        for (size_t i = 0; i < n_peers; i++)
                if (peers[i].state != UNUSED && peers[i].state != REFUSED)
                        close(peers[i].fd);
        n_peers = n_ready = n_failed = n_lost = n_refused = 0;
        puts("{}");
}

static bool obey(const char *line)
{
        unsigned long a, b;
        char path[256];

        if (sscanf(line, "connect %lu %lu", &a, &b) == 2)
                connect_many(a, b, CONNECTING);
        else if (sscanf(line, "stuck %lu", &a) == 1)
                connect_many(a, 512, STUCK);
        else if (sscanf(line, "silent %lu", &a) == 1)
                connect_many(a, 512, SILENT);
        else if (sscanf(line, "wait %lu %lu", &a, &b) == 2)
                wait_frames((uint32_t)a, b);
        else if (sscanf(line, "prefetch %lu %lu %255s", &a, &b, path) == 3)
                prefetch(a, b, path);
        else if (strncmp(line, "close", 5) == 0)
                close_all();
        else
                return false;
        fflush(stdout);
        return true;
}

int main(int argc, char **argv)
{
        struct rlimit limit;
        char line[512];

        if (argc < 3 || argc > 2 + PORTS_MAX) {
                fputs("usage: kickoff-bench-driver GREETING_FRAMES PORT...   (commands on stdin)\n",
                      stderr);
                return 2;
        }
        greeting_frames = (uint32_t)strtoul(argv[1], NULL, 10);
        check(greeting_frames < FRAME_SIZES_MAX);
        for (int i = 2; i < argc; i++)
                ports[n_ports++] = (uint16_t)strtoul(argv[i], NULL, 10);
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        peers = calloc(SOCKETS_MAX, sizeof(*peers));
        set = epoll_create1(EPOLL_CLOEXEC);
        check(peers != NULL && set >= 0);
        while (fgets(line, sizeof(line), stdin) != NULL)
                if (!obey(line)) {
                        fprintf(stderr, "kickoff-bench-driver: unknown command: %s", line);
                        return 2;
                }
        return 0;
}
