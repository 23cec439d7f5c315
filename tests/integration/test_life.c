/* How a node begins and ends, with the private redis-server it started. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static pid_t redis_of(const struct test_node *node)
{
        char path[128], line[512];
        pid_t pid = 0;
        FILE *log;

        snprintf(path, sizeof(path), "%s/log", node->dir);
        log = fopen(path, "r");
        while (log && fgets(line, sizeof(line), log))
                if (strstr(line, " REDIS-EMBEDDED "))
                        pid = (pid_t)atoi(strstr(line, "pid=") + 4);
        if (log)
                fclose(log);
        if (pid <= 0)
                give_up("the log does not name the private redis-server");
        return pid;
}

static bool is_gone(void *arg)
{
        return kill(*(pid_t *)arg, 0) != 0 && errno == ESRCH;
}

Test(life, kill_9_of_the_node_ends_its_redis_and_loses_nothing)
{
        struct test_node node = { 0 };
        struct recorder r;
        char token[TOKEN_TEXT_MAX + 1];
        pid_t redis;

        node_start(&node, NULL);
        create_event(&node, "final");
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        strcpy(token, kickoff_device_token(r.device));
        change(&node, "POST", "/v1/events/final/start", "{}");
        redis = redis_of(&node);
        node_kill(&node);
        wait_until(is_gone, &redis, "the private redis-server to end with its node");
        recorder_end(&r);
        node_start(&node, NULL);
        recorder_start(&r, &node, "tv-1", token, ENCODING_JSON);
        cr_assert(r.hello.recovered);
        recorder_until_signals(&r, 1);
        cr_assert(eq(int, r.signals[0].kind, SIGNAL_START));
        recorder_end(&r);
        node_end(&node);
}

static void ends_cleanly_on(int sig)
{
        struct test_node node = { 0 };
        struct recorder r;
        pid_t redis;

        node_start(&node, NULL);
        recorder_start(&r, &node, "tv-1", NULL, ENCODING_JSON);
        redis = redis_of(&node);
        kill(node.pid, sig);
        while (r.goaways == 0)
                recorder_run(&r, 10); /* the device is told before it is cut */
        recorder_end(&r);
        cr_assert(eq(int, node_stop(&node, 0), 0));
        wait_until(is_gone, &redis, "the private redis-server to be stopped");
        cr_assert(node_log_has(&node, "NODE-ENDED"));
        node_end(&node);
}

Test(life, sigterm_ends_it_cleanly)
{
        ends_cleanly_on(SIGTERM);
}

Test(life, ctrl_c_ends_it_cleanly)
{
        ends_cleanly_on(SIGINT);
}

Test(life, a_second_node_in_the_same_directory_is_told_so)
{
        struct test_node node = { 0 };
        char data[96];

        node_start(&node, NULL);
        snprintf(data, sizeof(data), "%s/data", node.dir);
        node_refuses("another kickoffd uses the data directory", "--listen=127.0.0.1:0",
                     "--admin=127.0.0.1:0", "--data", data, NULL);
        node_end(&node);
}

Test(life, a_second_node_on_the_same_port_is_refused_and_takes_no_device)
{
        struct test_node node = { 0 };
        char listen[32], data[96];

        node_start(&node, NULL);
        snprintf(listen, sizeof(listen), "127.0.0.1:%u", node.port);
        snprintf(data, sizeof(data), "%s/other", node.dir);
        node_refuses("address is in use", "--listen", listen, "--admin=127.0.0.1:0", "--data", data,
                     NULL);
        node_end(&node);
}

Test(life, prefetch_is_answered_from_memory_while_redis_is_away)
{
        struct test_node node = { 0 };
        struct answer answer;
        pid_t redis;

        node_start(&node, NULL);
        create_event(&node, "final");
        answer = ask(&node, "PUT", "/v1/events/final/bundles/default", "{\"live\":[1,2,3]}", NULL);
        cr_assert(answer.status == 200 || answer.status == 201 || answer.status == 204);
        answer_end(&answer);
        change(&node, "POST", "/v1/events/final/bundles", "{}");
        {
                struct test_node door = node; /* the same questions, asked at the devices' port */

                snprintf(door.admin, sizeof(door.admin), "http://127.0.0.1:%u", node.port);
                answer = ask(&door, "GET", "/v1/prefetch/final?cohort=nobody", NULL, NULL);
                cr_assert(eq(int, answer.status, 200));
                answer_end(&answer);
                redis = redis_of(&node);
                kill(redis, SIGSTOP);
                answer = ask(&door, "GET", "/v1/prefetch/final?cohort=default", NULL, NULL);
                cr_assert(eq(int, answer.status, 200));
                answer_end(&answer);
                answer = ask(&door, "GET", "/v1/prefetch/unknown", NULL, NULL);
                cr_assert(eq(int, answer.status, 404));
                answer_end(&answer);
                kill(redis, SIGCONT);
        }
        node_end(&node);
}
