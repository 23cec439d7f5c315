/* producer/routes_node.c -- for operators and their machines: the fleet, metrics, health,
 * readiness, and the description of this API. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "fanout/presence.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

static void on_nodes(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct pending *pending = owner;

        if (pending_is_open(pending)) {
                if (err != OK)
                        reply_redis(pending->request, err);
                else
                        reply_view(pending->request, 200,
                                   json_pack("{s:o}", "nodes", view_nodes(nodes, n)));
                pending_answered(pending);
        }
        pending_finish(pending);
        free(pending);
}

void routes_node_list(void *owner, struct httpd_request *request)
{
        struct admin *admin = owner;
        struct pending *pending;
        enum err err;

        if (!guard_read(admin, request))
                return;
        pending = calloc(1, sizeof(*pending));
        if (pending == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        if (!pending_start(pending, admin, request, pending_read_late)) {
                free(pending);
                return;
        }
        err = presence_read(admin->options.redis, admin->options.ns, clock_wall_ms(), on_nodes,
                            pending);
        if (err != OK)
                on_nodes(pending, err, NULL, 0);
}

void routes_node_metrics(void *owner, struct httpd_request *request)
{
        struct buf text = BUF_INIT;

        (void)owner;
        metrics_render(&text);
        if (text.failed)
                reply_redis(request, ERR_NOMEM);
        else
                httpd_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8",
                            text.len > 0 ? text.data : "", text.len);
        buf_fini(&text);
}

/* The process lives and its control loop turns: nothing else, so that no orchestrator kills a node,
 * and with it its devices' connections, for what only Redis can mend. */
void routes_node_health(void *owner, struct httpd_request *request)
{
        (void)owner;
        httpd_reply(request, 200, "text/plain", "ok\n", 3);
}

void routes_node_ready(void *owner, struct httpd_request *request)
{
        const struct admin_options *options = &((struct admin *)owner)->options;
        const char *why =
            options->why_not_ready != NULL ? options->why_not_ready(options->owner) : NULL;

        if (why == NULL || why[0] == '\0') {
                httpd_reply_json(request, 200, json_pack("{s:b}", "ready", 1));
                return;
        }
        httpd_add_header(request, "Retry-After", "2");
        httpd_reply_problem(request, 503, "not-ready", "Not ready", why, NULL);
}

void routes_node_openapi(void *owner, struct httpd_request *request)
{
        (void)owner;
        httpd_reply(request, 200, "application/yaml", admin_openapi, admin_openapi_len);
}
