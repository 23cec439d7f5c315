/* The follower against a real Redis: what a node delivers when messages are lost, Redis dies, its
 * functions or its data are gone, older or others than before, or an entry cannot be read. */
#include "fanout/follower.h"
#include "fanout/fanout_metrics.h"
#include "fanout/ring.h"

#include "tests/fanout/fixture.h"

#define META   "{" NS "}:meta"
#define LOG    "{" NS "}:log"
#define EVENTS "{" NS "}:events"

struct node { /* a node as the follower sees it: a ring, and what was said */
        struct follower *follower;
        struct ring *ring;
        struct token state_at;
        size_t events;
        unsigned installs, confirmed;
        seqno delivered;
        bool link_up;
};

static void on_install(void *owner, struct snapshot *snapshot, struct entry *const *entries,
                       size_t n)
{
        struct node *node = owner;
        struct token base = *snapshot_token(snapshot);
        const struct token *before = ring_head(node->ring);

        /* Contract line 7: no node goes backwards. */
        cr_assert(token_generation(base.epoch) > token_generation(before->epoch) ||
                  (base.epoch == before->epoch && base.seq >= before->seq));
        if (n > 0)
                base = (struct token){ base.epoch, entries[0]->signal.token.seq - 1,
                                       entries[0]->prev_tag };
        ring_install(node->ring, &base, snapshot_parent(snapshot));
        for (size_t i = 0; i < n; i++)
                ring_push(node->ring, entries[i]); /* checks the order */
        cr_assert(token_equal(ring_head(node->ring), snapshot_token(snapshot)));
        for (size_t i = 0; i < n; i++)
                cr_assert(entries[i]->record == NULL, "kept in memory for nothing");
        node->state_at = *snapshot_token(snapshot);
        (void)snapshot_events(snapshot, &node->events);
        node->installs++;
}

static void on_entries(void *owner, struct entry *const *entries, size_t n,
                       struct snapshot *snapshot)
{
        struct node *node = owner;

        for (size_t i = 0; i < n; i++)
                ring_push(node->ring, entries[i]);
        cr_assert(token_equal(ring_head(node->ring), snapshot_token(snapshot)));
        node->state_at = *snapshot_token(snapshot);
        (void)snapshot_events(snapshot, &node->events);
        node->delivered += n;
}

static void on_confirmed(void *owner)
{
        ((struct node *)owner)->confirmed++;
}

static void on_link(void *owner, bool up)
{
        struct node *node = owner;

        cr_assert(ne(int, node->link_up, up));
        node->link_up = up;
}

static void node_start_as(struct node *node, struct fixture *f, struct redis_address address,
                          size_t keep, unsigned drop_every)
{
        struct follower_options options = {
                .address = address, .ns = NS, .keep = keep, .drop_every = drop_every
        };
        struct follower_callbacks callbacks = { .on_install = on_install,
                                                .on_entries = on_entries,
                                                .on_confirmed = on_confirmed,
                                                .on_link = on_link,
                                                .owner = node };

        *node = (struct node){ 0 };
        cr_assert(eq(int, ring_create(keep, &node->ring), OK));
        cr_assert(eq(int, follower_create(f->base, &options, &callbacks, &node->follower), OK));
        cr_assert(not(follower_is_ready(node->follower)));
        cr_assert(ne(str, (char *)follower_why_not_ready(node->follower), ""));
}

static void node_start(struct node *node, struct fixture *f, size_t keep, unsigned drop_every)
{
        node_start_as(node, f, fixture_address(f->server), keep, drop_every);
}

static void node_stop(struct node *node)
{
        follower_destroy(node->follower);
        ring_destroy(node->ring);
}

static seqno head(const struct node *node)
{
        return ring_head(node->ring)->seq;
}

Test(follower, an_empty_redis_gets_a_log_with_an_epoch_from_the_start)
{
        struct fixture f = fixture_start();
        struct node a, b;

        fanout_metrics_register();
        test_redis_do(f.server, "FLUSHALL", NULL);
        node_start(&a, &f, 100, 0);
        node_start(&b, &f, 100, 0);
        cr_assert(eq(u64, follower_head(a.follower).epoch, 0));
        run_until(f.base, follower_is_ready(a.follower) && follower_is_ready(b.follower));
        cr_assert(eq(u64, head(&a), 0));
        cr_assert(eq(uint, token_generation(ring_head(a.ring)->epoch), 1));
        cr_assert(eq(i64, metric_value(&fanout_metric_log_renewals), 0)); /* nothing was lost */
        cr_assert(token_equal(ring_head(a.ring), ring_head(b.ring)));
        node_stop(&a);
        node_stop(&b);
        fixture_stop(&f);
}

Test(follower, delivers_what_is_appended_and_keeps_the_state)
{
        struct fixture f = fixture_start();
        struct node node;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        fixture_create(&f, "another");
        fixture_command(&f, "final", COMMAND_START);
        run_until(f.base, head(&node) == 3);
        cr_assert(eq(uint, node.installs, 1));
        cr_assert(eq(sz, node.events, 2));
        cr_assert(eq(str, (char *)snapshot_find(follower_snapshot(node.follower), "final")->stage,
                     "live"));
        node_stop(&node);
        fixture_stop(&f);
}

Test(follower, a_late_node_reads_the_state_and_the_last_entries_back)
{
        struct fixture f = fixture_start();
        struct node node;
        unsigned keep[] = { 5, 1000 };

        fixture_create(&f, "final");
        for (unsigned i = 0; i < 699; i++) /* more than one range */
                fixture_command(&f, "final", COMMAND_REFRESH);
        for (size_t i = 0; i < 2; i++) {
                node_start(&node, &f, keep[i], 0);
                run_until(f.base, follower_is_ready(node.follower));
                cr_assert(eq(u64, head(&node), 700));
                cr_assert(eq(u64, ring_oldest_cursor(node.ring), i == 0 ? 695 : 0));
                cr_assert(eq(uint, node.installs, 1));
                node_stop(&node);
        }
        fixture_stop(&f);
}

Test(follower, repairs_lost_messages_from_the_log)
{
        struct fixture f = fixture_start();
        struct node node, deaf;

        node_start(&node, &f, 1000, 3);
        node_start(&deaf, &f, 1000, 1); /* hears nothing at all: the head once a second is enough */
        run_until(f.base, follower_is_ready(node.follower) && follower_is_ready(deaf.follower));
        fixture_create(&f, "final");
        for (unsigned i = 0; i < 299; i++)
                fixture_command(&f, "final", COMMAND_REFRESH);
        run_until(f.base, head(&node) == 300 && head(&deaf) == 300);
        cr_assert(eq(uint, node.installs, 1));
        cr_assert(eq(uint, deaf.installs, 1));
        cr_assert(eq(u64, node.delivered, 300));
        cr_assert(eq(u64, deaf.delivered, 300));
        node_stop(&node);
        node_stop(&deaf);
        fixture_stop(&f);
}

Test(follower, catches_up_after_redis_died_without_forgetting_its_place)
{
        struct fixture f = fixture_start();
        struct node node;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        run_until(f.base, head(&node) == 1);
        test_redis_kill(f.server);
        run_until(f.base, !redis_is_up(f.redis) && !follower_is_ready(node.follower));
        cr_assert(not(node.link_up));
        cr_assert(eq(u64, head(&node), 1)); /* goes on serving what it has */
        test_redis_restart(f.server);
        run_until(f.base, redis_is_up(f.redis));
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_START).outcome.kind, OUTCOME_COMMITTED));
        run_until(f.base, head(&node) == 2 && follower_is_ready(node.follower));
        cr_assert(eq(uint, node.installs, 1));
        node_stop(&node);
        fixture_stop(&f);
}

Test(follower, says_that_it_is_stale_when_redis_stands_still)
{
        struct fixture f = fixture_start();
        struct node node;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        test_redis_pause(f.server);
        run_until(f.base, !follower_is_ready(node.follower));
        test_redis_resume(f.server);
        run_until(f.base, follower_is_ready(node.follower));
        cr_assert(eq(uint, node.installs, 1));
        node_stop(&node);
        fixture_stop(&f);
}

/* --- losses (fanout/EPOCHS.md) ---------------------------------------------------------------- */

static const struct event_state *state_of(const struct node *node, const char *event)
{
        const struct event_state *state = snapshot_find(follower_snapshot(node->follower), event);

        cr_assert(state != NULL, "%s", event);
        return state;
}

static unsigned generation(const struct node *node)
{
        return token_generation(ring_head(node->ring)->epoch);
}

static void create_with_stages(struct fixture *f, const char *id, const char *title)
{
        struct event wanted = fixture_event(id);
        struct change change = fixture_change(id, COMMAND_CREATE);

        strcpy(wanted.title, title);
        strcpy(wanted.stages[0], "half-time");
        wanted.n_stages = 1;
        change.command.create = &wanted;
        cr_assert(eq(int, fixture_do(f, &change).outcome.kind, OUTCOME_COMMITTED));
}

static void has_record(struct fixture *f, const char *event, const char *wanted)
{
        char *record = test_redis_ask(f->server, "HGET", EVENTS, event, NULL);

        cr_assert(eq(str, record, (char *)wanted));
        free(record);
}

Test(follower, an_empty_redis_gets_every_event_back_from_memory)
{
        struct fixture f = fixture_start();
        struct node node;
        struct change half_time = fixture_change("final", COMMAND_STAGE);
        char *final, *other;
        uint64_t epoch;

        fanout_metrics_register();
        create_with_stages(&f, "other", "Read with the state");
        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        create_with_stages(&f, "final", "Heard of by a message \"of\" \u00fc");
        fixture_command(&f, "final", COMMAND_START);
        strcpy(half_time.command.stage, "half-time");
        fixture_do(&f, &half_time);
        run_until(f.base, head(&node) == 4);
        final = test_redis_ask(f.server, "HGET", EVENTS, "final", NULL);
        other = test_redis_ask(f.server, "HGET", EVENTS, "other", NULL);
        epoch = ring_head(node.ring)->epoch;

        test_redis_kill(f.server);
        run_until(f.base, !redis_is_up(f.redis));
        test_redis_forget(f.server);
        test_redis_restart(f.server);
        run_until(f.base, node.installs == 2);
        cr_assert(eq(uint, generation(&node), token_generation(epoch) + 1));
        cr_assert(eq(u64, head(&node), 0));
        cr_assert(eq(u64, snapshot_parent(follower_snapshot(node.follower)), 0));
        cr_assert(eq(sz, node.events, 2));
        cr_assert(eq(str, (char *)state_of(&node, "final")->stage, "half-time"));
        cr_assert(eq(u64, state_of(&node, "final")->version, 3));
        has_record(&f, "final", final);
        has_record(&f, "other", other);
        cr_assert(eq(i64, metric_value(&fanout_metric_log_renewals), 1));

        /* And on it goes. */
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_END).outcome.kind, OUTCOME_COMMITTED));
        run_until(f.base, head(&node) == 1 && follower_is_ready(node.follower));
        cr_assert(eq(u64, state_of(&node, "final")->version, 4));
        free(final);
        free(other);
        node_stop(&node);
        fixture_stop(&f);
}

/* A failover that lost the last three signals, among them an event that nobody else remembers; and
 * that has grown past our place since. One transaction, so that the node sees only before and
 * after. */
static void lose_and_refill(struct fixture *f, const char *meta_tag, const char *record)
{
        test_redis_do(
            f->server, "EVAL",
            "local fields = redis.call('XRANGE', KEYS[1], '1-0', '1-0')[1][2] "
            "redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], '1-0', unpack(fields)) "
            "local prev = ARGV[1] "
            "for i = 2, 6 do local tag = string.format('%016x', 1000 + i) "
            "redis.call('XADD', KEYS[1], i .. '-0', 'tag', tag, 'prev', prev, 'body', fields[6]) "
            "prev = tag end "
            "redis.call('HSET', KEYS[2], 'seq', '6', 'tag', prev) "
            "redis.call('DEL', KEYS[3]) redis.call('HSET', KEYS[3], 'final', ARGV[2]) return 1",
            "3", LOG, META, EVENTS, meta_tag, record, NULL);
}

Test(follower, a_refilled_log_continues_in_a_new_epoch)
{
        struct fixture f = fixture_start();
        struct node node;
        char *meta_tag, *record, *refilled;
        uint64_t epoch;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        meta_tag = test_redis_ask(f.server, "HGET", META, "tag", NULL);
        record = test_redis_ask(f.server, "HGET", EVENTS, "final", NULL);
        fixture_command(&f, "final", COMMAND_START);
        fixture_command(&f, "final", COMMAND_END);
        fixture_create(&f, "only-here");
        run_until(f.base, head(&node) == 4);
        epoch = ring_head(node.ring)->epoch;

        /* Five changes since: version 6, while the lost ones went as far as 3. */
        refilled = strdup(record);
        cr_assert(strstr(refilled, "\"version\":1,") != NULL);
        strstr(refilled, "\"version\":1,")[strlen("\"version\":")] = '6';
        lose_and_refill(&f, meta_tag, refilled);
        run_until(f.base, node.installs == 2 && follower_is_ready(node.follower));
        cr_assert(eq(uint, generation(&node), token_generation(epoch) + 1));
        cr_assert(eq(u64, head(&node), 0));
        cr_assert(eq(u64, snapshot_parent(follower_snapshot(node.follower)), epoch));
        cr_assert(eq(str, (char *)state_of(&node, "final")->stage, "scheduled"));
        cr_assert(eq(u64, state_of(&node, "final")->version, 6));
        cr_assert(eq(u64, state_of(&node, "only-here")->version, 1));
        free(meta_tag);
        free(record);
        free(refilled);
        node_stop(&node);
        fixture_stop(&f);
}

/* Seen by nobody but by whom the tag tells: same number, another signal. */
Test(follower, a_lost_tail_of_which_nothing_was_refilled_is_given_back)
{
        struct fixture f = fixture_start();
        struct node node;
        char *meta_tag, *record;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        meta_tag = test_redis_ask(f.server, "HGET", META, "tag", NULL);
        record = test_redis_ask(f.server, "HGET", EVENTS, "final", NULL);
        fixture_command(&f, "final", COMMAND_START);
        run_until(f.base, head(&node) == 2);
        test_redis_do(f.server, "EVAL",
                      "redis.call('XDEL', KEYS[1], '2-0') "
                      "redis.call('HSET', KEYS[2], 'seq', '1', 'tag', ARGV[1]) "
                      "redis.call('HSET', KEYS[3], 'final', ARGV[2]) return 1",
                      "3", LOG, META, EVENTS, meta_tag, record, NULL);
        run_until(f.base, node.installs == 2);
        cr_assert(eq(str, (char *)state_of(&node, "final")->stage, "live"));
        free(meta_tag);
        free(record);
        node_stop(&node);
        fixture_stop(&f);
}

/* A node as a user of its own, so that it can be cut off. */
static void node_start_user(struct node *node, struct fixture *f, const char *user,
                            const char *rights)
{
        struct redis_address address = fixture_address(f->server);

        test_redis_do(f->server, "ACL", "SETUSER", user, "on", ">secret", "~*", "&*", rights, NULL);
        strcpy(address.user, user);
        strcpy(address.password, "secret");
        node_start_as(node, f, address, 100, 0);
        run_until(f->base, follower_is_ready(node->follower));
}

static void cut_off(struct fixture *f, struct node *node, const char *user)
{
        test_redis_do(f->server, "ACL", "SETUSER", user, "off", NULL);
        test_redis_do(f->server, "CLIENT", "KILL", "USER", user, NULL);
        run_until(f->base, !node->link_up && !follower_is_ready(node->follower));
}

static void let_in(struct fixture *f, const char *user)
{
        test_redis_do(f->server, "ACL", "SETUSER", user, "on", NULL);
}

static void wipe(struct fixture *f)
{
        test_redis_do(f->server, "DEL", META, LOG, EVENTS, NULL);
}

Test(follower, two_nodes_that_saw_different_amounts_agree_and_lose_no_state)
{
        struct fixture f = fixture_start();
        struct node a, b;

        node_start_user(&a, &f, "a", "+@all");
        node_start_user(&b, &f, "b", "+@all");
        fixture_create(&f, "final");
        fixture_create(&f, "common");
        run_until(f.base, head(&a) == 2 && head(&b) == 2);
        cut_off(&f, &b, "b");
        fixture_command(&f, "final", COMMAND_START);
        fixture_create(&f, "late");
        run_until(f.base, head(&a) == 4);
        cut_off(&f, &a, "a");
        wipe(&f);

        let_in(&f, "b"); /* who has seen less is first */
        run_until(f.base, b.installs == 2 && follower_is_ready(b.follower));
        cr_assert(eq(uint, generation(&b), 2));
        cr_assert(eq(sz, b.events, 2));
        let_in(&f, "a");
        run_until(f.base, follower_is_ready(a.follower) && follower_is_ready(b.follower) &&
                              token_equal(ring_head(a.ring), ring_head(b.ring)));
        cr_assert(eq(uint, generation(&a), 3));
        for (int i = 0; i < 2; i++) {
                const struct node *node = i == 0 ? &a : &b;

                cr_assert(eq(sz, node->events, 3));
                cr_assert(eq(str, (char *)state_of(node, "final")->stage, "live"));
                cr_assert(eq(u64, state_of(node, "common")->version, 1));
                cr_assert(eq(u64, state_of(node, "late")->version, 1));
        }
        cr_assert(eq(uint, a.installs, 2));
        cr_assert(eq(uint, b.installs, 3));
        node_stop(&a);
        node_stop(&b);
        fixture_stop(&f);
}

Test(follower, what_was_decided_in_a_later_epoch_is_not_undone)
{
        struct fixture f = fixture_start();
        struct node a, b;

        node_start_user(&a, &f, "a", "+@all");
        node_start_user(&b, &f, "b", "+@all");
        fixture_create(&f, "final");
        run_until(f.base, head(&a) == 1 && head(&b) == 1);
        cut_off(&f, &b, "b");
        for (int i = 0; i < 4; i++)
                fixture_command(&f, "final", COMMAND_REFRESH);
        run_until(f.base, head(&a) == 5);
        cut_off(&f, &a, "a");
        wipe(&f);

        let_in(&f, "b");
        run_until(f.base, b.installs == 2);
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_START).outcome.kind, OUTCOME_COMMITTED));
        let_in(&f, "a"); /* knows version 5, of an epoch that is over */
        run_until(f.base, a.installs == 2 && head(&a) == 1);
        cr_assert(eq(uint, generation(&a), 2));
        cr_assert(eq(u64, state_of(&a, "final")->version, 2));
        cr_assert(eq(str, (char *)state_of(&a, "final")->stage, "live"));
        cr_assert(eq(uint, b.installs, 2));
        node_stop(&a);
        node_stop(&b);
        fixture_stop(&f);
}

Test(follower, an_older_copy_leads_forward_never_back)
{
        struct fixture f = fixture_start();
        struct node node, late;
        static const char *const keys[] = { META, LOG, EVENTS };

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        fixture_command(&f, "final", COMMAND_START);
        run_until(f.base, head(&node) == 2);
        for (size_t i = 0; i < countof(keys); i++) {
                char copy[64];

                snprintf(copy, sizeof(copy), "%s:copy", keys[i]);
                test_redis_do(f.server, "COPY", keys[i], copy, NULL);
        }
        wipe(&f);
        run_until(f.base, node.installs == 2 && follower_is_ready(node.follower));
        fixture_command(&f, "final", COMMAND_END);
        run_until(f.base, head(&node) == 1);
        cr_assert(eq(uint, generation(&node), 2));

        test_redis_do(f.server, "EVAL",
                      "for _, key in ipairs(KEYS) do "
                      "redis.call('COPY', key .. ':copy', key, 'REPLACE') end return 1",
                      "3", META, LOG, EVENTS, NULL);
        run_until(f.base, node.installs == 3 && follower_is_ready(node.follower));
        cr_assert(eq(uint, generation(&node), 3)); /* on_install looks that it never was 1 again */
        cr_assert(eq(str, (char *)state_of(&node, "final")->stage, "ended"));
        cr_assert(eq(u64, state_of(&node, "final")->version, 3));

        /* Its epoch alone is enough, though no record is missing. */
        test_redis_do(f.server, "COPY", META ":copy", META, "REPLACE", NULL);
        run_until(f.base, node.installs == 4 && follower_is_ready(node.follower));
        cr_assert(eq(uint, generation(&node), 4));

        /* Whoever comes later is told the same. */
        node_start(&late, &f, 100, 0);
        run_until(f.base, follower_is_ready(late.follower));
        cr_assert(token_equal(ring_head(late.ring), ring_head(node.ring)));
        cr_assert(eq(str, (char *)state_of(&late, "final")->stage, "ended"));
        node_stop(&node);
        node_stop(&late);
        fixture_stop(&f);
}

Test(follower, a_user_that_may_not_write_waits)
{
        struct fixture f = fixture_start();
        struct node may, may_not;

        fixture_create(&f, "final");
        node_start_user(&may, &f, "may", "+@all");
        node_start_user(&may_not, &f, "may-not", "+@all");
        cut_off(&f, &may, "may");
        test_redis_do(f.server, "ACL", "SETUSER", "may-not", "-@all", "+fcall_ro", "+hget",
                      "+hmget", "+hvals", "+hgetall", "+xrange", "+xrevrange", "+subscribe",
                      "+ping", "+info", "+client|setname", NULL);
        wipe(&f);
        run_until(f.base, strstr(follower_why_not_ready(may_not.follower),
                                 "may not renew it; waiting for a node that may") != NULL);
        cr_assert(not(follower_is_ready(may_not.follower)));
        cr_assert(eq(u64, head(&may_not), 1)); /* goes on serving what it has */
        cr_assert(eq(u64, state_of(&may_not, "final")->version, 1));
        cr_assert(eq(u64, follower_head(may_not.follower).seq, 1));
        cr_assert(eq(uint, may_not.installs, 1));

        let_in(&f, "may");
        run_until(f.base, follower_is_ready(may.follower) && follower_is_ready(may_not.follower));
        cr_assert(eq(uint, generation(&may_not), 2));
        cr_assert(token_equal(ring_head(may.ring), ring_head(may_not.ring)));
        cr_assert(eq(sz, may_not.events, 1));
        node_stop(&may);
        node_stop(&may_not);
        fixture_stop(&f);
}

/* Else it would never follow again: nobody is there who could give back what it misses. */
Test(follower, a_user_that_may_not_write_follows_who_renewed_although_it_knew_more)
{
        struct fixture f = fixture_start();
        struct node may, may_not;

        node_start_user(&may, &f, "may", "+@all");
        node_start_user(&may_not, &f, "may-not", "+@all");
        fixture_create(&f, "final");
        run_until(f.base, head(&may) == 1 && head(&may_not) == 1);
        cut_off(&f, &may, "may");
        fixture_create(&f, "late");
        run_until(f.base, head(&may_not) == 2);
        test_redis_do(f.server, "ACL", "SETUSER", "may-not", "-fcall", NULL);
        wipe(&f);
        let_in(&f, "may");
        run_until(f.base, follower_is_ready(may.follower) && may_not.installs == 2);
        cr_assert(token_equal(ring_head(may.ring), ring_head(may_not.ring)));
        cr_assert(eq(sz, may_not.events, 1));
        node_stop(&may);
        node_stop(&may_not);
        fixture_stop(&f);
}

Test(follower, flushed_functions_are_repaired)
{
        struct fixture f = fixture_start();
        struct node node;
        unsigned confirmed;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        test_redis_do(f.server, "FUNCTION", "FLUSH", NULL);
        confirmed = node.confirmed;
        run_until(f.base, node.confirmed >= confirmed + 2);
        cr_assert(eq(uint, node.installs, 1));
        node_stop(&node);
        fixture_stop(&f);
}

/* As a newer version might write. A silent gap would be the one wrong answer. */
Test(follower, an_entry_it_cannot_read_leads_to_the_state_beyond_it)
{
        struct fixture f = fixture_start();
        struct node node, late;
        char *epoch, *tag, text[256];

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        run_until(f.base, head(&node) == 1);
        epoch = test_redis_ask(f.server, "HGET", "{" NS "}:meta", "epoch", NULL);
        tag = test_redis_ask(f.server, "HGET", "{" NS "}:meta", "tag", NULL);
        snprintf(text, sizeof(text), "%s.2.00000000000000aa %s {\"kind\":\"teleport\"}", epoch,
                 tag);
        test_redis_do(
            f.server, "EVAL",
            "redis.call('XADD', KEYS[1], '2-0', 'tag', '00000000000000aa', 'prev', ARGV[1], "
            "'body', '{\"kind\":\"teleport\"}') "
            "redis.call('HSET', KEYS[2], 'seq', '2', 'tag', '00000000000000aa') "
            "redis.call('PUBLISH', ARGV[2], ARGV[3]) return 1",
            "2", "{" NS "}:log", "{" NS "}:meta", tag, "{" NS "}:signals", text, NULL);
        run_until(f.base, node.installs == 2);
        cr_assert(eq(u64, head(&node), 2));
        fixture_command(&f, "final", COMMAND_START);
        run_until(f.base, head(&node) == 3);
        cr_assert(eq(uint, node.installs, 2));

        /* A node that comes later keeps only what lies beyond. */
        node_start(&late, &f, 100, 0);
        run_until(f.base, follower_is_ready(late.follower));
        cr_assert(eq(u64, head(&late), 3));
        cr_assert(eq(u64, ring_oldest_cursor(late.ring), 2));
        free(epoch);
        free(tag);
        node_stop(&node);
        node_stop(&late);
        fixture_stop(&f);
}

Test(follower, a_node_that_was_away_beyond_retention_installs_anew)
{
        struct fixture f = fixture_start();
        struct node node;

        node_start(&node, &f, 100, 1); /* deaf: learns of everything by the head */
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        fixture_command(&f, "final", COMMAND_START);
        fixture_command(&f, "final", COMMAND_REFRESH);
        test_redis_do(f.server, "XTRIM", "{" NS "}:log", "MAXLEN", "1", NULL);
        run_until(f.base, head(&node) == 3);
        cr_assert(node.installs == 2 ||
                  node.delivered > 0); /* the head may have been asked in between */
        node_stop(&node);
        fixture_stop(&f);
}

Test(follower, a_redis_that_refuses_writes_can_still_be_followed)
{
        struct fixture f = fixture_start();
        struct node node;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        run_until(f.base, head(&node) == 1);
        test_redis_do(f.server, "CONFIG", "SET", "min-replicas-to-write", "1", NULL);
        node_stop(&node);
        node_start(&node, &f, 100,
                   0); /* it cannot load the library: the one that is there will do */
        run_until(f.base, follower_is_ready(node.follower));
        cr_assert(eq(u64, head(&node), 1));
        node_stop(&node);
        fixture_stop(&f);
}

/* The list in fanout/DESIGN.md; what others need besides is theirs to add. */
Test(follower, the_documented_rights_are_enough_for_a_node)
{
        struct fixture f = fixture_start();
        struct node node;
        struct redis_address address = fixture_address(f.server);

        test_redis_do(f.server, "FUNCTION", "FLUSH", NULL);
        test_redis_do(f.server, "ACL", "SETUSER", "node", "on", ">secret", "resetkeys",
                      "resetchannels", "-@all", "~{" NS "}:*", "&{" NS "}:signals", "+fcall",
                      "+fcall_ro", "+function|load", "+xadd", "+xtrim", "+xrange", "+xrevrange",
                      "+hget", "+hmget", "+hset", "+hlen", "+hvals", "+hgetall", "+hdel", "+del",
                      "+expire", "+publish", "+subscribe", "+ping", "+client|setname",
                      "+config|get", "+info", "+wait", NULL);
        strcpy(address.user, "node");
        strcpy(address.password, "secret");
        fixture_relink(&f, &address, "fsync");

        node_start_as(&node, &f, address, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        cr_assert(eq(int, fixture_create(&f, "final").outcome.kind, OUTCOME_COMMITTED));
        test_redis_do(f.server, "HSET", "{" NS "}:drafts:final", "default", "sha 1 t", NULL);
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_PUBLISH).outcome.kind, OUTCOME_COMMITTED));
        run_until(f.base, head(&node) == 2);
        node_stop(&node);
        fixture_stop(&f);
}
