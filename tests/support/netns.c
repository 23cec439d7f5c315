/* tests/support/netns.c -- see the header. A space is a process that does nothing, in a network
 * namespace of its own; its /proc/PID/ns/net is the handle. Rules are nft's: one table in home and
 * in each space, made anew whenever something changes, so that no rule has to be found again. */
#include "tests/support/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

#define SPACES_MAX 16
#define PARTS_MAX  16

struct netns {
        unsigned index;
        pid_t holder;
        char address[32], home_address[32];
        unsigned lost_in, lost_out; /* percent */
};

static struct netns *spaces[SPACES_MAX];
static struct {
        const struct netns *a, *b;
} parts[PARTS_MAX];
static unsigned n_parts;

_Noreturn static void give_up(const char *what)
{
        fprintf(stderr, "network namespaces: %s\n", what);
        abort();
}

static void write_file(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0) {
                fprintf(stderr, "network namespaces: cannot write %s\n", path);
                abort();
        }
        close(fd);
}

/* Runs a line of shell at home, or in `space`. */
static void sh_in(struct netns *space, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void sh_in(struct netns *space, const char *fmt, ...)
{
        char line[2048];
        int status;
        va_list args;
        pid_t pid;

        va_start(args, fmt);
        check((size_t)vsnprintf(line, sizeof(line), fmt, args) < sizeof(line));
        va_end(args);
        pid = fork();
        if (pid == 0) {
                if (space)
                        netns_enter(space);
                execl("/bin/sh", "sh", "-c", line, (char *)NULL);
                _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
                fprintf(stderr, "this went wrong: %s\n", line);
                give_up("a command failed");
        }
}

static bool unshare_network(void)
{
        char map[64];
        uid_t uid = geteuid();
        gid_t gid = getegid();

        if (unshare(CLONE_NEWNET) == 0)
                return true;
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
                return false;
        snprintf(map, sizeof(map), "0 %u 1", uid);
        write_file("/proc/self/uid_map", map);
        write_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof(map), "0 %u 1", gid);
        write_file("/proc/self/gid_map", map);
        return true;
}

bool netns_are_available(const char **ret_why)
{
        static const char *const tries[] = { "command -v ip nft tc",
                                             "ip link add kickoff0 type veth peer name kickoff1",
                                             "nft add table inet kickoff" };
        static const char *const whys[] = {
                "needs the programs ip, nft and tc (packages iproute2, nftables)",
                "needs root, or rights to make a network namespace with veth pairs",
                "needs nftables in the kernel"
        };
        int status = 0;
        pid_t pid = fork();

        if (pid == 0) {
                int null = open("/dev/null", O_RDWR);

                dup2(null, 1);
                dup2(null, 2);
                if (!unshare_network())
                        _exit(2);
                for (unsigned i = 0; i < countof(tries); i++)
                        if (system(tries[i]) != 0)
                                _exit((int)i + 1);
                _exit(0);
        }
        waitpid(pid, &status, 0);
        if (status == 0)
                return true;
        *ret_why = WIFEXITED(status) && WEXITSTATUS(status) >= 1 &&
                           WEXITSTATUS(status) <= (int)countof(whys)
                       ? whys[WEXITSTATUS(status) - 1]
                       : whys[1];
        return false;
}

void netns_go_home(void)
{
        if (!unshare_network())
                give_up("cannot leave this machine's network");
        sh_in(NULL, "ip link set lo up");
        write_file("/proc/sys/net/ipv4/ip_forward", "1");
}

static pid_t hold_namespace(void)
{
        int ready[2];
        char byte;
        pid_t parent = getpid(), pid;

        check(pipe2(ready, O_CLOEXEC) == 0);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent || unshare(CLONE_NEWNET) != 0)
                        _exit(1);
                (void)!write(ready[1], "r", 1);
                for (int fd = 0; fd < 1024; fd++)
                        close(fd); /* sockets of the test must not live on in here */
                for (;;)
                        pause();
        }
        close(ready[1]);
        if (pid < 0 || read(ready[0], &byte, 1) != 1)
                give_up("cannot make another network");
        close(ready[0]);
        return pid;
}

struct netns *netns_create(unsigned index)
{
        struct netns *space = calloc(1, sizeof(*space));
        unsigned slot = 0;

        check(space != NULL && index >= 1 && index <= 200);
        while (slot < SPACES_MAX && spaces[slot])
                slot++;
        check(slot < SPACES_MAX);
        space->index = index;
        snprintf(space->address, sizeof(space->address), "10.77.%u.2", index);
        snprintf(space->home_address, sizeof(space->home_address), "10.77.%u.1", index);
        space->holder = hold_namespace();
        sh_in(NULL,
              "ip link add wire%u type veth peer name wire netns %d && "
              "ip addr add %s/24 dev wire%u && ip link set wire%u up",
              index, space->holder, space->home_address, index, index);
        sh_in(space,
              "ip link set lo up && ip addr add %s/24 dev wire && ip link set wire up && "
              "ip route add default via %s",
              space->address, space->home_address);
        spaces[slot] = space;
        return space;
}

void netns_destroy(struct netns *space)
{
        if (!space)
                return;
        for (unsigned i = 0; i < SPACES_MAX; i++)
                if (spaces[i] == space)
                        spaces[i] = NULL;
        kill(space->holder, SIGKILL);
        waitpid(space->holder, NULL, 0);
        free(space);
}

const char *netns_address(const struct netns *space)
{
        return space->address;
}

const char *netns_home_address(const struct netns *space)
{
        return space->home_address;
}

void netns_enter(void *arg)
{
        const struct netns *space = arg;
        char path[48];
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/ns/net", space->holder);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
                give_up("cannot enter another network");
        close(fd);
}

/* "numgen" draws anew for each packet; a link that loses all of them needs no drawing. */
static void drop_words(char *out, size_t size, unsigned percent)
{
        if (percent >= 100)
                snprintf(out, size, "drop");
        else
                snprintf(out, size, "numgen random mod 100 < %u drop", percent);
}

static void apply_space(struct netns *space)
{
        char drop[64];

        sh_in(space,
              "nft 'add table inet kickoff; flush table inet kickoff; delete table inet kickoff'");
        if (space->lost_in == 0)
                return;
        drop_words(drop, sizeof(drop), space->lost_in);
        sh_in(space,
              "nft 'add table inet kickoff; "
              "add chain inet kickoff into { type filter hook prerouting priority -300; }; "
              "add rule inet kickoff into iifname \"wire\" %s'",
              drop);
}

static void apply_home(void)
{
        char rules[1024] = "", drop[64];
        size_t len = 0;

        for (unsigned i = 0; i < SPACES_MAX; i++) {
                if (!spaces[i] || spaces[i]->lost_out == 0)
                        continue;
                drop_words(drop, sizeof(drop), spaces[i]->lost_out);
                len += (size_t)snprintf(rules + len, sizeof(rules) - len,
                                        "add rule inet kickoff into iifname \"wire%u\" %s; ",
                                        spaces[i]->index, drop);
        }
        for (unsigned i = 0; i < n_parts; i++) {
                len += (size_t)snprintf(
                    rules + len, sizeof(rules) - len,
                    "add rule inet kickoff between iifname \"wire%u\" oifname \"wire%u\" drop; "
                    "add rule inet kickoff between iifname \"wire%u\" oifname \"wire%u\" drop; ",
                    parts[i].a->index, parts[i].b->index, parts[i].b->index, parts[i].a->index);
        }
        check(len < sizeof(rules));
        sh_in(NULL,
              "nft 'add table inet kickoff; flush table inet kickoff; delete table inet kickoff; "
              "add table inet kickoff; "
              "add chain inet kickoff into { type filter hook prerouting priority -300; }; "
              "add chain inet kickoff between { type filter hook forward priority 0; }; %s'",
              rules);
}

void netns_lose(struct netns *space, enum netns_direction direction, unsigned percent)
{
        if (direction & NETNS_INTO)
                space->lost_in = percent;
        if (direction & NETNS_OUT_OF)
                space->lost_out = percent;
        apply_space(space);
        apply_home();
}

void netns_part(struct netns *a, struct netns *b)
{
        check(n_parts < PARTS_MAX);
        parts[n_parts].a = a;
        parts[n_parts++].b = b;
        apply_home();
}

void netns_heal(void)
{
        n_parts = 0;
        for (unsigned i = 0; i < SPACES_MAX; i++) {
                if (!spaces[i])
                        continue;
                spaces[i]->lost_in = spaces[i]->lost_out = 0;
                apply_space(spaces[i]);
        }
        apply_home();
}

/* A burst below one full packet (with what veth lets the kernel bundle) would stop the link for
 * good. */
void netns_thin(struct netns *space, const char *rate)
{
        sh_in(NULL, "tc qdisc del dev wire%u root 2>/dev/null; true", space->index);
        sh_in(space, "tc qdisc del dev wire root 2>/dev/null; true");
        if (!rate)
                return;
        sh_in(NULL, "tc qdisc add dev wire%u root tbf rate %s burst 3000 latency 400ms",
              space->index, rate);
        sh_in(space, "tc qdisc add dev wire root tbf rate %s burst 3000 latency 400ms", rate);
}
