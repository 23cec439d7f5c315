/* The stage for cases with several Redis servers stands: replicas, sentinels that agree, networks
 * that part, and a sentinel that lies. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/netns.h"
#include "tests/support/sentinel.h"

#define PATIENCE_MS 60000

static void until_primary_is(struct test_redis *sentinel, const char *host, uint16_t port)
{
        uint64_t until = clock_mono_ms() + PATIENCE_MS;
        char want[80];
        bool is = false;

        snprintf(want, sizeof(want), "%s:%u", host, port);
        while (!is) {
                char *now = test_sentinel_primary(sentinel, "main");

                is = strcmp(now, want) == 0;
                cr_assert(is || clock_mono_ms() < until, "the primary stays %s", now);
                free(now);
                usleep(50000);
        }
}

Test(sentinel, three_agree_on_the_replica_when_the_primary_is_killed)
{
        const struct test_redis_options at = { .host = "127.0.0.1" };
        struct test_redis *primary = test_redis_start_as(&at, NULL);
        struct test_redis *replica = test_redis_start_as(&at, NULL), *sentinels[3];
        struct test_sentinel_options o = { .name = "main",
                                           .primary_host = "127.0.0.1",
                                           .primary_port = test_redis_port(primary) };

        test_redis_follow(replica, "127.0.0.1", test_redis_port(primary));
        for (int i = 0; i < 3; i++)
                sentinels[i] = test_sentinel_start(&o);
        for (int i = 0; i < 3; i++)
                test_sentinel_until(sentinels[i], "main", 2, 1);
        test_redis_do(primary, "SET", "k", "v", NULL);
        test_redis_do(primary, "WAIT", "1", "5000", NULL);
        test_redis_kill(primary);
        for (int i = 0; i < 3; i++)
                until_primary_is(sentinels[i], "127.0.0.1", test_redis_port(replica));
        {
                char *value = test_redis_ask(replica, "GET", "k", NULL);

                cr_assert(eq(str, value, "v"));
                free(value);
        }
        for (int i = 0; i < 3; i++)
                test_redis_destroy(sentinels[i]);
        test_redis_destroy(replica);
        test_redis_destroy(primary);
}

static const char address[] =
    "*3\r\n$8\r\nSENTINEL\r\n$23\r\nget-master-addr-by-name\r\n$1\r\nm\r\n";
static const char master[] = "*3\r\n$8\r\nSENTINEL\r\n$6\r\nMASTER\r\n$1\r\nm\r\n";

static void ask_for_primary(const struct fake_sentinel *fake, const char *question, char said[128])
{
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(fake_sentinel_port(fake)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ssize_t n;

        cr_assert(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
        cr_assert(send(fd, question, strlen(question), MSG_NOSIGNAL) == (ssize_t)strlen(question));
        n = recv(fd, said, 127, 0); /* it answers with one write */
        cr_assert(n > 0);
        said[n] = '\0';
        close(fd);
}

Test(sentinel, a_lying_one_says_what_it_is_told)
{
        struct fake_sentinel *fake = fake_sentinel_start("10.0.0.1", 7);
        char said[128];

        ask_for_primary(fake, address, said);
        cr_assert(eq(str, said, "*2\r\n$8\r\n10.0.0.1\r\n$1\r\n7\r\n"));
        fake_sentinel_says_of(fake, "10.0.0.2", 8, 42);
        ask_for_primary(fake, master, said);
        cr_assert(eq(str, said,
                     "*8\r\n$4\r\nname\r\n$1\r\nm\r\n$2\r\nip\r\n$8\r\n10.0.0.2\r\n"
                     "$4\r\nport\r\n$1\r\n8\r\n$12\r\nconfig-epoch\r\n$2\r\n42\r\n"));
        fake_sentinel_says(fake, NULL, 0);
        ask_for_primary(fake, address, said);
        cr_assert(eq(str, said, "*-1\r\n"));
        ask_for_primary(fake, master, said);
        cr_assert(eq(int, said[0], '-'));
        cr_assert(eq(u32, fake_sentinel_asked(fake), 4));
        fake_sentinel_destroy(fake);
}

Test(netns, spaces_reach_each_other_until_they_are_parted)
{
        struct netns *a, *b;
        struct test_redis_options in_a = { .in_child = netns_enter }, in_b = in_a;
        struct test_redis *primary, *replica;
        uint64_t until = clock_mono_ms() + PATIENCE_MS;
        const char *why;
        bool down = false;

        if (!netns_are_available(&why)) {
                fprintf(stderr, "NOT TESTED: %s\n", why);
                return;
        }
        netns_go_home();
        a = netns_create(1);
        b = netns_create(2);
        in_a.arg = a;
        in_a.host = netns_address(a);
        in_b.arg = b;
        in_b.host = netns_address(b);
        primary = test_redis_start_as(&in_a, "--repl-timeout", "2", "--repl-ping-replica-period",
                                      "1", NULL);
        replica = test_redis_start_as(&in_b, "--repl-timeout", "2", NULL);
        test_redis_follow(replica, netns_address(a), test_redis_port(primary));
        netns_part(a, b);
        while (!down) {
                char *info = test_redis_ask(replica, "INFO", "replication", NULL);

                down = strstr(info, "master_link_status:down") != NULL;
                free(info);
                cr_assert(clock_mono_ms() < until);
                usleep(50000);
        }
        netns_heal();
        test_redis_follow(replica, netns_address(a), test_redis_port(primary));
        test_redis_destroy(replica);
        test_redis_destroy(primary);
        netns_destroy(a);
        netns_destroy(b);
}
