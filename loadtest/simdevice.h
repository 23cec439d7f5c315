/* loadtest/simdevice.h -- one simulated device's view of the delivery contract: its place in the
 * log, and whether what it is sent continues from there. Decides what a message means (next,
 * repeat, gap, out of order, foreign); knows nothing of sockets, clocks or encodings. Pure.
 *
 *   simdevice_open      a connection was made: say hello to come
 *   simdevice_hello     recovered: the place stands; otherwise a reset must come before any signal
 *   simdevice_reset     the place is what the reset says
 *   simdevice_signal    the verdict below
 *
 * A device keeps going after a flaw, from the newest number it has, so that one gap counts once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loadtest/witness.h"
#include "proto/message.h"
#include "proto/token.h"

#define SIMDEVICE_RETENTION 10000 /* signals: whoever is no further behind is replayed, line 5 */

enum simdevice_phase {
        SIM_OPENED,    /* hello has not come on this connection */
        SIM_UNSETTLED, /* hello said "not recovered": reset must be next */
        SIM_FOLLOWING
};

struct simdevice {          /* zero-filled: has never been connected */
        struct token place; /* newest it holds; epoch 0: none */
        seqno seen_here;    /* newest on this connection, by signal; 0: none */
        uint8_t phase;
        bool asked_to_resume; /* the connection was opened with a token */
        bool flawed;          /* something below was not as promised, at least once */
};

enum simdevice_verdict {
        SIM_NEXT,     /* continues from its place */
        SIM_REPEAT,   /* has it already: allowed (contract line 5, at least once) */
        SIM_GAP,      /* numbers are missing before it: lost, line 6 */
        SIM_DISORDER, /* lower than one seen on this connection: line 4 */
        SIM_FOREIGN,  /* another epoch, or a known number with another tag: line 7 */
        SIM_EARLY     /* before hello, or before the reset that hello announced */
};

struct simtally {           /* of many devices together */
        uint64_t delivered; /* NEXT, and the newest side of a GAP */
        uint64_t repeats;
        uint64_t missing; /* numbers skipped by gaps: lost */
        uint64_t disorder, foreign, early;
        uint64_t resets[RESET_REASONS]; /* after the first one */
        uint64_t resets_unexplained;    /* that no promise allows: see simdevice_reset() */
        uint64_t covered;               /* numbers that a reset stood for: not lost, line 6 */
};

void simdevice_open(struct simdevice *device);
void simdevice_hello(struct simdevice *device, const struct hello *hello, struct simtally *tally);
/* Unexplained, when the device had a place: `new`; back in its own epoch without a fork; `trimmed`
 * although it was within retention; `unknown` although it was of the same epoch. */
void simdevice_reset(struct simdevice *device, enum reset_reason reason, const struct token *token,
                     struct witness *witness, struct simtally *tally);
enum simdevice_verdict simdevice_signal(struct simdevice *device, const struct token *token,
                                        struct witness *witness, struct simtally *tally);
/* Numbers still missing for it to be at `head`: 0 when there or beyond, 1 when in another epoch or
 * nowhere. */
uint64_t simdevice_behind(const struct simdevice *device, const struct token *head);
