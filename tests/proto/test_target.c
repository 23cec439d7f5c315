/* Whom a signal is for: read, written, and asked. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "proto/target.h"

static enum err parse(const char *text, struct target **ret_target)
{
        json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
        enum err err;

        cr_assert(json != NULL, "the test's own text is broken: %s", text);
        err = target_parse_object(json, ret_target);
        json_decref(json);
        return err;
}

static struct target *target(const char *text)
{
        struct target *made = NULL;

        cr_assert(eq(int, parse(text, &made), OK), "%s", text);
        return made;
}

static void assert_formats_to(const struct target *made, const char *text)
{
        struct buf out = BUF_INIT;

        target_format(made, &out);
        buf_char(&out, '\0');
        cr_assert(eq(str, out.data, (char *)text));
        buf_fini(&out);
}

Test(target, comes_back_sorted_and_each_name_once)
{
        static const char *const rows[][2] = {
                { "{\"cohorts\":[\"b\",\"a\",\"b\"]}", "{\"cohorts\":[\"a\",\"b\"]}" },
                { "{\"attributes\":{\"region\":[\"eu\"]}}",
                  "{\"attributes\":{\"region\":[\"eu\"]}}" },
                { "{\"attributes\":{\"app\":[\"9\",\"10\"],\"platform\":[\"tv\"]},\"cohorts\":[\"x\"]}",
                  "{\"cohorts\":[\"x\"],\"attributes\":{\"platform\":[\"tv\"],\"app\":[\"10\",\"9\"]}}" },
        };

        for (size_t i = 0; i < countof(rows); i++) {
                struct target *made = target(rows[i][0]), *again = target(rows[i][1]);
                struct target *copy = target_copy(made);

                assert_formats_to(made, rows[i][1]);
                cr_assert(target_equal(made, again));
                target_destroy(made);
                cr_assert(target_equal(copy, again), "a copy stands alone");
                assert_formats_to(copy, rows[i][1]);
                cr_assert(not(target_equal(copy, NULL)));
                target_destroy(copy);
                target_destroy(again);
        }
        cr_assert(target_equal(NULL, NULL));
}

Test(target, is_for_who_has_a_word_of_each_list)
{
        static const char to[] =
            "{\"cohorts\":[\"a\",\"c\"],\"attributes\":{\"platform\":[\"tv\",\"web\"],\"region\":[\"eu\"]}}";
        static const struct {
                const char *traits[TRAITS];
                bool meant;
        } rows[] = {
                { { "a", "tv", "eu", "1" }, true },   { { "c", "web", "eu", NULL }, true },
                { { "b", "tv", "eu", NULL }, false }, { { "a", "phone", "eu", NULL }, false },
                { { "a", "tv", "us", NULL }, false }, { { "a", NULL, "eu", NULL }, false },
                { { "a", "", "eu", NULL }, false },   { { NULL, "tv", "eu", NULL }, false },
                { { "A", "tv", "eu", NULL }, false }, { { "aa", "tv", "eu", NULL }, false },
        };
        struct target *made = target(to);

        for (size_t i = 0; i < countof(rows); i++) {
                cr_assert(eq(int, target_matches(made, rows[i].traits), rows[i].meant), "row %zu",
                          i);
                cr_assert(target_matches(NULL, rows[i].traits), "none named: for everyone");
        }
        target_destroy(made);
}

Test(target, refuses_what_names_nobody_or_nothing_known)
{
        static const char *const rows[] = {
                "{}",
                "[]",
                "\"a\"",
                "{\"cohorts\":[]}",
                "{\"cohorts\":\"a\"}",
                "{\"cohorts\":[1]}",
                "{\"cohorts\":[\"\"]}",
                "{\"cohorts\":[\"a b\"]}",
                "{\"cohorts\":[\"a\"],\"attributes\":{}}",
                "{\"cohorts\":[\"a\"],\"attributes\":[]}",
                "{\"cohorts\":[\"a\"],\"attributes\":{\"device\":[\"d\"]}}",
                "{\"cohorts\":[\"a\"],\"attributes\":{\"cohort\":[\"d\"]}}",
                "{\"attributes\":{\"region\":[]}}",
                "{\"attributes\":{\"region\":null}}",
                "{\"cohorts\":[\"a\"],\"devices\":[\"d\"]}",
                "{\"cohorts\":[\"0123456789012345678901234567890123456789012345678901234567890123x\"]}",
        };

        for (size_t i = 0; i < countof(rows); i++) {
                struct target *made = NULL;

                cr_assert(eq(int, parse(rows[i], &made), ERR_INVALID), "%s", rows[i]);
                cr_assert(made == NULL, "the output was touched");
        }
}

/* {"cohorts":["xx...x"]}, the name `len` bytes long. */
static enum err parse_long(const char *before, const char *after, size_t len)
{
        struct buf text = BUF_INIT;
        struct target *made = NULL;
        enum err err;

        buf_str(&text, before);
        for (size_t i = 0; i < len; i++)
                buf_char(&text, 'x');
        buf_str(&text, after);
        buf_char(&text, '\0');
        err = parse(text.data, &made);
        target_destroy(made);
        buf_fini(&text);
        return err;
}

Test(target, a_name_is_as_long_as_the_limit_and_no_longer)
{
        const char *cohorts = "{\"cohorts\":[\"", *app = "{\"attributes\":{\"app\":[\"";

        cr_assert(eq(int, parse_long(cohorts, "\"]}", COHORT_MAX), OK));
        cr_assert(eq(int, parse_long(cohorts, "\"]}", COHORT_MAX + 1), ERR_INVALID));
        cr_assert(eq(int, parse_long(app, "\"]}}", ATTRIBUTE_MAX), OK));
        cr_assert(eq(int, parse_long(app, "\"]}}", ATTRIBUTE_MAX + 1), ERR_INVALID));
}

/* {"cohorts":[...]} or {"attributes":{"app":[...]}} with `n` names. */
static enum err parse_many(const char *before, const char *after, size_t n)
{
        struct buf text = BUF_INIT;
        struct target *made = NULL;
        enum err err;

        buf_str(&text, before);
        for (size_t i = 0; i < n; i++)
                buf_printf(&text, "%s\"n%zu\"", i > 0 ? "," : "", i);
        buf_str(&text, after);
        buf_char(&text, '\0');
        err = parse(text.data, &made);
        target_destroy(made);
        buf_fini(&text);
        return err;
}

Test(target, holds_as_many_names_as_the_limit_and_no_more)
{
        const char *cohorts = "{\"cohorts\":[", *app = "{\"attributes\":{\"app\":[";

        cr_assert(eq(int, parse_many(cohorts, "]}", TARGET_COHORTS_MAX), OK));
        cr_assert(eq(int, parse_many(cohorts, "]}", TARGET_COHORTS_MAX + 1), ERR_INVALID));
        cr_assert(eq(int, parse_many(app, "]}}", TARGET_VALUES_MAX), OK));
        cr_assert(eq(int, parse_many(app, "]}}", TARGET_VALUES_MAX + 1), ERR_INVALID));
}

Test(target, of_neither_member_is_everyone_and_a_wrong_one_is_explained)
{
        struct target *made = NULL;
        const char *why = NULL;
        json_t *none = json_array();

        cr_assert(eq(int, target_parse(NULL, NULL, &made, &why), ERR_NOT_FOUND));
        cr_assert(why == NULL);
        cr_assert(eq(int, target_parse(none, NULL, &made, &why), ERR_INVALID));
        cr_assert(why != NULL);
        cr_assert(made == NULL);
        json_decref(none);
}
