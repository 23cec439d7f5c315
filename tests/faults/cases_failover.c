/* tests/faults/cases_failover.c -- another server becomes the primary: by sentinels, by hand, with
 * two at once, in a cluster; and what a node does with changes that wait for replicas. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/faults/fleet.h"
#include "tests/faults/scene.h"
#include "tests/support/redis_fleet.h"

static const char *const replicated[] = { "--durability", "replicated:1", NULL };

static void nobody_was_reset(struct scene *s)
{
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 6: devices were reset");
}

/* The one request that was under way when the fault began may still be answered. */
static void until_made_again(struct scene *s)
{
        usleep(100 * 1000);
        producer_until_more(s->producer, 1);
}

/* --- 6: a primary dies --- */

FAULT(
    6, "the primary is killed, three sentinels choose one of two replicas; `replicated:1`",
    "nothing acknowledged is lost, changes go on within down-after + 3 s, no device reconnects (lines 1, 5, 9)",
    .quick = true, .limit_s = 120)
{
        struct fleet fleet;
        struct scene *s;
        uint64_t killed_us;
        double agreed_ms, limit_ms = FLEET_DOWN_AFTER_MS + 3000;

        fleet_open(&fleet, &(struct fleet_options){ .n_replicas = 2 });
        s = scene_open(&(struct scene_options){ .pace_ms = 5,
                                                .redis = fleet.server[0],
                                                .redis_url = fleet.sentinels_url,
                                                .node_arguments = replicated });
        producer_until_more(s->producer, 50);
        killed_us = scene_now_us();
        test_redis_kill(fleet.server[0]);
        s->redis = fleet_until_failed_over(&fleet);
        agreed_ms = scene_ms_since(killed_us);
        until_made_again(s);
        producer_until_more(s->producer, 50);
        scene_judge(s);
        figure("sentinels_chose_within", "%.0f ms", agreed_ms);
        /* Sentinels whose votes are split try again after twice their failover-timeout: not ours.
         */
        if (agreed_ms + 2000 > limit_ms)
                limit_ms = agreed_ms + 2000;
        kept_within("outage", scene_longest_pause_ms(s, killed_us), limit_ms, SLACK_MS);
        nobody_was_reset(s);
        scene_close(s);
        fleet_end(&fleet);
}

/* --- 8: two primaries at once --- */

struct split {
        struct fleet fleet;
        struct scene *s;
        struct producer *old, *new; /* at node b, on the old primary's side; at node a */
};

/* Node b, its producer, one sentinel and the primary on one side; all else on the other. */
static void split_open(struct split *split, const char *min_replicas,
                       const char *const *node_arguments, struct checker_rules rules)
{
        struct producer_options o = { .event = "final", .pace_ms = 20, .no_retry = true };

        fleet_open(&split->fleet, &(struct fleet_options){ .n_replicas = 2,
                                                           .in_spaces = true,
                                                           .min_replicas = min_replicas });
        split->s = scene_open(&(struct scene_options){ .redis = split->fleet.server[0],
                                                       .redis_url = split->fleet.sentinels_url,
                                                       .far = split->fleet.space[0],
                                                       .far_node = 2,
                                                       .node_arguments = node_arguments,
                                                       .rules = rules });
        o.nodes[0] = &split->s->nodes[1];
        split->old = producer_start(split->s->ledger, &o);
        o.nodes[0] = &split->s->nodes[0];
        split->new = producer_start(split->s->ledger, &o);
        producer_until_more(split->old, 20);
        producer_until_more(split->new, 20);
}

static void split_begin(struct split *split)
{
        netns_lose(split->fleet.space[0], NETNS_BOTH, 100);
}

static void split_end(struct split *split)
{
        netns_heal();
        fleet_until_says(split->s->redis, "connected_slaves:2"); /* the old one among them */
        producer_until_more(split->new, 20);
        producer_until_more(split->old, 20);
        producer_stop(split->new);
        producer_stop(split->old);
        scene_judge(split->s);
}

static void split_close(struct split *split)
{
        scene_close(split->s);
        fleet_end(&split->fleet);
}

static void far_devices_were_told(struct split *split)
{
        for (unsigned i = 1; i < crew_size(split->s->crew); i += 2)
                CHECK_KEPT(crew_member(split->s->crew, i).resets >= 2,
                           "line 6: device %u was not told that signals it had are gone", i);
}

FAULT_OF(
    8, a,
    "the primary is cut off with one node and its producer; min-replicas-to-write 1, max-lag 2 s; `fsync`",
    "the old side refuses and its node says not ready after max-lag; what it took is lost, but told (lines 6, 7, 8)",
    .needs = NEEDS_NETNS, .limit_s = 180)
{
        struct split split;
        struct scene *s;
        uint64_t begin_us;
        unsigned taken;

        split_open(&split, "1", NULL,
                   (struct checker_rules){ .loss_may_be_told = true, .numbers_may_fork = true });
        s = split.s;
        taken = producer_acknowledged(split.old);
        begin_us = scene_now_us();
        split_begin(&split);
        wait_until(scene_node_is_not_ready, &s->nodes[1], "the old side's readiness to tell");
        /* Redis looks once a second how old the last word of each replica is, in whole seconds. */
        kept_within("old_side_not_ready", scene_ms_since(begin_us), 2000 + 1000 + 2000, SLACK_MS);
        figure("old_side_took", "%u", producer_acknowledged(split.old) - taken);
        taken = producer_acknowledged(split.old);
        s->redis = fleet_until_failed_over(&split.fleet);
        producer_until_more(split.new, 20);
        figure("new_side_goes_on_after", "%.0f ms", scene_ms_since(begin_us));
        CHECK_KEPT(producer_acknowledged(split.old) == taken,
                   "line 8: the old side took %u changes after it had said that it is not ready",
                   producer_acknowledged(split.old) - taken);
        split_end(&split);
        far_devices_were_told(&split);
        split_close(&split);
}

FAULT_OF(
    8, b, "the same with `replicated:1`, and no min-replicas-to-write",
    "nothing that the old side holds back reaches a device, ever; nothing acknowledged is lost (lines 1, 2, 5)",
    .needs = NEEDS_NETNS, .limit_s = 180)
{
        struct split split;
        struct scene *s;
        unsigned signals = 0, resets, unknown;

        split_open(&split, NULL, replicated, (struct checker_rules){ 0 });
        s = split.s;
        split_begin(&split);
        usleep(1000 * 1000); /* what was replicated before may still be told */
        for (unsigned i = 1; i < crew_size(s->crew); i += 2)
                signals += crew_member(s->crew, i).signals;
        unknown = producer_unknown(split.old);
        s->redis = fleet_until_failed_over(&split.fleet);
        producer_until_more(split.new, 20);
        for (unsigned i = 1; i < crew_size(s->crew); i += 2)
                signals -= crew_member(s->crew, i).signals;
        CHECK_KEPT(signals == 0, "line 2: devices of the old side had %u signals", -signals);
        figure("old_side_unknown", "%u", producer_unknown(split.old) - unknown);
        CHECK_KEPT(producer_unknown(split.old) > unknown,
                   "the fault was not made: the old side held nothing back");
        resets = crew_resets(s->crew);
        split_end(&split);
        CHECK_KEPT(crew_resets(s->crew) == resets, "line 6: devices were reset");
        split_close(&split);
}

FAULT_OF(
    8, c, "the same with `fsync`, and no min-replicas-to-write, for 10 s",
    "not noticed while it lasts, which is not promised; what the old side took is lost, but told (lines 6, 7, 15)",
    .needs = NEEDS_NETNS, .limit_s = 180)
{
        struct split split;
        unsigned taken;

        split_open(&split, NULL, NULL,
                   (struct checker_rules){ .loss_may_be_told = true, .numbers_may_fork = true });
        taken = producer_acknowledged(split.old);
        split_begin(&split);
        split.s->redis = fleet_until_failed_over(&split.fleet);
        producer_until_more(split.new, 50);
        usleep(10 * 1000 * 1000);
        figure("old_side_took", "%u", producer_acknowledged(split.old) - taken);
        CHECK_KEPT(producer_acknowledged(split.old) > taken + 1,
                   "the fault was not made: the old side took nothing");
        split_end(&split);
        far_devices_were_told(&split);
        split_close(&split);
}

/* --- 9: sentinels that are behind --- */

static struct fake_sentinel *liar(const char *host, struct test_redis *redis, unsigned epoch)
{
        struct fake_sentinel *fake = fake_sentinel_start(host, test_redis_port(redis));

        fake_sentinel_says_of(fake, host, test_redis_port(redis), epoch);
        return fake;
}

static void change_roles(struct fleet *fleet, unsigned to)
{
        unsigned from = 1 - to;

        fleet_until_same(fleet->server[from], fleet->server[to]);
        test_redis_follow(fleet->server[to], NULL, 0);
        test_redis_follow(fleet->server[from], fleet->host[to], test_redis_port(fleet->server[to]));
}

FAULT_OF(
    9, a, "three sentinels go on naming the old primary, which is a replica of the new one by now",
    "changes fail within 2 s and are not taken, the node says not ready; the first sentinel that knows better "
    "is believed (lines 8, 9)",
    .quick = true, .limit_s = 120)
{
        struct fake_sentinel *fake[3];
        struct fleet fleet;
        struct scene *s;
        struct produced produced;
        uint64_t begin_us;
        char url[160];

        fleet_open(&fleet, &(struct fleet_options){ .no_sentinels = true });
        for (unsigned i = 0; i < 3; i++)
                fake[i] = liar(fleet.host[0], fleet.server[0], 1);
        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main",
                 fake_sentinel_port(fake[0]), fake_sentinel_port(fake[1]),
                 fake_sentinel_port(fake[2]));
        s = scene_open(&(struct scene_options){ .redis = fleet.server[0], .redis_url = url });
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        begin_us = scene_now_us();
        change_roles(&fleet, 1);
        s->redis = fleet.server[1];
        do {
                produced = produce(s->ledger, &s->nodes[0], "final", NULL);
                CHECK_KEPT(produced.status >= 500, "line 8: a replica's node answered %d",
                           produced.status);
                CHECK_KEPT(produced.ms <= 2000 + SLACK_MS, "line 9: an answer took %llu ms",
                           (unsigned long long)produced.ms);
        } while (scene_is_ready(&s->nodes[0]) && scene_ms_since(begin_us) < PATIENCE_MS);
        kept_within("not_ready", scene_ms_since(begin_us), 2000, SLACK_MS);
        fake_sentinel_says_of(fake[2], fleet.host[1], test_redis_port(fleet.server[1]), 2);
        begin_us = scene_now_us();
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        kept_within("writing_again", scene_ms_since(begin_us), 3000, SLACK_MS);
        scene_judge(s);
        nobody_was_reset(s);
        scene_close(s);
        for (unsigned i = 0; i < 3; i++)
                fake_sentinel_destroy(fake[i]);
        fleet_end(&fleet);
}

FAULT_OF(
    9, b,
    "two of three sentinels name a primary of before the last failover, which takes writes again, and links break",
    "the one of the higher config-epoch is believed: not a single change goes to the old one (lines 1, 8)",
    .quick = true, .limit_s = 120)
{
        struct fake_sentinel *fake[3];
        struct fleet fleet;
        struct scene *s;
        char url[160], *before, *after;

        fleet_open(&fleet, &(struct fleet_options){ .no_sentinels = true });
        change_roles(&fleet, 1);
        test_redis_follow(fleet.server[0], NULL, 0); /* it stands alone now, and takes writes */
        for (unsigned i = 0; i < 3; i++)
                fake[i] = liar(fleet.host[i == 0], fleet.server[i == 0], i == 0 ? 2 : 1);
        snprintf(url, sizeof(url), "sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main",
                 fake_sentinel_port(fake[0]), fake_sentinel_port(fake[1]),
                 fake_sentinel_port(fake[2]));
        s = scene_open(
            &(struct scene_options){ .pace_ms = 5, .redis = fleet.server[1], .redis_url = url });
        before = test_redis_ask(fleet.server[0], "DBSIZE", NULL);
        for (unsigned i = 0; i < (faults_thorough ? 10u : 3u); i++) {
                producer_until_more(s->producer, 20);
                test_redis_do(fleet.server[1], "CLIENT", "KILL", "TYPE", "normal", NULL);
                test_redis_do(fleet.server[1], "CLIENT", "KILL", "TYPE", "pubsub", NULL);
                producer_until_more(s->producer, 1);
        }
        scene_judge(s);
        after = test_redis_ask(fleet.server[0], "DBSIZE", NULL);
        CHECK_KEPT(strcmp(before, after) == 0, "line 8: the old primary had %s keys, and has %s",
                   before, after);
        free(before);
        free(after);
        nobody_was_reset(s);
        scene_close(s);
        for (unsigned i = 0; i < 3; i++)
                fake_sentinel_destroy(fake[i]);
        fleet_end(&fleet);
}

/* --- 10, 11: by hand --- */

FAULT(
    10,
    "FAILOVER: the primary hands over to its replica, as planned, in the midst of changes, and back again",
    "nothing is lost, and changes pause for less than 1 s (lines 1, 5)", .quick = true,
    .limit_s = 120)
{
        struct fleet fleet;
        struct scene *s;
        uint64_t begin_us;

        fleet_open(&fleet, &(struct fleet_options){ .no_sentinels = true });
        s = scene_open(&(struct scene_options){
            .pace_ms = 5, .redis = fleet.server[0], .redis_url = fleet.servers_url });
        begin_us = scene_now_us();
        for (unsigned i = 0; i < 2; i++) {
                producer_until_more(s->producer, 50);
                test_redis_do(fleet.server[i], "FAILOVER", NULL);
                fleet_until_says(fleet.server[1 - i], "role:master");
                fleet_until_follows(fleet.server[i]);
                until_made_again(s);
        }
        producer_until_more(s->producer, 50);
        scene_judge(s);
        kept_within("pause", scene_longest_pause_ms(s, begin_us), 1000, SLACK_MS);
        nobody_was_reset(s);
        scene_close(s);
        fleet_end(&fleet);
}

/* Node a knows the one server alone, node b both. */
FAULT_OF(
    11, a,
    "REPLICAOF: the primary becomes a replica of its replica by hand, in the midst of changes",
    "a node that knows both goes on; one that knows no other takes no change, and says so within 2 s (lines 8, 9)",
    .quick = true, .limit_s = 120)
{
        struct fleet fleet;
        struct scene *s;
        struct produced produced;
        uint64_t begin_us;

        fleet_open(&fleet, &(struct fleet_options){ .no_sentinels = true });
        s = scene_open(&(struct scene_options){
            .pace_ms = 5,
            .redis = fleet.server[0],
            /* Nobody waits for the replica here, so what is taken in the last moment may be lost.
             */
            .rules = { .loss_may_be_told = true, .numbers_may_fork = true },
            .redis_urls = { test_redis_url(fleet.server[0]), fleet.servers_url } });
        producer_until_more(s->producer, 50);
        begin_us = scene_now_us();
        change_roles(&fleet, 1);
        wait_until(scene_node_is_not_ready, &s->nodes[0], "readiness to tell");
        kept_within("not_ready", scene_ms_since(begin_us), 2000, SLACK_MS);
        producer_until_more(s->producer, 20); /* by node b: what a refuses is asked there */
        for (unsigned i = 0; i < 3; i++) {
                produced = produce(s->ledger, &s->nodes[0], "final", NULL);
                CHECK_KEPT(produced.status == 503, "line 8: a replica's node answered %d",
                           produced.status);
                CHECK_KEPT(produced.ms <= 2000 + SLACK_MS, "line 9: an answer took %llu ms",
                           (unsigned long long)produced.ms);
        }
        change_roles(&fleet, 0);
        producer_until_more(s->producer, 20);
        scene_judge(s);
        kept_within("pause_at_both", scene_longest_pause_ms(s, begin_us), 3000, SLACK_MS);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
        fleet_end(&fleet);
}

/* Everything under the tag goes over in one step that Redis makes whole, then the slot. */
static void move_slot(struct test_cluster *cluster, unsigned from, unsigned to, unsigned slot)
{
        static const char move[] =
            "local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', ARGV[1], 10000) "
            "if #keys == 0 then return 0 end "
            "redis.call('MIGRATE', '127.0.0.1', ARGV[2], '', 0, 5000, 'KEYS', unpack(keys)) "
            "return #keys";
        char number[8], port[8];
        char *from_id = test_redis_ask(cluster->node[from], "CLUSTER", "MYID", NULL);
        char *to_id = test_redis_ask(cluster->node[to], "CLUSTER", "MYID", NULL);
        char *moved = NULL;

        snprintf(number, sizeof(number), "%u", slot);
        snprintf(port, sizeof(port), "%u", test_redis_port(cluster->node[to]));
        test_redis_do(cluster->node[to], "CLUSTER", "SETSLOT", number, "IMPORTING", from_id, NULL);
        test_redis_do(cluster->node[from], "CLUSTER", "SETSLOT", number, "MIGRATING", to_id, NULL);
        do {
                free(moved);
                moved = test_redis_ask(cluster->node[from], "EVAL", move, "0", number, port, NULL);
                if (moved[0] == '-')
                        give_up("MIGRATE: %s", moved);
        } while (strcmp(moved, "0") != 0);
        test_cluster_move(cluster, slot, to);
        free(moved);
        free(from_id);
        free(to_id);
}

FAULT_OF(
    11, b,
    "in a cluster of three, the slot moves to another primary in the midst of changes, and on, and back",
    "nothing is lost, no device reconnects or is reset, changes go on within 2 s (lines 1, 5, 9)",
    .limit_s = 120)
{
        struct test_cluster cluster;
        struct scene *s;
        unsigned slot, at;
        uint64_t begin_us;

        test_cluster_start(&cluster);
        slot = test_cluster_slot(&cluster, "{kickoff}:log");
        at = test_cluster_owner(&cluster, "{kickoff}:log");
        s = scene_open(&(struct scene_options){ .pace_ms = 5,
                                                .redis = cluster.node[at],
                                                .redis_url = test_redis_url(cluster.node[0]) });
        for (unsigned i = 0; i < TEST_CLUSTER_NODES; i++) {
                unsigned to = (at + 1) % TEST_CLUSTER_NODES;

                producer_until_more(s->producer, 50);
                begin_us = scene_now_us();
                move_slot(&cluster, at, to, slot);
                until_made_again(s);
                kept_within("writing_again", scene_ms_since(begin_us), 2000, SLACK_MS);
                at = to;
        }
        producer_until_more(s->producer, 50);
        s->redis = cluster.node[at];
        scene_judge(s);
        nobody_was_reset(s);
        scene_close(s);
        test_cluster_end(&cluster);
}

/* --- 1: with TLS --- */

FAULT_OF(1, b, "the same as 1, with TLS and a certificate authority of one's own (rediss://)",
         "the same (lines 1, 8, 9)", .quick = true)
{
        struct test_certificates certificates;
        struct test_redis *redis;
        struct scene *s;
        uint64_t up_us;
        char url[200], ca[128];
        uint16_t port;

        test_certificates_make(&certificates);
        redis = test_redis_start_tls(&certificates, "no", &port);
        snprintf(url, sizeof(url), "rediss://127.0.0.1:%u?ca=%s", port,
                 test_certificates_path(&certificates, "ca.pem", ca));
        s = scene_open(&(struct scene_options){ .pace_ms = 5, .redis = redis, .redis_url = url });
        producer_until_more(s->producer, 50);
        test_redis_kill(redis);
        usleep(1500 * 1000); /* how long it is away */
        test_redis_restart(redis);
        up_us = scene_now_us();
        producer_until_more(s->producer, 1);
        kept_within("writing_again", scene_ms_since(up_us), 2000, SLACK_MS);
        producer_until_more(s->producer, 50);
        scene_judge(s);
        nobody_was_reset(s);
        scene_close(s);
        test_redis_destroy(redis);
        test_certificates_end(&certificates);
}

/* --- 25: a node dies between append and release --- */

struct asking {
        struct scene *s;
        struct produced produced;
};

static void *ask_in_thread(void *arg)
{
        struct asking *asking = arg;

        asking->produced =
            produce_as(asking->s->ledger, &asking->s->nodes[0], "/v1/events/final/stage",
                       "{\"stage\":\"orphan\"}", "final", "orphan", "orphan-key");
        return NULL;
}

static unsigned long log_end(struct test_redis *redis)
{
        char *text = test_redis_ask(redis, "HGET", "{kickoff}:meta", "seq", NULL);
        unsigned long seq = strtoul(text, NULL, 10);

        free(text);
        return seq;
}

struct growth {
        struct test_redis *redis;
        unsigned long beyond;
};

static bool has_grown(void *arg)
{
        const struct growth *growth = arg;

        return log_end(growth->redis) > growth->beyond;
}

static bool all_are_at_orphan(void *arg)
{
        struct scene *s = arg;

        for (unsigned i = 0; i < crew_size(s->crew); i++)
                if (strcmp(crew_member(s->crew, i).stage, "orphan") != 0)
                        return false;
        return true;
}

FAULT_OF(
    25, b,
    "`replicated:1`: a node is killed between its append and the release, while the replica stands still",
    "no device hears of it before the replica has it; then another node releases it, and its key tells (lines 2, 3, 10)",
    .quick = true, .limit_s = 120)
{
        struct fleet fleet;
        struct scene *s;
        struct asking asking;
        struct answer answer;
        pthread_t thread;
        uint64_t resumed_us;

        fleet_open(&fleet, &(struct fleet_options){ .no_sentinels = true });
        s = scene_open(&(struct scene_options){ .redis = fleet.server[0],
                                                .redis_url = fleet.servers_url,
                                                .devices_roam = true,
                                                .node_arguments = replicated });
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        asking.s = s;
        {
                struct growth growth = { fleet.server[0], log_end(fleet.server[0]) };

                test_redis_pause(fleet.server[1]);
                check(pthread_create(&thread, NULL, ask_in_thread, &asking) == 0);
                wait_until(has_grown, &growth, "the change to be appended");
        }
        node_kill(&s->nodes[0]);
        pthread_join(thread, NULL);
        CHECK_KEPT(asking.produced.status == 0, "the fault was not made: answered %d",
                   asking.produced.status);
        usleep(3000 * 1000); /* the other node has looked at it more than twice by now */
        for (unsigned i = 0; i < crew_size(s->crew); i++)
                CHECK_KEPT(strcmp(crew_member(s->crew, i).stage, "orphan") != 0,
                           "line 2: device %u heard of it before the replica", i);
        answer = ask(&s->nodes[1], "GET", "/v1/requests/orphan-key", NULL, NULL);
        CHECK_KEPT(answer.status == 202, "line 3: while it is held, its key says %d",
                   answer.status);
        answer_end(&answer);
        test_redis_resume(fleet.server[1]);
        resumed_us = scene_now_us();
        wait_until(all_are_at_orphan, s, "the other node to release it");
        kept_within("released", scene_ms_since(resumed_us), 3000, SLACK_MS);
        answer = ask(&s->nodes[1], "GET", "/v1/requests/orphan-key", NULL, NULL);
        CHECK_KEPT(answer.status == 200, "line 3: released, its key says %d", answer.status);
        answer_end(&answer);
        scene_start_node(s, 0);
        scene_close(s);
        fleet_end(&fleet);
}
