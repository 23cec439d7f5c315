/* tests/producer/test_admin.c -- the admin API over real HTTP, against a real redis-server. The API
 * runs on a thread of its own with the real follower, writer and link; the test is an HTTP client
 * that sees every byte of the answers. */
#include "producer/admin.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
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

static void run_order(struct letter *letter, void *owner)
{
        (void)owner;
        ((struct errand *)letter)->run();
        sem_post(&api.done);
}

/* Run a function on the API's thread, and wait for it. */
static void order(void (*run)(void))
{
        struct errand order = { .letter.run = run_order, .run = run };

        mailbox_post(api.mailbox, &order.letter);
        sem_wait(&api.done);
}

static const char *why_not_ready(void *owner)
{
        (void)owner;
        if (!redis_is_up(api.redis))
                return "no Redis";
        if (primary_why_not_sound(api.primary) != NULL)
                return primary_why_not_sound(api.primary);
        return follower_why_not_ready(api.follower);
}

static struct order ordered; /* of the last on_order */

static void on_order(void *owner, const struct order *order)
{
        (void)owner;
        ordered = *order;
}

static void ignore_refused(void *owner, const char *why)
{
        (void)owner;
        (void)why;
}

static struct token witness(void *owner)
{
        struct snapshot *snapshot = follower_snapshot(api.follower);

        (void)owner;
        return snapshot != NULL ? *snapshot_token(snapshot) : (struct token){ 0 };
}

static const char *why_not_writable(void *owner)
{
        (void)owner;
        return api.why_not_writable;
}

static void ignore_install(void *owner, struct snapshot *snapshot, struct entry *const *entries,
                           size_t n)
{
        (void)owner;
        (void)snapshot;
        (void)entries;
        (void)n;
}

static void ignore_entries(void *owner, struct entry *const *entries, size_t n,
                           struct snapshot *snapshot)
{
        ignore_install(owner, snapshot, entries, n);
}

static void *run_api(void *unused)
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

static void end_loop(void)
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

static int connect_to_api(void)
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

static void send_all(int fd, const char *bytes, size_t len)
{
        while (len > 0) {
                ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

                if (n <= 0)
                        return; /* a refused body: the answer tells */
                bytes += n;
                len -= (size_t)n;
        }
}

static void receive(int fd)
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
static int ask_bytes(const char *method, const char *path, const char *headers, const char *body,
                     size_t len)
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

static int get(const char *path)
{
        return ask_bytes("GET", path, "", "", 0);
}

static int post_with(const char *path, const char *key, const char *more, const char *body)
{
        char headers[1024];

        snprintf(headers, sizeof(headers), "%s%s%s%s%s", key ? "Idempotency-Key: " : "",
                 key ? key : "", key ? "\r\n" : "",
                 body[0] ? "Content-Type: application/json\r\n" : "", more);
        return ask_bytes("POST", path, headers, body, strlen(body));
}

/* With a key of its own. */
static int post(const char *path, const char *body)
{
        static unsigned n;
        char key[32];

        snprintf(key, sizeof(key), "auto-%u", ++n);
        return post_with(path, key, "", body);
}

static int put(const char *path, const char *type, const char *body, size_t len)
{
        char headers[256];

        snprintf(headers, sizeof(headers), "Content-Type: %s\r\n", type);
        return ask_bytes("PUT", path, headers, body, len);
}

static bool has_header(const char *line)
{
        char wanted[256];

        snprintf(wanted, sizeof(wanted), "\r\n%s\r\n", line);
        return strcasestr(last.head, wanted) != NULL;
}

/* "event.stage" of the last answer's JSON, as text. */
static const char *member(const char *path)
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

static void wait_ready(void)
{
        uint64_t until = clock_mono_ms() + GUARD_MS;

        while (get("/readyz") != 200)
                cr_assert(lt(u64, clock_mono_ms(), until), "never ready: %s", last.body);
}

static void start_with_token(const char *token)
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

static void start(void)
{
        start_with_token(NULL);
}

static void stop(void)
{
        order(end_loop);
        pthread_join(api.thread, NULL);
        test_redis_destroy(api.server);
        free(last.body);
        json_decref(last.json);
        memset(&last, 0, sizeof(last));
}

TestSuite(admin, .init = start, .fini = stop);
TestSuite(drain, .init = start, .fini = stop);

#define CUP "{\"id\":\"cup\",\"title\":\"Cup final\",\"starts_at\":\"2031-05-01T20:00:00+02:00\"}"

static void create_cup(void)
{
        EXPECT_STATUS(post("/v1/events", CUP), 201);
}

static char *signals_in_log(void)
{
        return test_redis_ask(api.server, "XLEN", "{" NS "}:log", NULL);
}

static void expect_signals(const char *n)
{
        char *found = signals_in_log();

        cr_assert(eq(str, found, (char *)n));
        free(found);
}

/* --- events --------------------------------------------------------------------------------- */

Test(admin, a_whole_life_from_announcement_to_end)
{
        EXPECT_STATUS(post_with("/v1/events", "k1", "", CUP), 201);
        cr_assert(has_header("Location: /v1/events/cup"));
        cr_assert(has_header("ETag: \"1\""));
        cr_assert(not(has_header("Idempotent-Replayed: true")));
        EXPECT_MEMBER("seq", "1");
        EXPECT_MEMBER("durability", "fsync");
        EXPECT_MEMBER("event.phase", "scheduled");
        EXPECT_MEMBER("event.starts_at", "2031-05-01T18:00:00.000Z");
        EXPECT_MEMBER("event.auto_start", "false");
        EXPECT_MEMBER("event.stages", "[]");
        cr_assert(eq(sz, strlen(member("epoch")), 16));
        EXPECT_STATUS(post("/v1/events/cup/delay", "{\"by\":\"15m\",\"reason\":\"rain\"}"), 200);
        EXPECT_MEMBER("event.starts_at", "2031-05-01T18:15:00.000Z");
        EXPECT_STATUS(post("/v1/events/cup/start", "{\"lead\":\"2s\"}"), 200);
        EXPECT_MEMBER("event.stage", "live");
        EXPECT_STATUS(post("/v1/events/cup/stage", "{\"stage\":\"halftime\"}"), 200);
        EXPECT_MEMBER("event.stage", "halftime");
        EXPECT_STATUS(post("/v1/events/cup/refresh", "{\"window\":\"10m\"}"), 200);
        EXPECT_STATUS(post("/v1/events/cup/end", ""), 200);
        cr_assert(has_header("ETag: \"6\""));
        EXPECT_STATUS(get("/v1/events/cup"), 200);
        cr_assert(has_header("ETag: \"6\""));
        EXPECT_MEMBER("phase", "ended");
        EXPECT_MEMBER("version", "6");
        EXPECT_STATUS(get("/v1/events"), 200);
        EXPECT_MEMBER("events.0.id", "cup");
        EXPECT_STATUS(get("/v1/signals?after=4"), 200);
        EXPECT_MEMBER("signals.0.kind", "refresh");
        EXPECT_MEMBER("signals.0.window_ms", "600000");
        EXPECT_MEMBER("signals.1.kind", "end");
        EXPECT_MEMBER("signals.2", "(none)");
        EXPECT_MEMBER("next", "6");
        EXPECT_MEMBER("trimmed", "false");
        EXPECT_STATUS(get("/v1/signals?after=1&limit=2"), 200);
        EXPECT_MEMBER("signals.0.seq", "2");
        EXPECT_MEMBER("next", "3");
        EXPECT_STATUS(get("/v1/signals/3"), 200);
        EXPECT_MEMBER("kind", "start");
        EXPECT_STATUS(get("/v1/signals/7"), 404);
        EXPECT_STATUS(get("/v1/signals/0"), 400);
        EXPECT_STATUS(get("/v1/signals?limit=1001"), 400);
        expect_signals("6");
}

/* --- delivery report ------------------------------------------------------------------------ */

/* As node `field` would write it: 3 connected, all written after 40 ms, 2 acked. */
static void write_part(const char *field, uint64_t epoch)
{
        struct report_part part = { .connected = 3, .written = 3, .acked = 2, .said = 1 };
        struct buf text = BUF_INIT;
        const char *token;

        EXPECT_STATUS(get("/v1/signals/1"), 200);
        token = json_string_value(json_object_get(last.json, "token"));
        cr_assert(eq(int, token_parse(token, strlen(token), &part.token), OK));
        part.token.epoch += epoch;
        for (int i = 0; i < 3; i++)
                latency_record(&part.told, 40);
        latency_record(&part.acted, 7);
        report_part_format(&part, clock_wall_ms(), &text);
        test_redis_do(api.server, "HSET", "{" NS "}:report:1", field, text.data, NULL);
        buf_fini(&text);
}

Test(admin, a_signal_comes_with_the_report_of_all_nodes)
{
        create_cup();
        EXPECT_STATUS(get("/v1/signals/1"), 200);
        EXPECT_MEMBER("kind", "create");
        EXPECT_MEMBER("report.nodes", "[]");
        EXPECT_MEMBER("report.complete", "false");
        EXPECT_MEMBER("report.partial", "false");
        EXPECT_MEMBER("report.p99_ms", "null");
        EXPECT_MEMBER("report.told.devices", "0");
        write_part("a/1", 0);
        write_part("b/1000", 0);
        write_part("c/1", 1); /* of a history that is gone */
        test_redis_do(api.server, "HSET", "{" NS "}:report:1", "d/1", "nonsense", NULL);
        EXPECT_STATUS(get("/v1/signals/1"), 200);
        EXPECT_MEMBER("seq", "1");
        EXPECT_MEMBER("report.connected", "6");
        EXPECT_MEMBER("report.written", "6");
        EXPECT_MEMBER("report.acked", "4");
        EXPECT_MEMBER("report.said", "2");
        EXPECT_MEMBER("report.p50_ms", "40");
        EXPECT_MEMBER("report.max_ms", "40");
        EXPECT_MEMBER("report.told.p99", "40");
        EXPECT_MEMBER("report.acted.devices", "2");
        EXPECT_MEMBER("report.acted.max", "7");
        EXPECT_MEMBER("report.unreadable", "1");
        EXPECT_MEMBER("report.partial", "true");
        EXPECT_MEMBER("report.nodes.0.name", "a");
        EXPECT_MEMBER("report.nodes.0.acked", "2");
        EXPECT_MEMBER("report.nodes.1.started", "1970-01-01T00:00:01.000Z");
        EXPECT_MEMBER("report.nodes.1.gone", "true");
        EXPECT_MEMBER("report.nodes.2", "(none)");
}

Test(admin, a_trimmed_log_says_so_and_where_to_go_on)
{
        create_cup();
        EXPECT_STATUS(post("/v1/events/cup/refresh", ""), 200);
        EXPECT_STATUS(post("/v1/events/cup/refresh", ""), 200);
        test_redis_do(api.server, "XTRIM", "{" NS "}:log", "MINID", "3", NULL);
        EXPECT_STATUS(get("/v1/signals?after=0&limit=2"), 200);
        EXPECT_MEMBER("signals", "[]");
        EXPECT_MEMBER("trimmed", "true");
        EXPECT_MEMBER("head", "3");
        EXPECT_MEMBER("next", "2");
        EXPECT_STATUS(get("/v1/signals?after=2"), 200);
        EXPECT_MEMBER("signals.0.seq", "3");
        EXPECT_MEMBER("trimmed", "false");
        EXPECT_STATUS(get("/v1/signals?after=3"), 200);
        EXPECT_MEMBER("signals", "[]");
        EXPECT_MEMBER("trimmed", "false");
        EXPECT_MEMBER("next", "3");
}

Test(admin, a_cancelled_event_takes_nothing_more_but_that_it_is_reopened)
{
        create_cup();
        EXPECT_STATUS(post("/v1/events/cup/reopen", "{}"), 409);
        EXPECT_STATUS(post("/v1/events/cup/cancel", "{}"), 200);
        EXPECT_MEMBER("event.phase", "cancelled");
        EXPECT_STATUS(post("/v1/events/cup/start", ""), 409);
        EXPECT_MEMBER("legal", "[\"reopen\"]");
        EXPECT_MEMBER("event.phase", "cancelled");
        EXPECT_STATUS(post("/v1/events/cup/reopen", "{\"starts_at\":\"2001-01-01T00:00:00Z\"}"),
                      400);
        EXPECT_STATUS(post("/v1/events/cup/reopen", "{\"by\":\"15m\"}"), 400);
        EXPECT_STATUS(post("/v1/events/cup/reopen", "{\"starts_at\":\"2031-05-02T18:00:00Z\"}"),
                      200);
        EXPECT_MEMBER("event.phase", "scheduled");
        EXPECT_MEMBER("event.starts_at", "2031-05-02T18:00:00.000Z");
        EXPECT_STATUS(get("/v1/signals/3"), 200);
        EXPECT_MEMBER("kind", "delay");
        EXPECT_STATUS(post("/v1/events/cup/start", ""), 200);
        EXPECT_STATUS(post("/v1/events/cup/end", ""), 200);
        EXPECT_STATUS(post("/v1/events/cup/reopen", ""), 200);
        EXPECT_MEMBER("event.stage", "live");
        EXPECT_STATUS(get("/v1/signals/6"), 200);
        EXPECT_MEMBER("kind", "start");
}

Test(admin, an_illegal_transition_lists_what_is_legal)
{
        create_cup();
        EXPECT_STATUS(post("/v1/events/cup/end", ""), 409);
        EXPECT_MEMBER("type", "/problems/not-possible-now");
        EXPECT_MEMBER("legal",
                      "[\"start\",\"delay\",\"cancel\",\"stage\",\"refresh\",\"publish\"]");
        EXPECT_MEMBER("event.version", "1");
        EXPECT_STATUS(post("/v1/events", CUP), 409);
        EXPECT_MEMBER("type", "/problems/event-exists");
        EXPECT_STATUS(post("/v1/events/nobody/start", ""), 404);
        EXPECT_STATUS(get("/v1/events/nobody"), 404);
        EXPECT_STATUS(get("/v1/events/no%20body"), 404);
        EXPECT_STATUS(post("/v1/events/no%0abody/start", ""), 404);
        expect_signals("1");
}

/* --- once ----------------------------------------------------------------------------------- */

Test(admin, the_same_key_and_request_gives_the_first_result_and_one_signal)
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

Test(admin, the_same_key_with_another_request_is_refused)
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

Test(admin, any_printable_key_is_kept_apart)
{
        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "\"a/b{c}\"", "", "{\"by\":\"1m\"}"), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "\"a/b{d}\"", "", "{\"by\":\"1m\"}"), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/delay", "\"a/b{c}\"", "", "{\"by\":\"1m\"}"), 200);
        cr_assert(has_header("Idempotent-Replayed: true"));
        expect_signals("3");
}

Test(admin, a_post_without_a_key_says_how_to_send_one)
{
        EXPECT_STATUS(post_with("/v1/events", NULL, "", CUP), 400);
        EXPECT_MEMBER("type", "/problems/idempotency-key-missing");
        cr_assert(not(eq(ptr, strstr(member("detail"), "Idempotency-Key"), NULL)));
        cr_assert(not(eq(ptr, strcasestr(last.head, "application/problem+json"), NULL)));
        EXPECT_STATUS(post_with("/v1/events", "a b", "", CUP), 400);
        EXPECT_MEMBER("type", "/problems/idempotency-key-invalid");
        expect_signals("0");
}

Test(admin, a_race_has_one_winner_and_the_loser_sees_the_current_event)
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

/* --- strictness ----------------------------------------------------------------------------- */

Test(admin, what_is_not_understood_is_refused_and_never_ignored)
{
        static const struct {
                const char *path, *body;
                int status;
        } bad[] = {
                { "/v1/events/cup/start", "{\"leed\":\"2s\"}", 400 },
                { "/v1/events/cup/start", "{\"lead\":2}", 400 },
                { "/v1/events/cup/start", "{\"lead\":\"2s\",\"at\":\"2031-01-01T00:00:00Z\"}",
                  400 },
                { "/v1/events/cup/start", "{\"at\":\"soon\"}", 400 },
                { "/v1/events/cup/start", "{\"reason\":\"x\"}", 400 },
                { "/v1/events/cup/start", "{", 400 },
                { "/v1/events/cup/start", "[]", 400 },
                { "/v1/events/cup/start", "{\"cohorts\":[]}", 400 },
                { "/v1/events/cup/start", "{\"cohorts\":[\"t v\"]}", 400 },
                { "/v1/events/cup/start", "{\"attributes\":{}}", 400 },
                { "/v1/events/cup/start", "{\"attributes\":{\"planet\":[\"mars\"]}}", 400 },
                { "/v1/events/cup/start?dry_run=yes", "", 400 },
                { "/v1/events/cup/start", "{\"dry_run\":true}", 400 },
                { "/v1/events/cup/delay", "{}", 400 },
                { "/v1/events/cup/delay", "{\"by\":\"1m\",\"starts_at\":\"2031-01-01T00:00:00Z\"}",
                  400 },
                { "/v1/events/cup/stage", "{}", 400 },
                { "/v1/events/cup/stage", "{\"stage\":\"live\"}", 400 },
                { "/v1/events/cup/end", "{\"at\":\"2031-01-01T00:00:00Z\"}", 400 },
                { "/v1/events/cup/bundles", "{\"window\":\"1m\",\"x\":1}", 400 },
                { "/v1/events/cup/bundles", "{\"window\":\"0s\"}", 400 },
                { "/v1/events/cup/refresh", "{\"window\":\"0s\"}", 400 },
                { "/v1/events", "{\"id\":\"x\",\"title\":\"t\"}", 400 },
                { "/v1/events",
                  "{\"id\":\"x y\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\"}", 400 },
                { "/v1/events",
                  "{\"id\":\"x\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\",\"auto_start\":1}",
                  400 },
                { "/v1/events",
                  "{\"id\":\"x\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\",\"stages\":[1]}",
                  400 },
                { "/v1/events",
                  "{\"id\":\"x\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\",\"stages\":[\"a\",\"a\"]}",
                  400 },
        };

        create_cup();
        for (size_t i = 0; i < countof(bad); i++)
                cr_expect(eq(int, post(bad[i].path, bad[i].body), bad[i].status), "%s %s: %s",
                          bad[i].path, bad[i].body, last.body);
        EXPECT_STATUS(ask_bytes("POST", "/v1/events/cup/start",
                                "Idempotency-Key: q\r\nContent-Type: text/plain\r\n", "{}", 2),
                      415);
        expect_signals("1");
}

/* --- to some devices only --------------------------------------------------------------------- */

static bool log_has(const char *text)
{
        char *entries = test_redis_ask(api.server, "XRANGE", "{" NS "}:log", "-", "+", NULL);
        bool found = strstr(entries, text) != NULL;

        free(entries);
        return found;
}

Test(admin, whom_a_change_is_for_stands_in_the_log_and_makes_it_another_request)
{
        static const char to_two[] =
            "{\"cohorts\":[\"b\",\"a\"],\"attributes\":{\"platform\":[\"tv\"]}}";

        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/refresh", "k", "", to_two), 200);
        cr_assert(
            log_has("\"to\":{\"cohorts\":[\"a\",\"b\"],\"attributes\":{\"platform\":[\"tv\"]}}"));
        EXPECT_STATUS(post_with("/v1/events/cup/refresh", "k", "", to_two), 200);
        cr_assert(has_header("Idempotent-Replayed: true"));
        EXPECT_STATUS(post_with("/v1/events/cup/refresh", "k", "", "{\"cohorts\":[\"b\"]}"), 422);
        EXPECT_STATUS(post_with("/v1/events/cup/refresh", "k", "", ""), 422);
        expect_signals("2");
}

Test(admin, every_change_can_be_for_some_devices_only)
{
        static const char *const paths[] = { "start", "delay",  "stage", "refresh",
                                             "end",   "cancel", "reopen" };

        create_cup();
        for (size_t i = 0; i < countof(paths); i++) {
                char path[64], body[160];

                snprintf(path, sizeof(path), "/v1/events/cup/%s?dry_run=1", paths[i]);
                snprintf(body, sizeof(body), "{%s\"cohorts\":[\"a\"]}",
                         strcmp(paths[i], "delay") == 0   ? "\"by\":\"1m\","
                         : strcmp(paths[i], "stage") == 0 ? "\"stage\":\"halftime\","
                                                          : "");
                post(path, body); /* possible now or not, it is understood */
                cr_expect(last.status == 200 || last.status == 409, "%s: %s", path, last.body);
        }
}

/* --- who did it ------------------------------------------------------------------------------- */

Test(admin, a_producer_cannot_take_a_key_that_nodes_start_events_by)
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

Test(admin, the_audit_trail_has_who_did_what_when_and_from_where)
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

Test(admin, drafts_and_orders_are_in_the_audit_trail_too)
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

Test(admin, the_audit_trail_of_one_event_is_found_among_those_of_many)
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

/* --- dry runs --------------------------------------------------------------------------------- */

static void be_present(const char *name, unsigned devices, int64_t age_ms)
{
        char record[256];

        snprintf(record, sizeof(record), "{\"devices\":%u,\"seq\":1,\"seen\":%lld}", devices,
                 (long long)(clock_wall_ms() - age_ms));
        test_redis_do(api.server, "HSET", "{" NS "}:nodes", name, record, NULL);
}

Test(admin, a_dry_run_tells_what_would_happen_to_how_many_and_does_nothing)
{
        create_cup();
        be_present("a", 20000, 0);
        be_present("b", 400, 1000);
        be_present("dead", 7, 60000);
        EXPECT_STATUS(post_with("/v1/events/cup/start?dry_run=1", NULL, "", "{\"lead\":\"2s\"}"),
                      200);
        EXPECT_MEMBER("dry_run", "true");
        EXPECT_MEMBER("would", "start");
        EXPECT_MEMBER("devices", "20400");
        EXPECT_MEMBER("nodes", "2");
        EXPECT_MEMBER("estimated_ms", "300");
        EXPECT_MEMBER("approximate", "false");
        EXPECT_MEMBER("event.phase", "live");
        EXPECT_MEMBER("event.version", "2");
        EXPECT_MEMBER("seq", "(none)");
        EXPECT_STATUS(get("/v1/events/cup"), 200);
        EXPECT_MEMBER("phase", "scheduled");
        EXPECT_MEMBER("version", "1");
        expect_signals("1");
}

Test(admin, a_dry_run_is_refused_as_it_would_be_in_earnest)
{
        EXPECT_STATUS(post("/v1/events/nobody/start?dry_run=1", ""), 404);
        EXPECT_STATUS(post("/v1/events?dry_run=1", CUP), 200);
        EXPECT_MEMBER("would", "create");
        EXPECT_STATUS(get("/v1/events/cup"), 404);
        create_cup();
        EXPECT_STATUS(post("/v1/events?dry_run=1", CUP), 409);
        EXPECT_MEMBER("type", "/problems/event-exists");
        EXPECT_STATUS(post("/v1/events/cup/end?dry_run=1", ""), 409);
        EXPECT_MEMBER("legal",
                      "[\"start\",\"delay\",\"cancel\",\"stage\",\"refresh\",\"publish\"]");
        EXPECT_STATUS(post("/v1/events/cup/delay?dry_run=1", "{\"bye\":\"1m\"}"), 400);
        EXPECT_STATUS(post_with("/v1/events/cup/start?dry_run=1", "k", "If-Match: \"7\"\r\n", ""),
                      409);
        EXPECT_MEMBER("type", "/problems/version-stale");
        EXPECT_STATUS(post("/v1/events/cup/bundles?dry_run=1", ""), 409);
        EXPECT_MEMBER("type", "/problems/not-possible-now");
        EXPECT_STATUS(put("/v1/events/cup/bundles/default", "a/b", "x", 1), 200);
        EXPECT_STATUS(post("/v1/events/cup/bundles?dry_run=1", ""), 200);
        EXPECT_MEMBER("event.bundle", "1");
        EXPECT_STATUS(get("/v1/events/cup/bundles"), 200);
        EXPECT_MEMBER("drafts.0.cohort", "default");
        expect_signals("1");
        api.why_not_writable = "because";
        EXPECT_STATUS(post("/v1/events/cup/start?dry_run=1", ""), 503);
        api.why_not_writable = NULL;
}

Test(admin, a_dry_run_uses_up_no_key)
{
        create_cup();
        EXPECT_STATUS(post_with("/v1/events/cup/start?dry_run=1", "k", "", ""), 200);
        EXPECT_STATUS(post_with("/v1/events/cup/start", "k", "", ""), 200);
        cr_assert(not(has_header("Idempotent-Replayed: true")));
        EXPECT_STATUS(post_with("/v1/events/cup/end?dry_run=1", "k", "", ""), 200);
        EXPECT_MEMBER("would", "end");
        expect_signals("2");
}

Test(admin, a_dry_run_while_redis_is_silent_is_answered_in_time)
{
        create_cup();
        test_redis_pause(api.server);
        EXPECT_STATUS(post("/v1/events/cup/start?dry_run=1", ""), 503);
        EXPECT_MEMBER("type", "/problems/redis-unavailable");
        test_redis_resume(api.server);
}

Test(admin, a_json_body_is_taken_at_its_limit_and_refused_one_past_it)
{
        static char body[64 * 1024 + 2];

        memset(body, ' ', sizeof(body) - 1);
        memcpy(body, CUP, strlen(CUP));
        EXPECT_STATUS(post_with("/v1/events", "big", "", body), 413);
        body[64 * 1024] = '\0';
        EXPECT_STATUS(post_with("/v1/events", "fits", "", body), 201);
}

Test(admin, a_host_name_that_dns_could_move_is_refused_without_a_token)
{
        int fd = connect_to_api();
        static const char request[] =
            "GET /v1/events HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";

        send_all(fd, request, strlen(request));
        receive(fd);
        close(fd);
        cr_assert(eq(int, last.status, 403));
}

/* --- bundles -------------------------------------------------------------------------------- */

Test(admin, drafts_become_current_all_at_once)
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

Test(admin, a_draft_is_refused_where_it_could_do_no_good)
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

Test(admin, a_bundle_is_taken_at_its_limit_and_refused_one_past_it)
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

/* --- Redis is away -------------------------------------------------------------------------- */

_Static_assert(ADMIN_ANSWER_MS < 2000, "the contract, line 9: an answer within 2 s");

Test(admin, a_silent_redis_gives_unavailable_and_what_was_refused_is_not_done_later)
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

Test(admin, a_dead_redis_is_told_and_its_return_needs_nothing)
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
Test(admin, an_append_without_an_answer_is_unknown_and_not_made_twice)
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

Test(admin, a_request_key_tells_what_became_of_it)
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

Test(admin, a_draft_without_an_answer_is_unknown_and_may_be_sent_again)
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

Test(admin, while_durability_cannot_be_kept_changes_are_refused_with_the_reason)
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
Test(admin, it_may_end_while_requests_wait)
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

/* --- the node ------------------------------------------------------------------------------- */

static void say_here_i_am(void)
{
        const struct presence mine = { .name = "n1",
                                       .listen = "127.0.0.1:8080",
                                       .version = "0.1.0",
                                       .devices = 5,
                                       .seq = 1,
                                       .seen = clock_wall_ms() };

        check(presence_write(api.redis, NS, &mine, NULL, NULL) == OK);
}

Test(admin, operators_see_nodes_metrics_health_and_the_description)
{
        order(say_here_i_am);
        EXPECT_STATUS(get("/v1/nodes"), 200);
        EXPECT_MEMBER("nodes.0.name", "n1");
        EXPECT_MEMBER("nodes.0.devices", "5");
        EXPECT_MEMBER("nodes.0.gone", "false");
        EXPECT_STATUS(get("/metrics"), 200);
        cr_assert(not(eq(ptr, strstr(last.head, "text/plain; version=0.0.4"), NULL)));
        EXPECT_STATUS(get("/healthz"), 200);
        EXPECT_STATUS(get("/readyz"), 200);
        EXPECT_MEMBER("ready", "true");
        EXPECT_STATUS(get("/openapi.yaml"), 200);
        cr_assert(eq(str, last.body, (char *)admin_openapi));
        EXPECT_STATUS(get("/v1/nothing"), 404);
        EXPECT_STATUS(ask_bytes("DELETE", "/v1/events/cup", "", "", 0), 405);
        EXPECT_STATUS(get("/v1/events/cup/start"), 405);
}

/* --- drain ---------------------------------------------------------------------------------- */

static void say_nodes(void)
{
        struct presence nodes[] = {
                { .name = "n1", .devices = 6000, .room = 10000, .started = 111 },
                { .name = "n2", .devices = 10, .room = 8000, .started = 222 },
                { .name = "n3", .devices = 10, .room = 8000, .started = 333 },
                { .name = "gone", .started = 444 },
                { .name = "leaves", .devices = 7, .started = 555, .leaves = 1795463990123 },
        };

        for (size_t i = 0; i < countof(nodes); i++) {
                nodes[i].seen = clock_wall_ms() - (strcmp(nodes[i].name, "gone") == 0 ? 60000 : 0);
                check(presence_write(api.redis, NS, &nodes[i], NULL, NULL) == OK);
        }
}

Test(drain, an_order_for_another_node_is_in_redis_for_this_run_of_it_before_the_answer)
{
        char *record;

        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"within\":\"10s\",\"rate\":7}"), 202);
        EXPECT_MEMBER("node", "n2");
        EXPECT_MEMBER("started", "1970-01-01T00:00:00.222Z");
        EXPECT_MEMBER("already", "false");
        EXPECT_MEMBER("devices", "10");
        EXPECT_MEMBER("rate", "7");
        EXPECT_MEMBER("others", "2"); /* n1 and n3: neither who is gone nor who leaves itself */
        EXPECT_MEMBER("room", "11990");
        EXPECT_MEMBER("within_ms", "10000");
        EXPECT_MEMBER("told_ms", "1428");
        EXPECT_MEMBER("this_node", "false");
        EXPECT_MEMBER("warning", "(none)");
        record = test_redis_ask(api.server, "HGET", "{" NS "}:orders", "n2", NULL);
        cr_assert(not(eq(ptr, strstr(record, "\"started\":222"), NULL)), "%s", record);
        cr_assert(not(eq(ptr, strstr(record, "\"within_ms\":10000"), NULL)), "%s", record);
        cr_assert(not(eq(ptr, strstr(record, "\"rate\":7"), NULL)), "%s", record);
        free(record);
        cr_assert(eq(uint, ordered.rate, 0));
}

Test(drain, this_node_acts_at_once)
{
        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n1/drain", ""), 202);
        EXPECT_MEMBER("this_node", "true");
        EXPECT_MEMBER("rate", "400"); /* two others: 200 each, since 6,000 in 30 s were slower */
        order(say_nodes);             /* the order comes after the answer */
        cr_assert(eq(uint, ordered.within_ms, ORDER_WITHIN_MS));
        cr_assert(eq(uint, ordered.rate, 400));
}

Test(drain, who_drains_already_goes_on_as_it_was_told)
{
        char *record;

        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/leaves/drain", "{\"within\":\"1h\"}"), 202);
        EXPECT_MEMBER("already", "true");
        EXPECT_MEMBER("devices", "7");
        EXPECT_MEMBER("until", "2026-11-23T19:59:50.123Z");
        record = test_redis_ask(api.server, "HEXISTS", "{" NS "}:orders", "leaves", NULL);
        cr_assert(eq(str, record, "0"));
        free(record);
}

Test(drain, what_cannot_be_is_refused_and_says_why)
{
        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n4/drain", ""), 404);
        EXPECT_MEMBER("type", "/problems/node-not-found");
        EXPECT_MEMBER("detail", "There is no node `n4`. Known: gone, leaves, n1, n2, n3.");
        EXPECT_STATUS(post("/v1/nodes/%20/drain", ""), 404);
        EXPECT_STATUS(post("/v1/nodes/gone/drain", ""), 409);
        EXPECT_MEMBER("type", "/problems/node-gone");
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"within\":\"1s\"}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"within\":60}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"rate\":0}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"rate\":\"7\"}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain", "{\"force\":true}"), 400);
        EXPECT_STATUS(post("/v1/nodes/n2/drain?dry_run=1", ""), 501);
        EXPECT_STATUS(get("/v1/nodes/n2/drain"), 405);
}

Test(drain, more_devices_than_the_others_hold_or_can_take_in_time_is_warned_of)
{
        order(say_nodes);
        EXPECT_STATUS(post("/v1/nodes/n1/drain", "{\"within\":\"2s\",\"rate\":100}"), 202);
        EXPECT_MEMBER("told_ms", "60000");
        EXPECT_MEMBER("warning",
                      "At this rate there is not time for all: the rest is told before the "
                      "end, and comes back later, at the same rate.");
}

static void start_locked(void)
{
        start_with_token("s3cret");
}

Test(locked, with_a_token_only_health_is_open, .init = start_locked, .fini = stop)
{
        EXPECT_STATUS(get("/v1/events"), 401);
        EXPECT_STATUS(post("/v1/events", CUP), 401);
        EXPECT_STATUS(get("/metrics"), 401);
        EXPECT_STATUS(ask_bytes("GET", "/v1/events", "Authorization: Bearer wrong\r\n", "", 0),
                      401);
        EXPECT_STATUS(ask_bytes("GET", "/v1/events", "Authorization: Bearer s3cret\r\n", "", 0),
                      200);
        EXPECT_STATUS(post_with("/v1/events", "k", "Authorization: Bearer s3cret\r\n", CUP), 201);
        EXPECT_STATUS(get("/healthz"), 200);
        EXPECT_STATUS(get("/readyz"), 200);
}
