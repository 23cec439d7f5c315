/* fanout/event.c -- the rules, one function per command, and one table that says which command is
 * legal in which phase. Pure: the caller brings the time. How a record looks as text is record.c's
 * business. */
#include "fanout/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/utf8.h"

#define PAST_SLACK_MS 1000              /* clocks of producers and nodes differ by so much */
#define TIME_MAX_MS   253402300799999LL /* 9999-12-31T23:59:59.999Z: the end of RFC 3339 */

const char *const event_phase_name[PHASES] = { "scheduled", "live", "ended", "cancelled" };
const char *const command_kind_name[COMMANDS] = { "create", "start",   "delay",   "end",   "cancel",
                                                  "stage",  "refresh", "publish", "reopen" };

/* Which command does the work of a reserved stage key: `stage` to it is refused in its favour. */
static const enum command_kind command_for_phase[PHASES] = { COMMAND_DELAY, COMMAND_START,
                                                             COMMAND_END, COMMAND_CANCEL };

static const enum signal_kind signal_for_command[COMMANDS] = {
        [COMMAND_CREATE] = SIGNAL_CREATE,   [COMMAND_START] = SIGNAL_START,
        [COMMAND_DELAY] = SIGNAL_DELAY,     [COMMAND_END] = SIGNAL_END,
        [COMMAND_CANCEL] = SIGNAL_CANCEL,   [COMMAND_STAGE] = SIGNAL_STAGE,
        [COMMAND_REFRESH] = SIGNAL_REFRESH, [COMMAND_PUBLISH] = SIGNAL_REFRESH,
        [COMMAND_REOPEN] = SIGNAL_START, /* or, with a new planned start, SIGNAL_DELAY */
};

#define BIT(kind) (1u << (kind))

static const unsigned legal_in_phase[PHASES] = {
        [PHASE_SCHEDULED] = BIT(COMMAND_START) | BIT(COMMAND_DELAY) | BIT(COMMAND_CANCEL) |
                            BIT(COMMAND_STAGE) | BIT(COMMAND_REFRESH) | BIT(COMMAND_PUBLISH),
        [PHASE_LIVE] = BIT(COMMAND_END) | BIT(COMMAND_CANCEL) | BIT(COMMAND_STAGE) |
                       BIT(COMMAND_REFRESH) | BIT(COMMAND_PUBLISH),
        [PHASE_ENDED] = BIT(COMMAND_REOPEN),
        [PHASE_CANCELLED] = BIT(COMMAND_REOPEN),
};

unsigned event_legal(const struct event *event, int64_t now)
{
        unsigned legal = legal_in_phase[event->phase];

        /* Started, but devices still hold the stage back: this start can be taken back. A custom
         * stage that lies ahead is another matter, hence the look at the key. */
        if (event->phase == PHASE_LIVE && event->state.at > now &&
            strcmp(event->state.stage, event_phase_name[PHASE_LIVE]) == 0)
                legal |= BIT(COMMAND_DELAY);
        return legal;
}

static enum err refuse(struct refusal *refusal, enum err err, const char *fmt, ...)
    printf_like(3, 4);

static enum err refuse(struct refusal *refusal, enum err err, const char *fmt, ...)
{
        struct refusal made = { .err = err };
        va_list args;

        va_start(args, fmt);
        vsnprintf(made.why, sizeof(made.why), fmt, args);
        va_end(args);
        *refusal = made;
        return err;
}

static enum err refuse_phase(const struct event *event, enum command_kind kind, int64_t now,
                             struct refusal *refusal)
{
        const char *phase = event_phase_name[event->phase];
        unsigned legal = event_legal(event, now), n = 0;
        char list[96];
        struct buf names;

        buf_init_fixed(&names, list, sizeof(list));
        for (unsigned k = 0; k < COMMANDS; k++) {
                if (!(legal & BIT(k)))
                        continue;
                buf_str(&names, n++ > 0 ? ", " : "");
                buf_str(&names, command_kind_name[k]);
        }
        check(!names.failed && n > 0); /* all names together are shorter than the array */
        (void)refuse(refusal, ERR_CONFLICT, "the event is %s: %s is not possible now, but %s: %s",
                     phase, command_kind_name[kind], n > 1 ? "these are" : "this is", list);
        refusal->legal = legal;
        return ERR_CONFLICT;
}

/* Index of a reserved stage key, PHASES if it is free for producers. */
static unsigned reserved_stage(const char *stage)
{
        unsigned phase = 0;

        while (phase < PHASES && strcmp(stage, event_phase_name[phase]) != 0)
                phase++;
        return phase;
}

/* UTF-8 without control characters: it is shown on screens and in logs. */
static bool title_is_valid(const char *title, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                unsigned char byte = (unsigned char)title[i];

                if (byte < 0x20 || byte == 0x7F)
                        return false;
        }
        return len > 0 && len <= TITLE_MAX && utf8_is_valid(title, len);
}

static enum err check_stage_key(const char *stage, struct refusal *refusal)
{
        if (!name_is_valid(stage, strnlen(stage, STAGE_MAX + 1), STAGE_MAX))
                return refuse(refusal, ERR_INVALID,
                              "a stage is 1 to %d characters of A-Z a-z 0-9 . _ : ~ -", STAGE_MAX);

        unsigned phase = reserved_stage(stage);

        if (phase < PHASES)
                return refuse(refusal, ERR_INVALID,
                              "the stage `%s` is reserved: use the command `%s` to get there",
                              stage, command_kind_name[command_for_phase[phase]]);
        return OK;
}

static enum err check_stages(const struct event *event, struct refusal *refusal)
{
        if (event->n_stages > STAGES_MAX)
                return refuse(refusal, ERR_INVALID, "an event lists at most %d stages", STAGES_MAX);
        for (unsigned i = 0; i < event->n_stages; i++) {
                enum err err = check_stage_key(event->stages[i], refusal);

                if (err != OK)
                        return err;
                for (unsigned k = 0; k < i; k++) {
                        if (strcmp(event->stages[i], event->stages[k]) == 0)
                                return refuse(refusal, ERR_INVALID,
                                              "the stage `%s` is listed twice", event->stages[i]);
                }
        }
        return OK;
}

/* The parts of an event that its producer chooses; also what record.c holds a record to. */
static enum err check_chosen(const struct event *event, struct refusal *refusal)
{
        if (!name_is_valid(event->state.event, strnlen(event->state.event, EVENT_ID_MAX + 1),
                           EVENT_ID_MAX))
                return refuse(refusal, ERR_INVALID,
                              "an event id is 1 to %d characters of A-Z a-z 0-9 . _ : ~ -",
                              EVENT_ID_MAX);
        if (!title_is_valid(event->title, strnlen(event->title, TITLE_MAX + 1)))
                return refuse(refusal, ERR_INVALID,
                              "a title is 1 to %d bytes of UTF-8 without control characters",
                              TITLE_MAX);
        if (event->state.starts_at < 0 || event->state.starts_at > TIME_MAX_MS)
                return refuse(refusal, ERR_INVALID, "starts_at must lie in the years 1970 to 9999");
        return check_stages(event, refusal);
}

bool event_is_sound(const struct event *event)
{
        struct refusal ignored;

        if (check_chosen(event, &ignored) != OK)
                return false;
        if ((unsigned)event->phase >= PHASES || event->state.version == 0 || event->state.at < 0 ||
            event->state.at > TIME_MAX_MS)
                return false;
        if (strcmp(event->state.stage, event_phase_name[event->phase]) == 0)
                return true;
        return (event->phase == PHASE_SCHEDULED || event->phase == PHASE_LIVE) &&
               check_stage_key(event->state.stage, &ignored) == OK;
}

static void enter(struct event *event, enum event_phase phase, int64_t at)
{
        event->phase = phase;
        strcpy(event->state.stage, event_phase_name[phase]);
        event->state.at = at;
}

static enum err create(struct event *event, const struct command *command, int64_t now,
                       struct refusal *refusal)
{
        const struct event *wanted = command->create;

        check(wanted != NULL);

        enum err err = check_chosen(wanted, refusal);

        if (err != OK)
                return err;
        /* A start in the past is fine: an event that is already under way may be announced late. */
        strcpy(event->title, wanted->title);
        strcpy(event->state.event, wanted->state.event);
        event->state.starts_at = wanted->state.starts_at;
        event->auto_start = wanted->auto_start;
        event->n_stages = wanted->n_stages;
        memcpy(event->stages, wanted->stages, wanted->n_stages * sizeof(wanted->stages[0]));
        enter(event, PHASE_SCHEDULED, now);
        return OK;
}

/* When devices act: the time named, or the lead from now, or now. */
static enum err when(const struct command *command, int64_t now, struct refusal *refusal,
                     int64_t *ret_at)
{
        if (command->has_at && command->has_lead)
                return refuse(refusal, ERR_INVALID, "give at or lead, not both");
        if (command->has_lead) {
                if (command->lead_ms < 0 || command->lead_ms > EVENT_LEAD_MAX_MS)
                        return refuse(refusal, ERR_INVALID, "lead must be between 0 and 24 h");
                *ret_at = now + command->lead_ms;
                return OK;
        }
        if (!command->has_at) {
                *ret_at = now;
                return OK;
        }
        if (command->at < now - PAST_SLACK_MS)
                return refuse(refusal, ERR_INVALID,
                              "at lies in the past: leave it out to act at once");
        if (command->at > now + EVENT_LEAD_MAX_MS)
                return refuse(refusal, ERR_INVALID,
                              "at lies more than 24 h ahead: send the command nearer to it");
        *ret_at = command->at;
        return OK;
}

static enum err start(struct event *event, const struct command *command, int64_t now,
                      struct refusal *refusal)
{
        int64_t at = 0;
        enum err err = when(command, now, refusal, &at);

        if (err == OK)
                enter(event, PHASE_LIVE, at);
        return err;
}

static enum err stage(struct event *event, const struct command *command, int64_t now,
                      struct refusal *refusal)
{
        enum err err = check_stage_key(command->stage, refusal);
        int64_t at = 0;
        unsigned i = 0;

        if (err != OK)
                return err;
        while (i < event->n_stages && strcmp(command->stage, event->stages[i]) != 0)
                i++;
        if (event->n_stages > 0 && i == event->n_stages) {
                (void)refuse(refusal, ERR_INVALID,
                             "the event has no stage `%s`, only: ", command->stage);
                for (unsigned k = 0; k < event->n_stages; k++) {
                        size_t len = strlen(refusal->why);

                        snprintf(refusal->why + len, sizeof(refusal->why) - len, "%s%s",
                                 k > 0 ? ", " : "", event->stages[k]);
                }
                return ERR_INVALID;
        }
        err = when(command, now, refusal, &at);
        if (err != OK)
                return err;
        strcpy(event->state.stage, command->stage);
        event->state.at = at;
        return OK;
}

/* The planned start becomes another, and the stage `scheduled`. One that has passed would tell
 * nobody anything: it is refused, as a typing error. */
static enum err replan(struct event *event, int64_t starts_at, int64_t now, struct refusal *refusal)
{
        if (starts_at < now - PAST_SLACK_MS)
                return refuse(refusal, ERR_INVALID,
                              "the new start would lie in the past: give a later starts_at");
        if (starts_at > now + EVENT_DELAY_MAX_MS &&
            starts_at > event->state.starts_at + EVENT_DELAY_MAX_MS)
                return refuse(refusal, ERR_INVALID, "the new start lies more than 366 days ahead");
        if (starts_at > TIME_MAX_MS)
                return refuse(refusal, ERR_INVALID, "the new start lies beyond the year 9999");
        event->state.starts_at = starts_at;
        enter(event, PHASE_SCHEDULED, now);
        return OK;
}

/* What devices hold back is taken back. */
static enum err delay(struct event *event, const struct command *command, int64_t now,
                      struct refusal *refusal)
{
        int64_t starts_at = command->starts_at;

        if (command->has_by == command->has_starts_at)
                return refuse(refusal, ERR_INVALID, "give either by or starts_at");
        if (command->has_by) {
                if (command->by_ms <= 0 || command->by_ms > EVENT_DELAY_MAX_MS)
                        return refuse(refusal, ERR_INVALID,
                                      "by must be more than 0 and at most 366 days");
                starts_at = event->state.starts_at + command->by_ms;
        }
        return replan(event, starts_at, now, refusal);
}

/* It goes on at once, in the stage that every start begins with: which one it was in when it ended
 * is not kept, and its producer may name one next. */
static enum err reopen(struct event *event, const struct command *command, int64_t now,
                       struct refusal *refusal)
{
        if (command->has_starts_at)
                return replan(event, command->starts_at, now, refusal);
        enter(event, PHASE_LIVE, now);
        return OK;
}

/* Neither changes the stage, so `at` stays: a device must not act on the old stage a second time.
 */
static enum err refresh(struct event *event, const struct command *command, struct refusal *refusal)
{
        if (command->window_ms < 0 || command->window_ms > EVENT_WINDOW_MAX_MS)
                return refuse(refusal, ERR_INVALID, "window must be between 0 and 24 h");
        if (command->kind == COMMAND_PUBLISH)
                event->state.bundle++;
        return OK;
}

static enum err carry_out(struct event *event, const struct command *command, int64_t now,
                          struct refusal *refusal)
{
        switch (command->kind) {
        case COMMAND_CREATE:
                return create(event, command, now, refusal);
        case COMMAND_START:
                return start(event, command, now, refusal);
        case COMMAND_DELAY:
                return delay(event, command, now, refusal);
        case COMMAND_END:
                enter(event, PHASE_ENDED, now);
                return OK;
        case COMMAND_CANCEL:
                enter(event, PHASE_CANCELLED, now);
                return OK;
        case COMMAND_STAGE:
                return stage(event, command, now, refusal);
        case COMMAND_REFRESH:
        case COMMAND_PUBLISH:
                return refresh(event, command, refusal);
        case COMMAND_REOPEN:
                return reopen(event, command, now, refusal);
        case COMMANDS:
                break;
        }
        check(command->kind < COMMANDS);
        return ERR_INVALID;
}

enum err event_apply(const struct event *before, const struct command *command, int64_t now,
                     struct event *ret_after, struct signal *ret_signal,
                     struct refusal *ret_refusal)
{
        struct event after = { 0 };
        enum err err;

        if (before == NULL && command->kind != COMMAND_CREATE)
                return refuse(ret_refusal, ERR_NOT_FOUND,
                              "there is no such event: create it first");
        if (before != NULL && command->kind == COMMAND_CREATE)
                return refuse(
                    ret_refusal, ERR_EXISTS,
                    "there is an event with this id: choose another id, or change that one");
        if (before != NULL && !(event_legal(before, now) & BIT(command->kind)))
                return refuse_phase(before, command->kind, now, ret_refusal);

        if (before != NULL)
                after = *before;
        err = carry_out(&after, command, now, ret_refusal);
        if (err != OK)
                return err;
        after.state.version++;

        *ret_signal = (struct signal){ .kind = signal_for_command[command->kind],
                                       .state = after.state,
                                       .sent = now };
        if (command->kind == COMMAND_REOPEN && after.phase == PHASE_SCHEDULED)
                ret_signal->kind = SIGNAL_DELAY;
        if (ret_signal->kind == SIGNAL_REFRESH)
                ret_signal->window_ms =
                    command->window_ms > 0 ? command->window_ms : EVENT_WINDOW_DEFAULT_MS;
        *ret_after = after;
        return OK;
}
