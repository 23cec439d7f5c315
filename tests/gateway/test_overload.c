/* What a real worker does at each step of the ladder, the readings being the test's. */
#include "tests/gateway/client.h"

#include <stdatomic.h>

#include "gateway/gateway_metrics.h"

static _Atomic uint32_t gauges[LADDER_GAUGES];
static _Atomic unsigned readings;

static void read_gauges(void *arg, struct ladder_reading *reading)
{
        (void)arg;
        for (unsigned i = 0; i < LADDER_GAUGES; i++)
                reading->at[i] = gauges[i];
        readings++;
}

static struct worker *start(void)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;

        options.read_gauges = read_gauges;
        worker = test_worker_start(&options);
        test_install(worker, 1);
        return worker;
}

/* Sets one gauge so that it asks for this step, and waits until the worker has come to it. Readings
 * are taken while there are sockets. */
static void come_to(const struct worker *worker, enum ladder_gauge gauge, enum ladder_step step)
{
        gauges[gauge] = step == LADDER_CALM ? 0 : ladder_mark(gauge, step);
        for (unsigned i = 0; i < 30000 && worker_overload(worker) != step; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        cr_assert(eq(int, worker_overload(worker), step));
}

static int64_t row(const char *name)
{
        struct buf text;
        const char *at;
        int64_t value = -1;

        buf_init(&text);
        metrics_render(&text);
        buf_char(&text, '\0');
        at = strstr(text.data, name);
        if (at != NULL)
                value = atoll(at + strlen(name));
        buf_fini(&text);
        return value;
}

Test(overload, each_step_is_counted_with_the_watermark_that_moved_it)
{
        struct worker *worker = start();
        int device = client_join(worker, "");

        come_to(worker, LADDER_MEMORY, LADDER_NO_PREFETCH);
        come_to(worker, LADDER_DESCRIPTORS, LADDER_NO_RESUMES);
        cr_assert(eq(u32, worker_gauge(worker, LADDER_DESCRIPTORS),
                     ladder_mark(LADDER_DESCRIPTORS, LADDER_NO_RESUMES)));
        gauges[LADDER_MEMORY] = 0;
        come_to(worker, LADDER_DESCRIPTORS, LADDER_CALM);
#define CHANGES(step, gauge) \
        row("kickoff_overload_changes_total{step=\"" step "\",gauge=\"" gauge "\"} ")
        cr_assert(eq(i64, CHANGES("no-prefetch", "memory"), 1));
        cr_assert(eq(i64, CHANGES("no-resumes", "descriptors"), 1));
        cr_assert(eq(i64, CHANGES("no-newcomers", "descriptors"), 1)); /* on the way down */
        cr_assert(eq(i64, CHANGES("no-prefetch", "descriptors"), 1));
        cr_assert(eq(i64, CHANGES("calm", "descriptors"), 1));
        cr_assert(eq(i64, CHANGES("calm", "lag"), 0));
        close(device);
        worker_destroy(worker);
}

#define DEVICES 200

Test(overload, a_signal_goes_out_in_full_at_the_top_step)
{
        struct worker *worker = start();
        int devices[DEVICES];

        for (unsigned i = 0; i < DEVICES; i++)
                devices[i] = client_join(worker, "");
        come_to(worker, LADDER_LAG, LADDER_NO_RESUMES);
        test_entry(worker, 2);
        test_entries(worker, 3, 20);
        for (unsigned i = 0; i < DEVICES; i++) {
                for (seqno seq = 2; seq <= 22; seq++)
                        client_expect_signal(devices[i], ENCODING_JSON, seq);
                close(devices[i]);
        }
        cr_assert(eq(int, worker_overload(worker), LADDER_NO_RESUMES));
        worker_destroy(worker);
}

/* Status of one request on a connection of its own; 503 must say when to come back. */
static int ask(const struct worker *worker, const char *path, const char *fields)
{
        int fd = client_connect(worker), status;
        char text[1024], body[1024];

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: n\r\n%s\r\n", path, fields);
        client_say(fd, text);
        client_read_head(fd, body, sizeof(body));
        status = atoi(body + 9);
        if (status == 503)
                cr_assert(ne(ptr, strstr(body, "\r\nRetry-After: "), NULL), "%s", body);
        close(fd);
        return status;
}

#define UPGRADE                                                                      \
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
        "Sec-WebSocket-Key: " KEY "\r\n"

Test(overload, what_each_step_sheds)
{
        static const struct {
                enum ladder_step step;
                int fetch, newcomer, resume;
        } table[] = {
                { LADDER_CALM, 200, 101, 101 },
                { LADDER_NO_PREFETCH, 503, 101, 101 },
                { LADDER_NO_NEWCOMERS, 503, 503, 101 },
                { LADDER_NO_RESUMES, 503, 503, 503 },
        };
        struct token place = log_token(EPOCH, 0, 1);
        struct worker *worker = start();
        char resume[128], text[TOKEN_TEXT_MAX + 1];
        int device = client_join(worker, "");

        token_format(&place, text);
        snprintf(resume, sizeof(resume), "/v1/connect?device=tv-2&since=%s", text);
        for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                come_to(worker, LADDER_MEMORY, table[i].step);
                cr_assert(eq(int, ask(worker, "/v1/events", ""), table[i].fetch));
                cr_assert(
                    eq(int, ask(worker, "/v1/connect?device=tv-3", UPGRADE), table[i].newcomer));
                cr_assert(eq(int, ask(worker, resume, UPGRADE), table[i].resume));
                cr_assert(eq(int, ask(worker, "/healthz", ""),
                             200)); /* or balancers would cut off who is here */
        }
        test_entry(worker, 2);
        client_expect_signal(device, ENCODING_JSON, 2);
        close(device);
        worker_destroy(worker);
}

static unsigned readings_settle(void)
{
        unsigned before, now = readings;

        do { /* two readings' time without one */
                before = now;
                nanosleep(&(struct timespec){ .tv_nsec = 600000000 }, NULL);
                now = readings;
        } while (now != before);
        return now;
}

Test(overload, comes_down_and_then_sleeps_when_there_is_no_device)
{
        struct worker *worker = start();
        int device = client_join(worker, "");

        come_to(worker, LADDER_LAG, LADDER_NO_RESUMES);
        close(device);
        cr_assert(test_wait_devices(worker, 0));
        come_to(worker, LADDER_LAG, LADDER_CALM);  /* ticks go on for it */
        cr_assert(gt(uint, readings_settle(), 0)); /* ends: or the test is stopped */
        for (unsigned i = 0; i < LADDER_GAUGES; i++)
                cr_assert(zero(u32, worker_gauge(worker, i)));
        worker_destroy(worker);
}

Test(overload, a_worker_at_ease_sheds_nothing)
{
        struct worker_options options = test_worker_options();
        struct worker *worker = test_worker_start(&options);
        int device;

        test_install(worker, 1);
        device = client_join(worker, "");
        for (unsigned i = 0; i < 30000 && worker_gauge(worker, LADDER_DESCRIPTORS) == 0; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        cr_assert(gt(u32, worker_gauge(worker, LADDER_DESCRIPTORS), 0)); /* it was read */
        cr_assert(eq(int, worker_overload(worker), LADDER_CALM));
        close(device);
        worker_destroy(worker);
}
