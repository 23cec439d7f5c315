/* fanout/event.h -- what a live event is, and what may be done to it: a pure function from (event,
 * command, now) to the event after it and the signal that tells devices, or a refusal that names what
 * would be legal. Knows nothing of Redis, HTTP or clocks; the Redis function only compares versions.
 *
 *                 stage, refresh, delay            stage, refresh
 *                    ┌──────┐                       ┌──────┐
 *   create ──► SCHEDULED ◄──┘ ──────── start ────► LIVE ◄──┘ ──── end ────► ENDED
 *                 ▲   │                             │ │
 *                 │   └────────── cancel ──────┐    │ └── cancel ──► CANCELLED
 *                 └── delay, while the start lies ahead ┘        (from SCHEDULED too)
 *
 *   ENDED, CANCELLED ── reopen ──► LIVE, told as `start`; with a new planned start SCHEDULED, told as `delay`
 *
 * A start with `at` or `lead` makes the event LIVE at once, with `at` in the future: devices hold the
 * new stage until then. Until `at` has come, `delay` takes it back to SCHEDULED. Devices need no word
 * for reopening: to them an event starts, or is put off, whatever was before. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/message.h"
#include "proto/names.h"

enum event_phase { PHASE_SCHEDULED, PHASE_LIVE, PHASE_ENDED, PHASE_CANCELLED, PHASES };
extern const char *const event_phase_name[PHASES]; /* also the stage keys these phases begin with */

struct event {
        char title[TITLE_MAX + 1];
        enum event_phase phase;
        uint64_t epoch; /* of the log, when it was last changed: orders records of two histories; 0 = none */
        struct event_state state; /* id, stage, at, starts_at, version, bundle: what devices see */
        bool auto_start;
        unsigned n_stages;
        char stages[STAGES_MAX][STAGE_MAX + 1]; /* custom stage keys; none listed = any valid key goes */
};

enum command_kind {
        COMMAND_CREATE,
        COMMAND_START,
        COMMAND_DELAY,
        COMMAND_END,
        COMMAND_CANCEL,
        COMMAND_STAGE,
        COMMAND_REFRESH, /* tell devices again to compare their bundle, spread over window_ms */
        COMMAND_PUBLISH, /* drafts become current: bundle + 1, told as a `refresh` signal */
        COMMAND_REOPEN,  /* an event that was over goes on, or gets a new planned start */
        COMMANDS
};
extern const char *const command_kind_name[COMMANDS]; /* "create", "start", ..., "reopen" */

struct command {
        enum command_kind kind;
        /* CREATE */
        const struct event *create; /* title, state.event, state.starts_at, stages, auto_start; borrowed */
        /* START, STAGE: when devices act. At most one of the two; neither = now. */
        bool has_at;
        int64_t at;
        bool has_lead;
        int64_t lead_ms;
        /* DELAY: exactly one of the two. REOPEN: starts_at, or nothing */
        bool has_by;
        int64_t by_ms;
        bool has_starts_at;
        int64_t starts_at;
        /* STAGE */
        char stage[STAGE_MAX + 1];
        /* REFRESH, PUBLISH; 0 = none given */
        int64_t window_ms;
};

#define EVENT_LEAD_MAX_MS   (24 * 3600 * 1000LL)      /* how far ahead a start may be announced */
#define EVENT_DELAY_MAX_MS  (366 * 24 * 3600 * 1000LL)
#define EVENT_WINDOW_MAX_MS (24 * 3600 * 1000LL)
#define EVENT_WINDOW_DEFAULT_MS 60000LL               /* refresh and publish without a window */

struct refusal { /* why a command was not carried out */
        enum err err;            /* INVALID: the command itself; CONFLICT: not now; EXISTS, NOT_FOUND */
        char why[160];           /* a sentence for the producer, saying what to do */
        unsigned legal;          /* CONFLICT: bit set of 1u << command_kind that are legal now */
};

/* `before` is NULL for an event that does not exist. On OK, *ret_after is the event with version + 1 and
 * *ret_signal its signal, all but the token. On any other err, *ret_refusal tells, the rest is untouched. */
must_check enum err event_apply(const struct event *before, const struct command *command, int64_t now,
                                struct event *ret_after, struct signal *ret_signal,
                                struct refusal *ret_refusal);

/* What may be done to it now: bit set of 1u << command_kind. */
unsigned event_legal(const struct event *event, int64_t now);

/* Could event_apply have made this? Ids, title, stages and times within their limits, stage and phase
 * fitting each other. What is read from outside is held to it. */
bool event_is_sound(const struct event *event);

/* The event's record as Redis and the admin API hold it: JSON, times in Unix ms. malloc'd; NULL = no
 * memory. event_parse is strict: ERR_INVALID for anything event_format would not write (unknown members
 * are skipped). */
char *event_format(const struct event *event);
must_check enum err event_parse(const char *json, size_t len, struct event *ret_event);
