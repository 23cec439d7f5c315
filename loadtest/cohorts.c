/* loadtest/cohorts.c -- see the header. */
#include "loadtest/cohorts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cohorts_parse(char *text, struct cohorts *ret_cohorts)
{
        char *rest = text, *one;

        *ret_cohorts = (struct cohorts){ 0 };
        if (text[0] != '\0' && text[strspn(text, "0123456789")] == '\0') {
                unsigned long n = strtoul(text, NULL, 10);

                ret_cohorts->n = (unsigned)n;
                return n <= COHORTS_MAX;
        }
        while ((one = strsep(&rest, ",")) != NULL) {
                if (ret_cohorts->n == COHORTS_NAMED_MAX ||
                    !name_is_valid(one, strlen(one), COHORT_MAX))
                        return false;
                ret_cohorts->names[ret_cohorts->n++] = one;
        }
        return true;
}

void cohorts_name(const struct cohorts *cohorts, unsigned number, char out[COHORT_MAX + 1])
{
        if (cohorts->n == 0)
                strcpy(out, COHORT_DEFAULT);
        else if (cohorts->names[0] == NULL)
                snprintf(out, COHORT_MAX + 1, "c%u", number % cohorts->n);
        else
                strcpy(out, cohorts->names[number % cohorts->n]);
}
