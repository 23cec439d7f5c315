/* tests/faults/checker.c -- see the header. Ledgers have up to some 100,000 lines, so whatever is
 * looked for more than once is found in an index: lines of one kind, sorted. */
#include "tests/faults/checker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/faults/ledger_index.h"

#define EVENTS_KEPT 64

struct judge {
        const struct ledger *ledger;
        struct checker_rules rules;
        struct findings *findings;
};

/* What one device knows while its lines are walked through. */
struct knowledge {
        const char *device;
        struct token place; /* epoch 0 = nothing yet */
        struct event_state events[EVENTS_KEPT];
        size_t n_events;
        bool is_away;
};

static void find(struct judge *judge, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void find(struct judge *judge, const char *fmt, ...)
{
        struct findings *findings = judge->findings;
        va_list args;

        if (findings->n++ >= FINDINGS_MAX)
                return;
        va_start(args, fmt);
        vsnprintf(findings->text[findings->n - 1], sizeof(findings->text[0]), fmt, args);
        va_end(args);
}

static bool is_acknowledged(const struct ledger_line *line)
{
        return line->kind == LEDGER_ANSWERED && line->status / 100 == 2 && line->token.epoch != 0;
}

/* --- lines 4 and 7: one device, in the order in which it was told --- */

static struct event_state *known_event(struct knowledge *k, const char *event)
{
        for (size_t i = 0; i < k->n_events; i++)
                if (strcmp(k->events[i].event, event) == 0)
                        return &k->events[i];
        return NULL;
}

static void take_signal(struct judge *judge, struct knowledge *k, const struct ledger_line *line)
{
        const struct event_state *told = &line->events[0];
        struct event_state *known = known_event(k, told->event);

        if (k->place.epoch == 0)
                find(judge, "line 6: %s had a signal before any hello or reset", k->device);
        else if (line->token.epoch != k->place.epoch)
                find(judge, "line 7: %s had a signal of another epoch without a reset", k->device);
        else if (line->token.seq != k->place.seq + 1)
                find(judge, "line 4: %s had number %" PRIu64 " after %" PRIu64, k->device,
                     line->token.seq, k->place.seq);
        if (known && told->version < known->version)
                find(judge, "line 7: %s had version %" PRIu64 " of %s after %" PRIu64, k->device,
                     told->version, told->event, known->version);
        k->place = line->token;
        if (!known && k->n_events < EVENTS_KEPT) {
                known = &k->events[k->n_events++];
        }
        if (known)
                *known = *told;
}

static void take_reset(struct judge *judge, struct knowledge *k, const struct ledger_line *line)
{
        bool same_epoch = k->place.epoch == line->token.epoch;

        if (same_epoch && line->token.seq < k->place.seq)
                find(judge,
                     "line 7: %s was reset to number %" PRIu64 " after %" PRIu64
                     " of the same epoch",
                     k->device, line->token.seq, k->place.seq);
        for (size_t i = 0; same_epoch && i < line->n_events; i++) {
                const struct event_state *known = known_event(k, line->events[i].event);

                if (known && line->events[i].version < known->version)
                        find(judge,
                             "line 7: %s was reset to version %" PRIu64 " of %s after %" PRIu64
                             " of the same epoch",
                             k->device, line->events[i].version, known->event, known->version);
        }
        k->place = line->token;
        k->n_events = line->n_events < EVENTS_KEPT ? line->n_events : EVENTS_KEPT;
        if (k->n_events)
                memcpy(k->events, line->events, k->n_events * sizeof(*k->events));
}

/* The SDK gives up a connection rather than hand on what cannot be: that is a finding as well. */
static void take_loss(struct judge *judge, const struct knowledge *k,
                      const struct ledger_line *line)
{
        static const struct {
                unsigned line;
                const char *sentence;
        } refused[] = {
                { 4, "again, with another tag" },
                { 4, "again, long after" },
                { 4, "gap: signal" },
                { 6, "a signal where the reset was due" },
                { 6, "of another epoch without a reset" },
        };

        for (unsigned i = 0; i < countof(refused); i++)
                if (strstr(line->text, refused[i].sentence))
                        find(judge, "line %u: %s was sent what it had to refuse: %s",
                             refused[i].line, k->device, line->text);
}

static void walk(struct judge *judge, struct knowledge *k, const struct ledger_line *const *lines,
                 size_t n)
{
        for (size_t i = 0; i < n; i++) {
                k->is_away = lines[i]->kind == LEDGER_LEFT;
                if (lines[i]->kind == LEDGER_SIGNAL)
                        take_signal(judge, k, lines[i]);
                else if (lines[i]->kind == LEDGER_RESET)
                        take_reset(judge, k, lines[i]);
                else if (lines[i]->kind == LEDGER_LOST)
                        take_loss(judge, k, lines[i]);
        }
}

/* --- lines 5 and 6: one acknowledgement at one device --- */

static uint64_t version_in(const struct ledger_line *line, const char *event)
{
        for (size_t i = 0; i < line->n_events; i++)
                if (strcmp(line->events[i].event, event) == 0)
                        return line->events[i].version;
        return 0;
}

/* The version that an acknowledged change led to, as any device or the request saw it; 0 = nobody
 * did. */
static const struct event_state *state_of(const struct judge *judge, const struct token *token)
{
        for (size_t i = 0; i < ledger_count(judge->ledger); i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);

                if ((line->kind == LEDGER_SIGNAL || line->kind == LEDGER_ANSWERED) &&
                    line->n_events > 0 && token_equal(&line->token, token))
                        return &line->events[0];
        }
        return NULL;
}

/* `resets` are those of this device; it did not have the signal. */
static void judge_absence(struct judge *judge, const struct ledger_line *answer, const char *device,
                          const struct ledger_line *const *lines, size_t n)
{
        const struct event_state *state = state_of(judge, &answer->token);
        bool was_reset = false;

        for (size_t i = 0; i < n; i++) {
                const struct ledger_line *line = lines[i];

                if (line->kind != LEDGER_RESET)
                        continue;
                if (state && version_in(line, state->event) >= state->version)
                        return; /* whatever its epoch: it knows what this change led to */
                if (line->token.epoch == answer->token.epoch ? line->token.seq < answer->token.seq
                                                             : line->at_us < answer->at_us)
                        continue;
                if (!state ||
                    (judge->rules.loss_may_be_told && line->token.epoch != answer->token.epoch))
                        return;
                was_reset = true;
        }
        if (was_reset)
                find(judge,
                     "line 6: %s was reset in the stead of number %" PRIu64
                     ", but to a state older than that",
                     device, answer->token.seq);
        else
                find(judge,
                     "line 5: %s never had number %" PRIu64 " of request %s, nor a reset instead",
                     device, answer->token.seq, answer->name);
}

static bool is_of_device(const struct ledger_line *line)
{
        return line->kind >= LEDGER_HELLO && line->kind <= LEDGER_LEFT;
}

static const struct ledger_line *truth_of(const struct ledger *ledger)
{
        for (size_t i = ledger_count(ledger); i-- > 0;)
                if (ledger_at(ledger, i)->kind == LEDGER_TRUTH)
                        return ledger_at(ledger, i);
        return NULL;
}

static void judge_end(struct judge *judge, const struct knowledge *k,
                      const struct ledger_line *truth)
{
        if (!token_equal(&k->place, &truth->token))
                find(judge,
                     "line 5: %s ended at number %" PRIu64 ", the log at %" PRIu64
                     " (or another tag)",
                     k->device, k->place.seq, truth->token.seq);
        if (k->n_events != truth->n_events)
                find(judge, "line 6: %s knows %zu events at the end, the node %zu", k->device,
                     k->n_events, truth->n_events);
        for (size_t i = 0; i < truth->n_events; i++) {
                const struct event_state *want = &truth->events[i];
                const struct event_state *have = known_event((struct knowledge *)k, want->event);

                if (have && have->version == want->version && have->at == want->at &&
                    have->starts_at == want->starts_at && have->bundle == want->bundle &&
                    strcmp(have->stage, want->stage) == 0)
                        continue;
                find(judge,
                     "line 6: %s ends with %s at %s version %" PRIu64
                     ", the node with %s version %" PRIu64,
                     k->device, want->event, have ? have->stage : "nothing",
                     have ? have->version : 0, want->stage, want->version);
        }
}

/* All lines of one device, in the order in which it wrote them. */
static void judge_device(struct judge *judge, const struct ledger_line *const *lines, size_t n)
{
        const struct ledger_line *truth = truth_of(judge->ledger), *first_reset = NULL;
        struct knowledge *k = calloc(1, sizeof(*k));
        struct ledger_index signals = { calloc(n, sizeof(*signals.lines)), 0 };

        check(k != NULL && signals.lines != NULL);
        k->device = lines[0]->name;
        walk(judge, k, lines, n);
        for (size_t i = 0; i < n; i++) {
                if (lines[i]->kind == LEDGER_SIGNAL)
                        signals.lines[signals.n++] = lines[i];
                if (lines[i]->kind == LEDGER_RESET && !first_reset)
                        first_reset = lines[i];
        }
        qsort(signals.lines, signals.n, sizeof(*signals.lines), ledger_by_token);
        for (size_t a = 0; a < ledger_count(judge->ledger) && first_reset && !k->is_away; a++) {
                const struct ledger_line *answer = ledger_at(judge->ledger, a);

                /* What was committed before a device came for the first time is in its reset. */
                if (is_acknowledged(answer) &&
                    (first_reset->token.epoch == answer->token.epoch
                         ? answer->token.seq > first_reset->token.seq
                         : answer->at_us > first_reset->at_us) &&
                    !ledger_index_has(&signals, &answer->token))
                        judge_absence(judge, answer, k->device, lines, n);
        }
        if (truth && !k->is_away)
                judge_end(judge, k, truth);
        free(signals.lines);
        free(k);
}

static void judge_devices(struct judge *judge)
{
        struct ledger_index lines = ledger_index_make(judge->ledger, is_of_device, ledger_by_name);
        size_t end;

        for (size_t i = 0; i < lines.n; i = end) {
                for (end = i;
                     end < lines.n && strcmp(lines.lines[end]->name, lines.lines[i]->name) == 0;)
                        end++;
                judge_device(judge, lines.lines + i, end - i);
        }
        free(lines.lines);
}

/* --- line 4, over all of them: one number, one tag --- */

/* A hello repeats the device's own token, which may be of a history that is gone. */
static bool tells_a_tag(const struct ledger_line *line)
{
        return line->token.epoch && line->kind != LEDGER_HELLO && line->kind != LEDGER_LOST &&
               line->kind != LEDGER_LEFT;
}

static void judge_tags(struct judge *judge)
{
        struct ledger_index lines = ledger_index_make(judge->ledger, tells_a_tag, ledger_by_token);

        for (size_t i = 1; i < lines.n; i++) {
                const struct ledger_line *a = lines.lines[i - 1], *b = lines.lines[i];

                if (a->token.epoch == b->token.epoch && a->token.seq == b->token.seq &&
                    a->token.tag != b->token.tag)
                        find(judge,
                             "line 4: number %" PRIu64 " has one tag with %s and another with %s",
                             a->token.seq, a->name, b->name);
        }
        free(lines.lines);
}

/* --- lines 1 to 3: requests --- */

static bool tells_a_stage(const struct ledger_line *line)
{
        return (line->kind == LEDGER_SIGNAL || line->kind == LEDGER_LOG) &&
               line->signal_kind == SIGNAL_STAGE;
}

/* How many signals of different tokens lead to this request's mark. */
static unsigned signals_with(const struct ledger_index *stages, const struct ledger_line *asked)
{
        struct event_state state = { 0 };
        const struct ledger_line key = { .events = &state, .n_events = 1 };
        const struct ledger_line *last = NULL;
        unsigned n = 0;

        strcpy(state.stage, asked->mark);
        for (size_t i = ledger_index_find(stages, &key, ledger_by_stage);
             i < stages->n && strcmp(stages->lines[i]->events[0].stage, asked->mark) == 0; i++) {
                const struct ledger_line *line = stages->lines[i];

                if (strcmp(line->events[0].event, asked->event) != 0)
                        continue;
                n += !last || !token_equal(&last->token, &line->token);
                last = line;
        }
        return n;
}

static bool is_signal(const struct ledger_line *line)
{
        return line->kind == LEDGER_SIGNAL;
}

/* Asked again it was acknowledged, but a device had it already when all that had been answered so
 * far was "refused": then one of those was no refusal, and ought to have been called unknown. */
static void judge_refusals(struct judge *judge, const struct ledger_line *const *lines, size_t n,
                           const struct token *token, const struct ledger_index *signals)
{
        const struct ledger_line key = { .token = *token };
        uint64_t first_us = UINT64_MAX;
        unsigned asked = 0, refused = 0;

        for (size_t i = ledger_index_find(signals, &key, ledger_by_token);
             i < signals->n && token_equal(&signals->lines[i]->token, token); i++)
                if (signals->lines[i]->at_us < first_us)
                        first_us = signals->lines[i]->at_us;
        for (size_t i = 0; i < n && lines[i]->at_us < first_us; i++) {
                asked += lines[i]->kind == LEDGER_ASKED;
                refused += lines[i]->kind == LEDGER_ANSWERED && lines[i]->status >= 400;
        }
        if (first_us != UINT64_MAX && asked > 0 && asked == refused)
                find(judge,
                     "line 3: request %s was refused, and number %" PRIu64
                     " came of it before it was asked again",
                     lines[0]->name, token->seq);
}

/* All lines of one request key, in order. */
static void judge_request(struct judge *judge, const struct ledger_line *const *lines, size_t n,
                          const struct ledger_index *stages, const struct ledger_index *signals)
{
        const struct ledger_line *asked = NULL;
        struct token first = { 0 };
        unsigned unknown = 0, n_asked = 0, n_answered = 0, live;

        for (size_t i = 0; i < n; i++) {
                const struct ledger_line *line = lines[i];

                if (line->kind == LEDGER_ASKED) {
                        asked = asked ? asked : line;
                        n_asked++;
                        continue;
                }
                n_answered++;
                unknown += line->status == 0;
                if (!is_acknowledged(line))
                        continue;
                if (first.epoch && !token_equal(&first, &line->token))
                        find(judge,
                             "line 3: request %s was acknowledged as number %" PRIu64
                             " and as number %" PRIu64,
                             line->name, first.seq, line->token.seq);
                first = line->token;
        }
        unknown += n_asked > n_answered;
        if (first.epoch)
                judge_refusals(judge, lines, n, &first, signals);
        if (!asked || !asked->mark[0])
                return;
        live = signals_with(stages, asked);
        if (live > 1)
                find(judge, "line 3: request %s made %u signals", asked->name, live);
        if (live == 1 && !first.epoch && unknown == 0)
                find(judge, "line 2: request %s was refused, and yet is a signal", asked->name);
}

static bool is_of_producer(const struct ledger_line *line)
{
        return line->kind == LEDGER_ASKED || line->kind == LEDGER_ANSWERED;
}

static void judge_requests(struct judge *judge)
{
        struct ledger_index lines =
            ledger_index_make(judge->ledger, is_of_producer, ledger_by_name);
        struct ledger_index stages =
            ledger_index_make(judge->ledger, tells_a_stage, ledger_by_stage);
        struct ledger_index signals = ledger_index_make(judge->ledger, is_signal, ledger_by_token);
        size_t end;

        for (size_t i = 0; i < lines.n; i = end) {
                for (end = i;
                     end < lines.n && strcmp(lines.lines[end]->name, lines.lines[i]->name) == 0;)
                        end++;
                judge_request(judge, lines.lines + i, end - i, &stages, &signals);
        }
        free(signals.lines);
        free(stages.lines);
        free(lines.lines);
}

static bool is_log(const struct ledger_line *line)
{
        return line->kind == LEDGER_LOG;
}

static void judge_log(struct judge *judge)
{
        struct ledger_index log = ledger_index_make(judge->ledger, is_log, ledger_by_token);

        for (size_t i = 0; log.n > 0 && i < ledger_count(judge->ledger); i++) {
                const struct ledger_line *answer = ledger_at(judge->ledger, i);

                if (!is_acknowledged(answer) || ledger_index_has(&log, &answer->token))
                        continue;
                if (answer->token.epoch == log.lines[0]->token.epoch
                        ? answer->token.seq <
                              log.lines[0]->token.seq /* trimmed: not owed any more */
                        : judge->rules.loss_may_be_told)
                        continue;
                find(judge,
                     "line 1: number %" PRIu64
                     " of request %s was acknowledged and is not in the log",
                     answer->token.seq, answer->name);
        }
        free(log.lines);
}

void checker_judge(const struct ledger *ledger, const struct checker_rules *rules,
                   struct findings *ret_findings)
{
        struct judge judge = { .ledger = ledger, .findings = ret_findings };

        memset(ret_findings, 0, sizeof(*ret_findings));
        if (rules)
                judge.rules = *rules;
        judge_requests(&judge);
        if (!judge.rules.numbers_may_fork)
                judge_tags(&judge);
        judge_log(&judge);
        judge_devices(&judge);
}

struct checker_counts checker_count(const struct ledger *ledger)
{
        struct ledger_index devices = ledger_index_make(ledger, is_of_device, ledger_by_name);
        struct checker_counts counts = { 0 };

        for (size_t i = 0; i < ledger_count(ledger); i++) {
                const struct ledger_line *line = ledger_at(ledger, i);

                counts.acknowledged += is_acknowledged(line);
                counts.unknown += line->kind == LEDGER_ANSWERED && line->status == 0;
                counts.refused += line->kind == LEDGER_ANSWERED && line->status >= 400;
                counts.signals += line->kind == LEDGER_SIGNAL;
                counts.resets += line->kind == LEDGER_RESET;
        }
        for (size_t i = 0; i < devices.n; i++)
                counts.devices +=
                    i == 0 || strcmp(devices.lines[i]->name, devices.lines[i - 1]->name) != 0;
        free(devices.lines);
        return counts;
}
