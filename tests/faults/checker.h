/* tests/faults/checker.h -- judges a ledger: was what the contract promises kept, whatever happened
 * in between? Pure. Each finding is a sentence that begins with the line of the contract it breaks.
 *
 *   line 1  what was acknowledged is in the log at the end (if the log was read)
 *   line 2  what was refused, and never asked again, reached nobody
 *   line 3  one request key, one signal; the same key gives the same answer; what may have been done is
 *           not called refused
 *   line 4  numbers rise by one within an epoch; the same number carries the same tag, everywhere
 *   line 5  every acknowledged signal arrived at every device that stayed or resumed,
 *   line 6  ... or a reset came in its stead, whose state is not older than the signal
 *   line 7  nothing goes backwards without a reset, and nothing within an epoch even with one
 * and at the end each device knows what GET /v1/events says (lines 5 and 6). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/faults/ledger.h"

#define FINDINGS_MAX 16

struct findings {
        unsigned n; /* all of them; only the first FINDINGS_MAX have a text */
        char text[FINDINGS_MAX][240];
};

struct checker_rules {
        /* The fault takes acknowledged signals away (a failover in `fsync` mode, a lost disk):
         * allowed by line 15, if it is told: a signal that is missing is forgiven if a later reset
         * of that device, or of the whole log, is of another epoch. */
        bool loss_may_be_told;
        /* Two primaries at once, or a tail that was lost and written anew before any node looked:
         * one number then has two tags. Allowed if it is told, which lines 5 to 7 of each device
         * see to. */
        bool numbers_may_fork;
};

/* rules NULL = all strict. */
void checker_judge(const struct ledger *ledger, const struct checker_rules *rules,
                   struct findings *ret_findings);
/* For figures: acknowledged signals, signals and resets that devices had, requests of unknown
 * outcome. */
struct checker_counts {
        unsigned acknowledged, unknown, refused, devices, signals, resets;
};
struct checker_counts checker_count(const struct ledger *ledger);
