/* Single devices at one worker, over real sockets: the newer session of an id ends the older, a
 * message gets into its socket or is refused, and the roll tells of everybody once. The control
 * thread is the test. */
#include "tests/gateway/client.h"

#include <event2/event.h>

#include "gateway/worker_devices.h"

#define PATIENCE_MS 20000

struct rig {
        struct event_base *base;
        struct mailbox *mailbox;
        struct worker *worker;
        unsigned rolls, came, left;
        bool is_answered;
        uint64_t since_ms; /* of the last answer */
};

static void on_roll(void *owner, struct worker_roll *roll)
{
        struct rig *rig = owner;

        cr_assert(roll->n_came <= 2 && roll->n_left <= 2);
        rig->rolls++;
        rig->came += roll->n_came;
        rig->left += roll->n_left;
        free(roll);
}

static void on_answer(void *owner, struct worker_errand *errand)
{
        struct rig *rig = owner;

        rig->is_answered = true;
        rig->since_ms = errand->since_ms;
}

static void rig_start(struct rig *rig)
{
        struct worker_options options = test_worker_options();

        memset(rig, 0, sizeof(*rig));
        rig->base = event_base_new();
        cr_assert(eq(int, mailbox_create(rig->base, rig, &rig->mailbox), OK));
        options.control = rig->mailbox;
        options.one_per_device = true;
        options.on_roll = on_roll;
        options.roll_max = 2;
        rig->worker = test_worker_start(&options);
        test_install(rig->worker, 1);
}

static void rig_stop(struct rig *rig)
{
        worker_destroy(rig->worker);
        mailbox_destroy(rig->mailbox);
        event_base_free(rig->base);
}

#define rig_until(rig, condition)                                                                \
        do {                                                                                     \
                uint64_t rig_deadline = clock_mono_ms() + PATIENCE_MS;                           \
                while (!(condition)) {                                                           \
                        struct timeval rig_turn = { 0, 10000 };                                  \
                        cr_assert(clock_mono_ms() < rig_deadline, "never came: %s", #condition); \
                        event_base_loopexit((rig)->base, &rig_turn);                             \
                        event_base_loop((rig)->base, EVLOOP_ONCE);                               \
                }                                                                                \
        } while (0)

static struct device_answer ask(struct rig *rig, enum device_question what, const char *device)
{
        struct device_query query = { .what = what, .message = { "m-1", "hello" } };
        struct worker_errand errand = { .control = rig->mailbox,
                                        .on_answer = on_answer,
                                        .query = &query };

        strcpy(query.device, device);
        rig->is_answered = false;
        worker_ask(rig->worker, &errand);
        rig_until(rig, rig->is_answered);
        return errand.answer;
}

/* client_upgrade() names tv-1; another device goes the same way. */
static int join_as(const struct worker *worker, const char *device, int receive_buffer)
{
        int fd = client_connect_with(worker, receive_buffer);
        char text[512], head[1024];

        snprintf(text, sizeof(text),
                 "GET /v1/connect?device=%s HTTP/1.1\r\nHost: n\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY
                 "\r\n\r\n",
                 device);
        client_say(fd, text);
        client_read_head(fd, head, sizeof(head));
        cr_assert(zero(int, strncmp(head, "HTTP/1.1 101 ", 13)), "%s", head);
        return fd;
}

Test(worker_devices, the_same_id_again_ends_the_older_session_at_once)
{
        struct device_answer answer;
        struct message message;
        struct rig rig;
        int older, newer;

        rig_start(&rig);
        older = client_join(rig.worker, "");
        newer = client_join(rig.worker, "");
        message = client_read_message(older, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_GOAWAY));
        cr_assert(eq(int, message.goaway.reason, GOAWAY_REPLACED));
        client_expect_close(older, 4009);

        answer = ask(&rig, DEVICE_MESSAGE, "tv-1");
        cr_assert(eq(int, answer.outcome, DEVICE_HERE));
        cr_assert(eq(str, answer.transport, "websocket"));
        message = client_read_message(newer, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_MESSAGE));
        cr_assert(eq(str, message.message.body, "hello"));
        cr_assert(eq(u64, worker_devices(rig.worker), 1));
        close(older);
        close(newer);
        rig_stop(&rig);
}

/* Those of one turn have one time, and are dated each behind the one before: the last ones ahead of
 * now. */
Test(worker_devices, the_same_id_a_hundred_times_at_once_came_now_and_not_weeks_ago)
{
        static const char request[] =
            "GET /v1/connect?device=tv-1 HTTP/1.1\r\nHost: n\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY
            "\r\n\r\n";
        uint64_t before_ms;
        struct rig rig;
        int fds[100];

        rig_start(&rig);
        before_ms = clock_mono_ms();
        for (unsigned i = 0; i < countof(fds); i++)
                fds[i] = client_connect(rig.worker);
        for (unsigned i = 0; i < countof(fds); i++)
                client_say(fds[i], request);
        cr_assert(test_wait_devices(rig.worker, 1));
        for (unsigned i = 0; i < countof(fds); i++) {
                cr_assert(eq(int, ask(&rig, DEVICE_LOOK, "tv-1").outcome, DEVICE_HERE));
                cr_assert(ge(u64, rig.since_ms, before_ms));
                cr_assert(le(u64, rig.since_ms, clock_mono_ms() + countof(fds)));
        }
        for (unsigned i = 0; i < countof(fds); i++)
                close(fds[i]);
        rig_stop(&rig);
}

Test(worker_devices, another_id_is_left_alone_and_an_unknown_one_is_absent)
{
        struct rig rig;
        int a, b;

        rig_start(&rig);
        a = join_as(rig.worker, "tv-a", 0);
        b = join_as(rig.worker, "tv-b", 0);
        cr_assert(test_wait_devices(rig.worker, 2));
        cr_assert(eq(int, ask(&rig, DEVICE_LOOK, "tv-a").outcome, DEVICE_HERE));
        cr_assert(eq(int, ask(&rig, DEVICE_LOOK, "tv-b").outcome, DEVICE_HERE));
        cr_assert(eq(int, ask(&rig, DEVICE_LOOK, "tv-c").outcome, DEVICE_ABSENT));
        close(a);
        close(b);
        rig_stop(&rig);
}

/* One frame may wait before it; then no more is taken, and a moment later the session still is what
 * it was. */
Test(worker_devices, a_message_waits_behind_one_frame_and_the_next_is_refused)
{
        struct device_answer answer = { .outcome = DEVICE_ABSENT };
        uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
        struct rig rig;
        seqno seq = 2;
        int fd;

        rig_start(&rig);
        fd = join_as(rig.worker, "tv-1", 4096);
        while (answer.outcome != DEVICE_FULL) {
                cr_assert(clock_mono_ms() < deadline);
                if (seq < 4000)
                        test_entries(rig.worker, seq, 50);
                seq += seq < 4000 ? 50 : 0;
                answer = ask(&rig, DEVICE_MESSAGE, "tv-1");
                cr_assert(answer.outcome == DEVICE_HERE || answer.outcome == DEVICE_LIMITED ||
                          answer.outcome == DEVICE_FULL);
        }
        cr_assert(gt(u32, answer.retry_after_ms, 0));
        cr_assert(eq(u64, worker_devices(rig.worker), 1));
        close(fd);
        rig_stop(&rig);
}

Test(worker_devices, the_roll_tells_of_everybody_once_in_parts_and_again_if_it_must)
{
        char device[16];
        struct rig rig;
        int fds[7];

        rig_start(&rig);
        for (unsigned i = 0; i < countof(fds); i++) {
                snprintf(device, sizeof(device), "tv-%u", i);
                fds[i] = join_as(rig.worker, device, 0);
        }
        for (unsigned rolls = 1; rig.came < countof(fds); rolls++) {
                rig_until(&rig, rig.rolls == rolls);
                worker_go_on(rig.worker, false);
        }
        cr_assert(eq(u32, rig.came, countof(fds)));
        for (unsigned i = 0; i < 3; i++)
                close(fds[i]);
        for (unsigned rolls = rig.rolls + 1; rig.left < 3; rolls++) {
                rig_until(&rig, rig.rolls == rolls);
                worker_go_on(rig.worker, false);
        }
        cr_assert(eq(u32, rig.left, 3));
        worker_go_on(rig.worker, true);
        for (unsigned rolls = rig.rolls + 1; rig.came < 2 * countof(fds) - 3; rolls++) {
                rig_until(&rig, rig.rolls == rolls);
                worker_go_on(rig.worker, false);
        }
        cr_assert(eq(u32, rig.came, 2 * countof(fds) - 3));
        for (unsigned i = 3; i < countof(fds); i++)
                close(fds[i]);
        rig_stop(&rig);
}
