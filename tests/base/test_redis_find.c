/* Which server the link goes to: primaries and replicas, three real sentinels whose primary is
 * killed, one that lies about the past. */
#include "tests/base/redis_bench.h"

#include <arpa/inet.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "base/clock.h"
#include "tests/support/redis_server.h"
#include "tests/support/sentinel.h"

#define DOWN_AFTER_MS 500

static struct test_redis *start_server(void)
{
        const struct test_redis_options options = { .host = "127.0.0.1" };

        /* Replicas need not gather for five seconds. */
        return test_redis_start_as(&options, "--repl-diskless-sync-delay", "0", NULL);
}

static void peer_of(const struct test_redis *server, char text[64])
{
        snprintf(text, 64, "127.0.0.1:%u", test_redis_port(server));
}

Test(redis_find, tells_who_answers)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();
        char peer[64];
        const struct redis_server *seen;

        peer_of(server, peer);
        bench_link(b, test_redis_url(server), (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        seen = redis_server(b->redis);
        cr_assert(seen->is_primary);
        cr_assert(not(seen->is_cluster));
        cr_assert(eq(sz, strlen(seen->run_id), 40));
        cr_assert(eq(sz, strlen(seen->replid), 40));
        cr_assert(seen->version[0] >= '6', "%s", seen->version);
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));
        bench_destroy(b);
        test_redis_destroy(server);
}

Test(redis_find, refuses_a_replica_where_a_primary_is_wanted_and_says_whose)
{
        struct bench *b = bench_create();
        struct test_redis *primary = start_server(), *replica = start_server();
        char wanted[160];

        test_redis_follow(replica, "127.0.0.1", test_redis_port(primary));
        bench_link(b, test_redis_url(replica), (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->downs == 1);
        snprintf(wanted, sizeof(wanted),
                 "127.0.0.1:%u is a replica of 127.0.0.1:%u: give the primary",
                 test_redis_port(replica), test_redis_port(primary));
        cr_assert(strstr(b->why, wanted) != NULL, "%s", b->why);
        cr_assert(strstr(b->why, "sentinel://") != NULL, "%s", b->why);
        cr_assert(eq(uint, b->ups, 0));
        bench_destroy(b);
        test_redis_destroy(replica);
        test_redis_destroy(primary);
}

Test(redis_find, takes_a_replica_where_any_server_will_do)
{
        struct bench *b = bench_create();
        struct test_redis *primary = start_server(), *replica = start_server();
        char wanted[64];

        test_redis_follow(replica, "127.0.0.1", test_redis_port(primary));
        bench_link(b, test_redis_url(replica), (struct redis_options){ 0 }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        peer_of(primary, wanted);
        cr_assert(not(redis_server(b->redis)->is_primary));
        cr_assert(eq(str, (char *)redis_server(b->redis)->primary, wanted));
        bench_destroy(b);
        test_redis_destroy(replica);
        test_redis_destroy(primary);
}

Test(redis_find, tries_the_hosts_in_turn_until_one_is_the_primary)
{
        struct bench *b = bench_create();
        struct test_redis *gone = start_server(), *primary = start_server(),
                          *replica = start_server();
        char url[160], wanted[64];

        test_redis_follow(replica, "127.0.0.1", test_redis_port(primary));
        test_redis_kill(gone);
        snprintf(url, sizeof(url), "redis://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u",
                 test_redis_port(gone), test_redis_port(replica), test_redis_port(primary));
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        peer_of(primary, wanted);
        cr_assert(eq(str, (char *)redis_peer(b->redis), wanted));
        cr_assert(eq(uint, b->downs, 0)); /* a round that ends well is no trouble */
        bench_destroy(b);
        test_redis_destroy(gone);
        test_redis_destroy(replica);
        test_redis_destroy(primary);
}

Test(redis_find, a_primary_that_becomes_a_replica_is_left_at_the_first_readonly)
{
        struct bench *b = bench_create();
        struct test_redis *other = start_server(), *server = start_server();

        bench_link(b, test_redis_url(server), (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        test_redis_follow(server, "127.0.0.1", test_redis_port(other));
        cr_assert(eq(int, bench_command(b, "SET", "k", "v"), OK));
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(eq(uint, b->answered, 1)); /* its owner saw why */
        cr_assert(strncmp(b->last, "READONLY", 8) == 0, "%s", b->last);
        cr_assert(strstr(b->why, "READONLY") != NULL, "%s", b->why);
        BENCH_UNTIL(b, b->downs == 2);
        cr_assert(strstr(b->why, "is a replica of") != NULL, "%s", b->why);
        test_redis_follow(server, NULL, 0);
        BENCH_UNTIL(b, b->ups == 2);
        bench_destroy(b);
        test_redis_destroy(server);
        test_redis_destroy(other);
}

Test(redis_find, a_user_who_may_not_see_info_is_told_what_to_permit)
{
        struct bench *b = bench_create();
        struct test_redis *server = test_redis_start(NULL);
        struct redis_options options = {
                .primary = true, .name = "test", .on_state = bench_on_state, .owner = b
        };
        const char *why;

        test_redis_do(server, "ACL", "SETUSER", "node", "on", ">s", "~*", "&*", "+@all", "-info",
                      NULL);
        cr_assert(eq(int, redis_parse_url(test_redis_url(server), &options.address, &why), OK));
        strcpy(options.address.user, "node");
        strcpy(options.address.password, "s");
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(strstr(b->why, "+info") != NULL, "%s", b->why);
        redis_destroy(b->redis);
        options.primary = false; /* whether to subscribe in the cluster's way must be known, too */
        options.slot_key = "k";
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        BENCH_UNTIL(b, b->downs == 2);
        cr_assert(strstr(b->why, "+info") != NULL, "%s", b->why);
        redis_destroy(b->redis);
        options.slot_key = NULL; /* and without these wishes nobody needs to */
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        BENCH_UNTIL(b, b->ups == 1);
        bench_destroy(b);
        test_redis_destroy(server);
}

Test(redis_find, dropped_by_its_owner_it_says_why_and_comes_back)
{
        struct bench *b = bench_create();
        struct test_redis *server = test_redis_start(NULL);

        bench_link(b, test_redis_url(server), (struct redis_options){ .primary = true }, NULL);
        redis_drop(b->redis, "too early to matter");
        BENCH_UNTIL(b, b->ups == 1);
        test_redis_pause(server);
        cr_assert(eq(int, bench_command(b, "PING", NULL, NULL), OK));
        redis_drop(b->redis, "somebody knows better");
        cr_assert(not(redis_is_up(b->redis)));
        cr_assert(eq(uint, b->downs + b->nulls, 0)); /* not from inside the call */
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(eq(uint, b->nulls, 1));
        cr_assert(eq(str, b->why, "somebody knows better"));
        test_redis_resume(server);
        BENCH_UNTIL(b, b->ups == 2);
        bench_destroy(b);
        test_redis_destroy(server);
}

/* --- sentinels ------------------------------------------------------------------------------- */

struct house { /* a primary, a replica, three sentinels */
        struct test_redis *primary, *replica, *sentinel[3];
        char url[256];
};

static void open_house(struct house *house)
{
        struct test_sentinel_options options = { .name = "event",
                                                 .down_after_ms = DOWN_AFTER_MS,
                                                 /* A split vote costs them twice this. */
                                                 .failover_timeout_ms = 1500 };

        house->primary = start_server();
        house->replica = start_server();
        test_redis_follow(house->replica, "127.0.0.1", test_redis_port(house->primary));
        options.primary_host = "127.0.0.1";
        options.primary_port = test_redis_port(house->primary);
        for (int i = 0; i < 3; i++)
                house->sentinel[i] = test_sentinel_start(&options);
        for (int i = 0; i < 3; i++)
                test_sentinel_until(house->sentinel[i], "event", 2, 1);
        snprintf(house->url, sizeof(house->url),
                 "sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/event",
                 test_redis_port(house->sentinel[0]), test_redis_port(house->sentinel[1]),
                 test_redis_port(house->sentinel[2]));
}

/* When the last of the sentinels had named this one: `before`, or now, or 0 = not yet. */
static uint64_t when_named(struct house *house, const char *peer, uint64_t before)
{
        bool all = true;

        for (int i = 0; i < 3 && before == 0; i++) {
                char *named = test_sentinel_primary(house->sentinel[i], "event");

                all = all && strcmp(named, peer) == 0;
                free(named);
        }
        return before != 0 ? before : all ? clock_mono_ms() : 0;
}

static void close_house(struct house *house)
{
        for (int i = 0; i < 3; i++)
                test_redis_destroy(house->sentinel[i]);
        test_redis_destroy(house->replica);
        test_redis_destroy(house->primary);
}

Test(redis_find, follows_the_sentinels_when_the_primary_is_killed)
{
        struct bench *b = bench_create();
        struct house house;
        char peer[64];
        uint64_t killed_ms, named_ms = 0, took_ms;

        open_house(&house);
        bench_link(b, house.url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        peer_of(house.primary, peer);
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));

        killed_ms = clock_mono_ms();
        test_redis_kill(house.primary);
        peer_of(house.replica, peer);
        BENCH_UNTIL(b, (named_ms = when_named(&house, peer, named_ms)) != 0 && b->ups == 2);
        took_ms = clock_mono_ms() - killed_ms;
        fprintf(
            stderr,
            "failover: sentinels agreed after %llu ms (down-after is %u ms), the link followed after "
            "%llu ms\n",
            (unsigned long long)(named_ms - killed_ms), DOWN_AFTER_MS, (unsigned long long)took_ms);
        cr_assert(took_ms - (named_ms - killed_ms) <
                  10000); /* 3 s on a machine that has the time */
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));
        cr_assert(redis_server(b->redis)->is_primary);
        cr_assert(eq(int, bench_command(b, "SET", "k", "v"), OK));
        BENCH_UNTIL(b, b->answered == 1);
        cr_assert(eq(str, b->last, "OK"));
        bench_destroy(b);
        close_house(&house);
}

/* The primary lives and answers; only the sentinels know that it is not one any more. */
Test(redis_find, leaves_a_primary_that_sentinels_have_replaced_although_it_answers)
{
        struct bench *b = bench_create();
        struct house house;
        char peer[64];

        open_house(&house);
        bench_link(b, house.url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        test_redis_do(house.sentinel[0], "SENTINEL", "FAILOVER", "event", NULL);
        peer_of(house.replica, peer);
        BENCH_UNTIL(b, redis_is_up(b->redis) && strcmp(redis_peer(b->redis), peer) == 0);
        bench_destroy(b);
        close_house(&house);
}

/* A sentinel of the test's own, in the test's loop. */
struct fake {
        struct evconnlistener *listener;
        uint16_t port;
        const char *password; /* wanted; NULL = none */
        uint16_t says_port;
        unsigned epoch, asked;
        bool mute;
};

static void fake_reads(struct bufferevent *bytes, void *arg)
{
        struct fake *fake = arg;
        struct evbuffer *in = bufferevent_get_input(bytes), *out = bufferevent_get_output(bytes);
        char port[8], epoch[16], text[512] = "";

        evbuffer_copyout(in, text, sizeof(text) - 1);
        if (strstr(text, "MASTER") == NULL || strstr(text, "event\r\n") == NULL)
                return;
        evbuffer_drain(in, evbuffer_get_length(in));
        fake->asked++;
        if (fake->mute)
                return;
        if (fake->password != NULL) {
                if (strstr(text, "AUTH") == NULL || strstr(text, fake->password) == NULL) {
                        evbuffer_add_printf(out, "-NOAUTH Authentication required.\r\n");
                        return;
                }
                evbuffer_add_printf(out, "+OK\r\n");
        }
        snprintf(port, sizeof(port), "%u", fake->says_port);
        snprintf(epoch, sizeof(epoch), "%u", fake->epoch);
        evbuffer_add_printf(out,
                            "*8\r\n$4\r\nname\r\n$5\r\nevent\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n"
                            "$4\r\nport\r\n$%zu\r\n%s\r\n$12\r\nconfig-epoch\r\n$%zu\r\n%s\r\n",
                            strlen(port), port, strlen(epoch), epoch);
}

static void fake_event(struct bufferevent *bytes, short what, void *arg)
{
        (void)arg;
        if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
                bufferevent_free(bytes);
}

static void fake_accepts(struct evconnlistener *listener, evutil_socket_t fd,
                         struct sockaddr *address, int len, void *arg)
{
        struct bufferevent *bytes =
            bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

        (void)address;
        (void)len;
        bufferevent_setcb(bytes, fake_reads, NULL, fake_event, arg);
        bufferevent_enable(bytes, EV_READ | EV_WRITE);
}

static void fake_start(struct fake *fake, struct event_base *base, uint16_t says_port,
                       unsigned epoch)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        *fake = (struct fake){ .says_port = says_port, .epoch = epoch };
        fake->listener = evconnlistener_new_bind(base, fake_accepts, fake, LEV_OPT_CLOSE_ON_FREE,
                                                 16, (struct sockaddr *)&address, sizeof(address));
        cr_assert(fake->listener != NULL);
        getsockname(evconnlistener_get_fd(fake->listener), (struct sockaddr *)&address, &len);
        fake->port = ntohs(address.sin_port);
}

/* Connections end in the loop, after the link that made them. */
static void end_fakes(struct bench *b, struct fake *fakes, size_t n)
{
        struct event_base *base = b->base;

        for (size_t i = 0; i < n; i++)
                evconnlistener_free(fakes[i].listener);
        redis_destroy(b->redis);
        for (int i = 0; i < 10; i++)
                event_base_loop(base, EVLOOP_NONBLOCK);
        b->redis = NULL;
        bench_destroy(b);
}

Test(redis_find, believes_the_sentinel_of_the_highest_epoch_and_not_the_one_that_was_cut_off)
{
        struct bench *b = bench_create();
        struct test_redis *old = start_server(), *now = start_server();
        struct fake fake[3];
        char url[160], peer[64];
        unsigned asked;

        fake_start(&fake[0], b->base, test_redis_port(now), 7);
        fake_start(&fake[1], b->base, test_redis_port(old),
                   6); /* cut off before the last failover */
        fake_start(&fake[2], b->base, test_redis_port(now), 7);
        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/event",
                 fake[0].port, fake[1].port, fake[2].port);
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        peer_of(now, peer);
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));

        /* While up, each is asked in turn, and the one behind moves nothing. */
        BENCH_UNTIL(b, fake[0].asked > 1 && fake[1].asked > 0 && fake[2].asked > 0);
        cr_assert(eq(uint, b->downs, 0));

        /* Nor does it when the others are silent and the link has to be found anew. */
        fake[0].mute = fake[2].mute = true;
        asked = fake[1].asked;
        redis_drop(b->redis, "test");
        BENCH_UNTIL(b, b->downs == 2);
        cr_assert(fake[1].asked > asked);
        cr_assert(not(redis_is_up(b->redis)));
        fake[0].mute = false;
        BENCH_UNTIL(b, b->ups == 2);
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));

        /* A higher epoch: follow, and at once. */
        fake[0].says_port = test_redis_port(old);
        fake[0].epoch = 8;
        peer_of(old, peer);
        BENCH_UNTIL(b, b->ups == 3);
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));
        cr_assert(strstr(b->why, "name 127.0.0.1:") != NULL, "%s", b->why);
        end_fakes(b, fake, 3);
        test_redis_destroy(now);
        test_redis_destroy(old);
}

Test(redis_find, takes_a_lower_epoch_when_most_sentinels_agree_on_it)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();
        struct fake fake[2];
        char url[160];

        fake_start(&fake[0], b->base, test_redis_port(server), 7);
        fake_start(&fake[1], b->base, test_redis_port(server), 7);
        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u/event", fake[0].port,
                 fake[1].port);
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        fake[0].epoch = fake[1].epoch = 0; /* set up anew, their state lost */
        redis_drop(b->redis, "test");
        BENCH_UNTIL(b, b->ups == 2);
        end_fakes(b, fake, 2);
        test_redis_destroy(server);
}

Test(redis_find, asks_the_next_sentinel_when_one_names_a_replica)
{
        struct bench *b = bench_create();
        struct test_redis *primary = start_server(), *replica = start_server();
        struct fake fake[2];
        char url[160], peer[64];

        test_redis_follow(replica, "127.0.0.1", test_redis_port(primary));
        fake_start(&fake[0], b->base, test_redis_port(replica), 3);
        fake_start(&fake[1], b->base, test_redis_port(primary), 3);
        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u/event", fake[0].port,
                 fake[1].port);
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        cr_assert(eq(uint, b->downs, 1));
        cr_assert(strstr(b->why, "a sentinel names it") != NULL, "%s", b->why);
        peer_of(primary, peer);
        cr_assert(eq(str, (char *)redis_peer(b->redis), peer));
        end_fakes(b, fake, 2);
        test_redis_destroy(replica);
        test_redis_destroy(primary);
}

Test(redis_find, gives_sentinels_their_password_and_a_silent_one_half_a_second)
{
        struct bench *b = bench_create();
        struct test_redis *server = start_server();
        struct fake fake[2];
        char url[200];

        fake_start(&fake[0], b->base, 0, 0);
        fake[0].mute = true;
        fake_start(&fake[1], b->base, test_redis_port(server), 0);
        fake[1].password = "open-sesame";
        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u/event", fake[0].port,
                 fake[1].port);
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(strstr(b->why, "NOAUTH") != NULL, "%s", b->why);
        redis_destroy(b->redis);
        strcat(url, "?sentinel_password=open-sesame");
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        end_fakes(b, fake, 2);
        test_redis_destroy(server);
}
