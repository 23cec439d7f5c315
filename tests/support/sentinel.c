/* tests/support/sentinel.c -- see the header. The lying sentinel serves one command at a time per
 * connection and parses just enough of Redis' protocol to know which. */
#include "tests/support/sentinel.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define WAIT_MS 30000

_Noreturn static void give_up(const char *what)
{
        fprintf(stderr, "sentinel or replica: %s\n", what);
        abort();
}

struct test_redis *test_sentinel_start(const struct test_sentinel_options *options)
{
        static char text[512]; /* test_redis copies it into the file at once */
        struct test_redis_options o = { .host = options->host ? options->host : "127.0.0.1",
                                        .in_child = options->in_child,
                                        .arg = options->arg,
                                        .sentinel = text };

        snprintf(text, sizeof(text),
                 "sentinel monitor %s %s %u %u\nsentinel down-after-milliseconds %s %u\n"
                 "sentinel failover-timeout %s %u\nsentinel parallel-syncs %s 1\n",
                 options->name, options->primary_host, options->primary_port,
                 options->quorum ? options->quorum : 2, options->name,
                 options->down_after_ms ? options->down_after_ms : 1000, options->name,
                 options->failover_timeout_ms ? options->failover_timeout_ms : 10000,
                 options->name);
        return test_redis_start_as(&o, NULL);
}

/* The value of `field` in SENTINEL MASTER's answer, which alternates names and values. */
static unsigned master_field(struct test_redis *sentinel, const char *name, const char *field)
{
        char *text = test_redis_ask(sentinel, "SENTINEL", "MASTER", name, NULL);
        char *rest = text, *line;
        unsigned value = 0;

        while ((line = strsep(&rest, "\n")) != NULL) {
                char *next = strsep(&rest, "\n");

                if (next && strcmp(line, field) == 0)
                        value = (unsigned)atoi(next);
        }
        free(text);
        return value;
}

void test_sentinel_until(struct test_redis *sentinel, const char *name, unsigned others,
                         unsigned replicas)
{
        uint64_t until = clock_mono_ms() + WAIT_MS;

        while (master_field(sentinel, name, "num-other-sentinels") < others ||
               master_field(sentinel, name, "num-slaves") < replicas) {
                if (clock_mono_ms() > until)
                        give_up("does not find the others");
                usleep(20000);
        }
}

char *test_sentinel_primary(struct test_redis *sentinel, const char *name)
{
        char *text = test_redis_ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, NULL);
        char *newline = strchr(text, '\n');

        if (newline)
                *newline = ':';
        return text;
}

void test_redis_follow(struct test_redis *redis, const char *host, uint16_t port)
{
        uint64_t until = clock_mono_ms() + WAIT_MS;
        char port_text[8];
        bool up = false;

        if (!host) {
                test_redis_do(redis, "REPLICAOF", "NO", "ONE", NULL);
                return;
        }
        snprintf(port_text, sizeof(port_text), "%u", port);
        test_redis_do(redis, "REPLICAOF", host, port_text, NULL);
        while (!up) {
                char *info = test_redis_ask(redis, "INFO", "replication", NULL);

                up = strstr(info, "master_link_status:up") != NULL;
                free(info);
                if (clock_mono_ms() > until)
                        give_up("a replica does not reach its primary");
                usleep(20000);
        }
}

/* --- the liar ------------------------------------------------------------------------------------
 */

struct lie {                             /* shared */
        _Atomic unsigned version, asked; /* version: odd while the address is written */
        char host[64];
        uint16_t port;
        unsigned epoch;
};

struct fake_sentinel {
        pid_t pid;
        uint16_t port;
        struct lie *lie;
};

static void answer_address(int fd, struct lie *lie, const char *name)
{
        char host[64], port[8], epoch[16], text[320];
        unsigned version;
        int len;

        do {
                version = lie->version;
                memcpy(host, lie->host, sizeof(host));
                snprintf(port, sizeof(port), "%u", lie->port);
                snprintf(epoch, sizeof(epoch), "%u", lie->epoch);
        } while (version % 2 != 0 || version != lie->version);
        lie->asked++;
        if (name && host[0])
                len = snprintf(text, sizeof(text),
                               "*8\r\n$4\r\nname\r\n$%zu\r\n%s\r\n$2\r\nip\r\n$%zu\r\n%s\r\n"
                               "$4\r\nport\r\n$%zu\r\n%s\r\n$12\r\nconfig-epoch\r\n$%zu\r\n%s\r\n",
                               strlen(name), name, strlen(host), host, strlen(port), port,
                               strlen(epoch), epoch);
        else if (name)
                len = snprintf(text, sizeof(text), "-ERR No such master with that name\r\n");
        else if (host[0])
                len = snprintf(text, sizeof(text), "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                               strlen(host), host, strlen(port), port);
        else
                len = snprintf(text, sizeof(text), "*-1\r\n");
        (void)!write(fd, text, (size_t)len);
}

/* One command of the form *N $len arg ...; its first two words decide. False: the peer is gone. */
static bool serve_command(FILE *in, int fd, struct lie *lie)
{
        char line[512], words[4][64] = { "" };
        int n;

        if (!fgets(line, sizeof(line), in) || line[0] != '*')
                return false;
        n = atoi(line + 1);
        for (int i = 0; i < n; i++) {
                if (!fgets(line, sizeof(line), in) || !fgets(line, sizeof(line), in))
                        return false;
                line[strcspn(line, "\r\n")] = '\0';
                if (i < 4)
                        snprintf(words[i], sizeof(words[i]), "%.63s", line);
        }
        if (strcasecmp(words[1], "get-master-addr-by-name") == 0)
                answer_address(fd, lie, NULL);
        else if (strcasecmp(words[0], "sentinel") == 0 && strcasecmp(words[1], "master") == 0)
                answer_address(fd, lie, words[2]);
        else if (strcasecmp(words[0], "ping") == 0)
                (void)!write(fd, "+PONG\r\n", 7);
        else if (strcasecmp(words[0], "subscribe") == 0)
                dprintf(fd, "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", strlen(words[1]),
                        words[1]);
        else if (strcasecmp(words[0], "sentinel") == 0 || strcasecmp(words[0], "role") == 0)
                (void)!write(fd, "*0\r\n", 4);
        else
                (void)!write(fd, "+OK\r\n", 5);
        return true;
}

/* A process per connection: the simplest thing that cannot hold up another client. */
static void run_liar(int listener, struct lie *lie)
{
        signal(SIGCHLD, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        for (;;) {
                pid_t parent = getpid();
                int fd = accept(listener, NULL, NULL);

                if (fd >= 0 && fork() == 0) {
                        FILE *in = fdopen(fd, "r");

                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        while (getppid() == parent && serve_command(in, fd, lie))
                                ;
                        _exit(0);
                }
                close(fd);
        }
}

struct fake_sentinel *fake_sentinel_start(const char *host, uint16_t port)
{
        struct fake_sentinel *fake = calloc(1, sizeof(*fake));
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);
        pid_t parent = getpid();
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(fake != NULL && fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
              listen(fd, 64) == 0 && getsockname(fd, (struct sockaddr *)&address, &len) == 0);
        fake->port = ntohs(address.sin_port);
        fake->lie = mmap(NULL, sizeof(*fake->lie), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(fake->lie != MAP_FAILED);
        fake_sentinel_says(fake, host, port);
        fake->pid = fork();
        check(fake->pid >= 0);
        if (fake->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(1);
                run_liar(fd, fake->lie);
        }
        close(fd);
        return fake;
}

void fake_sentinel_says(struct fake_sentinel *fake, const char *host, uint16_t port)
{
        fake_sentinel_says_of(fake, host, port, fake->lie->epoch);
}

void fake_sentinel_says_of(struct fake_sentinel *fake, const char *host, uint16_t port,
                           unsigned epoch)
{
        fake->lie->version++;
        fake->lie->epoch = epoch;
        snprintf(fake->lie->host, sizeof(fake->lie->host), "%s", host ? host : "");
        fake->lie->port = port;
        fake->lie->version++;
}

uint16_t fake_sentinel_port(const struct fake_sentinel *fake)
{
        return fake->port;
}

unsigned fake_sentinel_asked(const struct fake_sentinel *fake)
{
        return fake->lie->asked;
}

void fake_sentinel_destroy(struct fake_sentinel *fake)
{
        if (!fake)
                return;
        kill(fake->pid, SIGKILL);
        waitpid(fake->pid, NULL, 0);
        munmap(fake->lie, sizeof(*fake->lie));
        free(fake);
}
