/* One device of many, at one node of three: messages reach it from any of them, connecting again
 * ends the session before it wherever that is, and what nobody knows is not said. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"

#define NODES 3

/* --- devices, byte by byte -------------------------------------------------------------------- */

struct frame {
        unsigned opcode; /* RFC 6455 5.2; 8 = close, 0 = the connection ended without one */
        size_t len;
        char bytes[16384];
};

static bool read_all(int fd, void *into, size_t len)
{
        for (size_t have = 0; have < len;) {
                struct pollfd ready = { fd, POLLIN, 0 };
                ssize_t n;

                if (poll(&ready, 1, PATIENCE_MS) != 1)
                        give_up("the node says nothing to a device");
                n = read(fd, (char *)into + have, len - have);
                if (n <= 0)
                        return false;
                have += (size_t)n;
        }
        return true;
}

static void next_frame(int fd, struct frame *frame)
{
        uint8_t head[4];

        memset(frame, 0, sizeof(*frame));
        if (!read_all(fd, head, 2))
                return;
        frame->len = head[1] & 0x7f;
        if (frame->len == 126) {
                if (!read_all(fd, head + 2, 2))
                        return;
                frame->len = (size_t)head[2] << 8 | head[3];
        }
        if (frame->len >= sizeof(frame->bytes))
                give_up("a longer frame than a node says to one device");
        if (read_all(fd, frame->bytes, frame->len))
                frame->opcode = head[0] & 0x0f;
}

/* The next message of this type; anything else is passed over. */
static void until_message(int fd, const char *type, struct frame *frame)
{
        char t[32];

        snprintf(t, sizeof(t), "{\"t\":\"%s\"", type);
        do {
                next_frame(fd, frame);
                if (frame->opcode == 0 || frame->opcode == 8)
                        give_up("the session ended, and no %s came", type);
        } while (strncmp(frame->bytes, t, strlen(t)) != 0);
}

static int connected(const struct test_node *node, const char *device)
{
        int fd = raw_connect(node, 0);
        struct frame frame;

        raw_upgrade(fd, device, "&ack=0");
        until_message(fd, "hello", &frame);
        return fd;
}

/* goaway replaced, and close 4009, whatever came before. */
static void must_be_replaced(int fd)
{
        struct frame frame;

        until_message(fd, "goaway", &frame);
        cr_assert(ne(ptr, strstr(frame.bytes, "\"reason\":\"replaced\""), NULL), "%s", frame.bytes);
        next_frame(fd, &frame);
        cr_assert(eq(u32, frame.opcode, 8));
        cr_assert(eq(u32, (unsigned)(uint8_t)frame.bytes[0] << 8 | (uint8_t)frame.bytes[1], 4009));
        close(fd);
}

/* --- nodes ------------------------------------------------------------------------------------ */

struct fleet {
        struct test_redis *redis;
        struct test_node nodes[NODES]; /* "a", "b", "c" */
};

static void fleet_start(struct fleet *fleet, unsigned n, const char *option)
{
        memset(fleet, 0, sizeof(*fleet));
        fleet->redis = test_redis_start(NULL);
        for (unsigned i = 0; i < n; i++) {
                const char name[] = { (char)('a' + i), '\0' };

                node_start(&fleet->nodes[i], "--redis", test_redis_url(fleet->redis), "--name",
                           name, "--drain=2s", option, NULL);
        }
}

static void fleet_end(struct fleet *fleet)
{
        for (unsigned i = 0; i < NODES; i++)
                if (fleet->nodes[i].dir[0] != '\0')
                        node_end(&fleet->nodes[i]);
        test_redis_destroy(fleet->redis);
}

struct place {
        const struct test_node *asked;
        const char *device, *node; /* node NULL: 404 */
};

static bool is_at(void *arg)
{
        const struct place *place = arg;
        struct answer answer;
        char path[160];
        bool is;

        snprintf(path, sizeof(path), "/v1/devices/%s", place->device);
        answer = ask(place->asked, "GET", path, NULL, NULL);
        is = place->node == NULL
                 ? answer.status == 404
                 : answer.status == 200 &&
                       strcmp(json_string_value(json_object_get(answer.json, "node")),
                              place->node) == 0;
        cr_assert(answer.status == 200 || answer.status == 404 || answer.status == 503);
        answer_end(&answer);
        return is;
}

static int message(const struct test_node *node, const char *device, const char *body)
{
        struct answer answer;
        char path[160], text[256];
        int status;

        snprintf(path, sizeof(path), "/v1/devices/%s/messages", device);
        snprintf(text, sizeof(text), "{\"id\":\"m-%s\",\"body\":\"%s\"}", body, body);
        answer = ask(node, "POST", path, text, NULL);
        status = answer.status;
        answer_end(&answer);
        return status;
}

static void must_hear(int fd, const char *body)
{
        char expected[128];
        struct frame frame;

        snprintf(expected, sizeof(expected), "{\"t\":\"message\",\"id\":\"m-%s\",\"body\":\"%s\"}",
                 body, body);
        until_message(fd, "message", &frame);
        cr_assert(eq(str, frame.bytes, expected));
}

/* --- the tests -------------------------------------------------------------------------------- */

static void reaches(const char *option)
{
        static const char *const bodies[NODES] = { "one", "two", "three" };
        struct fleet fleet;
        struct answer answer;
        int fd;

        fleet_start(&fleet, NODES, option);
        fd = connected(&fleet.nodes[1], "tv-1");
        for (unsigned i = 0; i < NODES; i++) {
                wait_until(is_at, &(struct place){ &fleet.nodes[i], "tv-1", "b" }, "found");
                cr_assert(eq(int, message(&fleet.nodes[i], "tv-1", bodies[i]), 200));
                must_hear(fd, bodies[i]);
        }
        answer = ask(&fleet.nodes[2], "GET", "/v1/devices/tv-1", NULL, NULL);
        cr_assert(eq(str, (char *)json_string_value(json_object_get(answer.json, "transport")),
                     "websocket"));
        answer_end(&answer);
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-9", "x"), 404));
        close(fd);
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-1", NULL }, "it left");
        fleet_end(&fleet);
}

Test(devices, a_message_reaches_its_device_from_every_node)
{
        reaches(NULL);
}

Test(devices, a_message_reaches_its_device_without_a_registry)
{
        reaches("--registry=off");
}

Test(devices, a_dry_run_finds_the_device_and_tells_it_nothing)
{
        static const char body[] = "{\"id\":\"m-never\",\"body\":\"never\"}";
        const json_t *entries;
        struct answer answer;
        struct fleet fleet;
        bool is_dry;
        int fd;

        fleet_start(&fleet, 2, NULL);
        fd = connected(&fleet.nodes[1], "tv-1");
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-1", "b" }, "found");
        answer = ask(&fleet.nodes[0], "POST", "/v1/devices/tv-1/messages?dry_run=1", body, NULL);
        cr_assert(eq(int, answer.status, 200));
        is_dry = json_is_true(json_object_get(answer.json, "dry_run"));
        cr_assert(is_dry);
        cr_assert(
            eq(str, (char *)json_string_value(json_object_get(answer.json, "would")), "message"));
        cr_assert(eq(str, (char *)json_string_value(json_object_get(answer.json, "node")), "b"));
        cr_assert(
            eq(str, (char *)json_string_value(json_object_get(answer.json, "id")), "m-never"));
        answer_end(&answer);
        answer = ask(&fleet.nodes[0], "POST", "/v1/devices/tv-9/messages?dry_run=1", body, NULL);
        cr_assert(eq(int, answer.status, 404));
        answer_end(&answer);
        answer = ask(&fleet.nodes[0], "POST", "/v1/devices/tv-1/messages?dry_run=1", "{}", NULL);
        cr_assert(eq(int, answer.status, 400));
        answer_end(&answer);
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-1", "real"), 200));
        must_hear(fd, "real"); /* the first it hears */
        answer = ask(&fleet.nodes[1], "GET", "/v1/audit", NULL, NULL);
        entries = json_object_get(answer.json, "entries");
        cr_assert(eq(sz, json_array_size(entries), 1));
        cr_assert(eq(str,
                     (char *)json_string_value(json_object_get(json_array_get(entries, 0), "body")),
                     "{\"id\":\"m-real\",\"body\":\"real\"}"));
        answer_end(&answer);
        close(fd);
        fleet_end(&fleet);
}

Test(devices, who_has_left_was_last_seen_then)
{
        int64_t before = clock_wall_ms(), ms = 0;
        struct answer answer;
        struct fleet fleet;
        int fd;

        fleet_start(&fleet, 2, NULL);
        fd = connected(&fleet.nodes[0], "tv-1");
        wait_until(is_at, &(struct place){ &fleet.nodes[1], "tv-1", "a" }, "found");
        close(fd);
        wait_until(is_at, &(struct place){ &fleet.nodes[1], "tv-1", NULL }, "it left");
        answer = ask(&fleet.nodes[1], "GET", "/v1/devices/tv-1", NULL, NULL);
        cr_assert(eq(int, answer.status, 404));
        cr_assert(eq(
            int,
            clock_parse_rfc3339(json_string_value(json_object_get(answer.json, "last_seen")), &ms),
            OK));
        cr_assert(ms >= before - 1000 && ms <= clock_wall_ms() + 1000);
        answer_end(&answer);
        fleet_end(&fleet);
}

Test(devices, the_same_id_again_ends_the_older_session_on_one_worker)
{
        struct fleet fleet;
        int older, newer;

        fleet_start(&fleet, 1, "--workers=1");
        older = connected(&fleet.nodes[0], "tv-1");
        newer = connected(&fleet.nodes[0], "tv-1");
        must_be_replaced(older);
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-1", "x"), 200));
        must_hear(newer, "x");
        close(newer);
        fleet_end(&fleet);
}

/* Which worker it is, the kernel decides: of so many pairs some are on both. */
Test(devices, the_same_id_again_ends_the_older_session_on_whichever_worker)
{
        int older[12], newer[12];
        struct fleet fleet;
        char device[16];

        fleet_start(&fleet, 1, "--workers=3");
        for (unsigned i = 0; i < countof(older); i++) {
                snprintf(device, sizeof(device), "tv-%u", i);
                older[i] = connected(&fleet.nodes[0], device);
        }
        for (unsigned i = 0; i < countof(older); i++) {
                snprintf(device, sizeof(device), "tv-%u", i);
                newer[i] = connected(&fleet.nodes[0], device);
        }
        for (unsigned i = 0; i < countof(older); i++)
                must_be_replaced(older[i]);
        for (unsigned i = 0; i < countof(older); i++) {
                snprintf(device, sizeof(device), "tv-%u", i);
                cr_assert(eq(int, message(&fleet.nodes[0], device, "x"), 200));
                must_hear(newer[i], "x");
                close(newer[i]);
        }
        fleet_end(&fleet);
}

static bool is_recorded(void *redis)
{
        char *node = test_redis_ask(redis, "HGET", "{kickoff}:device:tv-1", "n", NULL);
        bool is = strcmp(node, "a") == 0;

        free(node);
        return is;
}

Test(devices, the_same_id_again_ends_the_older_session_on_another_node)
{
        struct fleet fleet;
        int older, newer;

        fleet_start(&fleet, 2, NULL);
        older = connected(&fleet.nodes[0], "tv-1");
        wait_until(is_recorded, fleet.redis, "a record"); /* else it may be the same moment */
        newer = connected(&fleet.nodes[1], "tv-1");
        must_be_replaced(older);
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-1", "b" }, "found");
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-1", "x"), 200));
        must_hear(newer, "x");
        close(newer);
        fleet_end(&fleet);
}

/* Which of two sockets ends first? */
static unsigned loser_of(const int fds[2])
{
        for (;;) {
                struct pollfd ready[2] = { { fds[0], POLLIN, 0 }, { fds[1], POLLIN, 0 } };
                struct frame frame;

                if (poll(ready, 2, PATIENCE_MS) < 1)
                        give_up("both sessions live on");
                for (unsigned i = 0; i < 2; i++) {
                        if (ready[i].revents == 0)
                                continue;
                        next_frame(fds[i], &frame);
                        if (strstr(frame.bytes, "\"reason\":\"replaced\"") != NULL)
                                return i;
                        cr_assert(frame.opcode != 0 && frame.opcode != 8);
                }
        }
}

Test(devices, of_two_that_come_at_the_same_moment_one_survives)
{
        struct fleet fleet;

        fleet_start(&fleet, 2, NULL);
        for (unsigned i = 0; i < 12; i++) {
                static const char request[] =
                    "GET /v1/connect?device=tv-%u HTTP/1.1\r\nHost: test\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
                char text[512], body[8], device[16], c, last[4] = { 0 };
                int fds[2], len = snprintf(text, sizeof(text), request, i);
                unsigned loser;

                for (unsigned k = 0; k < 2; k++)
                        fds[k] = raw_connect(&fleet.nodes[k], 0);
                for (unsigned k = 0; k < 2; k++)
                        cr_assert(eq(int, (int)write(fds[(k + i) % 2], text, (size_t)len), len));
                for (unsigned k = 0; k < 2; k++) {
                        memset(last, 0, sizeof(last));
                        while (memcmp(last, "\r\n\r\n", 4) != 0) {
                                cr_assert(read_all(fds[k], &c, 1));
                                memmove(last, last + 1, 3);
                                last[3] = c;
                        }
                }
                loser = loser_of(fds);
                snprintf(device, sizeof(device), "tv-%u", i);
                snprintf(body, sizeof(body), "%u", i);
                wait_until(is_at,
                           &(struct place){ &fleet.nodes[loser], device, loser == 0 ? "b" : "a" },
                           "the other one is found");
                cr_assert(eq(int, message(&fleet.nodes[loser], device, body), 200));
                must_hear(fds[!loser], body);
                close(fds[0]);
                close(fds[1]);
        }
        fleet_end(&fleet);
}

Test(devices, a_node_that_died_holds_nobody)
{
        struct fleet fleet;
        int fd;

        fleet_start(&fleet, NODES, NULL);
        fd = connected(&fleet.nodes[1], "tv-1");
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-1", "b" }, "found");
        node_kill(&fleet.nodes[1]);
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-1", NULL }, "nowhere");
        close(fd);
        fd = connected(&fleet.nodes[2], "tv-1");
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-1", "c" }, "come back");
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-1", "x"), 200));
        must_hear(fd, "x");
        close(fd);
        fleet_end(&fleet);
}

Test(devices, without_redis_a_node_serves_its_own)
{
        struct fleet fleet;
        int at_a, at_b;

        fleet_start(&fleet, 2, NULL);
        at_a = connected(&fleet.nodes[0], "tv-a");
        at_b = connected(&fleet.nodes[1], "tv-b");
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-b", "b" }, "found");
        test_redis_kill(fleet.redis);
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-a", "x"), 200));
        must_hear(at_a, "x");
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-b", "y"), 503));
        test_redis_restart(fleet.redis);
        wait_until(is_at, &(struct place){ &fleet.nodes[0], "tv-b", "b" }, "found again");
        cr_assert(eq(int, message(&fleet.nodes[0], "tv-b", "z"), 200));
        must_hear(at_b, "z");
        close(at_a);
        close(at_b);
        fleet_end(&fleet);
}
