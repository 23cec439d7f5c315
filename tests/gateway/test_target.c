/* Signals for some, on real sockets: who is sent what, and who is sent nothing. */
#include "tests/gateway/client.h"
#include "tests/gateway/target_fixture.h"

#define TO_A "{\"cohorts\":[\"a\"]}"
#define TO_B "{\"cohorts\":[\"b\"]}"

/* One letter; `to` NULL: for everyone. */
static void tell(struct worker *worker, seqno seq, const char *to)
{
        struct snapshot *snapshot = log_snapshot(seq);
        struct entry *entry = target_entry(seq, to);

        worker_entries(worker, &entry, 1, snapshot);
        entry_unref(entry);
        snapshot_unref(snapshot);
}

static void expect_skip(int fd, enum encoding encoding, seqno seq)
{
        struct message message = client_read_message(fd, encoding);

        cr_assert(eq(int, message.type, MESSAGE_SKIP));
        cr_assert(eq(u64, message.skip.token.seq, seq));
        cr_assert(eq(u64, message.skip.token.tag, log_tag(0, seq)));
}

static bool is_silent(int fd)
{
        char byte;

        return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void others_get_nothing(enum sender_io io)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;
        int a, b, all;

        options.io = io;
        worker = test_worker_start(&options);
        test_install(worker, 1);
        a = client_join(worker, "&cohort=a");
        b = client_join(worker, "&cohort=b&platform=tv");
        all = client_join(worker, "");
        for (seqno seq = 2; seq <= 4; seq++) {
                tell(worker, seq, TO_A);
                client_expect_signal(a, ENCODING_JSON, seq);
        }
        tell(worker, 5, "{\"attributes\":{\"platform\":[\"tv\"]}}");
        expect_skip(b, ENCODING_JSON, 4);
        client_expect_signal(b, ENCODING_JSON, 5);
        cr_assert(is_silent(a)); /* the walk that told b, two walks after 4, has passed them */
        tell(worker, 6, NULL);
        client_expect_signal(b, ENCODING_JSON, 6);
        expect_skip(all, ENCODING_JSON, 5);
        client_expect_signal(all, ENCODING_JSON, 6);
        expect_skip(a, ENCODING_JSON, 5);
        client_expect_signal(a, ENCODING_JSON, 6);
        cr_assert(is_silent(a) && is_silent(b) && is_silent(all));
        close(a);
        close(b);
        close(all);
        worker_destroy(worker);
}

Test(target_worker, sends_nothing_to_others_until_something_is_for_them_by_send)
{
        others_get_nothing(SENDER_SEND);
}

Test(target_worker, sends_nothing_to_others_until_something_is_for_them_in_batches)
{
        others_get_nothing(SENDER_AUTO);
}

Test(target_worker, who_resumes_over_what_was_for_others_is_given_its_place_at_once)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);
        struct token since = log_token(EPOCH, 0, 1);
        char query[128] = "&cohort=b&since=";
        int a, b;

        test_install(worker, 1);
        a = client_join(worker, "&cohort=a");
        tell(worker, 2, TO_A);
        tell(worker, 3, NULL);
        tell(worker, 4, TO_A);
        for (seqno seq = 2; seq <= 4; seq++)
                client_expect_signal(a, ENCODING_JSON, seq);
        token_format(&since, query + strlen(query));
        b = client_join(worker, query);
        expect_skip(b, ENCODING_JSON, 2);
        client_expect_signal(b, ENCODING_JSON, 3);
        expect_skip(b, ENCODING_JSON, 4);
        cr_assert(is_silent(b));
        close(a);
        close(b);
        worker_destroy(worker);
}

Test(target_worker, says_where_to_come_back_to_before_goodbye)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);
        struct message message;
        int a, b;

        test_install(worker, 1);
        a = client_join(worker, "&cohort=a");
        b = client_join(worker, "&cohort=b");
        tell(worker, 2, TO_A);
        client_expect_signal(a, ENCODING_JSON, 2);
        worker_drain(worker, 2000, 0);
        expect_skip(b, ENCODING_JSON, 2);
        message = client_read_message(b, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_GOAWAY));
        message = client_read_message(a, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_GOAWAY));
        close(a);
        close(b);
        worker_destroy(worker);
}

/* The place is known by the next entry's chain when the entry itself has left the ring. */
Test(target_worker, a_skip_outlives_its_entry)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;
        int a, b;

        options.ring_capacity = 4;
        worker = test_worker_start(&options);
        test_install(worker, 1);
        a = client_join(worker, "&cohort=a");
        b = client_join(worker, "&cohort=b");
        tell(worker, 2, TO_A);
        client_expect_signal(a, ENCODING_JSON, 2);
        test_entries(worker, 3, 4); /* 3 to 6, at once: 2 has left */
        expect_skip(b, ENCODING_JSON, 2);
        for (seqno seq = 3; seq <= 6; seq++) {
                client_expect_signal(a, ENCODING_JSON, seq);
                client_expect_signal(b, ENCODING_JSON, seq);
        }
        close(a);
        close(b);
        worker_destroy(worker);
}
