/* producer/reply.c -- the answers that every route shares. Each says what happened and what to do
 * next; a problem's slug is stable (openapi.yaml lists all), its sentence is not. */
#include <ctype.h>
#include <string.h>

#include "producer/admin_inside.h"

void reply_fault(struct httpd_request *request, const struct fault *fault)
{
        if (fault->status == 503)
                httpd_add_header(request, "Retry-After", "2");
        httpd_reply_problem(request, fault->status, fault->slug, fault->title, fault->detail, NULL);
}

void reply_redis(struct httpd_request *request, enum err err)
{
        struct fault fault;

        if (err == ERR_NOMEM)
                fault_set(&fault, 503, "out-of-memory", "Out of memory", "Try again in a while.");
        else if (err == ERR_IO || err == ERR_TOO_LARGE)
                fault_set(&fault, 503, "redis-refused", "Redis refused",
                          "Redis answered, but with an error or with something this version cannot "
                          "read. The node's log says more.");
        else
                fault_set(&fault, 503, "redis-unavailable", "Redis is away",
                          "%s. Connected devices are still served. Try again in a while.",
                          err == ERR_TIMEOUT ? "Redis did not answer in time"
                                             : "This node has no connection to Redis at present");
        reply_fault(request, &fault);
}

void reply_no_event(struct httpd_request *request, const char *event)
{
        struct fault fault;

        fault_set(&fault, 404, "event-not-found", "No such event",
                  "There is no event `%.*s`. GET /v1/events lists all.", EVENT_ID_MAX,
                  name_is_valid(event, strlen(event), EVENT_ID_MAX) ? event : "?");
        reply_fault(request, &fault);
}

void reply_view(struct httpd_request *request, int status, json_t *view)
{
        if (view == NULL)
                reply_redis(request, ERR_NOMEM);
        else
                httpd_reply_json(request, status, view);
}

void reply_request_path(const char *key, char out[REPLY_REQUEST_PATH_MAX + 1])
{
        struct buf path;

        buf_init_fixed(&path, out, REPLY_REQUEST_PATH_MAX + 1);
        buf_str(&path, "/v1/requests/");
        for (const char *at = key; *at != '\0'; at++) {
                bool is_plain = isalnum((unsigned char)*at) || strchr("-._~", *at) != NULL;

                if (is_plain)
                        buf_char(&path, *at);
                else
                        buf_printf(&path, "%%%02X", (unsigned char)*at);
        }
        buf_char(&path, '\0');
}
