/* What sse.h promises: blocks that any reader of the HTML standard takes as they were meant. */
#include "proto/sse.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <string.h>

static const struct token token = { .epoch = 0x11, .seq = 7, .tag = 0xab };

Test(sse, a_block_says_the_place_before_the_data_and_ends_with_an_empty_line)
{
        struct buf out = BUF_INIT;

        sse_block(&out, &token, "{}", 2);
        cr_assert(eq(str, out.data, "id: 0000000000000011.7.00000000000000ab\ndata: {}\n\n"));
        buf_clear(&out);
        sse_block(&out, NULL, "{}", 2);
        cr_assert(eq(str, out.data, "data: {}\n\n"));
        buf_clear(&out);
        sse_retry(&out, 4711);
        sse_block(&out, &token, NULL, 0); /* no data: no message, but a place */
        cr_assert(eq(str, out.data, "retry: 4711\nid: 0000000000000011.7.00000000000000ab\n\n"));
        buf_fini(&out);
}

Test(sse, a_ping_is_a_comment_and_nothing_else)
{
        cr_assert(eq(str, SSE_PING, ":\n\n"));
        cr_assert(eq(sz, strlen(SSE_PING), SSE_PING_LEN));
}

Test(sse, nothing_takes_more_room_than_is_said)
{
        const struct token longest = { UINT64_MAX, SEQNO_MAX, UINT64_MAX };
        struct buf out = BUF_INIT;

        sse_retry(&out, UINT32_MAX);
        cr_assert(eq(sz, out.len, 18));
        sse_block(&out, &longest, "{}", 2);
        cr_assert(le(sz, out.len - 2, SSE_AROUND_MAX));
        buf_fini(&out);
}

Test(sse, a_line_end_in_the_payload_would_be_our_bug, .signal = SIGABRT)
{
        struct buf out = BUF_INIT;

        sse_block(&out, NULL, "{\n}", 3);
}
