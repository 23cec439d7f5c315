/* gateway/message_limit.c -- see the header. */
#include "gateway/message_limit.h"

#define EVERY_MS ((MESSAGE_LIMIT_SPAN_MS + MESSAGE_LIMIT_BURST - 1) / MESSAGE_LIMIT_BURST)

uint32_t message_limit_take(struct message_limit *limit, uint32_t hash, uint64_t now_ms)
{
        struct message_limit_row *set =
            &limit->rows[hash % (MESSAGE_LIMIT_ROWS / MESSAGE_LIMIT_WAYS) * MESSAGE_LIMIT_WAYS];
        struct message_limit_row *row = &set[0];
        uint64_t slack_ms = (MESSAGE_LIMIT_BURST - 1) * EVERY_MS;

        for (unsigned i = 0; i < MESSAGE_LIMIT_WAYS; i++) {
                if (set[i].hash == hash && set[i].due_ms != 0) {
                        row = &set[i];
                        break;
                }
                if (set[i].due_ms < row->due_ms)
                        row = &set[i];
        }
        if (row->hash != hash || row->due_ms < now_ms) {
                row->hash = hash;
                row->due_ms = now_ms;
        }
        if (row->due_ms > now_ms + slack_ms)
                return (uint32_t)(row->due_ms - now_ms - slack_ms);
        row->due_ms += EVERY_MS;
        return 0;
}
