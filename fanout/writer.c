/* fanout/writer.c -- one submit from question to outcome.
 *
 * Happy path: look_up -> on_lookup -> decide (event rules) -> append -> on_append -> committed.
 * Faster writer: append says `stale` -> decide again on what is there now, WRITER_TRIES times in
 * all. Failure: no answer to the look-up, or not even sent -> UNAVAILABLE, for nothing was changed;
 * no answer to the append -> UNKNOWN; an error -> FAILED, for the function writes nothing once it
 * has failed; the function is missing -> load the library, then the same step again, once.
 *
 * Time: one deadline for all steps together. When it passes, the owner is told UNKNOWN if an append
 * is on its way, else UNAVAILABLE, and that is made true: a look-up that answers later leads to
 * nothing. The answer still due finds the submit without a writer, and frees it. */
#include "fanout/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "fanout/entry.h"
#include "fanout/fanout_metrics.h"
#include "fanout/writer_call.h"

struct submit {
        TAILQ_ENTRY(submit) entry;
        struct writer *writer; /* NULL: the owner was told; only an answer of Redis is due */
        struct change change;
        struct event create; /* what change.command.create points to */
        int64_t now;
        writer_done_fn *done;
        void *owner;
        uint64_t deadline_ms; /* monotonic; rising along `pending` */
        unsigned tries;
        bool in_flight, loaded;
        bool appending; /* an append is on its way: nobody knows what came of it */
        void (*step)(struct submit *submit); /* what to send again once the library is there */
        bool has_before;
        struct event before, after;
        struct signal signal;
        struct outcome outcome; /* once decided without an answer: told from the loop */
        char why[256];
};
TAILQ_HEAD(submit_list, submit);

struct writer {
        struct redis *redis;
        char ns[NAMESPACE_MAX + 1];
        struct event *later;    /* tells the owners of `decided` */
        struct event *deadline; /* of the first of `pending`, or of one that is done by now */
        struct submit_list pending, decided;
};

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

/* --- outcomes ------------------------------------------------------------------------------- */

static void tell(struct submit *submit, struct submit_list *list)
{
        TAILQ_REMOVE(list, submit, entry);
        metric_add(metric_for[submit->outcome.kind], 1);
        submit->outcome.why = submit->why;
        submit->done(submit->owner, &submit->outcome); /* may destroy the writer */
}

static void finish(struct submit *submit, enum outcome_kind kind)
{
        submit->outcome.kind = kind;
        tell(submit, &submit->writer->pending);
        free(submit);
}

static void finish_why(struct submit *submit, enum outcome_kind kind, const char *why,
                       const char *detail)
{
        snprintf(submit->why, sizeof(submit->why), "%s%s", why, detail);
        finish(submit, kind);
}

static void finish_with_event(struct submit *submit, enum outcome_kind kind,
                              const struct event *event)
{
        submit->outcome.has_event = event != NULL;
        if (event != NULL)
                submit->outcome.event = *event;
        finish(submit, kind);
}

static void finish_refused(struct submit *submit, enum err err, unsigned legal, const char *why)
{
        submit->outcome.refusal = (struct refusal){ .err = err, .legal = legal };
        snprintf(submit->outcome.refusal.why, sizeof(submit->outcome.refusal.why), "%s", why);
        finish_with_event(submit, OUTCOME_REFUSED, submit->has_before ? &submit->before : NULL);
}

/* Nothing could be sent. The owner may still be inside writer_submit(), so it hears from the loop.
 */
static void finish_unsent(struct submit *submit, enum err err)
{
        struct writer *writer = submit->writer;

        snprintf(submit->why, sizeof(submit->why), "%s",
                 err == ERR_NOMEM ? "the node is out of memory; nothing was changed"
                                  : "Redis is not reachable; nothing was changed");
        submit->outcome.kind = OUTCOME_UNAVAILABLE;
        TAILQ_REMOVE(&writer->pending, submit, entry);
        TAILQ_INSERT_TAIL(&writer->decided, submit, entry);
        event_active(writer->later, EV_TIMEOUT, 1);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
        struct writer *writer = arg;
        struct submit *submit = TAILQ_FIRST(&writer->decided);

        (void)fd;
        (void)what;
        if (submit == NULL)
                return;
        event_active(writer->later, EV_TIMEOUT, 1); /* for the next one, if this destroys nothing */
        tell(submit, &writer->decided);
        free(submit);
}

/* Tells the owner of one whose answer is still due; that will free it. */
static void abandon(struct submit *submit, const char *why)
{
        struct writer *writer = submit->writer;

        check(submit->in_flight);
        submit->outcome.kind = submit->appending ? OUTCOME_UNKNOWN : OUTCOME_UNAVAILABLE;
        snprintf(submit->why, sizeof(submit->why), "%s%s", why,
                 submit->appending
                     ? "this may or may not have happened; ask again with the same key"
                     : "nothing was changed");
        submit->writer = NULL;
        tell(submit, &writer->pending);
}

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
        abandon(oldest, "Redis did not answer in time: ");
}

/* --- talking to Redis ----------------------------------------------------------------------- */

/* `step`: what made the call. */
static void called(struct submit *submit, enum err err, void (*step)(struct submit *submit))
{
        submit->step = step;
        submit->in_flight = err == OK;
        if (err != OK)
                finish_unsent(submit, err);
}

/* Every answer comes through here. False: nobody is there to hear it. */
static bool landed(struct submit *submit)
{
        submit->in_flight = false;
        if (submit->writer != NULL)
                return true;
        free(submit);
        return false;
}

static void on_library(void *owner, enum err err, const char *why)
{
        struct submit *submit = owner;

        if (!landed(submit))
                return;
        if (err != OK)
                finish_why(submit, OUTCOME_FAILED,
                           "Redis lacks our functions, and did not take them: ", why);
        else
                submit->step(submit);
}

/* Errors of either call. The function checks before it writes, so an error means nothing was
 * written. */
static void take_error(struct submit *submit, const struct redis_reply *reply)
{
        if (!answer_lacks_function(reply) || submit->loaded) {
                finish_why(submit, OUTCOME_FAILED, "Redis refused: ", redis_text(reply, NULL));
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

/* Token and record stand at `i` and `i` + 1 of committed, replayed, and the request of a look-up.
 */
static void finish_with_result(struct submit *submit, enum outcome_kind kind,
                               const struct redis_reply *reply, size_t i)
{
        const struct redis_reply *token = redis_at(reply, i), *record = redis_at(reply, i + 1);
        size_t token_len = 0, record_len = 0;
        const char *token_text = token != NULL ? redis_text(token, &token_len) : "";
        const char *record_text = record != NULL ? redis_text(record, &record_len) : "";
        struct event event;

        if (token_parse(token_text, token_len, &submit->outcome.token) != OK ||
            event_parse(record_text, record_len, &event) != OK)
                finish_why(submit, OUTCOME_UNKNOWN,
                           "the result in Redis cannot be read: ", token_text);
        else
                finish_with_event(submit, kind, &event);
}

static void on_stale(struct submit *submit, const struct redis_reply *reply)
{
        if (!take_before(submit, redis_at(reply, 1)))
                return;
        if (submit->change.has_if_version || submit->tries >= WRITER_TRIES)
                finish_with_event(submit, OUTCOME_STALE,
                                  submit->has_before ? &submit->before : NULL);
        else
                decide(submit);
}

/* The owner heard "unknown"; whoever reads the log shall know. */
static void log_late(const struct submit *submit, const struct redis_reply *reply)
{
        bool is_done = answer_says(reply, "committed") || answer_says(reply, "replayed");

        log_warn("CHANGE-SLOW", "event=%s kind=%s key=%s answer=%s token=%s",
                 log_quote(submit->change.event), command_kind_name[submit->change.command.kind],
                 log_quote(submit->change.request_key),
                 log_quote(answer_is_error(reply) ? redis_text(reply, NULL) : text_at(reply, 0)),
                 is_done ? log_quote(text_at(reply, 1)) : "none");
}

static void on_append(void *owner, const struct redis_reply *reply)
{
        struct submit *submit = owner;

        submit->appending = false;
        if (submit->writer == NULL && reply != NULL)
                log_late(submit, reply);
        if (!landed(submit))
                return;
        if (reply == NULL)
                finish_why(
                    submit, OUTCOME_UNKNOWN,
                    "Redis did not answer in time: this may or may not have happened; ask again "
                    "with the same key",
                    "");
        else if (answer_is_error(reply))
                take_error(submit, reply);
        else if (answer_says(reply, "committed"))
                finish_with_result(submit, OUTCOME_COMMITTED, reply, 1);
        else if (answer_says(reply, "replayed"))
                finish_with_result(submit, OUTCOME_REPLAYED, reply, 1);
        else if (answer_says(reply, "stale"))
                on_stale(submit, reply);
        else if (answer_says(reply, "mismatch"))
                finish(submit, OUTCOME_KEY_REUSED);
        else if (answer_says(reply, "full"))
                finish_refused(submit, ERR_TOO_LARGE, 0,
                               "there are as many events as fit: no more can be created");
        else if (answer_says(reply, "nodrafts"))
                finish_refused(submit, ERR_CONFLICT,
                               event_legal(&submit->before, submit->now) & ~(1u << COMMAND_PUBLISH),
                               "there are no drafts: put a bundle for at least one cohort first");
        else
                finish_why(submit, OUTCOME_UNKNOWN, "Redis gave an answer that is none of ours",
                           "");
}

static void append(struct submit *submit)
{
        struct append what = { .change = &submit->change,
                               .expected = submit->has_before ? submit->before.state.version : 0,
                               .now = submit->now };
        char *record = event_format(&submit->after), *body = entry_format_body(&submit->signal);
        enum err err = ERR_NOMEM;

        what.record = record;
        what.body = body;
        if (record != NULL && body != NULL)
                err = writer_call_append(submit->writer->redis, submit->writer->ns, &what,
                                         on_append, submit);
        free(record);
        free(body);
        submit->appending = err == OK;
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
        finish_why(submit, OUTCOME_FAILED, "the event's record in Redis cannot be read", "");
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
                finish_with_event(submit, OUTCOME_STALE, before);
                return;
        }
        if (event_apply(before, &change->command, submit->now, &submit->after, &submit->signal,
                        &submit->outcome.refusal) != OK) {
                finish_with_event(submit, OUTCOME_REFUSED, before);
                return;
        }
        submit->tries++;
        append(submit);
}

static void on_lookup(void *owner, const struct redis_reply *reply)
{
        struct submit *submit = owner;

        if (!landed(submit))
                return;
        if (reply == NULL) {
                finish_why(submit, OUTCOME_UNAVAILABLE,
                           "Redis did not answer in time; nothing was changed", "");
                return;
        }
        if (answer_is_error(reply)) {
                take_error(submit, reply);
                return;
        }

        const struct redis_reply *request = redis_at(reply, 1);

        if (request != NULL && redis_count(request) == 3) {
                if (strcmp(redis_text(redis_at(request, 0), NULL), submit->change.fingerprint) == 0)
                        finish_with_result(submit, OUTCOME_REPLAYED, request, 1);
                else
                        finish(submit, OUTCOME_KEY_REUSED);
                return;
        }
        if (take_before(submit, redis_at(reply, 0)))
                decide(submit);
}

static void look_up(struct submit *submit)
{
        called(submit,
               writer_call_lookup(submit->writer->redis, submit->writer->ns, &submit->change,
                                  on_lookup, submit),
               look_up);
}

/* --- the owner's side ----------------------------------------------------------------------- */

enum err writer_create(struct event_base *base, struct redis *redis, const char *ns,
                       struct writer **ret_writer)
{
        struct writer *writer = calloc(1, sizeof(*writer));

        if (writer == NULL)
                return ERR_NOMEM;
        check(strlen(ns) <= NAMESPACE_MAX);
        strcpy(writer->ns, ns);
        writer->redis = redis;
        TAILQ_INIT(&writer->pending);
        TAILQ_INIT(&writer->decided);
        writer->later = event_new(base, -1, 0, on_later, writer);
        if (writer->later == NULL)
                goto free_writer;
        writer->deadline = evtimer_new(base, on_deadline, writer);
        if (writer->deadline == NULL)
                goto free_later;
        *ret_writer = writer;
        return OK;

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
        while ((submit = TAILQ_FIRST(&writer->decided)) != NULL) {
                tell(submit, &writer->decided);
                free(submit);
        }
        while ((submit = TAILQ_FIRST(&writer->pending)) != NULL)
                abandon(submit, "the node is stopping: ");
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
        submit->writer = writer;
        submit->change = *change;
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
