/* tests/prefetch/test_response.c -- ready-made responses: their heads, and which of them a request
 * gets. */
#include "prefetch/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define SHA_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define POSITION   "0001f00d12345678.42.00c0ffee00c0ffee"

static struct bundle_response *response_of_abc(void)
{
        struct bundle_row row = { .cohort = "default",
                                  .size = 3,
                                  .type = "application/json",
                                  .sha256 = SHA_OF_ABC,
                                  .position = POSITION };
        struct blob *body = blob_create("abc", 3);
        struct bundle_response *response = bundle_response_create(&row, 7, body);

        blob_unref(body);
        return response;
}

static void add(struct bundle_response *response, enum coding coding, const char *bytes)
{
        struct blob *packed = blob_create(bytes, strlen(bytes));

        bundle_response_add(response, coding, packed);
        blob_unref(packed);
}

static const char *text_of(const struct blob *blob)
{
        static char text[2048];

        snprintf(text, sizeof(text), "%.*s", (int)blob->len, (const char *)blob->data);
        return text;
}

static struct slice slice_of(const char *text)
{
        return (struct slice){ text, text != NULL ? strlen(text) : 0 };
}

/* "zstd 200", "identity 304", "406" */
static const char *choice(const struct bundle_response *response, const char *accept,
                          const char *if_none_match)
{
        struct bundle_choice choice;
        static char text[32];

        if (!bundle_response_choose(response, slice_of(accept), slice_of(if_none_match), &choice))
                return "406";
        for (int i = 0; i < CODINGS; i++)
                if (choice.variant == response->variants[i])
                        snprintf(text, sizeof(text), "%s %s", coding_name[i],
                                 choice.not_modified ? "304" : "200");
        return text;
}

#define HAS(text, what)   cr_assert(not(eq(ptr, strstr(text, what), NULL)), "%s in %s", what, text)
#define LACKS(text, what) cr_assert(eq(ptr, strstr(text, what), NULL), "%s in %s", what, text)
#define CHOOSES(response, accept, if_none_match, wanted) \
        cr_expect(eq(str, (char *)choice(response, accept, if_none_match), (char *)(wanted)))

Test(response, head_names_the_version_the_hash_the_place_and_ends_in_how_long_to_keep_it)
{
        struct bundle_response *response = response_of_abc();
        const struct bundle_variant *variant = response->variants[CODING_IDENTITY];
        const char *text = text_of(variant->head), *end = "\r\nCache-Control: public, max-age=";

        cr_assert(eq(int, strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0));
        HAS(text, "\r\nETag: \"" SHA_OF_ABC "\"\r\n");
        HAS(text, "\r\nKickoff-Bundle: 7\r\n");
        HAS(text, "\r\nKickoff-Hash: sha-256=" SHA_OF_ABC "\r\n");
        HAS(text, "\r\nKickoff-Position: " POSITION "\r\n");
        HAS(text, "\r\nVary: Accept-Encoding\r\n");
        HAS(text, "\r\nContent-Length: 3\r\n");
        HAS(text, "\r\nContent-Type: application/json\r\n");
        HAS(text, "\r\nX-Content-Type-Options: nosniff\r\n");
        HAS(text, "\r\nAccess-Control-Allow-Origin: *\r\n");
        HAS(text, "\r\nAccess-Control-Expose-Headers: ETag, Kickoff-Bundle, Kickoff-Hash, "
                  "Kickoff-Position, Retry-After\r\n");
        LACKS(text, "Content-Encoding");
        cr_assert(eq(str, (char *)(text + strlen(text) - strlen(end)), (char *)end));
        text = text_of(variant->head_304);
        cr_assert(eq(int, strncmp(text, "HTTP/1.1 304 Not Modified\r\n", 27), 0));
        HAS(text, "\r\nETag: \"" SHA_OF_ABC "\"\r\n");
        HAS(text, "\r\nKickoff-Bundle: 7\r\n");
        HAS(text, "\r\nKickoff-Position: " POSITION "\r\n");
        HAS(text, "\r\nVary: Accept-Encoding\r\n");
        LACKS(text, "Content-Length");
        LACKS(text, "Content-Type");
        cr_assert(eq(str, (char *)(text + strlen(text) - strlen(end)), (char *)end));
        bundle_response_unref(response);
}

Test(response, a_coded_variant_has_a_length_and_an_etag_of_its_own_but_the_hash_of_the_bytes_inside)
{
        struct bundle_response *response = response_of_abc();
        const char *text;

        add(response, CODING_GZIP, "gg");
        add(response, CODING_ZSTD, "z");
        text = text_of(response->variants[CODING_GZIP]->head);
        HAS(text, "\r\nETag: \"" SHA_OF_ABC "-gzip\"\r\n");
        HAS(text, "\r\nContent-Encoding: gzip\r\n");
        HAS(text, "\r\nContent-Length: 2\r\n");
        HAS(text, "\r\nKickoff-Hash: sha-256=" SHA_OF_ABC "\r\n");
        text = text_of(response->variants[CODING_ZSTD]->head_304);
        HAS(text, "\r\nETag: \"" SHA_OF_ABC "-zstd\"\r\n");
        LACKS(text, "Content-Encoding");
        bundle_response_unref(response);
}

Test(response, a_publication_without_a_known_place_names_none)
{
        struct bundle_row row = {
                .cohort = "default", .size = 3, .type = "a/b", .sha256 = SHA_OF_ABC
        };
        struct blob *body = blob_create("abc", 3);
        struct bundle_response *response = bundle_response_create(&row, 7, body);

        LACKS(text_of(response->variants[CODING_IDENTITY]->head), "Kickoff-Position:");
        bundle_response_unref(response);
        blob_unref(body);
}

Test(response, caches_of_a_herd_expire_up_to_a_fifth_earlier_or_later)
{
        int previous = 0;

        for (unsigned i = 0; i < BUNDLE_AGES; i++) {
                struct slice tail = bundle_age(i);
                int age = atoi(tail.at);

                cr_assert(eq(sz, tail.len, 7));
                cr_assert(eq(int, memcmp(tail.at + 3, "\r\n\r\n", 4), 0));
                cr_assert(gt(int, age, previous));
                previous = age;
                if (i == 0)
                        cr_assert(eq(int, age, BUNDLE_MAX_AGE_S * 8 / 10));
        }
        cr_assert(eq(int, previous, BUNDLE_MAX_AGE_S * 12 / 10));
}

Test(response, who_names_no_coding_gets_the_bytes_as_they_are)
{
        struct bundle_response *response = response_of_abc();

        add(response, CODING_GZIP, "gg");
        add(response, CODING_ZSTD, "z");
        CHOOSES(response, NULL, NULL, "identity 200");
        CHOOSES(response, "", NULL, "identity 200");
        CHOOSES(response, "br", NULL, "identity 200");
        bundle_response_unref(response);
}

Test(response, the_most_wanted_coding_is_sent_and_of_equally_wanted_ones_the_smallest)
{
        struct bundle_response *response = response_of_abc();

        CHOOSES(response, "gzip, zstd", NULL, "identity 200"); /* none is made yet */
        CHOOSES(response, "gzip, identity;q=0", NULL, "406");
        CHOOSES(response, "*;q=0", NULL, "406");
        add(response, CODING_GZIP, "gg");
        CHOOSES(response, "gzip, zstd", NULL, "gzip 200");
        add(response, CODING_ZSTD, "z");
        CHOOSES(response, "gzip, deflate, br, zstd", NULL, "zstd 200");
        CHOOSES(response, "gzip, zstd;q=0.9", NULL, "gzip 200");
        CHOOSES(response, "identity, gzip;q=0.9", NULL, "identity 200");
        CHOOSES(response, "gzip, identity;q=0", NULL, "gzip 200");
        CHOOSES(response, "*", NULL, "zstd 200");
        CHOOSES(response, "*;q=0", NULL, "406");
        CHOOSES(response, "br, identity;q=0", NULL, "406");
        bundle_response_unref(response);
}

Test(response, who_holds_an_acceptable_variant_is_told_that_this_one_is_still_good)
{
        struct bundle_response *response = response_of_abc();
        static const char plain[] = "\"" SHA_OF_ABC "\"", gzip[] = "\"" SHA_OF_ABC "-gzip\"";

        add(response, CODING_GZIP, "gg");
        add(response, CODING_ZSTD, "z");
        CHOOSES(response, "gzip", gzip, "gzip 304");
        CHOOSES(response, "gzip, zstd", gzip, "gzip 304"); /* though zstd would be sent */
        CHOOSES(response, "gzip, zstd", plain, "identity 304");
        CHOOSES(response, NULL, plain, "identity 304");
        CHOOSES(response, NULL, gzip, "identity 200"); /* it cannot read that any more */
        CHOOSES(response, "gzip, identity;q=0", plain, "gzip 200");
        CHOOSES(response, "gzip", "*", "gzip 304");
        CHOOSES(response, "br, identity;q=0", "*", "406");
        bundle_response_unref(response);
}

Test(response, if_none_match_is_compared_as_rfc_9110_says)
{
        struct bundle_response *response = response_of_abc();
        static const char *const same[] = {
                "\"" SHA_OF_ABC "\"",
                "W/\"" SHA_OF_ABC "\"",
                "\"x\", \"" SHA_OF_ABC "\"",
                "\"a,b\",W/\"y\" ,, \"" SHA_OF_ABC "\" ",
                "*",
                " * ",
        };
        static const char *const other[] = {
                "",
                "\"\"",
                "\"x\"",
                SHA_OF_ABC,
                "\"" SHA_OF_ABC,
                "\"x\", *",
                "w/\"" SHA_OF_ABC "\"",
                "\"x, \"" SHA_OF_ABC "\"",
                "\"" SHA_OF_ABC "-gzip\"",
        };

        for (size_t i = 0; i < countof(same); i++)
                CHOOSES(response, NULL, same[i], "identity 304");
        for (size_t i = 0; i < countof(other); i++)
                CHOOSES(response, NULL, other[i], "identity 200");
        bundle_response_unref(response);
}

Test(response, a_variant_must_save_a_tenth_and_what_its_head_costs)
{
        cr_assert(eq(sz, bundle_packed_max(0), 0));
        cr_assert(eq(sz, bundle_packed_max(64), 0));
        cr_assert(eq(sz, bundle_packed_max(65), 1));
        cr_assert(eq(sz, bundle_packed_max(640), 576));
        cr_assert(eq(sz, bundle_packed_max(8192), 7372));
        cr_assert(eq(sz, bundle_packed_max(1000), 900));
        cr_assert(eq(sz, bundle_packed_max(BUNDLE_BODY_MAX), 943718));
}

Test(response, body_lives_as_long_as_a_response_holds_it)
{
        struct bundle_response *response = response_of_abc();
        struct bundle_response *second = bundle_response_ref(response);

        add(response, CODING_GZIP, "gg");
        bundle_response_unref(response);
        cr_assert(eq(int, memcmp(second->body->data, "abc", 3), 0));
        cr_assert(eq(int, memcmp(second->variants[CODING_GZIP]->body->data, "gg", 2), 0));
        bundle_response_unref(second);
}
