/* The door of a real worker: crowds, proxies, addresses, rates, overload, and what those are told
 * who do not get in. */
#include "tests/gateway/client.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "gateway/gateway_metrics.h"
#include "gateway/ladder.h"
#include "gateway/listener.h"

static char head[4096], body[4096];

static struct worker_options patient(void)
{
        struct worker_options options = test_worker_options();

        options.handshake_ms = 60000; /* whoever is closed here is closed for another reason */
        options.admission.grace_ms = 1;
        return options;
}

static struct worker *start(const struct worker_options *options)
{
        struct worker *worker = test_worker_start(options);

        test_install(worker, 5);
        return worker;
}

/* Asks to come in, after `before`. The status; with 101, hello and so on are still to be read. */
static int knock(int fd, const char *before, const char *query, const char *fields)
{
        client_say(fd, before);
        client_upgrade(fd, query, fields);
        client_read_head(fd, head, sizeof(head));
        return atoi(head + 9);
}

static int come(const struct worker *worker, const char *before, const char *query, int *ret_status)
{
        int fd = client_connect(worker);

        *ret_status = knock(fd, before, query, "");
        return fd;
}

static unsigned long retry_after(void)
{
        const char *field = strstr(head, "\r\nRetry-After: ");

        cr_assert(field != NULL, "%s", head);
        return strtoul(field + 15, NULL, 10);
}

static const char *since(void)
{
        static char text[16 + TOKEN_TEXT_MAX];
        struct token token = log_token(EPOCH, 0, 5);

        strcpy(text, "&since=");
        text[7 + token_format(&token, text + 7)] = '\0';
        return text;
}

static bool is_open(int fd)
{
        char byte;

        return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* --- crowds ---------------------------------------------------------------------------------- */

Test(entrance, thousands_of_silent_sockets_keep_no_device_out)
{
        enum { SILENT = 2000, LINE = 100 };
        struct worker_options options = patient();
        const struct rlimit limit = { 2 * SILENT + 1000, 2 * SILENT + 1000 };
        static int silent[SILENT];
        struct worker *worker;
        int first, last, open = 0;

        setrlimit(RLIMIT_NOFILE, &limit);
        options.admission.handshakes = LINE;
        worker = start(&options);
        first = client_join(worker, "");
        for (int i = 0; i < SILENT; i++)
                silent[i] = client_connect(worker);
        last = client_join(worker, "");
        test_entry(worker, 6);
        client_expect_signal(first, ENCODING_JSON, 6);
        client_expect_signal(last, ENCODING_JSON, 6);
        /* Whoever comes after them all has been accepted after them all. */
        for (int i = 0; i < SILENT; i++) {
                open += is_open(silent[i]);
                close(silent[i]);
        }
        cr_assert(le(int, open, LINE + LINE / 4));
        cr_assert(ge(i64, metric_value(&m_evicted), SILENT - LINE - LINE / 4));
        close(first);
        close(last);
        worker_destroy(worker);
}

/* Connects, and returns when the worker has taken it in, and its grace is over. */
static int stand_in_line(const struct worker *worker)
{
        int64_t before = metric_value(&m_accepted);
        int fd = client_connect(worker);

        for (int i = 0; i < 10000 && metric_value(&m_accepted) == before; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        return fd;
}

Test(entrance, a_rush_of_those_who_are_slow_to_speak_is_no_attack)
{
        enum { RUSH = 60, LINE = 16 };
        struct worker_options options = patient();
        struct worker *worker;
        int fds[RUSH];
        int64_t before;

        options.admission.handshakes = LINE;
        options.admission.grace_ms = 60000;
        worker = start(&options);
        before = metric_value(&m_accepted);
        for (int i = 0; i < RUSH; i++)
                fds[i] = client_connect(worker);
        for (int i = 0; i < 10000 && metric_value(&m_accepted) < before + LINE; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL); /* more would come by now */
        cr_assert(eq(i64, metric_value(&m_accepted), before + LINE));
        for (int i = 0; i < RUSH; i++) /* and as they speak there is room for the next */
                cr_assert(eq(int, knock(fds[i], "", "", ""), 101));
        cr_assert(zero(i64, metric_value(&m_evicted)));
        for (int i = 0; i < RUSH; i++)
                close(fds[i]);
        worker_destroy(worker);
}

Test(entrance, the_oldest_silent_one_goes_and_none_that_is_in_the_middle_of_a_request)
{
        enum { LINE = 6 };
        struct worker_options options = patient();
        struct worker *worker;
        int fds[LINE + 2], status;

        options.admission.handshakes = LINE;
        worker = start(&options);
        fds[0] = stand_in_line(worker);
        client_say(fds[0], "GET /healthz HTTP/1.1\r\n");
        for (int i = 1; i < LINE; i++)
                fds[i] = stand_in_line(worker);
        for (int i = LINE; i < LINE + 2; i++) {
                cr_assert(is_open(fds[i - LINE + 1]));
                fds[i] = stand_in_line(worker);
                cr_assert(client_sees_end(fds[i - LINE + 1]), "%d", i);
        }
        client_say(fds[0], "Host: n\r\n\r\n");
        cr_assert(
            eq(int, client_read_response(fds[0], head, sizeof(head), body, sizeof(body)), 200));
        for (int i = 3; i < LINE + 2; i++) { /* and those who stayed are served */
                status = knock(fds[i], "", "", "");
                cr_assert(eq(int, status, 101));
        }
        for (int i = 0; i < LINE + 2; i++)
                close(fds[i]);
        worker_destroy(worker);
}

Test(entrance, a_kept_connection_does_not_stretch_a_heads_deadline)
{
        struct worker_options options = test_worker_options();
        static const char request[] = "GET /healthz HTTP/1.1\r\nHost: n\r\nX: ";
        struct worker *worker;
        int fd, sent = 0;

        options.handshake_ms = 300;
        worker = start(&options);
        fd = client_connect(worker);
        client_say(fd, "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n");
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
        for (; sent < 5000; sent++) { /* each byte alone is in time */
                const char *byte = sent < (int)sizeof(request) - 1 ? request + sent : "x";

                if (send(fd, byte, 1, MSG_NOSIGNAL) < 0 || !is_open(fd))
                        break;
                nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
        }
        cr_assert(lt(int, sent, 5000)); /* 50 deadlines long */
        close(fd);
        worker_destroy(worker);
}

Test(entrance, descriptors_are_kept_for_guests_and_for_the_node)
{
        struct worker_options options = patient();
        struct rlimit limit = { 600, 600 };
        struct worker *worker;
        int fds[300], status = 101, n = 0, silent;

        cr_assert(zero(int, setrlimit(RLIMIT_NOFILE, &limit)));
        worker = start(&options);
        silent = client_connect(worker);
        while (status == 101 && n < 290) {
                fds[n++] = come(worker, "", "", &status);
        }
        cr_assert(eq(int, status, 503)); /* with a word, since descriptors for that were kept */
        cr_assert(ge(ulong, retry_after(), 1));
        /* Both ends are in this process, next to each other; a few lower numbers may be free. */
        cr_assert(ge(int, fds[n - 1], 600 - LISTENER_FDS_FOR_GUESTS - 2));
        cr_assert(le(int, fds[n - 1], 600 - LISTENER_FDS_FOR_GUESTS + 2));
        /* Whoever says nothing gives its place for the next that waits. */
        fds[n] = client_connect(worker);
        cr_assert(client_sees_end(silent));
        close(silent);
        for (int i = 0; i <= n; i++)
                close(fds[i]);
        cr_assert(test_wait_devices(worker, 0));
        fds[0] = client_join(worker, "");
        close(fds[0]);
        worker_destroy(worker);
}

/* --- addresses ------------------------------------------------------------------------------- */

Test(entrance, an_address_has_so_many_devices_and_the_next_is_told_429)
{
        struct worker_options options = patient();
        struct worker *worker;
        int first, second, third, status;

        options.admission.per_address = 2;
        worker = start(&options);
        first = client_join(worker, "");
        second = client_join(worker, "");
        third = come(worker, "", "", &status);
        cr_assert(eq(int, status, 429));
        cr_assert(ge(ulong, retry_after(), 30));
        cr_assert(le(ulong, retry_after(), 60));
        cr_assert(strstr(head, "\r\nConnection: close\r\n") != NULL);
        close(third);
        close(second);
        cr_assert(test_wait_devices(worker, 1));
        second = client_join(worker, "");
        close(first);
        close(second);
        worker_destroy(worker);
}

/* --- proxies --------------------------------------------------------------------------------- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static struct address_ranges here;

static struct worker *behind_proxy(const char *ranges, uint32_t per_address)
{
        struct worker_options options = patient();
        const char *why;
        struct worker *worker;

        cr_assert(eq(int, address_ranges_parse(ranges, &here, &why), OK));
        options.proxies = &here;
        options.admission.per_address = per_address;
        worker = test_worker_start(&options);
        return worker;
}

/* test_install() asks without a PROXY header. */
static void install(struct worker *worker)
{
        struct snapshot *snapshot = log_snapshot(5);
        int status = 0;

        worker_install(worker, snapshot, NULL, 0);
        snapshot_unref(snapshot);
        for (int i = 0; i < 10000 && status != 200; i++) {
                int fd = client_connect(worker);

                client_say(fd, "PROXY UNKNOWN\r\nGET /healthz HTTP/1.1\r\nHost: n\r\n\r\n");
                status = client_read_response(fd, head, sizeof(head), body, sizeof(body));
                close(fd);
        }
        cr_assert(eq(int, status, 200));
}

Test(entrance, a_trusted_proxy_says_whose_connection_it_is)
{
        static const struct {
                const char *proxy;
                int status;
        } table[] = {
                { "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", 101 },
                { "PROXY TCP4 192.0.2.2 10.0.0.1 4711 80\r\n", 101 },
                { "PROXY TCP4 192.0.2.1 10.0.0.1 4712 80\r\n", 429 },
                { "PROXY TCP6 ::ffff:192.0.2.1 ::1 4712 80\r\n", 429 },
                { "PROXY TCP6 2001:db8:1:2::1 ::1 4711 80\r\n", 101 },
                { "PROXY TCP6 2001:db8:1:2:ffff::9 ::1 4711 80\r\n", 429 }, /* the same /64 */
                { "PROXY TCP6 2001:db8:1:3::1 ::1 4711 80\r\n", 101 },
                { "PROXY TCP4 127.0.0.1 127.0.0.1 4711 80\r\n", 101 }, /* as any other */
                { "PROXY TCP4 127.0.0.1 127.0.0.1 4712 80\r\n", 429 },
                { "PROXY UNKNOWN\r\n", 101 },
                { "PROXY UNKNOWN\r\n", 101 }, /* nobody's: not counted */
        };
        struct worker *worker = behind_proxy("10.0.0.0/8,127.0.0.0/8", 1);
        int fds[countof(table)];

        install(worker);
        for (size_t i = 0; i < countof(table); i++) {
                int status;

                fds[i] = come(worker, table[i].proxy, "", &status);
                cr_assert(eq(int, status, table[i].status), "%s", table[i].proxy);
        }
        for (size_t i = 0; i < countof(table); i++)
                close(fds[i]);
        worker_destroy(worker);
}

Test(entrance, the_binary_header_is_as_good_in_any_pieces)
{
        static const char v2[] =
            SIGNATURE "\x21\x11\x00\x0f\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x67"
                      "\x00\x50\x04\x00\x00"; /* a TLV at its end */
        struct worker *worker = behind_proxy("127.0.0.1", 1);
        int first, second;

        install(worker);
        first = client_connect(worker);
        for (size_t i = 0; i < sizeof(v2) - 1; i++)
                client_send(first, v2 + i, 1);
        cr_assert(eq(int, knock(first, "", "", ""), 101));
        second = client_connect(worker);
        client_send(second, v2, sizeof(v2) - 1);
        cr_assert(eq(int, knock(second, "", "", ""), 429)); /* so it was read, both times */
        close(second);
        second = client_connect(worker);
        client_send(second, SIGNATURE "\x20\x00\x00\x00", 16); /* the proxy's own check */
        cr_assert(eq(int, knock(second, "", "", ""), 101));
        close(first);
        close(second);
        worker_destroy(worker);
}

Test(entrance, a_proxy_that_does_not_say_so_is_closed)
{
        static const char *const table[] = { "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n",
                                             "PROXY TCP4 nonsense\r\n", "PUT", "\r\n\r\nx" };
        struct worker *worker = behind_proxy("127.0.0.0/8", 0);

        for (size_t i = 0; i < countof(table); i++) {
                int fd = client_connect(worker);

                client_say(fd, table[i]);
                cr_assert(client_sees_end(fd), "%s", table[i]);
                close(fd);
        }
        cr_assert(eq(i64, metric_value(&m_proxy_broken), (int64_t)countof(table)));
        worker_destroy(worker);
}

Test(entrance, nobody_else_is_believed)
{
        struct worker *worker = behind_proxy("10.0.0.0/8,::1", 1);
        int fd, status;

        test_install(worker, 5);
        fd = come(worker, "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", "", &status);
        cr_assert(eq(int, status, 400));
        close(fd);
        fd = client_join(worker, "");
        close(fd);
        worker_destroy(worker);
}

/* --- rates ----------------------------------------------------------------------------------- */

Test(entrance, a_resume_gets_in_when_newcomers_do_not)
{
        struct worker_options options = patient();
        struct worker *worker;
        int fds[200], status = 101, n = 0;

        options.admission.rate = 1; /* four at once, of which one is for a resume */
        worker = start(&options);
        while (status == 101 && n < 190)
                fds[n++] = come(worker, "", "", &status);
        cr_assert(eq(int, status, 503));
        cr_assert(ge(ulong, retry_after(), 1));
        cr_assert(le(ulong, retry_after(), 60));
        fds[n++] = come(worker, "", since(), &status);
        cr_assert(eq(int, status, 101));
        for (int i = 0; i < n; i++)
                close(fds[i]);
        worker_destroy(worker);
}

Test(entrance, a_token_that_nobody_knows_is_no_resume)
{
        struct worker_options options = patient();
        struct worker *worker;
        int fds[200], status = 101, n = 0;

        options.admission.rate = 1;
        worker = start(&options);
        while (status == 101 && n < 190)
                fds[n++] = come(worker, "", "&since=00000000000000ff.5.0000000000000001", &status);
        cr_assert(eq(int, status, 503));
        fds[n++] = come(worker, "", since(), &status);
        cr_assert(eq(int, status, 101));
        for (int i = 0; i < n; i++)
                close(fds[i]);
        worker_destroy(worker);
}

Test(entrance, the_refused_are_not_all_told_the_same)
{
        struct worker_options options = patient();
        struct worker *worker;
        unsigned long first = 0;
        int inside, others = 0;

        options.max_devices = 1;
        worker = start(&options);
        inside = client_join(worker, "");
        for (int i = 0; i < 64; i++) {
                int status, fd = come(worker, "", "", &status);

                cr_assert(eq(int, status, 503));
                if (i == 0)
                        first = retry_after();
                others += retry_after() != first;
                close(fd);
        }
        cr_assert(gt(int, others, 0));
        close(inside);
        worker_destroy(worker);
}

/* --- browsers -------------------------------------------------------------------------------- */

static void expect_goaway(int fd, enum encoding encoding)
{
        struct message message = client_read_message(fd, encoding);

        cr_assert(eq(int, message.type, MESSAGE_GOAWAY));
        cr_assert(eq(int, message.goaway.reason, GOAWAY_OVERLOAD));
        cr_assert(ge(u32, message.goaway.min_ms, 1000));
        cr_assert(eq(u32, message.goaway.max_ms, 2 * message.goaway.min_ms));
        message_fini(&message);
        client_expect_close(fd, 1013);
}

Test(entrance, a_browser_is_told_by_goaway_since_it_cannot_see_a_status)
{
        struct worker_options options = patient();
        struct worker *worker;
        int inside, fd, status;

        options.max_devices = 1;
        worker = start(&options);
        inside = client_join(worker, "");
        fd = client_connect(worker);
        cr_assert(eq(int, knock(fd, "", "", "Origin: https://tv.example.com\r\n"), 101));
        expect_goaway(fd, ENCODING_JSON);
        close(fd);
        fd = client_connect(worker);
        status = knock(fd, "", "",
                       "Origin: https://tv.example.com\r\n"
                       "Sec-WebSocket-Protocol: kickoff.v1.msgpack\r\n");
        cr_assert(eq(int, status, 101));
        cr_assert(strstr(head, "\r\nSec-WebSocket-Protocol: kickoff.v1.msgpack\r\n") != NULL);
        expect_goaway(fd, ENCODING_MSGPACK);
        close(fd);
        fd = come(worker, "", "", &status);
        cr_assert(eq(int, status, 503));
        cr_assert(eq(u64, worker_devices(worker), 1));
        close(fd);
        close(inside);
        worker_destroy(worker);
}

/* --- overload -------------------------------------------------------------------------------- */

static _Atomic uint32_t memory;

static void read_gauges(void *arg, struct ladder_reading *reading)
{
        (void)arg;
        memset(reading, 0, sizeof(*reading));
        reading->at[LADDER_MEMORY] = memory;
}

static void climb(const struct worker *worker, enum ladder_step step)
{
        memory = ladder_mark(LADDER_MEMORY, step);
        for (unsigned i = 0; i < 30000 && worker_overload(worker) != step; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        cr_assert(eq(int, worker_overload(worker), step));
}

static int get(const struct worker *worker, const char *target)
{
        char text[256];
        int fd = client_connect(worker), status;

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: n\r\n\r\n", target);
        client_say(fd, text);
        status = client_read_response(fd, head, sizeof(head), body, sizeof(body));
        close(fd);
        return status;
}

Test(entrance, overload_sheds_fetches_first_then_newcomers_then_resumes_and_signals_never)
{
        static const struct {
                enum ladder_step step;
                int events, newcomer, resume;
        } table[] = {
                { LADDER_CALM, 200, 101, 101 },
                { LADDER_NO_PREFETCH, 503, 101, 101 },
                { LADDER_NO_NEWCOMERS, 503, 503, 101 },
                { LADDER_NO_RESUMES, 503, 503, 503 },
        };
        struct worker_options options = patient();
        struct worker *worker;
        int inside;

        options.read_gauges = read_gauges;
        worker = start(&options);
        inside = client_join(worker, "");
        for (size_t i = 0; i < countof(table); i++) {
                int fd, status;

                if (table[i].step != LADDER_CALM)
                        climb(worker, table[i].step);
                cr_assert(eq(int, get(worker, "/v1/events"), table[i].events), "row %zu", i);
                if (table[i].events == 503)
                        cr_assert(ge(ulong, retry_after(), 1));
                if (table[i].events == 503) {
                        cr_assert(eq(int, get(worker, "/v1/prefetch/derby"), 503), "row %zu", i);
                        cr_assert(ge(ulong, retry_after(), 5), "row %zu", i);
                }
                fd = come(worker, "", "", &status);
                cr_assert(eq(int, status, table[i].newcomer), "row %zu", i);
                close(fd);
                fd = come(worker, "", since(), &status);
                cr_assert(eq(int, status, table[i].resume), "row %zu", i);
                close(fd);
                cr_assert(eq(int, get(worker, "/healthz"), 200), "row %zu", i);
        }
        test_entry(worker, 6);
        client_expect_signal(inside, ENCODING_JSON, 6);
        close(inside);
        worker_destroy(worker);
}
