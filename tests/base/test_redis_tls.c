/* TLS to a real redis-server: who is trusted, and what is said when one is not. */
#include "tests/base/redis_bench.h"

#include <netdb.h>
#include <signal.h>

#include "base/redis_dns.h"
#include "tests/support/redis_fleet.h"

struct tls {
        struct bench *b;
        struct test_certificates certificates;
        struct test_redis *server;
        uint16_t port;
};

/* redis.test and every other name is this machine. */
static int everything_is_here(const char *host, const char *port, const struct addrinfo *hints,
                              struct addrinfo **ret_list)
{
        (void)host;
        return getaddrinfo("127.0.0.1", port, hints, ret_list);
}

static struct tls setup(const char *auth_clients)
{
        struct tls t = { .b = bench_create() };

        redis_dns_set_resolver(everything_is_here);
        test_certificates_make(&t.certificates);
        t.server = test_redis_start_tls(&t.certificates, auth_clients, &t.port);
        return t;
}

static void teardown(struct tls *t)
{
        bench_destroy(t->b);
        test_redis_destroy(t->server);
        test_certificates_end(&t->certificates);
        redis_dns_set_resolver(NULL);
}

static void link_to(struct tls *t, const char *host, const char *ca, const char *client,
                    const char *channel)
{
        char url[600], path[128];
        int len = snprintf(url, sizeof(url), "rediss://%s:%u", host, t->port);

        if (ca != NULL)
                len += snprintf(url + len, sizeof(url) - (size_t)len, "?ca=%s",
                                test_certificates_path(&t->certificates, ca, path));
        if (client != NULL)
                snprintf(url + len, sizeof(url) - (size_t)len, "&cert=%s/%s.pem&key=%s/%s.key",
                         t->certificates.dir, client, t->certificates.dir, client);
        bench_link(t->b, url, (struct redis_options){ .primary = true }, channel);
}

Test(redis_tls, carries_commands_and_large_answers)
{
        struct tls t = setup("no");
        static char big[300000];
        size_t lens[] = { 4, sizeof(big) };
        const char *argv[] = { "ECHO", big };

        memset(big, 'x', sizeof(big));
        link_to(&t, "redis.test", "ca.pem", NULL, NULL);
        BENCH_UNTIL(t.b, t.b->ups == 1);
        for (int i = 0; i < 20; i++)
                cr_assert(
                    eq(int, redis_command(t.b->redis, bench_on_reply, t.b, 2, argv, lens), OK));
        BENCH_UNTIL(t.b, t.b->answered == 20);
        test_redis_kill(t.server);
        BENCH_UNTIL(t.b, t.b->downs == 1);
        test_redis_restart(t.server);
        BENCH_UNTIL(t.b, t.b->ups == 2);
        teardown(&t);
}

Test(redis_tls, carries_a_subscription)
{
        struct tls t = setup("no");

        link_to(&t, "127.0.0.1", "ca.pem", NULL, "news"); /* verified by its address */
        BENCH_UNTIL(t.b, t.b->ups == 1);
        test_redis_do(t.server, "PUBLISH", "news", "one", NULL);
        test_redis_do(t.server, "PUBLISH", "news", "two", NULL);
        BENCH_UNTIL(t.b, strcmp(t.b->received, "one;two;") == 0);
        teardown(&t);
}

static void refused(struct tls *t, const char *host, const char *ca, const char *why)
{
        unsigned downs = t->b->downs;

        link_to(t, host, ca, NULL, NULL);
        BENCH_UNTIL(t->b, t->b->downs > downs);
        cr_assert(strstr(t->b->why, why) != NULL, "%s", t->b->why);
        cr_assert(eq(uint, t->b->ups, 0));
        redis_destroy(t->b->redis);
        t->b->redis = NULL;
}

Test(redis_tls, trusts_nobody_it_cannot_verify_and_says_why)
{
        struct tls t = setup("no");

        refused(&t, "other.test", "ca.pem", "the server's certificate is not for other.test");
        refused(&t, "127.0.0.2", "ca.pem", "connect: "); /* nobody there */
        refused(&t, "redis.test", "other-ca.pem", "not trusted");
        refused(&t, "redis.test", NULL,
                "not trusted"); /* the system's authorities do not know it */
        refused(&t, "redis.test", "no-such.pem", "/no-such.pem: No such file");
        refused(&t, "redis.test", "ca.key", "cannot read ca=");
        teardown(&t);
}

Test(redis_tls, shows_its_own_certificate_where_the_server_asks)
{
        struct tls t = setup("yes");

        link_to(&t, "redis.test", "ca.pem", NULL, NULL);
        BENCH_UNTIL(t.b, t.b->downs == 1);
        fprintf(stderr, "without a certificate: %s\n", t.b->why);
        cr_assert(eq(uint, t.b->ups, 0));
        redis_destroy(t.b->redis);
        link_to(&t, "redis.test", "ca.pem", "no-such", NULL);
        BENCH_UNTIL(t.b, t.b->downs == 2);
        cr_assert(strstr(t.b->why, "cannot read cert=") != NULL, "%s", t.b->why);
        redis_destroy(t.b->redis);
        link_to(&t, "redis.test", "ca.pem", "client", NULL);
        BENCH_UNTIL(t.b, t.b->ups == 1);
        teardown(&t);
}

/* A server that speaks plain text, and one that speaks not at all. */
Test(redis_tls, to_a_server_without_it_fails_in_time)
{
        struct tls t = setup("no");
        const struct test_redis_options options = { .host = "127.0.0.1" };
        struct test_redis *plain = test_redis_start_as(&options, NULL);
        char url[64];

        snprintf(url, sizeof(url), "rediss://127.0.0.1:%u", test_redis_port(plain));
        bench_link(t.b, url, (struct redis_options){ .timeout_ms = 300 }, NULL);
        BENCH_UNTIL(t.b, t.b->downs == 1);
        fprintf(stderr, "plain server: %s\n", t.b->why);
        redis_destroy(t.b->redis);
        test_redis_pause(t.server);
        snprintf(url, sizeof(url), "rediss://127.0.0.1:%u", t.port);
        bench_link(t.b, url, (struct redis_options){ .timeout_ms = 300 }, NULL);
        BENCH_UNTIL(t.b, t.b->downs == 2);
        cr_assert(strstr(t.b->why, "no answer in time") != NULL, "%s", t.b->why);
        test_redis_destroy(plain);
        teardown(&t);
}

/* OpenSSL writes to a closed socket without MSG_NOSIGNAL. */
Test(redis_tls, survives_writing_to_a_server_that_is_gone)
{
        struct tls t = setup("no");

        signal(SIGPIPE, SIG_DFL);
        link_to(&t, "redis.test", "ca.pem", NULL, NULL);
        BENCH_UNTIL(t.b, t.b->ups == 1);
        test_redis_kill(t.server);
        for (int i = 0; i < 100; i++)
                cr_assert(eq(int, bench_command(t.b, "PING", NULL, NULL), OK));
        BENCH_UNTIL(t.b, t.b->downs == 1);
        cr_assert(eq(uint, t.b->nulls, 100));
        teardown(&t);
}
