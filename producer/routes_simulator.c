/* producer/routes_simulator.c -- device/js as this program carries it: the JavaScript SDK, so that
 * a page can take it from the node it will talk to, and the simulator, twelve screens that are
 * devices of that SDK. Open, as the console's files are: they hold nothing.
 *
 * The simulator's screens connect to the device port, which is another origin: so its policy lets
 * it connect anywhere, and is else the console's. */
#include <string.h>

#include "producer/admin_inside.h"

#define POLICY                                                                     \
        "default-src 'self'; connect-src *; base-uri 'none'; form-action 'none'; " \
        "frame-ancestors 'self'; object-src 'none'"

#define HTML       "text/html; charset=utf-8"
#define CSS        "text/css; charset=utf-8"
#define SVG        "image/svg+xml"
#define JAVASCRIPT "text/javascript; charset=utf-8"

/* name, type, symbol: kickoff_embed in CMakeLists.txt makes the symbols. */
#define PAGE_FILES(x)                                                                             \
        x("index.html", HTML, simulator_html) x("style.css", CSS, simulator_css)                  \
            x("icon.svg", SVG, simulator_icon) x("simulator.js", JAVASCRIPT, simulator_simulator) \
                x("screen.js", JAVASCRIPT, simulator_screen)
#define SDK_FILES(x)                                                                  \
        x("kickoff_device.js", JAVASCRIPT, sdk_kickoff_device)                        \
            x("device.js", JAVASCRIPT, sdk_device) x("core.js", JAVASCRIPT, sdk_core) \
                x("clock.js", JAVASCRIPT, sdk_clock) x("due.js", JAVASCRIPT, sdk_due) \
                    x("bundles.js", JAVASCRIPT, sdk_bundles)                          \
                        x("message.js", JAVASCRIPT, sdk_message)                      \
                            x("place.js", JAVASCRIPT, sdk_place)                      \
                                x("random.js", JAVASCRIPT, sdk_random)                \
                                    x("sha256.js", JAVASCRIPT, sdk_sha256)            \
                                        x("socket.js", JAVASCRIPT, sdk_socket)        \
                                            x("storage.js", JAVASCRIPT, sdk_storage)  \
                                                x("stream.js", JAVASCRIPT, sdk_stream)

#define DECLARE(name, type, symbol) \
        extern const char symbol[]; \
        extern const size_t symbol##_len;
PAGE_FILES(DECLARE)
SDK_FILES(DECLARE)

struct file {
        const char *name, *type, *bytes;
        const size_t *len;
};

#define ROW(name, type, symbol) { name, type, symbol, &symbol##_len },
static const struct file page_files[] = { PAGE_FILES(ROW) };
static const struct file sdk_files[] = { SDK_FILES(ROW) };

static void serve(struct httpd_request *request, const struct file *files, size_t n,
                  const char *name)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(files[i].name, name) != 0)
                        continue;
                httpd_add_header(request, "Content-Security-Policy", POLICY);
                httpd_add_header(request, "Referrer-Policy", "no-referrer");
                httpd_add_header(request, "X-Content-Type-Options", "nosniff");
                httpd_reply(request, 200, files[i].type, files[i].bytes, *files[i].len);
                return;
        }
        httpd_reply_problem(request, 404, "not-found", "There is no such path",
                            "There is no such file here. The simulator begins at /simulator.",
                            NULL);
}

void routes_simulator_page(void *owner, struct httpd_request *request)
{
        (void)owner;
        serve(request, page_files, countof(page_files), "index.html");
}

void routes_simulator_file(void *owner, struct httpd_request *request)
{
        (void)owner;
        serve(request, page_files, countof(page_files), httpd_placeholder(request, 0));
}

void routes_simulator_sdk(void *owner, struct httpd_request *request)
{
        (void)owner;
        /* A page from elsewhere may take the SDK from here; it is the same for everybody. */
        httpd_add_header(request, "Access-Control-Allow-Origin", "*");
        serve(request, sdk_files, countof(sdk_files), httpd_placeholder(request, 0));
}
