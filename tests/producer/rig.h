/* tests/producer/rig.h -- the admin API over real HTTP, against a real redis-server. The API runs
 * on a thread of its own with the real follower, writer and link; the test is an HTTP client that
 * sees every byte of the answers. */
#pragma once

#include "producer/admin.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/redis.h"
#include "fanout/follower.h"
#include "fanout/presence.h"
#include "fanout/report.h"
#include "tests/support/redis_server.h"

#define GUARD_MS 20000 /* only a broken test waits so long for an answer ... */
#define LINK_MS  60000 /* ... and the link for longer: so an answer came by our own deadline */
#define NS       "t"

/* --- the API on its thread ------------------------------------------------------------------ */

struct api {
        struct test_redis *server;
        struct redis_address address;
        pthread_t thread;
        struct event_base *base;
        struct mailbox *mailbox;
        struct redis *redis;
        struct follower *follower;
        struct primary *primary;
        struct writer *writer;
        struct admin *admin;
        const char *token, *why_not_writable;
        uint16_t port;
        sem_t done; /* started, or the letter was run */
};

static struct api api;

struct errand {
        struct letter letter;
        void (*run)(void);
};

static inline void run_order(struct letter *letter, void *owner)
{
        (void)owner;
        ((struct errand *)letter)->run();
        sem_post(&api.done);
}

/* Run a function on the API's thread, and wait for it. */
static inline void order(void (*run)(void))
{
        struct errand order = { .letter.run = run_order, .run = run };

        mailbox_post(api.mailbox, &order.letter);
        sem_wait(&api.done);
}

static inline const char *why_not_ready(void *owner)
{
        (void)owner;
        if (!redis_is_up(api.redis))
                return "no Redis";
        if (primary_why_not_sound(api.primary) != NULL)
                return primary_why_not_sound(api.primary);
        return follower_why_not_ready(api.follower);
}

static struct order ordered; /* of the last on_order */

static inline void on_order(void *owner, const struct order *order)
{
        (void)owner;
        ordered = *order;
}

static inline void ignore_refused(void *owner, const char *why)
{
        (void)owner;
        (void)why;
}

static inline struct token witness(void *owner)
{
        struct snapshot *snapshot = follower_snapshot(api.follower);

        (void)owner;
        return snapshot != NULL ? *snapshot_token(snapshot) : (struct token){ 0 };
}

static inline const char *why_not_writable(void *owner)
{
        (void)owner;
        return api.why_not_writable;
}

static inline void ignore_install(void *owner, struct snapshot *snapshot,
                                  struct entry *const *entries, size_t n)
{
        (void)owner;
        (void)snapshot;
        (void)entries;
        (void)n;
}

static inline void ignore_entries(void *owner, struct entry *const *entries, size_t n,
                                  struct snapshot *snapshot)
{
        ignore_install(owner, snapshot, entries, n);
}

static inline void *run_api(void *unused)
{
        struct redis_options redis_options = { .address = api.address,
                                               .name = "commands",
                                               .timeout_ms = LINK_MS };
        struct follower_options follower_options = { .address = api.address,
                                                     .ns = NS,
                                                     .keep = 1024 };
        const struct follower_callbacks callbacks = { .on_install = ignore_install,
                                                      .on_entries = ignore_entries };
        struct admin_options options = { .host = "127.0.0.1",
                                         .ns = NS,
                                         .why_not_ready = why_not_ready,
                                         .why_not_writable = why_not_writable,
                                         .on_order = on_order,
                                         .name = "n1" };
        struct primary_options primary_options = { .address = api.address,
                                                   .ns = NS,
                                                   .durability = { .mode = DURABILITY_FSYNC } };
        const struct primary_callbacks from_primary = { .on_refused = ignore_refused };
        struct writer_options writer_options = { .ns = NS, .witness = witness };
        const char *why = "";

        (void)unused;
        api.base = event_base_new();
        check(mailbox_create(api.base, NULL, &api.mailbox) == OK);
        check(redis_create(api.base, &redis_options, &api.redis) == OK);
        check(follower_create(api.base, &follower_options, &callbacks, &api.follower) == OK);
        check(primary_create(api.base, &primary_options, &from_primary, &api.primary) == OK);
        writer_options.primary = api.primary;
        check(writer_create(api.base, &writer_options, &api.writer) == OK);
        options.writer = api.writer;
        options.redis = api.redis;
        options.writes = primary_redis(api.primary);
        options.token = api.token;
        check(admin_create(api.base, &options, &api.admin, &why) == OK);
        api.port = admin_port(api.admin);
        sem_post(&api.done);
        event_base_loop(api.base, EVLOOP_NO_EXIT_ON_EMPTY);
        admin_destroy(api.admin);
        writer_destroy(api.writer);
        primary_destroy(api.primary);
        follower_destroy(api.follower);
        redis_destroy(api.redis);
        mailbox_destroy(api.mailbox);
        event_base_free(api.base);
        return NULL;
}

static inline void end_loop(void)
{
        event_base_loopbreak(api.base);
}

/* --- a client ------------------------------------------------------------------------------- */

struct reply {
        int status;
        char head[4096];
        json_t *json; /* NULL if the body is none */
        char *body;
};

static struct reply last; /* of the latest ask */

static inline int connect_to_api(void)
{
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(api.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct timeval limit = { GUARD_MS / 1000, 0 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        cr_assert(ge(int, fd, 0));
        cr_assert(eq(int, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0));
        cr_assert(eq(int, connect(fd, (struct sockaddr *)&to, sizeof(to)), 0));
        return fd;
}

static inline void send_all(int fd, const char *bytes, size_t len)
{
        while (len > 0) {
                ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

                if (n <= 0)
                        return; /* a refused body: the answer tells */
                bytes += n;
                len -= (size_t)n;
        }
}

static inline void receive(int fd)
{
        size_t len = 0, capacity = 1 << 16;
        char *text = malloc(capacity), *body;

        for (;;) {
                ssize_t n;

                if (len + 1 == capacity)
                        text = realloc(text, capacity *= 2);
                n = recv(fd, text + len, capacity - len - 1, 0);
                if (n <= 0)
                        break;
                len += (size_t)n;
        }
        text[len] = '\0';
        body = strstr(text, "\r\n\r\n");
        cr_assert(not(eq(ptr, body, NULL)), "no answer: `%s`", text);
        snprintf(last.head, sizeof(last.head), "%.*s\r\n", (int)(body - text), text);
        last.status = atoi(text + strlen("HTTP/1.1 "));
        free(last.body);
        json_decref(last.json);
        last.body = strdup(body + 4);
        last.json = json_loads(last.body, 0, NULL);
        free(text);
}

/* `headers`: lines that each end with \r\n. Returns the status. */
static inline int ask_bytes(const char *method, const char *path, const char *headers,
                            const char *body, size_t len)
{
        char head[4096];
        int fd = connect_to_api();

        snprintf(
            head, sizeof(head),
            "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n%sContent-Length: %zu"
            "\r\n\r\n",
            method, path, api.port, headers, len);
        send_all(fd, head, strlen(head));
        send_all(fd, body, len);
        receive(fd);
        close(fd);
        return last.status;
}

static inline int get(const char *path)
{
        return ask_bytes("GET", path, "", "", 0);
}

static inline int post_with(const char *path, const char *key, const char *more, const char *body)
{
        char headers[1024];

        snprintf(headers, sizeof(headers), "%s%s%s%s%s", key ? "Idempotency-Key: " : "",
                 key ? key : "", key ? "\r\n" : "",
                 body[0] ? "Content-Type: application/json\r\n" : "", more);
        return ask_bytes("POST", path, headers, body, strlen(body));
}

/* With a key of its own. */
static inline int post(const char *path, const char *body)
{
        static unsigned n;
        char key[32];

        snprintf(key, sizeof(key), "auto-%u", ++n);
        return post_with(path, key, "", body);
}

static inline int put(const char *path, const char *type, const char *body, size_t len)
{
        char headers[256];

        snprintf(headers, sizeof(headers), "Content-Type: %s\r\n", type);
        return ask_bytes("PUT", path, headers, body, len);
}

static inline bool has_header(const char *line)
{
        char wanted[256];

        snprintf(wanted, sizeof(wanted), "\r\n%s\r\n", line);
        return strcasestr(last.head, wanted) != NULL;
}

/* "event.stage" of the last answer's JSON, as text. */
static inline const char *member(const char *path)
{
        static char texts[8][512];
        static unsigned turn;
        char *text = texts[turn++ % 8], copy[64], *save, *name;
        const json_t *at = last.json;

        snprintf(copy, sizeof(copy), "%s", path);
        for (name = strtok_r(copy, ".", &save); name != NULL; name = strtok_r(NULL, ".", &save)) {
                if (name[0] >= '0' && name[0] <= '9')
                        at = json_array_get(at, (size_t)atoi(name));
                else
                        at = json_object_get(at, name);
        }
        if (json_is_string(at)) {
                snprintf(text, 512, "%s", json_string_value(at));
        } else {
                char *dumped = at != NULL ? json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

                snprintf(text, 512, "%s", dumped != NULL ? dumped : "(none)");
                free(dumped);
        }
        return text;
}

#define EXPECT_STATUS(call, expected)                                                            \
        do {                                                                                     \
                int status_ = (call);                                                            \
                cr_assert(eq(int, status_, expected), "%s -> %d %s", #call, status_, last.body); \
        } while (0)
#define EXPECT_MEMBER(path, expected) \
        cr_assert(eq(str, (char *)member(path), expected), "%s", last.body)

/* --- life of a rig -------------------------------------------------------------------------- */

static inline void wait_ready(void)
{
        uint64_t until = clock_mono_ms() + GUARD_MS;

        while (get("/readyz") != 200)
                cr_assert(lt(u64, clock_mono_ms(), until), "never ready: %s", last.body);
}

static inline void start_with_token(const char *token)
{
        const char *why;

        memset(&api, 0, sizeof(api));
        api.server = test_redis_start(NULL);
        api.token = token;
        cr_assert(eq(int, redis_parse_url(test_redis_url(api.server), &api.address, &why), OK));
        sem_init(&api.done, 0, 0);
        cr_assert(eq(int, pthread_create(&api.thread, NULL, run_api, NULL), 0));
        sem_wait(&api.done);
        wait_ready();
}

static inline void start(void)
{
        start_with_token(NULL);
}

static inline void stop(void)
{
        order(end_loop);
        pthread_join(api.thread, NULL);
        test_redis_destroy(api.server);
        free(last.body);
        json_decref(last.json);
        memset(&last, 0, sizeof(last));
}

#define CUP "{\"id\":\"cup\",\"title\":\"Cup final\",\"starts_at\":\"2031-05-01T20:00:00+02:00\"}"

static inline void create_cup(void)
{
        EXPECT_STATUS(post("/v1/events", CUP), 201);
}

static inline char *signals_in_log(void)
{
        return test_redis_ask(api.server, "XLEN", "{" NS "}:log", NULL);
}

static inline void expect_signals(const char *n)
{
        char *found = signals_in_log();

        cr_assert(eq(str, found, (char *)n));
        free(found);
}
