/* producer/routes_bundles.c -- what devices will prefetch: drafts in, drafts made current, both
 * shown. A draft is only bytes filed under an event; making the drafts current is a change of the
 * event and takes the way of all changes (change.c).
 *
 * PUT: event read (does it exist, is it over?) -> draft written -> answer. Putting the same bytes
 * twice is the same as once, so it needs no request key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fanout/reader.h"
#include "prefetch/store.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

struct work {                   /* a PUT or a GET under way */
        struct pending pending; /* first */
        char event[EVENT_ID_MAX + 1];
        struct bundle_row row; /* PUT */
        bool is_sent;          /* PUT: the draft is on its way to Redis */
        bool dry_run;          /* PUT */
        uint64_t version;      /* GET: the event's bundle version */
        json_t *current;       /* GET: its rows; PUT: the event, for a dry run's answer */
};

static void work_free(struct work *work)
{
        pending_finish(&work->pending);
        json_decref(work->current);
        free(work);
}

static void fail(struct work *work, enum err err)
{
        if (pending_is_open(&work->pending)) {
                reply_redis(work->pending.request, err);
                pending_answered(&work->pending);
        }
        work_free(work);
}

/* Gives up, and answers, unless the event is there. */
static bool has_event(struct work *work, enum err err, size_t n)
{
        if (err != OK || !pending_is_open(&work->pending)) {
                fail(work, err);
                return false;
        }
        if (n == 0) {
                reply_no_event(work->pending.request, work->event);
                pending_answered(&work->pending);
                work_free(work);
                return false;
        }
        return true;
}

static struct work *work_start(struct admin *admin, struct httpd_request *request,
                               void (*on_deadline)(struct pending *pending))
{
        const char *event = guard_event(request);
        struct work *work;

        if (event == NULL)
                return NULL;
        work = calloc(1, sizeof(*work));
        if (work == NULL) {
                reply_redis(request, ERR_NOMEM);
                return NULL;
        }
        strcpy(work->event, event);
        if (!pending_start(&work->pending, admin, request, on_deadline)) {
                free(work);
                return NULL;
        }
        return work;
}

/* --- PUT ----------------------------------------------------------------------------------- */

static void answer_unknown(struct work *work)
{
        httpd_reply_problem(
            work->pending.request, 504, "outcome-unknown", "Outcome unknown",
            "Redis did not confirm in time. The draft may or may not be stored; send "
            "it again: storing it twice is the same as once.",
            NULL);
}

/* A look at the event that answers only now finds the request gone, and stores nothing. */
static void put_late(struct pending *pending)
{
        struct work *work = (struct work *)pending;

        if (work->is_sent)
                answer_unknown(work);
        else
                reply_redis(pending->request, ERR_TIMEOUT);
}

static void audit_draft(const struct work *work)
{
        struct audit_note note;
        char what[COHORT_MAX + 128];

        snprintf(what, sizeof(what), "{\"cohort\":\"%s\",\"size\":%u,\"sha256\":\"%s\"}",
                 work->row.cohort, work->row.size, work->row.sha256);
        audit_note_of(work->pending.request, what, &note);
        audit_done(work->pending.admin, "draft", AUDIT_EVENT, work->event, &note);
}

/* No device hears of a draft, and the event stays as it is. */
static void answer_dry_run(struct work *work)
{
        reply_view(work->pending.request, 200,
                   json_pack("{s:b, s:s, s:i, s:i, s:O, s:o}", "dry_run", 1, "would", "draft",
                             "devices", 0, "estimated_ms", 0, "event", work->current, "draft",
                             view_row(&work->row)));
}

static void answer_put(struct work *work, enum err err, const char *why)
{
        struct httpd_request *request = work->pending.request;
        json_t *view;

        if (err == ERR_TIMEOUT && !work->dry_run) {
                answer_unknown(work);
        } else if (err == ERR_TIMEOUT) {
                reply_redis(request, err);
        } else if (err == ERR_TOO_LARGE) {
                httpd_reply_problem(request, 409, "limit-reached", "A limit is reached", why, NULL);
        } else if (err != OK) {
                httpd_add_header(request, "Retry-After", "2");
                httpd_reply_problem(request, 503, "redis-refused", "Redis refused", why, NULL);
        } else if (work->dry_run) {
                answer_dry_run(work);
        } else {
                audit_draft(work);
                view = view_row(&work->row);
                if (view != NULL)
                        (void)json_object_set_new(view, "event", json_string(work->event));
                reply_view(request, 200, view);
                log_info("DRAFT-STORED", "event=%s cohort=%s size=%u sha256=%s", work->event,
                         work->row.cohort, work->row.size, work->row.sha256);
        }
}

static void on_stored(void *owner, enum err err, const char *why)
{
        struct work *work = owner;

        if (pending_is_open(&work->pending)) {
                answer_put(work, err, why);
                pending_answered(&work->pending);
        }
        work_free(work);
}

/* It would be taken, but for what only Redis knows. */
static void check_draft(struct work *work, const struct event *event)
{
        const struct admin_options *options = &work->pending.admin->options;
        enum err err = ERR_NOMEM;

        work->current = view_event(event);
        if (work->current != NULL)
                err = store_check_draft(options->redis, options->ns, work->event, work->row.cohort,
                                        on_stored, work);
        if (err != OK)
                fail(work, err);
}

static void on_event_for_put(void *owner, enum err err, const struct event *events, size_t n)
{
        struct work *work = owner;
        const struct admin_options *options;
        const char *body;
        size_t len;

        if (!has_event(work, err, n))
                return;
        if (events[0].phase == PHASE_ENDED || events[0].phase == PHASE_CANCELLED) {
                httpd_reply_problem(work->pending.request, 409, "event-over", "The event is over",
                                    "An event that has ended or was cancelled takes no bundles.",
                                    json_pack("{s:o}", "event", view_event(&events[0])));
                pending_answered(&work->pending);
                work_free(work);
                return;
        }
        if (work->dry_run) {
                check_draft(work, &events[0]);
                return;
        }
        options = &work->pending.admin->options;
        body = httpd_body(work->pending.request, &len);
        err = store_put_draft(options->writes, options->ns, work->event, &work->row, body,
                              on_stored, work);
        work->is_sent = err == OK;
        if (err != OK)
                fail(work, err);
}

static bool read_draft(struct httpd_request *request, struct bundle_row *row, struct fault *fault)
{
        const char *cohort = httpd_placeholder(request, 1);
        const char *type = httpd_header(request, "Content-Type");
        const char *encoding = httpd_header(request, "Content-Encoding");
        const char *body;
        size_t len;

        if (!name_is_valid(cohort, strlen(cohort), COHORT_MAX)) {
                fault_set(fault, 400, "invalid-field", "Invalid cohort",
                          "A cohort is 1 to %d characters of A-Z a-z 0-9 . _ : ~ -", COHORT_MAX);
                return false;
        }
        if (type == NULL || !bundle_type_is_valid(type)) {
                fault_set(fault, 415, "unsupported-media-type", "Content-Type missing or malformed",
                          "Devices get the Content-Type you send: type/subtype, at most %d bytes.",
                          BUNDLE_TYPE_MAX);
                return false;
        }
        if (encoding != NULL && strcmp(encoding, "identity") != 0) {
                fault_set(
                    fault, 501, "not-yet", "Not in this version",
                    "Content-Encoding is not in this version: send the bytes as devices are to "
                    "read them. Nothing was stored.");
                return false;
        }
        body = httpd_body(request, &len);
        if (len > BUNDLE_BODY_MAX) {
                fault_set(fault, 413, "body-too-large", "Body too large",
                          "A bundle has at most %u bytes.", BUNDLE_BODY_MAX);
                return false;
        }
        strcpy(row->cohort, cohort);
        strcpy(row->type, type);
        row->size = (uint32_t)len;
        bundle_sha256(len > 0 ? body : "", len, row->sha256);
        return true;
}

void routes_bundles_put(void *owner, struct httpd_request *request)
{
        struct admin *admin = owner;
        struct bundle_row row = { 0 };
        struct fault fault;
        struct work *work;
        bool dry_run;
        enum err err;

        if (!guard_change(admin, request, &dry_run))
                return;
        if (!read_draft(request, &row, &fault)) {
                reply_fault(request, &fault);
                return;
        }
        work = work_start(admin, request, put_late);
        if (work == NULL)
                return;
        work->row = row;
        work->dry_run = dry_run;
        err = reader_events(admin->options.redis, admin->options.ns, work->event, on_event_for_put,
                            work);
        if (err != OK)
                fail(work, err);
}

/* --- POST: publish ------------------------------------------------------------------------- */

void routes_bundles_publish(void *owner, struct httpd_request *request)
{
        static const struct action publish_action = {
                COMMAND_PUBLISH, "/bundles", 1, { "window" }, routes_events_window
        };

        change_take(owner, request, &publish_action);
}

/* --- GET ----------------------------------------------------------------------------------- */

static void on_drafts(void *owner, enum err err, struct bundle_index *index)
{
        struct work *work = owner;

        if (err != OK || !pending_is_open(&work->pending)) {
                fail(work, err);
                return;
        }
        reply_view(work->pending.request, 200,
                   json_pack("{s:s, s:I, s:O, s:o}", "event", work->event, "version",
                             (json_int_t)work->version, "current", work->current, "drafts",
                             view_rows(index)));
        pending_answered(&work->pending);
        work_free(work);
}

static void on_current(void *owner, enum err err, struct bundle_index *index)
{
        struct work *work = owner;
        const struct admin_options *options;

        if ((err != OK && err != ERR_NOT_FOUND) || !pending_is_open(&work->pending)) {
                fail(work, err);
                return;
        }
        if (index != NULL)
                work->version = index->version;
        work->current = view_rows(index);
        options = &work->pending.admin->options;
        err = work->current == NULL
                  ? ERR_NOMEM
                  : store_read_drafts(options->redis, options->ns, work->event, on_drafts, work);
        if (err != OK)
                fail(work, err);
}

static void on_event_for_show(void *owner, enum err err, const struct event *events, size_t n)
{
        struct work *work = owner;
        const struct admin_options *options;

        if (!has_event(work, err, n))
                return;
        work->version = events[0].state.bundle;
        options = &work->pending.admin->options;
        err = store_read_index(options->redis, options->ns, work->event, work->version, on_current,
                               work);
        if (err != OK)
                fail(work, err);
}

void routes_bundles_show(void *owner, struct httpd_request *request)
{
        struct admin *admin = owner;
        struct work *work;
        enum err err;

        if (!guard_read(admin, request))
                return;
        work = work_start(admin, request, pending_read_late);
        if (work == NULL)
                return;
        err = reader_events(admin->options.redis, admin->options.ns, work->event, on_event_for_show,
                            work);
        if (err != OK)
                fail(work, err);
}
