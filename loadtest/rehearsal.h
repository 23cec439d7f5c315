/* loadtest/rehearsal.h -- the order of a rehearsal: event, herd, prefetch, start, stages, proof. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "loadtest/admin.h"
#include "loadtest/net.h"
#include "loadtest/report.h"
#include "loadtest/swarm.h"

struct rehearsal {
        uint32_t devices;
        unsigned stages;     /* stage signals after the start */
        int64_t patience_ms; /* without any progress */
        bool hold;
        uint32_t bundle_bytes; /* of an event that is made here */
        struct admin admin;
        struct swarm_options swarm;        /* all but what fleet_start sets */
        const volatile sig_atomic_t *stop; /* Ctrl-C */
};

/* ERR_UNAVAILABLE: no node or no admin API there; ERR_CONFLICT: the event cannot be started any
 * more. Both before any device exists, rehearsal->admin.why tells. OK otherwise: *ret_report tells
 * how it went. Texts in the report are borrowed from the rehearsal. */
must_check enum err rehearsal_run(struct rehearsal *rehearsal, struct report *ret_report);
