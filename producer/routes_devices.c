/* producer/routes_devices.c -- one device: where it is, and a message for it alone. Who holds it is
 * found by fanout/courier.h; here is what comes of that in HTTP, as Zuul Push has it: 200 it is in
 * the socket, 404 the device is nowhere, 503 it may be somewhere, or takes no more at present:
 * later. A dry run of a message finds the device, and leaves it alone: whether its socket has room
 * shows only in earnest. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fanout/courier.h"
#include "producer/admin_inside.h"
#include "producer/reach.h"

struct device_question_asked {
        struct pending pending; /* first */
        struct device_query query;
        struct audit_note note; /* of a message */
        bool dry_run; /* of a message: the query only looks, and `message` is what it would be */
};

static void reply_later(struct httpd_request *request, const struct device_answer *answer,
                        const char *slug, const char *title, const char *detail)
{
        char seconds[16];

        snprintf(seconds, sizeof(seconds), "%u",
                 answer->retry_after_ms > 1000 ? (answer->retry_after_ms + 999) / 1000 : 1);
        httpd_add_header(request, "Retry-After", seconds);
        httpd_reply_problem(request, 503, slug, title, detail, NULL);
}

static void reply_absent(struct httpd_request *request, const struct device_query *query,
                         const struct device_answer *answer)
{
        char detail[256], text[CLOCK_RFC3339_SIZE];
        json_t *extra = json_pack("{s:s}", "device", query->device);

        snprintf(detail, sizeof(detail), "Device `%s` is not connected to any node. %s",
                 query->device,
                 answer->last_seen != 0
                     ? "`last_seen` says until when, or since when, it was known to be."
                     : "When it was last is not known.");
        if (answer->last_seen != 0) {
                clock_format_rfc3339(answer->last_seen, text);
                (void)json_object_set_new(extra, "last_seen", json_string(text));
        }
        httpd_reply_problem(request, 404, "device-not-connected", "Not connected", detail, extra);
}

static json_t *view_device(const struct device_query *query, const struct device_answer *answer)
{
        char session[17], since[CLOCK_RFC3339_SIZE];
        json_t *view;

        snprintf(session, sizeof(session), "%016" PRIx64, answer->session);
        view = json_pack("{s:s, s:s, s:s}", "device", query->device, "node", answer->node,
                         "session", session);
        if (view == NULL)
                return NULL;
        if (query->what == DEVICE_MESSAGE) {
                (void)json_object_set_new(view, "id", json_string(query->message.id));
                return view;
        }
        clock_format_rfc3339(answer->connected_since, since);
        (void)json_object_set_new(view, "connected_since", json_string(since));
        if (answer->cohort[0] != '\0')
                (void)json_object_set_new(view, "cohort", json_string(answer->cohort));
        (void)json_object_set_new(view, "transport", json_string(answer->transport));
        return view;
}

static json_t *view_dry_run_of(const struct device_question_asked *asked,
                               const struct device_answer *answer)
{
        char session[17];

        snprintf(session, sizeof(session), "%016" PRIx64, answer->session);
        return json_pack("{s:b, s:s, s:i, s:i, s:s, s:s, s:s, s:s}", "dry_run", 1, "would",
                         "message", "devices", 1, "estimated_ms", REACH_BASE_MS, "device",
                         asked->query.device, "node", answer->node, "session", session, "id",
                         asked->query.message.id);
}

static void reply_silent(struct httpd_request *request, const struct device_answer *answer)
{
        char detail[256];

        snprintf(
            detail, sizeof(detail),
            "%s%s%s gave no answer in time, so it is not known whether the device is there. A message may have "
            "been delivered all the same; sent again with the same `id`, the device can tell.",
            answer->node[0] != '\0' ? "Node `" : "A node", answer->node,
            answer->node[0] != '\0' ? "`" : "");
        reply_later(request, answer, "node-silent", "A node does not answer", detail);
}

static void reply(const struct device_question_asked *asked, const struct device_answer *answer)
{
        struct httpd_request *request = asked->pending.request;

        switch (answer->outcome) {
        case DEVICE_HERE:
                reply_view(request, 200,
                           asked->dry_run ? view_dry_run_of(asked, answer)
                                          : view_device(&asked->query, answer));
                break;
        case DEVICE_ABSENT:
                reply_absent(request, &asked->query, answer);
                break;
        case DEVICE_FULL:
                reply_later(
                    request, answer, "device-full", "The device takes no more",
                    "More than one frame waits for room in its socket: it reads too slowly, or "
                    "has gone without a word.");
                break;
        case DEVICE_LIMITED:
                reply_later(request, answer, "too-many-messages", "Too many messages",
                            "A device is sent at most 3 messages in 2 seconds. Try again after "
                            "Retry-After.");
                break;
        case DEVICE_JOINING:
                reply_later(request, answer, "device-joining", "The device is just coming",
                            "It has connected, and waits for its node to catch up with the log.");
                break;
        case DEVICE_UNKNOWN:
                reply_later(
                    request, answer, "redis-unavailable", "Redis is away",
                    "The device is not at this node, and without Redis this node cannot ask "
                    "the others.");
                break;
        case DEVICE_SILENT:
        case DEVICE_OUTCOMES:
                reply_silent(request, answer);
                break;
        }
}

static void on_answer(void *owner, const struct device_answer *answer)
{
        struct device_question_asked *asked = owner;

        /* Also if whoever asked was told before that it may have arrived. */
        if (asked->query.what == DEVICE_MESSAGE && answer->outcome == DEVICE_HERE &&
            asked->pending.admin != NULL)
                audit_done(asked->pending.admin, "message", AUDIT_DEVICE, asked->query.device,
                           &asked->note);
        if (pending_is_open(&asked->pending)) {
                reply(asked, answer);
                pending_answered(&asked->pending);
        }
        pending_finish(&asked->pending);
        free(asked);
}

static void on_deadline(struct pending *pending)
{
        const struct device_answer silent = { .outcome = DEVICE_SILENT };

        reply_silent(pending->request, &silent);
}

/* Without memory for what was said, the rest will do. */
static void note_message(struct httpd_request *request, const struct device_message *message,
                         struct audit_note *note)
{
        json_t *what = json_pack("{s:s, s:s}", "id", message->id, "body", message->body);
        char *text = what != NULL ? json_dumps(what, JSON_COMPACT) : NULL;

        audit_note_of(request, text, note);
        free(text);
        json_decref(what);
}

static void ask(struct admin *admin, struct httpd_request *request,
                const struct device_query *query, bool dry_run)
{
        struct device_question_asked *asked = calloc(1, sizeof(*asked));
        const struct device_answer nobody = { .outcome = DEVICE_UNKNOWN };

        if (asked == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        if (!pending_start(&asked->pending, admin, request, on_deadline)) {
                free(asked);
                return;
        }
        asked->query = *query;
        asked->dry_run = dry_run;
        if (dry_run)
                asked->query.what = DEVICE_LOOK;
        if (asked->query.what == DEVICE_MESSAGE)
                note_message(request, &query->message, &asked->note);
        if (admin->options.courier != NULL)
                courier_ask(admin->options.courier, &asked->query, on_answer, asked);
        else
                on_answer(asked, &nobody);
}

/* False: answered. */
static bool take_device(struct httpd_request *request, struct device_query *query)
{
        const char *device = httpd_placeholder(request, 0);
        struct fault fault;

        if (name_is_valid(device, strlen(device), DEVICE_ID_MAX)) {
                strcpy(query->device, device);
                return true;
        }
        fault_set(&fault, 400, "invalid-field", "Invalid device id",
                  "A device id has 1 to %d letters, digits or . _ : ~ -", DEVICE_ID_MAX);
        reply_fault(request, &fault);
        return false;
}

void routes_devices_show(void *owner, struct httpd_request *request)
{
        struct device_query query = { .what = DEVICE_LOOK };

        if (guard_read(owner, request) && take_device(request, &query))
                ask(owner, request, &query, false);
}

static bool read_message(struct httpd_request *request, struct device_message *message,
                         struct fault *fault)
{
        static const char *const members[] = { "id", "body" };
        const char *bytes, *id = NULL, *body = NULL;
        json_t *object;
        size_t len;
        bool fine;

        bytes = httpd_body(request, &len);
        if (!input_parse(bytes, len, httpd_header(request, "Content-Type"), &object, fault))
                return false;
        fine = input_known(object, members, countof(members), fault) &&
               input_text(object, "id", false, sizeof(message->id) - 1, &id, fault) &&
               input_text(object, "body", true, MESSAGE_BODY_MAX, &body, fault);
        if (fine && id != NULL)
                strcpy(message->id, id);
        else if (fine)
                snprintf(message->id, sizeof(message->id), "m-%016" PRIx64, rng_secure_u64());
        if (fine)
                strcpy(message->body, body);
        json_decref(object);
        return fine;
}

void routes_devices_message(void *owner, struct httpd_request *request)
{
        struct device_query query = { .what = DEVICE_MESSAGE };
        struct fault fault;
        bool dry_run;

        if (!guard_order(owner, request, &dry_run) || !take_device(request, &query))
                return;
        if (!read_message(request, &query.message, &fault)) {
                reply_fault(request, &fault);
                return;
        }
        ask(owner, request, &query, dry_run);
}
