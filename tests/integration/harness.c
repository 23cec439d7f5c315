/* tests/integration/harness.c -- see the header. */
#include "tests/integration/harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/rng.h"

static const struct test_node *shown_on_failure;

static char *read_file(const char *path)
{
        struct buf text = BUF_INIT;
        char chunk[4096];
        FILE *file = fopen(path, "r");
        size_t n;

        if (!file)
                return strdup("");
        while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
                buf_add(&text, chunk, n);
        fclose(file);
        return text.len ? buf_take(&text) : strdup("");
}

static char *node_log(const struct test_node *node)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/log", node->dir);
        return read_file(path);
}

_Noreturn void give_up(const char *fmt, ...)
{
        va_list args;

        fprintf(stderr, "GAVE UP: ");
        va_start(args, fmt);
        vfprintf(stderr, fmt, args);
        va_end(args);
        fputc('\n', stderr);
        if (shown_on_failure) {
                char *log = node_log(shown_on_failure);
                size_t len = strlen(log);

                fprintf(stderr, "--- the node's log ends with:\n%s---\n",
                        log + (len > 4000 ? len - 4000 : 0));
                free(log);
        }
        abort();
}

void wait_until(bool (*met)(void *arg), void *arg, const char *what)
{
        uint64_t until = clock_mono_ms() + PATIENCE_MS;

        while (!met(arg)) {
                if (clock_mono_ms() > until)
                        give_up("waited in vain for: %s", what);
                usleep(3000);
        }
}

static const char *bin_dir(void)
{
        const char *dir = getenv("KICKOFF_BIN_DIR");

        return dir ? dir : KICKOFF_BIN_DIR;
}

/* -- nodes -- */

/* The port in "... ID ... listen=HOST:PORT ...", or 0 if there is no such line yet. */
static uint16_t port_said(const char *log, const char *id)
{
        const char *line = strstr(log, id);
        const char *at = line ? strstr(line, "listen=") : NULL;

        if (!at || !memchr(line, '\n', strlen(line)))
                return 0;
        at += strcspn(at, " \n");
        while (at[-1] != ':')
                at--;
        return (uint16_t)atoi(at);
}

static bool said_ready(void *arg)
{
        struct test_node *node = arg;
        char *log;
        int status;

        if (waitpid(node->pid, &status, WNOHANG) == node->pid)
                give_up("kickoffd ended before it was ready (status %#x)", (unsigned)status);
        log = node_log(node);
        node->port = port_said(log, " NODE-READY ");
        node->admin_port = port_said(log, " ADMIN-LISTENS ");
        free(log);
        return node->port != 0; /* the admin API listens before that, if there is one */
}

void node_start(struct test_node *node, ...)
{
        char program[512], data[96], log[96];
        const char *argv[40];
        int argc = 0, fd;
        pid_t parent = getpid();
        va_list args;

        signal(SIGPIPE, SIG_IGN);
        if (!node->dir[0]) {
                const char *tmp = getenv("TMPDIR");

                if (snprintf(node->dir, sizeof(node->dir), "%s/kickoff-test-XXXXXX",
                             tmp && tmp[0] ? tmp : "/tmp") >= (int)sizeof(node->dir) ||
                    !mkdtemp(node->dir))
                        give_up("mkdtemp: %s", strerror(errno));
        }
        snprintf(program, sizeof(program), "%s/kickoffd", bin_dir());
        snprintf(data, sizeof(data), "%s/data", node->dir);
        snprintf(log, sizeof(log), "%s/log", node->dir);
        argv[argc++] = program;
        argv[argc++] = "--listen=127.0.0.1:0";
        argv[argc++] = "--admin=127.0.0.1:0";
        argv[argc++] = "--data";
        argv[argc++] = data;
        argv[argc++] = "--workers=1";
        va_start(args, node);
        while (argc < 39 && (argv[argc] = va_arg(args, const char *)) != NULL)
                argc++;
        va_end(args);
        argv[argc] = NULL;
        unlink(log); /* that of a node before us in the same directory */
        shown_on_failure = node;
        node->pid = fork();
        if (node->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
                if (getppid() != parent || fd < 0 || dup2(fd, 2) < 0)
                        _exit(126);
                if (node->in_child)
                        node->in_child(node->in_child_arg);
                execv(program, (char *const *)argv);
                _exit(127);
        }
        wait_until(said_ready, node, "kickoffd to say NODE-READY");
        snprintf(node->url, sizeof(node->url), "ws://127.0.0.1:%u", node->port);
        snprintf(node->admin, sizeof(node->admin), "http://127.0.0.1:%u", node->admin_port);
}

void node_kill(struct test_node *node)
{
        kill(node->pid, SIGKILL);
        waitpid(node->pid, NULL, 0);
        node->pid = 0;
}

struct ending {
        pid_t pid;
        int status;
};

static bool has_ended(void *arg)
{
        struct ending *ending = arg;

        return waitpid(ending->pid, &ending->status, WNOHANG) == ending->pid;
}

int node_stop(struct test_node *node, int signal)
{
        struct ending ending = { .pid = node->pid };

        kill(node->pid, signal);
        wait_until(has_ended, &ending, "kickoffd to end after the signal");
        node->pid = 0;
        return WIFEXITED(ending.status) ? WEXITSTATUS(ending.status)
                                        : 128 + WTERMSIG(ending.status);
}

void node_end(struct test_node *node)
{
        char command[160];

        /* In order, so that a sanitizer has its say about the whole life of the node. */
        if (node->pid && node_stop(node, SIGTERM) != 0)
                give_up("kickoffd did not end well");
        shown_on_failure = NULL;
        snprintf(command, sizeof(command), "rm -rf '%s'", node->dir);
        if (system(command) != 0)
                give_up("could not remove %s", node->dir);
        node->dir[0] = '\0';
}

bool node_log_has(const struct test_node *node, const char *text)
{
        char *log = node_log(node);
        bool has = strstr(log, text) != NULL;

        free(log);
        return has;
}

int64_t node_metric(const struct test_node *node, const char *prefix)
{
        struct http_answer answer;
        struct http_ask question = { .method = "GET" };
        char url[128], *line, *rest;
        int64_t sum = 0;
        bool found = false;

        snprintf(url, sizeof(url), "%s/metrics", node->admin);
        question.url = url;
        if (http_client_ask(&question, &answer) != OK || answer.status != 200)
                give_up("cannot read %s", url);
        for (line = strtok_r(answer.body, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                if (strncmp(line, prefix, strlen(prefix)) != 0)
                        continue;
                sum += strtoll(strrchr(line, ' ') + 1, NULL, 10);
                found = true;
        }
        http_answer_fini(&answer);
        if (!found)
                give_up("no metric begins with %s", prefix);
        return sum;
}

/* -- producers -- */

struct answer ask_within(const struct test_node *node, unsigned timeout_ms, const char *method,
                         const char *path, const char *body, const char *key, bool *ret_unsent)
{
        struct http_answer answer;
        struct http_ask question = { .method = method, .timeout_ms = timeout_ms };
        struct answer result = { 0 };
        char url[512], fresh[32];
        enum err err;
        int n = 0;

        snprintf(url, sizeof(url), "%s%s", node->admin, path);
        snprintf(fresh, sizeof(fresh), "test-%016llx", (unsigned long long)rng_secure_u64());
        question.url = url;
        if (strcmp(method, "POST") == 0)
                question.headers[n++] =
                    (struct http_header){ "Idempotency-Key", key ? key : fresh };
        if (body) {
                question.headers[n++] = (struct http_header){ "Content-Type", "application/json" };
                question.body = body;
                question.body_len = strlen(body);
        }
        err = http_client_ask(&question, &answer);
        if (ret_unsent)
                *ret_unsent = err == ERR_UNAVAILABLE;
        if (err != OK)
                return result;
        result.status = answer.status;
        result.json = json_loads(answer.body, 0, NULL);
        http_answer_fini(&answer);
        return result;
}

struct answer ask(const struct test_node *node, const char *method, const char *path,
                  const char *body, const char *key)
{
        struct answer result = ask_within(node, PATIENCE_MS, method, path, body, key, NULL);

        if (result.status == 0)
                give_up("no answer to %s %s%s", method, node->admin, path);
        return result;
}

void answer_end(struct answer *answer)
{
        json_decref(answer->json);
        answer->json = NULL;
}

struct place {
        const struct test_node *node;
        seqno seq;
};

static bool worker_has(void *arg)
{
        const struct place *place = arg;
        struct http_answer answer;
        struct http_ask question = { .method = "GET" };
        struct token token = { 0 };
        char url[96];

        snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/events", place->node->port);
        question.url = url;
        if (http_client_ask(&question, &answer) != OK || answer.status != 200 || !answer.etag)
                give_up("no answer to GET %s", url);
        if (token_parse(answer.etag + 1, strlen(answer.etag) - 2, &token) != OK)
                give_up("not a token as ETag: %s", answer.etag);
        http_answer_fini(&answer);
        return token.seq >= place->seq;
}

seqno change(const struct test_node *node, const char *method, const char *path, const char *body)
{
        struct answer answer = ask(node, method, path, body, NULL);
        seqno seq;

        if (answer.status < 200 || answer.status > 299) {
                char *text = answer.json ? json_dumps(answer.json, 0) : strdup("(no JSON)");

                give_up("%s %s was answered %d: %s", method, path, answer.status, text);
        }
        seq = (seqno)json_integer_value(json_object_get(answer.json, "seq"));
        answer_end(&answer);
        wait_until(worker_has, &(struct place){ node, seq },
                   "the worker to have what was acknowledged");
        return seq;
}

void create_event(const struct test_node *node, const char *id)
{
        char body[256], when[CLOCK_RFC3339_SIZE];

        clock_format_rfc3339(clock_wall_ms() + 3600 * 1000, when);
        snprintf(body, sizeof(body), "{\"id\":\"%s\",\"title\":\"Test\",\"starts_at\":\"%s\"}", id,
                 when);
        change(node, "POST", "/v1/events", body);
}

/* -- devices -- */

static void on_hello(void *owner, const struct hello *hello)
{
        struct recorder *r = owner;

        r->hellos++;
        r->hello = *hello;
}

static void on_signal(void *owner, const struct signal *signal)
{
        struct recorder *r = owner;

        if (r->n_signals == RECORD_MAX)
                give_up("more than %d signals", RECORD_MAX);
        r->signals[r->n_signals++] = *signal;
}

static void on_reset(void *owner, const struct reset *reset)
{
        struct recorder *r = owner;

        r->resets++;
        r->reset_reason = reset->reason;
        r->n_events = reset->n;
        for (size_t i = 0; i < reset->n && i < 16; i++)
                r->events[i] = reset->events[i];
}

static void on_goaway(void *owner, const struct goaway *goaway)
{
        struct recorder *r = owner;

        (void)goaway;
        r->goaways++;
}

void recorder_start(struct recorder *recorder, const struct test_node *node, const char *device,
                    const char *since, enum encoding encoding)
{
        struct kickoff_device_options options = {
                .url = node->url,
                .device = device,
                .since = since,
                .encoding = encoding,
                .backoff_min_ms = 20,
                .backoff_max_ms = 500,
                .on_hello = on_hello,
                .on_signal = on_signal,
                .on_reset = on_reset,
                .on_goaway = on_goaway,
                .owner = recorder,
        };
        uint64_t until = clock_mono_ms() + PATIENCE_MS;

        memset(recorder, 0, sizeof(*recorder));
        if (kickoff_device_create(&options, &recorder->device) != OK)
                give_up("kickoff_device_create refused");
        while (recorder->hellos == 0 || (!recorder->hello.recovered && recorder->resets == 0)) {
                if (clock_mono_ms() > until)
                        give_up("device %s got no hello (and reset)", device);
                kickoff_device_service(recorder->device, 20);
        }
}

void recorder_until_signals(struct recorder *recorder, size_t n)
{
        uint64_t until = clock_mono_ms() + PATIENCE_MS;

        while (recorder->n_signals < n) {
                if (clock_mono_ms() > until)
                        give_up("a device has %zu of %zu signals", recorder->n_signals, n);
                kickoff_device_service(recorder->device, 20);
        }
}

void recorder_run(struct recorder *recorder, unsigned ms)
{
        uint64_t until = clock_mono_ms() + ms;

        while (clock_mono_ms() < until)
                kickoff_device_service(recorder->device, 5);
}

void recorder_end(struct recorder *recorder)
{
        kickoff_device_destroy(recorder->device);
        recorder->device = NULL;
}

/* -- other programs -- */

static int run(char **ret_out, bool with_stderr, const char *program, va_list args)
{
        struct buf out = BUF_INIT;
        char path[512], chunk[4096];
        const char *argv[40];
        int argc = 0, ends[2], status;
        ssize_t n;
        pid_t pid;

        snprintf(path, sizeof(path), "%s/%s", bin_dir(), program);
        argv[argc++] = path;
        while (argc < 39 && (argv[argc] = va_arg(args, const char *)) != NULL)
                argc++;
        argv[argc] = NULL;
        if (pipe2(ends, O_CLOEXEC) != 0)
                give_up("pipe: %s", strerror(errno));
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(ends[1], 1);
                if (with_stderr)
                        dup2(ends[1], 2);
                execv(path, (char *const *)argv);
                _exit(127);
        }
        close(ends[1]);
        while ((n = read(ends[0], chunk, sizeof(chunk))) > 0)
                buf_add(&out, chunk, (size_t)n);
        close(ends[0]);
        waitpid(pid, &status, 0);
        *ret_out = out.len ? buf_take(&out) : strdup("");
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_program(char **ret_out, const char *program, ...)
{
        va_list args;
        int status;

        va_start(args, program);
        status = run(ret_out, false, program, args);
        va_end(args);
        return status;
}

void node_refuses(const char *saying, ...)
{
        va_list args;
        char *said;

        va_start(args, saying);
        if (run(&said, true, "kickoffd", args) != 1)
                give_up("kickoffd did not refuse with exit status 1, but said: %s", said);
        va_end(args);
        if (!strstr(said, saying))
                give_up("kickoffd refused, not saying \"%s\" but: %s", saying, said);
        free(said);
}

int raw_connect(const struct test_node *node, int receive_buffer)
{
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(node->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (receive_buffer)
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
                give_up("cannot connect to the node: %s", strerror(errno));
        return fd;
}

void raw_upgrade(int fd, const char *device, const char *query)
{
        char request[512], last[4] = { 0 };
        int len =
            snprintf(request, sizeof(request),
                     "GET /v1/connect?device=%s%s HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     device, query);
        char c;

        if (write(fd, request, (size_t)len) != len)
                give_up("cannot send the upgrade");
        while (memcmp(last, "\r\n\r\n", 4) != 0) {
                if (read(fd, &c, 1) != 1)
                        give_up("the node closed before its 101 was whole");
                memmove(last, last + 1, 3);
                last[3] = c;
        }
}
