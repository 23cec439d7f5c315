#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "loadtest/cohorts.h"

static const char *cohort_of(const char *list, unsigned number)
{
        static char text[2048], name[COHORT_MAX + 1];
        struct cohorts cohorts;

        strcpy(text, list);
        cr_assert(cohorts_parse(text, &cohorts), "%s", list);
        cohorts_name(&cohorts, number, name);
        return name;
}

static bool is_refused(const char *list)
{
        char text[2048];
        struct cohorts cohorts;

        strcpy(text, list);
        return !cohorts_parse(text, &cohorts);
}

Test(cohorts, devices_go_round_numbers_and_names)
{
        cr_assert(eq(str, (char *)cohort_of("0", 7), "default"));
        cr_assert(eq(str, (char *)cohort_of("5", 7), "c2"));
        cr_assert(eq(str, (char *)cohort_of("default,family,sports", 4), "family"));
        cr_assert(eq(str, (char *)cohort_of("tv", 4), "tv"));
}

Test(cohorts, what_is_neither_is_refused)
{
        char many[COHORTS_NAMED_MAX * 2 + 4] = "a";

        cr_assert(is_refused(""));
        cr_assert(is_refused("a,,b"));
        cr_assert(is_refused("a b"));
        cr_assert(not(is_refused("20000")));
        cr_assert(is_refused("20001"));
        cr_assert(is_refused("99999999999999999999"));
        for (int i = 1; i < COHORTS_NAMED_MAX; i++)
                strcat(many, ",a");
        cr_assert(not(is_refused(many)));
        strcat(many, ",a");
        cr_assert(is_refused(many));
}
