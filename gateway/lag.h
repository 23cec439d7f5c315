/* gateway/lag.h -- how far behind a worker's loop is. Two things make it late: a turn that takes
 * long (then its tick comes late), and more ready sockets than a turn serves (then ticks are
 * punctual, and sockets wait for many turns). The first is seen from the tick; the second by a
 * probe, a socket of our own that joins the queue of ready ones and tells how long it took to come
 * to the front.
 *
 * What counts is the least of the last second, as in CoDel (Nichols and Jacobson, Controlling Queue
 * Delay, ACM Queue 2012): a burst, a pause of the machine, one long turn are caught up with; a
 * queue that has not been empty for a second is not. Pure; one worker's thread. Times: monotonic
 * ms, > 0. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LAG_EVERY_MS 250 /* a reading */
#define LAG_READINGS 4   /* a second */

struct lag {
        uint64_t due_ms;   /* of the next tick; 0 = no tick runs */
        uint64_t read_ms;  /* of the last reading */
        uint64_t probe_ms; /* when the probe joined the queue; 0 = it is not in it */
        uint32_t worst_ms; /* since the last reading */
        uint32_t recent_ms[LAG_READINGS];
        unsigned n; /* readings so far */
};

/* Ticks begin, `tick_ms` apart: nothing is known of before. */
void lag_begin(struct lag *lag, uint64_t now_ms, unsigned tick_ms);
/* A tick. True: it is time for a reading. */
bool lag_tick(struct lag *lag, uint64_t now_ms, unsigned tick_ms);
/* True: the probe is to be sent now. */
bool lag_probe(struct lag *lag, uint64_t now_ms);
void lag_probe_seen(struct lag *lag, uint64_t now_ms);
/* Takes a reading. Returns the least of the last second; 0 during the first. */
uint32_t lag_read(struct lag *lag, uint64_t now_ms);
