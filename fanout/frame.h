/* fanout/frame.h -- an encoded message as the whole WebSocket frame that goes out, unmasked. For
 * the files of fanout/ alone. */
#pragma once

#include "base/blob.h"
#include "base/buf.h"
#include "proto/message.h"

/* `payload` is borrowed. NULL = no memory, then or while the payload was made. */
struct blob *frame_create(enum encoding encoding, const struct buf *payload);
