/* tests/faults/cases_forks.c -- Redis comes back with another history than the one that was told:
 * none, an older one, one that has grown past the part that is lost, one that lacks what only a
 * producer knew. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/faults/fleet.h"
#include "tests/faults/scene.h"

static char *title_of(const struct test_node *node, const char *event)
{
        char path[64];
        struct answer answer;
        const char *title;
        char *copy;

        snprintf(path, sizeof(path), "/v1/events/%s", event);
        answer = ask(node, "GET", path, NULL, NULL);
        title = json_string_value(json_object_get(answer.json, "title"));
        copy = strdup(title ? title : "(none)");
        answer_end(&answer);
        return copy;
}

/* Every device, and each exactly once more than at its begin. */
static void all_were_told(struct scene *s, enum reset_reason reason)
{
        for (unsigned i = 0; i < crew_size(s->crew); i++) {
                struct crew_member m = crew_member(s->crew, i);

                CHECK_KEPT(m.resets == 2 && m.last_reset == reason,
                           "line 6: device %u had %u resets, the last as %s instead of %s", i,
                           m.resets, reset_reason_name[m.last_reset], reset_reason_name[reason]);
                CHECK_KEPT(m.hellos == 1, "line 9: device %u had to reconnect", i);
        }
}

static void is_another_epoch(const struct token *before, const struct token *after)
{
        CHECK_KEPT(after->epoch != before->epoch, "line 7: the log goes on in the epoch it had");
        CHECK_KEPT(token_generation(after->epoch) > token_generation(before->epoch),
                   "line 7: the new epoch is not of a later generation");
}

/* --- 4: nothing --- */

static void empty(struct scene *s)
{
        test_redis_kill(s->redis);
        test_redis_forget(s->redis);
        test_redis_restart(s->redis);
}

FAULT_OF(
    4, a, "Redis comes back with nothing",
    "a new epoch with the state from the nodes' memory, titles too; devices are reset as `unknown` (lines 6, 7)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .rules.loss_may_be_told = true });
        char *before = title_of(&s->nodes[0], "final"), *after;
        struct produced last = { 0 }, first;
        uint64_t up_us;

        create_event(&s->nodes[0], "next");
        for (unsigned i = 0; i < 5; i++)
                last = produce_until(s->ledger, &s->nodes[0], "final");
        CHECK_KEPT(crew_reaches(s->crew, &last.token, PATIENCE_MS), "line 5: a signal never came");
        empty(s);
        up_us = scene_now_us();
        first = produce_until(s->ledger, &s->nodes[1], "final");
        kept_within("writing_again", scene_ms_since(up_us), 3000, SLACK_MS);
        is_another_epoch(&last.token, &first.token);
        scene_judge(s);
        after = title_of(&s->nodes[1], "final");
        CHECK_KEPT(strcmp(before, after) == 0, "line 6: the title was %s, and is %s", before,
                   after);
        free(before);
        free(after);
        all_were_told(s, RESET_UNKNOWN);
        scene_close(s);
}

FAULT_OF(
    4, b, "Redis comes back with nothing while three producers go on",
    "the same; no number is used twice in an epoch, no key makes two signals in one (lines 3, 4, 6, 7)",
    .quick = true)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .pace_ms = 5, .rules.loss_may_be_told = true });
        struct producer_options o = { .nodes = { &s->nodes[0], &s->nodes[1] },
                                      .event = "final",
                                      .pace_ms = 5 };
        struct producer *more[2] = { producer_start(s->ledger, &o), producer_start(s->ledger, &o) };
        unsigned rounds = faults_thorough ? 5 : 2;
        uint64_t up_us;

        for (unsigned round = 0; round < rounds; round++) {
                producer_until_more(s->producer, 20);
                empty(s);
                up_us = scene_now_us();
                producer_until_more(s->producer, 1);
                kept_within("writing_again", scene_ms_since(up_us), 3000, SLACK_MS);
        }
        for (unsigned i = 0; i < 2; i++)
                producer_stop(more[i]);
        scene_judge(s);
        for (unsigned i = 0; i < crew_size(s->crew); i++)
                CHECK_KEPT(crew_member(s->crew, i).resets == 1 + rounds,
                           "line 6: device %u had %u resets", i, crew_member(s->crew, i).resets);
        scene_close(s);
}

/* --- 5: an old copy --- */

static void copy_data(struct scene *s)
{
        char command[300];

        snprintf(command, sizeof(command), "cp -r %s/appendonlydir %s/old",
                 test_redis_dir(s->redis), getenv("TMPDIR"));
        check(system(command) == 0);
}

static void come_back_with_copy(struct scene *s)
{
        char command[300];

        test_redis_kill(s->redis);
        snprintf(command, sizeof(command),
                 "rm -r %s/appendonlydir && cp -r %s/old %s/appendonlydir",
                 test_redis_dir(s->redis), getenv("TMPDIR"), test_redis_dir(s->redis));
        check(system(command) == 0);
        test_redis_restart(s->redis);
}

/* Signals that devices have and the copy has not. */
static struct produced lose_five(struct scene *s)
{
        struct produced last = { 0 };

        for (unsigned i = 0; i < 3; i++)
                (void)produce_until(s->ledger, &s->nodes[0], "final");
        copy_data(s);
        for (unsigned i = 0; i < 5; i++)
                last = produce_until(s->ledger, &s->nodes[0], "final");
        CHECK_KEPT(crew_reaches(s->crew, &last.token, PATIENCE_MS), "line 5: a signal never came");
        return last;
}

FAULT_OF(
    5, a, "Redis comes back with an old copy of its append-only file",
    "seen by what the nodes hold: a new epoch, devices are reset as `forked` to the later state (lines 6, 7)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .rules.loss_may_be_told = true });
        struct produced last = lose_five(s), first;

        come_back_with_copy(s);
        first = produce_until(s->ledger, &s->nodes[1], "final");
        is_another_epoch(&last.token, &first.token);
        scene_judge(s);
        all_were_told(s, RESET_FORKED);
        scene_close(s);
}

/* A node that knows nothing of what was lost: started now, on the Redis as it is. It makes an event
 * of its own, and more changes than were lost. */
static void refill(const char *redis_url, unsigned n)
{
        struct test_node other = { 0 };
        char body[32];

        node_start(&other, "--name", "x", "--redis", redis_url, NULL);
        create_event(&other, "other");
        for (unsigned i = 0; i < n; i++) {
                snprintf(body, sizeof(body), "{\"stage\":\"refill%u\"}", i);
                change(&other, "POST", "/v1/events/other/stage", body);
        }
        node_end(&other);
}

static void nodes_get(struct scene *s, int signal)
{
        for (unsigned i = 0; i < s->n_nodes; i++)
                kill(s->nodes[i].pid, signal);
}

static void refill_is_kept(struct scene *s)
{
        struct answer answer;
        const char *stage;

        for (unsigned i = 0; i < s->n_nodes; i++) {
                answer = ask(&s->nodes[i], "GET", "/v1/events/other", NULL, NULL);
                stage = json_string_value(json_object_get(answer.json, "stage"));
                CHECK_KEPT(stage && strcmp(stage, "refill19") == 0,
                           "line 6: what the other node committed last is not the state: %s",
                           stage ? stage : "nothing");
                answer_end(&answer);
        }
}

FAULT_OF(
    5, b,
    "Redis comes back with an old copy, and a new node fills it past the lost part before any other node looks",
    "seen by the tag: a new epoch, devices are reset as `forked`; nothing of either history is undone (lines 6, 7)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .rules.loss_may_be_told = true,
                                                              .rules.numbers_may_fork = true });
        struct produced last = lose_five(s), first;

        nodes_get(s, SIGSTOP);
        come_back_with_copy(s);
        refill(test_redis_url(s->redis), 20);
        nodes_get(s, SIGCONT);
        first = produce_until(s->ledger, &s->nodes[1], "final");
        is_another_epoch(&last.token, &first.token);
        scene_judge(s);
        refill_is_kept(s);
        all_were_told(s, RESET_FORKED);
        scene_close(s);
}

/* --- 7: a failover without the tail --- */

static struct scene *open_fleet_scene(struct fleet *fleet, const struct fleet_options *options,
                                      struct scene_options *o)
{
        fleet_open(fleet, options);
        o->redis = fleet->server[0];
        o->redis_url = fleet->sentinels_url;
        return scene_open(o);
}

static struct produced lose_tail(struct scene *s, struct fleet *fleet)
{
        struct produced last = { 0 };

        (void)produce_until(s->ledger, &s->nodes[0], "final");
        netns_part(fleet->space[0], fleet->space[1]);
        for (unsigned i = 0; i < 5; i++)
                last = produce_until(s->ledger, &s->nodes[0], "final");
        CHECK_KEPT(crew_reaches(s->crew, &last.token, PATIENCE_MS), "line 5: a signal never came");
        return last;
}

FAULT_OF(
    7, a,
    "the primary dies after its replica was cut off: a failover that loses five acknowledged changes (`fsync`)",
    "the loss is told: a new epoch, devices are reset as `forked` to the later state (lines 6, 7, 15)",
    .quick = true, .needs = NEEDS_NETNS, .limit_s = 120)
{
        struct fleet fleet;
        struct scene_options o = { .rules.loss_may_be_told = true };
        struct scene *s =
            open_fleet_scene(&fleet, &(struct fleet_options){ .in_spaces = true }, &o);
        struct produced last = lose_tail(s, &fleet), first;

        test_redis_kill(fleet.server[0]);
        s->redis = fleet_until_failed_over(&fleet);
        first = produce_until(s->ledger, &s->nodes[1], "final");
        is_another_epoch(&last.token, &first.token);
        scene_judge(s);
        all_were_told(s, RESET_FORKED);
        scene_close(s);
        fleet_end(&fleet);
}

FAULT_OF(
    7, b, "the same, and a new node fills the log past the lost part before any other node looks",
    "seen by the tag: a new epoch, devices are reset as `forked`; nothing of either history is undone (lines 6, 7)",
    .needs = NEEDS_NETNS, .limit_s = 120)
{
        struct fleet fleet;
        struct scene_options o = { .rules.loss_may_be_told = true, .rules.numbers_may_fork = true };
        struct scene *s =
            open_fleet_scene(&fleet, &(struct fleet_options){ .in_spaces = true }, &o);
        struct produced last = lose_tail(s, &fleet), first;

        nodes_get(s, SIGSTOP);
        test_redis_kill(fleet.server[0]);
        s->redis = fleet_until_failed_over(&fleet);
        refill(fleet.sentinels_url, 20);
        nodes_get(s, SIGCONT);
        first = produce_until(s->ledger, &s->nodes[1], "final");
        is_another_epoch(&last.token, &first.token);
        scene_judge(s);
        refill_is_kept(s);
        all_were_told(s, RESET_FORKED);
        scene_close(s);
        fleet_end(&fleet);
}

/* --- 21: what only a producer knew --- */

/* The node's link for writes goes on, those on which it follows hear nothing: so a producer is told
 * of a change that no node has seen yet when Redis dies. The old copy of its file lacks that
 * change. */
FAULT_OF(21, c, "a change is lost that a producer was told of and that no node had seen yet",
         "the loss is told: a new epoch, devices are reset as `forked` (lines 6, 7, 15)",
         .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){
            .n_nodes = 1, .redis_proxied = true, .rules.loss_may_be_told = true });
        struct produced seen, lost, first;
        unsigned heard = 0;

        seen = produce_until(s->ledger, &s->nodes[0], "final");
        CHECK_KEPT(crew_reaches(s->crew, &seen.token, PATIENCE_MS), "line 5: a signal never came");
        copy_data(s);
        tcp_proxy_stall_who_said(s->to_redis, "\r\nsignals\r\n");
        tcp_proxy_stall_who_said(s->to_redis, "\r\ncommands\r\n");
        usleep(50 * 1000); /* the proxy looks at its orders every few ms */
        lost = produce(s->ledger, &s->nodes[0], "final", NULL);
        come_back_with_copy(s);
        for (unsigned i = 0; i < crew_size(s->crew); i++) {
                struct token place = crew_member(s->crew, i).place;

                heard += token_equal(&place, &lost.token);
        }
        CHECK_KEPT(lost.status == 200 && heard == 0,
                   "the fault was not made: answered %d, %u devices heard", lost.status, heard);
        first = produce_until(s->ledger, &s->nodes[0], "final");
        is_another_epoch(&lost.token, &first.token);
        scene_judge(s);
        all_were_told(s, RESET_FORKED);
        scene_close(s);
}
