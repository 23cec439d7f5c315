/* tests/producer/test_input.c -- what a producer sent, taken apart. */
#include "producer/input.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct fault fault;

static json_t *parsed(const char *text)
{
        json_t *object = NULL;

        cr_assert(input_parse(text, strlen(text), "application/json", &object, &fault), "%s", text);
        return object;
}

Test(input, an_absent_body_is_an_empty_object_and_needs_no_type)
{
        json_t *object = NULL;

        cr_assert(input_parse("", 0, NULL, &object, &fault));
        cr_assert(eq(sz, json_object_size(object), 0));
        json_decref(object);
}

Test(input, a_body_must_be_one_json_object_of_the_right_type)
{
        static const struct {
                const char *body, *type;
                int status;
        } bad[] = {
                { "{}", NULL, 415 },
                { "{}", "text/plain", 415 },
                { "{}", "application/jsonp", 415 },
                { "{", "application/json", 400 },
                { "[]", "application/json", 400 },
                { "1", "application/json", 400 },
                { "{} {}", "application/json", 400 },
                { "{\"a\":1,\"a\":2}", "application/json", 400 },
                { "{\"a\":\"\\u0000\"}", "application/json", 400 },
                { "{\"a\":\"\xff\"}", "application/json", 400 },
        };
        json_t *object = NULL;

        for (size_t i = 0; i < countof(bad); i++) {
                cr_expect(not(input_parse(bad[i].body, strlen(bad[i].body), bad[i].type, &object,
                                          &fault)),
                          "%s", bad[i].body);
                cr_expect(eq(int, fault.status, bad[i].status), "%s", bad[i].body);
        }
        cr_assert(eq(ptr, object, NULL));
        cr_assert(input_parse("{}", 2, "Application/JSON; charset=utf-8", &object, &fault));
        json_decref(object);
}

Test(input, a_json_body_one_past_the_limit_is_too_large)
{
        static char body[INPUT_JSON_MAX + 2];
        json_t *object = NULL;

        memset(body, ' ', sizeof(body));
        memcpy(body, "{}", 2);
        cr_assert(input_parse(body, INPUT_JSON_MAX, "application/json", &object, &fault));
        json_decref(object);
        cr_assert(not(input_parse(body, INPUT_JSON_MAX + 1, "application/json", &object, &fault)));
        cr_assert(eq(int, fault.status, 413));
}

Test(input, a_typing_error_is_refused_by_name)
{
        static const char *const known[] = { "at", "lead" };
        json_t *object = parsed("{\"leed\":\"2s\"}");

        cr_assert(not(input_known(object, known, 2, &fault)));
        cr_assert(eq(int, fault.status, 400));
        cr_assert(eq(str, (char *)fault.slug, "unknown-member"));
        cr_assert(not(eq(ptr, strstr(fault.detail, "`leed`"), NULL)));
        cr_assert(not(eq(ptr, strstr(fault.detail, "at, lead"), NULL)));
        json_decref(object);
}

Test(input, a_dry_run_asked_for_in_the_body_is_told_where_it_belongs)
{
        json_t *object = parsed("{\"dry_run\":true}");

        cr_expect(not(input_known(object, NULL, 0, &fault)));
        cr_expect(eq(int, fault.status, 400));
        cr_assert(strstr(fault.detail, "?dry_run=1") != NULL);
        json_decref(object);
}

Test(input, whom_it_is_for_is_read_strictly_and_a_refusal_says_how_to_tell_all)
{
        static const char *const bad[] = {
                "{\"cohorts\":[]}",
                "{\"cohorts\":\"tv\"}",
                "{\"cohorts\":[1]}",
                "{\"cohorts\":[\"no cohort\"]}",
                "{\"attributes\":{}}",
                "{\"attributes\":[]}",
                "{\"attributes\":{\"platform\":[]}}",
                "{\"attributes\":{\"platfrom\":[\"tv\"]}}",
                "{\"attributes\":{\"app\":\"9.1\"}}",
        };
        struct target *target = NULL;
        json_t *object;
        size_t n;

        for (size_t i = 0; i < countof(bad); i++) {
                object = parsed(bad[i]);
                cr_expect(not(input_target(object, &target, &fault)), "%s", bad[i]);
                cr_expect(eq(int, fault.status, 400), "%s", bad[i]);
                cr_expect(strstr(fault.detail, "to tell every device") != NULL, "%s", fault.detail);
                cr_expect(eq(ptr, target, NULL));
                json_decref(object);
        }
        object = parsed("{\"at\":\"x\"}");
        cr_assert(input_target(object, &target, &fault));
        cr_assert(eq(ptr, target, NULL), "for everyone");
        json_decref(object);
        object = parsed("{\"cohorts\":[\"b\",\"a\"],\"attributes\":{\"app\":[\"9.1\"]}}");
        cr_assert(input_target(object, &target, &fault), "%s", fault.detail);
        cr_assert(eq(str, (char *)target_names(target, TRAIT_COHORT, &n)[0], "a"));
        cr_assert(eq(sz, n, 2));
        target_destroy(target);
        json_decref(object);
}

Test(input, fields_are_held_to_their_type_and_size)
{
        json_t *object = parsed("{\"s\":\"four\",\"n\":5,\"t\":\"2026-11-23T20:00:00Z\","
                                "\"bad\":\"tomorrow\",\"d\":\"1h30m\",\"b\":true,\"z\":null}");
        const char *text = NULL;
        bool has = false, value = false;
        int64_t ms = 0;

        cr_assert(input_text(object, "s", true, 4, &text, &fault));
        cr_assert(eq(str, (char *)text, "four"));
        cr_assert(not(input_text(object, "s", true, 3, &text, &fault)));
        cr_assert(not(input_text(object, "n", true, 9, &text, &fault)));
        cr_assert(not(input_text(object, "z", false, 9, &text, &fault)));
        cr_assert(not(input_text(object, "absent", true, 9, &text, &fault)));
        cr_assert(not(eq(ptr, strstr(fault.detail, "`absent` is required"), NULL)));
        text = NULL;
        cr_assert(input_text(object, "absent", false, 9, &text, &fault));
        cr_assert(eq(ptr, (void *)text, NULL));
        cr_assert(input_time(object, "t", &has, &ms, &fault));
        cr_assert(has);
        cr_assert(eq(i64, ms, 1795464000000));
        cr_assert(not(input_time(object, "bad", &has, &ms, &fault)));
        cr_assert(not(input_time(object, "n", &has, &ms, &fault)));
        has = false;
        cr_assert(input_time(object, "absent", &has, &ms, &fault));
        cr_assert(not(has));
        cr_assert(input_duration(object, "d", &has, &ms, &fault));
        cr_assert(eq(i64, ms, 5400000));
        cr_assert(not(input_duration(object, "n", &has, &ms, &fault)));
        cr_assert(input_bool(object, "b", &value, &fault));
        cr_assert(value);
        cr_assert(not(input_bool(object, "s", &value, &fault)));
        json_decref(object);
}

Test(input, a_missing_key_is_explained)
{
        char key[REQUEST_KEY_MAX + 1];

        cr_assert(not(input_key(NULL, key, &fault)));
        cr_assert(eq(int, fault.status, 400));
        cr_assert(eq(str, (char *)fault.slug, "idempotency-key-missing"));
        cr_assert(not(eq(ptr, strstr(fault.detail, "Idempotency-Key"), NULL)));
}

Test(input, any_printable_key_works_and_none_reaches_anothers)
{
        static const char *const good[] = { "a", "8e03978e-40d5-43e8-bc93-6894a57f9324",
                                            "\"quoted\"", "a/b{c}", "sha256:x" };
        static const char *const bad[] = { "", " ", "a b", "a\tb", "\x7f", "\xc3\xa9" };
        char key[REQUEST_KEY_MAX + 1], other[REQUEST_KEY_MAX + 1], longest[REQUEST_KEY_MAX + 2];

        for (size_t i = 0; i < countof(good); i++) {
                cr_expect(input_key(good[i], key, &fault), "%s", good[i]);
                cr_expect(name_is_valid(key, strlen(key), REQUEST_KEY_MAX), "%s", key);
        }
        for (size_t i = 0; i < countof(bad); i++)
                cr_expect(not(input_key(bad[i], key, &fault)), "%zu", i);
        cr_assert(input_key("plain", key, &fault));
        cr_assert(eq(str, key, "plain"));
        cr_assert(input_key("a/b", key, &fault));
        cr_assert(input_key(key, other, &fault));
        cr_assert(not(eq(str, key, other)));
        memset(longest, '/', sizeof(longest));
        longest[REQUEST_KEY_MAX] = '\0';
        cr_assert(input_key(longest, key, &fault));
        longest[REQUEST_KEY_MAX] = 'x';
        longest[REQUEST_KEY_MAX + 1] = '\0';
        cr_assert(not(input_key(longest, key, &fault)));
}

Test(input, if_match_takes_one_version_with_or_without_quotes)
{
        static const char *const bad[] = { "",        "\"\"",
                                           "W/\"3\"", "\"3",
                                           "3, 4",    "\"3\",\"4\"",
                                           "-1",      "03",
                                           "x",       "99999999999999999999" };
        struct if_match if_match = { 0 };

        cr_assert(input_if_match(NULL, &if_match, &fault));
        cr_assert(not(if_match.is_given));
        cr_assert(input_if_match("\"3\"", &if_match, &fault));
        cr_assert(eq(u64, if_match.version, 3));
        cr_assert(input_if_match("12", &if_match, &fault));
        cr_assert(eq(u64, if_match.version, 12));
        cr_assert(not(if_match.is_any));
        cr_assert(input_if_match("*", &if_match, &fault));
        cr_assert(if_match.is_any);
        for (size_t i = 0; i < countof(bad); i++)
                cr_expect(not(input_if_match(bad[i], &if_match, &fault)), "%s", bad[i]);
}

Test(input, numbers_stay_within_their_limits)
{
        uint64_t value = 0;

        cr_assert(input_number("n", NULL, 1, 9, 5, &value, &fault));
        cr_assert(eq(u64, value, 5));
        cr_assert(input_number("n", "9", 1, 9, 5, &value, &fault));
        cr_assert(eq(u64, value, 9));
        cr_assert(not(input_number("n", "0", 1, 9, 5, &value, &fault)));
        cr_assert(not(input_number("n", "10", 1, 9, 5, &value, &fault)));
        cr_assert(not(input_number("n", "", 1, 9, 5, &value, &fault)));
        cr_assert(not(input_number("n", "1x", 1, 9, 5, &value, &fault)));
}

static void print_of(const char *method, const char *path, const char *body, const char *header,
                     char hex[WRITER_FINGERPRINT + 1])
{
        struct if_match if_match = { 0 };
        json_t *object = parsed(body);

        cr_assert(input_if_match(header, &if_match, &fault));
        cr_assert(eq(int, input_fingerprint(method, path, object, &if_match, hex), OK));
        json_decref(object);
}

Test(input, the_same_request_has_the_same_fingerprint_however_it_is_written)
{
        char a[WRITER_FINGERPRINT + 1], b[WRITER_FINGERPRINT + 1];

        print_of("POST", "/v1/events", "{\"id\":\"x\",\"n\":{\"b\":1,\"a\":2}}", "3", a);
        print_of("POST", "/v1/events", " { \"n\":{\"a\":2, \"b\":1}, \"id\" : \"\\u0078\" } ",
                 "\"3\"", b);
        cr_assert(eq(str, a, b));
        cr_assert(eq(sz, strlen(a), WRITER_FINGERPRINT));
}

Test(input, whatever_differs_in_a_request_differs_in_its_fingerprint)
{
        static const struct {
                const char *method, *path, *body, *if_match;
        } ask[] = {
                { "POST", "/v1/events/x/start", "{}", NULL },
                { "PUT", "/v1/events/x/start", "{}", NULL },
                { "POST", "/v1/events/y/start", "{}", NULL },
                { "POST", "/v1/events/x/start", "{\"lead\":\"2s\"}", NULL },
                { "POST", "/v1/events/x/start", "{\"lead\":\"2s\\n3\"}", NULL },
                { "POST", "/v1/events/x/start", "{}", "3" },
                { "POST", "/v1/events/x/start", "{}", "0" },
                { "POST", "/v1/events/x/start", "{}", "*" },
        };
        char prints[countof(ask)][WRITER_FINGERPRINT + 1];

        for (size_t i = 0; i < countof(ask); i++) {
                print_of(ask[i].method, ask[i].path, ask[i].body, ask[i].if_match, prints[i]);
                for (size_t k = 0; k < i; k++)
                        cr_expect(not(eq(str, prints[i], prints[k])), "%zu %zu", i, k);
        }
}

Test(input, only_names_that_dns_cannot_move_are_local)
{
        static const char *const local[] = { "localhost",       "LocalHost:9090", "127.0.0.1",
                                             "127.0.0.1:9090",  "[::1]:9090",     "[::1]",
                                             "192.168.1.4:9090" };
        static const char *const foreign[] = { "",
                                               "evil.example",
                                               "evil.example:9090",
                                               "localhost.evil.example",
                                               "127.0.0.1.evil.example:9090",
                                               "[evil]",
                                               ":9090",
                                               "1.2.3" };

        for (size_t i = 0; i < countof(local); i++)
                cr_expect(input_host_is_local(local[i]), "%s", local[i]);
        for (size_t i = 0; i < countof(foreign); i++)
                cr_expect(not(input_host_is_local(foreign[i])), "%s", foreign[i]);
        cr_assert(not(input_host_is_local(NULL)));
}
