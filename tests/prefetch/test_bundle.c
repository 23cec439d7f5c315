/* tests/prefetch/test_bundle.c -- rows and indexes. */
#include "prefetch/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define SHA_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static struct bundle_row row_of(const char *cohort)
{
        struct bundle_row row = { .size = 3, .type = "application/json", .sha256 = SHA_OF_ABC };

        snprintf(row.cohort, sizeof(row.cohort), "%s", cohort);
        return row;
}

Test(bundle, hash_is_sha256_of_fips_180)
{
        char hex[BUNDLE_SHA_TEXT + 1];

        bundle_sha256("abc", 3, hex);
        cr_assert(eq(str, hex, SHA_OF_ABC));
        bundle_sha256("", 0, hex);
        cr_assert(eq(str, hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
}

Test(bundle, row_survives_the_way_through_redis)
{
        struct bundle_row row = row_of("tv-de"), back;
        char text[512];
        size_t len;

        strcpy(row.type, "application/json; charset=utf-8");
        len = bundle_row_format(&row, text, sizeof(text));
        cr_assert(eq(str, text, SHA_OF_ABC " 3 application/json; charset=utf-8"));
        cr_assert(eq(int, bundle_row_parse("tv-de", text, len, &back), OK));
        cr_assert(eq(str, back.cohort, "tv-de"));
        cr_assert(eq(str, back.sha256, row.sha256));
        cr_assert(eq(str, back.type, row.type));
        cr_assert(eq(u32, back.size, 3));
}

Test(bundle, a_current_row_says_at_which_place_of_the_log_it_was_made)
{
        static const char text[] = "0001f00d12345678.42.00c0ffee00c0ffee " SHA_OF_ABC " 3 a/b; c=1.5";
        struct bundle_row row;
        char back[512];

        cr_assert(eq(int, bundle_row_parse("tv", text, sizeof(text) - 1, &row), OK));
        cr_assert(eq(str, row.position, "0001f00d12345678.42.00c0ffee00c0ffee"));
        cr_assert(eq(str, row.sha256, SHA_OF_ABC));
        cr_assert(eq(str, row.type, "a/b; c=1.5"));
        cr_assert(eq(sz, bundle_row_format(&row, back, sizeof(back)), sizeof(text) - 1));
        cr_assert(eq(str, back, (char *)text));
        cr_assert(eq(int, bundle_row_parse("tv", text + 37, sizeof(text) - 38, &row), OK));
        cr_assert(eq(str, row.position, "")); /* a draft */
}

Test(bundle, row_that_is_not_exactly_ours_is_refused)
{
        static const char *const bad[] = {
                "",
                SHA_OF_ABC,
                SHA_OF_ABC " ",
                SHA_OF_ABC " 3",
                SHA_OF_ABC " 3 ",
                SHA_OF_ABC " 3 json",
                SHA_OF_ABC "  3 a/b",
                SHA_OF_ABC " 03 a/b",
                SHA_OF_ABC " -3 a/b",
                SHA_OF_ABC " 1048577 a/b",
                SHA_OF_ABC " 99999999999999999999 a/b",
                SHA_OF_ABC " 3 a/b\r\nSet-Cookie: x",
                "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 a/b",
                "ba7816bf 3 a/b",
                "1.2.3 " SHA_OF_ABC " 3 a/b",
                "0001f00d12345678.42.00c0ffee00c0ffee",
                "0001f00d12345678.42.00c0ffee00c0ffee ",
                "0001f00d12345678.42.00c0ffee00c0ffee  " SHA_OF_ABC " 3 a/b",
                "0001f00d12345678.42.00c0ffee00c0ffee 0001f00d12345678.42.00c0ffee00c0ffee " SHA_OF_ABC
                " 3 a/b",
        };
        struct bundle_row row;

        for (size_t i = 0; i < countof(bad); i++)
                cr_expect(eq(int, bundle_row_parse("c", bad[i], strlen(bad[i]), &row), ERR_INVALID),
                          "row %zu", i);
        cr_assert(eq(int, bundle_row_parse("c", SHA_OF_ABC " 1048576 a/b", 76, &row), OK));
        cr_assert(
            eq(int, bundle_row_parse("a cohort", SHA_OF_ABC " 3 a/b", 70, &row), ERR_INVALID));
        cr_assert(eq(int, bundle_row_parse("c", SHA_OF_ABC " 3 a/b\0x", 72, &row), ERR_INVALID));
}

Test(bundle, content_type_can_never_split_a_header)
{
        static const char *const good[] = { "a/b", "application/json", "application/vnd.x+json",
                                            "text/html; charset=\"utf-8\"", "text/plain ;a=b" };
        static const char *const bad[] = {
                "",          "a",     "a/",        "/b",           "a/b c",    "a/b\r\n",
                "a/b; x=\n", "a b/c", "a/b; \x7f", "a/b;\xc3\xa9", "a/b, c/d", " a/b"
        };
        char type[BUNDLE_TYPE_MAX + 2];

        for (size_t i = 0; i < countof(good); i++)
                cr_expect(bundle_type_is_valid(good[i]), "%s", good[i]);
        for (size_t i = 0; i < countof(bad); i++)
                cr_expect(not(bundle_type_is_valid(bad[i])), "%zu", i);
        memset(type, 'a', sizeof(type));
        type[1] = '/';
        type[BUNDLE_TYPE_MAX] = '\0';
        cr_assert(bundle_type_is_valid(type));
        type[BUNDLE_TYPE_MAX] = 'a';
        type[BUNDLE_TYPE_MAX + 1] = '\0';
        cr_assert(not(bundle_type_is_valid(type)));
}

Test(bundle, unknown_cohort_falls_back_to_default)
{
        struct bundle_row rows[] = { row_of("tv"), row_of("default"), row_of("phone") };
        struct bundle_index *index = bundle_index_create("cup", 4, rows, countof(rows));

        cr_assert(eq(str, (char *)bundle_index_find(index, "tv")->cohort, "tv"));
        cr_assert(eq(str, (char *)bundle_index_find(index, "phone")->cohort, "phone"));
        cr_assert(eq(str, (char *)bundle_index_find(index, "watch")->cohort, "default"));
        cr_assert(eq(u64, index->version, 4));
        bundle_index_unref(index);
}

Test(bundle, without_default_an_unknown_cohort_has_nothing)
{
        struct bundle_row rows[] = { row_of("tv") };
        struct bundle_index *index = bundle_index_create("cup", 1, rows, 1);
        struct bundle_index *empty = bundle_index_create("cup", 1, NULL, 0);

        cr_assert(eq(ptr, (void *)bundle_index_find(index, "watch"), NULL));
        cr_assert(eq(ptr, (void *)bundle_index_find(empty, "default"), NULL));
        bundle_index_unref(index);
        bundle_index_unref(empty);
}
