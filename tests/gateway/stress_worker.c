/* A worker under fire from two sides: device threads that come, read, talk and go, and a control
 * thread that installs, appends, confirms and at last drains. Each device checks contract lines 4
 * to 7 on what it gets. For ThreadSanitizer: what crosses threads here is all that crosses threads
 * in a node. Once by send(), once by io_uring. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/rng.h"
#include "gateway/worker.h"
#include "proto/ws.h"

#define DEVICES 6   /* threads */
#define ENTRIES 400 /* appended by the control thread */
#define EPOCH   UINT64_C(0xabc)

static struct worker *worker;
static _Atomic bool over;
static _Atomic unsigned joins, signals, resets;

static uint64_t tag_of(seqno seq)
{
        return seq * 7919 + 1;
}

static void expect(bool holds, const char *what)
{
        if (holds)
                return;
        fprintf(stderr, "broken: %s\n", what);
        abort();
}

/* --- a device ----------------------------------------------------------------------------------
 */

struct device {
        int fd;
        struct token place; /* epoch 0 = none */
        struct ws_reader reader;
        uint8_t buffer[WS_BUFFER_SIZE(65536)];
};

static void on_frame(struct device *device, const struct ws_event *event)
{
        struct message message;

        expect(message_decode(event->payload, event->len, ENCODING_JSON, &message) == OK, "decode");
        if (message.type == MESSAGE_SIGNAL) {
                expect(message.signal.token.epoch == device->place.epoch &&
                           message.signal.token.seq == device->place.seq + 1,
                       "the next number follows");
                expect(message.signal.token.tag == tag_of(message.signal.token.seq), "its tag");
                device->place = message.signal.token;
                atomic_fetch_add(&signals, 1);
        } else if (message.type == MESSAGE_RESET) {
                device->place = message.reset.token;
                atomic_fetch_add(&resets, 1);
        } else if (message.type == MESSAGE_HELLO) {
                atomic_fetch_add(&joins, 1);
        }
        message_fini(&message);
}

/* False when the connection is over. */
static bool device_read(struct device *device, const uint8_t *bytes, size_t len)
{
        while (len > 0) {
                struct ws_event event;
                size_t used;
                enum ws_status status = ws_read(&device->reader, bytes, len, &used, &event);

                expect(status != WS_BROKEN, "frames are whole");
                if (status == WS_MESSAGE)
                        on_frame(device, &event);
                else if (status == WS_CONTROL && event.opcode == WS_CLOSE)
                        return false;
                else if (status == WS_MORE)
                        return true;
                bytes += used;
                len -= used;
        }
        return true;
}

static int reach(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(worker_port(worker)),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct timeval limit = { .tv_usec = 20000 };
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        expect(fd >= 0, "socket");
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
                close(fd);
                return -1;
        }
        return fd;
}

static bool device_join(struct device *device)
{
        static const char fields[] =
            "Host: n\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        char text[512], token[TOKEN_TEXT_MAX + 1] = "";
        uint8_t bytes[8192];
        ssize_t n;
        char *end;

        if (device->place.epoch != 0)
                token_format(&device->place, token);
        snprintf(text, sizeof(text), "GET /v1/connect?device=d%s%s HTTP/1.1\r\n%s",
                 token[0] != '\0' ? "&since=" : "", token, fields);
        if (send(device->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
                return false;
        n = recv(device->fd, bytes, sizeof(bytes), 0);
        if (n <= 0 || memcmp(bytes, "HTTP/1.1 101", 12) != 0)
                return false; /* 503 before the first install, or the drain */
        end = memmem(bytes, (size_t)n, "\r\n\r\n", 4);
        expect(end != NULL, "the head comes whole");
        ws_reader_init(&device->reader, WS_CLIENT, device->buffer, 65536);
        return device_read(device, (uint8_t *)end + 4,
                           (size_t)n - (size_t)(end + 4 - (char *)bytes));
}

static void device_talk(struct device *device, struct rng *rng)
{
        static const uint8_t mask[4] = { 1, 2, 3, 4 };
        uint8_t frame[128];
        char text[64];
        size_t len;

        if (rng_below(rng, 4) != 0)
                return;
        snprintf(text, sizeof(text), "{\"t\":\"ack\",\"seq\":%llu}",
                 (unsigned long long)device->place.seq);
        len = ws_client_frame(frame, WS_TEXT, text, strlen(text), mask);
        if (rng_below(rng, 8) == 0)
                len -= 3; /* and then goes away in the middle of it */
        (void)send(device->fd, frame, len, MSG_NOSIGNAL);
}

static void *run_device(void *arg)
{
        struct device *device = calloc(1, sizeof(*device));
        struct rng rng;

        rng_seed(&rng, (uint64_t)(uintptr_t)arg);
        while (!atomic_load(&over)) {
                unsigned rounds = (unsigned)rng_below(&rng, 20);
                bool is_in;

                device->fd = reach();
                if (device->fd < 0) {
                        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
                        continue;
                }
                is_in = device_join(device);
                while (is_in && rounds-- > 0) {
                        uint8_t bytes[4096];
                        ssize_t n = recv(device->fd, bytes, sizeof(bytes), 0);

                        if (n == 0 || (n < 0 && errno != EAGAIN))
                                break;
                        if (n > 0)
                                is_in = device_read(device, bytes, (size_t)n);
                        if (is_in)
                                device_talk(device, &rng);
                }
                close(device->fd);
                if (rng_below(&rng, 10) == 0)
                        device->place = (struct token){ 0 }; /* it forgets */
        }
        free(device);
        return NULL;
}

/* --- the control thread --------------------------------------------------------------------------
 */

static struct signal signal_at(seqno seq)
{
        struct signal signal = { .token = { EPOCH, seq, tag_of(seq) }, .kind = SIGNAL_START };

        strcpy(signal.state.event, "derby");
        strcpy(signal.state.stage, "live");
        signal.state.version = seq;
        return signal;
}

static struct snapshot *install_at(seqno seq)
{
        struct token token = { EPOCH, seq, tag_of(seq) };
        struct snapshot *snapshot = snapshot_create(&token, 0, NULL, 0);

        worker_install(worker, snapshot, NULL, 0);
        return snapshot;
}

/* What the worker counted, handed over while it goes on counting. */
static uint64_t written, acked;

static void on_tally(void *owner, const struct report_part *parts, size_t n)
{
        (void)owner;
        for (size_t i = 0; i < n; i++) {
                written += parts[i].written;
                acked += parts[i].acked;
                expect(parts[i].told.n == parts[i].written, "a part agrees with itself");
        }
}

static void control(struct event_base *base)
{
        struct snapshot *snapshot = install_at(10);
        seqno seq = 10;

        for (int i = 0; i < ENTRIES; i++) {
                struct signal signal = signal_at(++seq);
                struct snapshot *after = snapshot_after(snapshot, &signal);
                struct entry *entry = entry_create(&signal, tag_of(seq - 1), NULL);

                worker_entries(worker, &entry, 1, after);
                entry_unref(entry);
                snapshot_unref(snapshot);
                snapshot = after;
                if (i % 7 == 0)
                        worker_confirmed(worker);
                if (i % 100 == 99) { /* the log is read anew, further on */
                        snapshot_unref(snapshot);
                        seq += 30;
                        snapshot = install_at(seq);
                }
                (void)worker_devices(worker);
                event_base_loop(base, EVLOOP_NONBLOCK); /* on_tally */
                nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
        }
        snapshot_unref(snapshot);
}

static void fire(enum sender_io io)
{
        struct worker_options options = { .host = "127.0.0.1",
                                          .node = "n1",
                                          .ping_ms = 300,
                                          .lifetime_ms = 2000,
                                          .max_devices = 100,
                                          .ring_capacity = 32,
                                          .io = io };
        pthread_t threads[DEVICES];
        struct event_base *base = event_base_new();
        const char *why;

        over = false;
        joins = signals = resets = 0;
        written = acked = 0;
        expect(mailbox_create(base, NULL, &options.control) == OK, "mailbox");
        options.on_tally = on_tally;
        expect(worker_create(&options, &worker, &why) == OK, why);
        for (uintptr_t i = 0; i < DEVICES; i++)
                expect(pthread_create(&threads[i], NULL, run_device, (void *)(i + 1)) == 0,
                       "thread");
        control(base);
        worker_drain(worker, 400, 200);
        for (int i = 0; i < 10000 && !worker_is_empty(worker); i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        expect(worker_is_empty(worker), "drained in time");
        atomic_store(&over, true);
        for (int i = 0; i < DEVICES; i++)
                pthread_join(threads[i], NULL);
        worker_destroy(worker);
        mailbox_destroy(options.control);
        event_base_free(base);
        /* Not all: 500 signals a second are more than the 64 that are counted for at a time. */
        expect(written > 100 && acked > 50, "what devices read has been counted");
        expect(joins > 20 && signals > 100 && resets > 10, "something happened");
        printf("%s: joins=%u signals=%u resets=%u written=%llu acked=%llu\n",
               io == SENDER_URING ? "uring" : "send", joins, signals, resets,
               (unsigned long long)written, (unsigned long long)acked);
}

int main(void)
{
        struct sender *sender = NULL;
        const char *why;

        signal(SIGPIPE, SIG_IGN);
        log_set_level(LOG_DEBUG + 1);
        fire(SENDER_SEND);
        if (sender_create(SENDER_URING, &sender, &why) == OK)
                fire(SENDER_URING);
        else
                printf("not by io_uring: %s\n", why);
        sender_destroy(sender);
        return 0;
}
