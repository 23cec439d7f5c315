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
 * nothing. The answer still due finds the submit without a writer, and frees it. */
#include "fanout/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "fanout/entry.h"
#include "fanout/writer_call.h"
#include "fanout/writer_inside.h"

/* Of what is left: so that hold.c tells of too few replicas before the deadline tells of silence.
 */
#define HOLD_MARGIN_MS 30

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

/* `step`: what made the call. */
static void called(struct submit *submit, enum err err, void (*step)(struct submit *submit))
{
        submit->step = step;
        submit->in_flight = err == OK;
        if (err != OK)
                outcome_decided(submit, err == ERR_NOMEM ? "the node is out of memory"
                                                         : "Redis is not reachable");
}

/* Every answer comes through here. False: nobody is there to hear it. */
static bool landed(struct submit *submit)
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

        if (!landed(submit))
                return;
        if (err != OK)
                outcome_finish_why(submit, OUTCOME_FAILED,
                                   "Redis lacks our functions, and did not take them: ", why);
        else
                submit->step(submit);
}

/* Errors of either call. The function checks before it writes, so an error means nothing was
 * written. */
static void take_error(struct submit *submit, const struct redis_reply *reply)
{
        if (!answer_lacks_function(reply) || submit->loaded) {
                outcome_finish_why(submit, OUTCOME_FAILED,
                                   "Redis refused: ", redis_text(reply, NULL));
                return;
        }
        log_warn("LIBRARY-MISSING", "the functions are gone from Redis: loading them again");
        submit->loaded = true;

        called(submit, library_load(submit->writer->redis, on_library, submit), submit->step);
}

/* --- append --------------------------------------------------------------------------------- */

static void decide(struct submit *submit);
static bool take_before(struct submit *submit, const struct redis_reply *record);

static const char *text_at(const struct redis_reply *reply, size_t i)
{
        const struct redis_reply *member = redis_at(reply, i);

        return member != NULL ? redis_text(member, NULL) : "";
}

static bool answer_says(const struct redis_reply *reply, const char *word)
{
        return strcmp(text_at(reply, 0), word) == 0;
}

static void on_held_end(void *owner, enum hold_end end)
{
        struct submit *submit = owner;

        if (!landed(submit))
                return;
        switch (end) {
        case HOLD_RELEASED:
                outcome_finish_with_event(submit, submit->held_kind, &submit->outcome.event);
                break;
        case HOLD_SHORT:
                outcome_finish_why(
                    submit, OUTCOME_UNKNOWN,
                    "it is written, but not yet held by as many replicas as the durability "
                    "names: it is released as soon as it is",
                    "");
                break;
        case HOLD_LOST:
                outcome_finish_why(submit, OUTCOME_UNKNOWN,
                                   "the log lost it, or began anew, before enough replicas held it",
                                   "");
                break;
        case HOLD_UNSURE:
                outcome_finish_why(submit, OUTCOME_UNKNOWN,
                                   "it is written, but whether it was released is not known", "");
                break;
        }
}

/* It is in the log, by our append or an earlier one with the same key; nobody may see it yet. */
static void await_replicas(struct submit *submit)
{
        struct writer *writer = submit->writer;

        submit->phase = SUBMIT_HELD;
        if (primary_durability(writer->options.primary)->replicas == 0) {
                outcome_finish_why(
                    submit, OUTCOME_UNKNOWN,
                    "it is written, but held back for replicas by a node with durability "
                    "replicated:N, as this node has not: set the same --durability on all",
                    "");
                return;
        }
        submit->in_flight =
            hold_await(writer->hold, &submit->outcome.token, submit->deadline_ms - HOLD_MARGIN_MS,
                       on_held_end, submit) == OK;
        if (!submit->in_flight)
                outcome_finish_why(
                    submit, OUTCOME_UNKNOWN,
                    "it is written, but the node is out of memory to wait for replicas", "");
}

/* Token and record stand at `i` and `i` + 1 of committed, held and replayed, and of the request of
 * a look-up; of what is replayed also whether it is held back, and with which durability it was
 * made. */
static void take_result(struct submit *submit, enum outcome_kind kind, bool is_held,
                        const struct redis_reply *reply, size_t i)
{
        const struct redis_reply *token = redis_at(reply, i), *record = redis_at(reply, i + 1);
        struct outcome *outcome = &submit->outcome;
        size_t token_len = 0, record_len = 0;
        const char *token_text = token != NULL ? redis_text(token, &token_len) : "";
        const char *record_text = record != NULL ? redis_text(record, &record_len) : "";

        if (token_parse(token_text, token_len, &outcome->token) != OK ||
            event_parse(record_text, record_len, &outcome->event) != OK) {
                outcome_finish_why(submit, OUTCOME_UNKNOWN,
                                   "the result in Redis cannot be read: ", token_text);
                return;
        }
        snprintf(outcome->durability, sizeof(outcome->durability), "%s",
                 kind == OUTCOME_REPLAYED ? text_at(reply, i + 3) : submit->writer->mode);
        submit->held_kind = kind;
        if (is_held)
                await_replicas(submit);
        else
                outcome_finish_with_event(submit, kind, &outcome->event);
}

static void take_replay(struct submit *submit, const struct redis_reply *reply, size_t i)
{
        bool is_held = strcmp(text_at(reply, i + 2), "1") == 0;

        take_result(submit, OUTCOME_REPLAYED, is_held, reply, i);
}

static void on_stale(struct submit *submit, const struct redis_reply *reply)
{
        if (!take_before(submit, redis_at(reply, 1)))
                return;
        if (submit->change.has_if_version || submit->tries >= WRITER_TRIES)
                outcome_finish_with_event(submit, OUTCOME_STALE,
                                          submit->has_before ? &submit->before : NULL);
        else
                decide(submit);
}

/* The owner heard "unknown"; whoever reads the log shall know. */
static void log_late(const struct submit *submit, const struct redis_reply *reply)
{
        bool is_done = answer_says(reply, "committed") || answer_says(reply, "held") ||
                       answer_says(reply, "replayed");

        log_warn("CHANGE-SLOW", "event=%s kind=%s key=%s answer=%s token=%s",
                 log_quote(submit->change.event), command_kind_name[submit->change.command.kind],
                 log_quote(submit->change.request_key),
                 log_quote(answer_is_error(reply) ? redis_text(reply, NULL) : text_at(reply, 0)),
                 is_done ? log_quote(text_at(reply, 1)) : "none");
}

/* The log is not what this node took it for; the follower finds that out by itself. */
static void on_wrong_log(struct submit *submit, const char *why)
{
        outcome_finish_why(submit, OUTCOME_UNAVAILABLE, why,
                           "; nothing was changed: try again in a second");
}

/* What the function says without having written anything. */
static void on_not_appended(struct submit *submit, const struct redis_reply *reply)
{
        if (answer_says(reply, "stale"))
                on_stale(submit, reply);
        else if (answer_says(reply, "mismatch"))
                outcome_finish(submit, OUTCOME_KEY_REUSED);
        else if (answer_says(reply, "moved"))
                on_wrong_log(submit, "the log is in another epoch than this node has read");
        else if (answer_says(reply, "lost"))
                on_wrong_log(submit, "the log in Redis has lost signals that this node holds");
        else if (answer_says(reply, "mixed"))
                outcome_finish_why(
                    submit, OUTCOME_FAILED,
                    "another node holds signals back for replicas, as this one would not: set "
                    "the same --durability on all nodes; nothing was changed",
                    "");
        else if (answer_says(reply, "full"))
                outcome_refuse_full(submit);
        else if (answer_says(reply, "nodrafts"))
                outcome_refuse_nodrafts(submit);
        else
                outcome_finish_why(submit, OUTCOME_UNKNOWN,
                                   "Redis gave an answer that is none of ours", "");
}

static void on_append(void *owner, const struct redis_reply *reply)
{
        struct submit *submit = owner;

        if (submit->writer == NULL && reply != NULL)
                log_late(submit, reply);
        if (!landed(submit))
                return;
        submit->phase = SUBMIT_ASKING;
        if (reply == NULL)
                outcome_finish_why(submit, OUTCOME_UNKNOWN,
                                   "Redis did not answer: this may or may not have happened", "");
        else if (answer_is_error(reply))
                take_error(submit, reply);
        else if (answer_says(reply, "committed"))
                take_result(submit, OUTCOME_COMMITTED, false, reply, 1);
        else if (answer_says(reply, "held"))
                take_result(submit, OUTCOME_COMMITTED, true, reply, 1);
        else if (answer_says(reply, "replayed"))
                take_replay(submit, reply, 1);
        else
                on_not_appended(submit, reply);
}

/* NULL: an append may be sent, and `ret_witness` goes with it. */
static const char *why_not_append(const struct writer *writer, struct token *ret_witness)
{
        struct token witness = writer->options.witness(writer->options.owner);

        if (witness.epoch == 0)
                return "this node has not read the log yet";
        *ret_witness = witness;
        return primary_why_not_writable(writer->options.primary);
}

/* All that was asked, and nothing done. */
static void stop_short(struct submit *submit)
{
        struct token unused;
        const char *why_not = why_not_append(submit->writer, &unused);
        enum command_kind kind = submit->change.command.kind;

        if (why_not != NULL) {
                outcome_decided(submit, why_not);
        } else if (kind == COMMAND_CREATE && submit->is_full) {
                outcome_refuse_full(submit);
        } else if (kind == COMMAND_PUBLISH && !submit->has_drafts) {
                outcome_refuse_nodrafts(submit);
        } else {
                submit->outcome.told = submit->signal.kind;
                outcome_finish_with_event(submit, OUTCOME_POSSIBLE, &submit->after);
        }
}

static void append(struct submit *submit)
{
        struct writer *writer = submit->writer;
        struct append what = { .change = &submit->change,
                               .expected = submit->has_before ? submit->before.state.version : 0,
                               .now = submit->now,
                               .hold = primary_durability(writer->options.primary)->replicas,
                               .durability = writer->mode };
        const char *why_not = why_not_append(writer, &what.witness);
        char *record, *body;
        enum err err = ERR_NOMEM;

        if (why_not != NULL) {
                submit->in_flight = false;
                outcome_decided(submit, why_not);
                return;
        }
        submit->after.epoch = what.witness.epoch;
        what.record = record = event_format(&submit->after);
        what.body = body = entry_format_body(&submit->signal, submit->to);
        if (record != NULL && body != NULL)
                err =
                    writer_call_append(writer->redis, writer->options.ns, &what, on_append, submit);
        free(record);
        free(body);
        submit->phase = err == OK ? SUBMIT_APPENDING : SUBMIT_ASKING;
        called(submit, err, append);
}

/* --- look up and decide --------------------------------------------------------------------- */

/* False: finished, for nobody can decide on what cannot be read. */
static bool take_before(struct submit *submit, const struct redis_reply *record)
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

static void decide(struct submit *submit)
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
                stop_short(submit);
        else
                append(submit);
}

static void on_lookup(void *owner, const struct redis_reply *reply)
{
        struct submit *submit = owner;

        if (!landed(submit))
                return;
        if (reply == NULL) {
                outcome_finish_why(submit, OUTCOME_UNAVAILABLE,
                                   "Redis did not answer in time; nothing was changed", "");
                return;
        }
        if (answer_is_error(reply)) {
                take_error(submit, reply);
                return;
        }

        const struct redis_reply *request = redis_at(reply, 1);

        if (request != NULL && redis_count(request) >= 4) {
                if (strcmp(redis_text(redis_at(request, 0), NULL), submit->change.fingerprint) == 0)
                        take_replay(submit, request, 1);
                else
                        outcome_finish(submit, OUTCOME_KEY_REUSED);
                return;
        }
        /* A library of before does not say: then nothing is known against it. */
        submit->is_full =
            redis_count(reply) > 2 && redis_integer(redis_at(reply, 2)) >= EVENTS_MAX;
        submit->has_drafts = redis_count(reply) <= 3 || redis_integer(redis_at(reply, 3)) > 0;
        if (take_before(submit, redis_at(reply, 0)))
                decide(submit);
}

static void look_up(struct submit *submit)
{
        called(submit,
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
