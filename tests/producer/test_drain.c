/* Orders to drain. */
#include "tests/producer/rig.h"

TestSuite(drain, .init = start, .fini = stop);

static void say_nodes(void)
{
        struct presence nodes[] = {
                { .name = "n1", .devices = 6000, .room = 10000, .started = 111 },
                { .name = "n2", .devices = 10, .room = 8000, .started = 222 },
                { .name = "n3", .devices = 10, .room = 8000, .started = 333 },
                { .name = "gone", .started = 444 },
                { .name = "leaves", .devices = 7, .started = 555, .leaves = 1795463990123 },
        };

        for (size_t i = 0; i < countof(nodes); i++) {
                nodes[i].seen = clock_wall_ms() - (strcmp(nodes[i].name, "gone") == 0 ? 60000 : 0);
                check(presence_write(api.redis, NS, &nodes[i], NULL, NULL) == OK);
        }
}

Test(drain, an_order_for_another_node_is_in_redis_for_this_run_of_it_before_the_answer)
{
        char *record;

        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"within\":\"10s\",\"rate\":7}"), 202);
        EXPECT_MEMBER("node", "n2");
        EXPECT_MEMBER("started", "1970-01-01T00:00:00.222Z");
        EXPECT_MEMBER("already", "false");
        EXPECT_MEMBER("devices", "10");
        EXPECT_MEMBER("rate", "7");
        EXPECT_MEMBER("others", "2"); /* n1 and n3: neither who is gone nor who leaves itself */
        EXPECT_MEMBER("room", "11990");
        EXPECT_MEMBER("within_ms", "10000");
        EXPECT_MEMBER("told_ms", "1428");
        EXPECT_MEMBER("this_node", "false");
        EXPECT_MEMBER("warning", "(none)");
        record = test_redis_ask(api.server, "HGET", "{" NS "}:orders", "n2", NULL);
        cr_assert(not(eq(ptr, strstr(record, "\"started\":222"), NULL)), "%s", record);
        cr_assert(not(eq(ptr, strstr(record, "\"within_ms\":10000"), NULL)), "%s", record);
        cr_assert(not(eq(ptr, strstr(record, "\"rate\":7"), NULL)), "%s", record);
        free(record);
        cr_assert(eq(uint, ordered.rate, 0));
}

Test(drain, this_node_acts_at_once)
{
        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n1/drain", ""), 202);
        EXPECT_MEMBER("this_node", "true");
        EXPECT_MEMBER("rate", "400"); /* two others: 200 each, since 6,000 in 30 s were slower */
        order(say_nodes);             /* the order comes after the answer */
        cr_assert(eq(uint, ordered.within_ms, ORDER_WITHIN_MS));
        cr_assert(eq(uint, ordered.rate, 400));
}

Test(drain, who_drains_already_goes_on_as_it_was_told)
{
        char *record;

        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/leaves/drain", "{\"within\":\"1h\"}"), 202);
        EXPECT_MEMBER("already", "true");
        EXPECT_MEMBER("devices", "7");
        EXPECT_MEMBER("until", "2026-11-23T19:59:50.123Z");
        record = test_redis_ask(api.server, "HEXISTS", "{" NS "}:orders", "leaves", NULL);
        cr_assert(eq(str, record, "0"));
        free(record);
}

Test(drain, what_cannot_be_is_refused_and_says_why)
{
        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n4/drain", ""), 404);
        EXPECT_MEMBER("type", "/problems/node-not-found");
        EXPECT_MEMBER("detail", "There is no node `n4`. Known: gone, leaves, n1, n2, n3.");
        EXPECT_STATUS(post("/v1/nodes/%20/drain", ""), 404);
        EXPECT_STATUS(post("/v1/nodes/gone/drain", ""), 409);
        EXPECT_MEMBER("type", "/problems/node-gone");
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"within\":\"1s\"}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"within\":60}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"rate\":0}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"rate\":\"7\"}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"force\":true}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain?dry_run=yes", ""), 400);
        EXPECT_STATUS(get("/v1/nodes/n2/drain"), 405);
}

Test(drain, more_devices_than_the_others_hold_or_can_take_in_time_is_warned_of)
{
        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n1/drain", "{\"within\":\"2s\",\"rate\":100}"), 202);
        EXPECT_MEMBER("told_ms", "60000");
        EXPECT_MEMBER("warning",
                      "At this rate there is not time for all: the rest is told before the "
                      "end, and comes back later, at the same rate.");
}
