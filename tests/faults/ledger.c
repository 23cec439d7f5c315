/* tests/faults/ledger.c -- see the header. One growing array under one lock. */
#include "tests/faults/ledger.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

struct ledger {
        pthread_mutex_t lock;
        struct ledger_line *lines;
        size_t n, capacity;
};

const char *const ledger_kind_name[] = {
        [LEDGER_ASKED] = "asked", [LEDGER_ANSWERED] = "answered", [LEDGER_HELLO] = "hello",
        [LEDGER_RESET] = "reset", [LEDGER_SIGNAL] = "signal",     [LEDGER_LOST] = "lost",
        [LEDGER_LEFT] = "left",   [LEDGER_TRUTH] = "truth",       [LEDGER_LOG] = "log",
};

struct ledger *ledger_create(void)
{
        struct ledger *ledger = calloc(1, sizeof(*ledger));

        check(ledger != NULL && pthread_mutex_init(&ledger->lock, NULL) == 0);
        return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
        if (!ledger)
                return;
        for (size_t i = 0; i < ledger->n; i++)
                free(ledger->lines[i].events);
        free(ledger->lines);
        pthread_mutex_destroy(&ledger->lock);
        free(ledger);
}

void ledger_add(struct ledger *ledger, const struct ledger_line *line)
{
        struct ledger_line *mine;

        pthread_mutex_lock(&ledger->lock);
        if (ledger->n == ledger->capacity) {
                ledger->capacity = ledger->capacity ? 2 * ledger->capacity : 256;
                ledger->lines = realloc(ledger->lines, ledger->capacity * sizeof(*ledger->lines));
                check(ledger->lines != NULL);
        }
        mine = &ledger->lines[ledger->n++];
        *mine = *line;
        mine->at_us = clock_mono_us();
        mine->events = NULL;
        if (line->n_events > 0) {
                mine->events = malloc(line->n_events * sizeof(*mine->events));
                check(mine->events != NULL);
                memcpy(mine->events, line->events, line->n_events * sizeof(*mine->events));
        }
        pthread_mutex_unlock(&ledger->lock);
}

void ledger_asked(struct ledger *ledger, const char *key, const char *event, const char *mark)
{
        struct ledger_line line = { .kind = LEDGER_ASKED };

        snprintf(line.name, sizeof(line.name), "%s", key);
        snprintf(line.event, sizeof(line.event), "%s", event);
        snprintf(line.mark, sizeof(line.mark), "%s", mark);
        ledger_add(ledger, &line);
}

void ledger_answered(struct ledger *ledger, const char *key, int status, const struct token *token,
                     const char *event, uint64_t version)
{
        struct event_state state = { .version = version };
        struct ledger_line line = { .kind = LEDGER_ANSWERED, .status = status };

        snprintf(line.name, sizeof(line.name), "%s", key);
        if (token)
                line.token = *token;
        if (event) {
                snprintf(state.event, sizeof(state.event), "%s", event);
                line.events = &state;
                line.n_events = 1;
        }
        ledger_add(ledger, &line);
}

void ledger_device(struct ledger *ledger, enum ledger_kind kind, const char *device,
                   const struct token *token)
{
        struct ledger_line line = { .kind = kind };

        snprintf(line.name, sizeof(line.name), "%s", device);
        if (token)
                line.token = *token;
        ledger_add(ledger, &line);
}

size_t ledger_count(const struct ledger *ledger)
{
        return ledger->n;
}

const struct ledger_line *ledger_at(const struct ledger *ledger, size_t i)
{
        check(i < ledger->n);
        return &ledger->lines[i];
}

static void write_line(FILE *file, const struct ledger_line *line, uint64_t begin_us)
{
        char token[TOKEN_TEXT_MAX + 1] = "-";

        if (line->token.epoch)
                token_format(&line->token, token);
        fprintf(file, "%10.3f %-8s %s %s", (double)(line->at_us - begin_us) / 1000.0,
                ledger_kind_name[line->kind], line->name, token);
        if (line->kind == LEDGER_ANSWERED)
                fprintf(file, " status=%d", line->status);
        if (line->kind == LEDGER_ASKED)
                fprintf(file, " event=%s mark=%s", line->event, line->mark);
        if (line->kind == LEDGER_HELLO)
                fprintf(file, " %s", line->recovered ? "recovered" : "not-recovered");
        if (line->kind == LEDGER_RESET)
                fprintf(file, " %s", reset_reason_name[line->reason]);
        if (line->kind == LEDGER_SIGNAL || line->kind == LEDGER_LOG)
                fprintf(file, " %s", signal_kind_name[line->signal_kind]);
        for (size_t i = 0; i < line->n_events; i++)
                fprintf(file, " %s:%s:v%" PRIu64, line->events[i].event, line->events[i].stage,
                        line->events[i].version);
        fprintf(file, "%s%s\n", line->text[0] ? " " : "", line->text);
}

bool ledger_write(const struct ledger *ledger, const char *path)
{
        FILE *file = fopen(path, "w");

        if (!file)
                return false;
        for (size_t i = 0; i < ledger->n; i++)
                write_line(file, &ledger->lines[i], ledger->lines[0].at_us);
        return fclose(file) == 0;
}

static int compare_doubles(const void *a, const void *b)
{
        double left = *(const double *)a, right = *(const double *)b;

        return (left > right) - (left < right);
}

static int compare_lines(const void *a, const void *b)
{
        const struct token *l = &(*(const struct ledger_line *const *)a)->token;
        const struct token *r = &(*(const struct ledger_line *const *)b)->token;

        if (l->seq != r->seq)
                return l->seq < r->seq ? -1 : 1;
        return (l->tag > r->tag) - (l->tag < r->tag);
}

double ledger_lag_ms(const struct ledger *ledger, double percentile)
{
        const struct ledger_line **answers = calloc(ledger->n + 1, sizeof(*answers));
        double *lags = calloc(ledger->n + 1, sizeof(*lags)), result = -1;
        size_t n_answers = 0, n = 0;

        check(answers != NULL && lags != NULL);
        for (size_t i = 0; i < ledger->n; i++)
                if (ledger->lines[i].kind == LEDGER_ANSWERED && ledger->lines[i].status / 100 == 2)
                        answers[n_answers++] = &ledger->lines[i];
        qsort(answers, n_answers, sizeof(*answers), compare_lines);
        for (size_t i = 0; i < ledger->n && n_answers > 0; i++) {
                const struct ledger_line *signal = &ledger->lines[i];
                const struct ledger_line **answer =
                    signal->kind == LEDGER_SIGNAL
                        ? bsearch(&signal, answers, n_answers, sizeof(*answers), compare_lines)
                        : NULL;

                if (answer)
                        lags[n++] = signal->at_us <= (*answer)->at_us
                                        ? 0
                                        : (double)(signal->at_us - (*answer)->at_us) / 1000.0;
        }
        qsort(lags, n, sizeof(*lags), compare_doubles);
        if (n > 0)
                result = lags[(size_t)((double)(n - 1) * percentile / 100.0)];
        free(lags);
        free(answers);
        return result;
}
