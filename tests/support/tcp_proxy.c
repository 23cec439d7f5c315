/* tests/support/tcp_proxy.c -- the process: poll() over all sockets, at most TICK_MS apart, so that
 * a change of the orders in shared memory is seen soon. Each direction of a connection is a queue
 * of chunks with the moment they may leave. Memory is bounded: a queue that is full is not read
 * into. Knows of Redis only how long a reply is, and what a published message looks like. */
#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"

#define TICK_MS       5
#define CHUNK         16384
#define QUEUE_MAX     (4u << 20) /* bytes of one direction under way */
#define CONNECT_MS    2000
#define NO_TRUNCATION UINT64_MAX
#define STALLS_MAX    16
#define FIRST_WORDS   4096

struct orders { /* shared: written by the test, read by the process; counters the other way round */
        _Atomic unsigned delay_ms[PROXY_DIRECTIONS], delay_second_ms;
        _Atomic int stalled[PROXY_DIRECTIONS], refuse;
        _Atomic unsigned stalls;       /* generation, as the next two */
        char said[STALLS_MAX][32];     /* what is stalled by generation n + 1 */
        _Atomic unsigned cuts, resets; /* generations: a higher one ends what began before */
        _Atomic uint64_t truncate_after[PROXY_DIRECTIONS];
        _Atomic unsigned lose; /* messages still to be lost */
        _Atomic int watches_messages;
        _Atomic unsigned servers_version; /* odd while a name is written */
        char servers[PROXY_SERVERS_MAX][128];
        _Atomic uint64_t connections, open, bytes[PROXY_DIRECTIONS];
        _Atomic uint64_t messages, messages_lost, truncated;
};

struct tcp_proxy {
        pid_t pid;
        uint16_t port;
        struct orders *orders;
};

struct chunk {
        STAILQ_ENTRY(chunk) entry;
        uint64_t due_ms;
        size_t len, sent;
        uint8_t bytes[];
};
STAILQ_HEAD(chunk_list, chunk);

struct flow { /* one direction of one connection */
        int from, to;
        struct chunk_list queue;
        size_t queued;
        struct buf partial; /* watching messages: the beginning of a reply */
        bool ended;         /* `from` said FIN */
        bool passed_on;     /* ... and so did we */
        bool is_readable, is_writable;
};

struct link {
        LIST_ENTRY(link) entry;
        int fds[2]; /* client, server */
        struct flow flows[PROXY_DIRECTIONS];
        unsigned cuts, resets, stalls; /* generation at its begin */
        struct buf first; /* what the client sent at first */
        bool is_stalled;
        uint64_t number; /* from 1 */
        bool watches;    /* messages */
        int first_poll;  /* index of its two pollfds */
};
static LIST_HEAD(, link) links = LIST_HEAD_INITIALIZER(links);
static struct orders *orders; /* in the process */

/* --- Redis' protocol: how long one reply is ------------------------------------------------------
 */

/* Bytes of the line at `at`, CRLF included; 0 = not whole yet. */
static size_t line_len(const char *at, size_t len)
{
        const char *end = memmem(at, len, "\r\n", 2);

        return end ? (size_t)(end - at) + 2 : 0;
}

static size_t reply_len(const char *at, size_t len)
{
        size_t line = line_len(at, len), total = line;
        long n;

        if (line == 0)
                return 0;
        n = strtol(at + 1, NULL, 10);
        if (at[0] == '$') {
                total = n < 0 ? line : line + (size_t)n + 2;
                return total <= len ? total : 0;
        }
        for (long i = 0; at[0] == '*' && i < n; i++) {
                size_t member = reply_len(at + total, len - total);

                if (member == 0)
                        return 0;
                total += member;
        }
        return total;
}

static bool is_message(const char *reply, size_t len)
{
        static const char begin[] = "*3\r\n$7\r\nmessage\r\n",
                          sharded[] = "*3\r\n$8\r\nsmessage\r\n";

        return (len > sizeof(begin) && memcmp(reply, begin, sizeof(begin) - 1) == 0) ||
               (len > sizeof(sharded) && memcmp(reply, sharded, sizeof(sharded) - 1) == 0);
}

/* --- one connection --- */

static void end_link(struct link *link, bool reset)
{
        const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

        for (int side = 0; side < 2; side++) {
                if (reset)
                        setsockopt(link->fds[side], SOL_SOCKET, SO_LINGER, &at_once,
                                   sizeof(at_once));
                close(link->fds[side]);
        }
        for (int d = 0; d < PROXY_DIRECTIONS; d++) {
                struct chunk *chunk;

                while ((chunk = STAILQ_FIRST(&link->flows[d].queue)) != NULL) {
                        STAILQ_REMOVE_HEAD(&link->flows[d].queue, entry);
                        free(chunk);
                }
                buf_fini(&link->flows[d].partial);
        }
        buf_fini(&link->first);
        LIST_REMOVE(link, entry);
        free(link);
        orders->open--;
}

static void enqueue(struct link *link, enum proxy_direction d, const void *bytes, size_t len)
{
        struct chunk *chunk = malloc(sizeof(*chunk) + len);
        unsigned second_ms = link->number % 2 == 0 ? orders->delay_second_ms : 0;

        check(chunk != NULL);
        chunk->due_ms = clock_mono_ms() + orders->delay_ms[d] + second_ms;
        chunk->len = len;
        chunk->sent = 0;
        memcpy(chunk->bytes, bytes, len);
        STAILQ_INSERT_TAIL(&link->flows[d].queue, chunk, entry);
        link->flows[d].queued += len;
}

/* Whole replies go on, but for messages that are to be lost. */
static void sift(struct link *link, const char *bytes, size_t n)
{
        struct buf *partial = &link->flows[PROXY_TO_CLIENT].partial;
        size_t len, done = 0;

        buf_add(partial, bytes, n);
        while (done < partial->len &&
               (len = reply_len(partial->data + done, partial->len - done)) > 0) {
                if (is_message(partial->data + done, len)) {
                        orders->messages++;
                        if (orders->lose > 0) {
                                orders->lose--;
                                orders->messages_lost++;
                                done += len;
                                continue;
                        }
                }
                enqueue(link, PROXY_TO_CLIENT, partial->data + done, len);
                done += len;
        }
        if (done > 0) {
                memmove(partial->data, partial->data + done, partial->len - done);
                partial->len -= done;
        }
}

/* False: the connection is over. */
static bool read_flow(struct link *link, enum proxy_direction d)
{
        struct flow *flow = &link->flows[d];
        char bytes[CHUNK];
        ssize_t n = read(flow->from, bytes, sizeof(bytes));

        if (n < 0)
                return errno == EAGAIN || errno == EINTR;
        if (d == PROXY_TO_SERVER && n > 0 && link->first.len < FIRST_WORDS)
                buf_add(&link->first, bytes, (size_t)n);
        if (n == 0)
                flow->ended = true;
        else if (d == PROXY_TO_CLIENT && link->watches)
                sift(link, bytes, (size_t)n);
        else
                enqueue(link, d, bytes, (size_t)n);
        return true;
}

static bool write_flow(struct link *link, enum proxy_direction d)
{
        struct flow *flow = &link->flows[d];
        struct chunk *chunk;

        if (d == PROXY_TO_CLIENT && link->is_stalled)
                return true;
        while ((chunk = STAILQ_FIRST(&flow->queue)) != NULL && !orders->stalled[d] &&
               chunk->due_ms <= clock_mono_ms()) {
                uint64_t left =
                    orders->truncate_after[d]; /* once: the test may change it meanwhile */
                size_t rest = chunk->len - chunk->sent, want = left < rest ? (size_t)left : rest;
                ssize_t n = send(flow->to, chunk->bytes + chunk->sent, want, MSG_NOSIGNAL);

                if (n < 0)
                        return errno == EAGAIN || errno == EINTR;
                orders->bytes[d] += (uint64_t)n;
                if (left != NO_TRUNCATION && left == (uint64_t)n) {
                        orders->truncate_after[d] = NO_TRUNCATION;
                        orders->truncated++;
                        return false;
                }
                if (left != NO_TRUNCATION)
                        orders->truncate_after[d] = left - (uint64_t)n;
                chunk->sent += (size_t)n;
                flow->queued -= (size_t)n;
                if (chunk->sent < chunk->len)
                        return true;
                STAILQ_REMOVE_HEAD(&flow->queue, entry);
                free(chunk);
        }
        if (flow->ended && !flow->passed_on && STAILQ_EMPTY(&flow->queue)) {
                shutdown(flow->to, SHUT_WR);
                flow->passed_on = true;
        }
        return true;
}

static void serve_link(struct link *link)
{
        bool going = true;

        if (link->resets != orders->resets || link->cuts != orders->cuts) {
                end_link(link, link->resets != orders->resets);
                return;
        }
        for (; link->stalls < orders->stalls; link->stalls++) {
                const char *said = orders->said[link->stalls];

                if (memmem(link->first.data, link->first.len, said, strlen(said)))
                        link->is_stalled = true;
        }
        for (int d = 0; d < PROXY_DIRECTIONS && going; d++)
                going = (!link->flows[d].is_readable || read_flow(link, d)) && write_flow(link, d);
        if (!going || (link->flows[0].passed_on && link->flows[1].passed_on))
                end_link(link, false);
}

/* --- new connections --- */

static int connect_to(const char *server)
{
        struct sockaddr_un local = { .sun_family = AF_UNIX };
        struct sockaddr_in inet = { .sin_family = AF_INET };
        const struct timeval limit = { .tv_sec = CONNECT_MS / 1000 };
        const char *colon = strrchr(server, ':');
        bool is_local = strncmp(server, "unix:", 5) == 0;
        int fd = socket(is_local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), failed;
        char host[64];

        check(fd >= 0 && colon != NULL);
        snprintf(local.sun_path, sizeof(local.sun_path), "%.100s", server + 5);
        snprintf(host, sizeof(host), "%.*s", (int)(colon - server), server);
        inet.sin_port = htons((uint16_t)atoi(colon + 1));
        inet_pton(AF_INET, host, &inet.sin_addr);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* bounds connect, too */
        failed = is_local ? connect(fd, (struct sockaddr *)&local, sizeof(local))
                          : connect(fd, (struct sockaddr *)&inet, sizeof(inet));
        if (failed) {
                close(fd);
                return -1;
        }
        return fd;
}

static int connect_to_any(void)
{
        static unsigned turn;

        for (unsigned i = 0; i < PROXY_SERVERS_MAX; i++) {
                char server[128];
                unsigned version;
                int fd;

                do {
                        version = orders->servers_version;
                        memcpy(server, orders->servers[(turn + i) % PROXY_SERVERS_MAX],
                               sizeof(server));
                } while (version % 2 != 0 || version != orders->servers_version);
                if (server[0] && (fd = connect_to(server)) >= 0) {
                        turn = (turn + i + 1) % PROXY_SERVERS_MAX;
                        return fd;
                }
        }
        return -1;
}

static void accept_one(int listener)
{
        /* Before the server hears of it: who sees the connection there may cut it at once. */
        unsigned cuts = orders->cuts, resets = orders->resets;
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), server, on = 1;
        struct link *link;

        if (client < 0)
                return;
        orders->connections++;
        server = orders->refuse ? -1 : connect_to_any();
        if (server < 0) {
                close(client);
                return;
        }
        fcntl(server, F_SETFL, O_NONBLOCK);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* not for unix: no harm */
        link = calloc(1, sizeof(*link));
        check(link != NULL);
        link->fds[0] = client;
        link->fds[1] = server;
        link->flows[PROXY_TO_SERVER] = (struct flow){ .from = client, .to = server };
        link->flows[PROXY_TO_CLIENT] = (struct flow){ .from = server, .to = client };
        for (int d = 0; d < PROXY_DIRECTIONS; d++)
                STAILQ_INIT(&link->flows[d].queue);
        link->stalls = orders->stalls;
        link->cuts = cuts;
        link->resets = resets;
        link->number = orders->connections;
        link->watches = orders->watches_messages;
        LIST_INSERT_HEAD(&links, link, entry);
        orders->open++;
}

/* --- the process --- */

/* What has come is read, even while stalled: the sender's side must not notice. Up to QUEUE_MAX. */
static nfds_t what_to_poll(struct pollfd *fds, nfds_t max, int listener)
{
        struct link *link;
        nfds_t n = 0;

        fds[n++] = (struct pollfd){ .fd = listener, .events = POLLIN };
        LIST_FOREACH(link, &links, entry)
        {
                check(n + 2 <= max);
                link->first_poll = (int)n;
                for (int d = 0; d < PROXY_DIRECTIONS; d++) {
                        const struct flow *flow = &link->flows[d];
                        bool wanted = !flow->ended && flow->queued < QUEUE_MAX;

                        /* A descriptor that is not asked for anything would report its hang-up for
                         * ever. */
                        fds[n++] =
                            (struct pollfd){ .fd = wanted ? flow->from : -1, .events = POLLIN };
                }
        }
        return n;
}

static void run_proxy(int listener)
{
        static struct pollfd fds[4096];

        for (;;) {
                struct link *link, *next;
                nfds_t n = what_to_poll(fds, countof(fds), listener);

                if (poll(fds, n, TICK_MS) < 0)
                        check(errno == EINTR);
                for (link = LIST_FIRST(&links); link; link = next) {
                        next = LIST_NEXT(link, entry);
                        for (int d = 0; d < PROXY_DIRECTIONS; d++)
                                link->flows[d].is_readable = fds[link->first_poll + d].revents != 0;
                        serve_link(link);
                }
                if (fds[0].revents)
                        accept_one(listener);
        }
}

static int listen_somewhere(uint16_t *ret_port)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        check(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 512) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &len) == 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

struct tcp_proxy *tcp_proxy_start(const char *server, void (*in_child)(void *arg), void *arg)
{
        struct tcp_proxy *proxy = calloc(1, sizeof(*proxy));
        pid_t parent = getpid();
        int listener;

        check(proxy != NULL);
        proxy->orders = mmap(NULL, sizeof(*proxy->orders), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(proxy->orders != MAP_FAILED);
        for (int d = 0; d < PROXY_DIRECTIONS; d++)
                proxy->orders->truncate_after[d] = NO_TRUNCATION;
        tcp_proxy_set_server(proxy, 0, server);
        listener = listen_somewhere(&proxy->port);
        proxy->pid = fork();
        check(proxy->pid >= 0);
        if (proxy->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(1);
                signal(SIGPIPE, SIG_IGN);
                for (int fd = 3; fd < 1024; fd++)
                        if (fd != listener)
                                close(fd); /* a socket under test must not live on in here */
                if (in_child)
                        in_child(arg);
                orders = proxy->orders;
                run_proxy(listener);
        }
        close(listener);
        return proxy;
}

void tcp_proxy_destroy(struct tcp_proxy *proxy)
{
        if (!proxy)
                return;
        kill(proxy->pid, SIGKILL);
        waitpid(proxy->pid, NULL, 0);
        munmap(proxy->orders, sizeof(*proxy->orders));
        free(proxy);
}

uint16_t tcp_proxy_port(const struct tcp_proxy *proxy)
{
        return proxy->port;
}

void tcp_proxy_set_server(struct tcp_proxy *proxy, unsigned slot, const char *server)
{
        check(slot < PROXY_SERVERS_MAX);
        proxy->orders->servers_version++;
        snprintf(proxy->orders->servers[slot], sizeof(proxy->orders->servers[slot]), "%s",
                 server ? server : "");
        proxy->orders->servers_version++;
}

void tcp_proxy_delay(struct tcp_proxy *proxy, enum proxy_direction direction, unsigned ms)
{
        proxy->orders->delay_ms[direction] = ms;
}

void tcp_proxy_delay_every_second(struct tcp_proxy *proxy, unsigned ms)
{
        proxy->orders->delay_second_ms = ms;
}

void tcp_proxy_stall(struct tcp_proxy *proxy, enum proxy_direction direction, int stalled)
{
        proxy->orders->stalled[direction] = stalled;
}

void tcp_proxy_cut(struct tcp_proxy *proxy)
{
        proxy->orders->cuts++;
}

void tcp_proxy_reset(struct tcp_proxy *proxy)
{
        proxy->orders->resets++;
}

void tcp_proxy_stall_who_said(struct tcp_proxy *proxy, const char *text)
{
        unsigned n = proxy->orders->stalls;

        check(n < STALLS_MAX && strlen(text) < sizeof(proxy->orders->said[n]));
        strcpy(proxy->orders->said[n], text);
        proxy->orders->stalls++;
}

void tcp_proxy_truncate(struct tcp_proxy *proxy, enum proxy_direction direction, uint64_t bytes)
{
        proxy->orders->truncate_after[direction] = bytes;
}

void tcp_proxy_refuse(struct tcp_proxy *proxy, int refuse)
{
        proxy->orders->refuse = refuse;
}

void tcp_proxy_lose_messages(struct tcp_proxy *proxy, unsigned n)
{
        proxy->orders->watches_messages = 1;
        proxy->orders->lose = n;
}

struct tcp_proxy_counts tcp_proxy_counts(const struct tcp_proxy *proxy)
{
        const struct orders *o = proxy->orders;

        return (struct tcp_proxy_counts){
                .connections = o->connections,
                .open = o->open,
                .bytes = { o->bytes[PROXY_TO_SERVER], o->bytes[PROXY_TO_CLIENT] },
                .messages = o->messages,
                .messages_lost = o->messages_lost,
                .truncated = o->truncated,
        };
}
