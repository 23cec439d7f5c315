/* tests/loadtest/wellformed.h -- is a text well-formed XML, as far as we write any: every element
 * closed in order, attributes quoted and once each, no bare & or <. Not a parser for others'
 * documents. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WELLFORMED_DEPTH 64

static inline bool wellformed_text(const char *text, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                if ((unsigned char)text[i] < 0x20 && strchr("\n\t\r", text[i]) == NULL)
                        return false;
                if (text[i] != '&')
                        continue;
                if (strncmp(text + i, "&amp;", 5) != 0 && strncmp(text + i, "&lt;", 4) != 0 &&
                    strncmp(text + i, "&gt;", 4) != 0 && strncmp(text + i, "&quot;", 6) != 0 &&
                    strncmp(text + i, "&#", 2) != 0)
                        return false;
        }
        return true;
}

/* `at` is behind the element's name; NULL: broken, else at its '>'. */
static inline const char *wellformed_attributes(const char *at)
{
        char seen[32][24];
        unsigned n = 0;

        for (;;) {
                size_t space = strspn(at, " \n"), len;
                const char *end;

                at += space;
                if (*at == '>' || (*at == '/' && at[1] == '>'))
                        return *at == '/' ? at + 1 : at;
                len = strcspn(at, "=<> ");
                if (space == 0 || at[len] != '=' || at[len + 1] != '"' || len >= sizeof(seen[0]) ||
                    n == 32)
                        return NULL;
                snprintf(seen[n], sizeof(seen[n]), "%.*s", (int)len, at);
                for (unsigned i = 0; i < n; i++)
                        if (strcmp(seen[i], seen[n]) == 0)
                                return NULL;
                n++;
                end = strchr(at + len + 2, '"');
                if (end == NULL ||
                    memchr(at + len + 2, '<', (size_t)(end - at) - len - 2) != NULL ||
                    !wellformed_text(at + len + 2, (size_t)(end - at) - len - 2))
                        return NULL;
                at = end + 1;
        }
}

/* NULL: it is; else where it is not. */
static inline const char *wellformed_error(const char *text)
{
        char open[WELLFORMED_DEPTH][16];
        unsigned depth = 0, roots = 0;
        const char *at = text;

        if (strncmp(at, "<!DOCTYPE html>", 15) == 0)
                at += 15;
        for (;;) {
                const char *next = strchr(at, '<'), *name, *end;
                size_t len;

                if (next == NULL)
                        break;
                if (!wellformed_text(at, (size_t)(next - at)))
                        return at;
                name = next + 1 + (next[1] == '/');
                len = strcspn(name, " />");
                if (len == 0 || len >= 16)
                        return next;
                if (next[1] == '/') {
                        if (depth == 0 || strncmp(open[depth - 1], name, len) != 0 ||
                            open[depth - 1][len] != '\0' || name[len] != '>')
                                return next;
                        depth--;
                        at = name + len + 1;
                        continue;
                }
                end = wellformed_attributes(name + len);
                if (end == NULL || depth == WELLFORMED_DEPTH || (depth == 0 && roots++ > 0))
                        return next;
                if (end[-1] != '/')
                        snprintf(open[depth++], sizeof(open[0]), "%.*s", (int)len, name);
                at = end + 1;
        }
        return depth > 0 || roots != 1 ? "an element is not closed, or there is no root" : NULL;
}
