/* base/gzip.c -- zlib's deflate with a gzip frame. The window is no larger than the bytes need:
 * zlib clears its tables for each stream, which costs more than packing a small body. Unpacking, the
 * other end chose the window, so it is the largest. */
#include "base/gzip.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#include <zlib.h>

#define LEVEL      6  /* 9 takes three times as long for 5 % less, at a megabyte */
#define MEM_LEVEL  8  /* zlib's default */
#define GZIP_FRAME 16 /* added to the window bits: gzip head and CRC, not zlib's */
#define WINDOW_MIN 9
#define WINDOW_MAX 15

#define UNPACK_STEP 4096

struct gzip {
        z_stream stream;
        size_t len; /* of the input */
        size_t limit;
        unsigned char out[];
};

/* Every distance in `len` bytes fits; 9 is asked for as 10, since zlib takes 8 for 9 and 9 is slow.
 */
static int window_bits(size_t len)
{
        int bits = WINDOW_MIN + 1;

        while (bits < WINDOW_MAX && ((size_t)1 << bits) < len)
                bits++;
        return bits;
}

enum err gzip_create(const void *bytes, size_t len, size_t limit, struct gzip **ret_gzip)
{
        struct gzip *gzip;

        check(len <= UINT_MAX && limit <= UINT_MAX); /* zlib counts in unsigned */
        gzip = calloc(1, sizeof(*gzip) + limit);
        if (gzip == NULL)
                return ERR_NOMEM;
        gzip->len = len;
        gzip->limit = limit;
        gzip->stream.next_in = (unsigned char *)(uintptr_t)bytes; /* zlib does not write there */
        gzip->stream.next_out = gzip->out;
        gzip->stream.avail_out = (unsigned)limit;
        if (deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, window_bits(len) + GZIP_FRAME, MEM_LEVEL,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
                free(gzip);
                return ERR_NOMEM;
        }
        *ret_gzip = gzip;
        return OK;
}

void gzip_destroy(struct gzip *gzip)
{
        if (gzip == NULL)
                return;
        (void)deflateEnd(&gzip->stream); /* complains of a stream that was given up */
        free(gzip);
}

enum err gzip_step(struct gzip *gzip, size_t step, bool *ret_done)
{
        size_t left = gzip->len - gzip->stream.total_in;
        bool is_last = step >= left;
        int result;

        gzip->stream.avail_in = (unsigned)(is_last ? left : step);
        result = deflate(&gzip->stream, is_last ? Z_FINISH : Z_NO_FLUSH);
        if (result == Z_STREAM_END) {
                *ret_done = true;
                return OK;
        }
        check(result == Z_OK || result == Z_BUF_ERROR);
        /* All of the input is taken unless there is no room for what comes out. */
        if (is_last || gzip->stream.avail_in > 0)
                return ERR_TOO_LARGE;
        *ret_done = false;
        return OK;
}

const void *gzip_result(const struct gzip *gzip, size_t *ret_len)
{
        *ret_len = gzip->stream.total_out;
        return gzip->out;
}

/* One piece more than `limit` is unpacked at most, on the stack. */
static enum err unpack(z_stream *stream, size_t limit, struct buf *out)
{
        unsigned char piece[UNPACK_STEP];
        size_t left = limit;
        int result;

        do {
                size_t got;

                stream->next_out = piece;
                stream->avail_out = sizeof(piece);
                result = inflate(stream, Z_NO_FLUSH);
                if (result == Z_MEM_ERROR)
                        return ERR_NOMEM;
                if (result != Z_OK && result != Z_STREAM_END)
                        return ERR_INVALID; /* Z_BUF_ERROR: it ends too early */
                got = sizeof(piece) - stream->avail_out;
                if (got > left)
                        return ERR_TOO_LARGE;
                left -= got;
                buf_add(out, piece, got);
        } while (result != Z_STREAM_END);
        if (stream->avail_in > 0)
                return ERR_INVALID;
        return out->failed ? ERR_NOMEM : OK;
}

enum err gzip_unpack(const void *bytes, size_t len, size_t limit, struct buf *out)
{
        z_stream stream = { .next_in = (unsigned char *)(uintptr_t)bytes,
                            .avail_in = (unsigned)len };
        enum err err;

        check(len <= UINT_MAX);
        if (inflateInit2(&stream, WINDOW_MAX + GZIP_FRAME) != Z_OK)
                return ERR_NOMEM;
        err = unpack(&stream, limit, out);
        (void)inflateEnd(&stream);
        return err;
}
