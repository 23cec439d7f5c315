/* gateway/embedded_redis.c -- see the header. Decides the child's settings; knows nothing of what
 * is kept in it. Redis and Valkey serve alike (tests/MATRIX.md): what is installed is taken.
 * Failure modes: no server program, directory not ours, path too long for a unix socket, another
 * node in the directory: each is a sentence for the user. A child that dies later is reported by
 * SIGCHLD; the node then ends, since its log is gone. */
#include "gateway/embedded_redis.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"

#define LOCK_WAIT_MS 5000
#define STOP_WAIT_MS 10000

struct embedded_redis {
        pid_t pid; /* 0 once it was reaped */
        int lock_fd;
        struct event *on_child;
        embedded_redis_died_fn *died;
        void *owner;
};

static char why_text[512]; /* sentences with a path in them; main thread only */

static enum err fail(const char **ret_why, const char *what, const char *path)
{
        snprintf(why_text, sizeof(why_text), "%s: %s: %s", what, path, strerror(errno));
        *ret_why = why_text;
        return ERR_IO;
}

/* The lock's file is inherited by the child on purpose (no O_CLOEXEC): it stays held while a
 * redis-server of a killed node is still writing its last entries. */
static enum err take_lock(const char *dir, int *ret_fd, const char **ret_why)
{
        uint64_t until = clock_mono_ms() + LOCK_WAIT_MS;
        char path[300];
        int fd;

        snprintf(path, sizeof(path), "%.280s/lock", dir);
        fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0)
                return fail(ret_why, "cannot write in the data directory", path);
        while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
                if (errno != EWOULDBLOCK || clock_mono_ms() > until) {
                        close(fd);
                        snprintf(
                            why_text, sizeof(why_text),
                            "another kickoffd uses the data directory %s; give this one its own --data, "
                            "or the same --redis URL",
                            dir);
                        *ret_why = why_text;
                        return ERR_EXISTS;
                }
                usleep(20 * 1000);
        }
        *ret_fd = fd;
        return OK;
}

static _Noreturn void become_redis(const char *program, const char *dir, const char *socket,
                                   bool fsync, pid_t parent, int report)
{
        const char *argv[] = { program,
                               "--port",
                               "0",
                               "--unixsocket",
                               socket,
                               "--unixsocketperm",
                               "700",
                               "--dir",
                               dir,
                               "--appendonly",
                               fsync ? "yes" : "no",
                               "--appendfsync",
                               fsync ? "always" : "everysec",
                               "--save",
                               "",
                               "--maxmemory-policy",
                               "noeviction",
                               "--daemonize",
                               "no",
                               "--logfile",
                               "redis.log",
                               "--loglevel",
                               "notice",
                               "--aof-use-rdb-preamble",
                               "yes",
                               NULL };
        sigset_t none;
        int error;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        /* Its own group: Ctrl-C is for the node, which then stops it in order. */
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent)
                execvp(argv[0], (char *const *)argv);
        error = errno;
        if (write(report, &error, sizeof(error)) < 0)
                _exit(126);
        _exit(127);
}

/* 0, or why the program did not start. */
static int try_program(struct embedded_redis *redis, const char *program, const char *dir,
                       const char *socket, bool fsync)
{
        int report[2], error = 0;
        pid_t parent = getpid();

        if (pipe2(report, O_CLOEXEC) != 0)
                return errno;
        redis->pid = fork();
        if (redis->pid == 0)
                become_redis(program, dir, socket, fsync, parent, report[1]);
        if (redis->pid < 0)
                error = errno;
        close(report[1]);
        if (redis->pid > 0 && read(report[0], &error, sizeof(error)) <= 0)
                error = 0; /* the pipe closed by exec: it runs */
        close(report[0]);
        if (error == 0)
                return 0;
        if (redis->pid > 0)
                waitpid(redis->pid, NULL, 0);
        redis->pid = 0;
        return error;
}

static enum err spawn(struct embedded_redis *redis, const char *dir, const char *socket, bool fsync,
                      const char **ret_program, const char **ret_why)
{
        const char *const usual[] = { "redis-server", "valkey-server", NULL };
        const char *chosen = getenv("KICKOFF_REDIS_SERVER");
        const char *const one[] = { chosen, NULL };
        bool is_chosen = chosen != NULL && chosen[0] != '\0';
        int error = ENOENT;

        for (const char *const *at = is_chosen ? one : usual; *at && error == ENOENT; at++) {
                *ret_program = *at;
                error = try_program(redis, *at, dir, socket, fsync);
        }
        if (error == 0)
                return OK;
        errno = error;
        if (is_chosen)
                return fail(ret_why, "cannot start the program that KICKOFF_REDIS_SERVER names",
                            chosen);
        if (error != ENOENT)
                return fail(ret_why, "cannot start the private Redis", *ret_program);
        *ret_why =
            "there is neither redis-server nor valkey-server to keep the log (Debian: apt-get "
            "install redis-server); install one, name one by KICKOFF_REDIS_SERVER=PROGRAM, or "
            "give --redis URL";
        return ERR_IO;
}

static void on_child(evutil_socket_t sig, short what, void *arg)
{
        struct embedded_redis *redis = arg;
        int status;

        (void)sig;
        (void)what;
        if (redis->pid == 0 || waitpid(redis->pid, &status, WNOHANG) != redis->pid)
                return;
        redis->pid = 0;
        snprintf(why_text, sizeof(why_text),
                 "the private redis-server ended (%s %d); its log is redis.log",
                 WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        redis->died(redis->owner, why_text);
}

static enum err prepare(const char *dir, struct redis_address *ret_address, const char **ret_why)
{
        struct redis_address address = { .scheme = REDIS_UNIX };
        char real[4096];

        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
                return fail(ret_why, "cannot make the data directory", dir);
        if (!realpath(dir, real))
                return fail(ret_why, "cannot use the data directory", dir);
        if (strlen(real) + sizeof("/redis.sock") > sizeof(((struct sockaddr_un *)0)->sun_path)) {
                *ret_why =
                    "the data directory's path is too long for a unix socket (95 bytes at most); give a "
                    "shorter --data";
                return ERR_TOO_LARGE;
        }
        snprintf(address.path, sizeof(address.path), "%.95s/redis.sock", real);
        *ret_address = address;
        return OK;
}

enum err embedded_redis_start(struct event_base *base, const char *dir, bool fsync,
                              embedded_redis_died_fn *died, void *owner,
                              struct redis_address *ret_address, struct embedded_redis **ret_redis,
                              const char **ret_why)
{
        struct redis_address address;
        struct embedded_redis *redis = calloc(1, sizeof(*redis));
        char real[sizeof(address.path)];
        const char *program = NULL;
        enum err err;

        if (!redis) {
                *ret_why = "out of memory";
                return ERR_NOMEM;
        }
        redis->died = died;
        redis->owner = owner;
        err = prepare(dir, &address, ret_why);
        if (err != OK)
                goto free_redis;
        strcpy(real, address.path);
        *strrchr(real, '/') = '\0';
        err = take_lock(real, &redis->lock_fd, ret_why);
        if (err != OK)
                goto free_redis;
        err = spawn(redis, real, address.path, fsync, &program, ret_why);
        if (err != OK)
                goto unlock;
        redis->on_child = evsignal_new(base, SIGCHLD, on_child, redis);
        if (!redis->on_child || evsignal_add(redis->on_child, NULL) != 0) {
                err = ERR_NOMEM;
                *ret_why = "out of memory";
                goto unlock;
        }
        /* It may have ended before the handler stood (a broken append-only file). */
        event_active(redis->on_child, EV_SIGNAL, 1);
        log_info("REDIS-EMBEDDED", "pid=%d dir=%s appendfsync=%s program=%s", (int)redis->pid,
                 log_quote(real), fsync ? "always" : "off", log_quote(program));
        *ret_address = address;
        *ret_redis = redis;
        return OK;

unlock:
        close(redis->lock_fd);
        if (redis->on_child)
                event_free(redis->on_child);
        if (redis->pid)
                kill(redis->pid, SIGTERM);
free_redis:
        free(redis);
        return err;
}

pid_t embedded_redis_pid(const struct embedded_redis *redis)
{
        return redis->pid;
}

void embedded_redis_stop(struct embedded_redis *redis)
{
        uint64_t until = clock_mono_ms() + STOP_WAIT_MS;

        if (!redis)
                return;
        event_free(redis->on_child);
        if (redis->pid) {
                kill(redis->pid, SIGTERM);
                while (waitpid(redis->pid, NULL, WNOHANG) == 0) {
                        if (clock_mono_ms() > until)
                                kill(redis->pid, SIGKILL);
                        usleep(5 * 1000);
                }
        }
        close(redis->lock_fd);
        free(redis);
}
