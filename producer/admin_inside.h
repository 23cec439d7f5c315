/* producer/admin_inside.h -- what the files of the admin API share; nobody outside producer/
 * includes it.
 *
 *   routes_*.c ──► change.c (writes: one path for all) ──► fanout/writer
 *        └───────► fanout/reader, prefetch/store (all else)
 *
 * Each wait is a `pending`.
 */
#pragma once

#include <sys/queue.h>

#include "base/httpd.h"
#include "producer/admin.h"
#include "fanout/audit.h"
#include "fanout/event.h"
#include "producer/input.h"

struct pending {             /* a request that waits for Redis; first member of what waits */
        struct admin *admin; /* NULL: gone */
        struct httpd_request *request; /* NULL: answered, by the deadline or by admin_destroy */
        void *deadline; /* libevent's struct event: fanout has one of that name too; NULL = none */
        void (*on_deadline)(struct pending *pending); /* must answer */
        uint64_t started_ms;                          /* monotonic */
        LIST_ENTRY(pending) entry;
};
LIST_HEAD(pending_list, pending);

struct admin {
        struct admin_options options;
        struct event_base *base;
        struct httpd *httpd;
        struct live *live; /* live.h */
        struct pending_list pendings;
};

/* --- pending.c: requests under way ------------------------------------------------------------ */

/* `on_deadline` after ADMIN_ANSWER_MS; NULL: somebody else sees to the time. false: no memory, and
 * answered so. */
bool pending_start(struct pending *pending, struct admin *admin, struct httpd_request *request,
                   void (*on_deadline)(struct pending *pending));
/* An on_deadline for questions: they change nothing. */
void pending_read_late(struct pending *pending);
bool pending_is_open(const struct pending *pending); /* somebody still waits for the answer */
void pending_answered(
    struct pending *pending); /* the request is answered; a callback may still come */
void pending_finish(struct pending *pending);       /* nothing comes any more; free it after this */
void pending_abandon(struct pending *pending);      /* the admin goes away before the callback */
uint64_t pending_ms(const struct pending *pending); /* since the start */

/* --- reply.c: answers that routes share --------------------------------------------------------
 */

void reply_fault(struct httpd_request *request, const struct fault *fault);
/* Redis could not be asked, gave no answer, or refused: 503 with Retry-After. */
void reply_redis(struct httpd_request *request, enum err err);
void reply_no_event(struct httpd_request *request, const char *event);
void reply_view(struct httpd_request *request, int status,
                json_t *view); /* takes it; 503 if NULL */

/* Where the outcome of a key can be asked for: "/v1/requests/<key>", encoded for a URL. */
#define REPLY_REQUEST_PATH_MAX (16 + 3 * REQUEST_KEY_MAX)
void reply_request_path(const char *key, char out[REPLY_REQUEST_PATH_MAX + 1]);

/* --- routes_audit.c: the trail ------------------------------------------------------------------
 */

/* Who asks, from where; `body` is what was asked, NULL = nothing. */
void audit_note_of(struct httpd_request *request, const char *body, struct audit_note *note);
/* Something other than a change of an event was done: into the trail. Not waited for. */
void audit_done(struct admin *admin, const char *kind, enum audit_subject subject, const char *name,
                const struct audit_note *note);

/* --- guard.c: each answers by itself if not ----------------------------------------------------
 */

bool guard_read(struct admin *admin, struct httpd_request *request);
/* Of an event, or of what devices prefetch for it. A dry run is refused as it would be in earnest. */
bool guard_change(struct admin *admin, struct httpd_request *request, bool *ret_dry_run);
/* To a node, or for one device: taken while changes are refused, and by a node that leaves, too. */
bool guard_order(struct admin *admin, struct httpd_request *request, bool *ret_dry_run);
const char *guard_event(struct httpd_request *request); /* placeholder 0 as an event id, or NULL */

/* --- change.c: the one way in which events are changed -----------------------------------------
 */

struct action { /* one kind of change, as a route takes it */
        enum command_kind kind;
        const char *path; /* after "/v1/events/ID", for the fingerprint */
        size_t n_members;
        const char *members[6]; /* what its body may have */
        /* Fills the command; `record` is what COMMAND_CREATE may point to. */
        bool (*read)(const json_t *object, struct change *change, struct event *record,
                     struct fault *fault);
};

/* `window` of refresh and publish. */
bool routes_events_window(const json_t *object, struct change *change, struct event *record,
                          struct fault *fault);
/* Reads, checks and submits; the answer comes by itself. */
void change_take(struct admin *admin, struct httpd_request *request, const struct action *action);

/* --- the routes ---------------------------------------------------------------------------------
 */

httpd_handler_fn routes_events_create, routes_events_list, routes_events_show, routes_events_start,
    routes_events_delay, routes_events_end, routes_events_cancel, routes_events_stage,
    routes_events_refresh, routes_events_reopen, routes_bundles_put, routes_bundles_publish, routes_bundles_show,
    routes_signals_list, routes_signals_show, routes_requests_show, routes_audit_list, routes_drain_node, routes_devices_show,
    routes_devices_message, routes_node_list, routes_node_metrics,
    routes_node_health, routes_node_ready, routes_node_openapi, routes_console_page, routes_console_file,
    routes_console_live, routes_simulator_page, routes_simulator_file, routes_simulator_sdk;
