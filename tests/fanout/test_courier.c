/* tests/fanout/test_courier.c -- registry and courier with a real Redis: records of two nodes, and
 * who is asked when they are missing or wrong. The nodes' workers are played by the test: each node
 * has one device at most. */
#include "tests/fanout/fixture.h"

#include "fanout/courier.h"
#include "fanout/presence.h"

struct player { /* a node */
        struct event_base *base;
        struct courier *courier;
        struct redis *redis;
        char name[8];
        const char *device; /* that it holds; NULL = none */
        uint64_t session;
        unsigned asked, ended, ups;
        bool is_mute; /* does not answer */
        char said[64];
};

static void on_asked(void *owner, const struct device_query *query, uint64_t errand)
{
        struct player *player = owner;
        struct device_answer answer = { .outcome = DEVICE_ABSENT };
        bool is_mine = player->device != NULL && strcmp(player->device, query->device) == 0 &&
                       (query->session == 0 || query->session == player->session);

        player->asked++;
        if (query->what == DEVICE_REPLACED || query->what == DEVICE_CLAIMED) {
                player->ended += is_mine;
                return;
        }
        if (player->is_mute)
                return;
        if (is_mine) {
                answer = (struct device_answer){ .outcome = DEVICE_HERE,
                                                 .session = player->session,
                                                 .connected_since = TEST_NOW };
                if (query->what == DEVICE_MESSAGE)
                        snprintf(player->said, sizeof(player->said), "%.60s", query->message.body);
        }
        courier_told(player->courier, errand, &answer);
}

static void on_up(void *owner)
{
        ((struct player *)owner)->ups++;
}

static void player_present(struct player *player)
{
        struct presence mine = { .seen = clock_wall_ms(), .started = 1 };

        strcpy(mine.name, player->name);
        cr_assert(eq(int, presence_write(player->redis, NS, &mine, NULL, NULL), OK));
}

static void player_start(struct player *player, struct event_base *base, struct test_redis *server,
                         const char *name, bool uses_registry)
{
        struct courier_options options = { .base = base,
                                           .address = fixture_address(server),
                                           .ns = NS,
                                           .node = player->name,
                                           .uses_registry = uses_registry,
                                           .keep_s = 100,
                                           .ask_here = on_asked,
                                           .on_up = on_up,
                                           .owner = player };

        memset(player, 0, sizeof(*player));
        strcpy(player->name, name);
        player->redis = fixture_link(base, server);
        player->base = base;
        cr_assert(eq(int, courier_create(&options, &player->courier), OK));
        run_until(base, player->ups > 0);
        player_present(player);
}

static void player_end(struct player *player)
{
        courier_destroy(player->courier);
        redis_destroy(player->redis);
}

struct arrival {
        bool is_done;
        enum err err;
        size_t n;
        struct registry_lost lost;
};

static void on_arrived(void *owner, enum err err, const struct registry_lost *lost, size_t n)
{
        struct arrival *arrival = owner;

        arrival->is_done = true;
        arrival->err = err;
        arrival->n = n;
        if (n > 0)
                arrival->lost = lost[0];
}

/* `device` came to this node `age_ms` ago. */
static struct arrival arrive(struct player *player, const char *device, uint64_t session,
                             uint64_t age_ms)
{
        const struct registry_row row = { device, session, age_ms };
        struct arrival arrival = { 0 };

        player->device = device;
        player->session = session;
        cr_assert(eq(
            int, registry_arrive(courier_registry(player->courier), &row, 1, on_arrived, &arrival),
            OK));
        run_until(player->base, arrival.is_done);
        cr_assert(eq(int, arrival.err, OK));
        return arrival;
}

struct asked {
        bool is_done;
        struct device_answer answer;
};

static void on_answered(void *owner, const struct device_answer *answer)
{
        struct asked *asked = owner;

        asked->is_done = true;
        asked->answer = *answer;
}

static struct device_answer ask(struct player *player, enum device_question what,
                                const char *device)
{
        struct device_query query = { .what = what, .message = { "m", "hello" } };
        struct asked asked = { 0 };

        strcpy(query.device, device);
        courier_ask(player->courier, &query, on_answered, &asked);
        run_until(player->base, asked.is_done);
        return asked.answer;
}

struct stage {
        struct test_redis *server;
        struct event_base *base;
        struct player a, b;
};

static void stage_start(struct stage *stage, bool uses_registry)
{
        struct redis *redis;

        stage->server = test_redis_start(NULL);
        stage->base = event_base_new();
        redis = fixture_link(stage->base, stage->server);
        fixture_load_library(stage->base, redis);
        redis_destroy(redis);
        player_start(&stage->a, stage->base, stage->server, "a", uses_registry);
        player_start(&stage->b, stage->base, stage->server, "b", uses_registry);
}

static void stage_end(struct stage *stage)
{
        player_end(&stage->a);
        player_end(&stage->b);
        event_base_free(stage->base);
        test_redis_destroy(stage->server);
}

Test(courier, finds_a_device_here_without_redis)
{
        struct stage stage;

        stage_start(&stage, true);
        stage.a.device = "tv-1";
        stage.a.session = 5;
        test_redis_kill(stage.server);
        cr_assert(eq(int, ask(&stage.a, DEVICE_MESSAGE, "tv-1").outcome, DEVICE_HERE));
        cr_assert(eq(str, stage.a.said, "hello"));
        run_until(stage.base, !registry_is_up(courier_registry(stage.a.courier)));
        cr_assert(eq(int, ask(&stage.a, DEVICE_MESSAGE, "tv-2").outcome, DEVICE_UNKNOWN));
        stage_end(&stage);
}

Test(courier, asks_the_node_that_the_registry_names)
{
        struct device_answer answer;
        struct stage stage;

        stage_start(&stage, true);
        arrive(&stage.b, "tv-1", 7, 0);
        answer = ask(&stage.a, DEVICE_MESSAGE, "tv-1");
        cr_assert(eq(int, answer.outcome, DEVICE_HERE));
        cr_assert(eq(str, answer.node, "b"));
        cr_assert(eq(u64, answer.session, 7));
        cr_assert(eq(str, stage.b.said, "hello"));
        cr_assert(eq(u32, stage.b.asked, 1));
        stage_end(&stage);
}

Test(courier, asks_all_for_a_device_that_is_not_in_the_registry)
{
        struct stage stage;

        for (int uses_registry = 0; uses_registry < 2; uses_registry++) {
                stage_start(&stage, uses_registry);
                stage.b.device = "tv-1";
                stage.b.session = 7;
                cr_assert(eq(int, ask(&stage.a, DEVICE_LOOK, "tv-1").outcome, DEVICE_HERE));
                cr_assert(eq(int, ask(&stage.a, DEVICE_LOOK, "tv-2").outcome, DEVICE_ABSENT));
                stage_end(&stage);
        }
}

Test(courier, corrects_a_record_that_names_a_node_without_the_device)
{
        struct device_answer answer;
        struct stage stage;
        char *went;

        stage_start(&stage, true);
        arrive(&stage.b, "tv-1", 7, 0);
        stage.b.device = NULL; /* gone, and nobody has written so */
        answer = ask(&stage.a, DEVICE_LOOK, "tv-1");
        cr_assert(eq(int, answer.outcome, DEVICE_ABSENT));
        cr_assert(answer.last_seen > clock_wall_ms() - 60000);
        answer = ask(&stage.a, DEVICE_LOOK, "tv-1");
        cr_assert(eq(int, answer.outcome, DEVICE_ABSENT));
        cr_assert(answer.last_seen > clock_wall_ms() - 60000, "still known");
        went = test_redis_ask(stage.server, "HGET", "{" NS "}:device:tv-1", "g", NULL);
        cr_assert(ne(str, went, "(nil)"));
        free(went);
        stage_end(&stage);
}

Test(courier, says_that_a_node_is_silent_rather_than_that_a_device_is_nowhere)
{
        struct stage stage;

        stage_start(&stage, true);
        arrive(&stage.b, "tv-1", 7, 0);
        stage.b.is_mute = true;
        cr_assert(eq(int, ask(&stage.a, DEVICE_LOOK, "tv-1").outcome, DEVICE_SILENT));
        cr_assert(eq(int, ask(&stage.a, DEVICE_LOOK, "tv-2").outcome, DEVICE_SILENT));
        stage_end(&stage);
}

/* Its link is on its way back, or it has just died: who knows. */
Test(courier, says_that_a_node_is_silent_that_lives_and_does_not_listen)
{
        struct stage stage;

        stage_start(&stage, true);
        arrive(&stage.b, "tv-1", 7, 0);
        courier_destroy(stage.b.courier);
        stage.b.courier = NULL;
        cr_assert(eq(int, ask(&stage.a, DEVICE_LOOK, "tv-1").outcome, DEVICE_SILENT));
        test_redis_do(stage.server, "HDEL", "{" NS "}:nodes", "b", NULL);
        cr_assert(eq(int, ask(&stage.a, DEVICE_LOOK, "tv-1").outcome, DEVICE_ABSENT));
        stage_end(&stage);
}

Test(registry, keeps_who_came_later_and_tells_the_others_node)
{
        struct arrival arrival;
        struct stage stage;

        stage_start(&stage, true);
        arrive(&stage.a, "tv-1", 5, 3000);
        arrival = arrive(&stage.b, "tv-1", 7, 1000);
        cr_assert(eq(sz, arrival.n, 0));
        run_until(stage.base, stage.a.ended == 1);
        stage.a.device = NULL;
        cr_assert(eq(str, ask(&stage.a, DEVICE_LOOK, "tv-1").node, "b"));
        stage_end(&stage);
}

/* Told late, because of the pace: it came first all the same. */
Test(registry, tells_a_caller_whose_device_came_later_elsewhere)
{
        struct arrival arrival;
        struct stage stage;

        stage_start(&stage, true);
        arrive(&stage.a, "tv-1", 5, 1000);
        arrival = arrive(&stage.b, "tv-1", 7, 3000);
        cr_assert(eq(sz, arrival.n, 1));
        cr_assert(eq(sz, arrival.lost.row, 0));
        cr_assert(eq(str, arrival.lost.node, "a"));
        cr_assert(eq(u64, arrival.lost.session, 5));
        cr_assert(eq(u32, stage.a.ended, 0));
        stage_end(&stage);
}

Test(registry, a_record_expires_and_being_told_again_renews_it)
{
        struct stage stage;
        char *ttl;

        stage_start(&stage, true);
        arrive(&stage.a, "tv-1", 5, 0);
        test_redis_do(stage.server, "EXPIRE", "{" NS "}:device:tv-1", "7", NULL);
        cr_assert(eq(sz, arrive(&stage.a, "tv-1", 5, 0).n, 0));
        ttl = test_redis_ask(stage.server, "TTL", "{" NS "}:device:tv-1", NULL);
        cr_assert(atoi(ttl) > 90 && atoi(ttl) <= 100, "%s", ttl);
        free(ttl);
        stage_end(&stage);
}

Test(registry, who_left_is_forgotten_only_if_the_record_is_still_theirs)
{
        const struct registry_row old = { "tv-1", 5, 0 }, new = { "tv-1", 7, 0 };
        struct stage stage;

        stage_start(&stage, true);
        arrive(&stage.a, "tv-1", 5, 3000);
        arrive(&stage.b, "tv-1", 7, 1000);
        stage.a.device = NULL;
        registry_leave(courier_registry(stage.a.courier), "a", &old, 1, false);
        cr_assert(eq(str, ask(&stage.a, DEVICE_LOOK, "tv-1").node, "b"));
        cr_assert(eq(u32, stage.b.asked, 1), "found by its record");

        stage.b.device = NULL;
        registry_leave(courier_registry(stage.b.courier), "b", &new, 1, false);
        cr_assert(eq(int, ask(&stage.b, DEVICE_LOOK, "tv-1").outcome, DEVICE_ABSENT));
        /* Gone, so whoever comes now is first, even if it had come before. */
        cr_assert(eq(sz, arrive(&stage.a, "tv-1", 9, 60000).n, 0));
        stage_end(&stage);
}
