/* Sorts of devices: counted, told apart, and asked whom an entry is for. */
#include "gateway/audience.h"

#include <jansson.h>

#include "gateway/crowd.h"
#include "tests/gateway/target_fixture.h"

static uint16_t enter(struct audiences *audiences, const char *cohort, const char *platform)
{
        const char *const traits[TRAITS] = { cohort, platform };
        uint16_t audience;

        cr_assert(eq(int, audiences_enter(audiences, traits, &audience), OK));
        return audience;
}

static struct audiences *fresh(void)
{
        struct audiences *audiences;

        cr_assert(eq(int, audiences_create(&audiences), OK));
        return audiences;
}

Test(audience, of_one_sort_there_is_one_however_many_come_and_none_when_all_have_gone)
{
        struct audiences *audiences = fresh();
        uint16_t tv = enter(audiences, "a", "tv"), web = enter(audiences, "a", "web");

        cr_assert(ne(int, tv, web));
        cr_assert(eq(int, enter(audiences, "a", "tv"), tv));
        cr_assert(eq(int, enter(audiences, "a", NULL), enter(audiences, "a", "")));
        cr_assert(ne(int, enter(audiences, "atv", ""), tv), "words do not run together");
        cr_assert(eq(sz, audiences_n(audiences), 4));
        audiences_leave(audiences, tv);
        cr_assert(eq(sz, audiences_n(audiences), 4));
        audiences_leave(audiences, tv);
        cr_assert(eq(sz, audiences_n(audiences), 3));
        cr_assert(eq(int, enter(audiences, "b", "tv"), tv), "a free number is used again");
        audiences_destroy(audiences);
}

Test(audience, a_signal_reaches_the_sorts_that_it_names)
{
        struct audiences *audiences = fresh();
        struct entry *to_a = target_entry(5, "{\"cohorts\":[\"a\"]}");
        struct entry *to_all = target_entry(6, NULL);
        uint16_t a = enter(audiences, "a", "tv"), b = enter(audiences, "b", "tv");

        enter(audiences, "a", "web");
        enter(audiences, "a", "web");
        for (int again = 0; again < 2; again++) {
                cr_assert(audiences_meant(audiences, a, to_a));
                cr_assert(not(audiences_meant(audiences, b, to_a)));
                cr_assert(audiences_meant(audiences, b, to_all));
                cr_assert(audiences_meant(NULL, b, to_a), "nobody is told apart");
        }
        cr_assert(eq(u32, audiences_reach(audiences, to_a->to), 3));
        cr_assert(eq(u32, audiences_reach(audiences, NULL), 4));
        entry_unref(to_a);
        entry_unref(to_all);
        audiences_destroy(audiences);
}

Test(audience, an_answer_holds_for_one_log_and_one_sort)
{
        struct audiences *audiences = fresh();
        struct entry *to_a = target_entry(5, "{\"cohorts\":[\"a\"]}");
        struct entry *to_b = target_entry(5, "{\"cohorts\":[\"b\"]}");
        struct entry *later = target_entry(5 + 64, "{\"cohorts\":[\"b\"]}");
        uint16_t a = enter(audiences, "a", NULL);

        cr_assert(audiences_meant(audiences, a, to_a));
        cr_assert(not(audiences_meant(audiences, a, later)), "the same bit of another stretch");
        cr_assert(audiences_meant(audiences, a, to_a));
        audiences_forget(audiences); /* the log is another one */
        cr_assert(not(audiences_meant(audiences, a, to_b)));
        audiences_leave(audiences, a);
        cr_assert(eq(int, enter(audiences, "b", NULL), a));
        cr_assert(audiences_meant(audiences, a, to_b), "the number is another sort's now");
        entry_unref(to_a);
        entry_unref(to_b);
        entry_unref(later);
        audiences_destroy(audiences);
}

Test(audience, many_sorts_come_and_go_in_any_order)
{
        struct audiences *audiences = fresh();
        uint16_t numbers[500];
        const char *traits[TRAITS];
        size_t walk = 0, seen = 0;
        uint32_t sessions;
        char cohort[16];

        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < countof(numbers); i++) {
                        snprintf(cohort, sizeof(cohort), "c%u", i * 7919 % 1000);
                        numbers[i] = enter(audiences, cohort, NULL);
                }
                cr_assert(eq(sz, audiences_n(audiences), countof(numbers)));
                for (unsigned i = 0; round < 2 && i < countof(numbers); i++)
                        audiences_leave(audiences, numbers[(i * 31) % countof(numbers)]);
        }
        while (audiences_next(audiences, &walk, traits, &sessions)) {
                cr_assert(eq(u32, sessions, 1));
                cr_assert(eq(str, (char *)traits[TRAIT_APP], ""));
                seen++;
        }
        cr_assert(eq(sz, seen, countof(numbers)));
        audiences_destroy(audiences);
}

Test(audience, more_sorts_than_there_are_numbers_are_refused_and_the_others_stay_what_they_are)
{
        struct audiences *audiences = fresh();
        const char *traits[TRAITS] = { 0 };
        char cohort[16];
        uint16_t number;

        for (unsigned i = 0; i < AUDIENCES_MAX; i++) {
                snprintf(cohort, sizeof(cohort), "c%05u", i);
                if (enter(audiences, cohort, NULL) != i)
                        cr_assert(false, "%u has another number", i);
        }
        traits[TRAIT_COHORT] = "one-more";
        cr_assert(eq(int, audiences_enter(audiences, traits, &number), ERR_TOO_LARGE));
        cr_assert(eq(sz, audiences_n(audiences), AUDIENCES_MAX));
        cr_assert(eq(int, enter(audiences, "c00000", NULL), 0), "a sort that is there may grow");
        cr_assert(eq(int, enter(audiences, "c65534", NULL), 65534));
        audiences_leave(audiences, 777);
        cr_assert(eq(int, enter(audiences, "one-more", NULL), 777));
        audiences_destroy(audiences);
}

Test(audience, of_a_stretch_of_the_log_it_says_which_were_not_for_it)
{
        struct audiences *audiences = fresh();
        uint16_t a = enter(audiences, "a", NULL);
        struct ring *ring = target_ring();

        target_push(ring, 1, NULL);
        target_push(ring, 2, "{\"cohorts\":[\"b\"]}");
        target_push(ring, 3, "{\"cohorts\":[\"b\"]}");
        target_push(ring, 4, "{\"cohorts\":[\"a\"]}");
        cr_assert(eq(u64, audiences_missed(audiences, a, ring, 0, 4), 6)); /* 4-1, 4-2 */
        cr_assert(eq(u64, audiences_missed(audiences, a, ring, 2, 4), 2));
        cr_assert(eq(u64, audiences_missed(audiences, a, ring, 4, 4), 0));
        ring_destroy(ring);
        audiences_destroy(audiences);
}

static struct presence_audience row(const char *cohort, uint64_t devices)
{
        struct presence_audience made = { .devices = devices };

        strcpy(made.traits[TRAIT_COHORT], cohort);
        return made;
}

Test(crowd, adds_up_workers_and_lists_the_largest)
{
        const struct presence_audience first[] = { row("a", 5), row("b", 2) },
                                       second[] = { row("b", 9) };
        struct presence_audience many[PRESENCE_AUDIENCES_MAX];
        const struct presence_audience *rows;
        struct crowd *crowd;
        uint64_t others;
        char cohort[16];

        cr_assert(eq(int, crowd_create(2, &crowd), OK));
        cr_assert(zero(sz, crowd_sum(crowd, &rows, &others)));
        crowd_take(crowd, 0, first, 2, 3);
        crowd_take(crowd, 1, second, 1, 4);
        cr_assert(eq(sz, crowd_sum(crowd, &rows, &others), 2));
        cr_assert(eq(u64, others, 7));
        cr_assert(eq(str, (char *)rows[0].traits[TRAIT_COHORT], "b"));
        cr_assert(eq(u64, rows[0].devices, 11));
        cr_assert(eq(u64, rows[1].devices, 5));
        for (unsigned i = 0; i < countof(many); i++) {
                snprintf(cohort, sizeof(cohort), "m%u", i);
                many[i] = row(cohort, 100);
        }
        crowd_take(crowd, 1, many, countof(many), 0);
        cr_assert(eq(sz, crowd_sum(crowd, &rows, &others), PRESENCE_AUDIENCES_MAX));
        cr_assert(eq(u64, rows[0].devices, 100));
        cr_assert(eq(u64, others, 3 + 5 + 2), "what is not listed is counted");
        crowd_destroy(crowd);
}
