/* tests/proto/decode.h -- for tests that decode bytes they wrote themselves. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "proto/message.h"

/* Decodes a copy on the heap, so that ASan sees its end. */
static inline enum err decode(const void *bytes, size_t len, enum encoding encoding,
                              struct message *ret)
{
        void *copy = malloc(len > 0 ? len : 1);
        enum err err;

        memcpy(copy, bytes, len);
        err = message_decode(copy, len, encoding, ret);
        free(copy);
        return err;
}
