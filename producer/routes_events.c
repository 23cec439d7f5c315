/* producer/routes_events.c -- events: list, show, create, and the commands that change them. Which
 * members a command's body has is here; whether the command is possible is decided in
 * fanout/event.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fanout/reader.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

/* --- changes ------------------------------------------------------------------------------- */

static bool read_stages(const json_t *object, struct event *record, struct fault *fault)
{
        const json_t *stages = json_object_get(object, "stages");

        if (stages == NULL)
                return true;
        if (!json_is_array(stages) || json_array_size(stages) > STAGES_MAX) {
                fault_set(fault, 400, "invalid-field", "Invalid field",
                          "`stages` must be an array of at most %d stage keys.", STAGES_MAX);
                return false;
        }
        for (size_t i = 0; i < json_array_size(stages); i++) {
                const json_t *stage = json_array_get(stages, i);

                if (!json_is_string(stage) || json_string_length(stage) > STAGE_MAX) {
                        fault_set(fault, 400, "invalid-field", "Invalid field",
                                  "`stages`[%zu] must be a string of at most %d bytes.", i,
                                  STAGE_MAX);
                        return false;
                }
                strcpy(record->stages[record->n_stages++], json_string_value(stage));
        }
        return true;
}

static bool read_create(const json_t *object, struct change *change, struct event *record,
                        struct fault *fault)
{
        const char *id = NULL, *title = NULL;
        bool has_start = false;

        if (!input_text(object, "id", true, EVENT_ID_MAX, &id, fault) ||
            !input_text(object, "title", true, TITLE_MAX, &title, fault) ||
            !input_time(object, "starts_at", &has_start, &record->state.starts_at, fault) ||
            !input_bool(object, "auto_start", &record->auto_start, fault) ||
            !read_stages(object, record, fault))
                return false;
        if (!has_start) {
                fault_set(fault, 400, "invalid-field", "Invalid field",
                          "`starts_at` is required: the planned start as an RFC 3339 time.");
                return false;
        }
        strcpy(record->state.event, id);
        strcpy(record->title, title);
        strcpy(change->event, id);
        change->command.create = record;
        return true;
}

static bool read_when(const json_t *object, struct change *change, struct fault *fault)
{
        struct command *command = &change->command;

        return input_time(object, "at", &command->has_at, &command->at, fault) &&
               input_duration(object, "lead", &command->has_lead, &command->lead_ms, fault);
}

static bool read_start(const json_t *object, struct change *change, struct event *record,
                       struct fault *fault)
{
        (void)record;
        return read_when(object, change, fault);
}

static bool read_delay(const json_t *object, struct change *change, struct event *record,
                       struct fault *fault)
{
        struct command *command = &change->command;

        (void)record;
        return input_duration(object, "by", &command->has_by, &command->by_ms, fault) &&
               input_time(object, "starts_at", &command->has_starts_at, &command->starts_at, fault);
}

static bool read_reopen(const json_t *object, struct change *change, struct event *record,
                        struct fault *fault)
{
        struct command *command = &change->command;

        (void)record;
        return input_time(object, "starts_at", &command->has_starts_at, &command->starts_at, fault);
}

static bool read_stage(const json_t *object, struct change *change, struct event *record,
                       struct fault *fault)
{
        const char *stage = NULL;

        (void)record;
        if (!input_text(object, "stage", true, STAGE_MAX, &stage, fault) ||
            !read_when(object, change, fault))
                return false;
        strcpy(change->command.stage, stage);
        return true;
}

bool routes_events_window(const json_t *object, struct change *change, struct event *record,
                          struct fault *fault)
{
        bool has_window = false;

        (void)record;
        if (!input_duration(object, "window", &has_window, &change->command.window_ms, fault))
                return false;
        if (!has_window || change->command.window_ms > 0)
                return true; /* 0: what the fleet needs, change.c */
        fault_set(fault, 400, "invalid-field", "Invalid field",
                  "`window` must be more than 0: all devices at once would be a herd.");
        return false;
}

static bool read_nothing(const json_t *object, struct change *change, struct event *record,
                         struct fault *fault)
{
        (void)object;
        (void)change;
        (void)record;
        (void)fault;
        return true;
}

/* clang-format off */
static const struct action
        create_action = { COMMAND_CREATE, "", 5,
                          { "id", "title", "starts_at", "stages", "auto_start" }, read_create },
        start_action = { COMMAND_START, "/start", 2, { "at", "lead" }, read_start },
        delay_action = { COMMAND_DELAY, "/delay", 3, { "by", "starts_at", "reason" }, read_delay },
        end_action = { COMMAND_END, "/end", 0, { NULL }, read_nothing },
        cancel_action = { COMMAND_CANCEL, "/cancel", 0, { NULL }, read_nothing },
        stage_action = { COMMAND_STAGE, "/stage", 3, { "stage", "at", "lead" }, read_stage },
        refresh_action = { COMMAND_REFRESH, "/refresh", 1, { "window" }, routes_events_window },
        reopen_action = { COMMAND_REOPEN, "/reopen", 1, { "starts_at" }, read_reopen };
/* clang-format on */

void routes_events_create(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &create_action);
}

void routes_events_start(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &start_action);
}

void routes_events_delay(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &delay_action);
}

void routes_events_end(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &end_action);
}

void routes_events_cancel(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &cancel_action);
}

void routes_events_stage(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &stage_action);
}

void routes_events_refresh(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &refresh_action);
}

void routes_events_reopen(void *owner, struct httpd_request *request)
{
        change_take(owner, request, &reopen_action);
}

/* --- questions ----------------------------------------------------------------------------- */

struct question {
        struct pending pending;       /* first */
        char event[EVENT_ID_MAX + 1]; /* empty = all */
};

static void answer_one(struct question *question, const struct event *event)
{
        struct httpd_request *request = question->pending.request;
        char etag[24];

        if (event == NULL) {
                reply_no_event(request, question->event);
                return;
        }
        snprintf(etag, sizeof(etag), "\"%" PRIu64 "\"", event->state.version);
        httpd_add_header(request, "ETag", etag);
        reply_view(request, 200, view_event(event));
}

static void on_events(void *owner, enum err err, const struct event *events, size_t n)
{
        struct question *question = owner;

        if (pending_is_open(&question->pending)) {
                if (err != OK)
                        reply_redis(question->pending.request, err);
                else if (question->event[0] != '\0')
                        answer_one(question, n > 0 ? &events[0] : NULL);
                else
                        reply_view(question->pending.request, 200,
                                   json_pack("{s:o}", "events", view_events(events, n)));
                pending_answered(&question->pending);
        }
        pending_finish(&question->pending);
        free(question);
}

static void ask_events(struct admin *admin, struct httpd_request *request, const char *event)
{
        struct question *question = calloc(1, sizeof(*question));
        enum err err;

        if (question == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        if (!pending_start(&question->pending, admin, request, pending_read_late)) {
                free(question);
                return;
        }
        if (event != NULL)
                strcpy(question->event, event);
        err = reader_events(admin->options.redis, admin->options.ns, event, on_events, question);
        if (err != OK)
                on_events(question, err, NULL, 0);
}

void routes_events_list(void *owner, struct httpd_request *request)
{
        if (guard_read(owner, request))
                ask_events(owner, request, NULL);
}

void routes_events_show(void *owner, struct httpd_request *request)
{
        const char *event;

        if (!guard_read(owner, request))
                return;
        event = guard_event(request);
        if (event != NULL)
                ask_events(owner, request, event);
}
