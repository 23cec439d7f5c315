/* base/check.c -- the last words of a process that broke its own rule. Decides nothing: it says
 * where, and stops. Uses neither the heap nor stdio's locks, since the rule that broke may be
 * theirs. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *condition)
{
        char text[512];
        int len = snprintf(text, sizeof(text), "%s:%d: check failed: %s\n", file, line, condition);
        size_t n = len < 0 ? 0 : (size_t)len;

        if (n >= sizeof(text)) {
                n = sizeof(text) - 1;
                text[n - 1] = '\n';
        }
        if (write(STDERR_FILENO, text, n) < 0)
                abort(); /* nowhere to say it: stop all the same */
        abort();
}
