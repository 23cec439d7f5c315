/* The event rules: every command in every phase, and each limit. */
#include "fanout/event.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define NOW 1790000000000LL

static struct event wanted(void)
{
        struct event event = { .title = "Cup final", .state = { .event = "final" } };

        event.state.starts_at = NOW + 3600000;
        return event;
}

/* In each phase as commands lead there; LIVE_AHEAD: started, but devices still hold it back. */
enum situation { NONE, SCHEDULED, LIVE_AHEAD, LIVE, ENDED, CANCELLED, SITUATIONS };

static struct event in_situation(enum situation situation)
{
        struct event event = wanted(), after;
        struct signal signal;
        struct refusal refusal;
        struct command commands[2] = { { .kind = COMMAND_CREATE, .create = &event } };
        unsigned n = 1;

        if (situation == LIVE || situation == ENDED)
                commands[n++] = (struct command){ .kind = COMMAND_START };
        if (situation == LIVE_AHEAD)
                commands[n++] =
                    (struct command){ .kind = COMMAND_START, .has_lead = true, .lead_ms = 60000 };
        if (situation == CANCELLED)
                commands[n++] = (struct command){ .kind = COMMAND_CANCEL };
        for (unsigned i = 0; i < n; i++) {
                struct event before = event;

                commands[0].create = &before;
                cr_assert(eq(int,
                             event_apply(i == 0 ? NULL : &before, &commands[i], NOW - 1000, &after,
                                         &signal, &refusal),
                             OK));
                event = after;
        }
        if (situation == ENDED) {
                struct command end = { .kind = COMMAND_END };

                cr_assert(
                    eq(int, event_apply(&event, &end, NOW - 500, &after, &signal, &refusal), OK));
                event = after;
        }
        return event;
}

static struct command sample(enum command_kind kind, const struct event *create)
{
        struct command command = { .kind = kind, .create = create };

        if (kind == COMMAND_DELAY) {
                command.has_by = true;
                command.by_ms = 900000;
        }
        if (kind == COMMAND_STAGE)
                strcpy(command.stage, "halftime");
        return command;
}

struct row {
        enum err err;
        const char *stage;
        bool at_now; /* else unchanged */
};

#define NO                                \
        {                                 \
                ERR_CONFLICT, NULL, false \
        }
#define MISSING                            \
        {                                  \
                ERR_NOT_FOUND, NULL, false \
        }

static const struct row table[SITUATIONS][COMMANDS] = {
        [NONE] = { { OK, "scheduled", true },
                   MISSING,
                   MISSING,
                   MISSING,
                   MISSING,
                   MISSING,
                   MISSING,
                   MISSING,
                   MISSING },
        [SCHEDULED] = { { ERR_EXISTS, NULL, false },
                        { OK, "live", true },
                        { OK, "scheduled", true },
                        NO,
                        { OK, "cancelled", true },
                        { OK, "halftime", true },
                        { OK, "scheduled", false },
                        { OK, "scheduled", false },
                        NO },
        [LIVE_AHEAD] = { { ERR_EXISTS, NULL, false },
                         NO,
                         { OK, "scheduled", true },
                         { OK, "ended", true },
                         { OK, "cancelled", true },
                         { OK, "halftime", true },
                         { OK, "live", false },
                         { OK, "live", false },
                         NO },
        [LIVE] = { { ERR_EXISTS, NULL, false },
                   NO,
                   NO,
                   { OK, "ended", true },
                   { OK, "cancelled", true },
                   { OK, "halftime", true },
                   { OK, "live", false },
                   { OK, "live", false },
                   NO },
        [ENDED] = { { ERR_EXISTS, NULL, false }, NO, NO, NO, NO, NO, NO, NO, { OK, "live", true } },
        [CANCELLED] = { { ERR_EXISTS, NULL, false },
                        NO,
                        NO,
                        NO,
                        NO,
                        NO,
                        NO,
                        NO,
                        { OK, "live", true } },
};

Test(event, every_command_in_every_phase_does_what_the_table_says)
{
        struct event create = wanted();

        for (unsigned s = 0; s < SITUATIONS; s++) {
                unsigned legal = 0;

                for (unsigned k = 0; k < COMMANDS; k++)
                        legal |= table[s][k].err == OK && k != COMMAND_CREATE ? 1u << k : 0;
                for (unsigned k = 0; k < COMMANDS; k++) {
                        const struct row *row = &table[s][k];
                        struct event before = in_situation((enum situation)s), after = { 0 };
                        struct command command = sample((enum command_kind)k, &create);
                        struct signal signal = { .sent = -1 };
                        struct refusal refusal = { 0 };
                        enum err err = event_apply(s == NONE ? NULL : &before, &command, NOW,
                                                   &after, &signal, &refusal);

                        cr_assert(eq(int, err, row->err), "situation %u, %s: %s", s,
                                  command_kind_name[k], refusal.why);
                        if (err == OK) {
                                cr_assert(eq(str, after.state.stage, (char *)row->stage));
                                cr_assert(
                                    eq(i64, after.state.at, row->at_now ? NOW : before.state.at));
                                cr_assert(eq(u64, after.state.version,
                                             s == NONE ? 1 : before.state.version + 1));
                                cr_assert(eq(i64, signal.sent, NOW));
                                cr_assert(eq(str, signal.state.stage, after.state.stage));
                                cr_assert(eq(u64, signal.state.version, after.state.version));
                                cr_assert(eq(i64, signal.state.at, after.state.at));
                                cr_assert(event_is_sound(&after));
                                continue;
                        }
                        cr_assert(eq(i64, signal.sent, -1), "touched on a refusal");
                        cr_assert(eq(int, refusal.err, err));
                        cr_assert(eq(uint, refusal.legal, err == ERR_CONFLICT ? legal : 0));
                        cr_assert(gt(sz, strlen(refusal.why), 10));
                }
        }
}

static struct command reopen_at(int64_t starts_at)
{
        return (struct command){ .kind = COMMAND_REOPEN,
                                 .has_starts_at = true,
                                 .starts_at = starts_at };
}

Test(event, reopened_it_goes_on_at_once_and_is_told_as_a_start)
{
        for (unsigned s = ENDED; s <= CANCELLED; s++) {
                struct event before = in_situation((enum situation)s), after;
                struct command reopen = { .kind = COMMAND_REOPEN };
                struct signal signal;
                struct refusal refusal;

                cr_assert(
                    eq(int, event_apply(&before, &reopen, NOW, &after, &signal, &refusal), OK));
                cr_assert(eq(int, after.phase, PHASE_LIVE));
                cr_assert(eq(int, signal.kind, SIGNAL_START));
                cr_assert(eq(i64, after.state.at, NOW));
                cr_assert(eq(i64, after.state.starts_at, before.state.starts_at));
        }
}

Test(event, reopened_with_a_new_planned_start_it_waits_for_that_and_is_told_as_a_delay)
{
        for (unsigned s = ENDED; s <= CANCELLED; s++) {
                struct event before = in_situation((enum situation)s), after;
                struct command reopen = reopen_at(NOW + 900000);
                struct signal signal;
                struct refusal refusal;

                cr_assert(
                    eq(int, event_apply(&before, &reopen, NOW, &after, &signal, &refusal), OK));
                cr_assert(eq(int, after.phase, PHASE_SCHEDULED));
                cr_assert(eq(str, after.state.stage, "scheduled"));
                cr_assert(eq(int, signal.kind, SIGNAL_DELAY));
                cr_assert(eq(i64, after.state.at, NOW));
                cr_assert(eq(i64, after.state.starts_at, NOW + 900000));
                cr_assert(event_is_sound(&after));
        }
}

Test(event, it_is_not_reopened_for_a_start_that_has_passed_or_is_years_away)
{
        static const int64_t bad[] = { NOW - 1001, NOW + 2 * EVENT_DELAY_MAX_MS, -1, INT64_MAX };

        for (size_t i = 0; i < countof(bad); i++) {
                struct event before = in_situation(ENDED), after = { .title = "untouched" };
                struct command reopen = reopen_at(bad[i]);
                struct signal signal = { .sent = -1 };
                struct refusal refusal;

                cr_assert(eq(int, event_apply(&before, &reopen, NOW, &after, &signal, &refusal),
                             ERR_INVALID));
                cr_assert(eq(str, after.title, "untouched"));
                cr_assert(eq(i64, signal.sent, -1));
        }
}

Test(event, what_is_over_can_be_reopened_and_nothing_else)
{
        struct event before = in_situation(CANCELLED), after;
        struct command start = sample(COMMAND_START, NULL);
        struct signal signal;
        struct refusal refusal;

        cr_assert(
            eq(int, event_apply(&before, &start, NOW, &after, &signal, &refusal), ERR_CONFLICT));
        cr_assert(eq(str, refusal.why,
                     "the event is cancelled: start is not possible now, but this is: reopen"));
}

Test(event, a_refusal_names_what_would_be_legal)
{
        struct event before = in_situation(LIVE), after;
        struct command start = sample(COMMAND_START, NULL);
        struct signal signal;
        struct refusal refusal;

        cr_assert(
            eq(int, event_apply(&before, &start, NOW, &after, &signal, &refusal), ERR_CONFLICT));
        cr_assert(
            eq(str, refusal.why,
               "the event is live: start is not possible now, but these are: end, cancel, stage, "
               "refresh, publish"));
}

/* One command on a scheduled event with stages halftime and extra; starts_at NOW + 1 h. */
struct limit {
        struct command command;
        enum err err;
        const char *says;      /* part of the refusal */
        int64_t at, starts_at; /* 0 = not looked at */
};

static const struct limit limits[] = {
        { { .kind = COMMAND_START, .has_at = true, .at = NOW - 1000 }, OK, NULL, NOW - 1000, 0 },
        { { .kind = COMMAND_START, .has_at = true, .at = NOW - 1001 }, ERR_INVALID, "past", 0, 0 },
        { { .kind = COMMAND_START, .has_at = true, .at = NOW + EVENT_LEAD_MAX_MS },
          OK,
          NULL,
          NOW + EVENT_LEAD_MAX_MS,
          0 },
        { { .kind = COMMAND_START, .has_at = true, .at = NOW + EVENT_LEAD_MAX_MS + 1 },
          ERR_INVALID,
          "24 h",
          0,
          0 },
        { { .kind = COMMAND_START, .has_at = true, .at = INT64_MAX }, ERR_INVALID, "24 h", 0, 0 },
        { { .kind = COMMAND_START, .has_at = true, .at = INT64_MIN }, ERR_INVALID, "past", 0, 0 },
        { { .kind = COMMAND_START, .has_lead = true, .lead_ms = 2000 }, OK, NULL, NOW + 2000, 0 },
        { { .kind = COMMAND_START, .has_lead = true, .lead_ms = -1 }, ERR_INVALID, "lead", 0, 0 },
        { { .kind = COMMAND_START, .has_lead = true, .lead_ms = EVENT_LEAD_MAX_MS + 1 },
          ERR_INVALID,
          "lead",
          0,
          0 },
        { { .kind = COMMAND_START, .has_at = true, .at = NOW, .has_lead = true },
          ERR_INVALID,
          "not both",
          0,
          0 },
        { { .kind = COMMAND_DELAY }, ERR_INVALID, "either", 0, 0 },
        { { .kind = COMMAND_DELAY,
            .has_by = true,
            .by_ms = 1,
            .has_starts_at = true,
            .starts_at = NOW },
          ERR_INVALID,
          "either",
          0,
          0 },
        { { .kind = COMMAND_DELAY, .has_by = true, .by_ms = 0 }, ERR_INVALID, "more than 0", 0, 0 },
        { { .kind = COMMAND_DELAY, .has_by = true, .by_ms = 900000 },
          OK,
          NULL,
          NOW,
          NOW + 4500000 },
        { { .kind = COMMAND_DELAY, .has_by = true, .by_ms = EVENT_DELAY_MAX_MS },
          OK,
          NULL,
          NOW,
          0 },
        { { .kind = COMMAND_DELAY, .has_by = true, .by_ms = EVENT_DELAY_MAX_MS + 1 },
          ERR_INVALID,
          "366",
          0,
          0 },
        { { .kind = COMMAND_DELAY, .has_starts_at = true, .starts_at = NOW + 60000 },
          OK,
          NULL,
          NOW,
          NOW + 60000 },
        { { .kind = COMMAND_DELAY, .has_starts_at = true, .starts_at = NOW - 1001 },
          ERR_INVALID,
          "past",
          0,
          0 },
        { { .kind = COMMAND_DELAY, .has_starts_at = true, .starts_at = INT64_MAX },
          ERR_INVALID,
          "366",
          0,
          0 },
        { { .kind = COMMAND_STAGE, .stage = "halftime", .has_lead = true, .lead_ms = 5 },
          OK,
          NULL,
          NOW + 5,
          0 },
        { { .kind = COMMAND_STAGE, .stage = "overtime" },
          ERR_INVALID,
          "only: halftime, extra",
          0,
          0 },
        { { .kind = COMMAND_STAGE, .stage = "live" }, ERR_INVALID, "command `start`", 0, 0 },
        { { .kind = COMMAND_STAGE, .stage = "scheduled" }, ERR_INVALID, "command `delay`", 0, 0 },
        { { .kind = COMMAND_STAGE, .stage = "ended" }, ERR_INVALID, "command `end`", 0, 0 },
        { { .kind = COMMAND_STAGE, .stage = "cancelled" }, ERR_INVALID, "command `cancel`", 0, 0 },
        { { .kind = COMMAND_STAGE, .stage = "" }, ERR_INVALID, "characters", 0, 0 },
        { { .kind = COMMAND_STAGE, .stage = "half time" }, ERR_INVALID, "characters", 0, 0 },
        { { .kind = COMMAND_REFRESH, .window_ms = -1 }, ERR_INVALID, "window", 0, 0 },
        { { .kind = COMMAND_REFRESH, .window_ms = EVENT_WINDOW_MAX_MS + 1 },
          ERR_INVALID,
          "window",
          0,
          0 },
        { { .kind = COMMAND_REFRESH, .window_ms = EVENT_WINDOW_MAX_MS }, OK, NULL, 0, 0 },
};

Test(event, limits_are_kept_and_explained)
{
        for (size_t i = 0; i < countof(limits); i++) {
                const struct limit *limit = &limits[i];
                struct event before = in_situation(SCHEDULED), after;
                struct signal signal;
                struct refusal refusal = { 0 };
                enum err err;

                before.n_stages = 2;
                strcpy(before.stages[0], "halftime");
                strcpy(before.stages[1], "extra");
                err = event_apply(&before, &limit->command, NOW, &after, &signal, &refusal);
                cr_assert(eq(int, err, limit->err), "row %zu: %s", i, refusal.why);
                if (err != OK)
                        cr_assert(strstr(refusal.why, limit->says) != NULL, "row %zu: %s", i,
                                  refusal.why);
                else if (limit->at != 0)
                        cr_assert(eq(i64, after.state.at, limit->at), "row %zu", i);
                if (err == OK && limit->starts_at != 0)
                        cr_assert(eq(i64, after.state.starts_at, limit->starts_at), "row %zu", i);
        }
}

Test(event, a_delay_takes_back_only_a_start_that_lies_ahead)
{
        struct event before = in_situation(LIVE_AHEAD), after;
        struct command delay = sample(COMMAND_DELAY, NULL);
        struct signal signal;
        struct refusal refusal;

        cr_assert(eq(int, event_apply(&before, &delay, NOW, &after, &signal, &refusal), OK));
        cr_assert(eq(int, after.phase, PHASE_SCHEDULED));
        cr_assert(eq(int, event_apply(&before, &delay, before.state.at, &after, &signal, &refusal),
                     ERR_CONFLICT));
        /* A custom stage ahead is not a start ahead. */
        before = in_situation(LIVE);
        strcpy(before.state.stage, "halftime");
        before.state.at = NOW + 60000;
        cr_assert(
            eq(int, event_apply(&before, &delay, NOW, &after, &signal, &refusal), ERR_CONFLICT));
}

Test(event, publish_is_told_as_a_refresh_of_the_next_bundle_spread_by_default)
{
        struct event before = in_situation(SCHEDULED), after;
        struct command publish = { .kind = COMMAND_PUBLISH };
        struct signal signal;
        struct refusal refusal;

        cr_assert(eq(int, event_apply(&before, &publish, NOW, &after, &signal, &refusal), OK));
        cr_assert(eq(int, signal.kind, SIGNAL_REFRESH));
        cr_assert(eq(u64, signal.state.bundle, 1));
        cr_assert(eq(i64, signal.window_ms, EVENT_WINDOW_DEFAULT_MS));
}

struct create_row {
        const char *id, *title;
        unsigned n_stages;
        const char *stage0, *stage1;
        int64_t starts_at;
        enum err err;
};

static const struct create_row creates[] = {
        { "final", "Cup final", 2, "a", "b", NOW, OK },
        { "final", "Cup final", 0, "", "", NOW - 86400000, OK }, /* under way already */
        { "final", "\xc3\x84nderung \xf0\x9f\x8f\x86", 0, "", "", NOW, OK },
        { "", "t", 0, "", "", NOW, ERR_INVALID },
        { "a/b", "t", 0, "", "", NOW, ERR_INVALID },
        { "final", "", 0, "", "", NOW, ERR_INVALID },
        { "final", "two\nlines", 0, "", "", NOW, ERR_INVALID },
        { "final", "\xff", 0, "", "", NOW, ERR_INVALID },
        { "final", "\xed\xa0\x80", 0, "", "", NOW, ERR_INVALID }, /* a surrogate */
        { "final", "t", 2, "a", "a", NOW, ERR_INVALID },
        { "final", "t", 1, "live", "", NOW, ERR_INVALID },
        { "final", "t", 1, "", "", NOW, ERR_INVALID },
        { "final", "t", 33, "a", "b", NOW, ERR_INVALID },
        { "final", "t", 0, "", "", -1, ERR_INVALID },
        { "final", "t", 0, "", "", INT64_MAX, ERR_INVALID },
};

Test(event, create_refuses_what_could_not_be_shown_or_named)
{
        for (size_t i = 0; i < countof(creates); i++) {
                const struct create_row *row = &creates[i];
                struct event event = { .n_stages = row->n_stages }, after;
                struct command command = { .kind = COMMAND_CREATE, .create = &event };
                struct signal signal;
                struct refusal refusal = { 0 };

                strcpy(event.state.event, row->id);
                strcpy(event.title, row->title);
                strcpy(event.stages[0], row->stage0);
                strcpy(event.stages[1], row->stage1);
                event.state.starts_at = row->starts_at;
                event.state.version = 77; /* not the producer's to choose */
                cr_assert(
                    eq(int, event_apply(NULL, &command, NOW, &after, &signal, &refusal), row->err),
                    "row %zu: %s", i, refusal.why);
                if (row->err == OK)
                        cr_assert(eq(u64, after.state.version, 1));
        }
}

Test(event, a_record_reads_back_as_it_was_written)
{
        struct event event = in_situation(LIVE_AHEAD), again;
        char *text, *text_again;

        strcpy(event.title, "\"quoted\" \\ \xc3\xa4");
        event.n_stages = 2;
        strcpy(event.stages[0], "halftime");
        strcpy(event.stages[1], "extra");
        event.auto_start = true;
        event.state.bundle = 9007199254740991;
        text = event_format(&event);
        cr_assert(eq(int, event_parse(text, strlen(text), &again), OK), "%s", text);
        text_again = event_format(&again);
        cr_assert(eq(str, text, text_again));
        free(text_again);
        cr_assert(eq(str, again.title, event.title));
        cr_assert(eq(str, again.stages[1], "extra"));
        cr_assert(again.auto_start);
        cr_assert(eq(u64, again.state.bundle, event.state.bundle));
        cr_assert(eq(i64, again.state.at, event.state.at));
        cr_assert(eq(int, again.phase, PHASE_LIVE));
        /* Every shorter text is no record. */
        for (size_t len = 0; len < strlen(text); len++)
                cr_assert(eq(int, event_parse(text, len, &again), ERR_INVALID), "%zu", len);
        free(text);
}

#define GOOD                                                                               \
        "\"id\":\"final\",\"title\":\"t\",\"phase\":\"live\",\"stage\":\"live\",\"at\":1," \
        "\"starts_at\":2,\"version\":3,\"bundle\":0,\"auto_start\":false"

static const struct {
        const char *text;
        enum err err;
} records[] = {
        { "{" GOOD ",\"stages\":[]}", OK },
        { "{" GOOD ",\"stages\":[],\"newer\":{\"x\":[1]}}", OK },
        { "{" GOOD ",\"stages\":[],\"epoch\":\"0002000000000007\"}", OK },
        { "{" GOOD ",\"stages\":[],\"epoch\":\"0000000000000000\"}", ERR_INVALID },
        { "{" GOOD ",\"stages\":[],\"epoch\":\"2\"}", ERR_INVALID },
        { "{" GOOD ",\"stages\":[],\"epoch\":2}", ERR_INVALID },
        { "{" GOOD ",\"stages\":[1]}", ERR_INVALID },
        { "{" GOOD ",\"stages\":[\"live\"]}", ERR_INVALID },
        { "{" GOOD "}", ERR_INVALID },
        { "{" GOOD ",\"stages\":[],\"id\":\"twice\"}", ERR_INVALID },
        { "{" GOOD ",\"stages\":[]} ", OK },
        { "{" GOOD ",\"stages\":[]}x", ERR_INVALID },
        { "[]", ERR_INVALID },
        { "null", ERR_INVALID },
        { "", ERR_INVALID },
        { "{\"id\":\"f\\u0000x\",\"title\":\"t\",\"phase\":\"live\",\"stage\":\"live\",\"at\":1,"
          "\"starts_at\":2,\"version\":3,\"bundle\":0,\"auto_start\":false,\"stages\":[]}",
          ERR_INVALID },
        { "{\"id\":\"f\",\"title\":\"t\",\"phase\":\"ended\",\"stage\":\"live\",\"at\":1,"
          "\"starts_at\":2,\"version\":3,\"bundle\":0,\"auto_start\":false,\"stages\":[]}",
          ERR_INVALID },
        { "{\"id\":\"f\",\"title\":\"t\",\"phase\":\"live\",\"stage\":\"live\",\"at\":1.5,"
          "\"starts_at\":2,\"version\":3,\"bundle\":0,\"auto_start\":false,\"stages\":[]}",
          ERR_INVALID },
        { "{\"id\":\"f\",\"title\":\"t\",\"phase\":\"live\",\"stage\":\"live\",\"at\":1,"
          "\"starts_at\":2,\"version\":0,\"bundle\":0,\"auto_start\":false,\"stages\":[]}",
          ERR_INVALID },
        { "{\"id\":\"f\",\"title\":\"t\",\"phase\":\"paused\",\"stage\":\"live\",\"at\":1,"
          "\"starts_at\":2,\"version\":1,\"bundle\":0,\"auto_start\":false,\"stages\":[]}",
          ERR_INVALID },
};

Test(event, a_record_is_read_strictly_and_unknown_members_are_skipped)
{
        for (size_t i = 0; i < countof(records); i++) {
                struct event event;

                cr_assert(eq(int, event_parse(records[i].text, strlen(records[i].text), &event),
                             records[i].err),
                          "row %zu: %s", i, records[i].text);
        }
}

/* An old record has none; it counts as of the first generation, and is written back as it was. */
Test(event, a_record_says_in_which_epoch_it_was_changed_or_nothing)
{
        for (int has = 0; has < 2; has++) {
                struct event event, again;
                char *text;

                cr_assert(
                    eq(int, event_parse(records[0].text, strlen(records[0].text), &event), OK));
                cr_assert(eq(u64, event.epoch, 0));
                event.epoch = has ? 0x0002000000000007 : 0;
                text = event_format(&event);
                cr_assert(eq(int, strstr(text, "\"epoch\":\"0002000000000007\"") != NULL, has));
                cr_assert(eq(int, strstr(text, "epoch") != NULL, has));
                cr_assert(eq(int, event_parse(text, strlen(text), &again), OK));
                cr_assert(eq(u64, again.epoch, event.epoch));
                free(text);
        }
}
