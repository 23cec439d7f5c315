/* tests/support/redis_server.c -- starts, stops and asks a private redis-server. Uses hiredis'
 * blocking API and not base/redis.h, so that a test never judges the link by means of the link. */
#include "tests/support/redis_server.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/check.h"
#include "tests/support/free_port.h"

#define ARGUMENTS_MAX 64
#define ANSWER_S      10
#define STARTUP_MS    20000

struct test_redis {
        struct test_redis_options options;
        char dir[64];
        char socket[96];
        char url[112];
        char host[64], port_text[8], config[160];
        uint16_t port;
        char *arguments[ARGUMENTS_MAX]; /* the test's own, copied */
        int n;
        pid_t pid;
};

_Noreturn static void give_up(const struct test_redis *redis, const char *what)
{
        fprintf(stderr, "test redis-server in %s: %s\n", redis->dir, what);
        abort();
}

static redisContext *connect_to(struct test_redis *redis)
{
        const struct timeval wait = { ANSWER_S, 0 };
        redisContext *context = redisConnectUnixWithTimeout(redis->socket, wait);

        if (context == NULL || context->err != 0) {
                if (context != NULL)
                        redisFree(context);
                return NULL;
        }
        (void)redisSetTimeout(context, wait);
        return context;
}

/* True for any answer but LOADING, so that -NOAUTH counts as ready. */
static bool answers(struct test_redis *redis)
{
        redisContext *context = connect_to(redis);
        redisReply *reply;
        bool ready;

        if (context == NULL)
                return false;
        reply = redisCommand(context, "PING");
        ready = reply != NULL && strncmp(reply->str, "LOADING", 7) != 0;
        freeReplyObject(reply);
        redisFree(context);
        return ready;
}

/* As kickoffd chooses its private one (gateway/embedded_redis.h). */
static void become_server(char **argv)
{
        const char *chosen = getenv("KICKOFF_REDIS_SERVER");

        if (chosen != NULL && chosen[0] != '\0') {
                execvp(chosen, argv);
        } else {
                execvp("redis-server", argv);
                execvp("valkey-server", argv);
        }
        perror("redis-server");
        _exit(127);
}

static void run_server(struct test_redis *redis, pid_t parent)
{
        char *argv[ARGUMENTS_MAX + 32] = {
                "redis-server",
                "--bind",
                redis->host[0] ? redis->host : "127.0.0.1",
                "--protected-mode",
                "no",
                "--port",
                redis->port_text,
                "--unixsocket",
                redis->socket,
                "--dir",
                redis->dir,
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
                "--daemonize",
                "no",
                "--logfile",
                "redis.log",
        };
        char *file_argv[ARGUMENTS_MAX + 32] = {
                "redis-server", redis->config, "--unixsocket", redis->socket,
                "--dir",        redis->dir,    "--logfile",    "redis.log",
        };
        char *sentinel_argv[] = { "redis-server", redis->config, "--sentinel", NULL };
        int log;

        /* Dies with the test, however that ends. The parent may have died before the call. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        log = open("/dev/null", O_RDWR);
        dup2(log, 0);
        dup2(log, 1);
        for (int fd = 3; fd < 1024; fd++)
                close(fd); /* a socket under test must not live on in here */
        if (redis->options.in_child != NULL)
                redis->options.in_child(redis->options.arg);
        memcpy(argv + 21, redis->arguments, (size_t)redis->n * sizeof(char *));
        memcpy(file_argv + 8, redis->arguments, (size_t)redis->n * sizeof(char *));
        become_server(redis->options.sentinel != NULL ? sentinel_argv
                      : redis->options.conf != NULL   ? file_argv
                                                      : argv);
}

/* False if it ended instead of answering. */
static bool spawn(struct test_redis *redis)
{
        const struct timespec step = { 0, 5 * 1000 * 1000 };
        pid_t parent = getpid();

        redis->pid = fork();
        if (redis->pid < 0)
                give_up(redis, "cannot fork");
        if (redis->pid == 0)
                run_server(redis, parent);
        for (int waited_ms = 0; !answers(redis); waited_ms += 5) {
                if (test_redis_has_ended(redis))
                        return false;
                if (waited_ms > STARTUP_MS)
                        give_up(redis, "does not answer");
                nanosleep(&step, NULL);
        }
        return true;
}

static void choose_addresses(struct test_redis *redis)
{
        snprintf(redis->socket, sizeof(redis->socket), "%s/redis.sock", redis->dir);
        snprintf(redis->url, sizeof(redis->url), "unix://%s", redis->socket);
        if (redis->options.host != NULL) {
                redis->port = test_free_port(); /* in another network namespace it is nobody's either */
                snprintf(redis->host, sizeof(redis->host), "%s", redis->options.host);
                snprintf(redis->url, sizeof(redis->url), "redis://%s:%u", redis->host, redis->port);
        }
        snprintf(redis->port_text, sizeof(redis->port_text), "%u", redis->port);
}

/* A sentinel rewrites its configuration as it learns, so it must be a file, and is written once. */
static void write_sentinel_config(struct test_redis *redis)
{
        FILE *file;

        snprintf(redis->config, sizeof(redis->config), "%s/sentinel.conf", redis->dir);
        file = fopen(redis->config, "w");
        if (file == NULL)
                give_up(redis, "cannot write sentinel.conf");
        fprintf(file,
                "bind %s\nport %u\nunixsocket %s\ndir %s\nlogfile redis.log\nprotected-mode no\n%s",
                redis->host, redis->port, redis->socket, redis->dir, redis->options.sentinel);
        fclose(file);
}

static struct test_redis *start(const struct test_redis_options *options, const char *argument,
                                va_list more)
{
        struct test_redis *redis = calloc(1, sizeof(*redis));
        const char *tmp = getenv("TMPDIR");

        check(redis != NULL);
        signal(SIGPIPE, SIG_IGN);
        redis->options = *options;
        if (options->dir != NULL)
                snprintf(redis->dir, sizeof(redis->dir), "%s", options->dir);
        else if (snprintf(redis->dir, sizeof(redis->dir), "%s/kickoff-redis-XXXXXX",
                          tmp != NULL && tmp[0] ? tmp : "/tmp") >= (int)sizeof(redis->dir) ||
                 mkdtemp(redis->dir) == NULL)
                give_up(redis, "cannot make the directory");
        choose_addresses(redis);
        if (options->sentinel != NULL)
                write_sentinel_config(redis);
        if (options->conf != NULL)
                snprintf(redis->config, sizeof(redis->config), "%s", options->conf);
        for (; argument != NULL; argument = va_arg(more, const char *)) {
                check(redis->n < ARGUMENTS_MAX);
                redis->arguments[redis->n++] = strdup(argument);
        }
        if (!spawn(redis))
                give_up(redis, "ended at once; see redis.log there");
        return redis;
}

struct test_redis *test_redis_start(const char *argument, ...)
{
        const struct test_redis_options none = { 0 };
        struct test_redis *redis;
        va_list more;

        va_start(more, argument);
        redis = start(&none, argument, more);
        va_end(more);
        return redis;
}

struct test_redis *test_redis_start_as(const struct test_redis_options *options,
                                       const char *argument, ...)
{
        struct test_redis *redis;
        va_list more;

        va_start(more, argument);
        redis = start(options, argument, more);
        va_end(more);
        return redis;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
        (void)stat;
        (void)type;
        return walk->level == 0 ? 0 : remove(path); /* not the directory itself */
}

void test_redis_forget(struct test_redis *redis)
{
        check(redis->pid == 0);
        nftw(redis->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void test_redis_destroy(struct test_redis *redis)
{
        if (redis == NULL)
                return;
        test_redis_kill(redis);
        test_redis_forget(redis);
        rmdir(redis->dir);
        for (int i = 0; i < redis->n; i++)
                free(redis->arguments[i]);
        free(redis);
}

const char *test_redis_socket(const struct test_redis *redis)
{
        return redis->socket;
}

const char *test_redis_url(const struct test_redis *redis)
{
        return redis->url;
}

uint16_t test_redis_port(const struct test_redis *redis)
{
        return redis->port;
}

const char *test_redis_dir(const struct test_redis *redis)
{
        return redis->dir;
}

pid_t test_redis_pid(const struct test_redis *redis)
{
        return redis->pid;
}

void test_redis_kill(struct test_redis *redis)
{
        if (redis->pid == 0)
                return;
        kill(redis->pid, SIGKILL);
        if (waitpid(redis->pid, NULL, 0) != redis->pid)
                give_up(redis, "cannot wait for it");
        redis->pid = 0;
}

bool test_redis_has_ended(struct test_redis *redis)
{
        if (redis->pid != 0 && waitpid(redis->pid, NULL, WNOHANG) == redis->pid)
                redis->pid = 0;
        return redis->pid == 0;
}

bool test_redis_try_restart(struct test_redis *redis)
{
        test_redis_kill(redis);
        return spawn(redis);
}

void test_redis_restart(struct test_redis *redis)
{
        if (!test_redis_try_restart(redis))
                give_up(redis, "ended at once after a restart; see redis.log there");
}

void test_redis_pause(struct test_redis *redis)
{
        int status;

        check(redis->pid > 0);
        kill(redis->pid, SIGSTOP);
        if (waitpid(redis->pid, &status, WUNTRACED) != redis->pid || !WIFSTOPPED(status))
                give_up(redis, "does not stop");
}

void test_redis_resume(struct test_redis *redis)
{
        check(redis->pid > 0);
        kill(redis->pid, SIGCONT);
}

static void render(const redisReply *reply, struct buf *out)
{
        switch (reply->type) {
        case REDIS_REPLY_INTEGER:
                buf_i64(out, reply->integer);
                break;
        case REDIS_REPLY_NIL:
                buf_str(out, "(nil)");
                break;
        case REDIS_REPLY_ARRAY:
                for (size_t i = 0; i < reply->elements; i++) {
                        if (i > 0)
                                buf_char(out, '\n');
                        render(reply->element[i], out);
                }
                break;
        case REDIS_REPLY_ERROR:
                buf_char(out, '-');
                buf_add(out, reply->str, reply->len);
                break;
        default:
                buf_add(out, reply->str, reply->len);
        }
}

static char *ask(struct test_redis *redis, const char *first, va_list more)
{
        const char *argv[ARGUMENTS_MAX];
        redisContext *context = connect_to(redis);
        struct buf text = BUF_INIT;
        redisReply *reply;
        int argc = 0;

        if (context == NULL)
                give_up(redis, "cannot connect");
        for (; first != NULL; first = va_arg(more, const char *)) {
                check(argc < ARGUMENTS_MAX);
                argv[argc++] = first;
        }
        reply = redisCommandArgv(context, argc, argv, NULL);
        if (reply == NULL)
                give_up(redis, "does not answer a command");
        buf_str(&text, "");
        render(reply, &text);
        freeReplyObject(reply);
        redisFree(context);
        return buf_take(&text);
}

char *test_redis_ask(struct test_redis *redis, const char *argument, ...)
{
        va_list more;
        char *text;

        va_start(more, argument);
        text = ask(redis, argument, more);
        va_end(more);
        return text;
}

void test_redis_do(struct test_redis *redis, const char *argument, ...)
{
        va_list more;
        char *text;

        va_start(more, argument);
        text = ask(redis, argument, more);
        va_end(more);
        if (text[0] == '-')
                give_up(redis, text);
        free(text);
}
