/* Any bytes from a server of Redis: whatever they parse to can be walked, judged by the greeting
 * and read as INFO or MOVED, and the wire ends with one reason. Nothing is connected to but a
 * socket of our own. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/check.h"
#include "base/redis_find.h"
#include "base/redis_greeting.h"
#include "base/redis_wire.h"

struct run {
        struct event_base *base;
        struct redis_wire *wire;
        struct redis_find *find;
        const uint8_t *bytes;
        size_t len, chunk;
        int server;
        unsigned replies, lost;
        bool open;
};

static const struct redis_options options = { .name = "fuzz", .primary = true, .slot_key = "k" };

static void walk(struct run *run, const struct redis_reply *reply, unsigned depth)
{
        struct redis_server server = { 0 };
        size_t len;
        const char *text = redis_text(reply, &len);
        char why[256];

        check(depth < 20);
        check(text[len] == '\0');
        (void)redis_integer(reply);
        if (redis_parse_info(text, &server) == OK)
                check(memchr(server.run_id, '\0', sizeof(server.run_id)) != NULL);
        for (enum redis_step step = 0; step < REDIS_STEPS; step++) {
                strcpy(why, "");
                check(redis_greeting_accepts(&options, step, reply, "peer", &server, why) ||
                      why[0] != '\0');
        }
        if (redis_type(reply) == REDIS_ERROR)
                (void)!redis_find_follow(run->find, text);
        for (size_t i = 0; i < redis_count(reply); i++)
                walk(run, redis_at(reply, i), depth + 1);
        check(redis_at(reply, redis_count(reply)) == NULL);
}

static void on_open(void *owner)
{
        struct run *run = owner;

        run->open = true;
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct run *run = owner;

        run->replies++;
        walk(run, reply, 0);
        if (run->replies == 50) { /* a callback may destroy it */
                redis_wire_destroy(run->wire);
                run->wire = NULL;
        }
}

static void on_lost(void *owner, const char *why)
{
        struct run *run = owner;

        check(why[0] != '\0' && run->lost == 0);
        run->lost++;
}

static int listen_once(struct sockaddr_un *ret_address)
{
        static struct sockaddr_un address = { .sun_family = AF_UNIX };
        static int listener = -1;

        if (listener < 0) {
                /* An abstract name: nothing to remove. */
                snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "kickoff-fuzz-%d",
                         getpid());
                listener = socket(AF_UNIX, SOCK_STREAM, 0);
                check(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
                check(listen(listener, 4) == 0);
        }
        *ret_address = address;
        return listener;
}

static void send_chunk(struct run *run)
{
        size_t n = run->len < run->chunk ? run->len : run->chunk;

        if (run->server < 0)
                return;
        if (n > 0 && send(run->server, run->bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
                n = run->len; /* it was enough for them */
        run->bytes += n;
        run->len -= n;
        if (run->len == 0) {
                close(run->server);
                run->server = -1;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
        static const struct redis_address address = {
                .scheme = REDIS_TCP, .n_hosts = 1, .hosts = { { .host = "127.0.0.1", .port = 1 } }
        };
        const struct redis_find_events events = { 0 };
        struct run run = { .base = event_base_new(), .bytes = bytes, .chunk = 1 };
        struct sockaddr_un name;
        int listener = listen_once(&name);
        const struct redis_wire_options wire = { .address = (struct sockaddr *)&name,
                                                 .address_len = sizeof(name),
                                                 .on_open = on_open,
                                                 .on_reply = on_reply,
                                                 .on_lost = on_lost,
                                                 .owner = &run };

        if (len > 0) {
                run.chunk = bytes[0] < 128 ? 100000 : bytes[0] - 127u;
                run.bytes = bytes + 1;
                run.len = len - 1;
        }
        check(redis_find_create(run.base, &address, 100, &events, &run.find) == OK);
        check(redis_wire_create(run.base, &wire, &run.wire) == OK);
        run.server = accept(listener, NULL, NULL);
        for (unsigned turns = 0; run.wire != NULL && run.lost == 0; turns++) {
                check(turns < 100000);
                send_chunk(&run);
                event_base_loop(run.base, run.server < 0 ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
        }
        if (run.server >= 0)
                close(run.server);
        redis_wire_destroy(run.wire);
        redis_find_destroy(run.find);
        event_base_free(run.base);
        return 0;
}
