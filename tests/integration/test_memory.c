/* What a node's memory is spent on, measured on a real one from outside: contract line 11, and the
 * table "A session's memory" in gateway/DESIGN.md. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/integration/harness.h"

#define SESSIONS    10000
#define SESSION_MAX 256 /* bytes of user space per idle session with a 36-byte id: the promise */
#define RUSH        5000
/* Free blocks that a worker may keep (POOL_KEEP of 8 KiB), and half a MiB for all that is counted
 * in pages: stacks, buffers of libraries, malloc's rounding. */
#define KEPT_MAX ((int64_t)(64 * 8192 + 512 * 1024))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

/* Bytes of the process' own: pages it shares with others count by their share. */
static int64_t memory_of(pid_t pid)
{
        char path[64], line[256];
        long long kib = -1;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
        file = fopen(path, "r");
        cr_assert(ne(ptr, file, NULL), "%s: %s", path, strerror(errno));
        while (fgets(line, sizeof(line), file) != NULL)
                sscanf(line, "Pss: %lld kB", &kib);
        fclose(file);
        cr_assert(ge(i64, kib, 0));
        return kib * 1024;
}

static void need_descriptors(unsigned n)
{
        struct rlimit limit;

        if (IS_SANITIZED)
                cr_skip_test("sanitizers have memory of their own for all of ours");
        cr_assert(zero(int, getrlimit(RLIMIT_NOFILE, &limit)));
        limit.rlim_cur = limit.rlim_max;
        cr_assert(zero(int, setrlimit(RLIMIT_NOFILE, &limit)));
        if (limit.rlim_max < n)
                cr_skip_test("needs %u descriptors; ulimit -Hn says %llu", n,
                             (unsigned long long)limit.rlim_max);
}

/* From one of several addresses of this machine: as from several households. */
static int connect_from(const struct test_node *node, unsigned i)
{
        struct sockaddr_in from = { .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(0x7f000002 + i % 16) };
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(node->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct timeval limit = { .tv_sec = 60 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

        cr_assert(ge(int, fd, 0));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        cr_assert(zero(int, bind(fd, (struct sockaddr *)&from, sizeof(from))));
        cr_assert(zero(int, connect(fd, (struct sockaddr *)&to, sizeof(to))), "%s",
                  strerror(errno));
        return fd;
}

static int request(char text[512], unsigned i)
{
        return snprintf(text, 512,
                        "GET /v1/connect?device=%08x-1111-4222-8333-%012x HTTP/1.1\r\nHost: n\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        i, i);
}

/* The answer's status. */
static int read_answer(int fd)
{
        char head[4096];
        ssize_t n =
            recv(fd, head, sizeof(head) - 1, 0); /* 101, hello and reset come in one piece */
        int status = 0;

        cr_assert(gt(i64, n, 12), "%s", n < 0 ? strerror(errno) : "closed");
        head[n] = '\0';
        cr_assert(eq(int, sscanf(head, "HTTP/1.1 %d ", &status), 1), "%s", head);
        return status;
}

/* On a busy machine a node sheds newcomers: they come again after the second that it asks for. The
 * socket that was let in, `fd` or another. */
static int let_in(const struct test_node *node, int fd, unsigned i)
{
        char text[512];
        int len = request(text, i), status;

        while ((status = read_answer(fd)) == 503) {
                close(fd);
                poll(NULL, 0, 1000);
                fd = connect_from(node, i);
                cr_assert(eq(i64, send(fd, text, (size_t)len, MSG_NOSIGNAL), len));
        }
        cr_assert(eq(int, status, 101));
        return fd;
}

static int join(const struct test_node *node, unsigned i)
{
        int fd = connect_from(node, i);
        char text[512];
        int len = request(text, i);

        cr_assert(eq(i64, send(fd, text, (size_t)len, MSG_NOSIGNAL), len));
        return let_in(node, fd, i);
}

struct expected {
        const struct test_node *node;
        int64_t devices;
};

static bool holds(void *arg)
{
        const struct expected *expected = arg;

        return node_metric(expected->node, "kickoff_devices ") == expected->devices &&
               node_metric(expected->node, "kickoff_guests ") == 0;
}

static void until_it_holds(const struct test_node *node, int64_t devices)
{
        wait_until(holds, &(struct expected){ node, devices }, "the node to hold them");
}

/* All parts have been used once, so that their first pages are no session's. */
static void warm_up(const struct test_node *node)
{
        int fds[64];

        for (unsigned i = 0; i < 64; i++)
                fds[i] = join(node, i);
        until_it_holds(node, 64);
        for (unsigned i = 0; i < 64; i++)
                close(fds[i]);
        until_it_holds(node, 0);
}

Test(memory, an_idle_session_takes_no_more_than_256_bytes, .timeout = 240)
{
        struct test_node node = { 0 };
        int64_t before, after;
        double each;
        int *fds;

        need_descriptors(SESSIONS + 200);
        node_start(&node, NULL);
        warm_up(&node);
        before = memory_of(node.pid);
        fds = malloc(SESSIONS * sizeof(fds[0]));
        for (unsigned i = 0; i < SESSIONS; i++)
                fds[i] = join(&node, i);
        until_it_holds(&node, SESSIONS);
        after = memory_of(node.pid);
        each = (double)(after - before) / SESSIONS;
        fprintf(stderr,
                "%d idle sessions with 36-byte ids: %.0f bytes each, at most %d (%lld KiB, then "
                "%lld KiB)\n",
                SESSIONS, each, SESSION_MAX, (long long)before / 1024, (long long)after / 1024);
        cr_assert(le(dbl, each, SESSION_MAX));
        for (unsigned i = 0; i < SESSIONS; i++)
                close(fds[i]);
        free(fds);
        node_end(&node);
}

/* Between its halves a request head waits in a block of 8 KiB: 40 MiB in all, which must not stay.
 */
Test(memory, what_a_rush_of_halved_handshakes_took_is_given_back, .timeout = 240)
{
        struct test_node node = { 0 };
        int64_t before, during, after, kept;
        char text[512];
        int *fds;

        need_descriptors(RUSH + 200);
        node_start(&node, "--max-handshakes=12000", NULL);
        warm_up(&node);
        before = memory_of(node.pid);
        fds = malloc(RUSH * sizeof(fds[0]));
        for (unsigned i = 0; i < RUSH; i++) {
                int len = request(text, i);

                fds[i] = connect_from(&node, i);
                cr_assert(eq(i64, send(fds[i], text, (size_t)len / 2, MSG_NOSIGNAL), len / 2));
        }
        during = memory_of(node.pid);
        for (unsigned i = 0; i < RUSH; i++) {
                int len = request(text, i);

                cr_assert(eq(i64,
                             send(fds[i], text + len / 2, (size_t)(len - len / 2), MSG_NOSIGNAL),
                             len - len / 2));
        }
        for (unsigned i = 0; i < RUSH; i++)
                fds[i] = let_in(&node, fds[i], i);
        until_it_holds(&node, RUSH);
        after = memory_of(node.pid);
        kept = after - before - (int64_t)RUSH * SESSION_MAX;
        fprintf(stderr,
                "%d handshakes in halves: %lld KiB, %lld KiB between them, %lld KiB after\n", RUSH,
                (long long)before / 1024, (long long)during / 1024, (long long)after / 1024);
        cr_assert(le(i64, kept, KEPT_MAX));
        for (unsigned i = 0; i < RUSH; i++)
                close(fds[i]);
        free(fds);
        node_end(&node);
}
