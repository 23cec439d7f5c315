#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "proto/token.h"

static const char good[] = "00000000000000ff.41.0123456789abcdef";

static enum err parse(const char *text, struct token *ret_token)
{
        return token_parse(text, strlen(text), ret_token);
}

Test(token, text_says_epoch_seq_and_tag)
{
        struct token token = { .epoch = 0xff, .seq = 41, .tag = 0x0123456789abcdefu };
        char text[TOKEN_TEXT_MAX + 1];

        cr_assert(eq(sz, token_format(&token, text), strlen(good)));
        cr_assert(eq(str, text, (char *)good));
}

Test(token, comes_back_from_its_text)
{
        const seqno seqs[] = { 0, 1, 9, 10, 41, 999999, SEQNO_MAX - 1, SEQNO_MAX };

        for (size_t i = 0; i < countof(seqs); i++) {
                struct token token = { .epoch = UINT64_MAX - i, .seq = seqs[i], .tag = i };
                struct token back;
                char text[TOKEN_TEXT_MAX + 1];
                size_t len = token_format(&token, text);

                cr_assert(eq(sz, len, strlen(text)));
                cr_assert(le(sz, len, TOKEN_TEXT_MAX));
                cr_assert(eq(int, token_parse(text, len, &back), OK), "%s", text);
                cr_assert(token_equal(&token, &back));
        }
}

Test(token, refuses_leading_zeros)
{
        struct token token = { .seq = 7 };

        cr_assert(eq(int, parse("00000000000000ff.041.0123456789abcdef", &token), ERR_INVALID));
        cr_assert(eq(int, parse("00000000000000ff.00.0123456789abcdef", &token), ERR_INVALID));
        cr_assert(eq(u64, token.seq, 7), "the output was touched");
}

Test(token, refuses_every_text_that_is_not_exactly_one)
{
        const char *bad[] = {
                "",
                ".",
                "..",
                "00000000000000ff..0123456789abcdef",
                "00000000000000ff.41",
                "00000000000000ff.41.",
                "00000000000000FF.41.0123456789abcdef",
                "00000000000000ff.41.0123456789abcdeF",
                "00000000000000ff.41.0123456789abcde",
                "00000000000000ff.41.0123456789abcdef0",
                "0000000000000ff.41.0123456789abcdef",
                "00000000000000ff.-1.0123456789abcdef",
                "00000000000000ff.+1.0123456789abcdef",
                "00000000000000ff.0x1.0123456789abcdef",
                "00000000000000ff. 1.0123456789abcdef",
                "00000000000000ff.4.1.0123456789abcdef",
                "00000000000000ff-41-0123456789abcdef",
                "00000000000000ff.9007199254740992.0123456789abcdef",
                "00000000000000ff.18446744073709551616.0123456789abcdef",
                "0000000000000000.41.0123456789abcdef",
                " 00000000000000ff.41.0123456789abcdef",
                "00000000000000ff.41.0123456789abcdef\n",
        };
        struct token token;

        for (size_t i = 0; i < countof(bad); i++)
                cr_assert(eq(int, parse(bad[i], &token), ERR_INVALID), "%s", bad[i]);
}

Test(token, has_one_text_whatever_is_cut_or_changed)
{
        struct token token;
        char text[sizeof(good)], again[TOKEN_TEXT_MAX + 1];

        for (size_t len = 0; len < strlen(good); len++)
                cr_assert(eq(int, token_parse(good, len, &token), ERR_INVALID));
        for (size_t at = 0; at < strlen(good); at++) {
                for (int c = 0; c < 256; c++) {
                        memcpy(text, good, sizeof(good));
                        text[at] = (char)c;
                        if (token_parse(text, strlen(good), &token) != OK)
                                continue;
                        token_format(&token, again);
                        cr_assert(eq(int, memcmp(text, again, sizeof(good)), 0), "%s", text);
                }
        }
}

Test(token, differs_in_each_part)
{
        struct token a = { 1, 2, 3 }, epoch = { 9, 2, 3 }, seq = { 1, 9, 3 }, tag = { 1, 2, 9 };

        cr_assert(token_equal(&a, &a));
        cr_assert(not(token_equal(&a, &epoch)));
        cr_assert(not(token_equal(&a, &seq)));
        cr_assert(not(token_equal(&a, &tag)));
}

Test(token, hex_stands_alone_too)
{
        char text[17];
        uint64_t value = 0;

        token_hex(0xfedcba9876543210u, text);
        cr_assert(eq(str, text, "fedcba9876543210"));
        cr_assert(eq(int, token_parse_hex(text, 16, &value), OK));
        cr_assert(eq(u64, value, 0xfedcba9876543210u));
        cr_assert(eq(int, token_parse_hex(text, 15, &value), ERR_INVALID));
        cr_assert(eq(int, token_parse_hex("fedcba987654321G", 16, &value), ERR_INVALID));
}

Test(token, the_first_16_bits_of_an_epoch_are_its_generation)
{
        const struct {
                uint64_t epoch;
                unsigned generation;
        } table[] = {
                { 0, 0 },
                { 0x0000ffffffffffff, 0 },
                { 0x0001000000000000, 1 },
                { 0x0001ffffffffffff, 1 },
                { 0xffff000000000001, TOKEN_GENERATION_MAX },
                { UINT64_MAX, TOKEN_GENERATION_MAX },
        };

        for (size_t i = 0; i < countof(table); i++)
                cr_assert(eq(uint, token_generation(table[i].epoch), table[i].generation),
                          "row %zu", i);
}
