/* What a device can rely on while the log grows, over real sockets, and whichever way the frames
 * leave: one send() each, or many at once by io_uring (gateway/sender.h). */
#include "tests/gateway/client.h"

#include "base/metrics.h"
#include "base/rng.h"
#include "gateway/gateway_metrics.h"
#include "tests/gateway/forbid.h"

/* --- both ways ------------------------------------------------------------------------------- */

static bool has_uring(void)
{
        struct sender *sender = NULL;
        const char *why = "";

        if (sender_create(SENDER_URING, &sender, &why) != OK)
                fprintf(stderr, "not tested with io_uring: %s\n", why);
        sender_destroy(sender);
        return sender != NULL;
}

static void both_ways(void (*promise)(struct worker_options options))
{
        struct worker_options options = test_worker_options();

        options.io = SENDER_SEND;
        promise(options);
        options.io = SENDER_URING;
        if (has_uring())
                promise(options);
}

#define BOTH_WAYS(name)                                  \
        static void name(struct worker_options options); \
        Test(broadcast, name)                            \
        {                                                \
                both_ways(name);                         \
        }                                                \
        static void name(struct worker_options options)

static struct worker *worker_at(const struct worker_options *options, seqno head)
{
        struct worker *worker = test_worker_start(options);

        test_install(worker, head);
        return worker;
}

static void join_all(const struct worker *worker, int *fds, size_t n)
{
        for (size_t i = 0; i < n; i++)
                fds[i] = client_join(worker, "");
}

static void close_all(const int *fds, size_t n)
{
        for (size_t i = 0; i < n; i++)
                close(fds[i]);
}

/* --- everybody ------------------------------------------------------------------------------- */

BOTH_WAYS(a_signal_reaches_all_in_their_own_encoding_with_the_same_bytes)
{
        struct worker *worker = worker_at(&options, 1);
        int json[5], packed[5];
        struct entry *entry = log_entry(2);

        for (int i = 0; i < 5; i++) {
                char head[1024];

                json[i] = client_join(worker, "");
                packed[i] = client_connect(worker);
                client_upgrade(packed[i], "", "Sec-WebSocket-Protocol: kickoff.v1.msgpack\r\n");
                client_read_head(packed[i], head, sizeof(head));
                for (int k = 0; k < 2; k++) {
                        struct message message = client_read_message(packed[i], ENCODING_MSGPACK);

                        cr_assert(eq(int, message.type, k == 0 ? MESSAGE_HELLO : MESSAGE_RESET));
                        message_fini(&message);
                }
        }
        test_entry(worker, 2);
        for (int i = 0; i < 5; i++) {
                uint8_t bytes[1024];

                client_read(json[i], bytes, entry->frames[ENCODING_JSON]->len);
                cr_assert(zero(int, memcmp(bytes, entry->frames[ENCODING_JSON]->data,
                                           entry->frames[ENCODING_JSON]->len)));
                client_read(packed[i], bytes, entry->frames[ENCODING_MSGPACK]->len);
                cr_assert(zero(int, memcmp(bytes, entry->frames[ENCODING_MSGPACK]->data,
                                           entry->frames[ENCODING_MSGPACK]->len)));
                close(json[i]);
                close(packed[i]);
        }
        entry_unref(entry);
        worker_destroy(worker);
}

BOTH_WAYS(signals_in_a_burst_reach_everybody_in_order)
{
        struct worker *worker = worker_at(&options, 0);
        static int fds[600]; /* several slices of a broadcast */

        for (size_t i = 0; i < countof(fds); i++)
                fds[i] = client_join(worker, "");
        for (seqno seq = 1; seq <= 5; seq++)
                test_entry(worker, seq);
        for (size_t i = 0; i < countof(fds); i++) {
                for (seqno seq = 1; seq <= 5; seq++)
                        client_expect_signal(fds[i], ENCODING_JSON, seq);
                close(fds[i]);
        }
        worker_destroy(worker);
}

/* Told by the metrics, so that what is tested by io_uring here has gone that way. */
Test(broadcast, a_node_says_which_way_it_sends)
{
        struct worker_options options = test_worker_options();

        for (enum sender_io io = SENDER_AUTO; io <= SENDER_SEND; io++) {
                bool by_uring = io != SENDER_SEND && has_uring();
                struct worker *worker;

                if (io == SENDER_URING && !by_uring)
                        continue;
                options.io = io;
                worker = worker_at(&options, 1); /* it has answered, so its thread runs */
                cr_assert(eq(i64, metric_value(&m_uring), by_uring));
                worker_destroy(worker);
                cr_assert(zero(i64, metric_value(&m_uring)));
        }
}

BOTH_WAYS(what_was_written_is_counted_once_for_each_device_and_signal)
{
        struct worker *worker = worker_at(&options, 0);
        int64_t before = metric_value(&m_signals);
        static int fds[300];

        join_all(worker, fds, countof(fds));
        for (seqno seq = 1; seq <= 5; seq++) {
                test_entry(worker, seq);
                for (size_t i = 0; i < countof(fds); i++)
                        client_expect_signal(fds[i], ENCODING_JSON, seq);
        }
        worker_destroy(worker); /* so that the last slice has been counted */
        cr_assert(eq(i64, metric_value(&m_signals) - before, 5 * (int64_t)countof(fds)));
        close_all(fds, countof(fds));
}

/* Out of memory, or forbidden while it runs: what the kernel did not take goes by send(). */
Test(broadcast, io_uring_that_fails_in_the_middle_skips_and_doubles_nobody)
{
        struct worker_options options = test_worker_options();
        static int fds[600];
        struct worker *worker;

        if (!has_uring())
                return;
        options.io = SENDER_URING;
        worker = worker_at(&options, 0);
        join_all(worker, fds, countof(fds));
        for (seqno seq = 1; seq <= 5; seq++) {
                if (seq == 3)
                        forbid(SYS_io_uring_enter, EPERM);
                test_entry(worker, seq);
                for (size_t i = 0; i < countof(fds); i++)
                        client_expect_signal(fds[i], ENCODING_JSON, seq);
        }
        cr_assert(zero(i64, metric_value(&m_uring)));
        close_all(fds, countof(fds));
        worker_destroy(worker);
}

/* --- coming and going ------------------------------------------------------------------------ */

/* By FIN, or by RST: then a send() that comes too late fails. */
static void leave(int fd, bool hard)
{
        const struct linger linger = { .l_onoff = hard };

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(fd);
}

BOTH_WAYS(nobody_is_missed_when_others_leave_in_the_middle_of_a_broadcast)
{
        struct worker *worker = worker_at(&options, 0);
        static int fds[700];
        size_t n = countof(fds);
        struct rng rng;

        rng_seed(&rng, 1);
        for (size_t i = 0; i < n; i++)
                fds[i] = client_join(worker, "");
        for (seqno seq = 1; seq <= 30; seq++) {
                test_entry(worker, seq);
                for (int gone = 0; gone < 5; gone++) {
                        size_t i = rng_below(&rng, n);

                        leave(fds[i], gone % 2 == 0);
                        fds[i] = fds[--n];
                }
                for (size_t i = 0; i < n; i++)
                        client_expect_signal(fds[i], ENCODING_JSON, seq);
        }
        for (size_t i = 0; i < n; i++)
                close(fds[i]);
        worker_destroy(worker);
}

/* The last of conns[] takes the place of who is lost; that may be behind the walk already. */
BOTH_WAYS(nobody_is_missed_when_half_of_all_have_gone_before_the_walk)
{
        struct worker *worker = worker_at(&options, 0);
        static int fds[700];
        seqno seq = 0;

        for (int round = 0; round < 10; round++) {
                join_all(worker, fds, countof(fds));
                for (size_t i = 0; i < countof(fds); i += 2)
                        leave(fds[i], true);
                test_entries(worker, ++seq, 1); /* races the news of who has gone */
                for (size_t i = 1; i < countof(fds); i += 2)
                        client_expect_signal(fds[i], ENCODING_JSON, seq);
                for (size_t i = 1; i < countof(fds); i += 2)
                        leave(fds[i], false);
                cr_assert(test_wait_devices(worker, 0));
        }
        worker_destroy(worker);
}

/* --- slow readers ---------------------------------------------------------------------------- */

BOTH_WAYS(who_reads_late_gets_every_byte_in_order)
{
        struct worker *worker;
        int fd, others;

        options.ring_capacity = 8192;
        worker = test_worker_start(&options);
        test_install(worker, 0);
        fd = client_connect_with(worker, 2048);
        client_upgrade(fd, "", "");
        others = client_join(worker, "");
        cr_assert(test_wait_devices(worker, 2));
        for (seqno first = 1; first <= 3000; first += 30) { /* far more than the sockets hold */
                test_entries(worker, first,
                             30); /* so the socket fills up in the middle of one send */
                for (seqno seq = first; seq < first + 30; seq++)
                        client_expect_signal(others, ENCODING_JSON, seq);
        }
        {
                char head[1024];
                struct message message;

                client_read_head(fd, head, sizeof(head));
                message = client_read_message(fd, ENCODING_JSON);
                cr_assert(eq(int, message.type, MESSAGE_HELLO));
                message = client_read_message(fd, ENCODING_JSON);
                cr_assert(eq(int, message.type, MESSAGE_RESET));
                message_fini(&message);
        }
        for (seqno seq = 1; seq <= 3000; seq++)
                client_expect_signal(fd, ENCODING_JSON, seq);
        close(fd);
        close(others);
        worker_destroy(worker);
}

/* Feeds the log while `fd` is not read, until far more has been said than sockets and ring hold. */
static seqno overflow(struct worker *worker, int others, seqno seq)
{
        for (int i = 0; i < 3000; i++) {
                test_entry(worker, ++seq);
                client_expect_signal(others, ENCODING_JSON, seq);
        }
        return seq;
}

/* One frame at a time, so that each is offered with those of the others, until one of them fits in
 * part. */
BOTH_WAYS(a_frame_that_fits_in_part_goes_on_where_it_stopped)
{
        int slow[20], others;
        struct worker *worker;
        seqno head;

        options.ring_capacity = 8192;
        worker = worker_at(&options, 0);
        for (size_t i = 0; i < countof(slow); i++) {
                struct message message;
                char text[1024];

                /* Buffers of different sizes, so that they are full at different bytes. */
                slow[i] = client_connect_with(worker, 2048 + 256 * (int)i);
                client_upgrade(slow[i], "", "");
                client_read_head(slow[i], text, sizeof(text));
                for (int k = 0; k < 2; k++) {
                        message = client_read_message(slow[i], ENCODING_JSON);
                        message_fini(&message);
                }
        }
        others = client_join(worker, "");
        head = overflow(worker, others, 0);
        cr_assert(eq(i64, metric_value(&m_blocked), countof(slow)));
        for (size_t i = 0; i < countof(slow); i++) {
                for (seqno seq = 1; seq <= head; seq++)
                        client_expect_signal(slow[i], ENCODING_JSON, seq);
                close(slow[i]);
        }
        close(others);
        worker_destroy(worker);
}

/* The frame that has begun is finished with the bytes it began with; then comes the other history.
 */
BOTH_WAYS(a_fork_in_the_middle_of_a_frame_lets_it_end_and_then_resets)
{
        struct snapshot *fork = log_snapshot_of(EPOCH, 1, 100, 0);
        struct client_frame pong;
        struct worker *worker;
        struct message message;
        char head[1024];
        seqno seq = 0;
        int fd, others;

        options.ring_capacity = 8192;
        worker = test_worker_start(&options);
        test_install(worker, 0);
        fd = client_connect_with(worker, 2048);
        client_upgrade(fd, "", "");
        others = client_join(worker, "");
        cr_assert(test_wait_devices(worker, 2));
        for (seqno first = 1; first <= 3000; first += 30) {
                test_entries(worker, first, 30);
                for (seqno next = first; next < first + 30; next++)
                        client_expect_signal(others, ENCODING_JSON, next);
        }
        worker_install(worker, fork, NULL, 0);
        message = client_read_message(others, ENCODING_JSON); /* so it has been installed */
        cr_assert(eq(int, message.type, MESSAGE_RESET));
        message_fini(&message);

        client_read_head(fd, head, sizeof(head));
        for (message = client_read_message(fd, ENCODING_JSON);
             message.type != MESSAGE_RESET || message.reset.reason == RESET_NEW;
             message = client_read_message(fd, ENCODING_JSON)) {
                if (message.type == MESSAGE_SIGNAL)
                        cr_assert(eq(u64, message.signal.token.seq, ++seq));
                message_fini(&message);
        }
        cr_assert(lt(u64, seq, 3000)); /* or its socket was never full */
        cr_assert(eq(int, message.reset.reason, RESET_FORKED));
        cr_assert(eq(u64, message.reset.token.seq, 100));
        cr_assert(eq(u64, message.reset.token.tag, log_tag(1, 100)));
        message_fini(&message);
        client_send_frame(fd, WS_PING, "", 0);
        pong = client_read_frame(fd);
        cr_assert(eq(uint, pong.opcode, WS_PONG)); /* and nothing between */
        free(pong.payload);
        snapshot_unref(fork);
        close(fd);
        close(others);
        worker_destroy(worker);
}

BOTH_WAYS(who_falls_out_of_the_ring_is_reset_once_then_closed)
{
        struct message message;
        struct worker *worker;
        seqno seq = 0, got = 0;
        char head[1024];
        int fd, others;

        options.ring_capacity = 16;
        worker = test_worker_start(&options);
        test_install(worker, 0);
        fd = client_connect_with(worker, 2048);
        client_upgrade(fd, "", "");
        client_read_head(fd, head, sizeof(head));
        for (int i = 0; i < 2; i++) {
                message = client_read_message(fd, ENCODING_JSON);
                message_fini(&message);
        }
        others = client_join(worker, "");
        seq = overflow(worker, others, seq);
        for (;;) { /* rising numbers without a hole, then the reset to the head */
                message = client_read_message(fd, ENCODING_JSON);
                if (message.type == MESSAGE_RESET)
                        break;
                cr_assert(eq(int, message.type, MESSAGE_SIGNAL));
                cr_assert(eq(u64, message.signal.token.seq, ++got));
                message_fini(&message);
        }
        cr_assert(eq(int, message.reset.reason, RESET_TRIMMED));
        cr_assert(eq(u64, message.reset.token.seq, seq));
        message_fini(&message);
        got = seq;
        seq = overflow(worker, others, seq);
        for (;;) {
                struct client_frame frame = client_read_frame(fd);

                if (frame.opcode == WS_CLOSE) {
                        cr_assert(
                            eq(uint,
                               (unsigned)(uint8_t)frame.payload[0] << 8 | (uint8_t)frame.payload[1],
                               4008));
                        free(frame.payload);
                        break;
                }
                cr_assert(
                    eq(int, message_decode(frame.payload, frame.len, ENCODING_JSON, &message), OK));
                cr_assert(eq(u64, message.signal.token.seq, ++got));
                free(frame.payload);
        }
        cr_assert(client_sees_end(fd));
        test_entry(worker, ++seq); /* nobody else noticed */
        client_expect_signal(others, ENCODING_JSON, seq);
        close(fd);
        close(others);
        worker_destroy(worker);
}
