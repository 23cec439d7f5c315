/* What comes over the wire, from servers that are in trouble, hostile, or faster than we are. */
#include "tests/base/redis_bench.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "base/clock.h"
#include "tests/support/redis_server.h"

/* --- a server of the test's own: the same bytes for everybody ----------------------------------
 */

struct script {
        struct evconnlistener *listener;
        struct bufferevent *client; /* the last one */
        const char *says;           /* at once, whatever it is asked */
        char url[64];
};

static void script_event(struct bufferevent *bytes, short what, void *arg)
{
        struct script *script = arg;

        (void)what;
        if (script->client == bytes)
                script->client = NULL;
        bufferevent_free(bytes);
}

static void script_accepts(struct evconnlistener *listener, evutil_socket_t fd,
                           struct sockaddr *address, int len, void *arg)
{
        struct script *script = arg;

        (void)address;
        (void)len;
        if (script->client != NULL)
                bufferevent_free(script->client);
        script->client =
            bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
        bufferevent_setcb(script->client, NULL, NULL, script_event, script);
        bufferevent_enable(script->client, EV_READ | EV_WRITE);
        bufferevent_write(script->client, script->says, strlen(script->says));
}

static void script_start(struct script *script, struct event_base *base, const char *says)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        *script = (struct script){ .says = says };
        script->listener =
            evconnlistener_new_bind(base, script_accepts, script, LEV_OPT_CLOSE_ON_FREE, 16,
                                    (struct sockaddr *)&address, sizeof(address));
        getsockname(evconnlistener_get_fd(script->listener), (struct sockaddr *)&address, &len);
        snprintf(script->url, sizeof(script->url), "redis://127.0.0.1:%u", ntohs(address.sin_port));
}

static void script_end(struct script *script)
{
        if (script->client != NULL)
                bufferevent_free(script->client);
        evconnlistener_free(script->listener);
}

static void ends_with(const char *says, const char *why)
{
        struct bench *b = bench_create();
        struct script script;

        script_start(&script, b->base, says);
        bench_link(b, script.url, (struct redis_options){ .timeout_ms = 300, .primary = true },
                   NULL);
        BENCH_UNTIL(b, b->downs == 1);
        cr_expect(strstr(b->why, why) != NULL, "\"%s\" ended with: %s", says, b->why);
        cr_expect(eq(uint, b->ups, 0));
        script_end(&script);
        bench_destroy(b);
}

Test(redis_wire, nonsense_ends_the_link_with_a_reason_and_never_the_process)
{
        ends_with("HTTP/1.1 400 Bad Request\r\n\r\n", "not an answer of Redis");
        ends_with("*99999999999999999999\r\n", "not an answer of Redis");
        ends_with("*1048577\r\n", "not an answer of Redis"); /* more members than there may be */
        ends_with("*2147483647\r\n*2147483647\r\n", "not an answer of Redis");
        /* hiredis 0.14 takes no more than 7 arrays in each other; 1.x waits for the rest in vain.
         */
        ends_with("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "");
        ends_with("$-7\r\n", "");
        ends_with("$5\r\nab", "no answer within 300 ms");
        ends_with("+OK\r\n+what?\r\n", "INFO: the server does not say who it is");
        ends_with("+OK\r\n$4\r\nrole\r\n+PONG\r\n", "INFO: the server does not say who it is");
        ends_with("-LOADING Redis is loading the dataset in memory\r\n-LOADING x\r\n",
                  "INFO: LOADING");
        ends_with("-ERR max number of clients reached\r\n", "max number of clients reached");
        ends_with("-DENIED Redis is running in protected mode\r\n", "DENIED");
}

Test(redis_wire, an_answer_that_nobody_asked_for_ends_the_link)
{
        static const char up[] = "+OK\r\n$113\r\n"
                                 "redis_version:7.0.15\nrole:master\n"
                                 "run_id:aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
                                 "master_replid:bbbbbbbbbbbbbbbbbbbbbbbbbbbb\n\r\n+PONG\r\n";
        struct bench *b = bench_create();
        struct script script;

        script_start(&script, b->base, up);
        bench_link(b, script.url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, b->ups == 1);
        bufferevent_write(script.client, "+surprise\r\n", 11);
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(strstr(b->why, "nobody asked for: surprise") != NULL, "%s", b->why);
        script_end(&script);
        bench_destroy(b);
}

/* A server on a unix socket, in a thread, that says why and closes before it reads anything. */
#define REFUSALS 300

static void *refuse(void *arg)
{
        static const char says[] = "-ERR max number of clients reached\r\n";
        const int *listener = arg;

        for (unsigned i = 0; i < REFUSALS; i++) {
                int fd = accept(*listener, NULL, NULL);

                for (uint64_t until_us = clock_mono_us() + i; clock_mono_us() < until_us;)
                        ; /* each time a microsecond later */
                check(fd >= 0 && write(fd, says, sizeof(says) - 1) == sizeof(says) - 1);
                close(fd);
        }
        return NULL;
}

/* At some of these moments our greeting meets EPIPE while what was said is still to be read. */
Test(redis_wire, what_was_said_before_the_close_is_heard_even_if_our_greeting_cannot_be_sent)
{
        char dir[] = "/tmp/kickoff-wire-XXXXXX";
        char url[sizeof("unix://") + sizeof(dir) + sizeof("/redis.sock")];
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        pthread_t thread;

        cr_assert(mkdtemp(dir) != NULL);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/redis.sock", dir);
        snprintf(url, sizeof(url), "unix://%s/redis.sock", dir);
        cr_assert(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
        cr_assert(listen(listener, 16) == 0);
        cr_assert(pthread_create(&thread, NULL, refuse, &listener) == 0);
        for (unsigned i = 0; i < REFUSALS; i++) {
                struct bench *b = bench_create();

                bench_link(b, url, (struct redis_options){ 0 }, NULL);
                BENCH_UNTIL(b, b->downs == 1);
                cr_expect(strstr(b->why, "max number of clients") != NULL, "%s", b->why);
                bench_destroy(b);
        }
        pthread_join(thread, NULL);
        close(listener);
        unlink(address.sun_path);
        rmdir(dir);
}

Test(redis_wire, too_many_clients_is_the_reason_that_is_told)
{
        struct bench *first = bench_create(), *second = bench_create();
        struct test_redis *server = test_redis_start(NULL);

        test_redis_do(server, "CONFIG", "SET", "maxclients", "1", NULL);
        bench_link(first, test_redis_url(server), (struct redis_options){ 0 }, NULL);
        BENCH_UNTIL(first, first->ups == 1);
        bench_link(second, test_redis_url(server), (struct redis_options){ 0 }, NULL);
        BENCH_UNTIL(second, second->downs == 1);
        cr_assert(strstr(second->why, "max number of clients") != NULL, "%s", second->why);
        bench_destroy(second);
        bench_destroy(first);
        test_redis_destroy(server);
}

/* --- a publisher that does not wait for us -----------------------------------------------------
 */

#define MESSAGES 12000
#define BATCH    50

static void publish(const char *path)
{
        static char text[BATCH * 1100];
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        size_t len = 0;

        strcpy(address.sun_path, path);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
                _exit(1);
        for (int i = 0; i < BATCH; i++)
                len += (size_t)sprintf(text + len, "PUBLISH news %01000d\r\n", i);
        for (int batch = 0; batch < MESSAGES / BATCH; batch++) {
                char answers[BATCH * 4]; /* ":1\r\n" each */

                if (write(fd, text, len) != (ssize_t)len)
                        _exit(1);
                for (size_t got = 0; got < sizeof(answers);) {
                        ssize_t n = read(fd, answers, sizeof(answers) - got);

                        if (n <= 0)
                                _exit(1);
                        got += (size_t)n;
                }
                usleep(2000); /* 25 MB/s: five times as fast as the subscriber works */
        }
        _exit(0);
}

struct slow {
        unsigned n;
        size_t bytes;
};

static void on_slow_message(void *owner, const char *bytes, size_t len)
{
        struct slow *slow = owner;
        uint64_t until_us = clock_mono_us() + 200;

        (void)bytes;
        slow->n++;
        slow->bytes += len;
        while (clock_mono_us() < until_us)
                ; /* our work on it */
}

/* Twelve megabytes in half a second, a fifth of a millisecond's work on each kilobyte of it, and a
 * server that cuts off whoever is six megabytes behind. */
Test(redis_wire, subscriber_reads_first_and_works_later_so_that_redis_does_not_cut_it_off)
{
        struct bench *b = bench_create();
        struct test_redis *server =
            test_redis_start("--client-output-buffer-limit", "pubsub 6mb 0 0", NULL);
        struct redis_options options = { .name = "test", .on_state = bench_on_state, .owner = b };
        struct slow slow = { 0 };
        const char *why;
        pid_t publisher;
        int status;

        cr_assert(eq(int, redis_parse_url(test_redis_url(server), &options.address, &why), OK));
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        cr_assert(eq(int, redis_subscribe(b->redis, "news", on_slow_message, &slow), OK));
        BENCH_UNTIL(b, b->ups == 1);
        publisher = fork();
        if (publisher == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                publish(test_redis_socket(server));
        }
        BENCH_UNTIL(b, slow.n == MESSAGES || b->downs > 0);
        cr_assert(eq(uint, b->downs, 0), "%s after %u messages", b->why, slow.n);
        cr_assert(eq(sz, slow.bytes, (size_t)MESSAGES * 1000));
        cr_assert(eq(int, waitpid(publisher, &status, 0), publisher));
        cr_assert(zero(int, status));
        bench_destroy(b);
        test_redis_destroy(server);
}
