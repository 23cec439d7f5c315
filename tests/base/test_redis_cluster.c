/* One slot of a real cluster: found from any seed, followed when it moves, subscribed to where it
 * lives. */
#include "tests/base/redis_bench.h"

#include "tests/support/redis_fleet.h"

#define KEY "{kickoff}:log"

static const struct redis_options wanted = { .primary = true, .slot_key = KEY };

static const char *address_of(const struct test_cluster *cluster, unsigned node)
{
        static char text[64];

        snprintf(text, sizeof(text), "127.0.0.1:%u", test_redis_port(cluster->node[node]));
        return text;
}

Test(redis_cluster, ends_at_the_owner_of_the_slot_whichever_seed_is_asked)
{
        struct test_cluster cluster;
        unsigned owner;

        test_cluster_start(&cluster);
        owner = test_cluster_owner(&cluster, KEY);
        for (unsigned seed = 0; seed < TEST_CLUSTER_NODES; seed++) {
                struct bench *b = bench_create();

                bench_link(b, test_redis_url(cluster.node[seed]), wanted, NULL);
                BENCH_UNTIL(b, b->ups == 1);
                cr_assert(
                    eq(str, (char *)redis_peer(b->redis), (char *)address_of(&cluster, owner)));
                cr_assert(redis_server(b->redis)->is_cluster);
                cr_assert(eq(uint, b->downs, 0)); /* being sent on is no trouble */
                cr_assert(eq(int, bench_command(b, "SET", KEY, "v"), OK));
                BENCH_UNTIL(b, b->answered == 1);
                cr_assert(eq(str, b->last, "OK"));
                bench_destroy(b);
        }
        test_cluster_end(&cluster);
}

Test(redis_cluster, follows_the_slot_when_it_moves)
{
        struct test_cluster cluster;
        struct bench *b = bench_create();
        unsigned owner, next;

        test_cluster_start(&cluster);
        owner = test_cluster_owner(&cluster, KEY);
        next = (owner + 1) % TEST_CLUSTER_NODES;
        bench_link(b, test_redis_url(cluster.node[owner]), wanted, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        test_cluster_move(&cluster, test_cluster_slot(&cluster, KEY), next);
        cr_assert(eq(uint, b->downs, 0));
        cr_assert(eq(int, bench_command(b, "SET", KEY, "v"), OK));
        BENCH_UNTIL(b, b->ups == 2);
        cr_assert(eq(uint, b->answered, 1));
        cr_assert(strncmp(b->last, "MOVED ", 6) == 0, "%s",
                  b->last); /* its owner knows: not done */
        cr_assert(eq(str, (char *)redis_peer(b->redis), (char *)address_of(&cluster, next)));
        cr_assert(eq(int, bench_command(b, "SET", KEY, "v"), OK));
        BENCH_UNTIL(b, b->answered == 2);
        cr_assert(eq(str, b->last, "OK"));
        bench_destroy(b);
        test_cluster_end(&cluster);
}

Test(redis_cluster, subscribes_where_the_slot_lives_and_moves_along)
{
        struct test_cluster cluster;
        struct bench *b = bench_create();
        unsigned owner, next;
        char *text;

        test_cluster_start(&cluster);
        owner = test_cluster_owner(&cluster, KEY);
        next = (owner + 1) % TEST_CLUSTER_NODES;
        bench_link(b, test_redis_url(cluster.node[next]), wanted, "{kickoff}:live");
        BENCH_UNTIL(b, b->ups == 1);
        cr_assert(eq(str, (char *)redis_peer(b->redis), (char *)address_of(&cluster, owner)));
        test_redis_do(cluster.node[owner], "SPUBLISH", "{kickoff}:live", "one", NULL);
        test_redis_do(cluster.node[owner], "PUBLISH", "{kickoff}:live", "not sharded", NULL);
        test_redis_do(cluster.node[owner], "SPUBLISH", "{kickoff}:live", "two", NULL);
        BENCH_UNTIL(b, strcmp(b->received, "one;two;") == 0);

        test_cluster_move(&cluster, test_cluster_slot(&cluster, KEY), next);
        BENCH_UNTIL(b, b->ups == 2);
        cr_assert(eq(str, (char *)redis_peer(b->redis), (char *)address_of(&cluster, next)));
        test_redis_do(cluster.node[next], "SPUBLISH", "{kickoff}:live", "three", NULL);
        BENCH_UNTIL(b, strcmp(b->received, "one;two;three;") == 0);

        /* A sign of life once a second, by the same sharded way. */
        do {
                text = test_redis_ask(cluster.node[next], "INFO", "commandstats", NULL);
                event_base_loop(b->base, EVLOOP_ONCE);
                if (strstr(text, "cmdstat_ssubscribe:calls=3") != NULL)
                        break;
                free(text);
        } while (true);
        free(text);
        cr_assert(eq(uint, b->downs, 1));
        bench_destroy(b);
        test_cluster_end(&cluster);
}

Test(redis_cluster, that_lost_a_part_keeps_the_link_down_and_says_so)
{
        struct test_cluster cluster;
        struct bench *b = bench_create();
        unsigned owner;
        char url[200];

        test_cluster_start(&cluster);
        owner = test_cluster_owner(&cluster, KEY);
        snprintf(url, sizeof(url), "redis://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u",
                 test_redis_port(cluster.node[0]), test_redis_port(cluster.node[1]),
                 test_redis_port(cluster.node[2]));
        bench_link(b, url, wanted, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        test_redis_kill(cluster.node[owner]);
        BENCH_UNTIL(b, strstr(b->why, "CLUSTERDOWN") != NULL);
        cr_assert(not(redis_is_up(b->redis)));
        test_redis_restart(cluster.node[owner]);
        BENCH_UNTIL(b, b->ups == 2);
        cr_assert(eq(str, (char *)redis_peer(b->redis), (char *)address_of(&cluster, owner)));
        bench_destroy(b);
        test_cluster_end(&cluster);
}

Test(redis_cluster, without_a_slot_key_is_a_server_like_any_other)
{
        struct test_cluster cluster;
        struct bench *b = bench_create();
        unsigned other;

        test_cluster_start(&cluster);
        other = (test_cluster_owner(&cluster, KEY) + 1) % TEST_CLUSTER_NODES;
        bench_link(b, test_redis_url(cluster.node[other]),
                   (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        cr_assert(eq(int, bench_command(b, "GET", KEY, NULL), OK));
        BENCH_UNTIL(b, b->answered == 1);
        cr_assert(strncmp(b->last, "MOVED ", 6) == 0, "%s", b->last);
        cr_assert(redis_is_up(b->redis));
        bench_destroy(b);
        test_cluster_end(&cluster);
}
