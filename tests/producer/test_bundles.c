/* Drafts in, drafts made current, and what is refused on the way. */
#include "tests/producer/rig.h"

TestSuite(bundles, .init = start, .fini = stop);

Test(bundles, drafts_become_current_all_at_once)
{
        create_cup();
        EXPECT_STATUS(post("/v1/events/cup/bundles", ""), 409); /* no drafts */
        EXPECT_MEMBER("type", "/problems/not-possible-now");
        EXPECT_MEMBER("legal", "[\"start\",\"delay\",\"cancel\",\"stage\",\"refresh\"]");
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "application/json", "{\"a\":1}", 7),
                      200);
        EXPECT_MEMBER("cohort", "default");
        EXPECT_MEMBER("size", "7");
        EXPECT_STATUS(put("/v1/events/cup/bundles/tv", "text/plain; charset=utf-8", "tv\0!", 4),
                      200);
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("version", "0");
        EXPECT_MEMBER("current", "[]");
        EXPECT_MEMBER("drafts.0.cohort", "default");
        EXPECT_MEMBER("drafts.1.content_type", "text/plain; charset=utf-8");
        EXPECT_STATUS(post("/v1/events/cup/bundles", "{\"window\":\"10m\"}"), 200);
        EXPECT_MEMBER("event.bundle", "1");
        EXPECT_STATUS(put("/v1/events/cup/bundles/tv", "text/plain", "new", 3), 200);
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("version", "1");
        EXPECT_MEMBER("current.0.cohort", "default");
        EXPECT_MEMBER("current.1.size", "4");
        EXPECT_MEMBER("drafts.0.size", "3");
        EXPECT_MEMBER("drafts.1", "(none)");
        EXPECT_STATUS(post("/v1/events/cup/bundles", ""), 200);
        EXPECT_MEMBER("event.bundle", "2");
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("current.1.size", "3");
        EXPECT_MEMBER("drafts", "[]");
        EXPECT_STATUS(get("/v1/signals/2"), 200);
        EXPECT_MEMBER("kind", "refresh");
        EXPECT_MEMBER("window_ms", "600000");
}

Test(bundles, a_draft_is_refused_where_it_could_do_no_good)
{
        EXPECT_STATUS(put("/v1/events/nobody/bundles/default", "a/b", "x", 1), 404);
        EXPECT_STATUS(get("/v1/events/nobody/bundles"), 404);
        create_cup();
        EXPECT_STATUS(put("/v1/events/cup/bundles/no%20cohort", "a/b", "x", 1), 400);
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "nonsense", "x", 1), 415);
        EXPECT_STATUS(ask_bytes("PUT", "/v1/events/cup/bundles/default", "", "x", 1), 415);
        EXPECT_STATUS(ask_bytes("PUT", "/v1/events/cup/bundles/default",
                                "Content-Type: a/b\r\nContent-Encoding: gzip\r\n", "x", 1),
                      501);
        EXPECT_STATUS(post("/v1/events/cup/cancel", ""), 200);
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 409);
        EXPECT_MEMBER("type", "/problems/event-over");
}

Test(bundles, a_bundle_is_taken_at_its_limit_and_refused_one_past_it)
{
        size_t limit = 1024 * 1024;
        char *body = calloc(1, limit + 1);

        create_cup();
        EXPECT_STATUS(
            put("/v1/events/cup/bundles/default", "application/octet-stream", body, limit), 200);
        EXPECT_MEMBER("size", "1048576");
        EXPECT_STATUS(
            put("/v1/events/cup/bundles/default", "application/octet-stream", body, limit + 1),
            413);
        EXPECT_STATUS(put("/v1/events/cup/bundles/empty", "text/plain", "", 0), 200);
        free(body);
}
