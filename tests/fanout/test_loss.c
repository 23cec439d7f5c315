/* Redis is not what it was: empty, shorter, refilled, older, renewed by somebody who knew less.
 * Followers against a real Redis, along the table of fanout/EPOCHS.md. */
#include "fanout/fanout_metrics.h"

#include "tests/fanout/node.h"

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

Test(loss, an_empty_redis_gets_every_event_back_from_memory)
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

Test(loss, a_refilled_log_continues_in_a_new_epoch)
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
Test(loss, a_lost_tail_of_which_nothing_was_refilled_is_given_back)
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

/* Lost, grown again, and trimmed beyond our place: no tag is left to compare, but the record tells.
 */
Test(loss, a_lost_tail_whose_place_was_trimmed_since_is_told_by_its_records)
{
        struct fixture f = fixture_start();
        struct node node;
        char *record;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        record = test_redis_ask(f.server, "HGET", EVENTS, "final", NULL);
        fixture_command(&f, "final", COMMAND_START);
        run_until(f.base, head(&node) == 2);
        test_redis_do(
            f.server, "EVAL",
            "redis.call('DEL', KEYS[1]) "
            "redis.call('XADD', KEYS[1], '9-0', 'tag', ARGV[1], 'prev', ARGV[1], 'body', '{}') "
            "redis.call('HSET', KEYS[2], 'seq', '9', 'tag', ARGV[1]) "
            "redis.call('HSET', KEYS[3], 'final', ARGV[2]) return 1",
            "3", LOG, META, EVENTS, "00000000000000bb", record, NULL);
        run_until(f.base, node.installs == 2);
        cr_assert(eq(uint, generation(&node), 2));
        cr_assert(eq(str, (char *)state_of(&node, "final")->stage, "live"));
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

Test(loss, two_nodes_that_saw_different_amounts_agree_and_lose_no_state)
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

Test(loss, what_was_decided_in_a_later_epoch_is_not_undone)
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

Test(loss, an_older_copy_leads_forward_never_back)
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

/* Nobody releases what is held back: a fleet that went back from replicated:N too early, perhaps.
 */
Test(loss, a_log_that_holds_something_back_is_renewed_later_and_why_is_said)
{
        struct fixture f = fixture_start();
        struct node node;
        char *record;

        node_start(&node, &f, 100, 0);
        fixture_create(&f, "final");
        run_until(f.base, head(&node) == 1);
        record = test_redis_ask(f.server, "HGET", EVENTS, "final", NULL);
        test_redis_do(f.server, "DEL", LOG, NULL);
        test_redis_do(f.server, "XADD", LOG, "1-0", "tag", "00000000000000a1", "prev",
                      "00000000000000aa", "body", "{}", NULL);
        test_redis_do(f.server, "XADD", LOG, "2-0", "tag", "00000000000000a2", "prev",
                      "00000000000000a1", "body", "{}", "event", "final", "before", record, NULL);
        test_redis_do(f.server, "HSET", META, "seq", "2", "tag", "00000000000000a2", "mark", "1",
                      "mark_tag", "00000000000000a1", NULL);
        run_until(f.base, strstr(follower_why_not_ready(node.follower), "held back") != NULL);
        cr_assert(eq(uint, node.installs, 1));

        test_redis_do(f.server, "HSET", META, "mark", "2", "mark_tag", "00000000000000a2", NULL);
        run_until(f.base, follower_is_ready(node.follower));
        cr_assert(eq(uint, generation(&node), 2));
        free(record);
        node_stop(&node);
        fixture_stop(&f);
}

Test(loss, a_user_that_may_not_write_waits)
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
        cr_assert(eq(u64, follower_witness(may_not.follower).seq, 1));
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
Test(loss, a_user_that_may_not_write_follows_who_renewed_although_it_knew_more)
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
