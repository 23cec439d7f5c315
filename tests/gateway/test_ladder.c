/* What ladder.h promises: at once up, slowly down, by the watermark that asks for it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "gateway/ladder.h"

/* A gauge at `value`, the others at rest. */
static struct ladder_reading reading(enum ladder_gauge gauge, uint32_t value)
{
        struct ladder_reading reading = { 0 };

        reading.at[gauge] = value;
        return reading;
}

static bool read_at(struct ladder *ladder, enum ladder_gauge gauge, uint32_t value, uint64_t now_ms)
{
        struct ladder_reading now = reading(gauge, value);

        return ladder_read(ladder, &now, now_ms);
}

Test(ladder, prefetch_goes_first_then_newcomers_then_resumes)
{
        for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES; gauge++) {
                uint32_t prefetch = ladder_mark(gauge, LADDER_NO_PREFETCH);
                uint32_t newcomers = ladder_mark(gauge, LADDER_NO_NEWCOMERS);
                uint32_t resumes = ladder_mark(gauge, LADDER_NO_RESUMES);

                cr_assert(lt(u32, prefetch, newcomers));
                cr_assert(lt(u32, newcomers, resumes));
        }
        for (enum ladder_step step = 0; step < LADDER_STEPS; step++) {
                struct ladder ladder = { .step = step };

                cr_assert(eq(int, ladder_sheds(&ladder, LADDER_NO_PREFETCH), step >= 1));
                cr_assert(eq(int, ladder_sheds(&ladder, LADDER_NO_NEWCOMERS), step >= 2));
                cr_assert(eq(int, ladder_sheds(&ladder, LADDER_NO_RESUMES), step >= 3));
        }
}

Test(ladder, each_mark_is_reached_at_it_and_not_one_below)
{
        for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES; gauge++)
                for (enum ladder_step step = 1; step < LADDER_STEPS; step++) {
                        uint32_t mark = ladder_mark(gauge, step);
                        struct ladder ladder;

                        ladder_init(&ladder);
                        read_at(&ladder, gauge, mark - 1, 1000);
                        cr_assert(eq(int, ladder.step, step - 1));
                        ladder_init(&ladder);
                        cr_assert(read_at(&ladder, gauge, mark, 1000));
                        cr_assert(eq(int, ladder.step, step));
                        cr_assert(eq(int, ladder.moved_by, gauge));
                        cr_assert(eq(u64, ladder.since_ms, 1000));
                        ladder_init(&ladder);
                        read_at(&ladder, gauge, mark + 1, 1000);
                        cr_assert(eq(int, ladder.step, step));
                }
}

Test(ladder, goes_up_several_steps_at_once_and_names_the_highest_gauge)
{
        struct ladder_reading now = { 0 };
        struct ladder ladder;

        ladder_init(&ladder);
        now.at[LADDER_LAG] = ladder_mark(LADDER_LAG, LADDER_NO_PREFETCH);
        now.at[LADDER_MEMORY] = UINT32_MAX;
        cr_assert(ladder_read(&ladder, &now, 5));
        cr_assert(eq(int, ladder.step, LADDER_NO_RESUMES));
        cr_assert(eq(int, ladder.moved_by, LADDER_MEMORY));
}

Test(ladder, comes_down_one_step_at_a_time_each_after_a_calm_of_its_own)
{
        struct ladder ladder;
        uint64_t now_ms = 1000;

        ladder_init(&ladder);
        read_at(&ladder, LADDER_LAG, 10000, now_ms);
        for (enum ladder_step step = LADDER_NO_RESUMES; step > LADDER_CALM; step--) {
                uint64_t begin_ms = now_ms += 250;

                cr_assert(not(read_at(&ladder, LADDER_LAG, 0, begin_ms)));
                cr_assert(not(read_at(&ladder, LADDER_LAG, 0, begin_ms + LADDER_CALM_MS - 1)));
                cr_assert(eq(int, ladder.step, step));
                now_ms = begin_ms + LADDER_CALM_MS;
                cr_assert(read_at(&ladder, LADDER_LAG, 0, now_ms));
                cr_assert(eq(int, ladder.step, step - 1));
                cr_assert(eq(int, ladder.moved_by, LADDER_LAG));
        }
        cr_assert(not(read_at(&ladder, LADDER_LAG, 0, now_ms + 100000)));
}

Test(ladder, one_reading_that_is_not_clear_begins_the_calm_anew)
{
        for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES; gauge++) {
                uint32_t clear = ladder_clear(gauge, LADDER_NO_NEWCOMERS);
                struct ladder ladder;

                ladder_init(&ladder);
                read_at(&ladder, gauge, ladder_mark(gauge, LADDER_NO_NEWCOMERS), 1000);
                read_at(&ladder, gauge, clear - 1, 2000);
                cr_assert(not(read_at(&ladder, gauge, clear, 3999)));
                read_at(&ladder, gauge, clear - 1, 4000);
                cr_assert(not(read_at(&ladder, gauge, clear - 1, 4000 + LADDER_CALM_MS - 1)));
                cr_assert(read_at(&ladder, gauge, clear - 1, 4000 + LADDER_CALM_MS));
                cr_assert(eq(int, ladder.step, LADDER_NO_PREFETCH));
        }
}

/* To and fro over a mark, four times a second, for a minute: one step, and no other. */
Test(ladder, a_gauge_that_wavers_about_a_mark_does_not_move_it_to_and_fro)
{
        for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES; gauge++)
                for (enum ladder_step step = 1; step < LADDER_STEPS; step++) {
                        uint32_t mark = ladder_mark(gauge, step), clear = ladder_clear(gauge, step);
                        unsigned changes = 0;
                        struct ladder ladder;

                        cr_assert(lt(u32, clear, mark));
                        ladder_init(&ladder);
                        for (unsigned i = 0; i < 240; i++)
                                changes +=
                                    read_at(&ladder, gauge, i % 2 ? clear : mark, 1000 + 250 * i);
                        cr_assert(eq(uint, changes, 1));
                        cr_assert(eq(int, ladder.step, step));
                }
}

Test(ladder, another_gauge_holds_the_step_and_is_named_for_it)
{
        struct ladder_reading now = { 0 };
        struct ladder ladder;

        ladder_init(&ladder);
        now.at[LADDER_LAG] = ladder_mark(LADDER_LAG, LADDER_NO_PREFETCH);
        ladder_read(&ladder, &now, 1000);
        now.at[LADDER_LAG] = 0;
        now.at[LADDER_MEMORY] = ladder_mark(LADDER_MEMORY, LADDER_NO_PREFETCH);
        for (unsigned i = 1; i < 100; i++)
                cr_assert(not(ladder_read(&ladder, &now, 1000 + 250 * i)));
        cr_assert(eq(int, ladder.moved_by, LADDER_MEMORY));
}

Test(ladder, worse_on_the_way_down_goes_up_at_once)
{
        struct ladder ladder;

        ladder_init(&ladder);
        read_at(&ladder, LADDER_MEMORY, 1000, 1000);
        read_at(&ladder, LADDER_MEMORY, 0, 1250);
        read_at(&ladder, LADDER_MEMORY, 0, 1250 + LADDER_CALM_MS);
        cr_assert(eq(int, ladder.step, LADDER_NO_NEWCOMERS));
        cr_assert(read_at(&ladder, LADDER_LAG, 100000, 1500 + LADDER_CALM_MS));
        cr_assert(eq(int, ladder.step, LADDER_NO_RESUMES));
        cr_assert(eq(int, ladder.moved_by, LADDER_LAG));
}
