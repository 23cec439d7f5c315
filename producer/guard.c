/* producer/guard.c -- may this request be served at all: is it for us, are changes taken now, can
 * its event exist. Who the caller is was asked before, by httpd (bearer token). */
#include <string.h>

#include "producer/admin_inside.h"

#define HOST_HELP                                                                                  \
        "Without --admin-token-file this API answers only to localhost and addresses in the Host " \
        "header: a web page could otherwise reach it through a name of its own."

bool guard_read(struct admin *admin, struct httpd_request *request)
{
        const char *token = admin->options.token;
        struct fault fault;

        if ((token != NULL && token[0] != '\0') ||
            input_host_is_local(httpd_header(request, "Host")))
                return true;
        fault_set(&fault, 403, "host-not-allowed", "Host not allowed", HOST_HELP);
        reply_fault(request, &fault);
        return false;
}

static const char *why_not_writable(const struct admin *admin)
{
        const struct admin_options *options = &admin->options;
        const char *why = NULL;

        if (options->why_not_writable != NULL)
                why = options->why_not_writable(options->owner);
        return why != NULL && why[0] != '\0' ? why : NULL;
}

static bool guard_dry_run(struct httpd_request *request, bool *ret_dry_run)
{
        const char *dry_run = httpd_query(request, "dry_run");
        struct fault fault;

        *ret_dry_run = dry_run != NULL && strcmp(dry_run, "1") == 0;
        if (dry_run == NULL || *ret_dry_run || strcmp(dry_run, "0") == 0)
                return true;
        fault_set(&fault, 400, "invalid-parameter", "Invalid parameter",
                  "`dry_run` is 1, or 0 to do it in earnest. Nothing was done.");
        reply_fault(request, &fault);
        return false;
}

bool guard_order(struct admin *admin, struct httpd_request *request, bool *ret_dry_run)
{
        return guard_read(admin, request) && guard_dry_run(request, ret_dry_run);
}

static bool guard_writable(struct admin *admin, struct httpd_request *request)
{
        const char *why = why_not_writable(admin);
        struct fault fault;

        if (why == NULL)
                return true;
        fault_set(&fault, 503, "writes-refused", "Changes are refused", "%s", why);
        reply_fault(request, &fault);
        return false;
}

bool guard_change(struct admin *admin, struct httpd_request *request, bool *ret_dry_run)
{
        return guard_order(admin, request, ret_dry_run) && guard_writable(admin, request);
}

const char *guard_event(struct httpd_request *request)
{
        const char *event = httpd_placeholder(request, 0);

        if (name_is_valid(event, strlen(event), EVENT_ID_MAX))
                return event;
        reply_no_event(request, event);
        return NULL;
}
