/* base/zstd.c -- libzstd's streaming compressor. The size is told beforehand: it stands in the
 * frame, so that a client can make room once, and libzstd takes no larger tables than it needs. */
#include "base/zstd.h"

#include <stdlib.h>

#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL 3 /* a window of at most 2 MiB; 9 works in lumps of 50 ms, for 10 % less */

struct zstd {
        ZSTD_CCtx *context;
        ZSTD_inBuffer in; /* `size` is how far the steps have come */
        size_t len;       /* of the input */
        ZSTD_outBuffer out;
        unsigned char bytes[];
};

enum err zstd_create(const void *bytes, size_t len, size_t limit, struct zstd **ret_zstd)
{
        struct zstd *zstd = calloc(1, sizeof(*zstd) + limit);

        if (zstd == NULL)
                return ERR_NOMEM;
        zstd->context = ZSTD_createCCtx();
        if (zstd->context == NULL) {
                free(zstd);
                return ERR_NOMEM;
        }
        zstd->in.src = bytes;
        zstd->len = len;
        zstd->out.dst = zstd->bytes;
        zstd->out.size = limit;
        check(!ZSTD_isError(ZSTD_CCtx_setParameter(zstd->context, ZSTD_c_compressionLevel, LEVEL)));
        check(!ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(zstd->context, len)));
        *ret_zstd = zstd;
        return OK;
}

void zstd_destroy(struct zstd *zstd)
{
        if (zstd == NULL)
                return;
        ZSTD_freeCCtx(zstd->context);
        free(zstd);
}

enum err zstd_step(struct zstd *zstd, size_t step, bool *ret_done)
{
        size_t left = zstd->len - zstd->in.size, result;
        bool is_last = step >= left;

        zstd->in.size += is_last ? left : step;
        result = ZSTD_compressStream2(zstd->context, &zstd->out, &zstd->in,
                                      is_last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(result)) {
                /* Whatever else it may say would be a mistake of ours. */
                check(ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ||
                      ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall);
                return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? ERR_NOMEM
                                                                                 : ERR_TOO_LARGE;
        }
        /* It keeps back what does not fit: no room left is the end of it. */
        if (is_last ? result != 0 : zstd->in.pos < zstd->in.size)
                return ERR_TOO_LARGE;
        *ret_done = is_last;
        return OK;
}

const void *zstd_result(const struct zstd *zstd, size_t *ret_len)
{
        *ret_len = zstd->out.pos;
        return zstd->bytes;
}
