/* tests/faults/cases_network.c -- what lies between a node and Redis: lost messages, stalls,
 * partitions, loss, latency, thin links. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/faults/scene.h"

/* Of the last change: devices have it although nobody told them of a gap. */
static struct token change_once(struct scene *s)
{
        return produce_until(s->ledger, &s->nodes[0], "final").token;
}

FAULT(12, "a published message is lost between Redis and the nodes",
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
                uint64_t lost = tcp_proxy_counts(s->to_redis).messages_lost, begin_us;

                (void)change_once(s);
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

FAULT(
    15, "node and Redis are cut off from each other for a minute (10 s in CI)",
    "sessions stay and are served from memory, changes fail within 2 s, readiness tells within 2 s; healed, all is "
    "caught up without a reset (lines 8, 9)",
    .quick = true, .needs = NEEDS_NETNS, .limit_s = 150)
{
        struct scene *s = scene_open(&(struct scene_options){ .redis_in_space = true });
        uint64_t begin_us;
        struct produced produced;
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
        usleep(faults_thorough ? 60 * 1000000 : 8 * 1000000);
        CHECK_KEPT(crew_hellos(s->crew) == hellos + 1, "line 9: devices lost their connections");
        netns_heal();
        begin_us = scene_now_us();
        (void)change_once(s);
        figure("writing_again", "%.0f ms", scene_ms_since(begin_us));
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 9: devices were reset");
        scene_close(s);
}
