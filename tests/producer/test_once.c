/* A request is carried out once, however often it is sent; and a race has one winner. */
#include "tests/producer/rig.h"

TestSuite(once, .init = start, .fini = stop);

Test(once, the_same_key_and_request_gives_the_first_result_and_one_signal)
{
        char *first;

        EXPECT_STATUS(post_with("/v1/events", "same", "", CUP), 201);
        first = strdup(member("token"));
        EXPECT_STATUS(post("/v1/events/cup/start", ""), 200);
        EXPECT_STATUS(
            post_with("/v1/events", "same", "",
                      "{\"starts_at\":\"2031-05-01T20:00:00+02:00\", \"title\":\"Cup final\","
                      " \"id\":\"cup\"}"),
            201);
        cr_assert(has_header("Idempotent-Replayed: true"));
        cr_assert(has_header("ETag: \"1\""));
        EXPECT_MEMBER("token", first);
        EXPECT_MEMBER("event.phase", "scheduled");
        expect_signals("2");
        free(first);
}

Test(once, the_same_key_with_another_request_is_refused)
{
        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "k", "", "{\"by\":\"15m\"}"), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "k", "", "{\"by\":\"16m\"}"), 422);
        EXPECT_MEMBER("type", "/problems/idempotency-key-reused");
        EXPECT_STATUS(post_with("/v1/events/cup/cancel", "k", "", ""), 422);
        EXPECT_STATUS(
            post_with("/v1/events/cup/delay", "k", "If-Match: \"2\"\r\n", "{\"by\":\"15m\"}"), 422);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "k", "", "{\"by\":\"15m\"}"), 200);
        expect_signals("2");
}

Test(once, any_printable_key_is_kept_apart)
{
        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "\"a/b{c}\"", "", "{\"by\":\"1m\"}"), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "\"a/b{d}\"", "", "{\"by\":\"1m\"}"), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "\"a/b{c}\"", "", "{\"by\":\"1m\"}"), 200);
        cr_assert(has_header("Idempotent-Replayed: true"));
        expect_signals("3");
}

Test(once, a_post_without_a_key_says_how_to_send_one)
{
        EXPECT_STATUS(post_with("/v1/events", NULL, "", CUP), 400);
        EXPECT_MEMBER("type", "/problems/idempotency-key-missing");
        cr_assert(not(eq(ptr, strstr(member("detail"), "Idempotency-Key"), NULL)));
        cr_assert(not(eq(ptr, strcasestr(last.head, "application/problem+json"), NULL)));
        EXPECT_STATUS(post_with("/v1/events", "a b", "", CUP), 400);
        EXPECT_MEMBER("type", "/problems/idempotency-key-invalid");
        expect_signals("0");
}

Test(once, a_race_has_one_winner_and_the_loser_sees_the_current_event)
{
        create_cup();
        EXPECT_STATUS(
            post_with("/v1/events/cup/delay", "a", "If-Match: \"1\"\r\n", "{\"by\":\"5m\"}"), 200);
        EXPECT_STATUS(
            post_with("/v1/events/cup/delay", "b", "If-Match: \"1\"\r\n", "{\"by\":\"9m\"}"), 409);
        EXPECT_MEMBER("type", "/problems/version-stale");
        EXPECT_MEMBER("event.version", "2");
        EXPECT_MEMBER("event.starts_at", "2031-05-01T18:05:00.000Z");
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "b", "If-Match: 2\r\n", "{\"by\":\"9m\"}"),
                      200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "c", "If-Match: *\r\n", "{\"by\":\"1m\"}"),
                      200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "d", "If-Match: x\r\n", "{\"by\":\"1m\"}"),
                      400);
        EXPECT_STATUS(post_with("/v1/events", "e", "If-Match: \"1\"\r\n", CUP), 400);
        expect_signals("4");
}
