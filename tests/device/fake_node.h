/* tests/device/fake_node.h -- a node with exactly the manners a test gives it: one connection at a
 * time, no thread; the test pumps it between the service calls of the SDK. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/message.h"
#include "proto/ws.h"

struct fake_node {
        int listener, fd; /* fd: -1 = nobody connected */
        uint16_t port;
        const char *refusal; /* the whole answer instead of 101; NULL = let in */
        bool upgraded;
        unsigned connects;
        char head[4096]; /* of the last request */
        size_t head_len;
        enum encoding encoding;
        struct ws_reader reader;
        uint8_t buffer[WS_BUFFER_SIZE(MESSAGE_FROM_DEVICE_MAX)];
        /* what came from the device on this connection */
        unsigned pongs, acks, times;
        struct ack ack;
        struct time_sync time;
        uint16_t close_code; /* 0 = no close frame yet */
        bool eof;
};

static inline void fake_node_open(struct fake_node *node, enum encoding encoding)
{
        struct sockaddr_in at = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(at);

        memset(node, 0, sizeof(*node));
        node->fd = -1;
        node->encoding = encoding;
        node->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        check(node->listener >= 0);
        check(bind(node->listener, (struct sockaddr *)&at, sizeof(at)) == 0);
        check(listen(node->listener, 8) == 0);
        check(getsockname(node->listener, (struct sockaddr *)&at, &len) == 0);
        node->port = ntohs(at.sin_port);
}

static inline void fake_node_hang_up(struct fake_node *node)
{
        if (node->fd >= 0)
                close(node->fd);
        node->fd = -1;
}

static inline void fake_node_close(struct fake_node *node)
{
        fake_node_hang_up(node);
        close(node->listener);
}

static inline void fake_node_bytes(struct fake_node *node, const void *bytes, size_t len)
{
        check(send(node->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

static inline void fake_node_frame(struct fake_node *node, enum ws_opcode opcode,
                                   const void *payload, size_t len)
{
        uint8_t header[WS_HEADER_MAX];

        fake_node_bytes(node, header, ws_header(header, opcode, len));
        fake_node_bytes(node, payload, len);
}

static inline void fake_node_say(struct fake_node *node, const struct message *message)
{
        struct buf payload = BUF_INIT;

        message_encode(message, node->encoding, &payload);
        check(!payload.failed);
        fake_node_frame(node, node->encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY, payload.data,
                        payload.len);
        buf_fini(&payload);
}

static inline void fake_node_goodbye(struct fake_node *node, enum close_reason reason)
{
        uint8_t frame[2 + WS_CONTROL_MAX];

        fake_node_bytes(node, frame, ws_close_frame(frame, reason));
}

static inline void fake_node_answer_head(struct fake_node *node)
{
        char *key = strcasestr(node->head, "sec-websocket-key: ");
        char accept[29], answer[512];

        if (node->refusal != NULL) {
                fake_node_bytes(node, node->refusal, strlen(node->refusal));
                fake_node_hang_up(node);
                return;
        }
        check(key != NULL);
        ws_accept_key(key + strlen("sec-websocket-key: "), accept);
        snprintf(answer, sizeof(answer),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                 accept, encoding_subprotocol[node->encoding]);
        fake_node_bytes(node, answer, strlen(answer));
        node->upgraded = true;
        ws_reader_init(&node->reader, WS_SERVER, node->buffer, MESSAGE_FROM_DEVICE_MAX);
}

static inline void fake_node_note(struct fake_node *node, const struct ws_event *event)
{
        struct message message;

        if (event->opcode == WS_PONG)
                node->pongs++;
        else if (event->opcode == WS_CLOSE)
                node->close_code = event->close_code;
        else {
                check(message_decode(event->payload, event->len, node->encoding, &message) == OK);
                if (message.type == MESSAGE_ACK) {
                        node->acks++;
                        node->ack = message.ack;
                } else {
                        check(message.type == MESSAGE_TIME);
                        node->times++;
                        node->time = message.time;
                }
        }
}

static inline void fake_node_read(struct fake_node *node, const uint8_t *bytes, size_t len)
{
        while (len > 0) {
                struct ws_event event;
                size_t used = 0;
                enum ws_status status = ws_read(&node->reader, bytes, len, &used, &event);

                check(status != WS_BROKEN); /* a second opinion on the frames we send */
                if (status == WS_MESSAGE || status == WS_CONTROL)
                        fake_node_note(node, &event);
                bytes += used;
                len -= used;
        }
}

static inline void fake_node_pump(struct fake_node *node)
{
        uint8_t bytes[4096];
        ssize_t len;

        if (node->fd < 0) {
                node->fd = accept4(node->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (node->fd < 0)
                        return;
                node->connects++;
                node->upgraded = node->eof = false;
                node->head_len = node->pongs = node->acks = node->times = node->close_code = 0;
        }
        len = recv(node->fd, bytes, sizeof(bytes), 0);
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (len <= 0) {
                node->eof = true;
                fake_node_hang_up(node);
        } else if (node->upgraded) {
                fake_node_read(node, bytes, (size_t)len);
        } else {
                check(node->head_len + (size_t)len < sizeof(node->head));
                memcpy(node->head + node->head_len, bytes, (size_t)len);
                node->head_len += (size_t)len;
                node->head[node->head_len] = '\0';
                if (strstr(node->head, "\r\n\r\n") != NULL)
                        fake_node_answer_head(node);
        }
}
