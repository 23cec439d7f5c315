/* Redis silent, dead, or not to be relied on: what is answered, in time, and what is not done
 * later. */
#include "tests/producer/rig.h"

TestSuite(redis_away, .init = start, .fini = stop);

_Static_assert(ADMIN_ANSWER_MS < 2000, "the contract, line 9: an answer within 2 s");

Test(redis_away, a_silent_redis_gives_unavailable_and_what_was_refused_is_not_done_later)
{
        create_cup();
        test_redis_pause(api.server);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "again", "", "{}"), 503);
        EXPECT_MEMBER("type", "/problems/redis-unavailable");
        EXPECT_MEMBER("request_key", "again");
        cr_assert(has_header("Retry-After: 2"));
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 503);
        EXPECT_STATUS(get("/v1/events/cup"), 503);
        EXPECT_STATUS(get("/v1/signals"), 503);
        EXPECT_STATUS(get("/v1/nodes"), 503);
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 503);
        test_redis_resume(api.server);
        wait_ready();
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("drafts", "[]");
        EXPECT_STATUS(get("/v1/events/cup"), 200);
        EXPECT_MEMBER("phase", "scheduled");
        expect_signals("1");
        EXPECT_STATUS(post_with("/v1/events/cup/start", "again", "", "{}"), 200);
        cr_assert(not(has_header("Idempotent-Replayed: true")));
        expect_signals("2");
}

Test(redis_away, a_dead_redis_is_told_and_its_return_needs_nothing)
{
        create_cup();
        test_redis_kill(api.server);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "again", "", "{}"), 503);
        EXPECT_MEMBER("request_key", "again");
        EXPECT_STATUS(get("/v1/events"), 503);
        cr_assert(has_header("Retry-After: 2"));
        EXPECT_STATUS(get("/healthz"), 200);
        EXPECT_STATUS(get("/readyz"), 503);
        test_redis_restart(api.server);
        wait_ready();
        EXPECT_STATUS(post_with("/v1/events/cup/start", "again", "", "{}"), 200);
        EXPECT_MEMBER("event.version", "2");
        EXPECT_STATUS(post_with("/v1/events/cup/start", "again", "", "{}"), 200);
        cr_assert(has_header("Idempotent-Replayed: true"));
        expect_signals("2");
}

/* Redis stops between the look-up and the append: CLIENT PAUSE WRITE holds back FCALL of a writing
 * function, and lets reads through. */
Test(redis_away, an_append_without_an_answer_is_unknown_and_not_made_twice)
{
        char *first;

        create_cup();
        test_redis_do(api.server, "CLIENT", "PAUSE", "600000", "WRITE", NULL);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "late", "", "{}"), 504);
        EXPECT_MEMBER("type", "/problems/outcome-unknown");
        EXPECT_MEMBER("request_key", "late");
        EXPECT_MEMBER("request_path", "/v1/requests/late");
        cr_assert(strstr(member("detail"), "GET /v1/requests/late") != NULL);
        EXPECT_STATUS(get("/v1/requests/late"), 404);
        test_redis_do(api.server, "CLIENT", "UNPAUSE", NULL);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "late", "", "{}"), 200);
        cr_assert(has_header("Idempotent-Replayed: true"));
        EXPECT_MEMBER("seq", "2");
        first = strdup(member("token"));
        EXPECT_STATUS(get("/v1/signals/2"), 200);
        EXPECT_MEMBER("token", first);
        expect_signals("2");
        free(first);
}

Test(redis_away, a_request_key_tells_what_became_of_it)
{
        create_cup();
        EXPECT_STATUS(get("/v1/requests/a%2Fb"), 404);
        EXPECT_MEMBER("type", "/problems/request-not-found");
        EXPECT_STATUS(post_with("/v1/events/cup/start", "a/b", "", "{}"), 200);
        EXPECT_STATUS(post("/v1/events/cup/end", "{}"), 200);
        EXPECT_STATUS(get("/v1/requests/a%2Fb"), 200);
        EXPECT_MEMBER("state", "committed");
        EXPECT_MEMBER("seq", "2");
        EXPECT_MEMBER("durability", "fsync");
        EXPECT_MEMBER("event.stage", "live"); /* its first result, not what is there now */
        EXPECT_STATUS(get("/v1/requests/a%20b"), 400);
        EXPECT_MEMBER("type", "/problems/idempotency-key-invalid");
        test_redis_do(api.server, "HSET", "{" NS "}:req:odd", "fingerprint", "f", "token", "x",
                      "record", "{}", NULL);
        EXPECT_STATUS(get("/v1/requests/odd"), 503);
        test_redis_do(api.server, "HDEL", "{" NS "}:req:odd", "token", NULL);
        test_redis_kill(api.server);
        EXPECT_STATUS(get("/v1/requests/a%2Fb"), 503);
}

Test(redis_away, a_draft_without_an_answer_is_unknown_and_may_be_sent_again)
{
        create_cup();
        test_redis_do(api.server, "CLIENT", "PAUSE", "600000", "WRITE", NULL);
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 504);
        EXPECT_MEMBER("type", "/problems/outcome-unknown");
        test_redis_do(api.server, "CLIENT", "UNPAUSE", NULL);
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 200);
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("drafts.0.cohort", "default");
}

static void refuse(void)
{
        api.why_not_writable = "appendfsync is everysec: set appendfsync always";
}

static void accept_again(void)
{
        api.why_not_writable = NULL;
}

Test(redis_away, while_durability_cannot_be_kept_changes_are_refused_with_the_reason)
{
        create_cup();
        order(refuse);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "k", "", ""), 503);
        EXPECT_MEMBER("type", "/problems/writes-refused");
        EXPECT_MEMBER("detail", "appendfsync is everysec: set appendfsync always");
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 503);
        EXPECT_STATUS(get("/v1/events/cup"), 200);
        order(accept_again);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "k", "", ""), 200);
}

/* The answer of an API that ends while Redis is silent. */
Test(redis_away, it_may_end_while_requests_wait)
{
        static const char request[] = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        int fd;

        test_redis_pause(api.server);
        fd = connect_to_api();
        send_all(fd, request, strlen(request));
        EXPECT_STATUS(get("/healthz"), 200); /* the request before it has been read by now */
        order(end_loop);
        pthread_join(api.thread, NULL);
        close(fd);
        test_redis_destroy(api.server);
        start_with_token(NULL); /* for stop() */
}
