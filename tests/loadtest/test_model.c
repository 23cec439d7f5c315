#include "loadtest/model.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"

Test(model, shares_as_people_write_them)
{
        static const struct {
                const char *text;
                bool is_good;
                uint32_t share;
        } rows[] = { { "0", true, 0 },       { "0.1", true, 1000 }, { "10%", true, 1000 },
                     { "1/10", true, 1000 }, { "1", true, 10000 },  { "100%", true, 10000 },
                     { "2.5%", true, 250 },  { "1/3", true, 3333 }, { "", false, 0 },
                     { "-0.1", false, 0 },   { "1.1", false, 0 },   { "101%", false, 0 },
                     { "nan", false, 0 },    { "inf", false, 0 },   { "0.1x", false, 0 },
                     { "1/0", false, 0 },    { "3/2", false, 0 },   { "1/", false, 0 },
                     { "1/2/3", false, 0 },  { " 1", false, 0 },    { "%", false, 0 } };

        for (size_t i = 0; i < countof(rows); i++) {
                uint32_t share = 77;

                cr_expect(eq(int, model_parse_share(rows[i].text, &share), rows[i].is_good), "%s",
                          rows[i].text);
                cr_expect(eq(u32, share, rows[i].is_good ? rows[i].share : 77), "%s", rows[i].text);
        }
}

static void count_roles(const struct model *model, uint32_t first, uint32_t n, uint32_t step,
                        uint32_t counts[4])
{
        for (unsigned i = 0; i < 4; i++)
                counts[i] = 0;
        for (uint32_t i = 0; i < n; i++)
                counts[model_role(model, first + i * step)]++;
}

Test(model, shares_hold_for_any_run_of_devices_and_on_each_node)
{
        const struct model model = { .dead = 500, .slow = 1000 };
        static const struct {
                uint32_t first, n, step;
        } rows[] = {
                { 0, 10000, 1 }, { 15000, 1000, 1 }, { 0, 1000, 2 }, { 1, 1000, 3 }, { 0, 200, 1 }
        };

        for (size_t i = 0; i < countof(rows); i++) {
                uint32_t counts[4], n = rows[i].n, slack = n / 50 + 2;

                count_roles(&model, rows[i].first, n, rows[i].step, counts);
                cr_expect(counts[MODEL_DEAD] + slack >= n / 20 &&
                              counts[MODEL_DEAD] <= n / 20 + slack,
                          "row %zu: %u dead", i, counts[MODEL_DEAD]);
                cr_expect(counts[MODEL_SLOW] + slack >= n / 20 &&
                              counts[MODEL_SLOW] <= n / 20 + slack,
                          "row %zu: %u slow", i, counts[MODEL_SLOW]);
                cr_expect(counts[MODEL_STUCK] + slack >= n / 20 &&
                              counts[MODEL_STUCK] <= n / 20 + slack,
                          "row %zu: %u stuck", i, counts[MODEL_STUCK]);
        }
}

Test(model, nobody_and_everybody)
{
        const struct model nobody = { 0 }, all_dead = { .dead = MODEL_SHARE_WHOLE },
                           all_slow = { .slow = MODEL_SHARE_WHOLE };

        for (uint32_t i = 0; i < 5000; i++) {
                cr_assert(eq(int, model_role(&nobody, i), MODEL_BRISK));
                cr_assert(eq(int, model_role(&all_dead, i), MODEL_DEAD));
                cr_assert(model_role(&all_slow, i) == MODEL_SLOW ||
                          model_role(&all_slow, i) == MODEL_STUCK);
        }
}

Test(model, pauses_have_their_mean_and_their_bound)
{
        const struct model none = { 0 }, both = { .think_ms = 300, .jitter_ms = 200 };
        struct rng rng;
        double sum = 0;

        rng_seed(&rng, 1);
        for (unsigned i = 0; i < 20000; i++) {
                uint32_t pause = model_pause_ms(&both, &rng);

                cr_assert(le(u32, pause, 5 * 300 + 200));
                sum += pause;
        }
        sum /= 20000; /* an exponential cut at five means has 0.993 of its mean */
        cr_assert(sum > 380 && sum < 415, "mean %g", sum);
        cr_assert(eq(u32, model_pause_ms(&none, &rng), 0));
}
