/* producer/routes_console.c -- the console: a web page for producers, in the program itself. Its
 * files are open, since they hold nothing; what the page shows it asks of the API like anybody
 * else, with the token.
 *
 * Nothing is inline and nothing comes from elsewhere, and the policy below holds the page to it: so
 * text that a stranger wrote into an event's title cannot become a program. */
#include <string.h>

#include "producer/admin_inside.h"
#include "producer/live.h"

#define POLICY                                                                              \
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " \
        "object-src 'none'"

#define JAVASCRIPT "text/javascript; charset=utf-8"

/* name, type, symbol: kickoff_embed in CMakeLists.txt makes the symbols. */
/* clang-format off */
#define FILES(x)                                                  \
        x("index.html", "text/html; charset=utf-8", console_html) \
        x("style.css", "text/css; charset=utf-8", console_css)    \
        x("icon.svg", "image/svg+xml", console_icon)              \
        x("theme.js", JAVASCRIPT, console_theme_js)               \
        x("app.js", JAVASCRIPT, console_app_js)                   \
        x("api.js", JAVASCRIPT, console_api_js)                   \
        x("live.js", JAVASCRIPT, console_live_js)                 \
        x("dom.js", JAVASCRIPT, console_dom_js)                   \
        x("format.js", JAVASCRIPT, console_format_js)             \
        x("events.js", JAVASCRIPT, console_events_js)             \
        x("dialogs.js", JAVASCRIPT, console_dialogs_js)           \
        x("delivery.js", JAVASCRIPT, console_delivery_js)         \
        x("curve.js", JAVASCRIPT, console_curve_js)               \
        x("fleet.js", JAVASCRIPT, console_fleet_js)               \
        x("audit.js", JAVASCRIPT, console_audit_js)               \
        x("device.js", JAVASCRIPT, console_device_js)
/* clang-format on */

#define DECLARE(name, type, symbol) \
        extern const char symbol[]; \
        extern const size_t symbol##_len;
FILES(DECLARE)

#define ROW(name, type, symbol) { name, type, symbol, &symbol##_len },
static const struct {
        const char *name, *type, *bytes;
        const size_t *len;
} files[] = { FILES(ROW) };

static void serve(struct httpd_request *request, const char *name)
{
        for (size_t i = 0; i < countof(files); i++) {
                if (strcmp(files[i].name, name) != 0)
                        continue;
                httpd_add_header(request, "Content-Security-Policy", POLICY);
                httpd_add_header(request, "Referrer-Policy", "no-referrer");
                httpd_add_header(request, "X-Content-Type-Options", "nosniff");
                httpd_reply(request, 200, files[i].type, files[i].bytes, *files[i].len);
                return;
        }
        httpd_reply_problem(request, 404, "not-found", "There is no such path",
                            "The console has no such file. It begins at /.", NULL);
}

void routes_console_page(void *owner, struct httpd_request *request)
{
        (void)owner;
        serve(request, "index.html");
}

void routes_console_file(void *owner, struct httpd_request *request)
{
        (void)owner;
        serve(request, httpd_placeholder(request, 0));
}

void routes_console_live(void *owner, struct httpd_request *request)
{
        struct admin *admin = owner;

        if (guard_read(admin, request))
                live_join(admin->live, request);
}
