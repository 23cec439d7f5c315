/* tests/faults/checker.c -- see the header. Quadratic in places: ledgers have some 10,000 lines. */
#include "tests/faults/checker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

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

/* --- lines 4 and 7: one device, in the order in which it was told
 * ------------------------------------ */

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

static void walk(struct judge *judge, struct knowledge *k, size_t until, bool aloud)
{
        struct findings silent;
        struct judge quiet = { judge->ledger, judge->rules, &silent };
        struct judge *to = aloud ? judge : &quiet;

        memset(&silent, 0, sizeof(silent));
        for (size_t i = 0; i < until; i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);

                if (line->kind < LEDGER_HELLO || line->kind > LEDGER_LEFT ||
                    strcmp(line->name, k->device) != 0)
                        continue;
                k->is_away = line->kind == LEDGER_LEFT;
                if (line->kind == LEDGER_SIGNAL)
                        take_signal(to, k, line);
                else if (line->kind == LEDGER_RESET)
                        take_reset(to, k, line);
                else if (line->kind == LEDGER_LOST)
                        take_loss(to, k, line);
        }
}

/* --- lines 5 and 6: one acknowledgement at one device
 * -------------------------------------------------- */

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

static void judge_arrival(struct judge *judge, const struct ledger_line *answer, const char *device)
{
        const struct event_state *state = state_of(judge, &answer->token);
        bool was_reset = false;

        for (size_t i = 0; i < ledger_count(judge->ledger); i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);

                if (strcmp(line->name, device) != 0)
                        continue;
                if (line->kind == LEDGER_SIGNAL && token_equal(&line->token, &answer->token))
                        return;
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

static bool seen_before(const struct ledger *ledger, size_t i,
                        bool (*counts)(const struct ledger_line *))
{
        const struct ledger_line *line = ledger_at(ledger, i);

        for (size_t k = 0; k < i; k++)
                if (counts(ledger_at(ledger, k)) &&
                    strcmp(ledger_at(ledger, k)->name, line->name) == 0)
                        return true;
        return false;
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

static void judge_devices(struct judge *judge)
{
        const struct ledger *ledger = judge->ledger;
        const struct ledger_line *truth = truth_of(ledger);

        for (size_t i = 0; i < ledger_count(ledger); i++) {
                const struct ledger_line *first = ledger_at(ledger, i);
                struct knowledge *k;
                struct token begin = { 0 };
                uint64_t begin_us = UINT64_MAX;

                if (!is_of_device(first) || seen_before(ledger, i, is_of_device))
                        continue;
                k = calloc(1, sizeof(*k));
                check(k != NULL);
                k->device = first->name;
                walk(judge, k, ledger_count(ledger), true);
                for (size_t a = i; a < ledger_count(ledger); a++) {
                        const struct ledger_line *line = ledger_at(ledger, a);

                        if (begin.epoch == 0 && strcmp(line->name, k->device) == 0 &&
                            line->kind == LEDGER_RESET) {
                                begin = line->token;
                                begin_us = line->at_us;
                        }
                }
                for (size_t a = 0; a < ledger_count(ledger) && !k->is_away; a++) {
                        const struct ledger_line *answer = ledger_at(ledger, a);

                        /* What was committed before a device came for the first time is in its
                         * reset. */
                        if (is_acknowledged(answer) &&
                            (begin.epoch == answer->token.epoch ? answer->token.seq > begin.seq
                                                                : answer->at_us > begin_us))
                                judge_arrival(judge, answer, k->device);
                }
                if (truth && !k->is_away)
                        judge_end(judge, k, truth);
                free(k);
        }
}

/* --- line 4, over all of them: one number, one tag
 * ------------------------------------------------------- */

struct place {
        struct token token;
        const char *who;
};

static int compare_places(const void *a, const void *b)
{
        const struct token *l = &((const struct place *)a)->token,
                           *r = &((const struct place *)b)->token;

        if (l->epoch != r->epoch)
                return l->epoch < r->epoch ? -1 : 1;
        return (l->seq > r->seq) - (l->seq < r->seq);
}

static void judge_tags(struct judge *judge)
{
        size_t n = 0, count = ledger_count(judge->ledger);
        struct place *places = calloc(count + 1, sizeof(*places));

        check(places != NULL);
        for (size_t i = 0; i < count; i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);

                /* A hello repeats the device's own token, which may be of a history that is gone.
                 */
                if (line->token.epoch && line->kind != LEDGER_HELLO && line->kind != LEDGER_LOST &&
                    line->kind != LEDGER_LEFT)
                        places[n++] = (struct place){ line->token, line->name };
        }
        qsort(places, n, sizeof(*places), compare_places);
        for (size_t i = 1; i < n; i++)
                if (compare_places(&places[i - 1], &places[i]) == 0 &&
                    places[i - 1].token.tag != places[i].token.tag)
                        find(judge,
                             "line 4: number %" PRIu64 " has one tag with %s and another with %s",
                             places[i].token.seq, places[i - 1].who, places[i].who);
        free(places);
}

/* --- lines 1 to 3: requests
 * -------------------------------------------------------------------------------- */

/* How many signals of different numbers lead to this request's mark. */
static unsigned signals_with(const struct judge *judge, const struct ledger_line *asked)
{
        struct token seen[8];
        unsigned n = 0;

        for (size_t i = 0; i < ledger_count(judge->ledger); i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);
                bool is_new = true;

                if ((line->kind != LEDGER_SIGNAL && line->kind != LEDGER_LOG) ||
                    line->signal_kind != SIGNAL_STAGE ||
                    strcmp(line->events[0].stage, asked->mark) != 0 ||
                    strcmp(line->events[0].event, asked->event) != 0)
                        continue;
                for (unsigned k = 0; k < n; k++)
                        is_new = is_new && !token_equal(&seen[k], &line->token);
                if (is_new && n < countof(seen))
                        seen[n++] = line->token;
        }
        return n;
}

static void judge_request(struct judge *judge, const struct ledger_line *asked)
{
        struct token first = { 0 };
        unsigned unknown = 0, n_asked = 0, n_answered = 0, live;

        for (size_t i = 0; i < ledger_count(judge->ledger); i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);

                if (strcmp(line->name, asked->name) != 0)
                        continue;
                n_asked += line->kind == LEDGER_ASKED;
                if (line->kind != LEDGER_ANSWERED)
                        continue;
                n_answered++;
                unknown += line->status == 0;
                if (!is_acknowledged(line))
                        continue;
                if (first.epoch && !token_equal(&first, &line->token))
                        find(judge,
                             "line 3: request %s was acknowledged as number %" PRIu64
                             " and as number %" PRIu64,
                             asked->name, first.seq, line->token.seq);
                first = line->token;
        }
        unknown += n_asked > n_answered;
        if (!asked->mark[0])
                return;
        live = signals_with(judge, asked);
        if (live > 1)
                find(judge, "line 3: request %s made %u signals", asked->name, live);
        if (live == 1 && !first.epoch && unknown == 0)
                find(judge, "line 2: request %s was refused, and yet is a signal", asked->name);
}

static bool is_asked(const struct ledger_line *line)
{
        return line->kind == LEDGER_ASKED;
}

static void judge_requests(struct judge *judge)
{
        const struct ledger *ledger = judge->ledger;

        for (size_t i = 0; i < ledger_count(ledger); i++)
                if (is_asked(ledger_at(ledger, i)) && !seen_before(ledger, i, is_asked))
                        judge_request(judge, ledger_at(ledger, i));
}

static void judge_log(struct judge *judge)
{
        size_t count = ledger_count(judge->ledger);
        seqno first = SEQNO_MAX;
        uint64_t epoch = 0;
        bool has_log = false;

        for (size_t i = 0; i < count; i++) {
                const struct ledger_line *line = ledger_at(judge->ledger, i);

                if (line->kind != LEDGER_LOG)
                        continue;
                has_log = true;
                epoch = line->token.epoch;
                first = line->token.seq < first ? line->token.seq : first;
        }
        for (size_t i = 0; has_log && i < count; i++) {
                const struct ledger_line *answer = ledger_at(judge->ledger, i);
                bool is_there = false;

                if (!is_acknowledged(answer) || answer->token.seq < first)
                        continue; /* trimmed: not owed any more */
                if (answer->token.epoch != epoch && judge->rules.loss_may_be_told)
                        continue;
                for (size_t k = 0; k < count && !is_there; k++)
                        is_there = ledger_at(judge->ledger, k)->kind == LEDGER_LOG &&
                                   token_equal(&ledger_at(judge->ledger, k)->token, &answer->token);
                if (!is_there)
                        find(judge,
                             "line 1: number %" PRIu64
                             " of request %s was acknowledged and is not in the log",
                             answer->token.seq, answer->name);
        }
}

void checker_judge(const struct ledger *ledger, const struct checker_rules *rules,
                   struct findings *ret_findings)
{
        struct judge judge = { .ledger = ledger, .findings = ret_findings };

        memset(ret_findings, 0, sizeof(*ret_findings));
        if (rules)
                judge.rules = *rules;
        judge_requests(&judge);
        judge_tags(&judge);
        judge_log(&judge);
        judge_devices(&judge);
}

struct checker_counts checker_count(const struct ledger *ledger)
{
        struct checker_counts counts = { 0 };

        for (size_t i = 0; i < ledger_count(ledger); i++) {
                const struct ledger_line *line = ledger_at(ledger, i);

                counts.acknowledged += is_acknowledged(line);
                counts.unknown += line->kind == LEDGER_ANSWERED && line->status == 0;
                counts.refused += line->kind == LEDGER_ANSWERED && line->status >= 400;
                counts.signals += line->kind == LEDGER_SIGNAL;
                counts.resets += line->kind == LEDGER_RESET;
                counts.devices += is_of_device(line) && !seen_before(ledger, i, is_of_device);
        }
        return counts;
}
