/* tests/faults/cases_devices.c -- devices that are not there any more, or do not read: what a node
 * does about them, and that nobody beside them notices. The far ones live in a network of their
 * own, whose wire is cut: no packet of theirs comes any more, not even a FIN. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "base/check.h"
#include "proto/ws.h"
#include "tests/faults/scene.h"

#define FAR      20
#define FREED_MS 45000

/* Any port is free in a network of the case's own; and the wire ends at another address than
 * loopback. */
static const char *const open_to_all[] = { "--listen=0.0.0.0:20080", NULL };
struct far {
        struct netns *space;
        uint16_t port;
        int receive_buffer; /* 0 = as usual */
        unsigned apart_ms;  /* how long after each other they connect */
        int fds[FAR];
};

/* Sockets belong to the network that their thread is in when it makes them. */
static void *connect_far(void *arg)
{
        struct far *far = arg;
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(far->port) };

        netns_enter(far->space);
        check(inet_pton(AF_INET, netns_home_address(far->space), &to.sin_addr) == 1);
        for (unsigned i = 0; i < FAR; i++) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                char name[16];

                if (far->receive_buffer > 0)
                        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &far->receive_buffer,
                                   sizeof(far->receive_buffer));
                if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
                        give_up("a far device cannot connect");
                snprintf(name, sizeof(name), "far-%u", i);
                raw_upgrade(fd, name, "");
                far->fds[i] = fd;
                usleep(far->apart_ms * 1000);
        }
        return NULL;
}

static void begin_far(struct far *far, struct scene *s, struct netns *space, int receive_buffer,
                      unsigned apart_ms)
{
        pthread_t thread;

        *far = (struct far){ .space = space,
                             .port = s->nodes[0].port,
                             .receive_buffer = receive_buffer,
                             .apart_ms = apart_ms };
        check(pthread_create(&thread, NULL, connect_far, far) == 0);
        check(pthread_join(thread, NULL) == 0);
}

static void end_far(struct far *far)
{
        for (unsigned i = 0; i < FAR; i++)
                close(far->fds[i]);
        netns_destroy(far->space);
}

/* For so long, devices do what living ones do. */
static void answer_pings(struct far *far, double ms)
{
        static const uint8_t pong[6] = { 0x80 | WS_PONG, 0x80 };
        uint64_t begin_us = scene_now_us();
        char bytes[4096];

        while (scene_ms_since(begin_us) < ms) {
                for (unsigned i = 0; i < FAR; i++) {
                        ssize_t n = recv(far->fds[i], bytes, sizeof(bytes), MSG_DONTWAIT);

                        /* Of all they are sent, only a ping begins like that: the rest is text. */
                        if (n > 0 && memchr(bytes, 0x80 | WS_PING, (size_t)n) != NULL)
                                (void)!send(far->fds[i], pong, sizeof(pong), MSG_NOSIGNAL);
                }
                usleep(50000);
        }
}

static int64_t devices(const struct scene *s)
{
        return node_metric(&s->nodes[0], "kickoff_devices ");
}

static bool are_freed(void *arg)
{
        const struct scene *s = arg;

        return devices(s) == (int64_t)crew_size(s->crew);
}

/* Who is near has not noticed anything. */
static void judge_others(struct scene *s)
{
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 11: others had to reconnect");
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 11: others were reset");
}

/* The wire is cut; then, after so long, the first signal. 0 = none at all. */
static void vanish(unsigned signal_after_ms)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .node_arguments = open_to_all });
        uint64_t begin_us;
        struct far far;

        begin_far(&far, s, netns_create(1), 0, 0);
        CHECK_KEPT(devices(s) == FAR + (int64_t)crew_size(s->crew), "the far ones are not there");
        netns_lose(far.space, NETNS_BOTH, 100);
        begin_us = scene_now_us();
        if (signal_after_ms > 0) {
                usleep(signal_after_ms * 1000);
                CHECK_KEPT(devices(s) == FAR + (int64_t)crew_size(s->crew),
                           "they went before the signal: another moment was to be shown");
                (void)produce_until(s->ledger, &s->nodes[0], "final");
        }
        wait_until(are_freed, s, "the node to free them");
        kept_within("freed", scene_ms_since(begin_us), FREED_MS, SLACK_MS);
        judge_others(s);
        scene_close(s);
        end_far(&far);
}

FAULT_OF(30, a, "20 idle devices vanish without a FIN: their network is cut",
         "freed within 45 s, the others notice nothing (line 11)", .needs = NEEDS_NETNS,
         .limit_s = 120)
{
        vanish(0);
}

FAULT_OF(30, b, "20 devices vanish while signals go out one after the other",
         "freed within 45 s, the others are told all (lines 5, 11)", .needs = NEEDS_NETNS,
         .limit_s = 120)
{
        struct scene *s = scene_open(
            &(struct scene_options){ .n_nodes = 1, .pace_ms = 50, .node_arguments = open_to_all });
        uint64_t begin_us;
        struct far far;

        begin_far(&far, s, netns_create(1), 0, 0);
        producer_until_more(s->producer, 10);
        netns_lose(far.space, NETNS_BOTH, 100);
        begin_us = scene_now_us();
        wait_until(are_freed, s, "the node to free them");
        kept_within("freed", scene_ms_since(begin_us), FREED_MS, SLACK_MS);
        judge_others(s);
        scene_close(s);
        end_far(&far);
}

/* A signal under way makes the kernel stop asking whether the peer is there, and wait for the
 * acknowledgement instead: the latest moment for one is just before the asking would have ended. */
FAULT_OF(30, c,
         "20 devices vanish, and the first signal after that comes when they are nearly found out",
         "freed within 45 s all the same (line 11)", .needs = NEEDS_NETNS, .limit_s = 120)
{
        vanish(19500);
}

/* Who is asked once and closed for want of one answer would not live through this. */
FAULT_OF(30, d, "the wire of 20 idle devices is cut for 5 s, six times within a minute",
         "living devices are not taken for dead: all stay (line 11)", .needs = NEEDS_NETNS,
         .limit_s = 180)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .node_arguments = open_to_all });
        struct far far;

        /* So that in each cut some are just being asked. */
        begin_far(&far, s, netns_create(1), 0, 700);
        for (unsigned i = 0; i < 6; i++) {
                netns_lose(far.space, NETNS_BOTH, 100);
                answer_pings(&far, 5000);
                netns_heal();
                answer_pings(&far, 4000);
        }
        answer_pings(&far, 15000); /* whoever was given up in the last cut is gone by now */
        figure("left", "%lld of %u", (long long)devices(s) - crew_size(s->crew), FAR);
        CHECK_KEPT(devices(s) == FAR + (int64_t)crew_size(s->crew), "devices were taken for dead");
        judge_others(s);
        scene_close(s);
        end_far(&far);
}

static bool are_blocked(void *arg)
{
        return node_metric(&((struct scene *)arg)->nodes[0], "kickoff_blocked") >= FAR;
}

FAULT(
    29, "20 devices never read, while signals go out one after the other",
    "ended as too slow 20 s after they take nothing any more; the others are told all (lines 5, 11)",
    .needs = NEEDS_NETNS, .limit_s = 180)
{
        struct scene *s = scene_open(
            &(struct scene_options){ .n_nodes = 1, .pace_ms = 1, .node_arguments = open_to_all });
        uint64_t begin_us;
        struct far far;

        begin_far(&far, s, netns_create(1), 2048, 0);
        wait_until(are_blocked, s, "their sockets to be full");
        begin_us = scene_now_us();
        wait_until(are_freed, s, "the node to end them");
        kept_within("ended", scene_ms_since(begin_us), FREED_MS, SLACK_MS);
        figure("as_too_slow", "%lld of %u",
               (long long)node_metric(&s->nodes[0], "kickoff_closes_total{reason=\"too-slow\"}"),
               FAR);
        CHECK_KEPT(node_metric(&s->nodes[0], "kickoff_closes_total{reason=\"too-slow\"}") == FAR,
                   "line 11: they were not counted as too slow");
        judge_others(s);
        scene_close(s);
        end_far(&far);
}
