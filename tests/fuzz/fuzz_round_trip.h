/* tests/fuzz/fuzz_round_trip.h -- what both message fuzzers demand: whatever decodes can be encoded
 * in either encoding, and comes back equal from both. */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "proto/message.h"

static bool round_trip_same(const struct message *a, const struct message *b)
{
        struct message x = *a, y = *b;

        if (a->type == MESSAGE_RESET && b->type == MESSAGE_RESET) {
                if (a->reset.n != b->reset.n)
                        return false;
                if (a->reset.n > 0 && memcmp(a->reset.events, b->reset.events,
                                             a->reset.n * sizeof(*a->reset.events)) != 0)
                        return false;
                x.reset.events = y.reset.events = NULL;
        }
        return memcmp(&x, &y, sizeof(x)) == 0;
}

static void round_trip(const uint8_t *bytes, size_t len, enum encoding encoding)
{
        struct message message, again;
        enum err err = message_decode(bytes, len, encoding, &message);

        if (err != OK) {
                check(err == ERR_INVALID || err == ERR_NOT_FOUND);
                return;
        }
        for (enum encoding other = 0; other < ENCODINGS; other++) {
                struct buf out = BUF_INIT;

                message_encode(&message, other, &out);
                check(!out.failed);
                check(message_decode(out.data, out.len, other, &again) == OK);
                check(round_trip_same(&message, &again));
                message_fini(&again);
                buf_fini(&out);
        }
        message_fini(&message);
}
