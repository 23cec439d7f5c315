/* loadtest/cohorts.h -- which cohort a simulated device belongs to: device n is in cohort n modulo
 * their number. Written as a number (c0, c1, ...) or as names. */
#pragma once

#include <stdbool.h>

#include "proto/names.h"

#define COHORTS_MAX       20000 /* as a number */
#define COHORTS_NAMED_MAX 64    /* as names */

struct cohorts {
        unsigned n;                           /* 0 = all in `default` */
        const char *names[COHORTS_NAMED_MAX]; /* names[0] NULL: they are c0, c1, ... */
};

/* "0", "5", "default,family,sports". `text` is cut into pieces and must outlive *ret_cohorts. False
 * for anything else; *ret_cohorts is then undefined. */
bool cohorts_parse(char *text, struct cohorts *ret_cohorts);
/* The cohort of device `number`. */
void cohorts_name(const struct cohorts *cohorts, unsigned number, char out[COHORT_MAX + 1]);
