/* tests/prefetch/test_coding.c -- Accept-Encoding, as RFC 9110 12.5.3 reads it. */
#include "prefetch/coding.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"

static struct coding_wishes read_text(const char *text)
{
        struct coding_wishes wishes;

        coding_read((struct slice){ text, text != NULL ? strlen(text) : 0 }, &wishes);
        return wishes;
}

/* The acceptable codings, the most wanted first. */
static const char *order_of(const char *text)
{
        static const char letter[CODINGS] = { 'i', 'z', 'g' };
        static char out[CODINGS + 1];
        struct coding_wishes wishes = read_text(text);
        unsigned n = 0;

        for (;;) {
                int best = -1;

                for (int i = 0; i < CODINGS; i++)
                        if (wishes.weight[i] > 0 &&
                            (best < 0 || wishes.weight[i] > wishes.weight[best]))
                                best = i;
                if (best < 0)
                        break;
                out[n++] = letter[best];
                wishes.weight[best] = 0;
        }
        out[n] = '\0';
        return out;
}

Test(coding, what_is_wanted_is_read_as_rfc_9110_says)
{
        static const struct {
                const char *text, *order;
        } rows[] = {
                { NULL, "i" },
                { "", "i" },
                { " , ,", "i" },
                { "gzip", "gi" },
                { "GZip", "gi" },
                { "x-gzip", "gi" },
                { "deflate, br", "i" },
                { "gzip;q=0.5, zstd;q=0.4", "gzi" },
                { "gzip ; q=0.001", "gi" },
                { "gzip;q=0", "i" },
                { "gzip;q=0.000", "i" },
                { "gzip;q=1.000,zstd;Q=0.999", "gzi" },
                { "identity, gzip;q=0.5", "ig" },
                { "identity;q=0.5, gzip", "gi" },
                { "identity;q=0", "" },
                { "gzip, identity;q=0", "g" },
                { "*;q=0", "" },
                { "*;q=0, gzip", "g" },
                { "*;q=0, identity", "i" },
                { "*;q=0.1, gzip;q=0.2, identity;q=0", "gz" },
                { "gzip;q=0, *", "iz" },
                /* What makes no sense is as if it were not there. */
                { "gzip;q=2", "i" },
                { "gzip;q=1.001", "i" },
                { "gzip;q=0.0001", "i" },
                { "gzip;q=", "i" },
                { "gzip;q=.5", "i" },
                { "gzip;q=-1", "i" },
                { "gzip;level=9", "i" },
                { ";q=1", "i" },
                { "gzip;q=2, zstd", "zi" },
                { "gzipzstd", "i" },
        };

        for (size_t i = 0; i < countof(rows); i++)
                cr_expect(eq(str, (char *)order_of(rows[i].text), (char *)rows[i].order), "%s",
                          rows[i].text != NULL ? rows[i].text : "(absent)");
}

Test(coding, equal_weights_are_equal_and_an_unnamed_identity_is_below_the_least)
{
        struct coding_wishes wishes = read_text("gzip, zstd, identity");

        cr_assert(eq(uint, wishes.weight[CODING_GZIP], wishes.weight[CODING_ZSTD]));
        cr_assert(eq(uint, wishes.weight[CODING_GZIP], wishes.weight[CODING_IDENTITY]));
        wishes = read_text("*");
        cr_assert(eq(uint, wishes.weight[CODING_GZIP], wishes.weight[CODING_IDENTITY]));
        wishes = read_text("gzip;q=0.001");
        cr_assert(gt(uint, wishes.weight[CODING_GZIP], wishes.weight[CODING_IDENTITY]));
        cr_assert(gt(uint, wishes.weight[CODING_IDENTITY], 0));
}
