/* The link to Redis against a real redis-server that is killed, stopped and started again. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/redis.h"
#include "tests/support/redis_server.h"

#define GUARD_S 20 /* a test that waits this long has failed */

struct bench {
        struct event_base *base;
        struct test_redis *server;
        struct redis *redis;
        unsigned ups, downs;      /* on_state calls */
        unsigned answered, nulls; /* replies */
        char why[256];            /* of the last on_state */
        char last[256];           /* text of the last reply */
        char order[256];          /* one letter per happening */
        char received[256];       /* published messages, joined */
        bool in_call;             /* inside redis_create or redis_command */
        bool destroy_on_reply, destroy_on_state, command_on_null;
};

static void note(struct bench *b, char what)
{
        size_t len = strlen(b->order);

        cr_assert(not(b->in_call), "a callback ran from inside a call");
        if (len + 1 < sizeof(b->order))
                b->order[len] = what;
}

static void on_state(void *owner, enum redis_state state, const char *why)
{
        struct bench *b = owner;

        note(b, state == REDIS_UP ? 'U' : 'D');
        snprintf(b->why, sizeof(b->why), "%s", why);
        b->ups += state == REDIS_UP;
        b->downs += state == REDIS_DOWN;
        if (b->destroy_on_state) {
                redis_destroy(b->redis);
                b->redis = NULL;
        }
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct bench *b = owner;

        b->answered += reply != NULL;
        b->nulls += reply == NULL;
        note(b, reply != NULL ? 'r' : '0');
        if (reply != NULL)
                snprintf(b->last, sizeof(b->last), "%s", redis_text(reply, NULL));
        if (reply == NULL && b->command_on_null) {
                const char *const argv[] = { "PING" };

                cr_assert(
                    eq(int, redis_command(b->redis, NULL, NULL, 1, argv, NULL), ERR_UNAVAILABLE));
        }
        if (b->destroy_on_reply && b->redis != NULL) {
                struct redis *redis = b->redis;

                b->redis = NULL;
                redis_destroy(redis);
        }
}

static void on_message(void *owner, const char *bytes, size_t len)
{
        struct bench *b = owner;

        note(b, 'm');
        strncat(b->received, bytes, len);
        strcat(b->received, ";");
}

static void too_long(evutil_socket_t fd, short what, void *arg)
{
        struct bench *b = arg;

        (void)fd;
        (void)what;
        cr_fatal("waited too long: %s ups=%u downs=%u answered=%u nulls=%u why=%s", b->order,
                 b->ups, b->downs, b->answered, b->nulls, b->why);
}

/* Runs the loop until *value reaches `wanted`. */
static void until(struct bench *b, const unsigned *value, unsigned wanted)
{
        const struct timeval guard = { GUARD_S, 0 };
        struct event *event = evtimer_new(b->base, too_long, b);

        event_add(event, &guard);
        while (*value < wanted)
                event_base_loop(b->base, EVLOOP_ONCE);
        event_free(event);
}

static void create(struct bench *b, const char *url, unsigned timeout_ms, const char *channel)
{
        struct redis_options options = {
                .name = "test", .timeout_ms = timeout_ms, .on_state = on_state, .owner = b
        };
        const char *why;

        cr_assert(eq(int, redis_parse_url(url, &options.address, &why), OK));
        b->in_call = true;
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        if (channel != NULL)
                cr_assert(eq(int, redis_subscribe(b->redis, channel, on_message, b), OK));
        b->in_call = false;
}

static struct bench *setup(unsigned timeout_ms, const char *channel)
{
        struct bench *b = calloc(1, sizeof(*b));

        b->base = event_base_new();
        b->server = test_redis_start(NULL);
        create(b, test_redis_url(b->server), timeout_ms, channel);
        until(b, &b->ups, 1);
        return b;
}

static void teardown(struct bench *b)
{
        redis_destroy(b->redis);
        event_base_free(b->base);
        test_redis_destroy(b->server);
        free(b);
}

static enum err command(struct bench *b, const char *name, const char *key, const char *value)
{
        const char *const argv[] = { name, key, value };
        enum err err;

        b->in_call = true;
        err = redis_command(b->redis, on_reply, b,
                            key == NULL     ? 1
                            : value == NULL ? 2
                                            : 3,
                            argv, NULL);
        b->in_call = false;
        return err;
}

Test(redis, answers_commands_in_the_order_given)
{
        struct bench *b = setup(5000, NULL);
        char number[16];

        for (int i = 1; i <= 100; i++) {
                snprintf(number, sizeof(number), "%d", i);
                cr_assert(eq(int, command(b, "ECHO", number, NULL), OK));
                until(b, &b->answered, (unsigned)i);
                cr_assert(eq(str, b->last, number));
        }
        for (int i = 1; i <= 100; i++) { /* and pipelined: the last text wins */
                snprintf(number, sizeof(number), "%d", i);
                cr_assert(eq(int, command(b, "ECHO", number, NULL), OK));
        }
        until(b, &b->answered, 200);
        cr_assert(eq(str, b->last, "100"));
        teardown(b);
}

Test(redis, carries_bytes_with_nul_and_newline_whole)
{
        struct bench *b = setup(5000, NULL);
        const char *const argv[] = { "SET", "k", "a\0\r\nb" };
        const size_t lens[] = { 3, 1, 5 };
        char *seen;

        cr_assert(eq(int, redis_command(b->redis, on_reply, b, 3, argv, lens), OK));
        until(b, &b->answered, 1);
        cr_assert(eq(str, b->last, "OK"));
        seen = test_redis_ask(b->server, "STRLEN", "k", NULL);
        cr_assert(eq(str, seen, "5"));
        free(seen);
        teardown(b);
}

static void on_kinds(void *owner, const struct redis_reply *reply)
{
        struct bench *b = owner;
        size_t len;

        cr_assert(reply != NULL);
        cr_assert(eq(int, redis_type(reply), REDIS_ARRAY));
        cr_assert(eq(sz, redis_count(reply), 5));
        cr_assert(eq(int, redis_type(redis_at(reply, 0)), REDIS_INTEGER));
        cr_assert(eq(i64, redis_integer(redis_at(reply, 0)), 42));
        cr_assert(eq(str, (char *)redis_text(redis_at(reply, 0), &len), ""));
        cr_assert(eq(sz, len, 0));
        cr_assert(eq(str, (char *)redis_text(redis_at(reply, 1), &len), "text"));
        cr_assert(eq(sz, len, 4));
        cr_assert(eq(int, redis_type(redis_at(reply, 2)), REDIS_STATUS));
        cr_assert(eq(int, redis_type(redis_at(reply, 3)), REDIS_ERROR));
        cr_assert(eq(sz, redis_count(redis_at(reply, 4)), 0));
        cr_assert(eq(i64, redis_integer(redis_at(reply, 4)), 0));
        cr_assert(redis_at(reply, 5) == NULL);
        cr_assert(redis_at(redis_at(reply, 0), 0) == NULL);
        b->answered++;
}

Test(redis, shows_every_kind_of_reply)
{
        struct bench *b = setup(5000, NULL);
        const char *const argv[] = { "EVAL",
                                     "return {42, 'text', {ok='FINE'}, {err='BAD thing'}, {}}",
                                     "0" };

        cr_assert(eq(int, redis_command(b->redis, on_kinds, b, 3, argv, NULL), OK));
        until(b, &b->answered, 1);
        teardown(b);
}

Test(redis, refuses_commands_while_not_connected)
{
        struct bench b = { .base = event_base_new() };

        create(&b, "unix:///nonexistent/redis.sock", 1000, NULL);
        cr_assert(not(redis_is_up(b.redis)));
        cr_assert(eq(int, command(&b, "PING", NULL, NULL), ERR_UNAVAILABLE));
        until(&b, &b.downs, 1);
        cr_assert(eq(int, command(&b, "PING", NULL, NULL), ERR_UNAVAILABLE));
        cr_assert(eq(uint, b.answered + b.nulls, 0));
        redis_destroy(b.redis);
        event_base_free(b.base);
}

Test(redis, refused_over_tcp_says_so_once_and_goes_on_trying)
{
        struct sockaddr_in address = { .sin_family = AF_INET };
        struct bench b = { .base = event_base_new() };
        int unheard = socket(AF_INET, SOCK_STREAM, 0); /* a port of ours where nobody listens */
        socklen_t len = sizeof(address);
        char url[64];

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        cr_assert(zero(int, bind(unheard, (struct sockaddr *)&address, sizeof(address))));
        getsockname(unheard, (struct sockaddr *)&address, &len);
        snprintf(url, sizeof(url), "redis://127.0.0.1:%d", ntohs(address.sin_port));
        create(&b, url, 1000, NULL);
        until(&b, &b.downs, 1);
        cr_assert(strstr(b.why, "refused") != NULL, "%s", b.why);
        for (int i = 0; i < 5; i++) /* each round is an attempt */
                event_base_loop(b.base, EVLOOP_ONCE);
        cr_assert(eq(str, b.order, "D"));
        redis_destroy(b.redis);
        event_base_free(b.base);
        close(unheard);
}

Test(redis, killed_gives_each_waiting_command_null_then_down_and_comes_back_by_itself)
{
        struct bench *b = setup(10000, NULL);

        test_redis_pause(b->server); /* so that all three wait */
        b->command_on_null = true;
        for (int i = 0; i < 3; i++)
                cr_assert(eq(int, command(b, "INCR", "k", NULL), OK));
        event_base_loop(b->base, EVLOOP_ONCE);
        test_redis_kill(b->server);
        until(b, &b->downs, 1);
        cr_assert(eq(str, b->order, "U000D"));
        cr_assert(not(redis_is_up(b->redis)));
        cr_assert(eq(int, command(b, "PING", NULL, NULL), ERR_UNAVAILABLE));
        test_redis_restart(b->server);
        until(b, &b->ups, 2);
        cr_assert(eq(int, command(b, "ECHO", "again", NULL), OK));
        until(b, &b->answered, 1);
        cr_assert(eq(str, b->last, "again"));
        teardown(b);
}

Test(redis, that_does_not_answer_is_given_up_at_the_deadline)
{
        struct bench *b = setup(200, NULL);

        test_redis_pause(b->server);
        for (int i = 0; i < 3; i++)
                cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        until(b, &b->downs, 1);
        cr_assert(eq(str, b->order, "U000D"));
        cr_assert(strstr(b->why, "200 ms") != NULL, "%s", b->why);
        test_redis_resume(b->server);
        until(b, &b->ups, 2);
        cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        until(b, &b->answered, 1);
        cr_assert(eq(uint, b->nulls, 3)); /* the late answers reached nobody */
        teardown(b);
}

Test(redis, deadline_is_of_the_oldest_command_not_of_the_last)
{
        struct bench *b = setup(400, NULL);

        cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        until(b, &b->answered, 1);
        test_redis_pause(b->server);
        cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        /* New commands, for ever, do not put the end off. */
        while (b->downs == 0) {
                const struct timeval step = { 0, 50 * 1000 };

                event_base_loopexit(b->base, &step);
                event_base_dispatch(b->base);
                (void)!command(b, "PING", NULL, NULL);
                cr_assert(strlen(b->order) < 200);
        }
        cr_assert(b->nulls > 1);
        teardown(b);
}

/* A listener that never accepts more than its backlog: connect() of a unix socket then says EAGAIN,
 * and one that accepts by backlog but never speaks leaves the greeting without an answer. */
Test(redis, that_accepts_but_never_speaks_is_given_up_at_the_deadline)
{
        struct bench b = { .base = event_base_new() };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        char url[128];

        snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/kickoff-mute-%d.sock", getpid());
        snprintf(url, sizeof(url), "unix://%s", address.sun_path);
        cr_assert(zero(int, bind(listener, (struct sockaddr *)&address, sizeof(address))));
        cr_assert(zero(int, listen(listener, 8)));
        create(&b, url, 150, NULL);
        until(&b, &b.downs, 1);
        cr_assert(strstr(b.why, "150 ms") != NULL, "%s", b.why);
        cr_assert(eq(uint, b.nulls, 0));
        redis_destroy(b.redis);
        event_base_free(b.base);
        close(listener);
        unlink(address.sun_path);
}

Test(redis, asked_with_a_wrong_password_says_so_and_goes_on_trying)
{
        struct bench b = { .base = event_base_new() };
        struct redis_options options = { .name = "test", .on_state = on_state, .owner = &b };
        const char *why;

        b.server = test_redis_start("--requirepass", "right", NULL);
        cr_assert(eq(int, redis_parse_url(test_redis_url(b.server), &options.address, &why), OK));
        strcpy(options.address.password, "wrong");
        cr_assert(eq(int, redis_create(b.base, &options, &b.redis), OK));
        until(&b, &b.downs, 1);
        cr_assert(strstr(b.why, "WRONGPASS") != NULL, "%s", b.why);
        cr_assert(eq(uint, b.ups, 0));
        test_redis_kill(b.server); /* the operator mends it: the same link gets in */
        test_redis_destroy(b.server);
        redis_destroy(b.redis);
        event_base_free(b.base);
}

Test(redis, gets_in_by_itself_once_the_password_is_mended)
{
        struct bench b = { .base = event_base_new() };
        struct redis_options options = { .name = "test", .on_state = on_state, .owner = &b };
        const char *why;

        b.server = test_redis_start(NULL);
        cr_assert(eq(int, redis_parse_url(test_redis_url(b.server), &options.address, &why), OK));
        strcpy(options.address.user, "node");
        strcpy(options.address.password, "secret");
        cr_assert(eq(int, redis_create(b.base, &options, &b.redis), OK));
        until(&b, &b.downs, 1);
        test_redis_do(b.server, "ACL", "SETUSER", "node", "on", ">secret", "~*", "&*", "+@all",
                      NULL);
        until(&b, &b.ups, 1);
        cr_assert(eq(uint, b.downs, 1)); /* the same reason is told once, however many attempts */
        redis_destroy(b.redis);
        event_base_free(b.base);
        test_redis_destroy(b.server);
}

Test(redis, needs_a_password_and_says_so)
{
        struct bench b = { .base = event_base_new() };

        b.server = test_redis_start("--requirepass", "right", NULL);
        create(&b, test_redis_url(b.server), 1000, NULL);
        until(&b, &b.downs, 1);
        cr_assert(strstr(b.why, "NOAUTH") != NULL, "%s", b.why);
        redis_destroy(b.redis);
        event_base_free(b.base);
        test_redis_destroy(b.server);
}

Test(redis, uses_the_database_and_the_name_it_was_given)
{
        struct bench b = { .base = event_base_new() };
        char url[160], *text;

        b.server = test_redis_start(NULL);
        snprintf(url, sizeof(url), "%s?db=5", test_redis_url(b.server));
        create(&b, url, 5000, NULL);
        until(&b, &b.ups, 1);
        text = test_redis_ask(b.server, "CLIENT", "LIST", NULL);
        cr_assert(strstr(text, "name=test ") != NULL, "%s", text);
        cr_assert(strstr(text, " db=5 ") != NULL, "%s", text);
        free(text);
        redis_destroy(b.redis);
        event_base_free(b.base);
        test_redis_destroy(b.server);
}

Test(redis, destroyed_with_commands_in_flight_gives_null_replies_first)
{
        struct bench *b = setup(10000, NULL);

        test_redis_pause(b->server);
        for (int i = 0; i < 5; i++)
                cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        b->command_on_null = true; /* and a callback cannot revive it */
        redis_destroy(b->redis);
        b->redis = NULL;
        cr_assert(eq(str, b->order, "U00000"));
        teardown(b);
}

Test(redis, destroyed_before_connecting_is_silent)
{
        struct bench b = { .base = event_base_new() };

        create(&b, "unix:///nonexistent/redis.sock", 1000, "channel");
        redis_destroy(b.redis);
        redis_destroy(NULL);
        event_base_loop(b.base, EVLOOP_NONBLOCK);
        cr_assert(eq(str, b.order, ""));
        event_base_free(b.base);
}

Test(redis, may_be_destroyed_by_the_callback_of_a_reply)
{
        struct bench *b = setup(10000, NULL);

        b->destroy_on_reply = true;
        for (int i = 0; i < 5; i++)
                cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        until(b, &b->answered, 1);
        event_base_loop(b->base, EVLOOP_NONBLOCK);
        cr_assert(eq(str, b->order, "Ur0000"));
        teardown(b);
}

Test(redis, may_be_destroyed_by_a_null_reply)
{
        struct bench *b = setup(10000, NULL);

        test_redis_pause(b->server);
        for (int i = 0; i < 3; i++)
                cr_assert(eq(int, command(b, "PING", NULL, NULL), OK));
        event_base_loop(b->base, EVLOOP_ONCE);
        b->destroy_on_reply = true;
        test_redis_kill(b->server);
        until(b, &b->nulls, 3);
        event_base_loop(b->base, EVLOOP_NONBLOCK);
        cr_assert(eq(str, b->order, "U000")); /* and no REDIS_DOWN after that */
        teardown(b);
}

Test(redis, may_be_destroyed_by_going_up_or_down)
{
        struct bench *b = setup(5000, NULL);

        b->destroy_on_state = true;
        test_redis_kill(b->server);
        until(b, &b->downs, 1);
        test_redis_restart(b->server);
        create(b, test_redis_url(b->server), 5000, NULL);
        until(b, &b->ups, 2);
        create(b, test_redis_url(b->server), 5000, "c");
        until(b, &b->ups, 3);
        event_base_loop(b->base, EVLOOP_NONBLOCK);
        teardown(b);
}

static void wait_for_message(struct bench *b, const char *wanted)
{
        const struct timeval guard = { GUARD_S, 0 };
        struct event *event = evtimer_new(b->base, too_long, b);

        event_add(event, &guard);
        while (strstr(b->received, wanted) == NULL)
                event_base_loop(b->base, EVLOOP_ONCE);
        event_free(event);
}

Test(redis, subscription_receives_in_order_and_survives_a_restart)
{
        struct bench *b = setup(5000, "news");

        test_redis_do(b->server, "PUBLISH", "news", "one", NULL);
        test_redis_do(b->server, "PUBLISH", "other", "not mine", NULL);
        test_redis_do(b->server, "PUBLISH", "news", "two", NULL);
        wait_for_message(b, "two");
        cr_assert(eq(str, b->received, "one;two;"));
        test_redis_kill(b->server);
        until(b, &b->downs, 1);
        test_redis_restart(b->server);
        until(b, &b->ups, 2);
        test_redis_do(b->server, "PUBLISH", "news", "three", NULL);
        wait_for_message(b, "three");
        cr_assert(eq(str, b->received, "one;two;three;"));
        teardown(b);
}

Test(redis, subscription_that_fell_silent_is_noticed)
{
        struct bench *b = setup(200, "news");

        test_redis_pause(b->server);
        until(b, &b->downs, 1);
        cr_assert(strstr(b->why, "200 ms") != NULL, "%s", b->why);
        test_redis_resume(b->server);
        until(b, &b->ups, 2);
        test_redis_do(b->server, "PUBLISH", "news", "back", NULL);
        wait_for_message(b, "back");
        teardown(b);
}

Test(redis, subscription_asks_for_a_sign_of_life_again_and_again)
{
        struct bench *b = setup(5000, "news");
        unsigned asked = 0;
        char *text;

        for (int i = 0; asked < 3; i++) { /* the first and two signs of life */
                const struct timeval step = { 0, 100 * 1000 };
                const char *calls;

                cr_assert(i < 200);
                event_base_loopexit(b->base, &step);
                event_base_dispatch(b->base);
                text = test_redis_ask(b->server, "INFO", "commandstats", NULL);
                calls = strstr(text, "cmdstat_subscribe:calls=");
                asked = calls != NULL ? (unsigned)atoi(calls + 24) : 0;
                free(text);
        }
        cr_assert(eq(uint, b->downs, 0));
        cr_assert(eq(str, b->received, ""));
        test_redis_do(b->server, "PUBLISH", "news", "once",
                      NULL); /* and still only one subscription */
        test_redis_do(b->server, "PUBLISH", "news", "end", NULL);
        wait_for_message(b, "end");
        cr_assert(eq(str, b->received, "once;end;"));
        teardown(b);
}

Test(redis, subscription_refused_by_acl_says_so)
{
        struct bench b = { .base = event_base_new() };
        struct redis_options options = { .name = "test", .on_state = on_state, .owner = &b };
        const char *why;

        b.server = test_redis_start(NULL);
        test_redis_do(b.server, "ACL", "SETUSER", "node", "on", ">s", "+@all", "resetchannels",
                      NULL);
        cr_assert(eq(int, redis_parse_url(test_redis_url(b.server), &options.address, &why), OK));
        strcpy(options.address.user, "node");
        strcpy(options.address.password, "s");
        cr_assert(eq(int, redis_create(b.base, &options, &b.redis), OK));
        cr_assert(eq(int, redis_subscribe(b.redis, "news", on_message, &b), OK));
        until(&b, &b.downs, 1);
        cr_assert(strstr(b.why, "NOPERM") != NULL, "%s", b.why);
        cr_assert(eq(uint, b.ups, 0));
        redis_destroy(b.redis);
        event_base_free(b.base);
        test_redis_destroy(b.server);
}

Test(redis, subscription_destroyed_while_messages_arrive_is_silent)
{
        struct bench *b = setup(5000, "news");

        for (int i = 0; i < 50; i++)
                test_redis_do(b->server, "PUBLISH", "news", "x", NULL);
        redis_destroy(b->redis);
        b->redis = NULL;
        event_base_loop(b->base, EVLOOP_NONBLOCK);
        cr_assert(eq(str, b->received, ""));
        teardown(b);
}
