/* tests/faults/cases_nodes.c -- nodes die, leave, restart, run out of descriptors, and their clock
 * jumps. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/faults/scene.h"

FAULT(
    25, "a node is killed with kill -9 in the midst of signals, with 64 devices between two nodes",
    "nothing acknowledged is lost; its devices resume at the other with their token (lines 5, 10)",
    .quick = true)
{
        struct scene *s = scene_open(
            &(struct scene_options){ .devices_roam = true, .n_devices = 64, .pace_ms = 5 });
        unsigned hellos = crew_hellos(s->crew);
        uint64_t begin_us;

        producer_until_more(s->producer, 50);
        node_kill(&s->nodes[0]);
        begin_us = scene_now_us();
        producer_until_more(s->producer, 20);
        CHECK_KEPT(crew_is_connected(s->crew, PATIENCE_MS), "devices did not find the other node");
        figure("all_connected_again", "%.0f ms", scene_ms_since(begin_us));
        CHECK_KEPT(crew_hellos(s->crew) > hellos,
                   "the fault was not made: nobody was at that node");
        scene_start_node(s, 0);
        producer_until_more(s->producer, 20);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 10: a token did not work at the other node");
        scene_close(s);
}

#define DRAIN_MS 2000 /* so few devices are told at once, and leave within a moment: gateway/drain.h */

FAULT(
    26, "SIGTERM to a node in the midst of signals",
    "its devices are told goaway, at a pace, and move without a gap; no new ones; it ends within 2 s + 5 s "
    "(line 10)",
    .quick = true)
{
        struct scene *s = scene_open(
            &(struct scene_options){ .devices_roam = true, .n_devices = 32, .pace_ms = 5 });
        uint64_t begin_us, first_us = UINT64_MAX, last_us = 0;
        unsigned told = 0;
        int status;

        producer_until_more(s->producer, 20);
        begin_us = scene_now_us();
        status = node_stop(&s->nodes[0], SIGTERM);
        kept_within("ended", scene_ms_since(begin_us), DRAIN_MS + 5000, SLACK_MS);
        CHECK_KEPT(status == 0, "the node ended with %d", status);
        producer_until_more(s->producer, 20);
        CHECK_KEPT(crew_is_connected(s->crew, PATIENCE_MS), "devices did not find the other node");
        for (unsigned i = 0; i < crew_size(s->crew); i++) {
                struct crew_member m = crew_member(s->crew, i);

                told += m.goaways;
                CHECK_KEPT(m.losses == 0 || m.goaways > 0,
                           "line 10: device %u was cut without goaway", i);
                if (m.losses == 0)
                        continue;
                first_us = m.lost_us < first_us ? m.lost_us : first_us;
                last_us = m.lost_us > last_us ? m.lost_us : last_us;
        }
        figure("told", "%u devices, closed over %.0f ms", told,
               (double)(last_us - first_us) / 1000);
        CHECK_KEPT(told > 0, "the fault was not made: nobody was at that node");
        scene_start_node(s, 0);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 10: a token did not work at the other node");
        scene_close(s);
}

FAULT(
    27,
    "all nodes are restarted one after the other, in the midst of signals, three times (once in CI)",
    "no gap, and a repeat only with the same tag (lines 4, 5, 10)", .quick = true, .limit_s = 180)
{
        struct scene *s = scene_open(&(struct scene_options){
            .n_nodes = 3, .devices_roam = true, .n_devices = 16, .pace_ms = 5 });

        for (unsigned round = 0; round < (faults_thorough ? 3 : 1); round++)
                for (unsigned i = 0; i < s->n_nodes; i++) {
                        producer_until_more(s->producer, 10);
                        CHECK_KEPT(node_stop(&s->nodes[i], SIGTERM) == 0,
                                   "node %u did not end well", i);
                        scene_start_node(s, i);
                }
        producer_until_more(s->producer, 10);
        figure("hellos", "%u of %u devices", crew_hellos(s->crew), crew_size(s->crew));
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 10: a token did not work at another node");
        scene_close(s);
}

/* --- 28: devices against a node that does not stay --- */

/* Answers every upgrade with 503 and Retry-After, and writes down when they came. */
static void refuse_for_ever(int listener, _Atomic unsigned *n, _Atomic uint64_t when_us[16])
{
        static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n"
                                     "Content-Length: 0\r\nConnection: close\r\n\r\n";

        for (;;) {
                int fd = accept(listener, NULL, NULL);
                char head[4096];
                ssize_t got = fd < 0 ? -1 : recv(fd, head, sizeof(head), 0);

                if (got > 0 && *n < 16)
                        when_us[(*n)++] = scene_now_us();
                (void)!send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
                close(fd);
        }
}

FAULT_OF(28, a, "a node crashes every 2 s, five times; devices have the SDK's own backoff",
         "devices come no faster than their backoff, and miss nothing (lines 5, 10)", .quick = true,
         .limit_s = 180)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1, .no_crew = true });
        char server[32], url[40];
        struct crew_options o = { .backoff_min_ms = 500, .backoff_max_ms = 30000 };
        uint64_t before;
        unsigned attempts;

        snprintf(server, sizeof(server), "127.0.0.1:%u", s->nodes[0].port);
        s->balancer = tcp_proxy_start(server, NULL, NULL);
        snprintf(url, sizeof(url), "ws://127.0.0.1:%u", tcp_proxy_port(s->balancer));
        o.urls[0] = url;
        s->crew = crew_start(s->ledger, &o);
        before = tcp_proxy_counts(s->balancer).connections;
        for (unsigned i = 0; i < 5; i++) {
                (void)produce_until(s->ledger, &s->nodes[0], "final");
                usleep(1500 * 1000);
                node_kill(&s->nodes[0]);
                usleep(500 * 1000);
                scene_start_node(s, 0);
        }
        CHECK_KEPT(crew_is_connected(s->crew, PATIENCE_MS), "devices did not come back");
        attempts = (unsigned)(tcp_proxy_counts(s->balancer).connections - before);
        /* The k-th wait is drawn from 0..500 ms x 2^k: in ten seconds of crashes a device draws
         * some six on average. Twice that, over all eight, does not come by chance. */
        figure("attempts", "%u by %u devices in %u crashes", attempts, crew_size(s->crew), 5);
        CHECK_KEPT(attempts <= 12 * crew_size(s->crew), "line 12: %u attempts are a storm",
                   attempts);
        scene_judge(s);
        scene_close(s);
}

FAULT_OF(28, b, "a node answers 503 with Retry-After: 3",
         "the device does not come again before (line 12)", .quick = true)
{
        struct shared {
                _Atomic unsigned n;
                _Atomic uint64_t when_us[16];
        } *shared =
            mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct test_node fake = { 0 };
        struct kickoff_device_options options = { .device = "tv-1", .url = fake.url };
        struct kickoff_device *device;
        uint64_t begin_us = scene_now_us();
        pid_t parent = getpid(), pid;
        struct sockaddr_in address;
        socklen_t len = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(shared != MAP_FAILED && listener >= 0 && listen(listener, 16) == 0);
        check(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
        snprintf(fake.url, sizeof(fake.url), "ws://127.0.0.1:%u", ntohs(address.sin_port));
        pid = fork();
        if (pid == 0) {
                if (getppid() == parent)
                        refuse_for_ever(listener, &shared->n, shared->when_us);
                _exit(0);
        }
        check(kickoff_device_create(&options, &device) == OK);
        while (shared->n < 3 && scene_ms_since(begin_us) < PATIENCE_MS)
                kickoff_device_service(device, 50);
        kickoff_device_destroy(device);
        kill(pid, SIGKILL);
        CHECK_KEPT(shared->n >= 3, "the device gave up");
        for (unsigned i = 1; i < shared->n; i++) {
                double gap_ms = (double)(shared->when_us[i] - shared->when_us[i - 1]) / 1000;

                figure("came_again_after", "%.0f ms", gap_ms);
                CHECK_KEPT(gap_ms >= 3000, "line 12: the device came again after %.0f ms", gap_ms);
        }
}

/* --- 30, 31: devices behind a network that is gone --- */

struct far_away {
        struct scene *s;
        struct netns *space;
        struct crew *crew; /* all in there */
};

/* The node listens at all addresses; the devices come over the wire. */
static struct far_away go_far(void)
{
        static const char *node_arguments[4] = { NULL };
        static char listen[40];
        struct far_away far = { 0 };
        struct crew_options o = { .n = 4, .in_thread = netns_enter };
        char url[64];

        node_arguments[0] = "--ping=1s";
        far.s = scene_open(&(struct scene_options){
            .n_nodes = 1, .no_crew = true, .node_arguments = node_arguments });
        node_stop(&far.s->nodes[0], SIGTERM);
        snprintf(listen, sizeof(listen), "--listen=0.0.0.0:%u", far.s->nodes[0].port);
        node_arguments[1] = listen;
        scene_start_node(far.s, 0);
        far.space = netns_create(2);
        snprintf(url, sizeof(url), "ws://%s:%u", netns_home_address(far.space),
                 far.s->nodes[0].port);
        o.urls[0] = url;
        o.arg = far.space;
        far.s->crew = far.crew = crew_start(far.s->ledger, &o);
        return far;
}

static bool holds_nobody(void *node)
{
        return node_metric(node, "kickoff_devices") == 0;
}

FAULT(
    30, "four devices vanish without a word: no packet reaches them or comes from them",
    "the node gives them up a ping (1 s here) and 20 s later; back again, they resume without a gap (lines 5, 11)",
    .needs = NEEDS_NETNS, .limit_s = 150)
{
        struct far_away far = go_far();
        uint64_t begin_us;

        (void)produce_until(far.s->ledger, &far.s->nodes[0], "final");
        netns_lose(far.space, NETNS_BOTH, 100);
        begin_us = scene_now_us();
        wait_until(holds_nobody, &far.s->nodes[0], "the node to give dead devices up");
        kept_within("given_up", scene_ms_since(begin_us), 1000 + 20000, SLACK_MS);
        (void)produce_until(far.s->ledger, &far.s->nodes[0], "final");
        netns_heal();
        scene_judge(far.s);
        CHECK_KEPT(crew_resets(far.crew) == crew_size(far.crew),
                   "line 5: devices were reset within retention");
        scene_close(far.s);
}

static bool nobody_is_connected(void *arg)
{
        struct crew *crew = arg;

        for (unsigned i = 0; i < crew_size(crew); i++)
                if (crew_member(crew, i).is_connected)
                        return false;
        return true;
}

FAULT(
    31,
    "the path to four devices is lost in both directions, as when a NAT forgets them, with a ping of 1 s",
    "devices notice the silence within 2 pings + 5 s, and resume without a gap when there is a path (line 5)",
    .quick = true, .needs = NEEDS_NETNS, .limit_s = 120)
{
        struct far_away far = go_far();
        uint64_t begin_us;

        (void)produce_until(far.s->ledger, &far.s->nodes[0], "final");
        netns_lose(far.space, NETNS_BOTH, 100);
        begin_us = scene_now_us();
        (void)produce_until(far.s->ledger, &far.s->nodes[0], "final");
        wait_until(nobody_is_connected, far.crew, "devices to notice the silence");
        kept_within("noticed", scene_ms_since(begin_us), 2 * 1000 + 5000, SLACK_MS);
        netns_heal();
        scene_judge(far.s);
        CHECK_KEPT(crew_resets(far.crew) == crew_size(far.crew),
                   "line 5: devices were reset within retention");
        scene_close(far.s);
}

/* --- 34, 35: many at once --- */

/* Commands done so far: all of them, and those that read the log or the state. */
static long long commands_done(struct scene *s, long long *ret_reads)
{
        static const char *const reads[] = { "cmdstat_fcall_ro:calls=", "cmdstat_xrange:calls=",
                                             "cmdstat_hvals:calls=", "cmdstat_hgetall:calls=" };
        char *text = test_redis_ask(s->redis, "INFO", "all", NULL);
        const char *at = strstr(text, "total_commands_processed:");
        long long n = at ? atoll(at + strlen("total_commands_processed:")) : -1;

        *ret_reads = 0;
        for (unsigned i = 0; i < countof(reads); i++) {
                at = strstr(text, reads[i]);
                *ret_reads += at ? atoll(at + strlen(reads[i])) : 0;
        }
        free(text);
        return n;
}

#define REPLAYED 500

/* Acks of a replay are counted into the signals' delivery reports: that is a few commands per
 * signal, and none per device. */
FAULT(
    34,
    "64 devices come back at once and want 500 signals each (not 20,000 devices: the machine is small)",
    "served from the node's memory: Redis is read no more than when idle, and written by the signal, not by the device "
    "(lines 5, 9)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1, .n_devices = 64 });
        long long all, all_before, reads, idle_reads, reads_before;
        struct produced last = { 0 };
        uint64_t begin_us;
        double seconds;

        for (unsigned i = 0; i < 64; i++)
                crew_leave(s->crew, i);
        for (unsigned i = 0; i < REPLAYED; i++)
                last = produce_until(s->ledger, &s->nodes[0], "final");
        (void)commands_done(s, &reads_before);
        usleep(2000 * 1000);
        all_before = commands_done(s, &idle_reads);
        reads_before = idle_reads - reads_before;
        begin_us = scene_now_us();
        for (unsigned i = 0; i < 64; i++)
                crew_return(s->crew, i);
        CHECK_KEPT(crew_reaches(s->crew, &last.token, PATIENCE_MS),
                   "line 5: a replay is not complete");
        figure("replayed", "%u signals in %.0f ms", 64 * REPLAYED, scene_ms_since(begin_us));
        usleep(3000 * 1000); /* acks come spread over 2 s */
        all = commands_done(s, &reads) - all_before;
        reads -= idle_reads;
        seconds = scene_ms_since(begin_us) / 1000;
        figure("redis", "%.1f reads/s idle, %.1f reads/s in the flood, %lld commands in all",
               (double)reads_before / 2, (double)reads / seconds, all);
        CHECK_KEPT((double)reads <= (double)reads_before / 2 * seconds * 1.5 + 10,
                   "line 9: resumes made Redis be read %lld times", reads);
        CHECK_KEPT(all <= 8 * REPLAYED, "line 9: resumes cost Redis %lld commands", all);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 5: devices were reset within retention");
        scene_close(s);
}

FAULT(35, "a storm of signals from eight producers, as fast as answers come, for 10 s (3 s in CI)",
      "every device that keeps up has every signal, in order (lines 4, 5)", .quick = true,
      .limit_s = 180)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct producer_options o = { .nodes = { &s->nodes[0], &s->nodes[1] }, .event = "final" };
        struct producer *many[8];
        unsigned acknowledged = 0;
        uint64_t begin_us = scene_now_us();
        double seconds;

        for (unsigned i = 0; i < 8; i++)
                many[i] = producer_start(s->ledger, &o);
        usleep((faults_thorough ? 10 : 3) * 1000000);
        seconds = scene_ms_since(begin_us) / 1000;
        for (unsigned i = 0; i < 8; i++)
                acknowledged += producer_acknowledged(many[i]);
        for (unsigned i = 0; i < 8; i++)
                producer_stop(many[i]);
        figure("rate", "%.0f signals/s", acknowledged / seconds);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 5: devices were reset within retention");
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 5: devices had to reconnect");
        scene_close(s);
}

/* --- 36: no descriptors --- */

static void few_descriptors(void *arg)
{
        const struct rlimit limit = { 256, 256 };

        (void)arg;
        setrlimit(RLIMIT_NOFILE, &limit);
}

static double cpu_seconds(pid_t pid)
{
        char path[64], text[1024], *at;
        unsigned long user = 0, system = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        file = fopen(path, "r");
        if (file && fgets(text, sizeof(text), file) && (at = strrchr(text, ')')) != NULL)
                sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                       &system);
        if (file)
                fclose(file);
        return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

FAULT(
    36, "300 sockets at a node that may have 256 descriptors",
    "who is in stays and is served, changes are made, accepting waits without spinning, and goes on later (line 12)",
    .quick = true)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .node_in_child = few_descriptors });
        int fds[300];
        double cpu;

        for (unsigned i = 0; i < countof(fds); i++)
                fds[i] = raw_connect(&s->nodes[0],
                                     0); /* the kernel's queue takes what the node does not */
        for (unsigned i = 0; i < 10; i++)
                CHECK_KEPT(produce(s->ledger, &s->nodes[0], "final", NULL).status == 200,
                           "line 12: a change was not made while devices storm");
        cpu = cpu_seconds(s->nodes[0].pid);
        usleep(2000 * 1000);
        cpu = cpu_seconds(s->nodes[0].pid) - cpu;
        figure("cpu", "%.0f ms in 2 s", cpu * 1000);
        CHECK_KEPT(cpu < 1.0, "line 12: the node spins: %.1f s of CPU in 2 s", cpu);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew),
                   "line 12: devices that were in were cut");
        figure("accept_paused", "%lld times",
               (long long)node_metric(&s->nodes[0], "kickoff_accept_paused_total"));
        for (unsigned i = 0; i < countof(fds); i++)
                close(fds[i]);
        crew_leave(s->crew, 0);
        crew_return(s->crew, 0);
        scene_judge(s);
        scene_close(s);
}

/* --- 40: the wall clock --- */

static void preload_clock(void *arg)
{
        const char *asan = getenv("ASAN_OPTIONS");
        char options[512];

        setenv("KICKOFF_TEST_CLOCK", arg, 1);
        setenv("LD_PRELOAD", scene_built("preload_shift_clock.so"), 1);
        /* A sanitizer wants to be the first library; this one needs nothing of it. */
        snprintf(options, sizeof(options), "%s:verify_asan_link_order=0", asan ? asan : "");
        setenv("ASAN_OPTIONS", options, 1);
}

FAULT(40, "a node's wall clock jumps an hour ahead, and two back, in the midst of signals",
      "no session is closed, no order changes, changes go on at both nodes (lines 4, 5)",
      .quick = true)
{
        char path[128];
        struct scene_options o = { .pace_ms = 5,
                                   .node_in_child = preload_clock,
                                   .node_in_child_arg = path,
                                   .only_node = 1 };
        volatile int64_t *shift;
        struct crew_member m;
        struct scene *s;
        int fd;

        snprintf(path, sizeof(path), "%s/clock", getenv("TMPDIR"));
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        check(fd >= 0 && ftruncate(fd, sizeof(*shift)) == 0);
        shift = mmap(NULL, sizeof(*shift), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        check(shift != MAP_FAILED);
        s = scene_open(&o);
        producer_until_more(s->producer, 20);
        *shift = 3600 * 1000;
        producer_until_more(s->producer, 20);
        usleep(1500 * 1000);
        *shift = -3600 * 1000;
        producer_until_more(s->producer, 20);
        usleep(1500 * 1000);
        CHECK_KEPT(scene_is_ready(&s->nodes[0]) && scene_is_ready(&s->nodes[1]),
                   "a node is not ready");
        m = crew_member(s->crew, 0);
        figure("losses", "%u of the first device", m.losses);
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 5: devices had to reconnect");
        scene_close(s);
}
