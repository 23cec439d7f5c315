/* Contract line 1 while a node runs: settings of Redis may change under it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

static int refresh(const struct test_node *node)
{
        struct answer answer = ask(node, "POST", "/v1/events/final/refresh", "{}", NULL);
        int status = answer.status;

        answer_end(&answer);
        return status;
}

static bool is_refused(void *node)
{
        return refresh(node) == 503;
}

static bool is_taken(void *node)
{
        return refresh(node) == 200;
}

Test(durability, a_redis_that_stops_syncing_gets_no_more_changes_until_it_is_mended)
{
        struct test_redis *redis = test_redis_start(NULL);
        struct test_node node = { 0 };
        struct answer answer;

        node_start(&node, "--redis", test_redis_url(redis), NULL);
        create_event(&node, "final");
        test_redis_do(redis, "CONFIG", "SET", "appendfsync", "everysec", NULL);
        wait_until(is_refused, &node, "changes to be refused");
        answer = ask(&node, "POST", "/v1/events/final/refresh", "{}", NULL);
        cr_assert(strstr(json_string_value(json_object_get(answer.json, "detail")),
                         "appendfsync always") != NULL);
        answer_end(&answer);
        test_redis_do(redis, "CONFIG", "SET", "appendfsync", "always", NULL);
        wait_until(is_taken, &node, "changes to be taken again");
        node_end(&node);
        test_redis_destroy(redis);
}
