/* Entries that are held back until N replicas have them, with real replicas: who sees what, what a
 * producer is told, and what becomes of them when somebody dies in between. */
#include "fanout/releaser.h"

#include "tests/fanout/replicas.h"
#include "tests/support/tcp_proxy.h"

static void keep_version(void *owner, enum err err, const struct event *events, size_t n)
{
        cr_assert(eq(int, err, OK));
        cr_assert(eq(sz, n, 1));
        *(uint64_t *)owner = events[0].state.version;
}

/* As a producer reads it. */
static uint64_t version_read(struct fleet *fleet, const char *event)
{
        uint64_t version = 0;

        cr_assert(eq(int, reader_events(fleet->f.redis, NS, event, keep_version, &version), OK));
        run_until(fleet->f.base, version != 0);
        return version;
}

/* Nobody who reads the log, by whatever function, sees more than the first entry of the event. */
static void expect_nothing_seen(struct fleet *fleet)
{
        char *range =
            test_redis_ask(fleet->f.server, "FCALL_RO", "kickoff1_range", "2", "{" NS "}:meta",
                           "{" NS "}:log", "2", "9", "9", "", "0", "", NULL);
        char *state =
            test_redis_ask(fleet->f.server, "FCALL_RO", "kickoff1_state", "3", "{" NS "}:meta",
                           "{" NS "}:log", "{" NS "}:events", "", "0", "", NULL);

        cr_assert(eq(u64, fixture_place(fleet->f.server).seq, 1));
        cr_assert(strstr(range, "\"kind\"") == NULL, "%s", range);
        cr_assert(strstr(state, "\"version\":1") != NULL, "%s", state);
        cr_assert(strstr(state, "\"version\":2") == NULL, "%s", state);
        cr_assert(eq(u64, version_read(fleet, NULL), 1));
        cr_assert(eq(u64, version_read(fleet, "final"), 1));
        cr_assert(eq(sz, fleet->n_heard, 1));
        free(range);
        free(state);
}

/* An append that no replica gets: it is in the primary's log, and its writer waits. */
static void append_unheard(struct fleet *fleet, const struct change *change, struct result *result)
{
        fixture_writable(&fleet->f);
        /* The release of the entry before may still be on its way there. */
        run_until(fleet->f.base,
                  server_says(fleet->replicas[0], "1", "HGET", "{" NS "}:meta", "mark"));
        test_redis_pause(fleet->replicas[0]);
        fixture_submit(&fleet->f, change, result);
        run_until(fleet->f.base, server_has_entries(fleet->f.server, "2"));
}

static void expect_heard(struct fleet *fleet, size_t n)
{
        run_until(fleet->f.base, fleet->n_heard >= n);
        cr_assert(eq(sz, fleet->n_heard, n));
}

Test(hold, what_n_replicas_hold_is_committed_and_names_its_durability)
{
        struct fleet *fleet = fleet_start(1, "replicated");
        struct result result = fixture_create(&fleet->f, "final");

        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        cr_assert(eq(str, result.outcome.durability, "replicated:1"));
        cr_assert(server_has_entries(fleet->replicas[0], "1"));
        expect_heard(fleet, 1);
        cr_assert(token_equal(&fleet->heard[0], &result.outcome.token));
        fleet_stop(fleet);
}

Test(hold, replicas_on_another_continent_are_waited_for)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        char primary[32];
        struct tcp_proxy *ocean;
        struct result result;

        snprintf(primary, sizeof(primary), "127.0.0.1:%u", test_redis_port(fleet->f.server));
        ocean = tcp_proxy_start(primary, NULL, NULL);
        for (unsigned way = 0; way < PROXY_DIRECTIONS; way++)
                tcp_proxy_delay(ocean, way, 120);
        test_redis_follow(fleet->replicas[0], "127.0.0.1", tcp_proxy_port(ocean));
        result = fixture_create(&fleet->f, "final");
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        expect_heard(fleet, 1);
        fleet_stop(fleet);
        tcp_proxy_destroy(ocean);
}

/* Settings are changed while a change waits for its replicas: it is not committed on them. */
Test(hold, a_primary_that_no_longer_keeps_the_promise_releases_nothing)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct result result;

        fixture_create(&fleet->f, "final");
        expect_heard(fleet, 1);
        append_unheard(fleet, &start, &result);
        test_redis_do(fleet->f.server, "CONFIG", "SET", "appendfsync", "no", NULL);
        run_until(fleet->f.base, result.done || primary_why_not_sound(fleet->f.primary) != NULL);
        cr_assert(not(result.done));
        test_redis_resume(fleet->replicas[0]);
        run_until(fleet->f.base, result.done);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN), "%s", result.why);
        expect_nothing_seen(fleet);
        test_redis_do(fleet->f.server, "CONFIG", "SET", "appendfsync", "always", NULL);
        result = fixture_do(&fleet->f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REPLAYED), "%s", result.why);
        expect_heard(fleet, 2);
        fleet_stop(fleet);
}

Test(hold, a_held_entry_is_seen_by_nobody_until_n_replicas_have_it)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct result result;

        fixture_create(&fleet->f, "final");
        expect_heard(fleet, 1);
        append_unheard(fleet, &start, &result);
        expect_nothing_seen(fleet);
        run_until(fleet->f.base, result.done);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));
        expect_nothing_seen(fleet);

        test_redis_resume(fleet->replicas[0]);
        result = fixture_do(&fleet->f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REPLAYED), "%s", result.why);
        cr_assert(eq(u64, fixture_place(fleet->f.server).seq, 2));
        expect_heard(fleet, 2);
        cr_assert(token_equal(&fleet->heard[1], &result.outcome.token));
        fleet_stop(fleet);
}

Test(hold, many_at_once_are_released_in_order)
{
        struct fleet *fleet = fleet_start(2, "replicated:2");
        struct change changes[10];
        struct result results[10];
        char key[16];

        fixture_create(&fleet->f, "final");
        fixture_writable(&fleet->f);
        for (size_t i = 0; i < 10; i++) {
                snprintf(key, sizeof(key), "key-%zu", i);
                changes[i] = change_with_key(COMMAND_REFRESH, key);
                fixture_submit(&fleet->f, &changes[i], &results[i]);
        }
        for (size_t i = 0; i < 10; i++) {
                run_until(fleet->f.base, results[i].done);
                /* On a busy machine the time is over before the disks are done; the tries are
                 * limited. */
                while (results[i].outcome.kind == OUTCOME_UNKNOWN ||
                       results[i].outcome.kind == OUTCOME_STALE)
                        results[i] = fixture_do(&fleet->f, &changes[i]);
                cr_assert(results[i].outcome.kind == OUTCOME_COMMITTED ||
                              results[i].outcome.kind == OUTCOME_REPLAYED,
                          "%s", results[i].why);
        }
        run_until(fleet->f.base, fleet->n_heard == 11);
        for (size_t i = 0; i < fleet->n_heard; i++)
                cr_assert(eq(u64, fleet->heard[i].seq, i + 1));
        cr_assert(eq(u64, fixture_place(fleet->f.server).seq, 11));
        fleet_stop(fleet);
}

Test(hold, too_few_replicas_is_unknown_and_the_key_finds_out)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct result result;
        struct found found;

        fixture_create(&fleet->f, "final");
        cr_assert(eq(int, fleet_request(fleet, "key-1").state, REQUEST_NONE));
        append_unheard(fleet, &start, &result);
        run_until(fleet->f.base, result.done);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));
        cr_assert(strstr(result.why, "not yet held") != NULL, "%s", result.why);
        cr_assert(eq(int, fleet_request(fleet, "key-1").state, REQUEST_HELD));
        result = fixture_try(&fleet->f, &start); /* asked again: still nobody may know */
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN), "%s", result.why);

        test_redis_resume(fleet->replicas[0]);
        result = fixture_do(&fleet->f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REPLAYED), "%s", result.why);
        cr_assert(eq(u64, result.outcome.token.seq, 2));
        found = fleet_request(fleet, "key-1");
        cr_assert(eq(int, found.state, REQUEST_COMMITTED));
        cr_assert(token_equal(&found.token, &result.outcome.token));
        cr_assert(eq(str, found.event.state.stage, "live"));
        cr_assert(eq(str, found.durability, "replicated:1"));
        fleet_stop(fleet);
}

Test(hold, a_writer_that_dies_between_append_and_release_is_finished_by_another_node)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct redis_address address = fixture_address(fleet->f.server);
        struct primary *other;
        struct releaser *releaser;
        struct result result;
        struct token tail;

        fixture_create(&fleet->f, "final");
        append_unheard(fleet, &start, &result);
        writer_destroy(fleet->f.writer);
        fleet->f.writer = NULL;
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));

        other = fixture_primary(fleet->f.base, &address, "replicated:1");
        cr_assert(eq(int, releaser_create(fleet->f.base, other, NS, "other", &releaser), OK));
        test_redis_resume(fleet->replicas[0]);
        run_until(fleet->f.base, fixture_place(fleet->f.server).seq == 2);
        tail = fixture_place(fleet->f.server);
        expect_heard(fleet, 2);
        cr_assert(token_equal(&fleet->heard[1], &tail));
        cr_assert(eq(int, fleet_request(fleet, "key-1").state, REQUEST_COMMITTED));
        releaser_destroy(releaser);
        primary_destroy(other);
        fleet_stop(fleet);
}

Test(hold, a_releaser_waits_for_the_replicas_as_a_writer_does)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct releaser *releaser;
        struct result result;
        uint64_t until_ms;

        fixture_create(&fleet->f, "final");
        expect_heard(fleet, 1);
        append_unheard(fleet, &start, &result);
        cr_assert(
            eq(int, releaser_create(fleet->f.base, fleet->f.primary, NS, "me", &releaser), OK));
        /* As long as it takes to look twice and try once. */
        until_ms = clock_mono_ms() + 3 * RELEASER_EVERY_MS + RELEASER_WAIT_MS;
        run_until(fleet->f.base, clock_mono_ms() > until_ms);
        expect_nothing_seen(fleet);
        test_redis_resume(fleet->replicas[0]);
        run_until(fleet->f.base, fixture_place(fleet->f.server).seq == 2);
        releaser_destroy(releaser);
        fleet_stop(fleet);
}

/* Replica 0 gets the entry, but not its release: somebody was told, and the new primary does not
 * know. */
Test(hold, a_failover_that_lost_the_mark_releases_again_with_the_same_number_and_tag)
{
        struct fleet *fleet = fleet_start(1, "replicated:2");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct redis_address address = fixture_address(fleet->f.server);
        struct releaser *releaser;
        struct result result;
        struct token told;
        char text[TOKEN_TEXT_MAX + 1], *epoch, *seq, *tag, *rest = text;

        fixture_relink(&fleet->f, &address, "replicated:1");
        fixture_create(&fleet->f, "final");
        expect_heard(fleet, 1);
        append_unheard(fleet, &start, &result);
        run_until(fleet->f.base, result.done);
        test_redis_resume(fleet->replicas[0]);
        run_until(fleet->f.base, server_has_entries(fleet->replicas[0], "2"));
        test_redis_kill(fleet->replicas[0]);
        told = fleet_request(fleet, "key-1").token;
        (void)token_format(&told, text);
        epoch = strsep(&rest, "."), seq = strsep(&rest, "."), tag = rest;
        test_redis_do(fleet->f.server, "FCALL", "kickoff1_release", "2", "{" NS "}:meta",
                      "{" NS "}:log", epoch, seq, tag, "PUBLISH", "{" NS "}:signals", NULL);
        expect_heard(fleet, 2);
        cr_assert(token_equal(&fleet->heard[1], &told));

        test_redis_restart(fleet->replicas[0]);
        fleet_fail_over(fleet, "replicated:1");
        cr_assert(eq(u64, fixture_place(fleet->f.server).seq, 1)); /* as far as it knows */
        cr_assert(
            eq(int, releaser_create(fleet->f.base, fleet->f.primary, NS, "me", &releaser), OK));
        expect_heard(fleet, 1);
        cr_assert(token_equal(&fleet->heard[0], &told));
        result = fixture_do(&fleet->f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REPLAYED), "%s", result.why);
        cr_assert(token_equal(&result.outcome.token, &told));
        releaser_destroy(releaser);
        fleet_stop(fleet);
}

Test(hold, a_held_entry_that_was_lost_never_happened)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct result result;
        struct token lost;

        fixture_create(&fleet->f, "final");
        append_unheard(fleet, &start, &result);
        run_until(fleet->f.base, result.done);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));
        lost = fleet_request(fleet, "key-1").token;
        test_redis_kill(fleet->replicas[0]); /* with what its socket still holds */
        test_redis_restart(fleet->replicas[0]);
        fleet_fail_over(fleet, "replicated:1");

        cr_assert(eq(int, fleet_request(fleet, "key-1").state, REQUEST_NONE));
        cr_assert(eq(u64, fixture_place(fleet->f.server).seq, 1));
        result = fixture_do(&fleet->f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        cr_assert(eq(u64, result.outcome.token.seq, 2));
        cr_assert(result.outcome.token.tag != lost.tag);
        expect_heard(fleet, 1);
        fleet_stop(fleet);
}

Test(hold, a_node_that_would_not_hold_back_is_refused_while_something_is_held)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct redis_address address = fixture_address(fleet->f.server);
        struct result result;

        fixture_create(&fleet->f, "final");
        append_unheard(fleet, &start, &result);
        fixture_relink(&fleet->f, &address, "fsync");
        result = fixture_command(&fleet->f, "final", COMMAND_CANCEL);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_FAILED));
        cr_assert(strstr(result.why, "--durability") != NULL, "%s", result.why);
        result = fixture_do(&fleet->f, &start); /* it exists, but is not this node's to release */
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));
        expect_nothing_seen(fleet);
        test_redis_resume(fleet->replicas[0]);
        fixture_relink(&fleet->f, &address, "replicated:1");
        cr_assert(eq(int, fixture_do(&fleet->f, &start).outcome.kind, OUTCOME_REPLAYED));
        fixture_relink(&fleet->f, &address, "fsync");
        result = fixture_command(&fleet->f, "final", COMMAND_END);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        fleet_stop(fleet);
}

/* Else the mark would move, and the message would never come. */
Test(hold, a_user_that_may_not_read_the_log_moves_no_mark)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct result result;

        fixture_create(&fleet->f, "final");
        append_unheard(fleet, &start, &result);
        test_redis_do(fleet->f.server, "ACL", "SETUSER", "default", "-xrange", NULL);
        test_redis_resume(fleet->replicas[0]);
        run_until(fleet->f.base, result.done);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN), "%s", result.why);
        cr_assert(server_says(fleet->f.server, "1", "HGET", "{" NS "}:meta", "mark"));
        test_redis_do(fleet->f.server, "ACL", "SETUSER", "default", "+xrange", NULL);
        result = fixture_do(&fleet->f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REPLAYED), "%s", result.why);
        expect_heard(fleet, 2);
        fleet_stop(fleet);
}

Test(hold, destroying_the_writer_while_it_waits_tells_once)
{
        struct fleet *fleet = fleet_start(1, "replicated:1");
        struct change start = change_with_key(COMMAND_START, "key-1");
        struct result result;

        fixture_create(&fleet->f, "final");
        append_unheard(fleet, &start, &result);
        writer_destroy(fleet->f.writer);
        cr_assert(result.done);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));
        fleet->f.writer = fixture_writer(&fleet->f);
        fixture_submit(&fleet->f, &start, &result);
        run_until(fleet->f.base, result.done); /* held: waits, and hears nothing in time */
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN));
        fleet_stop(fleet);
}
