/* What a device on /v1/stream can rely on: what one on a WebSocket can, byte for byte the same
 * messages, and the place in the ids. Over real sockets, whichever way the frames leave. */
#include "tests/gateway/client.h"

#include <jansson.h>

#include "base/metrics.h"
#include "gateway/gateway_metrics.h"

/* --- reading a stream ------------------------------------------------------------------------ */

struct stream_block {
        char text[4096]; /* as it came, without the empty line */
        long retry_ms;   /* -1 = none */
        struct token id; /* epoch 0 = none */
        bool has_message, is_comment;
        struct message message; /* message_fini() it */
};

static void read_line(struct stream_block *block, char *line)
{
        if (line[0] == ':') {
                block->is_comment = true;
        } else if (strncmp(line, "retry: ", 7) == 0) {
                block->retry_ms = strtol(line + 7, NULL, 10);
        } else if (strncmp(line, "id: ", 4) == 0) {
                cr_assert(eq(int, token_parse(line + 4, strlen(line + 4), &block->id), OK));
        } else {
                cr_assert(zero(int, strncmp(line, "data: ", 6)), "%s", line);
                cr_assert(
                    eq(int,
                       message_decode(line + 6, strlen(line + 6), ENCODING_JSON, &block->message),
                       OK),
                    "%s", line);
                block->has_message = true;
        }
}

/* One byte at a time, so the end of the stream may be anywhere. */
static struct stream_block read_block(int fd)
{
        struct stream_block block = { .retry_ms = -1 };
        char copy[sizeof(block.text)], *save, *line;
        size_t len = 0;

        do {
                cr_assert(lt(sz, len, sizeof(block.text) - 1));
                client_read(fd, block.text + len++, 1);
        } while (len < 2 || memcmp(block.text + len - 2, "\n\n", 2) != 0);
        strcpy(copy, block.text);
        for (line = strtok_r(copy, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
                read_line(&block, line);
        return block;
}

static void ask(int fd, const char *query, const char *fields)
{
        char text[1024];

        snprintf(text, sizeof(text), "GET /v1/stream?device=web-1%s HTTP/1.1\r\nHost: n\r\n%s\r\n",
                 query, fields);
        client_say(fd, text);
}

/* Asks, and reads the head and the first block: the place that was brought, or none. */
static struct stream_block begin(int fd, const char *query, const char *fields)
{
        char head[1024];
        struct stream_block first;

        ask(fd, query, fields);
        client_read_head(fd, head, sizeof(head));
        cr_assert(zero(int, strncmp(head, "HTTP/1.1 200 OK\r\n", 17)), "%s", head);
        cr_assert(strstr(head, "\r\nContent-Type: text/event-stream\r\n") != NULL, "%s", head);
        first = read_block(fd);
        cr_assert(ge(long, first.retry_ms, 1000));
        cr_assert(le(long, first.retry_ms, 86400000));
        cr_assert(not(first.has_message));
        return first;
}

static void expect_hello(int fd, bool recovered)
{
        struct stream_block block = read_block(fd);

        cr_assert(eq(int, block.message.type, MESSAGE_HELLO), "%s", block.text);
        cr_assert(eq(int, block.message.hello.recovered, recovered));
        cr_assert(zero(u64, block.id.epoch), "a hello moves nobody");
}

static void expect_reset(int fd, enum reset_reason reason)
{
        struct stream_block block = read_block(fd);

        cr_assert(eq(int, block.message.type, MESSAGE_RESET), "%s", block.text);
        cr_assert(eq(int, block.message.reset.reason, reason));
        cr_assert(token_equal(&block.id, &block.message.reset.token));
        message_fini(&block.message);
}

static void expect_signal(int fd, seqno seq)
{
        struct token token = log_token(EPOCH, 0, seq);
        struct stream_block block = read_block(fd);

        cr_assert(eq(int, block.message.type, MESSAGE_SIGNAL), "%s", block.text);
        cr_assert(token_equal(&block.message.signal.token, &token), "%s", block.text);
        cr_assert(token_equal(&block.id, &token));
}

static int join_with(const struct worker *worker, int receive_buffer)
{
        int fd = client_connect_with(worker, receive_buffer);

        begin(fd, "", "");
        expect_hello(fd, false);
        expect_reset(fd, RESET_NEW);
        return fd;
}

static int join(const struct worker *worker)
{
        return join_with(worker, 0);
}

static bool has_uring(void)
{
        struct sender *sender = NULL;
        const char *why = "";

        if (sender_create(SENDER_URING, &sender, &why) != OK)
                fprintf(stderr, "not tested with io_uring: %s\n", why);
        sender_destroy(sender);
        return sender != NULL;
}

#define BOTH_WAYS(name)                                                \
        static void name(struct worker_options options);               \
        Test(stream, name)                                             \
        {                                                              \
                struct worker_options options = test_worker_options(); \
                                                                       \
                options.io = SENDER_SEND;                              \
                name(options);                                         \
                options.io = SENDER_URING;                             \
                if (has_uring())                                       \
                        name(options);                                 \
        }                                                              \
        static void name(struct worker_options options)

static struct worker *worker_at(const struct worker_options *options, seqno head)
{
        struct worker *worker = test_worker_start(options);

        test_install(worker, head);
        return worker;
}

/* --- what it is told ------------------------------------------------------------------------- */

BOTH_WAYS(streams_and_websockets_are_told_the_same_by_one_broadcast)
{
        struct worker *worker = worker_at(&options, 1);
        struct entry *entry = log_entry(2);
        const struct blob *frame = entry_signal_frame(entry, WIRE_STREAM);
        int streams[40], sockets[40];

        for (size_t i = 0; i < countof(streams); i++) {
                streams[i] = join(worker);
                sockets[i] = client_join(worker, "");
        }
        test_entry(worker, 2);
        test_entry(worker, 3);
        for (size_t i = 0; i < countof(streams); i++) {
                struct stream_block block = read_block(streams[i]);

                cr_assert(eq(sz, strlen(block.text), frame->len));
                cr_assert(zero(int, memcmp(block.text, frame->data, frame->len)));
                expect_signal(streams[i], 3);
                client_expect_signal(sockets[i], ENCODING_JSON, 2);
                client_expect_signal(sockets[i], ENCODING_JSON, 3);
                close(streams[i]);
                close(sockets[i]);
        }
        entry_unref(entry);
        worker_destroy(worker);
}

Test(stream, last_event_id_resumes_with_nothing_missed_and_nothing_twice)
{
        struct worker *worker = test_worker_at(0);
        struct token place = log_token(EPOCH, 0, 40), older = log_token(EPOCH, 0, 11);
        char text[TOKEN_TEXT_MAX + 1], fields[128], query[128];
        struct stream_block first;
        int fd = join(worker);

        test_entries(worker, 1, 60);
        for (seqno seq = 1; seq <= 40; seq++)
                expect_signal(fd, seq);
        close(fd);
        token_format(&older, text);
        snprintf(query, sizeof(query), "&since=%s", text);
        token_format(&place, text);
        snprintf(fields, sizeof(fields), "Last-Event-ID: %s\r\n", text);
        fd = client_connect(worker);
        first = begin(fd, query, fields);
        cr_assert(token_equal(&first.id, &place));
        expect_hello(fd, true);
        test_entry(worker, 61);
        for (seqno seq = 41; seq <= 61; seq++)
                expect_signal(fd, seq);
        close(fd);
        fd = client_connect(worker);
        first = begin(fd, query, "");
        cr_assert(token_equal(&first.id, &older));
        expect_hello(fd, true);
        expect_signal(fd, 12);
        close(fd);
        fd = client_connect(worker);
        first = begin(fd, query, "Last-Event-ID: not-a-token\r\n");
        cr_assert(zero(u64, first.id.epoch));
        expect_hello(fd, false);
        expect_reset(fd, RESET_UNKNOWN);
        close(fd);
        worker_destroy(worker);
}

Test(stream, ten_thousand_messages_reach_one_who_reads_byte_by_byte)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;
        int fd;

        options.ring_capacity = 16384;
        worker = worker_at(&options, 0);
        fd = join_with(worker, 4096);
        for (seqno seq = 1; seq <= 10000; seq += 100) /* far more than the sockets hold */
                test_entries(worker, seq, 100);
        for (seqno seq = 1; seq <= 10000; seq++)
                expect_signal(fd, seq);
        close(fd);
        worker_destroy(worker);
}

static void say_to_cohort(struct worker *worker, seqno seq, const char *cohort)
{
        struct entry *everyones = log_entry(seq), *entry;
        struct snapshot *snapshot = log_snapshot(seq);
        json_t *cohorts = json_pack("[s]", cohort);
        struct target *target;
        const char *why;

        cr_assert(eq(int, target_parse(cohorts, NULL, &target, &why), OK));
        entry = entry_create_for(&everyones->signal, target, everyones->prev_tag, NULL);
        worker_entries(worker, &entry, 1, snapshot);
        entry_unref(entry);
        entry_unref(everyones);
        target_destroy(target);
        json_decref(cohorts);
        snapshot_unref(snapshot);
}

BOTH_WAYS(what_was_not_for_it_moves_its_place_all_the_same)
{
        struct token place = log_token(EPOCH, 0, 3);
        struct worker *worker = worker_at(&options, 1);
        int others = join(worker), fans = client_connect(worker);
        struct stream_block block;

        begin(fans, "&cohort=sports", "");
        expect_hello(fans, false);
        expect_reset(fans, RESET_NEW);
        say_to_cohort(worker, 2, "sports");
        say_to_cohort(worker, 3, "sports");
        test_entry(worker, 4);
        for (seqno seq = 2; seq <= 4; seq++)
                expect_signal(fans, seq);
        block = read_block(others);
        cr_assert(eq(int, block.message.type, MESSAGE_SKIP), "%s", block.text);
        cr_assert(token_equal(&block.message.skip.token, &place));
        cr_assert(token_equal(&block.id, &place));
        expect_signal(others, 4);
        close(others);
        close(fans);
        worker_destroy(worker);
}

/* Signals until far more has been said than sockets and ring hold. */
static seqno overflow(struct worker *worker, int others, seqno seq)
{
        for (int i = 0; i < 3000; i++) {
                test_entry(worker, ++seq);
                client_expect_signal(others, ENCODING_JSON, seq);
        }
        return seq;
}

/* Reads on after an overflow. The number at which the reset put it, or 0 at the stream's end. */
static seqno read_to_reset(int fd, seqno seq)
{
        struct stream_block block;
        char byte;

        for (;;) {
                if (recv(fd, &byte, 1, MSG_PEEK) == 0)
                        return 0;
                block = read_block(fd);
                if (block.message.type != MESSAGE_SIGNAL)
                        break;
                cr_assert(eq(u64, block.message.signal.token.seq, ++seq));
        }
        cr_assert(eq(int, block.message.type, MESSAGE_RESET));
        cr_assert(eq(int, block.message.reset.reason, RESET_TRIMMED));
        seq = block.message.reset.token.seq;
        message_fini(&block.message);
        return seq;
}

BOTH_WAYS(who_falls_out_of_the_log_is_reset_once_and_then_ended)
{
        struct worker *worker = worker_at(&options, 0);
        int64_t before = metric_value(&m_closes[CLOSE_TOO_SLOW]);
        int slow = join_with(worker, 4096), others = client_join(worker, "");
        seqno head = overflow(worker, others, 0), at = read_to_reset(slow, 0);

        cr_assert(eq(u64, at, head));
        head = overflow(worker, others, head);
        cr_assert(zero(u64, read_to_reset(slow, at)));
        cr_assert(eq(i64, metric_value(&m_closes[CLOSE_TOO_SLOW]) - before, 1));
        close(slow);
        close(others);
        worker_destroy(worker);
}

Test(stream, a_ping_is_a_comment_and_nobody_answers_it)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;
        int fd;

        options.ping_ms = 100;
        worker = worker_at(&options, 1);
        fd = join(worker);
        for (int i = 0; i < 3; i++) { /* a second one comes only after what is as good as a pong */
                struct stream_block block = read_block(fd);

                cr_assert(eq(str, block.text, ":\n\n"));
        }
        test_entry(worker, 2);
        for (;;) {
                struct stream_block block = read_block(fd);

                if (block.is_comment)
                        continue;
                cr_assert(eq(u64, block.message.signal.token.seq, 2));
                break;
        }
        close(fd);
        worker_destroy(worker);
}

/* --- what it may do -------------------------------------------------------------------------- */

Test(stream, what_a_device_sends_is_ignored_and_too_much_of_it_ends_the_stream)
{
        struct worker *worker = test_worker_at(1);
        int64_t before = metric_value(&m_closes[CLOSE_POLICY]);
        int fd = client_connect(worker);

        ask(fd, "", "\r\nGET /healthz HTTP/1.1\r\nHost: n\r\n"); /* in the same packet */
        {
                char head[1024];

                client_read_head(fd, head, sizeof(head));
        }
        read_block(fd);
        expect_hello(fd, false);
        expect_reset(fd, RESET_NEW);
        client_say(fd, "more");
        test_entry(worker, 2);
        expect_signal(fd, 2);
        for (int i = 0; i < 100000; i++) {
                if (send(fd, "x", 1, MSG_NOSIGNAL) < 0)
                        break;
                if (metric_value(&m_closes[CLOSE_POLICY]) > before)
                        break;
        }
        cr_assert(client_sees_end(fd));
        cr_assert(eq(i64, metric_value(&m_closes[CLOSE_POLICY]) - before, 1));
        close(fd);
        worker_destroy(worker);
}

/* --- the end --------------------------------------------------------------------------------- */

static void expect_goaway(int fd, enum goaway_reason reason)
{
        struct stream_block block = read_block(fd);

        cr_assert(eq(int, block.message.type, MESSAGE_GOAWAY), "%s", block.text);
        cr_assert(eq(int, block.message.goaway.reason, reason));
        cr_assert(ge(long, block.retry_ms, block.message.goaway.min_ms), "%s", block.text);
        cr_assert(le(long, block.retry_ms, block.message.goaway.max_ms), "%s", block.text);
        cr_assert(zero(u64, block.id.epoch));
        cr_assert(client_sees_end(fd));
}

Test(stream, a_drain_says_goaway_and_then_the_stream_ends)
{
        struct worker *worker = test_worker_at(1);
        int fds[20];

        for (size_t i = 0; i < countof(fds); i++)
                fds[i] = join(worker);
        worker_drain(worker, 1000, 300);
        for (size_t i = 0; i < countof(fds); i++) {
                expect_goaway(fds[i], GOAWAY_DRAIN);
                close(fds[i]);
        }
        cr_assert(test_wait_devices(worker, 0));
        worker_destroy(worker);
}

Test(stream, a_lifetime_ends_with_goaway)
{
        struct worker_options options = test_worker_options();
        struct stream_block block;
        struct worker *worker;
        int fd;

        options.lifetime_ms = 200;
        worker = worker_at(&options, 1);
        fd = join(worker);
        block = read_block(fd);
        cr_assert(eq(int, block.message.type, MESSAGE_GOAWAY), "%s", block.text);
        cr_assert(eq(int, block.message.goaway.reason, GOAWAY_RECYCLE));
        test_entry(worker, 2); /* until it closes, it is told */
        expect_signal(fd, 2);
        close(fd);
        cr_assert(test_wait_devices(worker, 0));
        worker_destroy(worker);
}

Test(stream, an_event_source_is_turned_away_in_a_way_that_it_survives)
{
        struct worker_options options = test_worker_options();
        struct token place = log_token(EPOCH, 0, 1);
        char head[1024], body[1024], text[TOKEN_TEXT_MAX + 1], fields[160];
        struct stream_block first;
        struct worker *worker;
        int inside, fd;

        options.max_devices = 1;
        worker = worker_at(&options, 1);
        inside = join(worker);
        fd = client_connect(worker);
        ask(fd, "", "");
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 503));
        cr_assert(strstr(head, "\r\nRetry-After: ") != NULL);
        cr_assert(strstr(head, "\r\nAccess-Control-Allow-Origin: *\r\n") != NULL);
        close(fd);
        token_format(&place, text);
        snprintf(fields, sizeof(fields), "Accept: text/event-stream\r\nLast-Event-ID: %s\r\n",
                 text);
        fd = client_connect(worker);
        first = begin(fd, "", fields);
        cr_assert(token_equal(&first.id, &place), "it must not forget its place over this");
        expect_goaway(fd, GOAWAY_OVERLOAD);
        close(fd);
        close(inside);
        worker_destroy(worker);
}

Test(stream, sessions_are_counted_by_transport)
{
        struct worker *worker = test_worker_at(1);
        int64_t begun = metric_value(&m_begun[true]);
        int stream = join(worker), socket = client_join(worker, "");

        cr_assert(eq(i64, metric_value(&m_sessions[true]), 1));
        cr_assert(eq(i64, metric_value(&m_sessions[false]), 1));
        cr_assert(eq(i64, metric_value(&m_begun[true]) - begun, 1));
        close(stream);
        cr_assert(test_wait_devices(worker, 1));
        cr_assert(zero(i64, metric_value(&m_sessions[true])));
        cr_assert(eq(i64, metric_value(&m_sessions[false]), 1));
        close(socket);
        worker_destroy(worker);
}
