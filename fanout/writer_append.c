/* fanout/writer_append.c -- a submit from the append on: what is sent, and what each answer makes
 * of it. What goes before is writer.c's, how it ends is outcome.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fanout/answer.h"
#include "fanout/entry.h"
#include "fanout/writer_call.h"
#include "fanout/writer_inside.h"

/* Of what is left: so that hold.c tells of too few replicas before the deadline tells of silence.
 */
#define HOLD_MARGIN_MS 30

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

        if (!writer_landed(submit))
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

void writer_append_take_replay(struct submit *submit, const struct redis_reply *reply, size_t i)
{
        bool is_held = strcmp(text_at(reply, i + 2), "1") == 0;

        take_result(submit, OUTCOME_REPLAYED, is_held, reply, i);
}

static void on_stale(struct submit *submit, const struct redis_reply *reply)
{
        if (!writer_take_before(submit, redis_at(reply, 1)))
                return;
        if (submit->change.has_if_version || submit->tries >= WRITER_TRIES)
                outcome_finish_with_event(submit, OUTCOME_STALE,
                                          submit->has_before ? &submit->before : NULL);
        else
                writer_decide(submit);
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
        if (!writer_landed(submit))
                return;
        submit->phase = SUBMIT_ASKING;
        if (reply == NULL)
                outcome_finish_why(submit, OUTCOME_UNKNOWN,
                                   "Redis did not answer: this may or may not have happened", "");
        else if (answer_is_error(reply))
                writer_take_error(submit, reply);
        else if (answer_says(reply, "committed"))
                take_result(submit, OUTCOME_COMMITTED, false, reply, 1);
        else if (answer_says(reply, "held"))
                take_result(submit, OUTCOME_COMMITTED, true, reply, 1);
        else if (answer_says(reply, "replayed"))
                writer_append_take_replay(submit, reply, 1);
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

void writer_append_stop_short(struct submit *submit)
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

void writer_append_send(struct submit *submit)
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
        writer_called(submit, err, writer_append_send);
}
