/* Bodies of replaced bundles leave Redis after a while; what anything names stays. Real drafts,
 * real publishes, and walks in quick succession. */
#include "prefetch/sweeper.h"

#include "prefetch/store.h"
#include "tests/fanout/fixture.h"

#define REPLACED "{" NS "}:replaced"
#define EVERY_MS 20

struct rig {
        struct fixture f;
        struct sweeper *sweeper;
        unsigned walks, deleted;
        enum err last;
};

static void on_done(void *owner, enum err err, unsigned deleted)
{
        struct rig *rig = owner;

        rig->walks++;
        rig->deleted += deleted;
        rig->last = err;
}

/* `grace_ms`: 1 = all notes but those of this very moment are looked at. */
static void sweep_with(struct rig *rig, int64_t grace_ms)
{
        const struct sweeper_options options = { .reads = rig->f.redis,
                                                 .writes = rig->f.redis,
                                                 .ns = NS,
                                                 .every_ms = EVERY_MS,
                                                 .grace_ms = grace_ms,
                                                 .on_done = on_done,
                                                 .owner = rig };

        cr_assert(eq(int, sweeper_create(rig->f.base, &options, &rig->sweeper), OK));
}

/* Until walks have begun and ended after this. */
static void walk_twice(struct rig *rig)
{
        unsigned until = rig->walks + 2;

        run_until(rig->f.base, rig->walks >= until);
}

static void rig_stop(struct rig *rig)
{
        sweeper_destroy(rig->sweeper);
        fixture_stop(&rig->f);
}

static void on_stored(void *owner, enum err err, const char *why)
{
        cr_assert(eq(int, err, OK), "%s", why);
        *(bool *)owner = true;
}

static void draft(struct rig *rig, const char *event, const char *cohort, const char *body)
{
        struct bundle_row row = { .type = "text/plain", .size = (uint32_t)strlen(body) };
        bool stored = false;

        strcpy(row.cohort, cohort);
        bundle_sha256(body, strlen(body), row.sha256);
        cr_assert(
            eq(int, store_put_draft(rig->f.redis, NS, event, &row, body, on_stored, &stored), OK));
        run_until(rig->f.base, stored);
}

static void publish(struct rig *rig, const char *event)
{
        struct result result = fixture_command(&rig->f, event, COMMAND_PUBLISH);

        cr_assert(eq(int, result.outcome.kind, OUTCOME_COMMITTED), "%s", result.why);
}

static bool has(struct rig *rig, const char *body)
{
        char key[128] = "{" NS "}:body:";
        char *answer;
        bool found;

        bundle_sha256(body, strlen(body), key + strlen(key));
        answer = test_redis_ask(rig->f.server, "EXISTS", key, NULL);
        found = atoi(answer) == 1;
        free(answer);
        return found;
}

static int notes(struct rig *rig)
{
        char *answer = test_redis_ask(rig->f.server, "HLEN", REPLACED, NULL);
        int n = atoi(answer);

        free(answer);
        return n;
}

/* Published by a clock that stands at TEST_NOW, which is long ago: their notes are ripe at once. */
Test(sweeper, deletes_what_a_publish_replaced_and_nothing_names)
{
        struct rig rig = { .f = fixture_start() };

        fixture_create(&rig.f, "cup");
        draft(&rig, "cup", "default", "one");
        draft(&rig, "cup", "tv", "two");
        publish(&rig, "cup");
        cr_assert(eq(int, notes(&rig), 0));
        draft(&rig, "cup", "default", "three");
        publish(&rig, "cup");
        cr_assert(eq(int, notes(&rig), 1));
        cr_assert(has(&rig, "one"));
        sweep_with(&rig, 0);
        run_until(rig.f.base, rig.deleted == 1);
        cr_assert(not(has(&rig, "one")));
        cr_assert(has(&rig, "two"));
        cr_assert(has(&rig, "three"));
        cr_assert(eq(int, notes(&rig), 0));
        rig_stop(&rig);
}

Test(sweeper, a_body_that_another_cohort_event_or_draft_names_stays)
{
        struct rig rig = { .f = fixture_start() };

        fixture_create(&rig.f, "cup");
        fixture_create(&rig.f, "final");
        fixture_create(&rig.f, "other");
        draft(&rig, "cup", "a", "by cohort b");
        draft(&rig, "cup", "b", "by cohort b");
        draft(&rig, "cup", "c", "by event final");
        draft(&rig, "final", "a", "by event final");
        draft(&rig, "cup", "d", "by a draft");
        draft(&rig, "cup", "e", "by nobody");
        draft(&rig, "cup", "f", "by a later draft");
        publish(&rig, "cup");
        publish(&rig, "final");
        draft(&rig, "cup", "a", "new a");
        draft(&rig, "cup", "c", "new c");
        draft(&rig, "cup", "d", "new d");
        draft(&rig, "cup", "e", "new e");
        draft(&rig, "cup", "f", "new f");
        draft(&rig, "other", "a", "by a draft"); /* before it is noted: the walk must see it */
        publish(&rig, "cup");
        draft(&rig, "other", "b", "by a later draft");
        cr_assert(eq(int, notes(&rig), 4), "who names it again takes the note away");
        sweep_with(&rig, 0);
        run_until(rig.f.base, rig.deleted > 0);
        walk_twice(&rig);
        cr_assert(eq(uint, rig.deleted, 1));
        cr_assert(not(has(&rig, "by nobody")));
        cr_assert(has(&rig, "by cohort b"));
        cr_assert(has(&rig, "by event final"));
        cr_assert(has(&rig, "by a draft"));
        cr_assert(has(&rig, "by a later draft"));
        cr_assert(eq(int, notes(&rig), 0));
        rig_stop(&rig);
}

/* A draft that another took the place of before anybody published it. */
Test(sweeper, a_draft_that_was_replaced_is_deleted_once_the_grace_time_is_over)
{
        struct rig rig = { .f = fixture_start() };

        fixture_create(&rig.f, "cup");
        draft(&rig, "cup", "default", "one");
        draft(&rig, "cup", "default", "one"); /* the same again replaces nothing */
        draft(&rig, "cup", "default", "two");
        run_until(rig.f.base, notes(&rig) == 1);
        sweep_with(&rig, 3600000);
        walk_twice(&rig);
        cr_assert(has(&rig, "one"), "not yet");
        cr_assert(eq(int, notes(&rig), 1));
        sweeper_destroy(rig.sweeper);
        sweep_with(&rig, 1);
        run_until(rig.f.base, rig.deleted == 1);
        cr_assert(not(has(&rig, "one")));
        cr_assert(has(&rig, "two"));
        rig_stop(&rig);
}

/* What came between a walk and its end: named again, or replaced again later. */
Test(sweeper, what_was_named_since_the_walk_began_is_not_deleted)
{
        static const char one[] =
            "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
        struct rig rig = { .f = fixture_start() };
        char *answer;

        fixture_create(&rig.f, "cup");
        draft(&rig, "cup", "default", "one");
        answer = test_redis_ask(rig.f.server, "FCALL", "kickoff1_sweep", "2", REPLACED,
                                "{" NS "}:body:"
                                "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
                                "2000", one, "0", NULL);
        cr_assert(eq(str, answer, "0"));
        free(answer);
        test_redis_do(rig.f.server, "HSET", REPLACED, one, "2001", NULL);
        answer = test_redis_ask(rig.f.server, "FCALL", "kickoff1_sweep", "2", REPLACED,
                                "{" NS "}:body:"
                                "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
                                "2000", one, "0", NULL);
        cr_assert(eq(str, answer, "0"));
        free(answer);
        cr_assert(has(&rig, "one"));
        cr_assert(eq(int, notes(&rig), 1));
        rig_stop(&rig);
}

Test(sweeper, more_than_fit_into_one_call_are_all_deleted)
{
        struct rig rig = { .f = fixture_start() };

        fixture_create(&rig.f, "cup");
        for (unsigned round = 0; round < 2; round++) {
                for (unsigned i = 0; i < 150; i++) {
                        char cohort[16], body[32];

                        snprintf(cohort, sizeof(cohort), "c%u", i);
                        snprintf(body, sizeof(body), "%u of round %u", i, round);
                        draft(&rig, "cup", cohort, body);
                }
                publish(&rig, "cup");
        }
        cr_assert(eq(int, notes(&rig), 150));
        sweep_with(&rig, 0);
        run_until(rig.f.base, rig.deleted == 150);
        cr_assert(not(has(&rig, "149 of round 0")));
        cr_assert(has(&rig, "149 of round 1"));
        rig_stop(&rig);
}

/* Whatever is not answered deletes nothing; and it ends while a walk is under way. */
Test(sweeper, a_refusal_ends_the_walk_and_the_next_one_begins_anew)
{
        struct rig rig = { .f = fixture_start() };

        fixture_create(&rig.f, "cup");
        draft(&rig, "cup", "default", "one");
        publish(&rig, "cup");
        draft(&rig, "cup", "default", "two");
        publish(&rig, "cup");
        test_redis_do(rig.f.server, "SET", "{" NS "}:drafts:cup", "no hash", NULL);
        sweep_with(&rig, 0);
        walk_twice(&rig);
        cr_assert(eq(int, rig.last, ERR_IO));
        cr_assert(has(&rig, "one"));
        test_redis_do(rig.f.server, "DEL", "{" NS "}:drafts:cup", NULL);
        run_until(rig.f.base, rig.deleted == 1);
        cr_assert(not(has(&rig, "one")));
        test_redis_pause(rig.f.server);
        event_base_loop(rig.f.base, EVLOOP_NONBLOCK);
        sweeper_destroy(rig.sweeper);
        rig.sweeper = NULL;
        test_redis_resume(rig.f.server);
        rig_stop(&rig);
}
