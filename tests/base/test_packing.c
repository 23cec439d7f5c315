/* tests/base/test_packing.c -- gzip and zstd: what is packed step by step is what the libraries
 * unpack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/gzip.h"
#include "base/rng.h"
#include "base/zstd.h"

#define LARGE (1024u * 1024u)

static char *text_of(size_t len) /* like JSON: it repeats itself, but not soon */
{
        char *text = malloc(len + 64);
        struct rng rng;
        size_t n = 0;

        rng_seed(&rng, 7);
        while (n < len)
                n += (size_t)sprintf(text + n, "{\"id\":\"title-%u\",\"row\":%u},",
                                     (unsigned)rng_below(&rng, 100000),
                                     (unsigned)rng_below(&rng, 40));
        return text;
}

static char *noise_of(size_t len)
{
        char *noise = malloc(len + 8);
        struct rng rng;

        rng_seed(&rng, 8);
        for (size_t i = 0; i < len; i += 8) {
                uint64_t value = rng_u64(&rng);

                memcpy(noise + i, &value, 8);
        }
        return noise;
}

static enum err gzip_all(struct gzip *gzip, size_t step, unsigned *ret_steps)
{
        enum err err = OK;
        bool done = false;

        for (*ret_steps = 0; err == OK && !done; ++*ret_steps)
                err = gzip_step(gzip, step, &done);
        return err;
}

static enum err zstd_all(struct zstd *zstd, size_t step, unsigned *ret_steps)
{
        enum err err = OK;
        bool done = false;

        for (*ret_steps = 0; err == OK && !done; ++*ret_steps)
                err = zstd_step(zstd, step, &done);
        return err;
}

static void unpack_gzip(const void *packed, size_t len, const char *wanted, size_t wanted_len)
{
        char *out = malloc(wanted_len + 1);
        z_stream stream = { .next_in = (unsigned char *)(uintptr_t)packed,
                            .avail_in = (unsigned)len,
                            .next_out = (unsigned char *)out,
                            .avail_out = (unsigned)wanted_len + 1 };

        cr_assert(eq(int, inflateInit2(&stream, 15 + 16), Z_OK)); /* a gzip frame, nothing else */
        cr_assert(eq(int, inflate(&stream, Z_FINISH), Z_STREAM_END));
        cr_assert(eq(ulong, stream.total_out, wanted_len));
        cr_assert(eq(uint, stream.avail_in, 0));
        cr_assert(eq(int, memcmp(out, wanted, wanted_len), 0));
        inflateEnd(&stream);
        free(out);
}

static const size_t lengths[] = { 0, 1, 511, 512, 513, 8192, 65537, LARGE };

Test(gzip, what_was_packed_in_steps_unpacks_to_the_same_bytes)
{
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                size_t len = lengths[i], packed_len;
                char *text = text_of(len);
                struct gzip *gzip;
                unsigned steps;

                cr_assert(eq(int, gzip_create(text, len, len + 64, &gzip), OK));
                cr_assert(eq(int, gzip_all(gzip, 4096, &steps), OK), "%zu", len);
                cr_assert(eq(uint, steps, len == 0 ? 1 : (unsigned)((len + 4095) / 4096)));
                {
                        const void *packed = gzip_result(gzip, &packed_len);

                        unpack_gzip(packed, packed_len, text, len);
                }
                if (len >= 8192)
                        cr_assert(lt(sz, packed_len, len / 2));
                gzip_destroy(gzip);
                free(text);
        }
}

Test(zstd, what_was_packed_in_steps_unpacks_to_the_same_bytes)
{
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                size_t len = lengths[i], packed_len;
                char *text = text_of(len), *out = malloc(len + 1);
                const void *packed;
                struct zstd *zstd;
                unsigned steps;

                cr_assert(eq(int, zstd_create(text, len, len + 64, &zstd), OK));
                cr_assert(eq(int, zstd_all(zstd, 4096, &steps), OK), "%zu", len);
                cr_assert(eq(uint, steps, len == 0 ? 1 : (unsigned)((len + 4095) / 4096)));
                packed = zstd_result(zstd, &packed_len);
                cr_assert(eq(sz, ZSTD_getFrameContentSize(packed, packed_len), len));
                cr_assert(eq(sz, ZSTD_decompress(out, len + 1, packed, packed_len), len));
                cr_assert(eq(int, memcmp(out, text, len), 0));
                if (len >= 8192)
                        cr_assert(lt(sz, packed_len, len / 2));
                zstd_destroy(zstd);
                free(text);
                free(out);
        }
}

Test(gzip, gives_up_when_the_result_would_be_larger_than_it_may_be)
{
        char *noise = noise_of(LARGE), *text = text_of(8192);
        struct gzip *gzip;
        unsigned steps;

        cr_assert(eq(int, gzip_create(noise, LARGE, LARGE / 2, &gzip), OK));
        cr_assert(eq(int, gzip_all(gzip, 16384, &steps), ERR_TOO_LARGE));
        cr_assert(lt(uint, steps, 45)); /* of 64: as soon as it is seen */
        gzip_destroy(gzip);
        cr_assert(eq(int, gzip_create(text, 8192, 100, &gzip), OK));
        cr_assert(eq(int, gzip_all(gzip, 1 << 20, &steps), ERR_TOO_LARGE));
        gzip_destroy(gzip);
        cr_assert(eq(int, gzip_create(text, 8192, 0, &gzip), OK));
        cr_assert(eq(int, gzip_all(gzip, 1 << 20, &steps), ERR_TOO_LARGE));
        gzip_destroy(gzip);
        free(noise);
        free(text);
}

Test(zstd, gives_up_when_the_result_would_be_larger_than_it_may_be)
{
        char *noise = noise_of(LARGE), *text = text_of(8192);
        struct zstd *zstd;
        unsigned steps;

        cr_assert(eq(int, zstd_create(noise, LARGE, LARGE / 2, &zstd), OK));
        cr_assert(eq(int, zstd_all(zstd, 16384, &steps), ERR_TOO_LARGE));
        cr_assert(lt(uint, steps, 64));
        zstd_destroy(zstd);
        cr_assert(eq(int, zstd_create(text, 8192, 100, &zstd), OK));
        cr_assert(eq(int, zstd_all(zstd, 1 << 20, &steps), ERR_TOO_LARGE));
        zstd_destroy(zstd);
        cr_assert(eq(int, zstd_create(text, 8192, 0, &zstd), OK));
        cr_assert(eq(int, zstd_all(zstd, 1 << 20, &steps), ERR_TOO_LARGE));
        zstd_destroy(zstd);
        free(noise);
        free(text);
}

/* One gzip member of `len` bytes, in `packed`. */
static size_t pack(const void *bytes, size_t len, unsigned char *packed, size_t limit)
{
        struct gzip *gzip;
        const void *result;
        unsigned steps;
        size_t packed_len;

        cr_assert(eq(int, gzip_create(bytes, len, limit, &gzip), OK));
        cr_assert(eq(int, gzip_all(gzip, len + 1, &steps), OK));
        result = gzip_result(gzip, &packed_len);
        memcpy(packed, result, packed_len);
        gzip_destroy(gzip);
        return packed_len;
}

Test(gzip, unpacks_what_it_has_packed)
{
        static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, LARGE };
        static unsigned char packed[LARGE];

        for (size_t i = 0; i < countof(sizes); i++) {
                char *text = text_of(sizes[i]);
                size_t len = pack(text, sizes[i], packed, sizeof(packed));
                struct buf out = BUF_INIT;

                cr_assert(eq(int, gzip_unpack(packed, len, sizes[i], &out), OK), "%zu", sizes[i]);
                cr_assert(eq(sz, out.len, sizes[i]));
                cr_assert(out.len == 0 || memcmp(out.data, text, out.len) == 0);
                buf_fini(&out);
                free(text);
        }
}

Test(gzip, unpacks_no_more_than_the_limit_whatever_is_in_it)
{
        static unsigned char packed[65536];
        char *zeros = calloc(1, 8 * LARGE);
        size_t len = pack(zeros, 8 * LARGE, packed, sizeof(packed));
        struct buf out = BUF_INIT;

        cr_assert(eq(int, gzip_unpack(packed, len, 8 * LARGE - 1, &out), ERR_TOO_LARGE));
        buf_fini(&out);
        cr_assert(eq(int, gzip_unpack(packed, len, LARGE, &out), ERR_TOO_LARGE));
        cr_assert(le(sz, out.len, LARGE), "a bomb costs no more than the limit");
        buf_fini(&out);
        free(zeros);
}

Test(gzip, unpacks_nothing_that_is_cut_broken_or_followed_by_something)
{
        static unsigned char packed[65536];
        char *text = text_of(2000);
        size_t len = pack(text, 2000, packed, sizeof(packed) - 1);
        struct buf out = BUF_INIT;

        for (size_t cut = 0; cut < len; cut++) {
                cr_assert(eq(int, gzip_unpack(packed, cut, LARGE, &out), ERR_INVALID), "%zu", cut);
                buf_clear(&out);
        }
        cr_assert(eq(int, gzip_unpack(packed, len + 1, LARGE, &out), ERR_INVALID));
        buf_clear(&out);
        packed[len - 5] ^= 1; /* of the check sum */
        cr_assert(eq(int, gzip_unpack(packed, len, LARGE, &out), ERR_INVALID));
        buf_clear(&out);
        cr_assert(eq(int, gzip_unpack(text, 2000, LARGE, &out), ERR_INVALID));
        buf_fini(&out);
        free(text);
}
