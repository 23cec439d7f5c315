/* loadtest/nodes.c -- see nodes.h. The keeper is the last of the array. */
#include "loadtest/nodes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http_client.h"

#define READY_MS 30000
#define STOP_MS  15000
#define DIR_MAX  96

struct node {
        char name[16], url[40], admin[40];
        uint16_t port, admin_port;
        pid_t pid;
        int status; /* of the last end */
};

struct nodes {
        char dir[DIR_MAX], program[512];
        unsigned n, workers;
        struct node all[NODES_MAX + 1];
};

static void nap(void)
{
        const struct timespec pause = { .tv_nsec = 20000000 };

        nanosleep(&pause, NULL);
}

/* Kept open until all have been drawn, or one would be drawn twice. */
static uint16_t draw_port(int *ret_fd)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (*ret_fd < 0 || bind(*ret_fd, (const struct sockaddr *)&address, len) != 0 ||
            getsockname(*ret_fd, (struct sockaddr *)&address, &len) != 0)
                return 0;
        return ntohs(address.sin_port);
}

static bool draw_ports(struct nodes *nodes)
{
        int fds[2 * (NODES_MAX + 1)];
        bool all_well = true;
        unsigned n = 0;

        for (unsigned i = 0; i <= nodes->n; i++) {
                struct node *node = &nodes->all[i];

                node->port = draw_port(&fds[n++]);
                node->admin_port = draw_port(&fds[n++]);
                all_well = all_well && node->port != 0 && node->admin_port != 0;
                snprintf(node->name, sizeof(node->name), i == nodes->n ? "keeper" : "node-%u",
                         i + 1);
                snprintf(node->url, sizeof(node->url), "ws://127.0.0.1:%u", node->port);
                snprintf(node->admin, sizeof(node->admin), "http://127.0.0.1:%u", node->admin_port);
        }
        while (n > 0)
                close(fds[--n]);
        return all_well;
}

static void find_program(struct nodes *nodes, const char *wanted)
{
        char own[400];
        ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
        char *slash;

        snprintf(nodes->program, sizeof(nodes->program), "%s",
                 wanted != NULL ? wanted : "kickoffd");
        if (wanted != NULL || len <= 0)
                return;
        own[len] = '\0';
        slash = strrchr(own, '/');
        if (slash == NULL)
                return;
        *slash = '\0';
        snprintf(nodes->program, sizeof(nodes->program), "%s/kickoffd", own);
        if (access(nodes->program, X_OK) != 0)
                snprintf(nodes->program, sizeof(nodes->program), "kickoffd");
}

static _Noreturn void be_a_node(const struct nodes *nodes, const struct node *node, pid_t parent)
{
        bool is_keeper = node == &nodes->all[nodes->n];
        char listen[48], admin[48], data[DIR_MAX + 32], redis[DIR_MAX + 48], log[DIR_MAX + 32],
            workers[40];
        const char *argv[] = { nodes->program, listen,    admin,   "--name", node->name,
                               data,           "--data=", workers, NULL };
        sigset_t none;
        int fd;

        snprintf(listen, sizeof(listen), "--listen=127.0.0.1:%u", node->port);
        snprintf(admin, sizeof(admin), "--admin=127.0.0.1:%u", node->admin_port);
        snprintf(data, sizeof(data), "--data=%s/%s", nodes->dir, node->name);
        snprintf(redis, sizeof(redis), "--redis=unix://%s/keeper/redis.sock", nodes->dir);
        snprintf(log, sizeof(log), "%s/%s.log", nodes->dir, node->name);
        snprintf(workers, sizeof(workers), "--workers=%u", is_keeper ? 1 : nodes->workers);
        argv[6] = is_keeper ? workers : redis;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0); /* Ctrl-C is for the herd, which then ends its nodes in order */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (getppid() != parent || fd < 0 || dup2(fd, STDERR_FILENO) < 0 ||
            dup2(fd, STDOUT_FILENO) < 0)
                _exit(126);
        execvp(nodes->program, (char *const *)argv);
        _exit(127);
}

static enum err spawn(struct nodes *nodes, struct node *node)
{
        pid_t parent = getpid();

        node->pid = fork();
        if (node->pid == 0)
                be_a_node(nodes, node, parent);
        if (node->pid < 0) {
                node->pid = 0;
                return ERR_IO;
        }
        return OK;
}

static bool has_ended(struct node *node)
{
        if (node->pid == 0)
                return true;
        if (waitpid(node->pid, &node->status, WNOHANG) != node->pid)
                return false;
        node->pid = 0;
        return true;
}

static bool is_ready(const struct node *node)
{
        struct http_ask ask = { .method = "GET", .timeout_ms = 1000 };
        struct http_answer answer;
        bool is_good;
        char url[64];

        snprintf(url, sizeof(url), "%s/readyz", node->admin);
        ask.url = url;
        if (http_client_ask(&ask, &answer) != OK)
                return false;
        is_good = answer.status == 200;
        http_answer_fini(&answer);
        return is_good;
}

static enum err wait_ready(struct nodes *nodes, struct node *node, char *ret_why)
{
        uint64_t until_ms = clock_mono_ms() + READY_MS;

        while (!is_ready(node)) {
                bool is_gone = has_ended(node);

                if (!is_gone && clock_mono_ms() < until_ms) {
                        nap();
                        continue;
                }
                if (is_gone && WIFEXITED(node->status) && WEXITSTATUS(node->status) == 127) {
                        snprintf(ret_why, 256,
                                 "%.150s could not be started: say where it is with "
                                 "--kickoffd",
                                 nodes->program);
                        return ERR_NOT_FOUND;
                }
                snprintf(ret_why, 256, "%s %s; its log is %s/%s.log", node->name,
                         is_gone ? "ended at once" : "was not ready in time", nodes->dir,
                         node->name);
                return ERR_UNAVAILABLE;
        }
        return OK;
}

static void end_all(struct nodes *nodes)
{
        uint64_t until_ms = clock_mono_ms() + STOP_MS;

        for (unsigned i = 0; i <= nodes->n; i++) {
                bool is_keeper = i == nodes->n;

                /* The keeper last: it takes Redis with it. */
                for (unsigned k = 0; is_keeper && k < nodes->n; k++)
                        while (!has_ended(&nodes->all[k])) {
                                if (clock_mono_ms() > until_ms)
                                        kill(nodes->all[k].pid, SIGKILL);
                                nap();
                        }
                if (nodes->all[i].pid > 0)
                        kill(nodes->all[i].pid, SIGTERM);
        }
        while (!has_ended(&nodes->all[nodes->n])) {
                if (clock_mono_ms() > until_ms)
                        kill(nodes->all[nodes->n].pid, SIGKILL);
                nap();
        }
}

static void remove_dir(const char *dir)
{
        pid_t pid = fork();

        if (pid == 0) {
                execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
                _exit(127);
        }
        if (pid > 0)
                waitpid(pid, NULL, 0);
}

enum err nodes_start(const struct nodes_options *options, struct nodes **ret_nodes, char *ret_why)
{
        const char *tmp = getenv("TMPDIR");
        struct nodes *nodes = calloc(1, sizeof(*nodes));
        enum err err = OK;

        if (nodes == NULL)
                return ERR_NOMEM;
        check(options->n >= 1 && options->n <= NODES_MAX);
        nodes->n = options->n;
        nodes->workers = options->workers;
        find_program(nodes, options->program);
        /* Short: the socket's path must fit into 107 bytes. */
        if (snprintf(nodes->dir, sizeof(nodes->dir), "%.60s/herd-XXXXXX",
                     tmp != NULL && tmp[0] != '\0' && strlen(tmp) <= 60 ? tmp : "/tmp") < 0 ||
            mkdtemp(nodes->dir) == NULL || !draw_ports(nodes)) {
                snprintf(ret_why, 256, "no room for nodes in %.80s: %s", nodes->dir,
                         strerror(errno));
                free(nodes);
                return ERR_UNAVAILABLE;
        }
        for (unsigned i = nodes->n + 1; i-- > 0 && err == OK;) {
                err = spawn(nodes, &nodes->all[i]);
                if (err == OK && i == nodes->n)
                        err = wait_ready(nodes, &nodes->all[i], ret_why);
        }
        for (unsigned i = 0; i < nodes->n && err == OK; i++)
                err = wait_ready(nodes, &nodes->all[i], ret_why);
        if (err != OK) {
                if (err != ERR_UNAVAILABLE && err != ERR_NOT_FOUND)
                        snprintf(ret_why, 256, "processes could not be started: %s", err_name(err));
                end_all(nodes);
                if (err != ERR_UNAVAILABLE) /* or else the log in it is to be read */
                        remove_dir(nodes->dir);
                free(nodes);
                return ERR_UNAVAILABLE;
        }
        *ret_nodes = nodes;
        return OK;
}

void nodes_stop(struct nodes *nodes)
{
        if (nodes == NULL)
                return;
        end_all(nodes);
        remove_dir(nodes->dir);
        free(nodes);
}

unsigned nodes_n(const struct nodes *nodes)
{
        return nodes->n;
}

const char *nodes_name(const struct nodes *nodes, unsigned i)
{
        return nodes->all[i].name;
}

pid_t nodes_pid(const struct nodes *nodes, unsigned i)
{
        return nodes->all[i].pid;
}

const char *nodes_admin(const struct nodes *nodes)
{
        return nodes->all[nodes->n].admin;
}

const char *nodes_url(const struct nodes *nodes, unsigned i)
{
        return nodes->all[i].url;
}

void nodes_targets(const struct nodes *nodes, struct net_target targets[NET_TARGETS_MAX])
{
        const char *why;
        unsigned n;

        for (unsigned i = 0; i < nodes->n; i++)
                check(net_parse_targets(nodes->all[i].url, &targets[i], &n, &why) == OK);
}

void nodes_kill(struct nodes *nodes, unsigned i)
{
        struct node *node = &nodes->all[i];

        if (node->pid == 0)
                return;
        kill(node->pid, SIGKILL);
        waitpid(node->pid, &node->status, 0);
        node->pid = 0;
}

bool nodes_has_ended(struct nodes *nodes, unsigned i, int *ret_status)
{
        if (!has_ended(&nodes->all[i]))
                return false;
        *ret_status = nodes->all[i].status;
        return true;
}

enum err nodes_start_again(struct nodes *nodes, unsigned i)
{
        check(nodes->all[i].pid == 0);
        return spawn(nodes, &nodes->all[i]);
}

bool nodes_is_ready(struct nodes *nodes, unsigned i)
{
        return is_ready(&nodes->all[i]);
}
