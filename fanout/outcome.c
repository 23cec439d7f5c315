/* fanout/outcome.c -- how a submit ends: what its owner is told, when, and what is counted. Decides
 * nothing about the change itself; writer.c does. What was appended, or may have been, is never
 * told as not done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "fanout/fanout_metrics.h"
#include "fanout/writer_inside.h"

static const struct metric *const metric_for[] = {
        [OUTCOME_COMMITTED] = &fanout_metric_appends_committed,
        [OUTCOME_REPLAYED] = &fanout_metric_appends_replayed,
        [OUTCOME_REFUSED] = &fanout_metric_appends_refused,
        [OUTCOME_STALE] = &fanout_metric_appends_stale,
        [OUTCOME_KEY_REUSED] = &fanout_metric_appends_key_reused,
        [OUTCOME_UNKNOWN] = &fanout_metric_appends_unknown,
        [OUTCOME_UNAVAILABLE] = &fanout_metric_appends_unavailable,
        [OUTCOME_FAILED] = &fanout_metric_appends_failed,
};

/* Sentences begin with why nothing more is known, and end with this. */
static const char *const meanwhile[] = {
        [SUBMIT_ASKING] = "nothing was changed",
        [SUBMIT_APPENDING] = "this may or may not have happened",
        [SUBMIT_HELD] = "it is written, and is released as soon as enough replicas hold it",
};

static void tell(struct submit *submit, struct submit_list *list)
{
        TAILQ_REMOVE(list, submit, entry);
        if (submit->outcome.kind != OUTCOME_POSSIBLE) /* of which nothing came */
                metric_add(metric_for[submit->outcome.kind], 1);
        submit->outcome.why = submit->why;
        submit->done(submit->owner, &submit->outcome); /* may destroy the writer */
}

void outcome_finish(struct submit *submit, enum outcome_kind kind)
{
        const struct writer_options *options = &submit->writer->options;

        submit->outcome.kind = kind;
        if ((kind == OUTCOME_COMMITTED || kind == OUTCOME_REPLAYED) &&
            options->on_committed != NULL)
                options->on_committed(options->owner, &submit->outcome.token,
                                      &submit->outcome.event, kind == OUTCOME_REPLAYED);
        tell(submit, &submit->writer->pending);
        outcome_free(submit);
}

void outcome_free(struct submit *submit)
{
        target_destroy(submit->to);
        free(submit);
}

void outcome_finish_why(struct submit *submit, enum outcome_kind kind, const char *why,
                        const char *detail)
{
        snprintf(submit->why, sizeof(submit->why), "%s%s", why, detail);
        outcome_finish(submit, kind);
}

void outcome_finish_with_event(struct submit *submit, enum outcome_kind kind,
                               const struct event *event)
{
        submit->outcome.has_event = event != NULL;
        if (event != NULL)
                submit->outcome.event = *event;
        outcome_finish(submit, kind);
}

void outcome_refuse(struct submit *submit, enum err err, unsigned legal, const char *why)
{
        submit->outcome.refusal = (struct refusal){ .err = err, .legal = legal };
        snprintf(submit->outcome.refusal.why, sizeof(submit->outcome.refusal.why), "%s", why);
        outcome_finish_with_event(submit, OUTCOME_REFUSED,
                                  submit->has_before ? &submit->before : NULL);
}

void outcome_refuse_full(struct submit *submit)
{
        char why[sizeof(submit->outcome.refusal.why)];

        snprintf(why, sizeof(why),
                 "there are %d events, as many as a namespace holds, those that are over included: "
                 "reopen one of these with a new starts_at, or use another namespace",
                 EVENTS_MAX);
        outcome_refuse(submit, ERR_TOO_LARGE, 0, why);
}

void outcome_refuse_nodrafts(struct submit *submit)
{
        outcome_refuse(submit, ERR_CONFLICT,
                       event_legal(&submit->before, submit->now) & ~(1u << COMMAND_PUBLISH),
                       "there are no drafts: put a bundle for at least one cohort first");
}

void outcome_decided(struct submit *submit, const char *why)
{
        struct writer *writer = submit->writer;

        snprintf(submit->why, sizeof(submit->why), "%s; nothing was changed", why);
        submit->outcome.kind = OUTCOME_UNAVAILABLE;
        TAILQ_REMOVE(&writer->pending, submit, entry);
        TAILQ_INSERT_TAIL(&writer->decided, submit, entry);
        event_active(writer->later, EV_TIMEOUT, 1);
}

void outcome_tell_decided(struct writer *writer)
{
        struct submit *submit = TAILQ_FIRST(&writer->decided);

        if (submit == NULL)
                return;
        event_active(writer->later, EV_TIMEOUT, 1); /* for the next one, if this destroys nothing */
        tell(submit, &writer->decided);
        outcome_free(submit);
}

void outcome_abandon(struct submit *submit, const char *why)
{
        struct writer *writer = submit->writer;

        check(submit->in_flight);
        submit->outcome.kind =
            submit->phase == SUBMIT_ASKING ? OUTCOME_UNAVAILABLE : OUTCOME_UNKNOWN;
        snprintf(submit->why, sizeof(submit->why), "%s: %s", why, meanwhile[submit->phase]);
        submit->writer = NULL;
        tell(submit, &writer->pending);
}
