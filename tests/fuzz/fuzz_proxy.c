/* Any bytes as a PROXY header: read whole and byte by byte, with the same verdict, which never
 * changes once it is not MORE; never MORE beyond the longest header there is. */
#include <string.h>

#include "base/check.h"
#include "proto/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
        struct proxy_header whole = { .family = PROXY_NO_ADDRESS }, piece = whole;
        size_t used = 0, used_piece = 0;
        enum proxy_status status = proxy_parse(input, len, &whole, &used);
        enum proxy_status pieces = PROXY_MORE;

        for (size_t n = 0; n <= len && pieces == PROXY_MORE; n++)
                pieces = proxy_parse(input, n, &piece, &used_piece);
        check(status == pieces);
        if (status == PROXY_MORE)
                check(len < PROXY_MAX);
        if (status != PROXY_DONE) {
                check(used == 0 && used_piece == 0);
                return 0;
        }
        check(used == used_piece && used <= len && used <= PROXY_MAX);
        check(whole.family == piece.family && whole.source_port == piece.source_port);
        check(memcmp(whole.source, piece.source, sizeof(whole.source)) == 0);
        check(whole.family != PROXY_NO_ADDRESS || whole.source_port == 0);
        if (input[0] == 'P')
                check(used <= PROXY_V1_MAX && memcmp(input + used - 2, "\r\n", 2) == 0);
        return 0;
}
