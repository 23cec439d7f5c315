/* proto/keys.c -- puts the namespace's hash tag before a suffix and an id. It is on no hot path,
 * but it is the only place that spells a key, so a wrong length here is our bug and stops the
 * process. */
#include "proto/keys.h"

#include <string.h>

#include "base/check.h"

static const char *const key_suffix[KEY_COUNT] = {
#define X(kind, suffix) [kind] = suffix,
        KEY_KINDS(X)
#undef X
};

static size_t append(char out[KEY_MAX + 1], size_t at, const char *text)
{
        size_t len = strlen(text);

        check(len <= KEY_MAX - at);
        memcpy(out + at, text, len + 1);
        return at + len;
}

size_t key_format(char out[KEY_MAX + 1], const char *ns, enum key_kind kind, const char *id)
{
        size_t at = 0;

        check((unsigned)kind < KEY_COUNT);
        check(strlen(ns) <= NAMESPACE_MAX);
        at = append(out, at, "{");
        at = append(out, at, ns);
        at = append(out, at, "}:");
        at = append(out, at, key_suffix[kind]);
        if (id != NULL) {
                at = append(out, at, ":");
                at = append(out, at, id);
        }
        return at;
}
