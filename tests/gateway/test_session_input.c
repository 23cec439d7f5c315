/* What a device may send, and what comes of it: over real sockets, through a whole worker. */
#include "tests/gateway/client.h"

Test(input, a_ping_is_answered_with_its_payload)
{
        struct worker *worker = test_worker_at(1);
        int fd = client_join(worker, "");
        struct client_frame frame;

        client_send_frame(fd, WS_PING, "abc", 3);
        frame = client_read_frame(fd);
        cr_assert(eq(uint, frame.opcode, WS_PONG));
        cr_assert(eq(str, frame.payload, "abc"));
        free(frame.payload);
        close(fd);
        worker_destroy(worker);
}

Test(input, the_node_pings_and_stays_with_who_answers)
{
        struct worker_options options = test_worker_options();
        struct client_frame frame;
        struct worker *worker;
        int fd;

        options.ping_ms = 100;
        worker = test_worker_start(&options);
        test_install(worker, 1);
        fd = client_join(worker, "");
        for (int i = 0; i < 3; i++) {
                frame = client_read_frame(fd);
                cr_assert(eq(uint, frame.opcode, WS_PING));
                cr_assert(zero(sz, frame.len));
                free(frame.payload);
                client_send_frame(fd, WS_PONG, "", 0);
        }
        close(fd);
        worker_destroy(worker);
}

Test(input, time_is_answered_and_an_ack_is_taken_in_silence)
{
        struct worker *worker = test_worker_at(3);
        int fd = client_join(worker, "");
        struct message message;

        client_send_text(fd, "{\"t\":\"ack\",\"seq\":3}");
        client_send_text(fd, "{\"t\":\"of-a-later-version\",\"x\":1}");
        client_send_text(fd, "{\"t\":\"time\",\"t0\":123}");
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_TIME));
        cr_assert(eq(i64, message.time.t0, 123));
        cr_assert(message.time.has_t1);
        message_fini(&message);
        close(fd);
        worker_destroy(worker);
}

Test(input, a_message_byte_by_byte_is_the_same_message)
{
        struct worker *worker = test_worker_at(3);
        static const uint8_t mask[4] = { 9, 8, 7, 6 };
        static const char text[] = "{\"t\":\"time\",\"t0\":123}";
        int fd = client_join(worker, "");
        uint8_t frame[64];
        size_t len = ws_client_frame(frame, WS_TEXT, text, strlen(text), mask);
        struct message message;

        for (size_t i = 0; i < len; i++)
                client_send(fd, frame + i, 1);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(i64, message.time.t0, 123));
        message_fini(&message);
        client_send(fd, frame, len);
        message = client_read_message(fd, ENCODING_JSON);
        message_fini(&message);
        close(fd);
        worker_destroy(worker);
}

Test(input, frames_sent_along_with_the_request_are_read_after_it)
{
        struct worker *worker = test_worker_at(3);
        static const uint8_t mask[4] = { 9, 8, 7, 6 };
        char bytes[2048] =
            "GET /v1/connect?device=a HTTP/1.1\r\nHost: n\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY
            "\r\n\r\n";
        static const char text[] = "{\"t\":\"time\",\"t0\":123}";
        size_t len = strlen(bytes);
        struct message message;
        int fd = client_connect(worker);
        char head[1024];

        len += ws_client_frame((uint8_t *)bytes + len, WS_TEXT, text, strlen(text), mask);
        len += ws_client_frame((uint8_t *)bytes + len, WS_TEXT, text, strlen(text), mask);
        client_send(fd, bytes, len - 5); /* the last frame comes in two pieces */
        client_read_head(fd, head, sizeof(head));
        for (int i = 0; i < 3; i++) {
                message = client_read_message(fd, ENCODING_JSON);
                cr_assert(eq(int, message.type,
                             i == 0   ? MESSAGE_HELLO
                             : i == 1 ? MESSAGE_RESET
                                      : MESSAGE_TIME));
                message_fini(&message);
        }
        client_send(fd, bytes + len - 5, 5);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_TIME));
        close(fd);
        worker_destroy(worker);
}

Test(input, what_breaks_the_rules_is_closed_with_the_code_that_says_which)
{
        static const struct {
                const char *bytes;
                size_t len;
                unsigned code;
        } table[] = {
                { "\x81\x02{}", 4, 1002 },                          /* not masked */
                { "\xc1\x80\0\0\0\0", 6, 1002 },                    /* RSV1 */
                { "\x83\x80\0\0\0\0", 6, 1002 },                    /* unknown opcode */
                { "\x89\xfe\0\x7e\0\0\0\0", 8, 1002 },              /* long ping */
                { "\x80\x80\0\0\0\0", 6, 1002 },                    /* continues nothing */
                { "\x82\x81\0\0\0\0x", 7, 1003 },                   /* binary in JSON */
                { "\x81\x81\0\0\0\0\xff", 7, 1007 },                /* not UTF-8 */
                { "\x81\x82\0\0\0\0{]", 8, 1007 },                  /* not JSON */
                { "\x81\x8d\0\0\0\0{\"t\":\"hello\"}", 19, 1007 },  /* a node's word */
                { "\x81\xfe\x10\x01\0\0\0\0", 8, 1009 },            /* 4097 bytes */
                { "\x81\xff\0\0\0\x01\0\0\0\0\0\0\0\0", 14, 1009 }, /* 4 GiB */
                { "GET / HTTP/1.1\r\n\r\n", 18, 1002 },
        };
        struct worker *worker = test_worker_at(1);

        for (size_t i = 0; i < countof(table); i++) {
                int fd = client_join(worker, "");

                client_send(fd, table[i].bytes, table[i].len);
                client_expect_close(fd, table[i].code);
                close(fd);
        }
        cr_assert(test_wait_devices(worker, 0));
        worker_destroy(worker);
}

Test(input, the_largest_message_is_read)
{
        struct worker *worker = test_worker_at(1);
        int fd = client_join(worker, "");
        char text[MESSAGE_FROM_DEVICE_MAX + 1];
        struct message message;
        size_t len;

        len = (size_t)sprintf(text, "{\"t\":\"time\",\"t0\":5,\"x\":\"");
        memset(text + len, 'x', sizeof(text) - len);
        memcpy(text + MESSAGE_FROM_DEVICE_MAX - 2, "\"}", 2);
        client_send_frame(fd, WS_TEXT, text, MESSAGE_FROM_DEVICE_MAX);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(i64, message.time.t0, 5));
        close(fd);
        worker_destroy(worker);
}

Test(input, too_many_messages_end_the_session)
{
        struct worker *worker = test_worker_at(1);
        int fd = client_join(worker, "");

        for (int i = 0; i < 200; i++) {
                static const uint8_t ack[] = { 0x81, 0x80 | 19, 0, 0, 0, 0 };
                char bytes[32];

                memcpy(bytes, ack, 6);
                memcpy(bytes + 6, "{\"t\":\"ack\",\"seq\":1}", 19);
                if (send(fd, bytes, 25, MSG_NOSIGNAL) < 0)
                        break;
        }
        client_expect_close(fd, 1008);
        close(fd);
        worker_destroy(worker);
}

Test(input, a_close_is_answered_with_its_code_then_the_socket_ends)
{
        struct worker *worker = test_worker_at(1);
        int fd = client_join(worker, "");

        client_send_frame(fd, WS_CLOSE, "\x03\xe8", 2);
        client_expect_close(fd, 1000);
        close(fd);
        fd = client_join(worker, "");
        client_send_frame(fd, WS_CLOSE, "", 0);
        {
                struct client_frame frame = client_read_frame(fd);

                cr_assert(eq(uint, frame.opcode, WS_CLOSE));
                cr_assert(zero(sz, frame.len));
                free(frame.payload);
                cr_assert(client_sees_end(fd));
        }
        close(fd);
        cr_assert(test_wait_devices(worker, 0));
        worker_destroy(worker);
}
