/* tests/producer/test_openapi.c -- the description of the admin API against the table of its
 * routes. The file is indented by two: paths stand at two spaces, methods at four. */
#include "producer/admin.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* "/v1/events" and "get" -> is it there? */
static bool describes(const char *path, const char *method)
{
        const char *line = strstr(admin_openapi, "\npaths:\n");
        char wanted[160];
        bool inside = false;

        cr_assert(not(eq(ptr, (void *)line, NULL)));
        for (line = strchr(line + 1, '\n') + 1; *line == ' '; line = strchr(line, '\n') + 1) {
                int len = (int)strcspn(line, "\n");

                snprintf(wanted, sizeof(wanted), "  %s:", path);
                if (line[2] == '/')
                        inside =
                            len == (int)strlen(wanted) && strncmp(line, wanted, (size_t)len) == 0;
                snprintf(wanted, sizeof(wanted), "    %s:", method);
                if (inside && len == (int)strlen(wanted) && strncmp(line, wanted, (size_t)len) == 0)
                        return true;
        }
        return false;
}

static size_t count(const char *needle)
{
        size_t n = 0;

        for (const char *at = admin_openapi; (at = strstr(at, needle)) != NULL; at++)
                n++;
        return n;
}

Test(openapi, describes_every_route_and_nothing_else)
{
        char route[160];
        size_t n = 0;

        for (unsigned i = 0; admin_route(i, route, sizeof(route)) != NULL; i++, n++) {
                char *path = strchr(route, ' ');

                *path++ = '\0';
                for (char *c = route; *c != '\0'; c++)
                        *c = (char)(*c | 0x20);
                cr_expect(describes(path, route), "%s %s is not in openapi.yaml", route, path);
        }
        cr_assert(eq(sz, count("      operationId: "), n));
        cr_assert(eq(sz, count("\n    get:") + count("\n    post:") + count("\n    put:"), n));
        cr_assert(not(describes("/v1/no-such-path", "get")));
        cr_assert(not(describes("/v1/nodes", "post")));
}

Test(openapi, is_served_whole)
{
        cr_assert(eq(sz, strlen(admin_openapi), admin_openapi_len));
        cr_assert(eq(int, strncmp(admin_openapi, "openapi: 3.1.0\n", 15), 0));
}
