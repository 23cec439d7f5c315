/* What would happen, without its happening. */
#include "tests/producer/rig.h"

TestSuite(dry_run, .init = start, .fini = stop);

static void be_present(const char *name, unsigned devices, int64_t age_ms)
{
        char record[256];

        snprintf(record, sizeof(record), "{\"devices\":%u,\"seq\":1,\"seen\":%lld}", devices,
                 (long long)(clock_wall_ms() - age_ms));
        test_redis_do(api.server, "HSET", "{" NS "}:nodes", name, record, NULL);
}

Test(dry_run, a_dry_run_tells_what_would_happen_to_how_many_and_does_nothing)
{
        create_cup();
        be_present("a", 20000, 0);
        be_present("b", 400, 1000);
        be_present("dead", 7, 60000);
        EXPECT_STATUS(post_with("/v1/events/cup/start?dry_run=1", NULL, "", "{\"lead\":\"2s\"}"),
                      200);
        EXPECT_MEMBER("dry_run", "true");
        EXPECT_MEMBER("would", "start");
        EXPECT_MEMBER("devices", "20400");
        EXPECT_MEMBER("nodes", "2");
        EXPECT_MEMBER("estimated_ms", "300");
        EXPECT_MEMBER("approximate", "false");
        EXPECT_MEMBER("event.phase", "live");
        EXPECT_MEMBER("event.version", "2");
        EXPECT_MEMBER("seq", "(none)");
        EXPECT_STATUS(get("/v1/events/cup"), 200);
        EXPECT_MEMBER("phase", "scheduled");
        EXPECT_MEMBER("version", "1");
        expect_signals("1");
}

Test(dry_run, a_dry_run_is_refused_as_it_would_be_in_earnest)
{
        EXPECT_STATUS(post("/v1/events/nobody/start?dry_run=1", ""), 404);
        EXPECT_STATUS(post("/v1/events?dry_run=1", CUP), 200);
        EXPECT_MEMBER("would", "create");
        EXPECT_STATUS(get("/v1/events/cup"), 404);
        create_cup();
        EXPECT_STATUS(post("/v1/events?dry_run=1", CUP), 409);
        EXPECT_MEMBER("type", "/problems/event-exists");
        EXPECT_STATUS(post("/v1/events/cup/end?dry_run=1", ""), 409);
        EXPECT_MEMBER("legal",
                      "[\"start\",\"delay\",\"cancel\",\"stage\",\"refresh\",\"publish\"]");
        EXPECT_STATUS(post("/v1/events/cup/delay?dry_run=1", "{\"bye\":\"1m\"}"), 400);
        EXPECT_STATUS(post_with("/v1/events/cup/start?dry_run=1", "k", "If-Match: \"7\"\r\n", ""),
                      409);
        EXPECT_MEMBER("type", "/problems/version-stale");
        EXPECT_STATUS(post("/v1/events/cup/bundles?dry_run=1", ""), 409);
        EXPECT_MEMBER("type", "/problems/not-possible-now");
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 200);
        EXPECT_STATUS(post("/v1/events/cup/bundles?dry_run=1", ""), 200);
        EXPECT_MEMBER("event.bundle", "1");
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("drafts.0.cohort", "default");
        expect_signals("1");
        api.why_not_writable = "because";
        EXPECT_STATUS(post("/v1/events/cup/start?dry_run=1", ""), 503);
        api.why_not_writable = NULL;
}

Test(dry_run, a_dry_run_uses_up_no_key)
{
        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/start?dry_run=1", "k", "", ""), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "k", "", ""), 200);
        cr_assert(not(has_header("Idempotent-Replayed: true")));
        EXPECT_STATUS(post_with("/v1/events/cup/end?dry_run=1", "k", "", ""), 200);
        EXPECT_MEMBER("would", "end");
        expect_signals("2");
}

Test(dry_run, a_dry_run_while_redis_is_silent_is_answered_in_time)
{
        create_cup();
        test_redis_pause(api.server);
        EXPECT_STATUS(post("/v1/events/cup/start?dry_run=1", ""), 503);
        EXPECT_MEMBER("type", "/problems/redis-unavailable");
        test_redis_resume(api.server);
}

Test(dry_run, a_draft_is_looked_at_as_in_earnest_and_not_stored)
{
        create_cup();
        EXPECT_STATUS(put("/v1/events/cup/bundles/tv?dry_run=1", "text/plain", "abc", 3), 200);
        EXPECT_MEMBER("dry_run", "true");
        EXPECT_MEMBER("would", "draft");
        EXPECT_MEMBER("devices", "0");
        EXPECT_MEMBER("estimated_ms", "0");
        EXPECT_MEMBER("event.id", "cup");
        EXPECT_MEMBER("event.version", "1");
        EXPECT_MEMBER("draft.cohort", "tv");
        EXPECT_MEMBER("draft.size", "3");
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("drafts", "[]");
        char *bodies = test_redis_ask(api.server, "KEYS", "{" NS "}:body:*", NULL);

        cr_assert(eq(str, bodies, ""), "a body is there");
        free(bodies);
        EXPECT_STATUS(get("/v1/audit"), 200);
        EXPECT_MEMBER("entries.0.kind", "create");
        EXPECT_MEMBER("entries.1", "(none)");
        EXPECT_STATUS(put("/v1/events/nobody/bundles/tv?dry_run=1", "text/plain", "x", 1), 404);
        EXPECT_STATUS(put("/v1/events/cup/bundles/tv?dry_run=1", "nonsense", "x", 1), 415);
        EXPECT_STATUS(put("/v1/events/cup/bundles/tv?dry_run=maybe", "text/plain", "x", 1), 400);
        EXPECT_STATUS(post("/v1/events/cup/cancel", ""), 200);
        EXPECT_STATUS(put("/v1/events/cup/bundles/tv?dry_run=1", "text/plain", "x", 1), 409);
        EXPECT_MEMBER("type", "/problems/event-over");
}

Test(dry_run, a_draft_beyond_the_limit_is_refused_and_one_that_takes_the_place_of_another_is_not)
{
        create_cup();
        test_redis_do(api.server, "EVAL",
                      "for i = 1, 20000 do redis.call('HSET', KEYS[1], 'c' .. i, 'x') end return 1",
                      "1", "{" NS "}:drafts:cup", NULL);
        EXPECT_STATUS(put("/v1/events/cup/bundles/c7?dry_run=1", "text/plain", "x", 1), 200);
        EXPECT_STATUS(put("/v1/events/cup/bundles/more?dry_run=1", "text/plain", "x", 1), 409);
        EXPECT_MEMBER("type", "/problems/limit-reached");
        test_redis_do(api.server, "RENAME", "{" NS "}:drafts:cup", "{" NS "}:bundles:cup", NULL);
        EXPECT_STATUS(put("/v1/events/cup/bundles/c7?dry_run=1", "text/plain", "x", 1), 200);
        EXPECT_STATUS(put("/v1/events/cup/bundles/more?dry_run=1", "text/plain", "x", 1), 409);
}

Test(dry_run, an_order_to_drain_is_described_and_nobody_is_told)
{
        char *orders;

        be_present("n1", 6000, 0); /* this node */
        be_present("n2", 10, 0);
        be_present("dead", 7, 60000);
        EXPECT_STATUS(post("/v1/nodes/n1/drain?dry_run=1", "{\"rate\":100}"), 200);
        EXPECT_MEMBER("dry_run", "true");
        EXPECT_MEMBER("would", "drain");
        EXPECT_MEMBER("node", "n1");
        EXPECT_MEMBER("devices", "6000");
        EXPECT_MEMBER("told_ms", "60000");
        EXPECT_MEMBER("estimated_ms", "60000");
        EXPECT_STATUS(post("/v1/nodes/n2/drain?dry_run=1", ""), 200);
        EXPECT_STATUS(post("/v1/nodes/dead/drain?dry_run=1", ""), 409);
        EXPECT_STATUS(post("/v1/nodes/nobody/drain?dry_run=1", ""), 404);
        EXPECT_STATUS(get("/v1/audit"), 200);
        EXPECT_MEMBER("entries", "[]");
        orders = test_redis_ask(api.server, "EXISTS", "{" NS "}:orders", NULL);
        cr_assert(eq(str, orders, "0"));
        cr_assert(eq(uint, ordered.rate, 0));
        free(orders);
}
