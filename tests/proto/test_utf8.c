#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/check.h"
#include "proto/utf8.h"

/* The definition, spelled out code point by code point: what the checker must agree with. */
static size_t encode(uint32_t point, uint8_t out[4])
{
        if (point < 0x80) {
                out[0] = (uint8_t)point;
                return 1;
        }
        if (point < 0x800) {
                out[0] = (uint8_t)(0xC0 | point >> 6);
                out[1] = (uint8_t)(0x80 | (point & 0x3F));
                return 2;
        }
        if (point < 0x10000) {
                out[0] = (uint8_t)(0xE0 | point >> 12);
                out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
                out[2] = (uint8_t)(0x80 | (point & 0x3F));
                return 3;
        }
        out[0] = (uint8_t)(0xF0 | point >> 18);
        out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
        out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        out[3] = (uint8_t)(0x80 | (point & 0x3F));
        return 4;
}

Test(utf8, takes_every_code_point_but_surrogates_and_none_above)
{
        for (uint32_t point = 0; point < 0x1FFFFF; point++) {
                uint8_t bytes[4];
                size_t len = encode(point, bytes);
                bool expected = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);

                if (utf8_is_valid(bytes, len) != expected)
                        cr_fatal("U+%X", point);
        }
}

Test(utf8, refuses_overlong_forms_and_stray_bytes)
{
        static const char *const bad[] = {
                "\xC0\x80",     "\xC1\xBF",
                "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                "\x80",         "\xBF",
                "\xFE",         "\xFF",
                "\xF8\x88\x80", "a\xC3",
                "\xC3(",        "\xE2\x82",
                "\xF5\x80\x80", "\xF4\x90\x80\x80",
                "\xED\xA0\x80", "abcdefgh\xC3xxxxxxxx",
        };

        for (size_t i = 0; i < countof(bad); i++)
                cr_assert(not(utf8_is_valid(bad[i], strlen(bad[i]))), "row %zu", i);
}

Test(utf8, says_the_same_wherever_the_text_is_cut)
{
        const char *text = "12345678 Grüße, 日本語, \U0001F3C6 and then some more ASCII";
        size_t len = strlen(text);

        cr_assert(utf8_is_valid(text, len));
        for (size_t cut = 0; cut <= len; cut++) {
                uint32_t state = UTF8_START;

                cr_assert(utf8_feed(&state, text, cut));
                cr_assert(utf8_feed(&state, text + cut, len - cut));
                cr_assert(eq(u32, state, UTF8_START));
        }
}

Test(utf8, refuses_at_the_first_byte_that_gives_it_away)
{
        static const struct {
                const char *bytes;
                size_t good; /* how many may still be followed by a valid rest */
        } rows[] = {
                { "\xC0", 0 },     { "\xE0\x9F", 1 }, { "\xED\xA0", 1 },  { "\xF0\x8F", 1 },
                { "\xF4\x90", 1 }, { "\xF5", 0 },     { "\xE2\x82(", 2 }, { "a\x80", 1 },
        };

        for (size_t i = 0; i < countof(rows); i++) {
                uint32_t state = UTF8_START;

                cr_assert(utf8_feed(&state, rows[i].bytes, rows[i].good), "row %zu", i);
                cr_assert(not(utf8_feed(&state, rows[i].bytes + rows[i].good, 1)), "row %zu", i);
        }
}

Test(utf8, takes_nothing_at_all)
{
        cr_assert(utf8_is_valid("", 0));
        cr_assert(utf8_is_valid(NULL, 0));
}
