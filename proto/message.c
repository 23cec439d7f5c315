/* proto/message.c -- the door to the two encodings: picks one, and keeps the promise that a failed
 * decode leaves nothing behind. What a message is made of is in message_field.c, how it looks on
 * the wire in message_json.c and message_msgpack.c. */
#include "proto/message.h"

#include <stdlib.h>

#include "proto/message_field.h"

static void encode(enum message_type type, const void *body, enum encoding encoding,
                   struct buf *out)
{
        check((unsigned)type < MESSAGE_TYPES);
        if (encoding == ENCODING_JSON)
                message_json_write(type, body, out);
        else
                message_msgpack_write(type, body, out);
}

void message_encode(const struct message *message, enum encoding encoding, struct buf *out)
{
        encode(message->type, message_body(message), encoding, out);
}

void message_encode_signal(const struct signal *signal, enum encoding encoding, struct buf *out)
{
        encode(MESSAGE_SIGNAL, signal, encoding, out);
}

void message_encode_skip(const struct token *token, enum encoding encoding, struct buf *out)
{
        struct skip skip = { .token = *token };

        encode(MESSAGE_SKIP, &skip, encoding, out);
}

void message_encode_reset(enum reset_reason reason, const struct token *token,
                          const struct event_state *events, size_t n, enum encoding encoding,
                          struct buf *out)
{
        /* The cast is safe: nothing that encodes writes to the events. */
        struct reset reset = {
                .reason = reason, .token = *token, .events = (struct event_state *)events, .n = n
        };

        encode(MESSAGE_RESET, &reset, encoding, out);
}

enum err message_decode(const void *bytes, size_t len, enum encoding encoding,
                        struct message *ret_message)
{
        struct message message;
        enum err err;

        if (len == 0 || len > MESSAGE_FROM_NODE_MAX)
                return ERR_INVALID;
        if (encoding == ENCODING_JSON)
                err = message_json_read(bytes, len, &message);
        else
                err = message_msgpack_read(bytes, len, &message);
        if (err != OK) {
                message_fini(&message);
                return err;
        }
        *ret_message = message;
        return OK;
}

void message_fini(struct message *message)
{
        if (message->type != MESSAGE_RESET)
                return;
        free(message->reset.events);
        message->reset.events = NULL;
        message->reset.n = 0;
}
