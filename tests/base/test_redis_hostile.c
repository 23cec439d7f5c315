/* Servers of Redis that are worse than gone: they talk for ever, hang up at once, send each other's
 * clients in circles, or repeat a secret they were told. The link says one reason, waits, and comes
 * back; it neither spins nor grows. */
#include "tests/base/redis_bench.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* --- a server in a process of its own: it can be faster than our loop ------------------------- */

struct hostile;
typedef void serve_fn(const struct hostile *hostile, int client);

struct hostile {
        serve_fn *serve; /* NULL = the port refuses */
        const char *says, *again;
        bool cut;
        atomic_uint *connects; /* shared with the process */
        int listener;
        uint16_t port;
        pid_t pid;
        char url[64];
};

static void serve_all(const struct hostile *hostile)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        for (;;) {
                int client = accept(hostile->listener, NULL, NULL);

                if (client < 0)
                        _exit(1);
                atomic_fetch_add(hostile->connects, 1);
                hostile->serve(hostile, client);
                close(client);
        }
}

static void hostile_start(struct hostile *hostile)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        hostile->connects = mmap(NULL, sizeof(*hostile->connects), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        hostile->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(zero(int, bind(hostile->listener, (struct sockaddr *)&address, len)));
        getsockname(hostile->listener, (struct sockaddr *)&address, &len);
        cr_assert(zero(int, listen(hostile->listener, 64)));
        hostile->port = ntohs(address.sin_port);
        snprintf(hostile->url, sizeof(hostile->url), "redis://127.0.0.1:%u", hostile->port);
        hostile->pid = fork();
        if (hostile->pid == 0)
                serve_all(hostile);
}

static void hostile_end(struct hostile *hostile)
{
        kill(hostile->pid, SIGKILL);
        waitpid(hostile->pid, NULL, 0);
        close(hostile->listener);
        munmap(hostile->connects, sizeof(*hostile->connects));
}

/* --- talks for ever --------------------------------------------------------------------------- */

static void says_then_repeats(const struct hostile *hostile, int client)
{
        static char much[1 << 20];
        size_t len = strlen(hostile->again);

        for (size_t i = 0; i + len <= sizeof(much); i += len)
                memcpy(much + i, hostile->again, len);
        if (write(client, hostile->says, strlen(hostile->says)) < 0)
                return;
        while (write(client, much, sizeof(much) / len * len) > 0)
                ;
}

static void ends_although_it_goes_on(const char *says, const char *again, const char *why)
{
        struct hostile hostile = { .serve = says_then_repeats, .says = says, .again = again };
        struct bench *b = bench_create();

        hostile_start(&hostile);
        bench_link(b, hostile.url, (struct redis_options){ .timeout_ms = 300 }, NULL);
        BENCH_UNTIL(b, b->downs == 1);
        cr_expect(strstr(b->why, why) != NULL, "\"%s\" ended with: %s", says, b->why);
        bench_destroy(b);
        hostile_end(&hostile);
}

Test(redis_hostile, nonsense_that_never_ends_is_not_waited_for)
{
        ends_although_it_goes_on("HTTP/1.1 200 OK\r\n", "x", "not an answer of Redis");
}

Test(redis_hostile, an_answer_that_never_ends_is_not_waited_for)
{
        ends_although_it_goes_on("$1073741824\r\n", "x", "64 MiB");
}

Test(redis_hostile, answers_without_questions_that_never_end_are_not_waited_for)
{
        ends_although_it_goes_on("+OK\r\n", "+OK\r\n", "");
}

/* --- hangs up, loads for ever, sends in circles ----------------------------------------------- */

static void hangs_up(const struct hostile *hostile, int client)
{
        (void)hostile, (void)client;
}

static void says_once(const struct hostile *hostile, int client)
{
        char asked[4096];

        if (write(client, hostile->says, strlen(hostile->says)) < 0)
                return;
        while (read(client, asked, sizeof(asked)) > 0)
                ;
}

#define LOADING "-LOADING Redis is loading the dataset in memory\r\n"
#define IS_CLUSTER                                                \
        "+OK\r\n$132\r\n"                                         \
        "redis_version:7.0.15\nredis_mode:cluster\nrole:master\n" \
        "run_id:aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"                  \
        "master_replid:bbbbbbbbbbbbbbbbbbbbbbbbbbbb\n\r\n"

static void moves_to_itself(const struct hostile *hostile, int client)
{
        char text[512];

        snprintf(text, sizeof(text), "%s-MOVED 1 %s:%u\r\n+PONG\r\n", hostile->says, hostile->again,
                 hostile->port);
        if (write(client, text, strlen(text)) > 0)
                while (read(client, text, sizeof(text)) > 0)
                        ;
}

#define MEASURED_MS 3000

/* `most` is several times what full jitter up to a second gives; a link that spins makes thousands.
 */
static void comes_back_in_measure(serve_fn *serve, const char *says, const char *again,
                                  unsigned most)
{
        struct hostile hostile = { .serve = serve, .says = says, .again = again };
        struct bench *b = bench_create();
        uint64_t until_ms = clock_mono_ms() + MEASURED_MS;
        unsigned connects;

        hostile_start(&hostile);
        bench_link(b, hostile.url, (struct redis_options){ .slot_key = "k" }, NULL);
        BENCH_UNTIL(b, clock_mono_ms() >= until_ms || b->ups > 0);
        connects = atomic_load(hostile.connects);
        fprintf(stderr, "connects in %d ms: %u; downs told: %u; %s\n", MEASURED_MS, connects,
                b->downs, b->why);
        cr_expect(connects >= 1 && connects <= most, "%u connects, %s", connects, b->why);
        cr_expect(eq(uint, b->downs, 1)); /* the same reason is told once */
        bench_destroy(b);
        hostile_end(&hostile);
}

Test(redis_hostile, that_hangs_up_at_once_is_asked_a_few_times_a_second)
{
        comes_back_in_measure(hangs_up, "", "", 60);
}

Test(redis_hostile, that_loads_for_ever_is_asked_a_few_times_a_second)
{
        comes_back_in_measure(says_once, "+OK\r\n" LOADING LOADING LOADING, "", 60);
}

Test(redis_hostile, that_sends_in_circles_is_followed_in_measure)
{
        comes_back_in_measure(moves_to_itself, IS_CLUSTER, "127.0.0.1", 250);
        comes_back_in_measure(moves_to_itself, IS_CLUSTER, "", 250);
        comes_back_in_measure(moves_to_itself, IS_CLUSTER, "localhost", 250);
}

/* --- a byte now and then ---------------------------------------------------------------------- */

static void drips(const struct hostile *hostile, int client)
{
        for (const char *at = hostile->says; *at != '\0'; at++) {
                if (send(client, at, 1, MSG_NOSIGNAL) != 1)
                        return;
                usleep(20 * 1000);
        }
}

Test(redis_hostile, that_drips_is_given_up_at_the_deadline)
{
        struct hostile hostile = { .serve = drips,
                                   .says = "$1000\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" };
        struct bench *b = bench_create();

        hostile_start(&hostile);
        bench_link(b, hostile.url, (struct redis_options){ .timeout_ms = 300 }, NULL);
        BENCH_UNTIL(b, b->downs == 1);
        cr_assert(strstr(b->why, "no answer within 300 ms") != NULL, "%s", b->why);
        bench_destroy(b);
        hostile_end(&hostile);
}

/* --- secrets ---------------------------------------------------------------------------------- */

static void repeats_what_it_was_told(const struct hostile *hostile, int client)
{
        char asked[2048], text[4096];
        ssize_t len = read(client, asked, sizeof(asked) - 1);

        if (len <= 0)
                return;
        asked[len] = '\0';
        for (ssize_t i = 0; i < len; i++)
                asked[i] = asked[i] < ' ' ? ' ' : asked[i];
        snprintf(text, sizeof(text), "%s %.*s\r\n", hostile->says, hostile->cut ? 40 : 1000, asked);
        if (write(client, text, strlen(text)) > 0)
                (void)!read(client, asked, sizeof(asked));
}

static void keeps_the_secret(const char *says, bool cut, const char *format)
{
        struct hostile hostile = { .serve = repeats_what_it_was_told, .says = says, .cut = cut };
        struct bench *b = bench_create();
        char url[200];

        hostile_start(&hostile);
        snprintf(url, sizeof(url), format, hostile.port);
        bench_link(b, url, (struct redis_options){ .timeout_ms = 2000 }, NULL);
        BENCH_UNTIL(b, b->downs == 1);
        cr_expect(strstr(b->why, "sesame") == NULL, "%s", b->why);
        cr_expect(strstr(b->why, "AUTH: ") != NULL, "%s", b->why);
        bench_destroy(b);
        hostile_end(&hostile);
}

/* Redis repeats an unknown command's arguments, cut off somewhere (AUTH may be renamed away), and
 * what we are told goes into the log and into /readyz. */
Test(redis_hostile, that_repeats_the_password_does_not_get_it_into_the_reason)
{
        static const char *const urls[] = {
                "redis://:sesame-open@127.0.0.1:%u",
                "redis://kickoff:sesame-open@127.0.0.1:%u",
                "sentinel://127.0.0.1:%u/event?sentinel_password=sesame-open",
        };

        for (size_t i = 0; i < countof(urls); i++) {
                keeps_the_secret("-ERR unknown command 'AUTH', with args beginning with:", true,
                                 urls[i]);
                keeps_the_secret("-ERR what do you mean by", false, urls[i]);
        }
}

/* --- sentinels that are all away -------------------------------------------------------------- */

static uint16_t refused_port(int *ret_fd)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound, not listening */
        cr_assert(zero(int, bind(*ret_fd, (struct sockaddr *)&address, len)));
        getsockname(*ret_fd, (struct sockaddr *)&address, &len);
        return ntohs(address.sin_port);
}

Test(redis_hostile, sentinels_that_are_all_away_are_told_once)
{
        struct bench *b = bench_create();
        uint64_t until_ms = clock_mono_ms() + 5000;
        int fd[3];
        char url[160];

        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/event",
                 refused_port(&fd[0]), refused_port(&fd[1]), refused_port(&fd[2]));
        bench_link(b, url, (struct redis_options){ .primary = true }, NULL);
        BENCH_UNTIL(b, clock_mono_ms() >= until_ms);
        fprintf(stderr, "%s\n", b->why);
        cr_assert(eq(uint, b->downs, 1));
        bench_destroy(b);
        for (int i = 0; i < 3; i++)
                close(fd[i]);
}

/* --- destroyed from within -------------------------------------------------------------------- */

static void destroys(void *owner, const char *bytes, size_t len)
{
        struct bench *b = owner;

        (void)bytes;
        cr_assert(b->redis != NULL && len == 2);
        redis_destroy(b->redis);
        b->redis = NULL;
}

#define IS_ALONE                                 \
        "+OK\r\n$113\r\n"                        \
        "redis_version:7.0.15\nrole:master\n"    \
        "run_id:aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" \
        "master_replid:bbbbbbbbbbbbbbbbbbbbbbbbbbbb\n\r\n+PONG\r\n"

Test(redis_hostile, link_destroyed_by_a_message_hears_no_more)
{
        struct hostile hostile = { .serve = says_once,
                                   .says = IS_ALONE
                                   "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
                                   "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nab\r\n"
                                   "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\ncd\r\n" };
        struct bench *b = bench_create();
        struct redis_options options = { .name = "test", .on_state = bench_on_state, .owner = b };
        const char *why;

        hostile_start(&hostile);
        cr_assert(eq(int, redis_parse_url(hostile.url, &options.address, &why), OK));
        cr_assert(eq(int, redis_create(b->base, &options, &b->redis), OK));
        cr_assert(eq(int, redis_subscribe(b->redis, "news", destroys, b), OK));
        BENCH_UNTIL(b, b->redis == NULL || b->downs > 0);
        cr_assert(eq(uint, b->downs, 0), "%s", b->why);
        hostile_end(&hostile);
        bench_destroy(b);
}
