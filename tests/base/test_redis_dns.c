/* Names: the resolver may be slow, silent or wrong, and the loop turns all the same. */
#include "tests/base/redis_bench.h"

#include <netdb.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/redis_dns.h"
#include "tests/support/redis_server.h"
#include "tests/support/sentinel.h"

static atomic_int asked;
static int release[2] = {
        -1, -1
}; /* a silent resolver reads here until the test closes the other end */

static int silent(const char *host, const char *port, const struct addrinfo *hints,
                  struct addrinfo **ret_list)
{
        char byte;

        (void)host;
        (void)port;
        (void)hints;
        (void)ret_list;
        atomic_fetch_add(&asked, 1);
        (void)!read(release[0], &byte, 1);
        return EAI_AGAIN;
}

static int here(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
        (void)host;
        atomic_fetch_add(&asked, 1);
        return getaddrinfo("127.0.0.1", port, hints, ret_list);
}

static int unknown(const char *host, const char *port, const struct addrinfo *hints,
                   struct addrinfo **ret_list)
{
        (void)host;
        (void)port;
        (void)hints;
        (void)ret_list;
        return EAI_NONAME;
}

/* Two addresses, of which nobody is at the first. */
static int both(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
        struct addrinfo *second;
        int error = getaddrinfo("127.0.0.2", port, hints, ret_list);

        (void)host;
        if (error != 0)
                return error;
        error = getaddrinfo("127.0.0.1", port, hints, &second);
        (*ret_list)->ai_next = second;
        return error;
}

struct turns {
        struct event *event;
        unsigned n;
};

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
        struct turns *turns = arg;

        (void)fd;
        (void)what;
        turns->n++;
}

static struct test_redis *start_server(void)
{
        const struct test_redis_options options = { .host = "127.0.0.1" };

        return test_redis_start_as(&options, NULL);
}

static void link_by_name(struct bench *b, const struct test_redis *server, unsigned timeout_ms)
{
        char url[64];

        snprintf(url, sizeof(url), "redis://redis.test:%u", test_redis_port(server));
        bench_link(b, url, (struct redis_options){ .timeout_ms = timeout_ms }, NULL);
}

/* Threads of the silent resolver end with the test's end of the pipe. */
static void let_go(struct bench *b)
{
        close(release[1]);
        bench_destroy(b);
}

Test(redis_dns, silent_resolver_stops_neither_the_loop_nor_the_attempts)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();
        const struct timeval every = { 0, 5000 };
        struct turns turns = { 0 };

        cr_assert(zero(int, pipe(release)));
        redis_dns_set_resolver(silent);
        turns.event = event_new(b->base, -1, EV_PERSIST, on_turn, &turns);
        event_add(turns.event, &every);
        link_by_name(b, server, 200);
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(strstr(b->why, "redis.test: the resolver did not answer in time") != NULL, "%s",
                  b->why);
        cr_assert(turns.n > 10, "%u", turns.n); /* of about 40 in 200 ms */
        /* More attempts than there may be threads: still down, still turning, and no more threads.
         */
        BENCH_UNTIL(b, strstr(b->why, "does not answer") != NULL);
        cr_assert(eq(int, atomic_load(&asked), 8));
        event_free(turns.event);
        let_go(b);
        redis_dns_set_resolver(NULL);
        test_redis_destroy(server);
}

Test(redis_dns, while_the_resolver_is_silent_the_last_address_that_worked_is_used)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();

        cr_assert(zero(int, pipe(release)));
        redis_dns_set_resolver(here);
        link_by_name(b, server, 2000);
        BENCH_UNTIL(b, b->ups == 1);
        cr_assert(eq(int, atomic_load(&asked), 1));
        redis_dns_set_resolver(silent);
        test_redis_kill(server);
        test_redis_restart(server);
        BENCH_UNTIL(b, b->ups == 2);
        cr_assert(eq(uint, b->downs, 1));   /* of the loss: nothing failed since */
        cr_assert(atomic_load(&asked) > 1); /* looked up anew at each attempt */
        let_go(b);
        redis_dns_set_resolver(NULL);
        test_redis_destroy(server);
}

/* The sentinels are found by a name, and by way of them the primary. */
Test(redis_dns, while_the_resolver_is_silent_sentinels_are_where_they_were)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();
        struct fake_sentinel *sentinel = fake_sentinel_start("127.0.0.1", test_redis_port(server));
        char url[64];

        cr_assert(zero(int, pipe(release)));
        redis_dns_set_resolver(here);
        snprintf(url, sizeof(url), "sentinel://sentinel.test:%u/event",
                 fake_sentinel_port(sentinel));
        bench_link(b, url, (struct redis_options){ 0 }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        redis_dns_set_resolver(silent);
        redis_drop(b->redis, "test");
        BENCH_UNTIL(b, b->ups == 2);
        cr_assert(eq(uint, b->downs, 1), "%s", b->why); /* of the loss: nothing failed since */
        let_go(b);
        redis_dns_set_resolver(NULL);
        fake_sentinel_destroy(sentinel);
        test_redis_destroy(server);
}

Test(redis_dns, a_name_that_is_gone_is_told_and_not_replaced_by_the_past)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();

        redis_dns_set_resolver(here);
        link_by_name(b, server, 2000);
        BENCH_UNTIL(b, b->ups == 1);
        redis_dns_set_resolver(unknown);
        redis_drop(b->redis, "test");
        BENCH_UNTIL(b, b->downs == 2);
        cr_assert(strstr(b->why, "the name redis.test: ") != NULL, "%s", b->why);
        redis_dns_set_resolver(here);
        BENCH_UNTIL(b, b->ups == 2);
        bench_destroy(b);
        redis_dns_set_resolver(NULL);
        test_redis_destroy(server);
}

Test(redis_dns, every_address_of_a_name_is_tried)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();

        redis_dns_set_resolver(both);
        link_by_name(b, server, 2000);
        BENCH_UNTIL(b, b->ups == 1);
        cr_assert(eq(uint, b->downs, 0));
        bench_destroy(b);
        redis_dns_set_resolver(NULL);
        test_redis_destroy(server);
}

Test(redis_dns, the_systems_resolver_knows_localhost)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();
        char url[64];

        snprintf(url, sizeof(url), "redis://localhost:%u", test_redis_port(server));
        bench_link(b, url, (struct redis_options){ 0 }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        cr_assert(strncmp(redis_peer(b->redis), "localhost:", 10) == 0, "%s", redis_peer(b->redis));
        bench_destroy(b);
        test_redis_destroy(server);
}

Test(redis_dns, destroyed_while_the_resolver_thinks_is_silent)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();

        cr_assert(zero(int, pipe(release)));
        redis_dns_set_resolver(silent);
        link_by_name(b, server, 2000);
        BENCH_UNTIL(b, atomic_load(&asked) == 1 || event_base_loop(b->base, EVLOOP_NONBLOCK) < 0);
        let_go(b);
        redis_dns_set_resolver(NULL);
        test_redis_destroy(server);
}
