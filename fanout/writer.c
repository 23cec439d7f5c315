/* fanout/writer.c -- one submit from question to outcome.
 *
 * Happy path: look_up -> on_lookup -> decide (event rules) -> append -> on_append -> committed;
 * with replicated:N -> held -> hold.c waits for the replicas and releases -> committed. Faster
 * writer: append says `stale` -> decide again on what is there now, WRITER_TRIES times in all.
 * Failure: no answer to the look-up, or not even sent -> UNAVAILABLE, for nothing was changed; no
 * answer to the append, or too few replicas -> UNKNOWN; an error -> FAILED, for the function writes
 * nothing once it has failed; the function is missing -> load the library, then the same step
 * again, once.
 *
 * Time: one deadline for all steps together. When it passes, the owner is told UNKNOWN if an append
 * is on its way, else UNAVAILABLE, and that is made true: a look-up that answers later leads to
 * nothing. The answer still due finds the submit without a writer, and frees it. What the append
 * is, and what its answers mean, is writer_append.c's. */
#include "fanout/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "fanout/writer_call.h"
#include "fanout/writer_inside.h"

/* --- time ----------------------------------------------------------------------------------- */

static void arm_deadline(struct writer *writer, uint64_t deadline_ms)
{
        uint64_t now_ms = clock_mono_ms();
        uint64_t wait_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
        const struct timeval wait = { (time_t)(wait_ms / 1000),
                                      (suseconds_t)(wait_ms % 1000 * 1000) };

        check(event_add(writer->deadline, &wait) == 0);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
        struct writer *writer = arg;
        struct submit *oldest = TAILQ_FIRST(&writer->pending);

        (void)fd;
        (void)what;
        if (oldest == NULL)
                return;
        if (oldest->deadline_ms > clock_mono_ms()) {
                arm_deadline(writer, oldest->deadline_ms);
                return;
        }
        if (TAILQ_NEXT(oldest, entry) != NULL) /* now, for the owner may destroy the writer */
                arm_deadline(writer, TAILQ_NEXT(oldest, entry)->deadline_ms);
        outcome_abandon(oldest, "Redis did not answer in time");
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        outcome_tell_decided(arg);
}

/* --- talking to Redis ----------------------------------------------------------------------- */

void writer_called(struct submit *submit, enum err err, void (*step)(struct submit *submit))
{
        submit->step = step;
        submit->in_flight = err == OK;
        if (err != OK)
                outcome_decided(submit, err == ERR_NOMEM ? "the node is out of memory"
                                                         : "Redis is not reachable");
}

bool writer_landed(struct submit *submit)
{
        submit->in_flight = false;
        if (submit->writer != NULL)
                return true;
        outcome_free(submit);
        return false;
}

static void on_library(void *owner, enum err err, const char *why)
{
        struct submit *submit = owner;

        if (!writer_landed(submit))
                return;
        if (err != OK)
                outcome_finish_why(submit, OUTCOME_FAILED,
                                   "Redis lacks our functions, and did not take them: ", why);
        else
                submit->step(submit);
}

void writer_take_error(struct submit *submit, const struct redis_reply *reply)
{
        if (!answer_lacks_function(reply) || submit->loaded) {
                outcome_finish_why(submit, OUTCOME_FAILED,
                                   "Redis refused: ", redis_text(reply, NULL));
                return;
        }
        log_warn("LIBRARY-MISSING", "the functions are gone from Redis: loading them again");
        submit->loaded = true;

        writer_called(submit, library_load(submit->writer->redis, on_library, submit),
                      submit->step);
}

/* --- look up and decide --------------------------------------------------------------------- */

bool writer_take_before(struct submit *submit, const struct redis_reply *record)
{
        size_t len = 0;
        const char *text = record != NULL ? redis_text(record, &len) : "";

        submit->has_before = record != NULL && redis_type(record) == REDIS_STRING;
        if (!submit->has_before || event_parse(text, len, &submit->before) == OK)
                return true;
        submit->has_before = false;
        log_error("EVENT-UNREADABLE", "event=%s record=%s", log_quote(submit->change.event),
                  log_quote(text));
        outcome_finish_why(submit, OUTCOME_FAILED, "the event's record in Redis cannot be read",
                           "");
        return false;
}

void writer_decide(struct submit *submit)
{
        const struct change *change = &submit->change;
        const struct event *before = submit->has_before ? &submit->before : NULL;
        uint64_t version = before != NULL ? before->state.version : 0;

        /* An event that is not there is told as such: its version is beside the point. */
        if (change->has_if_version && change->if_version != version &&
            (before != NULL || change->command.kind == COMMAND_CREATE)) {
                outcome_finish_with_event(submit, OUTCOME_STALE, before);
                return;
        }
        if (event_apply(before, &change->command, submit->now, &submit->after, &submit->signal,
                        &submit->outcome.refusal) != OK) {
                outcome_finish_with_event(submit, OUTCOME_REFUSED, before);
                return;
        }
        submit->tries++;
        if (change->dry_run)
                writer_append_stop_short(submit);
        else
                writer_append_send(submit);
}

static void on_lookup(void *owner, const struct redis_reply *reply)
{
        struct submit *submit = owner;

        if (!writer_landed(submit))
                return;
        if (reply == NULL) {
                outcome_finish_why(submit, OUTCOME_UNAVAILABLE,
                                   "Redis did not answer in time; nothing was changed", "");
                return;
        }
        if (answer_is_error(reply)) {
                writer_take_error(submit, reply);
                return;
        }

        const struct redis_reply *request = redis_at(reply, 1);

        if (request != NULL && redis_count(request) >= 4) {
                if (strcmp(redis_text(redis_at(request, 0), NULL), submit->change.fingerprint) == 0)
                        writer_append_take_replay(submit, request, 1);
                else
                        outcome_finish(submit, OUTCOME_KEY_REUSED);
                return;
        }
        /* For a dry run. A library of before does not say: then nothing is known against it. */
        submit->is_full = redis_count(reply) > 2 && redis_integer(redis_at(reply, 2)) >= EVENTS_MAX;
        submit->has_drafts = redis_count(reply) <= 3 || redis_integer(redis_at(reply, 3)) > 0;
        if (writer_take_before(submit, redis_at(reply, 0)))
                writer_decide(submit);
}

static void look_up(struct submit *submit)
{
        writer_called(submit,
                      writer_call_lookup(submit->writer->redis, submit->writer->options.ns,
                                         &submit->change, on_lookup, submit),
                      look_up);
}

/* --- the owner's side ----------------------------------------------------------------------- */

enum err writer_create(struct event_base *base, const struct writer_options *options,
                       struct writer **ret_writer)
{
        struct writer *writer = calloc(1, sizeof(*writer));

        if (writer == NULL)
                return ERR_NOMEM;
        check(strlen(options->ns) <= NAMESPACE_MAX);
        writer->options = *options;
        writer->redis = primary_redis(options->primary);
        durability_format(primary_durability(options->primary), writer->mode);
        TAILQ_INIT(&writer->pending);
        TAILQ_INIT(&writer->decided);
        writer->later = event_new(base, -1, 0, on_later, writer);
        if (writer->later == NULL)
                goto free_writer;
        writer->deadline = evtimer_new(base, on_deadline, writer);
        if (writer->deadline == NULL)
                goto free_later;
        if (hold_create(base, options->primary, options->ns, &writer->hold) != OK)
                goto free_deadline;
        *ret_writer = writer;
        return OK;

free_deadline:
        event_free(writer->deadline);
free_later:
        event_free(writer->later);
free_writer:
        free(writer);
        return ERR_NOMEM;
}

void writer_destroy(struct writer *writer)
{
        struct submit *submit;

        if (writer == NULL)
                return;
        while (!TAILQ_EMPTY(&writer->decided))
                outcome_tell_decided(writer);
        while ((submit = TAILQ_FIRST(&writer->pending)) != NULL)
                outcome_abandon(submit, "the node is stopping");
        hold_destroy(writer->hold); /* what waited there was abandoned, and is freed now */
        event_free(writer->deadline);
        event_free(writer->later);
        free(writer);
}

enum err writer_submit(struct writer *writer, const struct change *change, int64_t now,
                       writer_done_fn *done, void *owner)
{
        struct submit *submit = calloc(1, sizeof(*submit));

        if (submit == NULL)
                return ERR_NOMEM;
        check(change->request_key[0] == '\0' || change->fingerprint[0] != '\0');
        submit->to = target_copy(change->to);
        if (submit->to == NULL && change->to != NULL) {
                free(submit);
                return ERR_NOMEM;
        }
        submit->writer = writer;
        submit->change = *change;
        submit->change.to = submit->to;
        if (change->note != NULL)
                submit->note = *change->note;
        submit->change.note = &submit->note;
        if (change->dry_run) /* nothing is filed under a key, nor brought back */
                submit->change.request_key[0] = '\0';
        if (change->command.kind == COMMAND_CREATE) {
                check(strcmp(change->event, change->command.create->state.event) == 0);
                submit->create = *change->command.create;
                submit->change.command.create = &submit->create;
        }
        submit->now = now;
        submit->done = done;
        submit->owner = owner;
        submit->deadline_ms = clock_mono_ms() + WRITER_ANSWER_MS;
        if (TAILQ_EMPTY(&writer->pending))
                arm_deadline(writer, submit->deadline_ms);
        TAILQ_INSERT_TAIL(&writer->pending, submit, entry);
        look_up(submit);
        return OK;
}
