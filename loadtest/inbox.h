/* loadtest/inbox.h -- bytes of thousands of sockets into messages, cheaply: a signal's frame is the
 * same for every device of an encoding, so it is compared with the last one that was decoded before
 * anything is decoded anew; and a WebSocket reader with its buffer is lent only to a socket that is
 * in the middle of a frame. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "proto/ws.h"

struct inbox;
struct inbox_partial; /* a reader lent to one socket; NULL between frames */

enum inbox_status {
        INBOX_MORE,    /* all bytes used, nothing complete */
        INBOX_MESSAGE, /* event.message */
        INBOX_PING,    /* event.payload, event.len */
        INBOX_CLOSE,   /* event.close_code */
        INBOX_SKIPPED, /* a pong, or a message type this version does not know */
        INBOX_BROKEN   /* not what a node may send */
};

struct inbox_event { /* valid until the next inbox_read */
        const struct message *message;
        const uint8_t *payload;
        size_t len;
        uint16_t close_code;
};

struct inbox *inbox_create(void); /* NULL: no memory */
void inbox_destroy(struct inbox *inbox);
/* Up to one event from `bytes` of a socket, whose place between two calls is *partial. Of `len`
 * bytes *ret_used were taken. */
enum inbox_status inbox_read(struct inbox *inbox, struct inbox_partial **partial,
                             enum encoding encoding, const uint8_t *bytes, size_t len,
                             size_t *ret_used, struct inbox_event *ret_event);
/* The socket is gone: take the reader back. NULL is fine. */
void inbox_drop(struct inbox *inbox, struct inbox_partial *partial);
/* How many messages were decoded, as against known by their bytes: for tests. */
uint64_t inbox_decoded(const struct inbox *inbox);
