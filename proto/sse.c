/* proto/sse.c -- see the header. */
#include "proto/sse.h"

#include <string.h>

#include "base/check.h"

void sse_retry(struct buf *out, uint32_t ms)
{
        buf_str(out, "retry: ");
        buf_u64(out, ms);
        buf_char(out, '\n');
}

void sse_block(struct buf *out, const struct token *place, const void *payload, size_t len)
{
        if (place != NULL) {
                char text[TOKEN_TEXT_MAX + 1];
                size_t text_len = token_format(place, text);

                buf_str(out, "id: ");
                buf_add(out, text, text_len);
                buf_char(out, '\n');
        }
        if (len > 0) {
                /* Either would end the line, and what follows it would be read as a field. */
                check(memchr(payload, '\n', len) == NULL && memchr(payload, '\r', len) == NULL);
                buf_str(out, "data: ");
                buf_add(out, payload, len);
                buf_char(out, '\n');
        }
        buf_char(out, '\n');
}
