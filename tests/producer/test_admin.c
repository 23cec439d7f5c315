/* The admin API: events and what is told of them, how strictly requests are read, who may ask, and
 * what operators see. Each of the other subjects has a file beside this one. */
#include "tests/producer/rig.h"

TestSuite(admin, .init = start, .fini = stop);

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

Test(admin, a_namespace_that_is_full_says_what_to_do_and_a_dry_run_says_the_same)
{
        test_redis_do(api.server, "EVAL",
                      "for i = 1, 1023 do redis.call('HSET', KEYS[1], 'e' .. i, '{}') end return 1",
                      "1", "{" NS "}:events", NULL);
        EXPECT_STATUS(post("/v1/events?dry_run=1", CUP), 200);
        create_cup();
        EXPECT_STATUS(
            post("/v1/events",
                 "{\"id\":\"more\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\"}"),
            409);
        EXPECT_MEMBER("type", "/problems/limit-reached");
        EXPECT_MEMBER(
            "detail",
            "there are 1024 events, as many as a namespace holds, those that are over "
            "included: reopen one of these with a new starts_at, or use another namespace");
        EXPECT_STATUS(
            post("/v1/events?dry_run=1",
                 "{\"id\":\"more\",\"title\":\"t\",\"starts_at\":\"2031-01-01T00:00:00Z\"}"),
            409);
        EXPECT_MEMBER("type", "/problems/limit-reached");
        EXPECT_STATUS(post("/v1/events/cup/refresh", ""), 200);
        expect_signals("2");
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
