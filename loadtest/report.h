/* loadtest/report.h -- what a rehearsal came to, in words and as JSON, and whether it passed.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "loadtest/swarm.h"

struct report {
        const char *event;
        const char *encodings; /* "json", "msgpack", "both" */
        uint32_t devices;
        unsigned processes;
        bool interrupted; /* Ctrl-C: what had not happened yet is no failure */
        bool no_prefetch;
        bool is_started;                  /* the event was started by this run */
        bool is_complete;                 /* every process told its result */
        bool is_log_known;                /* the log could be read to compare with */
        uint64_t connect_us, prefetch_us; /* from the beginning until the last device had it */
        unsigned stages;                  /* stage signals after the start */
        uint64_t foreign_to_log;          /* tokens that devices saw and the log does not have */
        seqno first_seq, last_seq;        /* of the log as compared; 0 = empty */
        struct token head;
        const char *trouble; /* the sentence that stopped the run early; NULL = none */
        struct swarm_result result;
};

uint64_t report_lost(const struct report *report);
bool report_passed(const struct report *report);
void report_text(const struct report *report, struct buf *out);
/* The parts of that: all but the last line, and what in it says why it failed. *separator is what
 * goes before the next reason. */
void report_body(const struct report *report, struct buf *out);
void report_reasons(const struct report *report, struct buf *out, const char **separator);
void report_json(const struct report *report, struct buf *out);
struct json_t;
struct json_t *report_object(const struct report *report);
extern const char *const report_timing_name[TIMINGS]; /* keys of the JSON */
