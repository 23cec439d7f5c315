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
