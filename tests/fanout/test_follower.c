/* The follower against a real Redis: what a node delivers when messages are lost, Redis dies, its
 * functions or its data are gone, or an entry cannot be read. */
#include "fanout/follower.h"
#include "fanout/ring.h"

#include "tests/fanout/fixture.h"

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

        if (n > 0)
                base = (struct token){ base.epoch, entries[0]->signal.token.seq - 1,
                                       entries[0]->prev_tag };
        ring_install(node->ring, &base, 0);
        for (size_t i = 0; i < n; i++)
                ring_push(node->ring, entries[i]); /* checks the order */
        cr_assert(token_equal(ring_head(node->ring), snapshot_token(snapshot)));
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

        node_start(&a, &f, 100, 0);
        node_start(&b, &f, 100, 0);
        run_until(f.base, follower_is_ready(a.follower) && follower_is_ready(b.follower));
        cr_assert(eq(u64, head(&a), 0));
        cr_assert(ne(u64, ring_head(a.ring)->epoch, 0));
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

Test(follower, a_wiped_redis_is_another_log)
{
        struct fixture f = fixture_start();
        struct node node;
        uint64_t epoch;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        run_until(f.base, head(&node) == 1);
        epoch = ring_head(node.ring)->epoch;
        test_redis_kill(f.server);
        run_until(f.base, !redis_is_up(f.redis));
        test_redis_forget(f.server);
        test_redis_restart(f.server);
        run_until(f.base, node.installs == 2);
        cr_assert(ne(u64, ring_head(node.ring)->epoch, epoch));
        cr_assert(eq(u64, head(&node), 0));
        cr_assert(eq(sz, node.events, 0));
        node_stop(&node);
        fixture_stop(&f);
}

/* A failover that lost the last two signals, and has grown past our place since. */
Test(follower, a_lost_tail_is_recognised_although_it_was_refilled)
{
        struct fixture f = fixture_start();
        struct node node;
        char *meta_tag, *record;

        node_start(&node, &f, 100, 0);
        run_until(f.base, follower_is_ready(node.follower));
        fixture_create(&f, "final");
        meta_tag = test_redis_ask(f.server, "HGET", "{" NS "}:meta", "tag", NULL);
        record = test_redis_ask(f.server, "HGET", "{" NS "}:events", "final", NULL);
        fixture_command(&f, "final", COMMAND_START);
        fixture_command(&f, "final", COMMAND_END);
        run_until(f.base, head(&node) == 3);

        /* One transaction, so that the node sees only before and after. */
        test_redis_do(
            f.server, "EVAL",
            "local e = redis.call('XRANGE', KEYS[1], '1-0', '1-0')[1] redis.call('DEL', KEYS[1]) "
            "redis.call('XADD', KEYS[1], '1-0', unpack(e[2])) "
            "redis.call('HSET', KEYS[2], 'seq', '1', 'tag', ARGV[1]) "
            "redis.call('HSET', KEYS[3], 'final', ARGV[2]) return 1",
            "3", "{" NS "}:log", "{" NS "}:meta", "{" NS "}:events", meta_tag, record, NULL);
        for (unsigned i = 0; i < 5; i++)
                fixture_command(&f, "final", COMMAND_REFRESH);
        run_until(f.base, node.installs == 2 && head(&node) == 6);
        cr_assert(eq(str, (char *)snapshot_find(follower_snapshot(node.follower), "final")->stage,
                     "scheduled"));
        free(meta_tag);
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
                      "+fcall_ro", "+function|load", "+xadd", "+xtrim", "+xrange", "+hget",
                      "+hmget", "+hset", "+hlen", "+hvals", "+hgetall", "+hdel", "+del", "+expire",
                      "+publish", "+subscribe", "+ping", "+client|setname", "+config|get",
                      "+info", "+wait", NULL);
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
