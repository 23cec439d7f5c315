/* What worker.h promises to devices, over real sockets. */
#include "tests/gateway/client.h"

#include <pthread.h>
#include <sys/resource.h>

#include "gateway/drain.h"

/* --- joining --------------------------------------------------------------------------------- */

Test(worker, before_the_first_install_devices_are_sent_elsewhere)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);
        int fd = client_connect(worker);
        char head[1024], body[1024];

        client_upgrade(fd, "", "");
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 503));
        cr_assert(strstr(head, "\r\nRetry-After: ") != NULL);
        cr_assert(client_sees_end(fd));
        close(fd);
        worker_destroy(worker);
}

Test(worker, a_new_device_gets_101_hello_and_the_state)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;
        int fd;
        struct message message;
        char head[1024];

        options.ping_ms = 50000;
        worker = test_worker_start(&options);
        test_install(worker, 7);
        fd = client_connect(worker);
        client_upgrade(fd, "", "Sec-WebSocket-Protocol: kickoff.v1.json\r\n");
        client_read_head(fd, head, sizeof(head));
        cr_assert(
            eq(str, head,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
               "Sec-WebSocket-Protocol: kickoff.v1.json\r\n\r\n"));
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_HELLO));
        cr_assert(eq(str, message.hello.node, "n1"));
        cr_assert(eq(sz, strlen(message.hello.session), 16));
        cr_assert(eq(u64, message.hello.token.seq, 7));
        cr_assert(eq(u32, message.hello.ping_s, 50));
        cr_assert(eq(u32, message.hello.lifetime_s, 1800));
        cr_assert(eq(u32, message.hello.ack_spread_ms, 2000));
        cr_assert(not(message.hello.recovered));
        cr_assert(eq(int, message.hello.reason, RESET_NEW));
        message_fini(&message);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_RESET));
        cr_assert(eq(int, message.reset.reason, RESET_NEW));
        cr_assert(eq(u64, message.reset.token.seq, 7));
        cr_assert(eq(sz, message.reset.n, 1));
        cr_assert(eq(str, message.reset.events[0].event, "derby"));
        message_fini(&message);
        cr_assert(test_wait_devices(worker, 1));
        close(fd);
        cr_assert(test_wait_devices(worker, 0));
        worker_destroy(worker);
}

Test(worker, a_token_resumes_with_what_was_missed_and_nothing_else)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);
        struct token since = log_token(EPOCH, 0, 3);
        char query[128] = "&since=";
        int fd;

        options.ring_capacity = 64;
        test_install_with(worker, 0, 40, 0);
        token_format(&since, query + 7);
        fd = client_join(worker, query);
        for (seqno seq = 4; seq <= 40; seq++)
                client_expect_signal(fd, ENCODING_JSON, seq);
        test_entry(worker, 41);
        client_expect_signal(fd, ENCODING_JSON, 41);
        close(fd);
        worker_destroy(worker);
}

Test(worker, a_long_replay_comes_whole_and_in_order_also_when_it_is_read_late)
{
        struct worker_options options = test_worker_options();
        struct token since = log_token(EPOCH, 0, 0);
        char query[128] = "&since=", head[1024], body[1024];
        struct message message;
        struct worker *worker;
        int fd, other;

        options.ring_capacity = 4096;
        worker = test_worker_start(&options);
        test_install_with(worker, 0, 3000, 0);
        token_format(&since, query + 7);
        fd = client_connect_with(worker, 2048);
        client_upgrade(fd, query, "");
        other = client_connect(worker);
        for (int i = 0; i < 200; i++) { /* turns of the loop, in which the socket fills up */
                client_say(other, "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n");
                client_read_response(other, head, sizeof(head), body, sizeof(body));
        }
        client_read_head(fd, head, sizeof(head));
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(message.hello.recovered);
        for (seqno seq = 1; seq <= 3000; seq++)
                client_expect_signal(fd, ENCODING_JSON, seq);
        close(fd);
        close(other);
        worker_destroy(worker);
}

Test(worker, a_state_longer_than_any_buffer_comes_whole)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);
        struct snapshot *snapshot = log_snapshot_of(EPOCH, 0, 5, 1020);
        struct blob *frame = snapshot_frame(snapshot, RESET_NEW, WIRE_JSON);
        int fd = client_connect_with(worker, 2048);
        struct message message;
        char head[1024];
        uint8_t *bytes = malloc(frame->len);

        test_install_snapshot(worker, snapshot, NULL, 0);
        client_upgrade(fd, "", "");
        client_read_head(fd, head, sizeof(head));
        message = client_read_message(fd, ENCODING_JSON);
        message_fini(&message);
        test_entry(worker, 6); /* while the reset is on its way */
        client_read(fd, bytes, frame->len);
        cr_assert(gt(sz, frame->len, 70000));
        cr_assert(zero(int, memcmp(bytes, frame->data, frame->len)));
        client_expect_signal(fd, ENCODING_JSON, 6);
        free(bytes);
        close(fd);
        snapshot_unref(snapshot);
        worker_destroy(worker);
}

Test(worker, ahead_of_the_node_is_told_nothing_until_the_node_has_caught_up)
{
        struct worker *worker = test_worker_at(5);
        struct token since = log_token(EPOCH, 0, 6);
        char query[128] = "&since=", head[1024];
        struct message message;
        int fd = client_connect(worker);

        token_format(&since, query + 7);
        client_upgrade(fd, query, "");
        client_read_head(fd, head, sizeof(head));
        worker_confirmed(
            worker); /* may have been asked for before the device came: proves nothing */
        test_entry(worker, 6);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_HELLO));
        cr_assert(message.hello.recovered);
        cr_assert(eq(u64, message.hello.token.seq, 6));
        test_entry(worker, 7);
        client_expect_signal(fd, ENCODING_JSON, 7);
        close(fd);
        worker_destroy(worker);
}

Test(worker, ahead_of_the_log_is_forked_after_two_confirmations)
{
        struct worker *worker = test_worker_at(5);
        struct token since = log_token(EPOCH, 0, 9);
        char query[128] = "&since=", head[1024];
        struct pollfd readable;
        struct message message;
        int fd = client_connect(worker);

        token_format(&since, query + 7);
        client_upgrade(fd, query, "");
        client_read_head(fd, head, sizeof(head));
        for (uint64_t begin_ms = clock_mono_ms(); clock_mono_ms() < begin_ms + 3;)
                ; /* so that the confirmations are younger than the device, by the clock */
        worker_confirmed(worker);
        readable = (struct pollfd){ .fd = fd, .events = POLLIN };
        cr_assert(zero(int, poll(&readable, 1, 20)));
        worker_confirmed(worker);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_HELLO));
        cr_assert(eq(int, message.hello.reason, RESET_FORKED));
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_RESET));
        cr_assert(eq(u64, message.reset.token.seq, 5));
        message_fini(&message);
        close(fd);
        worker_destroy(worker);
}

Test(worker, a_new_install_resets_whoever_is_on_another_history)
{
        struct worker *worker = test_worker_at(5);
        int fd = client_join(worker, "");
        struct snapshot *snapshot = log_snapshot_of(EPOCH + 1, 0, 2, 0);
        struct message message;

        worker_install(worker, snapshot, NULL, 0);
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_RESET));
        cr_assert(eq(int, message.reset.reason, RESET_UNKNOWN));
        cr_assert(eq(u64, message.reset.token.epoch, EPOCH + 1));
        message_fini(&message);
        snapshot_unref(snapshot);
        close(fd);
        worker_destroy(worker);
}

Test(worker, no_more_devices_than_there_is_room_for)
{
        struct worker_options options = test_worker_options();
        char head[1024], body[1024];
        struct worker *worker;
        int in, out;

        options.max_devices = 1;
        worker = test_worker_start(&options);
        test_install(worker, 1);
        in = client_join(worker, "");
        out = client_connect(worker);
        client_upgrade(out, "", "");
        cr_assert(eq(int, client_read_response(out, head, sizeof(head), body, sizeof(body)), 503));
        cr_assert(strstr(head, "\r\nRetry-After: ") != NULL);
        close(in);
        cr_assert(test_wait_devices(worker, 0));
        close(out);
        in = client_join(worker, "");
        close(in);
        worker_destroy(worker);
}

/* --- the end --------------------------------------------------------------------------------- */

Test(worker, a_drain_says_goodbye_to_all_and_is_over_in_time)
{
        struct worker *worker = test_worker_at(1);
        int fds[600];

        for (size_t i = 0; i < countof(fds); i++)
                fds[i] = client_join(worker, "");
        worker_drain(worker, 1000, 300);
        for (size_t i = 0; i < countof(fds); i++) {
                struct message message = client_read_message(fds[i], ENCODING_JSON);

                cr_assert(eq(int, message.type, MESSAGE_GOAWAY));
                cr_assert(eq(int, message.goaway.reason, GOAWAY_DRAIN));
                cr_assert(le(u32, message.goaway.min_ms, message.goaway.max_ms));
                cr_assert(le(u32, message.goaway.max_ms, DRAIN_SPAN_MIN_MS));
                message_fini(&message);
        }
        test_entry(worker, 2); /* no gap for those that are still here: a signal or a close */
        for (size_t i = 0; i < countof(fds); i++) {
                struct client_frame frame = client_read_frame(fds[i]);

                if (frame.opcode == WS_TEXT) {
                        free(frame.payload);
                        client_expect_close(fds[i], 1012);
                } else {
                        cr_assert(eq(uint, frame.opcode, WS_CLOSE));
                        free(frame.payload);
                }
                close(fds[i]);
        }
        for (int i = 0; i < 10000 && !worker_is_empty(worker); i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        cr_assert(worker_is_empty(worker));
        cr_assert(eq(u64, worker_devices(worker), 0));
        worker_destroy(worker);
}

Test(worker, a_drain_can_be_told_to_make_haste)
{
        struct worker *worker = test_worker_at(1);
        int fds[20];

        for (size_t i = 0; i < countof(fds); i++)
                fds[i] = client_join(worker, "");
        worker_drain(worker, 3600000, 1800000); /* one every 90 s */
        worker_drain(worker, 500, 0);
        for (size_t i = 0; i < countof(fds); i++) {
                struct message message = client_read_message(fds[i], ENCODING_JSON);

                cr_assert(eq(int, message.type, MESSAGE_GOAWAY));
                message_fini(&message);
                if (i % 2 == 0) /* who goes by itself is not waited for */
                        close(fds[i]);
        }
        for (size_t i = 1; i < countof(fds); i += 2) {
                client_expect_close(fds[i], 1012);
                close(fds[i]);
        }
        for (int i = 0; i < 10000 && !worker_is_empty(worker); i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        cr_assert(worker_is_empty(worker));
        worker_destroy(worker);
}

Test(worker, destroy_closes_whatever_state_a_socket_is_in)
{
        struct worker *worker = test_worker_at(1);
        int silent = client_connect(worker), half = client_connect(worker);
        int session = client_join(worker, ""), framed = client_join(worker, "");

        client_say(half, "GET /v1/ev");
        client_send(framed, "\x81\x84\0\0", 4);
        test_entry(worker, 2);
        client_expect_signal(session, ENCODING_JSON, 2);
        worker_destroy(worker);
        close(silent);
        close(half);
        close(session);
        close(framed);
}

Test(worker, out_of_descriptors_it_pauses_and_goes_on_when_there_are_some)
{
        struct worker *worker = test_worker_at(1);
        int first = client_join(worker, ""), fds[64], second;
        struct rlimit limit, old;
        size_t n = 0;

        getrlimit(RLIMIT_NOFILE, &old);
        second = client_connect(worker);
        client_upgrade(second, "", "");
        cr_assert(test_wait_devices(worker, 2));
        /* No descriptor above those in use: what connects now cannot be accepted. */
        fds[n++] = dup(0);
        limit = old;
        limit.rlim_cur =
            (rlim_t)fds[0] + 2; /* one for the client that is about to connect, none after */
        cr_assert(zero(int, setrlimit(RLIMIT_NOFILE, &limit)));
        fds[n] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert(ge(int, fds[n], 0));
        {
                struct sockaddr_in address = { .sin_family = AF_INET,
                                               .sin_port = htons(worker_port(worker)),
                                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
                char byte;

                cr_assert(zero(int, connect(fds[n], (struct sockaddr *)&address, sizeof(address))));
                cr_assert(
                    le(i64, recv(fds[n], &byte, 1, 0), 0)); /* taken by the reserve, and closed */
        }
        test_entry(worker, 2); /* those inside notice nothing */
        client_expect_signal(first, ENCODING_JSON, 2);
        setrlimit(RLIMIT_NOFILE, &old);
        close(fds[0]);
        close(fds[1]);
        close(second);
        second = client_join(worker, "");
        close(second);
        close(first);
        worker_destroy(worker);
}
