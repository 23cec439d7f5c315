/* gateway/message_limit.h -- how often one device may be sent messages of its own: 3 in 2 seconds,
 * then one every two thirds of a second, as Zuul Push has it. A session pays nothing for it: a
 * worker has one small table of those that were sent something lately. When many are, the row that
 * is free soonest is given to another device, and the first may then be sent a little more than its
 * due. Pure.
 *
 * Generic cell rate algorithm (ITU-T I.371, virtual scheduling): a row is a hash and the time at
 * which its next message would be due at the sustained rate. */
#pragma once

#include <stdint.h>

#define MESSAGE_LIMIT_BURST   3
#define MESSAGE_LIMIT_SPAN_MS 2000
#define MESSAGE_LIMIT_ROWS    1024
#define MESSAGE_LIMIT_WAYS    4

struct message_limit { /* 16 KiB; zero-filled it is ready */
        struct message_limit_row {
                uint64_t due_ms; /* monotonic; 0 = never used */
                uint32_t hash;
        } rows[MESSAGE_LIMIT_ROWS];
};

/* 0: send it, and it is counted. Else ms after which it may be sent; nothing is counted then. */
uint32_t message_limit_take(struct message_limit *limit, uint32_t hash, uint64_t now_ms);
