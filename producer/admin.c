/* producer/admin.c -- the table of routes, and the life of the server behind them. */
#include "producer/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/admin_inside.h"
#include "producer/live.h"

/* clang-format off */
static const struct httpd_route routes[] = {
        { HTTPD_POST, "/v1/events",                       routes_events_create,   false },
        { HTTPD_GET,  "/v1/events",                       routes_events_list,     false },
        { HTTPD_GET,  "/v1/events/{id}",                  routes_events_show,     false },
        { HTTPD_POST, "/v1/events/{id}/start",            routes_events_start,    false },
        { HTTPD_POST, "/v1/events/{id}/delay",            routes_events_delay,    false },
        { HTTPD_POST, "/v1/events/{id}/end",              routes_events_end,      false },
        { HTTPD_POST, "/v1/events/{id}/cancel",           routes_events_cancel,   false },
        { HTTPD_POST, "/v1/events/{id}/stage",            routes_events_stage,    false },
        { HTTPD_POST, "/v1/events/{id}/refresh",          routes_events_refresh,  false },
        { HTTPD_POST, "/v1/events/{id}/reopen",           routes_events_reopen,   false },
        { HTTPD_PUT,  "/v1/events/{id}/bundles/{cohort}", routes_bundles_put,     false },
        { HTTPD_POST, "/v1/events/{id}/bundles",          routes_bundles_publish, false },
        { HTTPD_GET,  "/v1/events/{id}/bundles",          routes_bundles_show,    false },
        { HTTPD_GET,  "/v1/signals",                      routes_signals_list,    false },
        { HTTPD_GET,  "/v1/signals/{seq}",                routes_signals_show,    false },
        { HTTPD_GET,  "/v1/requests/{key}",               routes_requests_show,   false },
        { HTTPD_GET,  "/v1/audit",                        routes_audit_list,      false },
        { HTTPD_GET,  "/v1/nodes",                        routes_node_list,       false },
        { HTTPD_POST, "/v1/nodes/{name}/drain",           routes_drain_node,      false },
        { HTTPD_GET,  "/v1/devices/{id}",                 routes_devices_show,    false },
        { HTTPD_POST, "/v1/devices/{id}/messages",        routes_devices_message, false },
        { HTTPD_GET,  "/metrics",                         routes_node_metrics,    false },
        { HTTPD_GET,  "/healthz",                         routes_node_health,     true },
        { HTTPD_GET,  "/readyz",                          routes_node_ready,      true },
        { HTTPD_GET,  "/openapi.yaml",                    routes_node_openapi,    false },
        { HTTPD_GET,  "/v1/live",                         routes_console_live,    false },
        { HTTPD_GET,  "/",                                routes_console_page,    true },
        { HTTPD_GET,  "/console/{file}",                  routes_console_file,    true },
        { HTTPD_GET,  "/simulator",                       routes_simulator_page,  true },
        { HTTPD_GET,  "/simulator/{file}",                routes_simulator_file,  true },
        { HTTPD_GET,  "/sdk/{file}",                      routes_simulator_sdk,   true },
};
/* clang-format on */

const char *admin_route(unsigned i, char *out, unsigned size)
{
        static const char *const method[] = {
                [HTTPD_GET] = "GET", [HTTPD_POST] = "POST", [HTTPD_PUT] = "PUT"
        };

        if (i >= countof(routes))
                return NULL;
        snprintf(out, size, "%s %s", method[routes[i].method], routes[i].path);
        return out;
}

enum err admin_create(struct event_base *base, const struct admin_options *options,
                      struct admin **ret_admin, const char **ret_why)
{
        struct httpd_options httpd_options = { .host = options->host, .port = options->port };
        struct admin *admin = calloc(1, sizeof(*admin));
        enum err err;

        if (admin == NULL) {
                *ret_why = "out of memory";
                return ERR_NOMEM;
        }
        if (options->token != NULL && options->token[0] != '\0')
                httpd_options.token = options->token;
        admin->base = base;
        admin->options = *options;
        LIST_INIT(&admin->pendings);
        err = live_create(base, &admin->options, &admin->live);
        if (err != OK) {
                *ret_why = "out of memory";
                free(admin);
                return err;
        }
        err = httpd_create(base, &httpd_options, routes, countof(routes), admin, &admin->httpd,
                           ret_why);
        if (err != OK) {
                live_destroy(admin->live);
                free(admin);
                return err;
        }
        *ret_admin = admin;
        return OK;
}

void admin_destroy(struct admin *admin)
{
        struct pending *pending;

        if (admin == NULL)
                return;
        while ((pending = LIST_FIRST(&admin->pendings)) != NULL)
                pending_abandon(pending);
        httpd_destroy(admin->httpd); /* answers what is open */
        live_destroy(admin->live);
        free(admin);
}

uint16_t admin_port(const struct admin *admin)
{
        return httpd_port(admin->httpd);
}

bool admin_is_busy(const struct admin *admin)
{
        const struct pending *pending;

        if (admin == NULL)
                return false;
        LIST_FOREACH(pending, &admin->pendings, entry)
        {
                if (pending_is_open(pending))
                        return true;
        }
        return false;
}
