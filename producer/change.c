/* producer/change.c -- one path for every change of an event: who may, the request key, the body,
 * the writer, and what each outcome is in HTTP. Knows no event rules: those refuse in
 * fanout/event.c, and the sentence they give is passed on.
 *
 * Happy path: change_take reads everything while the request is at hand -> writer_submit ->
 * on_outcome answers. The writer tells an outcome in time whatever Redis does, so nothing is timed
 * in here. A dry run (?dry_run=1) takes the same way up to where the writer would append; then the
 * nodes are read, to say whom it would reach (reach.h). Since that comes on top, it is timed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/presence.h"
#include "producer/admin_inside.h"
#include "producer/reach.h"
#include "producer/view.h"

struct ask {                    /* one change under way */
        struct pending pending; /* first */
        struct change change;
        char shown_key[REQUEST_KEY_MAX + 1]; /* as the producer wrote it */
        char reason[INPUT_REASON_MAX + 1];
        char peer[64];
        struct audit_note note;
        struct target *to;  /* NULL: for everyone */
        struct event event; /* a dry run's, as it would be */
        enum signal_kind told;
};

static void ask_free(struct ask *ask)
{
        target_destroy(ask->to);
        free(ask);
}

/* --- answers ------------------------------------------------------------------------------- */

static void answer_changed(struct ask *ask, const struct outcome *outcome)
{
        struct httpd_request *request = ask->pending.request;
        bool is_create = ask->change.command.kind == COMMAND_CREATE;
        char etag[24], location[EVENT_ID_MAX + 16];

        snprintf(etag, sizeof(etag), "\"%" PRIu64 "\"", outcome->event.state.version);
        httpd_add_header(request, "ETag", etag);
        if (is_create) {
                snprintf(location, sizeof(location), "/v1/events/%s", ask->change.event);
                httpd_add_header(request, "Location", location);
        }
        if (outcome->kind == OUTCOME_REPLAYED)
                httpd_add_header(request, "Idempotent-Replayed", "true");
        reply_view(request, is_create ? 201 : 200,
                   view_change(&outcome->token,
                               outcome->durability[0] != '\0' ? outcome->durability : NULL,
                               &outcome->event));
}

static json_t *with_event(json_t *extra, const struct outcome *outcome)
{
        if (extra != NULL && outcome->has_event)
                (void)json_object_set_new(extra, "event", view_event(&outcome->event));
        return extra;
}

static void answer_refused(struct ask *ask, const struct outcome *outcome)
{
        struct httpd_request *request = ask->pending.request;
        const struct refusal *refusal = &outcome->refusal;

        switch (refusal->err) {
        case ERR_NOT_FOUND:
                httpd_reply_problem(request, 404, "event-not-found", "No such event", refusal->why,
                                    NULL);
                break;
        case ERR_EXISTS:
                httpd_reply_problem(request, 409, "event-exists", "The event exists already",
                                    refusal->why, with_event(json_object(), outcome));
                break;
        case ERR_CONFLICT:
                httpd_reply_problem(
                    request, 409, "not-possible-now", "Not possible now", refusal->why,
                    with_event(json_pack("{s:o}", "legal", view_commands(refusal->legal)),
                               outcome));
                break;
        case ERR_TOO_LARGE:
                httpd_reply_problem(request, 409, "limit-reached", "A limit is reached",
                                    refusal->why, with_event(json_object(), outcome));
                break;
        default:
                httpd_reply_problem(request, 400, "invalid-field", "Invalid field", refusal->why,
                                    NULL);
                break;
        }
}

static void answer_stale(struct ask *ask, const struct outcome *outcome)
{
        char detail[256];

        if (ask->change.has_if_version)
                snprintf(detail, sizeof(detail),
                         "You expected version %" PRIu64 ", but the event is at another: member "
                         "`event` has it as it is now. Look at it and decide again.",
                         ask->change.if_version);
        else
                snprintf(detail, sizeof(detail),
                         "Others changed the event each time this change was about to be made. "
                         "Member `event` has it as it is now. Nothing was done: try again.");
        httpd_reply_problem(ask->pending.request, 409, "version-stale",
                            "The event was changed meanwhile", detail,
                            with_event(json_object(), outcome));
}

static void answer_unknown(struct ask *ask, const char *why)
{
        char path[REPLY_REQUEST_PATH_MAX + 1], detail[1024];

        reply_request_path(ask->shown_key, path);
        snprintf(
            detail, sizeof(detail),
            "Not confirmed in time (%s). GET %s tells what became of it; or send the same request again "
            "with the same Idempotency-Key: it is carried out once, and you get the first result.",
            why != NULL && why[0] != '\0' ? why : "it may or may not have been made", path);
        httpd_reply_problem(
            ask->pending.request, 504, "outcome-unknown", "Outcome unknown", detail,
            json_pack("{s:s, s:s}", "request_key", ask->shown_key, "request_path", path));
}

static void answer_not_done(struct ask *ask, const char *slug, const char *title, const char *why)
{
        httpd_add_header(ask->pending.request, "Retry-After", "2");
        httpd_reply_problem(
            ask->pending.request, 503, slug, title,
            why != NULL && why[0] != '\0' ? why : "Nothing was done. Try again.",
            ask->change.dry_run ? NULL : json_pack("{s:s}", "request_key", ask->shown_key));
}

static void answer(struct ask *ask, const struct outcome *outcome)
{
        switch (outcome->kind) {
        case OUTCOME_COMMITTED:
        case OUTCOME_REPLAYED:
                answer_changed(ask, outcome);
                break;
        case OUTCOME_REFUSED:
                answer_refused(ask, outcome);
                break;
        case OUTCOME_STALE:
                answer_stale(ask, outcome);
                break;
        case OUTCOME_KEY_REUSED:
                httpd_reply_problem(ask->pending.request, 422, "idempotency-key-reused",
                                    "Idempotency-Key reused",
                                    "This key was used for another request within 24 hours. A key "
                                    "stands for one change: choose a new one for a new change.",
                                    NULL);
                break;
        case OUTCOME_UNKNOWN:
                answer_unknown(ask, outcome->why);
                break;
        case OUTCOME_UNAVAILABLE:
                answer_not_done(ask, "redis-unavailable", "Redis is away", outcome->why);
                break;
        case OUTCOME_FAILED:
                answer_not_done(ask, "redis-refused", "Redis refused", outcome->why);
                break;
        case OUTCOME_POSSIBLE:
                break; /* on_presence answers */
        }
}

/* --- the log ------------------------------------------------------------------------------- */

static void tell(const struct ask *ask, const struct outcome *outcome)
{
        static const char *const id[] = {
                [OUTCOME_COMMITTED] = "CHANGE-COMMITTED",
                [OUTCOME_REPLAYED] = "CHANGE-REPLAYED",
                [OUTCOME_REFUSED] = "CHANGE-REFUSED",
                [OUTCOME_STALE] = "CHANGE-STALE",
                [OUTCOME_KEY_REUSED] = "CHANGE-KEY-REUSED",
                [OUTCOME_UNKNOWN] = "CHANGE-UNKNOWN",
                [OUTCOME_UNAVAILABLE] = "CHANGE-UNAVAILABLE",
                [OUTCOME_FAILED] = "CHANGE-FAILED",
        };
        bool is_done = outcome->kind == OUTCOME_COMMITTED || outcome->kind == OUTCOME_REPLAYED;
        const char *why = outcome->kind == OUTCOME_REFUSED ? outcome->refusal.why : outcome->why;
        bool has_why = why != NULL && why[0] != '\0';
        const char *kind = command_kind_name[ask->change.command.kind];

        if (ask->change.dry_run) {
                log_debug("CHANGE-POSSIBLE", "event=%s kind=%s peer=%s possible=%d%s%s",
                          log_quote(ask->change.event), kind, ask->peer,
                          outcome->kind == OUTCOME_POSSIBLE, has_why ? " why=" : "",
                          has_why ? log_quote(why) : "");
                return;
        }
        if (is_done)
                log_info(id[outcome->kind],
                         "event=%s kind=%s seq=%" PRIu64 " version=%" PRIu64
                         " key=%s peer=%s ms=%" PRIu64 "%s%s",
                         log_quote(ask->change.event), kind, outcome->token.seq,
                         outcome->event.state.version, log_quote(ask->shown_key), ask->peer,
                         pending_ms(&ask->pending), ask->reason[0] != '\0' ? " reason=" : "",
                         ask->reason[0] != '\0' ? log_quote(ask->reason) : "");
        else
                log_line(outcome->kind < OUTCOME_UNKNOWN ? LOG_INFO : LOG_WARN, id[outcome->kind],
                         "event=%s kind=%s key=%s peer=%s ms=%" PRIu64 "%s%s",
                         log_quote(ask->change.event), kind, log_quote(ask->shown_key), ask->peer,
                         pending_ms(&ask->pending), has_why ? " why=" : "",
                         has_why ? log_quote(why) : "");
}

/* --- under way ----------------------------------------------------------------------------- */

static void end(struct ask *ask)
{
        pending_finish(&ask->pending);
        ask_free(ask);
}

static void on_presence(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct ask *ask = owner;

        if (pending_is_open(&ask->pending)) {
                if (err != OK)
                        reply_redis(ask->pending.request, err);
                else
                        reply_view(
                            ask->pending.request, 200,
                            view_dry_run(ask->told, &ask->event, reach_of(nodes, n, ask->to)));
                pending_answered(&ask->pending);
        }
        end(ask);
}

/* It could be done now: whom would it reach? */
static void ask_presence(struct ask *ask, const struct outcome *outcome)
{
        const struct admin_options *options = &ask->pending.admin->options;
        enum err err;

        ask->event = outcome->event;
        ask->told = outcome->told;
        err = presence_read(options->redis, options->ns, clock_wall_ms(), on_presence, ask);
        if (err != OK)
                on_presence(ask, err, NULL, 0);
}

static void on_outcome(void *owner, const struct outcome *outcome)
{
        struct ask *ask = owner;

        tell(ask, outcome);
        if (pending_is_open(&ask->pending)) {
                if (outcome->kind == OUTCOME_POSSIBLE) {
                        ask_presence(ask, outcome);
                        return;
                }
                answer(ask, outcome);
                pending_answered(&ask->pending);
        }
        end(ask);
}

/* --- reading the request ------------------------------------------------------------------- */

static bool read_if_match(struct httpd_request *request, struct change *change,
                          struct if_match *ret_if_match, struct fault *fault)
{
        if (!input_if_match(httpd_header(request, "If-Match"), ret_if_match, fault))
                return false;
        if (ret_if_match->is_given && change->command.kind == COMMAND_CREATE) {
                fault_set(fault, 400, "if-match-invalid", "If-Match invalid",
                          "An event that is being created has no version yet: leave If-Match out.");
                return false;
        }
        /* `*` asks for an event that exists, which every change but create needs anyway. */
        change->has_if_version = ret_if_match->is_given && !ret_if_match->is_any;
        change->if_version = ret_if_match->version;
        return true;
}

/* Besides its own members, every change takes those that say whom it is for. */
static bool only_known(const json_t *object, const struct action *action, struct fault *fault)
{
        const char *names[countof(action->members) + 2];
        size_t n = 0;

        while (n < action->n_members) {
                names[n] = action->members[n];
                n++;
        }
        names[n++] = "cohorts";
        names[n++] = "attributes";
        return input_known(object, names, n, fault);
}

/* For the audit trail. Without memory for what was asked, the rest will do. */
static void note_request(const json_t *object, struct httpd_request *request,
                         struct audit_note *note)
{
        char *body = json_dumps(object, JSON_COMPACT);

        audit_note_of(request, body, note);
        free(body);
}

/* `object` is the body. */
static bool read_change(struct ask *ask, const struct action *action, const json_t *object,
                        struct httpd_request *request, struct event *record, struct fault *fault)
{
        struct change *change = &ask->change;
        const char *reason = NULL;
        struct if_match if_match;
        char path[EVENT_ID_MAX + 32];

        change->command.kind = action->kind;
        if (!only_known(object, action, fault) ||
            !read_if_match(request, change, &if_match, fault) ||
            !input_target(object, &ask->to, fault) ||
            (action->kind == COMMAND_DELAY &&
             !input_text(object, "reason", false, INPUT_REASON_MAX, &reason, fault)) ||
            !action->read(object, change, record, fault))
                return false;
        change->to = ask->to;
        change->note = &ask->note;
        note_request(object, request, &ask->note);
        if (reason != NULL)
                strcpy(ask->reason, reason);
        if (action->kind == COMMAND_CREATE)
                strcpy(path, "/v1/events"); /* the id is in the body */
        else
                snprintf(path, sizeof(path), "/v1/events/%s%s", change->event, action->path);
        if (input_fingerprint("POST", path, object, &if_match, change->fingerprint) == OK)
                return true;
        fault_set(fault, 503, "out-of-memory", "Out of memory", "Nothing was done. Try again.");
        return false;
}

/* A window that nobody named is what the fleet needs. It is no part of the request: the same
 * request again is the same, even if the fleet has grown. */
static void choose_window(struct command *command, const struct admin_options *options)
{
        if ((command->kind == COMMAND_REFRESH || command->kind == COMMAND_PUBLISH) &&
            command->window_ms == 0 && options->refresh_ms != NULL)
                command->window_ms = options->refresh_ms(options->owner);
}

static void submit(struct ask *ask, struct admin *admin, struct httpd_request *request)
{
        enum err err;

        choose_window(&ask->change.command, &admin->options);
        if (!pending_start(&ask->pending, admin, request,
                           ask->change.dry_run ? pending_read_late : NULL)) {
                ask_free(ask);
                return;
        }
        err = writer_submit(admin->options.writer, &ask->change, clock_wall_ms(), on_outcome, ask);
        if (err != OK) {
                const struct outcome outcome = { .kind = OUTCOME_UNAVAILABLE,
                                                 .why = err == ERR_NOMEM
                                                            ? "Out of memory. Nothing was done."
                                                            : "Redis is away. Nothing was done." };

                on_outcome(ask, &outcome);
        }
}

void change_take(struct admin *admin, struct httpd_request *request, const struct action *action)
{
        const char *key = httpd_header(request, "Idempotency-Key");
        const char *event = "", *body;
        struct event record = { 0 };
        struct ask *ask = NULL;
        json_t *object = NULL;
        bool dry_run, has_key;
        struct fault fault;
        size_t len;

        if (!guard_change(admin, request, &dry_run))
                return;
        if (action->kind != COMMAND_CREATE) {
                event = guard_event(request);
                if (event == NULL)
                        return;
        }
        ask = calloc(1, sizeof(*ask));
        if (ask == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        strcpy(ask->change.event, event);
        snprintf(ask->peer, sizeof(ask->peer), "%s", httpd_peer(request));
        ask->change.dry_run = dry_run;
        body = httpd_body(request, &len);
        has_key = !dry_run || key != NULL; /* what changes nothing needs none */
        if ((has_key && !input_key(key, ask->change.request_key, &fault)) ||
            !input_parse(body, len, httpd_header(request, "Content-Type"), &object, &fault) ||
            !read_change(ask, action, object, request, &record, &fault)) {
                reply_fault(request, &fault);
                ask_free(ask);
        } else {
                snprintf(ask->shown_key, sizeof(ask->shown_key), "%s", has_key ? key : "");
                submit(ask, admin, request);
        }
        json_decref(object);
}
