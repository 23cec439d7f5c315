/* What producers ask of a real Redis: events, signals, nodes, and what its settings are worth. */
#include "fanout/reader.h"
#include "fanout/durability.h"
#include "fanout/presence.h"

#include "tests/fanout/fixture.h"

struct answer {
        bool done;
        enum err err;
        size_t n;
        seqno head;
        char text[512]; /* ids in order, or why */
        struct presence nodes[4];
};

static void add(struct answer *answer, const char *text)
{
        size_t len = strlen(answer->text);

        snprintf(answer->text + len, sizeof(answer->text) - len, "%s%s", len > 0 ? " " : "", text);
}

static void on_events(void *owner, enum err err, const struct event *events, size_t n)
{
        struct answer *answer = owner;

        *answer = (struct answer){ .done = true, .err = err, .n = n };
        for (size_t i = 0; i < n; i++)
                add(answer, events[i].state.event);
}

static void on_signals(void *owner, enum err err, struct entry *const *entries, size_t n,
                       seqno head)
{
        struct answer *answer = owner;
        char seq[24];

        *answer = (struct answer){ .done = true, .err = err, .n = n, .head = head };
        for (size_t i = 0; i < n; i++) {
                snprintf(seq, sizeof(seq), "%llu",
                         (unsigned long long)entries[i]->signal.token.seq);
                add(answer, seq);
        }
}

static void on_nodes(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct answer *answer = owner;

        *answer = (struct answer){ .done = true, .err = err, .n = n };
        for (size_t i = 0; i < n; i++) {
                add(answer, nodes[i].name);
                if (i < countof(answer->nodes))
                        answer->nodes[i] = nodes[i];
        }
}

static void on_checked(void *owner, enum err err, const char *why)
{
        struct answer *answer = owner;

        *answer = (struct answer){ .done = true, .err = err };
        add(answer, why);
}

static struct answer events(struct fixture *f, const char *event)
{
        struct answer answer = { 0 };

        cr_assert(eq(int, reader_events(f->redis, NS, event, on_events, &answer), OK));
        run_until(f->base, answer.done);
        return answer;
}

static struct answer signals(struct fixture *f, seqno after, size_t limit)
{
        struct answer answer = { 0 };

        cr_assert(eq(int, reader_signals(f->redis, NS, after, limit, on_signals, &answer), OK));
        run_until(f->base, answer.done);
        return answer;
}

static struct answer nodes(struct fixture *f, int64_t now)
{
        struct answer answer = { 0 };

        cr_assert(eq(int, presence_read(f->redis, NS, now, on_nodes, &answer), OK));
        run_until(f->base, answer.done);
        return answer;
}

static struct answer checked(struct fixture *f, enum durability_mode wanted)
{
        struct answer answer = { 0 };

        cr_assert(eq(int, durability_check(f->redis, wanted, on_checked, &answer), OK));
        run_until(f->base, answer.done);
        return answer;
}

Test(reader, gives_events_by_planned_start)
{
        struct fixture f = fixture_start();
        struct change delay = fixture_change("b", COMMAND_DELAY);

        cr_assert(eq(sz, events(&f, NULL).n, 0));
        fixture_create(&f, "b");
        fixture_create(&f, "c");
        fixture_create(&f, "a");
        delay.command.has_by = true;
        delay.command.by_ms = 1000;
        fixture_do(&f, &delay);
        cr_assert(eq(str, events(&f, NULL).text, "a c b"));
        cr_assert(eq(str, events(&f, "c").text, "c"));
        cr_assert(eq(sz, events(&f, "nowhere").n, 0));
        fixture_stop(&f);
}

Test(reader, an_event_it_cannot_read_is_an_error_and_not_absent)
{
        struct fixture f = fixture_start();

        fixture_create(&f, "a");
        test_redis_do(f.server, "HSET", "{" NS "}:events", "b", "{\"version\":1}", NULL);
        cr_assert(eq(int, events(&f, NULL).err, ERR_IO));
        cr_assert(eq(int, events(&f, "b").err, ERR_IO));
        cr_assert(eq(int, events(&f, "a").err, OK));
        fixture_stop(&f);
}

Test(reader, gives_signals_after_a_number_up_to_a_limit)
{
        struct fixture f = fixture_start();

        fixture_create(&f, "a");
        for (unsigned i = 0; i < 4; i++)
                fixture_command(&f, "a", COMMAND_REFRESH);
        cr_assert(eq(str, signals(&f, 0, 1000).text, "1 2 3 4 5"));
        cr_assert(eq(str, signals(&f, 1, 3).text, "2 3 4"));
        cr_assert(eq(sz, signals(&f, 5, 10).n, 0));
        cr_assert(eq(u64, signals(&f, 1, 3).head, 5)); /* of the log, not of the answer */
        cr_assert(eq(u64, signals(&f, 5, 10).head, 5));
        cr_assert(eq(sz, signals(&f, UINT64_MAX, 10).n, 0));
        fixture_stop(&f);
}

Test(reader, says_that_there_was_no_answer)
{
        struct fixture f = fixture_start();
        struct answer answer = { 0 };

        cr_assert(eq(int, reader_events(f.redis, NS, NULL, on_events, &answer), OK));
        test_redis_kill(f.server);
        run_until(f.base, answer.done && !redis_is_up(f.redis));
        cr_assert(answer.err == ERR_TIMEOUT || answer.err == OK);
        cr_assert(eq(int, reader_events(f.redis, NS, NULL, on_events, &answer), ERR_UNAVAILABLE));
        cr_assert(eq(int, reader_signals(f.redis, NS, 0, 1, on_signals, &answer), ERR_UNAVAILABLE));
        cr_assert(eq(int, presence_read(f.redis, NS, 0, on_nodes, &answer), ERR_UNAVAILABLE));
        cr_assert(eq(int, durability_check(f.redis, DURABILITY_FSYNC, on_checked, &answer),
                     ERR_UNAVAILABLE));
        fixture_stop(&f);
}

Test(presence, shows_who_is_there_who_is_gone_and_forgets_the_long_gone)
{
        struct fixture f = fixture_start();
        struct presence node = {
                .listen = "0.0.0.0:8080", .version = "0.1.0", .devices = 18000, .seq = 42
        };
        struct answer answer;
        char *left;

        strcpy(node.name, "b");
        node.seen = TEST_NOW;
        cr_assert(eq(int, presence_write(f.redis, NS, &node, NULL, NULL), OK));
        strcpy(node.name, "a");
        node.seen = TEST_NOW - PRESENCE_GONE_MS - 1;
        cr_assert(eq(int, presence_write(f.redis, NS, &node, NULL, NULL), OK));
        strcpy(node.name, "c");
        node.seen = TEST_NOW - PRESENCE_FORGET_MS - 1;
        cr_assert(eq(int, presence_write(f.redis, NS, &node, NULL, NULL), OK));
        test_redis_do(f.server, "HSET", "{" NS "}:nodes", "strange", "no record", "stranger",
                      "{\"devices\":1,\"seq\":1,\"started\":1,\"seen\":-9223372036854775808}",
                      NULL);

        answer = nodes(&f, TEST_NOW);
        cr_assert(eq(str, answer.text, "a b"));
        cr_assert(answer.nodes[0].gone);
        cr_assert(not(answer.nodes[1].gone));
        cr_assert(eq(u64, answer.nodes[1].devices, 18000));
        cr_assert(eq(u64, answer.nodes[1].seq, 42));
        cr_assert(eq(str, answer.nodes[1].listen, "0.0.0.0:8080"));
        (void)nodes(&f, TEST_NOW); /* the deletion has been answered when this is */
        left = test_redis_ask(f.server, "HEXISTS", "{" NS "}:nodes", "c", NULL);
        cr_assert(eq(str, left, "0"));
        free(left);
        fixture_stop(&f);
}

static const struct {
        const char *name, *value;
} weak[] = {
        { "appendfsync", "everysec" },
        { "appendonly", "no" },
        { "no-appendfsync-on-rewrite", "yes" },
        { "maxmemory-policy", "allkeys-lru" },
};

Test(durability, fsync_is_refused_with_the_line_to_change)
{
        struct fixture f = fixture_start();

        cr_assert(eq(int, checked(&f, DURABILITY_FSYNC).err, OK));
        for (size_t i = 0; i < countof(weak); i++) {
                struct answer answer;

                test_redis_do(f.server, "CONFIG", "SET", weak[i].name, weak[i].value, NULL);
                answer = checked(&f, DURABILITY_FSYNC);
                cr_assert(eq(int, answer.err, ERR_CONFLICT));
                cr_assert(strstr(answer.text, weak[i].name) != NULL, "%s", answer.text);
                cr_assert(strstr(answer.text, weak[i].value) != NULL, "%s", answer.text);
                cr_assert(eq(int, checked(&f, DURABILITY_MEMORY).err, OK));
                test_redis_do(f.server, "CONFIG", "SET", "appendonly", "yes", "appendfsync",
                              "always", "no-appendfsync-on-rewrite", "no", "maxmemory-policy",
                              "noeviction", NULL);
        }
        fixture_stop(&f);
}

Test(durability, a_redis_that_hides_its_settings_is_not_believed)
{
        struct fixture f = fixture_start();
        struct answer answer;

        test_redis_do(f.server, "ACL", "SETUSER", "default", "-config", NULL);
        answer = checked(&f, DURABILITY_FSYNC);
        cr_assert(eq(int, answer.err, ERR_IO));
        cr_assert(strstr(answer.text, "+config|get") != NULL, "%s", answer.text);
        fixture_stop(&f);
}

static const struct {
        const char *text;
        enum err err;
        struct durability durability;
        const char *named;
} modes[] = {
        { "memory", OK, { DURABILITY_MEMORY, 0 }, "memory" },
        { "fsync", OK, { DURABILITY_FSYNC, 0 }, "fsync" },
        { "replicated", OK, { DURABILITY_REPLICATED, 1 }, "replicated:1" },
        { "replicated:2", OK, { DURABILITY_REPLICATED, 2 }, "replicated:2" },
        { "replicated:16", OK, { DURABILITY_REPLICATED, 16 }, "replicated:16" },
        { "replicated:0", ERR_INVALID, { 0 }, NULL },
        { "replicated:17", ERR_INVALID, { 0 }, NULL },
        { "replicated:02", ERR_INVALID, { 0 }, NULL },
        { "replicated:", ERR_INVALID, { 0 }, NULL },
        { "replicated:2 ", ERR_INVALID, { 0 }, NULL },
        { "", ERR_INVALID, { 0 }, NULL },
        { "fsync ", ERR_INVALID, { 0 }, NULL },
        { "replicatedx", ERR_INVALID, { 0 }, NULL },
};

Test(durability, its_modes_are_named_exactly)
{
        for (size_t i = 0; i < countof(modes); i++) {
                struct durability durability = { .mode = DURABILITIES };
                const char *why = NULL;
                char named[DURABILITY_TEXT_MAX + 1];

                cr_assert(eq(int, durability_parse(modes[i].text, &durability, &why), modes[i].err),
                          "%s", modes[i].text);
                if (modes[i].err != OK) {
                        cr_assert(why != NULL && durability.mode == DURABILITIES);
                        continue;
                }
                cr_assert(eq(int, durability.mode, modes[i].durability.mode));
                cr_assert(eq(uint, durability.replicas, modes[i].durability.replicas));
                durability_format(&durability, named);
                cr_assert(eq(str, named, (char *)modes[i].named));
        }
}
