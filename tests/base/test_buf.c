/* The growable buffer, its fixed twin, and numbers as text. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/buf.h"
#include "base/rng.h"

Test(buf, ends_with_a_nul_after_every_append)
{
        struct buf buf = BUF_INIT;
        char expected[4096] = "";
        size_t len = 0;

        for (unsigned i = 0; len + 64 < sizeof(expected); i++) {
                switch (i % 4) {
                case 0:
                        buf_str(&buf, "word");
                        len += (size_t)sprintf(expected + len, "word");
                        break;
                case 1:
                        buf_char(&buf, '/');
                        len += (size_t)sprintf(expected + len, "/");
                        break;
                case 2:
                        buf_u64(&buf, i);
                        len += (size_t)sprintf(expected + len, "%u", i);
                        break;
                case 3:
                        buf_printf(&buf, "<%0*u>", (int)(i % 40), i);
                        len += (size_t)sprintf(expected + len, "<%0*u>", (int)(i % 40), i);
                        break;
                }
                cr_assert(eq(sz, buf.len, len));
                cr_assert(eq(chr, buf.data[len], '\0'));
        }
        cr_assert(eq(str, buf.data, expected));
        buf_fini(&buf);
        cr_assert(eq(ptr, buf.data, NULL));
        buf_str(&buf, "again");
        cr_assert(eq(str, buf.data, "again"));
        buf_fini(&buf);
}

Test(buf, keeps_every_byte_value)
{
        struct buf buf = BUF_INIT;
        unsigned char all[256];

        for (unsigned i = 0; i < 256; i++)
                all[i] = (unsigned char)i;
        for (unsigned i = 0; i < 20; i++)
                buf_add(&buf, all, sizeof(all));
        cr_assert(eq(sz, buf.len, 20 * 256));
        for (unsigned i = 0; i < 20; i++)
                cr_assert(memcmp(buf.data + i * 256, all, 256) == 0);
        buf_fini(&buf);
}

Test(buf, writes_numbers_as_printf_does)
{
        struct rng rng;
        char expected[32];

        rng_seed(&rng, 1);
        for (unsigned i = 0; i < 20000; i++) {
                struct buf buf = BUF_INIT;
                uint64_t value = i == 0   ? 0
                                 : i == 1 ? UINT64_MAX
                                 : i == 2 ? (uint64_t)INT64_MIN
                                 : i == 3 ? INT64_MAX
                                          : rng_u64(&rng) >> (i % 64);

                snprintf(expected, sizeof(expected), "%" PRIu64, value);
                buf_u64(&buf, value);
                cr_assert(eq(str, buf.data, expected));
                buf_clear(&buf);
                snprintf(expected, sizeof(expected), "%" PRId64, (int64_t)value);
                buf_i64(&buf, (int64_t)value);
                cr_assert(eq(str, buf.data, expected));
                buf_fini(&buf);
        }
}

Test(buf, printf_grows_exactly_as_needed_at_every_length)
{
        for (int len = 0; len < 600; len++) {
                struct buf buf = BUF_INIT;

                buf_char(&buf, '.');
                buf_printf(&buf, "%*s", len, "");
                cr_assert(eq(sz, buf.len, (size_t)len + 1));
                cr_assert(eq(sz, strlen(buf.data), (size_t)len + 1));
                buf_fini(&buf);
        }
}

Test(buf, fixed_array_takes_all_but_the_nul_and_not_one_byte_more)
{
        char array[9];
        struct buf buf;

        memset(array, '#', sizeof(array));
        buf_init_fixed(&buf, array, 8);
        buf_add(&buf, "1234567", 7);
        cr_assert(not(buf.failed));
        cr_assert(eq(str, array, "1234567"));
        buf_char(&buf, '8');
        cr_assert(buf.failed);
        cr_assert(eq(str, array, "1234567"));
        cr_assert(eq(chr, array[8], '#'));

        buf_clear(&buf);
        cr_assert(not(buf.failed));
        buf_printf(&buf, "%d", 12345678);
        cr_assert(buf.failed, "printf that does not fit fails as well");
        cr_assert(eq(sz, buf.len, 0));
        cr_assert(eq(chr, array[8], '#'));
        buf_str(&buf, "x");
        cr_assert(eq(sz, buf.len, 0), "a failed buffer takes nothing more");

        buf_fini(&buf);
        buf_str(&buf, "usable");
        cr_assert(eq(str, array, "usable"));
}

Test(buf, fixed_array_of_no_bytes_fails_softly)
{
        struct buf buf;

        buf_init_fixed(&buf, NULL, 0);
        buf_clear(&buf);
        buf_str(&buf, "");
        cr_assert(buf.failed);
}

Test(buf, an_impossible_length_is_remembered_as_failure)
{
        struct buf buf = BUF_INIT;

        buf_str(&buf, "kept");
        buf_add(&buf, "", SIZE_MAX);
        cr_assert(buf.failed);
        buf_str(&buf, "ignored");
        cr_assert(eq(str, buf.data, "kept"));
        cr_assert(eq(ptr, buf_take(&buf), NULL));
        cr_assert(not(buf.failed), "taking leaves it empty and usable");
        buf_fini(&buf);
}

Test(buf, take_hands_the_bytes_over)
{
        struct buf buf = BUF_INIT;
        char *text;

        buf_str(&buf, "mine");
        text = buf_take(&buf);
        cr_assert(eq(str, text, "mine"));
        cr_assert(eq(ptr, buf.data, NULL));
        free(text);
        text = buf_take(&buf);
        cr_assert(eq(str, text, ""), "an empty buffer is an empty text, not a failure");
        free(text);
}

Test(buf, taking_the_callers_array_is_our_bug, .signal = SIGABRT)
{
        char array[8];
        struct buf buf;

        buf_init_fixed(&buf, array, sizeof(array));
        buf_take(&buf);
}
