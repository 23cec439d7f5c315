/* Events that start by themselves: once, at the planned moment, whichever node gets there first.
 * Three nodes on one real Redis, each with its own links. */
#include "fanout/starter.h"

#include <inttypes.h>

#include "tests/fanout/node.h"

#define RACERS 3

struct racer {
        struct node node;
        struct primary *primary;
        struct writer *writer;
        struct starter *starter;
};

static struct token witness_of(void *owner)
{
        return follower_witness(((struct racer *)owner)->node.follower);
}

static void racer_start(struct racer *racer, struct fixture *f, const char *name)
{
        struct redis_address address = fixture_address(f->server);
        struct writer_options writing = { .ns = NS, .witness = witness_of, .owner = racer };
        struct starter_options options = { .node = name };

        *racer = (struct racer){ .writer = NULL };
        node_start(&racer->node, f, 64, 0);
        racer->primary = fixture_primary(f->base, &address, "fsync");
        writing.primary = racer->primary;
        cr_assert(eq(int, writer_create(f->base, &writing, &racer->writer), OK));
        options.follower = racer->node.follower;
        options.primary = racer->primary;
        options.writer = racer->writer;
        cr_assert(eq(int, starter_create(f->base, &options, &racer->starter), OK));
}

static void racer_stop(struct racer *racer)
{
        writer_destroy(racer->writer);
        starter_destroy(racer->starter);
        node_stop(&racer->node);
        primary_destroy(racer->primary);
}

static struct result plan(struct fixture *f, const char *id, int64_t starts_at)
{
        struct event wanted = fixture_event(id);
        struct change change = fixture_change(id, COMMAND_CREATE);

        wanted.auto_start = true;
        wanted.state.starts_at = starts_at;
        change.command.create = &wanted;
        return fixture_do(f, &change);
}

static void put_off(struct fixture *f, const char *id, int64_t starts_at)
{
        struct change change = fixture_change(id, COMMAND_DELAY);
        struct result result;

        change.command.has_starts_at = true;
        change.command.starts_at = starts_at;
        result = fixture_do(f, &change);
        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
}

static int count_of(const char *text, const char *needle)
{
        int n = 0;

        for (; (text = strstr(text, needle)) != NULL; text++)
                n++;
        return n;
}

/* How many starts the log has; the last one's `at`. */
static int starts(struct fixture *f, int64_t *ret_at)
{
        char *log = test_redis_ask(f->server, "XRANGE", "{" NS "}:log", "-", "+", NULL);
        int n = count_of(log, "{\"kind\":\"start\"");

        *ret_at = 0;
        for (char *at = log; (at = strstr(at, "{\"kind\":\"start\"")) != NULL; at++)
                *ret_at = strtoll(strstr(at, "\"at\":") + 5, NULL, 10);
        free(log);
        return n;
}

static bool all_follow(const struct racer *racers, unsigned n, seqno seq)
{
        for (unsigned i = 0; i < n; i++)
                if (!follower_is_ready(racers[i].node.follower) || head(&racers[i].node) < seq)
                        return false;
        return true;
}

Test(starter, exactly_one_start_is_made_however_many_nodes_race)
{
        struct fixture f = fixture_start();
        struct racer racers[RACERS];
        int64_t planned = clock_wall_ms() + STARTER_LEAD_MS + 700, at;
        char *trail;

        for (unsigned i = 0; i < RACERS; i++)
                racer_start(&racers[i], &f, "racer");
        plan(&f, "final", planned);
        run_until(f.base, all_follow(racers, RACERS, 2));
        cr_assert(eq(int, starts(&f, &at), 1));
        cr_assert(eq(i64, at, planned), "announced ahead, to be acted on at the planned moment");
        run_until(f.base, clock_wall_ms() > planned); /* every one of them has had its chance */
        cr_assert(eq(int, starts(&f, &at), 1));
        trail = test_redis_ask(f.server, "XRANGE", "{" NS "}:audit", "-", "+", NULL);
        cr_assert(eq(int, count_of(trail, "auto-start"), 1), "%s", trail);
        cr_assert(eq(int, count_of(trail, "racer"), 1), "%s", trail);
        free(trail);
        for (unsigned i = 0; i < RACERS; i++)
                racer_stop(&racers[i]);
        fixture_stop(&f);
}

/* All at the very same moment: nodes that come up when it is due already. */
Test(starter, nodes_that_come_up_when_a_start_is_due_make_it_at_once_and_once)
{
        struct fixture f = fixture_start();
        struct racer racers[RACERS];
        int64_t at;

        plan(&f, "final", clock_wall_ms() - 600000);
        for (unsigned i = 0; i < RACERS; i++)
                racer_start(&racers[i], &f, "racer");
        run_until(f.base, all_follow(racers, RACERS, 2));
        cr_assert(eq(int, starts(&f, &at), 1));
        cr_assert(ge(i64, at, clock_wall_ms() - PATIENCE_MS), "it acts now, not ten minutes ago");
        for (unsigned i = 0; i < RACERS; i++)
                racer_stop(&racers[i]);
        fixture_stop(&f);
}

/* Each announced ahead, although more are due at once than are asked for at a time. */
Test(starter, a_hundred_planned_for_one_moment_all_act_at_that_moment)
{
        struct fixture f = fixture_start();
        struct racer racer;
        int64_t planned = clock_wall_ms() + STARTER_LEAD_MS + 5000;
        unsigned on_time = 0;
        char *log, wanted[32];

        racer_start(&racer, &f, "racer");
        for (unsigned i = 0; i < 100; i++) {
                char id[16];

                snprintf(id, sizeof(id), "e%u", i);
                plan(&f, id, planned);
        }
        run_until(f.base, all_follow(&racer, 1, 200));
        snprintf(wanted, sizeof(wanted), "\"at\":%" PRId64 ",", planned);
        log = test_redis_ask(f.server, "XRANGE", "{" NS "}:log", "101", "+", NULL);
        for (char *at = log; (at = strstr(at, "{\"kind\":\"start\"")) != NULL; at++) {
                char *value = strstr(at, "\"at\":");

                on_time += strncmp(value, wanted, strlen(wanted)) == 0;
        }
        cr_assert(eq(uint, on_time, 100));
        free(log);
        racer_stop(&racer);
        fixture_stop(&f);
}

Test(starter, a_delay_before_and_after_the_start_was_announced_moves_it)
{
        struct fixture f = fixture_start();
        struct racer racer;
        int64_t planned = clock_wall_ms() + STARTER_LEAD_MS + 60000, at;

        racer_start(&racer, &f, "racer");
        plan(&f, "final", planned);
        planned = clock_wall_ms() + STARTER_LEAD_MS + 600;
        put_off(&f, "final", planned); /* before anybody thought of starting it */
        run_until(f.base, all_follow(&racer, 1, 3));
        cr_assert(eq(int, starts(&f, &at), 1));
        cr_assert(eq(i64, at, planned));
        planned = clock_wall_ms() + STARTER_LEAD_MS + 600;
        put_off(&f, "final", planned); /* announced already: taken back */
        run_until(f.base, all_follow(&racer, 1, 5));
        cr_assert(eq(int, starts(&f, &at), 2));
        cr_assert(eq(i64, at, planned));
        racer_stop(&racer);
        fixture_stop(&f);
}

Test(starter, what_is_overdue_by_more_than_an_hour_is_left_to_people)
{
        struct fixture f = fixture_start();
        struct racer racer;
        struct result old = plan(&f, "old", clock_wall_ms() - STARTER_LATE_MS - 60000);
        int64_t at;

        cr_assert(eq(int, old.outcome.kind, OUTCOME_COMMITTED));
        plan(&f, "young", clock_wall_ms() - STARTER_LATE_MS + 60000);
        racer_start(&racer, &f, "racer");
        run_until(f.base, all_follow(&racer, 1, 3)); /* the young one, looked at in the same turn */
        run_until(f.base, racer.node.confirmed > 2);
        cr_assert(eq(int, starts(&f, &at), 1));
        cr_assert(
            eq(int, fixture_command(&f, "old", COMMAND_START).outcome.kind, OUTCOME_COMMITTED));
        racer_stop(&racer);
        fixture_stop(&f);
}

Test(starter, an_event_that_is_not_to_start_by_itself_waits_for_its_producer)
{
        struct fixture f = fixture_start();
        struct racer racer;
        int64_t at;

        fixture_create(&f, "by-hand"); /* its planned start has passed long ago */
        plan(&f, "by-itself", clock_wall_ms() - 1000);
        racer_start(&racer, &f, "racer");
        run_until(f.base, all_follow(&racer, 1, 3));
        run_until(f.base, racer.node.confirmed > 2);
        cr_assert(eq(int, starts(&f, &at), 1));
        racer_stop(&racer);
        fixture_stop(&f);
}
