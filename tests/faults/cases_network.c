/* tests/faults/cases_network.c -- what lies between a node and Redis: lost messages, stalls,
 * partitions, loss, latency, thin links. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/faults/scene.h"

static struct token change_once(struct scene *s)
{
        return produce_until(s->ledger, &s->nodes[0], "final").token;
}

FAULT(12, "a published message is lost between Redis and a node, five times",
      "the next look at the head finds it within 2 s, and the log fills it in (lines 5, 8)",
      .quick = true)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .redis_proxied = true });
        double slowest_ms = 0;
        struct token token;

        /* Only connections that began while the proxy watched are sifted: cut them once. */
        tcp_proxy_lose_messages(s->to_redis, 0);
        tcp_proxy_cut(s->to_redis);
        for (unsigned round = 0; round < 5; round++) {
                uint64_t lost, begin_us;

                token = change_once(s);
                CHECK_KEPT(crew_reaches(s->crew, &token, PATIENCE_MS),
                           "line 5: a message never came");
                lost = tcp_proxy_counts(s->to_redis).messages_lost;
                tcp_proxy_lose_messages(s->to_redis, 1);
                begin_us = scene_now_us();
                token = change_once(s);
                CHECK_KEPT(crew_reaches(s->crew, &token, PATIENCE_MS),
                           "line 5: a lost message was not filled in");
                if (scene_ms_since(begin_us) > slowest_ms)
                        slowest_ms = scene_ms_since(begin_us);
                CHECK_KEPT(tcp_proxy_counts(s->to_redis).messages_lost == lost + 1,
                           "the fault was not made: no message was lost");
        }
        kept_within("filled_in", slowest_ms, 2000, SLACK_MS);
        scene_close(s);
}

static bool has_more_connections(void *arg)
{
        uint64_t **pair = arg; /* proxy, then how many there were */

        return tcp_proxy_counts((struct tcp_proxy *)pair[0]).connections > *pair[1];
}

FAULT(13, "the subscriber link stalls: nothing arrives, nothing is closed",
      "noticed within 2 s and connected anew, signals come by the head meanwhile (lines 5, 8)",
      .quick = true)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .redis_proxied = true });
        uint64_t connections, begin_us;
        uint64_t *pair[2] = { (uint64_t *)s->to_redis, &connections };
        struct token token;

        token = change_once(s);
        CHECK_KEPT(crew_reaches(s->crew, &token, PATIENCE_MS), "line 5: a signal never came");
        connections = tcp_proxy_counts(s->to_redis).connections;
        tcp_proxy_stall_who_said(s->to_redis, "SUBSCRIBE");
        begin_us = scene_now_us();
        token = change_once(s);
        CHECK_KEPT(crew_reaches(s->crew, &token, PATIENCE_MS), "line 5: a signal was not fetched");
        kept_within("signal_fetched", scene_ms_since(begin_us), 2000, SLACK_MS);
        wait_until(has_more_connections, pair, "the node to connect anew");
        kept_within("connected_anew", scene_ms_since(begin_us), 2000, SLACK_MS);
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}

FAULT(
    15, "nodes and Redis are cut off from each other for a minute (10 s in CI)",
    "sessions stay and are served from memory, changes fail and readiness tells within 2 s; healed, all is caught up "
    "without a reset (lines 8, 9)",
    .quick = true, .needs = NEEDS_NETNS, .limit_s = 150)
{
        struct scene *s = scene_open(&(struct scene_options){ .redis_in_space = true });
        struct produced produced;
        uint64_t begin_us;
        unsigned hellos;

        (void)change_once(s);
        hellos = crew_hellos(s->crew);
        netns_lose(s->space, NETNS_BOTH, 100);
        begin_us = scene_now_us();
        produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        CHECK_KEPT(produced.status >= 500, "line 9: a change was answered %d", produced.status);
        kept_within("change_failed", (double)produced.ms, 2000, SLACK_MS);
        wait_until(scene_node_is_not_ready, &s->nodes[0], "readiness to tell");
        kept_within("not_ready", scene_ms_since(begin_us), 2000, SLACK_MS);
        crew_leave(s->crew, 0); /* a resume from memory */
        crew_return(s->crew, 0);
        usleep(faults_thorough ? 58 * 1000000 : 8 * 1000000);
        CHECK_KEPT(crew_hellos(s->crew) == hellos + 1, "line 9: devices lost their connections");
        netns_heal();
        begin_us = scene_now_us();
        (void)change_once(s);
        figure("writing_again", "%.0f ms", scene_ms_since(begin_us));
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 9: devices were reset");
        scene_close(s);
}

static void with_loss(unsigned percent)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .redis_in_space = true, .pace_ms = 10 });

        netns_lose(s->space, NETNS_BOTH, percent);
        producer_until_more(s->producer, 1);
        usleep((faults_thorough ? 20 : 6) * 1000000);
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        figure("unanswered", "%u of the asked", checker_count(s->ledger).unknown);
        netns_heal();
        scene_close(s);
}

FAULT_OF(16, a, "1 % of the packets between nodes and Redis are lost, both ways",
         "no gap (lines 3, 4, 5)", .needs = NEEDS_NETNS)
{
        with_loss(1);
}

FAULT_OF(16, b, "5 % of the packets between nodes and Redis are lost, both ways",
         "no gap (lines 3, 4, 5)", .quick = true, .needs = NEEDS_NETNS)
{
        with_loss(5);
}

FAULT_OF(16, c, "20 % of the packets between nodes and Redis are lost, both ways",
         "no gap (lines 3, 4, 5)", .needs = NEEDS_NETNS, .limit_s = 120)
{
        with_loss(20);
}

static void with_latency(unsigned rtt_ms)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .redis_proxied = true, .pace_ms = 5 });
        unsigned downs = scene_log_count(&s->nodes[0], "REDIS-DOWN");

        tcp_proxy_delay(s->to_redis, PROXY_TO_SERVER, rtt_ms / 2);
        tcp_proxy_delay(s->to_redis, PROXY_TO_CLIENT, rtt_ms / 2);
        tcp_proxy_delay_every_second(s->to_redis, rtt_ms / 4);
        producer_until_more(s->producer, faults_thorough ? 40 : 6);
        CHECK_KEPT(scene_log_count(&s->nodes[0], "REDIS-DOWN") == downs,
                   "line 9: a link was given up although answers come in time");
        CHECK_KEPT(scene_is_ready(&s->nodes[0]),
                   "line 8: not ready, although answers come in time");
        figure("slowest_answer", "%llu ms", (unsigned long long)producer_slowest_ms(s->producer));
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}

FAULT_OF(17, a,
         "Redis is 50 ms away, and every second link 25 ms more, so that links overtake each other",
         "no gap, no timeout (lines 4, 5, 9)", .quick = true)
{
        with_latency(50);
}

FAULT_OF(17, b, "Redis is 300 ms away, and every second link 150 ms more",
         "no gap, no timeout (lines 4, 5, 9)", .quick = true, .limit_s = 180)
{
        with_latency(300);
}

static unsigned memory_kib(pid_t pid)
{
        char path[64], line[256];
        unsigned kib = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/status", pid);
        file = fopen(path, "r");
        while (file && fgets(line, sizeof(line), file))
                sscanf(line, "VmRSS: %u", &kib);
        if (file)
                fclose(file);
        return kib;
}

FAULT(18, "the link to Redis carries 64 kbit/s, and producers want more",
      "no gap, and a node's memory stays within 16 MiB more (lines 4, 5, 11)", .needs = NEEDS_NETNS,
      .limit_s = 240)
{
        struct scene *s = scene_open(&(struct scene_options){ .redis_in_space = true });
        struct producer_options o = { .nodes = { &s->nodes[0], &s->nodes[1] },
                                      .event = "final",
                                      .pace_ms = 1 };
        unsigned before = memory_kib(s->nodes[0].pid), after;
        struct producer *many[8];

        netns_thin(s->space, "64kbit");
        for (unsigned i = 0; i < 8; i++)
                many[i] = producer_start(s->ledger, &o);
        usleep((faults_thorough ? 30 : 10) * 1000000);
        after = memory_kib(s->nodes[0].pid);
        netns_thin(s->space, NULL);
        for (unsigned i = 0; i < 8; i++)
                producer_stop(many[i]);
        figure("memory", "%u KiB before, %u KiB after", before, after);
        CHECK_KEPT(after < before + 16 * 1024, "line 11: a node grew from %u to %u KiB", before,
                   after);
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}
