/* Whom a certificate is for: names with a wildcard, and a server that comes back with another
 * certificate. The sentences about files that are there but of no use. */
#include "tests/base/redis_bench.h"

#include <netdb.h>

#include "base/redis_dns.h"
#include "tests/support/redis_fleet.h"

struct names {
        struct bench *b;
        struct test_certificates certificates;
        struct test_redis *server;
        uint16_t port;
};

/* Every name is this machine. */
static int everything_is_here(const char *host, const char *port, const struct addrinfo *hints,
                              struct addrinfo **ret_list)
{
        (void)host;
        return getaddrinfo("127.0.0.1", port, hints, ret_list);
}

static void run(const struct names *t, const char *command)
{
        char text[1024];

        snprintf(text, sizeof(text), "cd %s && { %s; } >>openssl.log 2>&1", t->certificates.dir,
                 command);
        cr_assert(zero(int, system(text)), "%s", command);
}

/* A new server.pem for the same key, by the same authority. */
static void certify(const struct names *t, const char *subject_names)
{
        char text[512];

        snprintf(
            text, sizeof(text),
            "echo 'subjectAltName=%s' >server.ext && openssl x509 -req -in server.csr -CA ca.pem "
            "-CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem",
            subject_names);
        run(t, text);
}

static struct names setup(const char *subject_names)
{
        struct names t = { .b = bench_create() };

        redis_dns_set_resolver(everything_is_here);
        test_certificates_make(&t.certificates);
        certify(&t, subject_names);
        t.server = test_redis_start_tls(&t.certificates, "no", &t.port);
        return t;
}

static void teardown(struct names *t)
{
        bench_destroy(t->b);
        test_redis_destroy(t->server);
        test_certificates_end(&t->certificates);
        redis_dns_set_resolver(NULL);
}

static void link_to(struct names *t, const char *host, const char *more)
{
        char url[600];

        snprintf(url, sizeof(url), "rediss://%s:%u?ca=%s/ca.pem%s", host, t->port,
                 t->certificates.dir, more);
        bench_link(t->b, url, (struct redis_options){ .primary = true }, NULL);
}

static void unlink_it(struct names *t)
{
        redis_destroy(t->b->redis);
        t->b->redis = NULL;
}

static void refused(struct names *t, const char *host, const char *more, const char *why)
{
        unsigned ups = t->b->ups, downs = t->b->downs;

        link_to(t, host, more);
        BENCH_UNTIL(t->b, t->b->downs > downs || t->b->ups > ups);
        cr_expect(strstr(t->b->why, why) != NULL, "%s: %s", host, t->b->why);
        cr_expect(eq(uint, t->b->ups, ups), "%s got in", host);
        unlink_it(t);
}

Test(redis_tls_names, a_wildcard_stands_for_one_label)
{
        struct names t = setup("DNS:*.redis.test,DNS:part*.test");

        link_to(&t, "one.redis.test", "");
        BENCH_UNTIL(t.b, t.b->ups == 1);
        unlink_it(&t);
        refused(&t, "redis.test", "", "is not for redis.test");
        refused(&t, "two.one.redis.test", "", "is not for two.one.redis.test");
        refused(&t, "partial.test", "", "is not for partial.test");
        refused(&t, "127.0.0.1", "", "is not for 127.0.0.1"); /* an address is no name */
        teardown(&t);
}

Test(redis_tls_names, a_server_is_verified_anew_each_time)
{
        struct names t = setup("DNS:redis.test");

        link_to(&t, "redis.test", "");
        BENCH_UNTIL(t.b, t.b->ups == 1);
        certify(&t, "DNS:another.test");
        test_redis_kill(t.server);
        test_redis_restart(t.server);
        BENCH_UNTIL(t.b, strstr(t.b->why, "is not for redis.test") != NULL);
        cr_assert(eq(uint, t.b->ups, 1));
        certify(&t, "DNS:redis.test");
        test_redis_restart(t.server);
        BENCH_UNTIL(t.b, t.b->ups == 2);
        teardown(&t);
}

Test(redis_tls_names, files_of_no_use_are_told_with_the_remedy)
{
        struct names t = setup("DNS:redis.test");
        char more[256];

        run(&t, "openssl ec -in client.key -aes128 -passout pass:secret -out locked.key");
        snprintf(more, sizeof(more), "&cert=%s/client.pem", t.certificates.dir);
        refused(&t, "redis.test", more, "has no private key in it: give &key=FILE");
        snprintf(more, sizeof(more), "&cert=%s/client.pem&key=%s/locked.key", t.certificates.dir,
                 t.certificates.dir);
        refused(&t, "redis.test", more, "needs a passphrase");
        snprintf(more, sizeof(more), "&cert=%s/client.pem&key=%s/server.key", t.certificates.dir,
                 t.certificates.dir);
        refused(&t, "redis.test", more, "key values mismatch");
        teardown(&t);
}
