/* Appending to the log of a real Redis: what is committed, and what every other outcome is worth.
 */
#include "base/rng.h"
#include "tests/fanout/fixture.h"
#include "fanout/entry.h"

static bool contains(const char *haystack, const char *needle)
{
        return haystack != NULL && strstr(haystack, needle) != NULL;
}

Test(writer, a_change_is_committed_with_the_next_number)
{
        struct fixture f = fixture_start();
        struct result created = fixture_create(&f, "final"), started;
        char *log;

        cr_assert(eq(int, created.outcome.kind, OUTCOME_COMMITTED), "%s", created.why);
        cr_assert(eq(u64, created.outcome.token.seq, 1));
        cr_assert(eq(u64, created.outcome.event.state.version, 1));
        started = fixture_command(&f, "final", COMMAND_START);
        cr_assert(eq(int, started.outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(u64, started.outcome.token.seq, 2));
        cr_assert(eq(u64, started.outcome.token.epoch, created.outcome.token.epoch));
        cr_assert(eq(str, started.outcome.event.state.stage, "live"));

        log = test_redis_ask(f.server, "XRANGE", "{" NS "}:log", "2-0", "2-0", NULL);
        cr_assert(contains(log, "\"kind\":\"start\""), "%s", log);
        free(log);
        fixture_stop(&f);
}

static char published[1024];

static void keep_message(void *owner, const char *bytes, size_t len)
{
        (*(unsigned *)owner)++;
        snprintf(published, sizeof(published), "%.*s", (int)len, bytes);
}

static void keep_up(void *owner, enum redis_state state, const char *why)
{
        (void)why;
        *(bool *)owner = state == REDIS_UP;
}

Test(writer, a_commit_is_published_as_token_prev_and_body)
{
        struct fixture f = fixture_start();
        bool up = false;
        unsigned messages = 0;
        struct redis_options options = { .address = fixture_address(f.server),
                                         .name = "subscriber",
                                         .on_state = keep_up,
                                         .owner = &up };
        struct redis *subscriber;
        struct result result;
        struct entry *entry;

        cr_assert(eq(int, redis_create(f.base, &options, &subscriber), OK));
        cr_assert(
            eq(int, redis_subscribe(subscriber, "{" NS "}:signals", keep_message, &messages), OK));
        run_until(f.base, up);
        result = fixture_create(&f, "final");
        run_until(f.base, messages == 1);
        cr_assert(eq(int, entry_parse_message(published, strlen(published), &entry), OK), "%s",
                  published);
        cr_assert(token_equal(&entry->signal.token, &result.outcome.token));
        cr_assert(eq(int, entry->signal.kind, SIGNAL_CREATE));
        entry_unref(entry);
        redis_destroy(subscriber);
        fixture_stop(&f);
}

Test(writer, the_same_key_makes_one_signal_and_gives_the_first_result_again)
{
        struct fixture f = fixture_start();
        struct change change = fixture_change("final", COMMAND_START);
        struct result first, again, later;

        fixture_create(&f, "final");
        strcpy(change.request_key, "key-1");
        strcpy(change.fingerprint, FINGERPRINT_A);
        first = fixture_do(&f, &change);
        cr_assert(eq(int, first.outcome.kind, OUTCOME_COMMITTED));
        fixture_command(&f, "final", COMMAND_END);
        again = fixture_do(&f, &change);
        cr_assert(eq(int, again.outcome.kind, OUTCOME_REPLAYED));
        cr_assert(token_equal(&again.outcome.token, &first.outcome.token));
        cr_assert(eq(str, again.outcome.event.state.stage, "live"));
        later = fixture_command(&f, "final", COMMAND_END);
        cr_assert(eq(int, later.outcome.kind, OUTCOME_REFUSED)); /* one start, one end, no third */

        char *ttl = test_redis_ask(f.server, "TTL", "{" NS "}:req:key-1", NULL);

        cr_assert(atoi(ttl) > 86000 && atoi(ttl) <= WRITER_REQUEST_TTL_S, "%s", ttl);
        free(ttl);
        fixture_stop(&f);
}

Test(writer, the_same_key_sent_twice_at_once_makes_one_signal)
{
        struct fixture f = fixture_start();
        struct change change = fixture_change("final", COMMAND_REFRESH);
        struct result results[10];
        unsigned committed = 0, replayed = 0;

        fixture_create(&f, "final");
        strcpy(change.request_key, "key-1");
        strcpy(change.fingerprint, FINGERPRINT_A);
        for (size_t i = 0; i < 10; i++)
                fixture_submit(&f, &change, &results[i]);
        for (size_t i = 0; i < 10; i++) {
                run_until(f.base, results[i].done);
                committed += results[i].outcome.kind == OUTCOME_COMMITTED;
                replayed += results[i].outcome.kind == OUTCOME_REPLAYED;
                cr_assert(eq(u64, results[i].outcome.token.seq, 2));
        }
        cr_assert(eq(uint, committed, 1));
        cr_assert(eq(uint, replayed, 9));
        fixture_stop(&f);
}

Test(writer, the_same_key_with_another_body_is_refused)
{
        struct fixture f = fixture_start();
        struct change change = fixture_change("final", COMMAND_START);

        fixture_create(&f, "final");
        strcpy(change.request_key, "key-1");
        strcpy(change.fingerprint, FINGERPRINT_A);
        fixture_do(&f, &change);
        strcpy(change.fingerprint, FINGERPRINT_B);
        cr_assert(eq(int, fixture_do(&f, &change).outcome.kind, OUTCOME_KEY_REUSED));
        fixture_stop(&f);
}

Test(writer, two_writers_racing_one_version_have_one_winner)
{
        struct fixture f = fixture_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct result a, b;

        fixture_create(&f, "final");
        start.has_if_version = true;
        start.if_version = 1;
        fixture_submit(&f, &start, &a);
        fixture_submit(&f, &start, &b);
        run_until(f.base, a.done && b.done);
        cr_assert(eq(int, a.outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(int, b.outcome.kind, OUTCOME_STALE));
        cr_assert(b.outcome.has_event);
        cr_assert(eq(u64, b.outcome.event.state.version, 2));
        cr_assert(eq(str, b.outcome.event.state.stage, "live"));
        fixture_stop(&f);
}

Test(writer, without_an_expected_version_the_loser_is_judged_on_what_is_there_now)
{
        struct fixture f = fixture_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct change refresh = fixture_change("final", COMMAND_REFRESH);
        struct result results[3];

        fixture_create(&f, "final");
        fixture_submit(&f, &start, &results[0]);
        fixture_submit(&f, &start, &results[1]);
        fixture_submit(&f, &refresh, &results[2]);
        run_until(f.base, results[0].done && results[1].done && results[2].done);
        cr_assert(eq(int, results[0].outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(int, results[1].outcome.kind, OUTCOME_REFUSED)); /* live already */
        cr_assert(eq(int, results[2].outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(u64, results[2].outcome.event.state.version, 3));
        fixture_stop(&f);
}

Test(writer, a_wrong_expected_version_gives_the_current_event)
{
        struct fixture f = fixture_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct result result;

        fixture_create(&f, "final");
        start.has_if_version = true;
        start.if_version = 7;
        result = fixture_do(&f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_STALE));
        cr_assert(eq(u64, result.outcome.event.state.version, 1));
        result = fixture_command(&f, "nowhere", COMMAND_START);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REFUSED));
        cr_assert(eq(int, result.outcome.refusal.err, ERR_NOT_FOUND));
        fixture_stop(&f);
}

Test(writer, publish_moves_drafts_and_keeps_cohorts_without_one)
{
        struct fixture f = fixture_start();
        struct result result;
        char token[TOKEN_TEXT_MAX + 1], wanted[128];
        char *bundles, *drafts;

        fixture_create(&f, "final");
        result = fixture_command(&f, "final", COMMAND_PUBLISH);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REFUSED));
        cr_assert(eq(int, result.outcome.refusal.err, ERR_CONFLICT));
        cr_assert(eq(uint, result.outcome.refusal.legal >> COMMAND_START & 1, 1));
        cr_assert(eq(uint, result.outcome.refusal.legal >> COMMAND_PUBLISH & 1, 0));
        test_redis_do(f.server, "HSET", "{" NS "}:bundles:final", "old", "sha0 1 t", "default",
                      "sha1 1 t", NULL);
        test_redis_do(f.server, "HSET", "{" NS "}:drafts:final", "default", "sha2 2 t", NULL);
        result = fixture_command(&f, "final", COMMAND_PUBLISH);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(u64, result.outcome.event.state.bundle, 1));
        bundles = test_redis_ask(f.server, "HGETALL", "{" NS "}:bundles:final", NULL);
        drafts = test_redis_ask(f.server, "EXISTS", "{" NS "}:drafts:final", NULL);
        token_format(&result.outcome.token, token);
        snprintf(wanted, sizeof(wanted), "old\nsha0 1 t\ndefault\n%s sha2 2 t", token);
        cr_assert(eq(str, bundles, wanted)); /* the row says which publish made it current */
        cr_assert(eq(str, drafts, "0"));
        free(bundles);
        free(drafts);
        fixture_stop(&f);
}

Test(writer, nothing_acknowledged_is_lost_by_a_kill)
{
        struct fixture f = fixture_start();
        struct token last = { 0 };
        char *len, text[64], *meta;

        fixture_create(&f, "final");
        for (unsigned i = 0; i < 50; i++)
                last = fixture_command(&f, "final", COMMAND_REFRESH).outcome.token;
        test_redis_kill(f.server);
        run_until(f.base, !redis_is_up(f.redis));
        test_redis_restart(f.server);
        len = test_redis_ask(f.server, "XLEN", "{" NS "}:log", NULL);
        meta = test_redis_ask(f.server, "HGET", "{" NS "}:meta", "tag", NULL);
        token_hex(last.tag, text);
        cr_assert(eq(str, len, "51"));
        cr_assert(eq(str, meta, text));
        run_until(f.base, redis_is_up(f.redis));
        cr_assert(eq(u64, fixture_command(&f, "final", COMMAND_REFRESH).outcome.token.seq, 52));
        free(len);
        free(meta);
        fixture_stop(&f);
}

Test(writer, the_functions_are_loaded_again_when_somebody_flushed_them)
{
        struct fixture f = fixture_start();

        fixture_create(&f, "final");
        f.log->keep = true;
        test_redis_do(f.server, "FUNCTION", "FLUSH", NULL);
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_START).outcome.kind, OUTCOME_COMMITTED));
        fixture_stop(&f);
}

static void expect_entries(struct fixture *f, const char *n)
{
        char *found = test_redis_ask(f->server, "XLEN", "{" NS "}:log", NULL);

        cr_assert(eq(str, found, (char *)n));
        free(found);
}

Test(writer, a_lookup_without_an_answer_is_unavailable_and_nothing_happens_later)
{
        struct fixture f = fixture_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct result first, second, probe;

        fixture_create(&f, "final");
        strcpy(start.request_key, "key-1");
        strcpy(start.fingerprint, FINGERPRINT_A);
        f.log->keep = true;
        test_redis_pause(f.server);
        fixture_submit(&f, &start, &first);
        fixture_submit(&f, &start, &second);
        run_until(f.base, first.done && second.done);
        cr_assert(eq(int, first.outcome.kind, OUTCOME_UNAVAILABLE), "%s", first.why);
        cr_assert(eq(int, second.outcome.kind, OUTCOME_UNAVAILABLE), "%s", second.why);
        test_redis_resume(f.server);
        /* Answers come in order: with this one, both look-ups have been answered. */
        probe = fixture_command(&f, "nowhere", COMMAND_START);
        cr_assert(eq(int, probe.outcome.kind, OUTCOME_REFUSED));
        expect_entries(&f, "1");
        probe = fixture_do(&f, &start);
        cr_assert(eq(int, probe.outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(u64, probe.outcome.token.seq, 2));
        fixture_stop(&f);
}

/* CLIENT PAUSE WRITE holds back FCALL of a writing function, and lets the look-up through. */
Test(writer, an_append_without_an_answer_is_unknown_and_its_key_finds_out)
{
        struct fixture f = fixture_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct result result;

        fixture_create(&f, "final");
        strcpy(start.request_key, "key-1");
        strcpy(start.fingerprint, FINGERPRINT_A);
        test_redis_do(f.server, "CLIENT", "PAUSE", "600000", "WRITE", NULL);
        result = fixture_do(&f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNKNOWN), "%s", result.why);
        test_redis_do(f.server, "CLIENT", "UNPAUSE", NULL);
        result = fixture_do(&f, &start);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REPLAYED), "%s", result.why);
        cr_assert(eq(u64, result.outcome.token.seq, 2));
        expect_entries(&f, "2");
        fixture_stop(&f);
}

Test(writer, a_kill_at_any_moment_leaves_one_signal_per_key)
{
        struct fixture f = fixture_start();
        struct rng rng;

        rng_seed(&rng, 1);
        fixture_create(&f, "final");
        for (unsigned i = 0; i < 12; i++) {
                struct change refresh = fixture_change("final", COMMAND_REFRESH);
                struct result result;
                uint64_t kill_us;

                snprintf(refresh.request_key, sizeof(refresh.request_key), "key-%u", i);
                strcpy(refresh.fingerprint, FINGERPRINT_A);
                kill_us = clock_mono_us() + rng_below(&rng, 1500);
                fixture_submit(&f, &refresh, &result);
                while (clock_mono_us() < kill_us)
                        event_base_loop(f.base, EVLOOP_NONBLOCK);
                test_redis_kill(f.server);
                run_until(f.base, result.done && !redis_is_up(f.redis));
                test_redis_restart(f.server);
                run_until(f.base, redis_is_up(f.redis));
                result = fixture_do(&f, &refresh);
                cr_assert(result.outcome.kind == OUTCOME_COMMITTED ||
                              result.outcome.kind == OUTCOME_REPLAYED,
                          "%d %s", (int)result.outcome.kind, result.why);
                cr_assert(eq(u64, result.outcome.token.seq, i + 2));
        }
        fixture_stop(&f);
}

Test(writer, what_redis_refuses_is_told_with_its_words)
{
        struct fixture f = fixture_start();
        struct change start = fixture_change("final", COMMAND_START);
        struct result result;

        fixture_create(&f, "final");
        test_redis_do(f.server, "CONFIG", "SET", "min-replicas-to-write", "1", NULL);
        result = fixture_command(&f, "final", COMMAND_START);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_FAILED));
        cr_assert(contains(result.why, "NOREPLICAS"), "%s", result.why);
        test_redis_do(f.server, "CONFIG", "SET", "min-replicas-to-write", "0", NULL);
        test_redis_do(f.server, "CONFIG", "SET", "maxmemory", "1", NULL);
        result = fixture_command(&f, "final", COMMAND_START);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_FAILED));
        cr_assert(contains(result.why, "OOM"), "%s", result.why);
        test_redis_do(f.server, "CONFIG", "SET", "maxmemory", "0", NULL);
        test_redis_do(f.server, "REPLICAOF", "127.0.0.1", "1", NULL);
        result = fixture_try(&f, &start);
        cr_assert(result.outcome.kind == OUTCOME_FAILED ||
                  result.outcome.kind == OUTCOME_UNAVAILABLE); /* noticed meanwhile */
        test_redis_do(f.server, "REPLICAOF", "NO", "ONE", NULL);
        result = fixture_command(&f, "final", COMMAND_START);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        cr_assert(eq(u64, result.outcome.token.seq, 2));
        fixture_stop(&f);
}

Test(writer, a_user_that_may_not_publish_changes_nothing)
{
        struct fixture f = fixture_start();
        struct redis_address address = fixture_address(f.server);
        struct result result;
        char *len;

        fixture_create(&f, "final");
        test_redis_do(f.server, "ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", NULL);
        strcpy(address.user, "limited");
        strcpy(address.password, "secret");
        fixture_relink(&f, &address, "fsync");
        result = fixture_command(&f, "final", COMMAND_START);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_FAILED));
        cr_assert(contains(result.why, "PUBLISH"), "%s", result.why);
        len = test_redis_ask(f.server, "XLEN", "{" NS "}:log", NULL);
        cr_assert(eq(str, len, "1"));
        free(len);
        fixture_stop(&f);
}

static void expect_refused(struct fixture *f, const char *needle)
{
        struct result result = fixture_command(f, "final", COMMAND_START);
        char *record = test_redis_ask(f->server, "HGET", "{" NS "}:events", "final", NULL);

        cr_assert(eq(int, result.outcome.kind, OUTCOME_UNAVAILABLE), "%s", result.why);
        cr_assert(contains(result.why, needle), "%s", result.why);
        cr_assert(contains(record, "\"version\":1"), "%s", record);
        free(record);
}

Test(writer, an_append_to_a_log_that_lost_what_the_node_saw_is_refused)
{
        struct fixture f = fixture_start();
        char tag[17];
        struct token first = fixture_create(&f, "final").outcome.token;

        f.log->keep = true;
        f.log->witness = fixture_create(&f, "other").outcome.token;
        token_hex(first.tag, tag);
        test_redis_do(f.server, "XDEL", "{" NS "}:log", "2-0", NULL);
        test_redis_do(f.server, "HSET", "{" NS "}:meta", "seq", "1", "tag", tag, NULL);
        expect_refused(&f, "has lost");

        /* As long as before, and longer, but with another history. */
        test_redis_do(f.server, "HSET", "{" NS "}:meta", "seq", "2", "tag", "00000000000000bb",
                      NULL);
        expect_refused(&f, "has lost");
        test_redis_do(f.server, "XADD", "{" NS "}:log", "3-0", "tag", "00000000000000cc", "prev",
                      "00000000000000bb", NULL);
        test_redis_do(f.server, "HSET", "{" NS "}:meta", "seq", "3", "tag", "00000000000000cc",
                      NULL);
        expect_refused(&f, "has lost");
        fixture_stop(&f);
}

Test(writer, an_append_in_another_epoch_is_refused)
{
        struct fixture f = fixture_start();

        fixture_create(&f, "final");
        f.log->keep = true;
        f.log->witness = fixture_place(f.server);
        test_redis_do(f.server, "HSET", "{" NS "}:meta", "epoch", "0002bbbbbbbbbbbb", NULL);
        expect_refused(&f, "another epoch");
        test_redis_do(f.server, "DEL", "{" NS "}:meta", NULL);
        expect_refused(&f, "another epoch");
        f.log->witness = (struct token){ 0 };
        expect_refused(&f, "not read the log");
        fixture_stop(&f);
}

Test(writer, a_change_says_in_which_epoch_it_was_made)
{
        struct fixture f = fixture_start();
        struct result created = fixture_create(&f, "final");
        char *record = test_redis_ask(f.server, "HGET", "{" NS "}:events", "final", NULL);

        cr_assert(eq(u64, created.outcome.event.epoch, created.outcome.token.epoch));
        cr_assert(contains(record, "\"epoch\":\"0001aaaaaaaaaaaa\""), "%s", record);
        free(record);
        fixture_stop(&f);
}

#define WRITERS 20

Test(writer, twenty_writers_at_once_make_numbers_without_a_hole)
{
        struct fixture f = fixture_start();
        struct fixture nodes[WRITERS];
        struct result results[WRITERS];
        bool seen[WRITERS * 5 + WRITERS + 1] = { false };
        struct redis_address address = fixture_address(f.server);
        char id[32], *len;

        for (size_t i = 0; i < WRITERS; i++) {
                snprintf(id, sizeof(id), "event-%zu", i);
                fixture_create(&f, id);
                nodes[i] = f;
                nodes[i].primary = fixture_primary(f.base, &address, "fsync");
                nodes[i].writer = fixture_writer(&nodes[i]);
                fixture_writable(&nodes[i]);
        }
        for (unsigned round = 0; round < 5; round++) {
                for (size_t i = 0; i < WRITERS; i++) {
                        struct change refresh = fixture_change("", COMMAND_REFRESH);

                        snprintf(refresh.event, sizeof(refresh.event), "event-%zu", i);
                        results[i] = (struct result){ 0 };
                        cr_assert(eq(int,
                                     writer_submit(nodes[i].writer, &refresh, TEST_NOW,
                                                   fixture_done, &results[i]),
                                     OK));
                }
                for (size_t i = 0; i < WRITERS; i++) {
                        run_until(f.base, results[i].done);
                        cr_assert(eq(int, results[i].outcome.kind, OUTCOME_COMMITTED), "%s",
                                  results[i].why);

                        seqno seq = results[i].outcome.token.seq;

                        cr_assert(seq > WRITERS && seq < countof(seen) && !seen[seq]);
                        seen[seq] = true;
                }
        }
        len = test_redis_ask(f.server, "XLEN", "{" NS "}:log", NULL);
        cr_assert(eq(str, len, "120"));
        free(len);
        for (size_t i = 0; i < WRITERS; i++) {
                writer_destroy(nodes[i].writer);
                primary_destroy(nodes[i].primary);
        }
        fixture_stop(&f);
}

Test(writer, as_many_events_as_fit_are_created_and_one_more_is_told_what_to_do)
{
        struct fixture f = fixture_start();
        struct change reopen = fixture_change("the-last", COMMAND_REOPEN);
        struct result result;
        char *there;

        test_redis_do(f.server, "EVAL",
                      "for i = 1, 1023 do redis.call('HSET', KEYS[1], 'e' .. i, '{}') end return 1",
                      "1", "{" NS "}:events", NULL);
        result = fixture_create(&f, "the-last");
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        result = fixture_create(&f, "one-too-many");
        cr_assert(eq(int, result.outcome.kind, OUTCOME_REFUSED));
        cr_assert(eq(int, result.outcome.refusal.err, ERR_TOO_LARGE));
        cr_assert(strstr(result.outcome.refusal.why, "1024") != NULL);
        cr_assert(strstr(result.outcome.refusal.why, "reopen") != NULL);
        cr_assert(strstr(result.outcome.refusal.why, "another namespace") != NULL, "it is whole");
        there = test_redis_ask(f.server, "HLEN", "{" NS "}:events", NULL);
        cr_assert(eq(str, there, "1024"));
        free(there);
        /* What is there is changed as ever, and its place can be used again. */
        fixture_command(&f, "the-last", COMMAND_CANCEL);
        reopen.command.has_starts_at = true;
        reopen.command.starts_at = TEST_NOW + 7200000;
        result = fixture_do(&f, &reopen);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
        fixture_stop(&f);
}

/* The function is called directly, for 20,000 entries through a writer would take long. */
Test(writer, the_log_is_trimmed_by_age_and_never_below_what_is_kept)
{
        struct fixture f = fixture_start();
        const char *fill =
            "for i = 1, tonumber(ARGV[2]) do redis.call('XADD', KEYS[2], i .. '-0', 'tag', 't', 'prev', "
            "'p', 'body', '{\"sent\":' .. i .. '}') end "
            "redis.call('HSET', KEYS[1], 'epoch', '1111111111111111', 'seq', ARGV[2], 'tag', "
            "'2222222222222222') return 1";
        char *answer;

        test_redis_do(f.server, "EVAL", fill, "2", "{t}:m", "{t}:l", "", "2047", NULL);
        /* Entry n was sent at n; now is 2048 and 1500 ms are kept, so up to 547 may go: by the time
         * of the look the cut at 1 + 512 = 513 is old enough. */
        answer = test_redis_ask(f.server, "FCALL", "kickoff1_append", "6", "{t}:l", "{t}:m",
                                "{t}:e", "{t}:r", "{t}:b", "{t}:d", "ev", "0", "{\"version\":1}",
                                "{\"sent\":2048}", "3333333333333333", "PUBLISH", "c", "0", "",
                                "60", "1024", "100", "1500", "2048", "0", "1111111111111111",
                                "2047", "2222222222222222", NULL);
        free(answer);
        answer = test_redis_ask(f.server, "XRANGE", "{t}:l", "-", "+", "COUNT", "1", NULL);
        cr_assert(eq(int, strncmp(answer, "513-0", 5), 0), "%s", answer);
        free(answer);

        /* At the next look, 256 entries later: too young at the cut, then with more to be kept. */
        for (unsigned row = 0; row < 2; row++) {
                const char *seq = row == 0 ? "2303" : "2559";
                char id[16];

                snprintf(id, sizeof(id), "%s-0", seq);
                test_redis_do(f.server, "XADD", "{t}:l", id, "tag", "t", NULL);
                test_redis_do(f.server, "HSET", "{t}:m", "seq", seq, NULL);
                test_redis_do(f.server, "DEL", "{t}:e", NULL);
                answer = test_redis_ask(f.server, "FCALL", "kickoff1_append", "6", "{t}:l", "{t}:m",
                                        "{t}:e", "{t}:r", "{t}:b", "{t}:d", "ev", "0",
                                        "{\"version\":1}", "{\"sent\":2048}", "3333333333333333",
                                        "PUBLISH", "c", "0", "", "60", "1024",
                                        row == 0 ? "100" : "20000", row == 0 ? "1500" : "1", "2048",
                                        "0", "1111111111111111", seq, "3333333333333333", NULL);
                cr_assert(eq(int, strncmp(answer, "committed", 9), 0), "%s", answer);
                free(answer);
                answer = test_redis_ask(f.server, "XRANGE", "{t}:l", "-", "+", "COUNT", "1", NULL);
                cr_assert(eq(int, strncmp(answer, "513-0", 5), 0), "row %u: %s", row, answer);
                free(answer);
        }
        fixture_stop(&f);
}

static void answered(void *owner, const struct redis_reply *reply)
{
        (void)reply;
        *(bool *)owner = true;
}

/* Answers come in order: after this, all look-ups sent before have been answered. */
static void fixture_probe(struct fixture *f)
{
        const char *const argv[] = { "PING" };
        bool done = false;

        cr_assert(eq(int, redis_command(f->redis, answered, &done, 1, argv, NULL), OK));
        run_until(f->base, done);
}

Test(writer, destroying_it_tells_everybody_once)
{
        struct fixture f = fixture_start();
        struct result in_flight, unsent;
        struct change start = fixture_change("final", COMMAND_START);

        fixture_create(&f, "final");
        fixture_submit(&f, &start, &in_flight);
        writer_destroy(f.writer);
        cr_assert(in_flight.done);
        cr_assert(eq(int, in_flight.outcome.kind, OUTCOME_UNAVAILABLE)); /* in the look-up */

        f.writer = fixture_writer(&f);
        test_redis_do(f.server, "CLIENT", "PAUSE", "600000", "WRITE", NULL);
        fixture_submit(&f, &start, &in_flight);
        fixture_probe(&f);
        writer_destroy(f.writer);
        cr_assert(eq(int, in_flight.outcome.kind, OUTCOME_UNKNOWN)); /* in the append */
        test_redis_do(f.server, "CLIENT", "UNPAUSE", NULL);

        f.writer = fixture_writer(&f);
        test_redis_kill(f.server);
        run_until(f.base, !redis_is_up(f.redis));
        fixture_submit(&f, &start, &unsent);
        writer_destroy(f.writer);
        cr_assert(unsent.done);
        cr_assert(eq(int, unsent.outcome.kind, OUTCOME_UNAVAILABLE));
        f.writer = NULL;
        fixture_stop(&f);
}

/* A function that fails half-way is not rolled back: the entry would be there, told to nobody, and
 * its producer told that nothing was done. */
Test(writer, an_entry_that_is_none_of_ours_does_not_stop_an_append_at_its_trim)
{
        static const char *const bodies[] = { "{\"sent\":\"1\"}", "[]", "7", "null", "\"\"", "{" };
        struct fixture f = fixture_start();

        for (size_t i = 0; i < countof(bodies); i++) {
                char *answer;

                test_redis_do(f.server, "DEL", "{t}:l", "{t}:e", NULL);
                test_redis_do(f.server, "XADD", "{t}:l", "1-0", "tag", "t", "body", "{}", NULL);
                test_redis_do(f.server, "XADD", "{t}:l", "250-0", "tag", "t", "body", bodies[i],
                              NULL);
                test_redis_do(f.server, "HSET", "{t}:m", "epoch", "1111111111111111", "seq", "255",
                              "tag", "2222222222222222", NULL);
                answer = test_redis_ask(f.server, "FCALL", "kickoff1_append", "6", "{t}:l", "{t}:m",
                                        "{t}:e", "{t}:r", "{t}:b", "{t}:d", "ev", "0",
                                        "{\"version\":1}", "{\"sent\":2048}", "3333333333333333",
                                        "PUBLISH", "c", "0", "", "60", "1024", "10", "1500", "2048",
                                        "0", "1111111111111111", "255", "2222222222222222", NULL);
                cr_assert(eq(int, strncmp(answer, "committed", 9), 0), "%s: %s", bodies[i], answer);
                free(answer);
        }
        fixture_stop(&f);
}
