/* loadtest/inbox.c -- see inbox.h. Two frames are remembered for each encoding, the last signal and
 * the last reset: what a broadcast and a storm of connections repeat. */
#include "loadtest/inbox.h"

#include <stdlib.h>
#include <string.h>

enum known_kind { KNOWN_SIGNAL, KNOWN_RESET, KNOWN_KINDS };

struct known {
        uint8_t *frame; /* NULL = none */
        size_t len;
        struct message message;
};

struct inbox_partial {
        struct inbox_partial *next; /* while not lent */
        struct ws_reader reader;
        uint8_t buffer[WS_BUFFER_SIZE(
            MESSAGE_FROM_NODE_MAX)]; /* pages are touched as they are needed */
};

struct inbox {
        struct known known[ENCODINGS][KNOWN_KINDS];
        struct inbox_partial *idle; /* readers not lent; the first one also serves whole frames */
        struct message scratch;     /* last decoded, when not remembered */
        bool has_scratch;
        uint64_t decoded;
};

struct inbox *inbox_create(void)
{
        return calloc(1, sizeof(struct inbox));
}

static void forget(struct known *known)
{
        if (known->frame == NULL)
                return;
        free(known->frame);
        known->frame = NULL;
        message_fini(&known->message);
}

static void drop_scratch(struct inbox *inbox)
{
        if (inbox->has_scratch)
                message_fini(&inbox->scratch);
        inbox->has_scratch = false;
}

void inbox_destroy(struct inbox *inbox)
{
        struct inbox_partial *partial, *next;

        if (inbox == NULL)
                return;
        for (unsigned e = 0; e < ENCODINGS; e++)
                for (unsigned k = 0; k < KNOWN_KINDS; k++)
                        forget(&inbox->known[e][k]);
        drop_scratch(inbox);
        for (partial = inbox->idle; partial != NULL; partial = next) {
                next = partial->next;
                free(partial);
        }
        free(inbox);
}

static struct inbox_partial *lend(struct inbox *inbox)
{
        struct inbox_partial *partial = inbox->idle;

        if (partial != NULL)
                inbox->idle = partial->next;
        else
                partial = malloc(sizeof(*partial));
        if (partial != NULL)
                ws_reader_init(&partial->reader, WS_CLIENT, partial->buffer, MESSAGE_FROM_NODE_MAX);
        return partial;
}

void inbox_drop(struct inbox *inbox, struct inbox_partial *partial)
{
        if (partial == NULL)
                return;
        partial->next = inbox->idle;
        inbox->idle = partial;
}

static const struct message *find_known(const struct inbox *inbox, enum encoding encoding,
                                        const uint8_t *bytes, size_t len, size_t *ret_used)
{
        for (unsigned k = 0; k < KNOWN_KINDS; k++) {
                const struct known *known = &inbox->known[encoding][k];

                if (known->frame != NULL && len >= known->len &&
                    memcmp(bytes, known->frame, known->len) == 0) {
                        *ret_used = known->len;
                        return &known->message;
                }
        }
        return NULL;
}

/* Takes over inbox->scratch if it is worth remembering; returns where the message is now. */
static const struct message *remember(struct inbox *inbox, enum encoding encoding,
                                      const uint8_t *frame, size_t len)
{
        const struct message *message = &inbox->scratch;
        struct known *known;
        uint8_t *copy;

        if (message->type != MESSAGE_SIGNAL && message->type != MESSAGE_RESET)
                return message;
        copy = malloc(len);
        if (copy == NULL)
                return message;
        memcpy(copy, frame, len);
        known =
            &inbox->known[encoding][message->type == MESSAGE_SIGNAL ? KNOWN_SIGNAL : KNOWN_RESET];
        forget(known);
        known->frame = copy;
        known->len = len;
        known->message = *message;
        inbox->has_scratch = false;
        return &known->message;
}

/* `whole`: the frame was `frame_len` bytes at `frame`, all of them; NULL if it came in pieces. */
static enum inbox_status on_message(struct inbox *inbox, enum encoding encoding,
                                    const struct ws_event *event, const uint8_t *whole,
                                    size_t frame_len, struct inbox_event *ret_event)
{
        enum ws_opcode wanted = encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY;
        enum err err;

        if (event->opcode != wanted)
                return INBOX_BROKEN;
        err = message_decode(event->payload, event->len, encoding, &inbox->scratch);
        inbox->decoded++;
        if (err == ERR_NOT_FOUND)
                return INBOX_SKIPPED;
        if (err != OK)
                return INBOX_BROKEN;
        inbox->has_scratch = true;
        ret_event->message =
            whole != NULL ? remember(inbox, encoding, whole, frame_len) : &inbox->scratch;
        return INBOX_MESSAGE;
}

static enum inbox_status on_control(const struct ws_event *event, struct inbox_event *ret_event)
{
        ret_event->payload = event->payload;
        ret_event->len = event->len;
        ret_event->close_code = event->close_code;
        return event->opcode == WS_PING    ? INBOX_PING
               : event->opcode == WS_CLOSE ? INBOX_CLOSE
                                           : INBOX_SKIPPED;
}

enum inbox_status inbox_read(struct inbox *inbox, struct inbox_partial **partial,
                             enum encoding encoding, const uint8_t *bytes, size_t len,
                             size_t *ret_used, struct inbox_event *ret_event)
{
        struct inbox_partial *reader = *partial;
        bool began_idle = reader == NULL;
        enum inbox_status status = INBOX_MORE;
        struct ws_event event;

        drop_scratch(inbox);
        if (began_idle) {
                ret_event->message = find_known(inbox, encoding, bytes, len, ret_used);
                if (ret_event->message != NULL)
                        return INBOX_MESSAGE;
                reader = lend(inbox);
                if (reader == NULL)
                        return INBOX_BROKEN;
        }
        switch (ws_read(&reader->reader, bytes, len, ret_used, &event)) {
        case WS_MORE:
                break;
        case WS_MESSAGE:
                status = on_message(inbox, encoding, &event, began_idle ? bytes : NULL, *ret_used,
                                    ret_event);
                break;
        case WS_CONTROL:
                status = on_control(&event, ret_event);
                break;
        case WS_BROKEN:
                status = INBOX_BROKEN;
                break;
        }
        /* An idle reader holds nothing of this socket; what the event points to is not written to
         * before the next call. */
        if (ws_reader_is_idle(&reader->reader)) {
                inbox_drop(inbox, reader);
                *partial = NULL;
        } else {
                *partial = reader;
        }
        return status;
}

uint64_t inbox_decoded(const struct inbox *inbox)
{
        return inbox->decoded;
}
