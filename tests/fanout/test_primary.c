/* The link that is written to: what of a real Redis makes it not writable, or not sound, and what
 * mends it. */
#include "fanout/fanout_metrics.h"
#include "fanout/presence.h"

#include "tests/fanout/replicas.h"

static bool says(const char *why, const char *needle)
{
        return why != NULL && strstr(why, needle) != NULL;
}

struct heard {
        struct primary *primary;
        bool done;
};

static void on_presence(void *owner, const struct redis_reply *reply)
{
        struct heard *heard = owner;

        primary_heard(heard->primary, reply);
        heard->done = true;
}

/* What a node does once a second. */
static void write_presence(struct fixture *f)
{
        const struct presence mine = { .name = "n1", .listen = "-", .version = "1" };
        struct heard heard = { .primary = f->primary };

        if (presence_write(f->redis, NS, &mine, on_presence, &heard) == OK)
                run_until(f->base, heard.done);
}

Test(primary, a_replica_is_never_written_to)
{
        struct fixture f = fixture_start_on(server_start(), "fsync");
        struct test_redis *other = server_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct result result;
        char port[8];

        fixture_create(&f, "final");
        f.log->keep = true;
        f.log->witness = fixture_place(f.server);
        snprintf(port, sizeof(port), "%u", test_redis_port(other));
        test_redis_do(f.server, "CONFIG", "SET", "replica-read-only", "no", NULL);
        test_redis_do(f.server, "REPLICAOF", "127.0.0.1", port, NULL);
        run_until(f.base, primary_why_not_sound(f.primary) != NULL);
        for (unsigned i = 0; i < 5; i++) { /* it may be written to, and so Redis would not refuse */
                result = fixture_try(&f, &start);
                cr_assert(eq(int, result.outcome.kind, OUTCOME_UNAVAILABLE), "%s", result.why);
        }
        cr_assert(not(server_has_entries(f.server, "2")));
        cr_assert(primary_why_not_writable(f.primary) != NULL);
        test_redis_do(f.server, "REPLICAOF", "NO", "ONE", NULL);
        fixture_writable(&f);
        test_redis_destroy(other);
        fixture_stop(&f);
}

Test(primary, another_one_in_its_place_is_counted)
{
        struct fixture f = fixture_start();

        fanout_metrics_register();
        fixture_writable(&f);
        test_redis_kill(f.server);
        run_until(f.base, primary_why_not_sound(f.primary) != NULL);
        test_redis_restart(f.server); /* another run id */
        fixture_writable(&f);
        cr_assert(eq(i64, metric_value(&fanout_metric_primary_changes), 1));
        fixture_stop(&f);
}

Test(primary, no_replicas_turns_the_node_not_writable)
{
        struct fixture f = fixture_start();
        struct result result;

        fixture_create(&f, "final");
        write_presence(&f);
        cr_assert(primary_why_not_sound(f.primary) == NULL);
        test_redis_do(f.server, "CONFIG", "SET", "min-replicas-to-write", "1", NULL);
        write_presence(&f);
        cr_assert(says(primary_why_not_sound(f.primary), "NOREPLICAS"));
        cr_assert(says(primary_why_not_writable(f.primary), "NOREPLICAS"));
        result = fixture_try(
            &f, &(struct change){ .event = "final", .command = { .kind = COMMAND_START } });
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNAVAILABLE), "%s", result.why);
        test_redis_do(f.server, "CONFIG", "SET", "min-replicas-to-write", "0", NULL);
        write_presence(&f);
        cr_assert(primary_why_not_sound(f.primary) == NULL);
        fixture_stop(&f);
}

Test(primary, out_of_memory_and_read_only_are_noticed_by_the_same_write)
{
        struct fixture f = fixture_start();

        fixture_writable(&f);
        test_redis_do(f.server, "CONFIG", "SET", "maxmemory", "1", NULL);
        write_presence(&f);
        cr_assert(says(primary_why_not_sound(f.primary), "OOM"));
        test_redis_do(f.server, "CONFIG", "SET", "maxmemory", "0", NULL);
        write_presence(&f);
        cr_assert(primary_why_not_sound(f.primary) == NULL);
        test_redis_do(f.server, "REPLICAOF", "127.0.0.1", "1", NULL);
        write_presence(&f);
        cr_assert(primary_why_not_sound(f.primary) != NULL);
        fixture_stop(&f);
}

Test(primary, a_redis_that_stands_still_is_not_sound)
{
        struct fixture f = fixture_start();

        fixture_writable(&f);
        test_redis_pause(f.server);
        run_until(f.base, primary_why_not_sound(f.primary) != NULL);
        /* Before the link has given it up: that takes a second longer. */
        cr_assert(says(primary_why_not_sound(f.primary), "last 2 s"));
        cr_assert(says(primary_why_not_writable(f.primary), "last 2 s"));
        test_redis_resume(f.server);
        fixture_writable(&f);
        fixture_stop(&f);
}

struct refusals {
        unsigned n;
        char why[512];
};

static void on_refused(void *owner, const char *why)
{
        struct refusals *refusals = owner;

        refusals->n++;
        snprintf(refusals->why, sizeof(refusals->why), "%s", why);
}

Test(primary, settings_that_are_weakened_under_it_are_told_once_and_noticed_when_mended)
{
        struct fixture f = fixture_start();
        struct refusals refusals = { 0 };
        struct primary_options options = { .address = fixture_address(f.server),
                                           .ns = NS,
                                           .durability = { .mode = DURABILITY_FSYNC } };
        const struct primary_callbacks callbacks = { .on_refused = on_refused, .owner = &refusals };
        struct primary *mine;

        cr_assert(eq(int, primary_create(f.base, &options, &callbacks, &mine), OK));
        run_until(f.base, primary_why_not_writable(mine) == NULL);
        test_redis_do(f.server, "CONFIG", "SET", "appendfsync", "everysec", NULL);
        run_until(f.base, primary_why_not_writable(mine) != NULL);
        cr_assert(says(primary_why_not_writable(mine), "appendfsync always"));
        cr_assert(says(primary_why_not_sound(mine), "appendfsync always"));
        cr_assert(says(refusals.why, "appendfsync always"));
        test_redis_do(f.server, "CONFIG", "SET", "appendfsync", "always", NULL);
        run_until(f.base, primary_why_not_writable(mine) == NULL);
        cr_assert(eq(uint, refusals.n, 1));
        primary_destroy(mine);
        fixture_stop(&f);
}

/* A node that has just started must not take it for a Redis that hides its settings, and end. */
Test(primary, a_busy_redis_does_not_count_as_one_that_hides_its_settings)
{
        struct fixture f = fixture_start();
        struct redis *other = fixture_link(f.base, f.server);
        struct refusals refusals = { 0 };
        struct primary_options options = { .address = fixture_address(f.server),
                                           .ns = NS,
                                           .durability = { .mode = DURABILITY_FSYNC } };
        const struct primary_callbacks callbacks = { .on_refused = on_refused, .owner = &refusals };
        const char *const work[] = { "EVAL", "while true do end", "0" };
        struct primary *mine;
        uint64_t until_ms;

        cr_assert(eq(int, primary_create(f.base, &options, &callbacks, &mine), OK));
        run_until(f.base, primary_why_not_writable(mine) == NULL);
        test_redis_do(f.server, "CONFIG", "SET", "busy-reply-threshold", "10", NULL);
        cr_assert(eq(int, redis_command(other, NULL, NULL, countof(work), work, NULL), OK));
        run_until(f.base, primary_why_not_sound(mine) != NULL);
        until_ms = clock_mono_ms() + PRIMARY_ASK_EVERY_MS; /* both questions were answered */
        run_until(f.base, clock_mono_ms() > until_ms);
        cr_assert(eq(uint, refusals.n, 0), "%s", refusals.why);
        cr_assert(primary_why_not_sound(mine) != NULL);
        test_redis_do(f.server, "SCRIPT", "KILL", NULL);
        run_until(f.base, primary_why_not_writable(mine) == NULL);
        primary_destroy(mine);
        redis_destroy(other);
        fixture_stop(&f);
}

Test(primary, fewer_replicas_than_promised_stop_changes_and_nothing_else)
{
        struct fleet *fleet = fleet_start(1, "replicated:2");
        struct fixture *f = &fleet->f;
        struct test_redis *second;

        fanout_metrics_register();
        run_until(f->base, says(primary_why_not_writable(f->primary), "needs 2 replicas"));
        cr_assert(primary_why_not_sound(f->primary) == NULL);
        second = server_start();
        test_redis_follow(second, "127.0.0.1", test_redis_port(f->server));
        fixture_writable(f);
        cr_assert(eq(i64, metric_value(&fanout_metric_replicas), 2));
        cr_assert(eq(int, fixture_create(f, "final").outcome.kind, OUTCOME_COMMITTED));
        test_redis_kill(second);
        run_until(f->base, primary_why_not_writable(f->primary) != NULL);
        test_redis_destroy(second);
        fleet_stop(fleet);
}
