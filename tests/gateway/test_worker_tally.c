/* What a worker counts for the delivery report, over real sockets: a frame when it is out whole, an
 * ack when it tells something new; handed to the control thread's mailbox, which the test is. */
#include "tests/gateway/client.h"

#include <event2/event.h>

#include "gateway/gateway_metrics.h"

#define PATIENCE_MS 20000

struct rig {
        struct event_base *base;
        struct mailbox *mailbox;
        struct worker *worker;
        struct report_part sums[256]; /* by seq */
        unsigned letters;
};

static void on_tally(void *owner, const struct report_part *parts, size_t n)
{
        struct rig *rig = owner;

        rig->letters++;
        for (size_t i = 0; i < n; i++) {
                struct report_part *sum = &rig->sums[parts[i].token.seq % countof(rig->sums)];

                sum->token = parts[i].token;
                report_part_add(sum, &parts[i]);
        }
}

/* The log reaches to `head`. */
static struct rig *rig_start(seqno head, size_t ring_capacity)
{
        struct rig *rig = calloc(1, sizeof(*rig));
        struct worker_options options = test_worker_options();

        rig->base = event_base_new();
        cr_assert(eq(int, mailbox_create(rig->base, rig, &rig->mailbox), OK));
        options.control = rig->mailbox;
        options.on_tally = on_tally;
        options.ring_capacity = ring_capacity;
        rig->worker = test_worker_start(&options);
        test_install(rig->worker, head);
        return rig;
}

static void rig_stop(struct rig *rig)
{
        worker_destroy(rig->worker);
        mailbox_destroy(rig->mailbox);
        event_base_free(rig->base);
        free(rig);
}

#define until(rig, condition)                                                                \
        do {                                                                                 \
                uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;                           \
                while (!(condition)) {                                                       \
                        struct timeval turn = { 0, 20000 };                                  \
                        cr_assert(clock_mono_ms() < until_ms, "never came: %s", #condition); \
                        event_base_loopexit(rig->base, &turn);                               \
                        event_base_loop(rig->base, 0);                                       \
                }                                                                            \
        } while (0)

Test(worker_tally, a_signal_to_three_and_their_acks)
{
        struct rig *rig = rig_start(1, 64);
        const struct report_part *sum = &rig->sums[2];
        int fds[3];

        for (int i = 0; i < 3; i++)
                fds[i] = client_join(rig->worker, i == 2 ? "&ack=0" : "");
        test_entry(rig->worker, 2);
        until(rig, sum->written == 3);
        cr_assert(eq(u32, sum->connected, 3));
        cr_assert(eq(u32, sum->silent, 1));
        cr_assert(zero(u32, sum->acked));
        for (int i = 0; i < 2; i++) {
                client_expect_signal(fds[i], ENCODING_JSON, 2);
                client_send_text(fds[i],
                                 "{\"t\":\"ack\",\"seq\":1}"); /* it had the state: nothing new */
                client_send_text(fds[i], "{\"t\":\"ack\",\"seq\":2}");
                client_send_text(fds[i], "{\"t\":\"ack\",\"seq\":2}");
        }
        until(rig, sum->acked >= 2);
        test_entry(rig->worker, 3);
        until(rig, rig->sums[3].written == 3);
        cr_assert(eq(u32, sum->acked, 2), "twice said is once counted");
        cr_assert(eq(i64, metric_value(&m_acks), 2));
        cr_assert(zero(u64, rig->sums[1].token.epoch), "nothing was sent as signal 1");
        cr_assert(lt(uint, rig->letters, 20));
        for (int i = 0; i < 3; i++)
                close(fds[i]);
        rig_stop(rig);
}

Test(worker_tally, who_comes_back_is_counted_as_written_for_what_is_replayed)
{
        struct rig *rig = rig_start(1, 64);
        struct token since = log_token(EPOCH, 0, 2);
        char query[128] = "&since=";
        int fd;

        for (seqno seq = 2; seq <= 4; seq++)
                test_entry(rig->worker, seq);
        until(rig, rig->sums[4].token.epoch != 0);
        token_format(&since, query + strlen(query));
        fd = client_join(rig->worker, query);
        client_expect_signal(fd, ENCODING_JSON, 3);
        client_expect_signal(fd, ENCODING_JSON, 4);
        client_send_text(fd, "{\"t\":\"ack\",\"seq\":4}");
        until(rig, rig->sums[4].acked == 1);
        cr_assert(zero(u32, rig->sums[2].written + rig->sums[2].acked), "it had that when it came");
        for (seqno seq = 3; seq <= 4; seq++) {
                cr_assert(zero(u32, rig->sums[seq].connected));
                cr_assert(eq(u32, rig->sums[seq].written, 1));
                cr_assert(eq(u32, rig->sums[seq].acked, 1));
        }
        close(fd);
        rig_stop(rig);
}

static unsigned written_of(const struct rig *rig, seqno from, seqno to)
{
        unsigned n = 0;

        for (seqno seq = from; seq <= to; seq++)
                n += rig->sums[seq % countof(rig->sums)].written;
        return n;
}

/* Batches of 60 until the socket takes no more: of the last batch some frames are out, one perhaps
 * in part, and the others not. When the device reads again, each must have been counted exactly
 * once. */
Test(worker_tally, a_frame_counts_when_all_of_it_is_out)
{
        struct rig *rig = rig_start(0, 16384);
        int fd = client_connect_with(rig->worker, 2048);
        seqno head = 0, first;
        char head_text[1024];
        unsigned out;

        client_upgrade(fd, "", "");
        client_read_head(fd, head_text, sizeof(head_text));
        do {
                memset(rig->sums, 0, sizeof(rig->sums));
                first = head + 1;
                head += 60;
                cr_assert(lt(u64, head, 16000), "the socket took it all");
                test_entries(rig->worker, first, 60);
                until(rig, rig->sums[head % countof(rig->sums)].connected == 1);
                out = written_of(rig, first, head);
        } while (out == 60);
        cr_assert(lt(uint, out, 60));
        for (seqno seq = 0; seq < head;) {
                struct message message = client_read_message(fd, ENCODING_JSON);

                seq = message.type == MESSAGE_SIGNAL ? message.signal.token.seq : seq;
                message_fini(&message);
        }
        until(rig, written_of(rig, first, head) == 60);
        for (seqno seq = first; seq <= head; seq++)
                cr_assert(eq(u32, rig->sums[seq % countof(rig->sums)].written, 1), "%d",
                          (int)(seq - first));
        close(fd);
        rig_stop(rig);
}

Test(worker_tally, a_worker_that_ends_its_drain_has_told_all)
{
        struct rig *rig = rig_start(1, 64);
        int fd = client_join(rig->worker, "");

        test_entry(rig->worker, 2);
        client_expect_signal(fd, ENCODING_JSON, 2);
        client_send_text(fd, "{\"t\":\"ack\",\"seq\":2}");
        until(rig, metric_value(&m_acks) == 1);
        worker_drain(rig->worker, 0, 0);
        close(fd);
        until(rig, worker_is_empty(rig->worker));
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
        cr_assert(eq(u32, rig->sums[2].acked, 1));
        rig_stop(rig);
}
