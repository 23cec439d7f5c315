/* fanout/frame.c -- see the header. */
#include "fanout/frame.h"

#include "proto/ws.h"

static const enum ws_opcode opcode_for[ENCODINGS] = {
        [ENCODING_JSON] = WS_TEXT, [ENCODING_MSGPACK] = WS_BINARY
};

struct blob *frame_create(enum encoding encoding, const struct buf *payload)
{
        uint8_t header[WS_HEADER_MAX];
        struct buf frame = BUF_INIT;
        struct blob *blob = NULL;

        if (payload->failed)
                return NULL;
        buf_add(&frame, header, ws_header(header, opcode_for[encoding], payload->len));
        buf_add(&frame, payload->data, payload->len);
        if (!frame.failed)
                blob = blob_create(frame.data, frame.len);
        buf_fini(&frame);
        return blob;
}
