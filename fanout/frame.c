/* fanout/frame.c -- see the header. */
#include "fanout/frame.h"

#include "proto/sse.h"
#include "proto/ws.h"

_Static_assert(SSE_AROUND_MAX - 18 <= FRAME_AROUND_MAX && WS_HEADER_MAX <= FRAME_AROUND_MAX,
               "an id and the lines' names; a header");

void frame_add(struct buf *out, enum wire wire, const struct buf *payload,
               const struct token *place)
{
        static const enum ws_opcode opcode_for[ENCODINGS] = {
                [ENCODING_JSON] = WS_TEXT, [ENCODING_MSGPACK] = WS_BINARY
        };
        uint8_t header[WS_HEADER_MAX];

        if (wire == WIRE_STREAM) {
                sse_block(out, place, payload->data, payload->len);
                return;
        }
        buf_add(out, header, ws_header(header, opcode_for[wire], payload->len));
        buf_add(out, payload->data, payload->len);
}

struct blob *frame_create(enum wire wire, const struct buf *payload, const struct token *place)
{
        struct buf frame = BUF_INIT;
        struct blob *blob = NULL;

        if (payload->failed)
                return NULL;
        frame_add(&frame, wire, payload, place);
        if (!frame.failed)
                blob = blob_create(frame.data, frame.len);
        buf_fini(&frame);
        return blob;
}
