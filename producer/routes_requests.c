/* producer/routes_requests.c -- what became of a request whose answer got lost (contract line 3):
 * the first result of its key, that it waits for replicas, or that nothing is known of it. Changes
 * nothing. */
#include <stdlib.h>

#include "fanout/reader.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

static void answer_committed(struct httpd_request *request, const struct token *token,
                             const struct event *event, const char *durability)
{
        json_t *view = view_change(token, durability[0] != '\0' ? durability : NULL, event);

        if (view != NULL)
                (void)json_object_set_new(view, "state", json_string("committed"));
        reply_view(request, 200, view);
}

static void answer(struct httpd_request *request, enum request_state state,
                   const struct token *token, const struct event *event, const char *durability)
{
        switch (state) {
        case REQUEST_COMMITTED:
                answer_committed(request, token, event, durability);
                break;
        case REQUEST_HELD:
                httpd_add_header(request, "Retry-After", "1");
                reply_view(request, 202, json_pack("{s:s}", "state", "held"));
                break;
        case REQUEST_NONE:
                httpd_reply_problem(
                    request, 404, "request-not-found", "No such request",
                    "Nothing was done under this key within 24 hours, or not yet: a request may still be "
                    "on its way for 2 seconds. Sending it again with the same key is safe.",
                    NULL);
                break;
        }
}

static void on_request(void *owner, enum err err, enum request_state state,
                       const struct token *token, const struct event *event, const char *durability)
{
        struct pending *pending = owner;

        if (pending_is_open(pending)) {
                if (err != OK)
                        reply_redis(pending->request, err);
                else
                        answer(pending->request, state, token, event, durability);
                pending_answered(pending);
        }
        pending_finish(pending);
        free(pending);
}

void routes_requests_show(void *owner, struct httpd_request *request)
{
        struct admin *admin = owner;
        char key[REQUEST_KEY_MAX + 1];
        struct pending *pending;
        struct fault fault;
        enum err err;

        if (!guard_read(admin, request))
                return;
        if (!input_key(httpd_placeholder(request, 0), key, &fault)) {
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
        err = reader_request(admin->options.redis, admin->options.ns, key, on_request, pending);
        if (err != OK)
                on_request(pending, err, REQUEST_NONE, NULL, NULL, "");
}
