/* The SDK as an app sees it, over real sockets, against a node that does what the test says. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "base/gzip.h"
#include "device/c/device_cache.h"
#include "device/c/device_inside.h"
#include "device/c/device_url.h"
#include "device/c/kickoff_device.h"
#include "tests/device/fake_node.h"

struct app {
        struct fake_node node;
        struct kickoff_device *device;
        unsigned attempts, hellos, signals, resets, goaways, messages, refusals;
        seqno last_seq;
        size_t last_events;
        char body[MESSAGE_BODY_MAX + 1];
        enum kickoff_device_state state;
        char why[256];
        bool cut_in_callback;
        unsigned bundles;
        size_t bundle_len;
        char bundle_hash[65]; /* of the bytes that came */
        char request[4096];   /* of the last fetch */
};

static void on_hello(void *owner, const struct hello *hello)
{
        (void)hello;
        ((struct app *)owner)->hellos++;
}

static void on_signal(void *owner, const struct signal *signal)
{
        struct app *app = owner;

        app->signals++;
        app->last_seq = signal->token.seq;
        if (app->cut_in_callback)
                kickoff_device_cut(app->device);
}

static void on_reset(void *owner, const struct reset *reset)
{
        struct app *app = owner;

        app->resets++;
        app->last_events = reset->n;
}

static void on_message(void *owner, const struct device_message *message)
{
        struct app *app = owner;

        app->messages++;
        strcpy(app->body, message->body);
}

static void on_goaway(void *owner, const struct goaway *goaway)
{
        (void)goaway;
        ((struct app *)owner)->goaways++;
}

static void on_state(void *owner, enum kickoff_device_state state, const char *why)
{
        struct app *app = owner;

        app->state = state;
        app->attempts += state == KICKOFF_DEVICE_CONNECTING;
        snprintf(app->why, sizeof(app->why), "%s", why);
}

static void on_bundle(void *owner, const struct kickoff_device_bundle *bundle)
{
        struct app *app = owner;

        app->bundles++;
        app->bundle_len = bundle->len;
        device_cache_hash(bundle->bytes, bundle->len, app->bundle_hash);
}

static void begin(struct app *app, enum encoding encoding, const char *since)
{
        char url[64];

        memset(app, 0, sizeof(*app));
        fake_node_open(&app->node, encoding);
        snprintf(url, sizeof(url), "ws://127.0.0.1:%u", app->node.port);

        struct kickoff_device_options options = {
                .url = url,
                .device = "tv-1",
                .cohort = "north",
                .since = since,
                .encoding = encoding,
                .backoff_min_ms = 20,
                .backoff_max_ms = 20,
                .seed = 7,
                .on_hello = on_hello,
                .on_signal = on_signal,
                .on_reset = on_reset,
                .on_message = on_message,
                .on_goaway = on_goaway,
                .on_state = on_state,
                .on_bundle = on_bundle,
                .owner = app,
        };

        cr_assert(eq(int, kickoff_device_create(&options, &app->device), OK));
}

static void end(struct app *app)
{
        kickoff_device_destroy(app->device);
        fake_node_close(&app->node);
}

/* A condition that does not come about within 10 s is a failure of the test, not a measurement. */
#define until(app, condition)                                                                \
        do {                                                                                 \
                uint64_t until_ms = clock_mono_ms() + 10000;                                 \
                while (!(condition)) {                                                       \
                        cr_assert(lt(u64, clock_mono_ms(), until_ms), "never came: %s (%s)", \
                                  #condition, (app)->why);                                   \
                        kickoff_device_service((app)->device, 5);                            \
                        fake_node_pump(&(app)->node);                                        \
                }                                                                            \
        } while (0)

static struct token token_of(seqno seq)
{
        return (struct token){ .epoch = 0xabc, .seq = seq, .tag = 0x77 + seq };
}

static void say_hello(struct app *app, seqno seq, bool recovered)
{
        struct message message = { .type = MESSAGE_HELLO,
                                   .hello = { .node = "a1",
                                              .session = "0123456789abcdef",
                                              .token = token_of(seq),
                                              .now = clock_wall_ms(),
                                              .ping_s = 50,
                                              .lifetime_s = 1800,
                                              .ack_spread_ms = 10,
                                              .recovered = recovered } };

        fake_node_say(&app->node, &message);
}

static void say_signal(struct app *app, seqno seq)
{
        struct message message = {
                .type = MESSAGE_SIGNAL,
                .signal = { .token = token_of(seq),
                            .kind = SIGNAL_START,
                            .state = { .event = "final", .stage = "live", .version = 2 } }
        };

        fake_node_say(&app->node, &message);
}

static void say_reset(struct app *app, seqno seq, size_t n)
{
        struct event_state *events = calloc(n, sizeof(*events));
        struct message message = {
                .type = MESSAGE_RESET,
                .reset = { .reason = RESET_NEW, .token = token_of(seq), .events = events, .n = n }
        };

        for (size_t i = 0; i < n; i++) {
                snprintf(events[i].event, sizeof(events[i].event), "event-%zu", i);
                strcpy(events[i].stage, "scheduled");
        }
        fake_node_say(&app->node, &message);
        free(events);
}

/* Connected, with the state as of `seq`. */
static void settle(struct app *app, seqno seq)
{
        until(app, app->node.upgraded);
        say_hello(app, seq, false);
        say_reset(app, seq, 2);
        until(app, app->resets == 1);
}

/* --- bundles: each over a connection of its own, beside the WebSocket */

static void say_bundle(struct app *app, seqno seq, uint64_t version)
{
        struct message message = { .type = MESSAGE_SIGNAL,
                                   .signal = { .token = token_of(seq),
                                               .kind = SIGNAL_REFRESH,
                                               .state = { .event = "final",
                                                          .stage = "scheduled",
                                                          .version = seq,
                                                          .bundle = version },
                                               .window_ms = 1 } };

        fake_node_say(&app->node, &message);
}

/* Takes one request and answers it with these bytes. False: there is none yet. */
static bool serve_fetch(struct app *app, const void *answer, size_t len)
{
        int fd = accept4(app->node.listener, NULL, NULL, SOCK_CLOEXEC);
        size_t n = 0;
        ssize_t got = 1;

        if (fd < 0)
                return false;
        memset(app->request, 0, sizeof(app->request));
        while (strstr(app->request, "\r\n\r\n") == NULL && got > 0) {
                kickoff_device_service(app->device, 5);
                got = recv(fd, app->request + n, sizeof(app->request) - 1 - n, MSG_DONTWAIT);
                n += got > 0 ? (size_t)got : 0;
                got = got < 0 && errno == EAGAIN ? 1 : got;
        }
        cr_assert(eq(sz, send(fd, answer, len, MSG_NOSIGNAL), len));
        close(fd);
        return true;
}

/* A whole answer to be sent: `body` as it is or packed, with the hash of what `plain` holds. */
static size_t make_answer(char *out, size_t size, const void *plain, size_t len, bool is_packed)
{
        struct gzip *gzip = NULL;
        const void *body = plain;
        size_t body_len = len, n;
        bool done = false;
        char hash[65];

        device_cache_hash(plain, len, hash);
        if (is_packed) {
                cr_assert(eq(int, gzip_create(plain, len, 65536, &gzip), OK));
                cr_assert(eq(int, gzip_step(gzip, len, &done), OK));
                cr_assert(done);
                body = gzip_result(gzip, &body_len);
        }
        n = (size_t)snprintf(out, size,
                             "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%sKickoff-Bundle: 1\r\n"
                             "Kickoff-Hash: sha-256=%s\r\nContent-Type: text/plain\r\n\r\n",
                             body_len, is_packed ? "Content-Encoding: gzip\r\n" : "", hash);
        cr_assert(le(sz, n + body_len, size));
        memcpy(out + n, body, body_len);
        gzip_destroy(gzip);
        return n + body_len;
}

Test(sdk, a_bundle_whose_connection_was_lost_is_fetched_again)
{
        static const char body[] = "what to show";
        char answer[1024], hash[65];
        size_t len = make_answer(answer, sizeof(answer), body, strlen(body), false);
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        say_bundle(&app, 11, 1);
        until(&app, serve_fetch(&app, "", 0));
        until(&app, serve_fetch(&app, answer, len / 2));
        until(&app, serve_fetch(&app, answer, len));
        until(&app, app.bundles == 1);
        device_cache_hash(body, strlen(body), hash);
        cr_assert(eq(str, app.bundle_hash, hash));
        end(&app);
}

Test(sdk, a_refused_bundle_is_asked_for_again_though_the_node_keeps_the_connection)
{
        static const char refusal[] = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n\r\n";
        char answer[1024];
        size_t len = make_answer(answer, sizeof(answer), "", 0, false);
        struct app app;
        int fd = -1;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        say_bundle(&app, 11, 1);
        until(&app, (fd = accept4(app.node.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
        cr_assert(eq(sz, send(fd, refusal, strlen(refusal), MSG_NOSIGNAL), strlen(refusal)));
        until(&app, serve_fetch(&app, answer, len));
        until(&app, app.bundles == 1);
        cr_assert(zero(sz, app.bundle_len), "an empty body is one, too");
        close(fd);
        end(&app);
}

Test(sdk, takes_a_packed_bundle_and_compares_what_it_unpacks)
{
        static char body[200000], answer[70000];
        size_t len;
        char hash[65];
        struct app app;

        for (size_t i = 0; i < sizeof(body); i++)
                body[i] = (char)('a' + i % 23);
        len = make_answer(answer, sizeof(answer), body, sizeof(body), true);
        cr_assert(lt(sz, len, sizeof(body)));
        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        say_bundle(&app, 11, 1);
        until(&app, serve_fetch(&app, answer, len));
        until(&app, app.bundles == 1);
        cr_assert(strcasestr(app.request, "accept-encoding: gzip\r\n") != NULL, "%s", app.request);
        device_cache_hash(body, sizeof(body), hash);
        cr_assert(eq(sz, app.bundle_len, sizeof(body)));
        cr_assert(eq(str, app.bundle_hash, hash));

        say_bundle(&app, 12, 2);
        snprintf(answer, sizeof(answer), "HTTP/1.1 304 Same\r\nKickoff-Bundle: 2\r\n\r\n");
        until(&app, serve_fetch(&app, answer, strlen(answer)));
        until(&app, app.bundles == 2);
        snprintf(answer, sizeof(answer), "if-none-match: \"%s\", \"%s-gzip\"\r\n", hash, hash);
        cr_assert(strcasestr(app.request, answer) != NULL, "%s", app.request);
        end(&app);
}

Test(sdk, a_small_body_that_stands_for_too_many_bytes_is_never_shown)
{
        static char bomb[1024 * 1024 + 1], answer[70000], good[1024];
        size_t len = make_answer(answer, sizeof(answer), bomb, sizeof(bomb), true);
        size_t good_len = make_answer(good, sizeof(good), "ok", 2, true);
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        say_bundle(&app, 11, 1);
        until(&app, serve_fetch(&app, answer, len));
        until(&app, serve_fetch(&app, good, good_len));
        until(&app, app.bundles == 1);
        cr_assert(eq(sz, app.bundle_len, 2));
        end(&app);
}

static void plays_a_whole_session(enum encoding encoding)
{
        struct app app;
        char token[TOKEN_TEXT_MAX + 1];
        struct token at = token_of(12);
        struct message message = { .type = MESSAGE_MESSAGE,
                                   .message = { .id = "m1", .body = "for you alone" } };

        begin(&app, encoding, NULL);
        cr_assert(eq(str, (char *)kickoff_device_token(app.device), ""));
        settle(&app, 10);
        cr_assert(eq(int, kickoff_device_state_of(app.device), KICKOFF_DEVICE_CONNECTED));
        cr_assert(eq(sz, app.last_events, 2));
        say_signal(&app, 11);
        say_signal(&app, 12);
        say_signal(&app, 12);
        fake_node_say(&app.node, &message);
        until(&app, app.messages == 1);
        cr_assert(eq(uint, app.signals, 2));
        cr_assert(eq(str, app.body, "for you alone"));
        token_format(&at, token);
        cr_assert(eq(str, (char *)kickoff_device_token(app.device), token));
        until(&app, app.node.acks == 1 && app.node.ack.seq == 12);
        end(&app);
}

Test(sdk, plays_a_whole_session_in_json)
{
        plays_a_whole_session(ENCODING_JSON);
}

Test(sdk, plays_a_whole_session_in_msgpack)
{
        plays_a_whole_session(ENCODING_MSGPACK);
}

Test(sdk, says_everything_in_the_request_it_resumes_with)
{
        struct app app;
        struct token at = token_of(41);
        char since[TOKEN_TEXT_MAX + 1], want[256];

        token_format(&at, since);
        begin(&app, ENCODING_MSGPACK, since);
        until(&app, app.node.upgraded);
        snprintf(want, sizeof(want),
                 "GET /v1/connect?device=tv-1&cohort=north&since=%s HTTP/1.1\r\n", since);
        cr_assert(eq(int, strncmp(app.node.head, want, strlen(want)), 0), "%s", app.node.head);
        cr_assert(strstr(app.node.head, "Sec-WebSocket-Protocol: kickoff.v1.msgpack\r\n") != NULL);
        cr_assert(strcasestr(app.node.head, "Sec-WebSocket-Extensions") == NULL);
        say_hello(&app, 42, true);
        say_signal(&app, 42);
        until(&app, app.signals == 1);

        /* and after a loss with the place it has reached by then */
        fake_node_hang_up(&app.node);
        until(&app, app.node.connects == 2 && app.node.upgraded);
        at = token_of(42);
        token_format(&at, since);
        cr_assert(strstr(app.node.head, since) != NULL);
        end(&app);
}

Test(sdk, gives_up_on_a_gap_with_1002_and_comes_back_by_itself)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        say_signal(&app, 12);
        until(&app, app.node.close_code != 0);
        cr_assert(eq(int, app.node.close_code, 1002));
        cr_assert(eq(uint, app.signals, 0));
        fake_node_hang_up(&app.node);
        until(&app, app.node.connects == 2 && app.node.upgraded);
        end(&app);
}

Test(sdk, answers_frames_it_cannot_read_with_the_right_close_code)
{
        static const struct {
                enum ws_opcode opcode;
                const char *payload;
                uint16_t code;
        } rows[] = { { WS_TEXT, "{\"t\":\"signal\"}", 1007 },
                     { WS_TEXT, "nonsense", 1007 },
                     { WS_BINARY, "\x81\xa1t\xa1x", 1003 } };

        for (size_t i = 0; i < countof(rows); i++) {
                struct app app;

                begin(&app, ENCODING_JSON, NULL);
                settle(&app, 10);
                fake_node_frame(&app.node, rows[i].opcode, rows[i].payload,
                                strlen(rows[i].payload));
                until(&app, app.node.close_code != 0);
                cr_assert(eq(int, app.node.close_code, rows[i].code));
                end(&app);
        }
}

Test(sdk, skips_messages_of_a_later_version)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        fake_node_frame(&app.node, WS_TEXT, "{\"t\":\"poll\",\"q\":1}", 18);
        say_signal(&app, 11);
        until(&app, app.signals == 1);
        end(&app);
}

Test(sdk, takes_a_reset_of_a_thousand_events)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        until(&app, app.node.upgraded);
        say_hello(&app, 10, false);
        say_reset(&app, 10, 1000);
        until(&app, app.resets == 1);
        cr_assert(eq(sz, app.last_events, 1000));
        end(&app);
}

Test(sdk, honours_retry_after_and_says_so)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        app.node.refusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 33\r\n"
                           "Content-Length: 0\r\nConnection: close\r\n\r\n";
        until(&app, app.node.connects == 1 && app.state == KICKOFF_DEVICE_WAITING);
        cr_assert(strstr(app.why, "refused: 503, again in 33.") == app.why, "%s", app.why);
        end(&app);
}

Test(sdk, stops_when_refused_for_good)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        app.node.refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n"
                           "Connection: close\r\n\r\n{}";
        until(&app, app.state == KICKOFF_DEVICE_STOPPED);
        cr_assert(eq(str, app.why, "refused: 403"));
        end(&app);
}

Test(sdk, follows_no_redirect)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        app.node.refusal = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
                           "Content-Length: 0\r\nConnection: close\r\n\r\n";
        until(&app, app.node.connects == 1 && app.state == KICKOFF_DEVICE_WAITING);
        cr_assert(strstr(app.why, "refused: 302") == app.why, "%s", app.why);
        end(&app);
}

Test(sdk, tells_a_draining_node_from_a_broken_one)
{
        static const struct {
                enum close_reason reason;
                const char *why;
        } rows[] = { { CLOSE_DRAIN, "closed 1012: node is leaving" },
                     { CLOSE_OVERLOAD, "closed 1013: node is full" },
                     { CLOSE_PROTOCOL, "closed 1002: broken WebSocket frame" },
                     { CLOSE_REPLACED, "closed 4009: the same device connected again" } };

        for (size_t i = 0; i < countof(rows); i++) {
                struct app app;

                begin(&app, ENCODING_JSON, NULL);
                settle(&app, 10);
                fake_node_goodbye(&app.node, rows[i].reason);
                until(&app, app.state != KICKOFF_DEVICE_CONNECTED);
                cr_assert(strstr(app.why, rows[i].why) == app.why, "%s", app.why);
                end(&app);
        }
}

Test(sdk, leaves_with_1000_after_goaway_and_returns)
{
        struct app app;
        struct message goaway = { .type = MESSAGE_GOAWAY,
                                  .goaway = {
                                      .reason = GOAWAY_OVERLOAD, .min_ms = 1, .max_ms = 30 } };

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        fake_node_say(&app.node, &goaway);
        until(&app, app.node.close_code != 0);
        cr_assert(eq(int, app.node.close_code, 1000));
        cr_assert(eq(uint, app.goaways, 1));
        fake_node_hang_up(&app.node);
        until(&app, app.node.connects == 2 && app.node.upgraded);
        end(&app);
}

Test(sdk, answers_pings)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        fake_node_frame(&app.node, WS_PING, "x", 1);
        until(&app, app.node.pongs == 1);
        say_signal(&app, 11);
        until(&app, app.signals == 1);
        end(&app);
}

Test(sdk, learns_the_clock_of_the_node)
{
        struct app app;
        struct message answer = { .type = MESSAGE_TIME };

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        until(&app, app.node.times == 1);
        answer.time = (struct time_sync){ .t0 = app.node.time.t0,
                                          .has_t1 = true,
                                          .t1 = app.node.time.t0 + 3600000 };
        fake_node_say(&app.node, &answer);
        until(&app, kickoff_device_clock_offset_ms(app.device) > 3590000);
        cr_assert(lt(i64, kickoff_device_clock_offset_ms(app.device), 3610000));
        end(&app);
}

Test(sdk, comes_back_after_being_cut_also_from_inside_a_callback)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        settle(&app, 10);
        kickoff_device_cut(app.device);
        until(&app, app.node.eof);
        cr_assert(eq(int, app.node.close_code, 0), "no word of goodbye");
        until(&app, app.node.connects == 2 && app.node.upgraded);
        app.cut_in_callback = true;
        say_hello(&app, 10, true);
        say_signal(&app, 11);
        until(&app, app.node.connects == 3 && app.node.upgraded);
        end(&app);
}

Test(sdk, keeps_nothing_of_connections_that_are_over)
{
        static const char refusal[] = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n"
                                      "Connection: close\r\n\r\n";
        struct app app;
        size_t links = 0;

        begin(&app, ENCODING_JSON, NULL);
        for (unsigned i = 1; i <= 6; i++) {
                until(&app, app.node.connects == i && app.node.upgraded);
                say_hello(&app, 10, false);
                until(&app, app.hellos == i);
                fake_node_hang_up(&app.node);
                until(&app, app.state == KICKOFF_DEVICE_WAITING);
        }
        app.node.refusal = refusal;
        until(&app, app.node.connects == 8);
        until(&app, app.state == KICKOFF_DEVICE_WAITING);
        kickoff_device_service(app.device, 0);
        for (const struct link *link = app.device->links; link != NULL; link = link->next)
                links++;
        cr_assert(le(sz, links, 1), "%zu links that nobody ends", links);
        end(&app);
}

Test(sdk, survives_a_node_that_is_not_there)
{
        struct app app;

        begin(&app, ENCODING_JSON, NULL);
        close(app.node.listener);
        app.node.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        until(&app, app.attempts == 3);
        cr_assert(eq(int, app.state, KICKOFF_DEVICE_WAITING));
        end(&app);
}

Test(sdk, refuses_options_that_cannot_work)
{
        static const struct {
                const char *url, *device, *cohort, *since;
        } rows[] = {
                { "http://a", "tv", NULL, NULL },     { "ws://", "tv", NULL, NULL },
                { "ws://a/path", "tv", NULL, NULL },  { "ws://a:0", "tv", NULL, NULL },
                { "ws://a:65536", "tv", NULL, NULL }, { "ws://a b", "tv", NULL, NULL },
                { "ws://a", "", NULL, NULL },         { "ws://a", "t v", NULL, NULL },
                { "ws://a", "tv", "", NULL },         { "ws://a", "tv", "c&x", NULL },
                { "ws://a", "tv", NULL, "1.2.3" },    { NULL, "tv", NULL, NULL },
                { "ws://a", NULL, NULL, NULL },       { "ws://[::1", "tv", NULL, NULL },
        };

        for (size_t i = 0; i < countof(rows); i++) {
                struct kickoff_device_options options = { .url = rows[i].url,
                                                          .device = rows[i].device,
                                                          .cohort = rows[i].cohort,
                                                          .since = rows[i].since };
                struct kickoff_device *device = NULL;

                cr_assert(eq(int, kickoff_device_create(&options, &device), ERR_INVALID), "row %zu",
                          i);
                cr_assert(device == NULL);
        }
}

Test(sdk, reads_urls)
{
        struct device_url url;

        cr_assert(eq(int, device_url_parse("wss://live.example.org/", &url), OK));
        cr_assert(url.tls);
        cr_assert(eq(int, url.port, 443));
        cr_assert(eq(str, url.authority, "live.example.org:443"));
        cr_assert(eq(int, device_url_parse("ws://[::1]:8080", &url), OK));
        cr_assert(eq(str, url.host, "::1"));
        cr_assert(eq(str, url.authority, "[::1]:8080"));
}
