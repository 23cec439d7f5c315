/* fanout/frame.h -- an encoded message in the form in which a session's bytes go out: a whole WebSocket
 * frame, unmasked, or a block of an event stream. */
#pragma once

#include "base/blob.h"
#include "base/buf.h"
#include "proto/message.h"
#include "proto/token.h"

enum wire { /* the first ones are the encodings' numbers */
        WIRE_JSON = ENCODING_JSON,
        WIRE_MSGPACK = ENCODING_MSGPACK,
        WIRE_STREAM = ENCODINGS, /* Server-Sent Events: JSON */
        WIRES
};

static inline enum encoding wire_encoding(enum wire wire)
{
        return wire == WIRE_STREAM ? ENCODING_JSON : (enum encoding)wire;
}

/* What frame_add adds to a payload, at most. */
#define FRAME_AROUND_MAX 80

/* Appends. `place` is where the message moves the device, NULL if it does not: an event stream says it in a
 * field of its own, for browsers to remember; in a WebSocket it is in the message alone. */
void frame_add(struct buf *out, enum wire wire, const struct buf *payload, const struct token *place);
/* The same as shared bytes. NULL = no memory, then or while the payload was made. */
struct blob *frame_create(enum wire wire, const struct buf *payload, const struct token *place);
