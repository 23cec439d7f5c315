/* The follower against a real Redis: what a node delivers when messages are lost, Redis dies, its
 * functions are gone, or an entry cannot be read. What losses lead to is in test_loss.c. */
#include "fanout/fanout_metrics.h"
#include "fanout/follower_core.h"

#include "tests/fanout/node.h"
#include "tests/fanout/replicas.h"

Test(follower, an_empty_redis_gets_a_log_with_an_epoch_from_the_start)
{
        struct fixture f = fixture_start();
        struct node a, b;

        fanout_metrics_register();
        test_redis_do(f.server, "FLUSHALL", NULL);
        node_start(&a, &f, 100, 0);
        node_start(&b, &f, 100, 0);
        cr_assert(eq(u64, follower_witness(a.follower).epoch, 0));
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

/* Whoever demotes a server need not cut its clients off, as a sentinel does. It answers all
 * questions still, and nothing it says is news. */
Test(follower, does_not_stay_with_a_server_that_became_a_replica)
{
        struct test_redis *first = server_start(), *second = server_start();
        struct fixture f = fixture_start_on(first, "fsync");
        struct redis_address address;
        struct node node;
        const char *why;
        char url[80];

        snprintf(url, sizeof(url), "redis://127.0.0.1:%u,127.0.0.1:%u", test_redis_port(first),
                 test_redis_port(second));
        cr_assert(eq(int, redis_parse_url(url, &address, &why), OK));
        test_redis_follow(second, "127.0.0.1", test_redis_port(first));
        node_start_as(&node, &f, address, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        run_until(f.base, head(&node) == 1 && server_has_entries(second, "1"));

        test_redis_follow(second, NULL, 0);
        test_redis_do(first, "REPLICAOF", "127.0.0.1", "1", NULL); /* nobody is there */
        f.server = second;
        address = fixture_address(second);
        fixture_relink(&f, &address, "fsync");
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_START).outcome.kind, OUTCOME_COMMITTED));
        run_until(f.base, head(&node) == 2 && follower_is_ready(node.follower));
        cr_assert(eq(uint, node.installs, 1));
        node_stop(&node);
        fixture_stop(&f);
        test_redis_destroy(first);
}

/* After a failover that lost the mark alone, a device may have what is held back here. "Confirmed"
 * would tell it that the log has not: it would be led back to the entry before, and then be told
 * this one again. */
Test(follower, confirms_nothing_to_devices_while_an_entry_is_held_back)
{
        struct fixture f = fixture_start();
        struct node node;
        struct token first;
        char tag[17], *record;
        uint64_t until_ms;

        fixture_create(&f, "final");
        first = fixture_place(f.server);
        token_hex(first.tag, tag);
        record = test_redis_ask(f.server, "HGET", EVENTS, "final", NULL);
        test_redis_do(f.server, "XADD", LOG, "2-0", "tag", "00000000000000a2", "prev", tag, "body",
                      "{\"kind\":\"refresh\",\"event\":\"final\",\"stage\":\"scheduled\",\"at\":1,"
                      "\"starts_at\":1,\"version\":2,\"bundle\":0,\"sent\":1}",
                      "event", "final", "before", record, NULL);
        test_redis_do(f.server, "HSET", META, "seq", "2", "tag", "00000000000000a2", "mark", "1",
                      "mark_tag", tag, NULL);
        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        until_ms = clock_mono_ms() + 3 * FOLLOWER_HEAD_EVERY_MS;
        run_until(f.base, clock_mono_ms() > until_ms);
        cr_assert(follower_is_ready(node.follower));
        cr_assert(eq(u64, head(&node), 1));
        cr_assert(eq(uint, node.confirmed, 0));

        test_redis_do(f.server, "FCALL", "kickoff1_release", "2", META, LOG, "0001aaaaaaaaaaaa",
                      "2", "00000000000000a2", "PUBLISH", "{" NS "}:signals", NULL);
        run_until(f.base, node.confirmed > 1);
        cr_assert(eq(u64, head(&node), 2));
        cr_assert(eq(uint, node.installs, 1));
        free(record);
        node_stop(&node);
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
