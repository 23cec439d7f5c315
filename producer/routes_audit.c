/* producer/routes_audit.c -- GET /v1/audit: who did what, when, from where; and how other routes
 * get into it. Changes of events are entered where they are made (fanout/kickoff.lua); what is
 * entered from here was done before, so an entry that cannot be written takes nothing back: it is
 * logged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

#define LIMIT_DEFAULT 100

/* --- writing -------------------------------------------------------------------------------- */

void audit_note_of(struct httpd_request *request, const char *body, struct audit_note *note)
{
        audit_note_set(note, httpd_header(request, "Kickoff-Actor"), httpd_peer(request), body);
}

static void on_written(void *owner, const struct redis_reply *reply)
{
        (void)owner;
        if (reply == NULL || redis_type(reply) == REDIS_ERROR)
                log_warn("AUDIT-NOT-WRITTEN", "why=%s",
                         reply != NULL ? log_quote(redis_text(reply, NULL)) : "no-answer");
}

void audit_done(struct admin *admin, const char *kind, enum audit_subject subject, const char *name,
                const struct audit_note *note)
{
        if (audit_write(admin->options.writes, admin->options.ns, kind, subject, name, note,
                        clock_wall_ms(), on_written, NULL) != OK)
                log_warn("AUDIT-NOT-WRITTEN", "why=redis-away");
}

/* --- reading -------------------------------------------------------------------------------- */

static void on_entries(void *owner, enum err err, const struct audit_entry *entries, size_t n,
                       const char *next)
{
        struct pending *pending = owner;

        if (pending_is_open(pending)) {
                if (err != OK)
                        reply_redis(pending->request, err);
                else
                        reply_view(pending->request, 200,
                                   json_pack("{s:o, s:s}", "entries", view_audit(entries, n),
                                             "next", next));
                pending_answered(pending);
        }
        pending_finish(pending);
        free(pending);
}

static bool read_query(struct httpd_request *request, const char **ret_event,
                       const char **ret_after, uint64_t *ret_limit, struct fault *fault)
{
        const char *event = httpd_query(request, "event"), *after = httpd_query(request, "after");

        if (!input_number("limit", httpd_query(request, "limit"), 1, AUDIT_LIMIT_MAX, LIMIT_DEFAULT,
                          ret_limit, fault))
                return false;
        if (event != NULL && !name_is_valid(event, strlen(event), EVENT_ID_MAX)) {
                fault_set(fault, 400, "invalid-parameter", "Invalid parameter",
                          "`event` is the id of one event; leave it out for all.");
                return false;
        }
        if (after != NULL && !audit_id_is_valid(after)) {
                fault_set(
                    fault, 400, "invalid-parameter", "Invalid parameter",
                    "`after` is the `id` of an entry, or the `next` of an answer; leave it out "
                    "for the latest.");
                return false;
        }
        *ret_event = event;
        *ret_after = after;
        return true;
}

void routes_audit_list(void *owner, struct httpd_request *request)
{
        struct admin *admin = owner;
        const char *event, *after;
        struct pending *pending;
        struct fault fault;
        uint64_t limit;
        enum err err;

        if (!guard_read(admin, request))
                return;
        if (!read_query(request, &event, &after, &limit, &fault)) {
                reply_fault(request, &fault);
                return;
        }
        pending = calloc(1, sizeof(*pending));
        if (pending == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        if (!pending_start(pending, admin, request, pending_read_late)) {
                free(pending);
                return;
        }
        err = audit_read(admin->options.redis, admin->options.ns, event, after, (size_t)limit,
                         on_entries, pending);
        if (err != OK)
                on_entries(pending, err, NULL, 0, "0-0");
}
