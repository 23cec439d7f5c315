/* Who did what, when, from where. */
#include "tests/producer/rig.h"

TestSuite(audit, .init = start, .fini = stop);

Test(audit, a_producer_cannot_take_a_key_that_nodes_start_events_by)
{
        EXPECT_STATUS(
            post(
                "/v1/events",
                "{\"id\":\"cup\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\",\"auto_start\":true}"),
            201);
        EXPECT_MEMBER("event.auto_start", "true");
        EXPECT_STATUS(post_with("/v1/events/cup/refresh", "auto-start:cup:2", "", ""), 200);
        char *there = test_redis_ask(api.server, "EXISTS", "{" NS "}:req:auto-start:cup:2", NULL);

        cr_assert(eq(int, atoi(there), 0));
        free(there);
        EXPECT_STATUS(get("/v1/requests/auto-start%3Acup%3A2"), 200);
}

Test(audit, the_audit_trail_has_who_did_what_when_and_from_where)
{
        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/start", "k", "Kickoff-Actor: ann@studio\r\n",
                                "{\"lead\": \"2s\",\"cohorts\":[\"a\"]}"),
                      200);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "k", "Kickoff-Actor: bob\r\n",
                                "{\"lead\": \"2s\",\"cohorts\":[\"a\"]}"),
                      200);                                   /* a repeat does nothing */
        EXPECT_STATUS(post("/v1/events/cup/start", ""), 409); /* nor does a refusal */
        EXPECT_STATUS(post("/v1/events/cup/end?dry_run=1", ""), 200);
        EXPECT_STATUS(get("/v1/audit"), 200);
        EXPECT_MEMBER("entries.0.kind", "create");
        EXPECT_MEMBER("entries.0.who", "");
        EXPECT_MEMBER("entries.0.event", "cup");
        EXPECT_MEMBER("entries.0.seq", "1");
        EXPECT_MEMBER("entries.1.kind", "start");
        EXPECT_MEMBER("entries.1.who", "ann@studio");
        EXPECT_MEMBER("entries.1.from", "127.0.0.1");
        EXPECT_MEMBER("entries.1.body", "{\"lead\":\"2s\",\"cohorts\":[\"a\"]}");
        EXPECT_MEMBER("entries.1.version", "2");
        EXPECT_MEMBER("entries.2", "(none)");
        EXPECT_MEMBER("entries.1.node", "(none)");
}

Test(audit, drafts_and_orders_are_in_the_audit_trail_too)
{
        char next[64], path[128];

        create_cup();
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 200);
        EXPECT_STATUS(get("/v1/audit?limit=1"), 200); /* the latest */
        EXPECT_MEMBER("entries.0.kind", "draft");
        EXPECT_MEMBER("entries.0.event", "cup");
        EXPECT_MEMBER("entries.0.seq", "(none)");
        snprintf(next, sizeof(next), "%s", member("next"));
        snprintf(path, sizeof(path), "/v1/audit?after=%s", next);
        EXPECT_STATUS(get(path), 200);
        EXPECT_MEMBER("entries", "[]");
        EXPECT_MEMBER("next", next);
        EXPECT_STATUS(post("/v1/events/cup/end", ""), 409);
        EXPECT_STATUS(post("/v1/events/cup/refresh", ""), 200);
        EXPECT_STATUS(get(path), 200);
        EXPECT_MEMBER("entries.0.kind", "refresh");
        EXPECT_MEMBER("entries.1", "(none)");
}

Test(audit, the_audit_trail_of_one_event_is_found_among_those_of_many)
{
        create_cup();
        for (int i = 0; i < 2500; i++)
                test_redis_do(api.server, "XADD", "{" NS "}:audit", "*", "at", "1", "kind", "stage",
                              "event", "other", NULL);
        EXPECT_STATUS(post("/v1/events/cup/refresh", ""), 200);
        test_redis_do(api.server, "XADD", "{" NS "}:audit", "*", "odd", "entry", NULL);
        EXPECT_STATUS(get("/v1/audit?event=cup"), 200);
        EXPECT_MEMBER("entries.0.kind", "create");
        EXPECT_MEMBER("entries.1.kind", "refresh");
        EXPECT_MEMBER("entries.2", "(none)");
        EXPECT_STATUS(get("/v1/audit?event=cup&after=0-0&limit=1"), 200);
        EXPECT_MEMBER("entries.0.kind", "create");
        EXPECT_MEMBER("entries.1", "(none)");
        EXPECT_STATUS(get("/v1/audit?event=nobody"), 200);
        EXPECT_MEMBER("entries", "[]");
        EXPECT_STATUS(get("/v1/audit?after=yesterday"), 400);
        EXPECT_STATUS(get("/v1/audit?limit=0"), 400);
        EXPECT_STATUS(get("/v1/audit?event=a%20b"), 400);
}
