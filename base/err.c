/* base/err.c -- one stable word per kind of error. */
#include "base/err.h"

#include "base/check.h"

static const char *const err_names[ERR_KINDS] = {
        [OK] = "ok",
        [ERR_NOMEM] = "no-memory",
        [ERR_INVALID] = "invalid",
        [ERR_TOO_LARGE] = "too-large",
        [ERR_NOT_FOUND] = "not-found",
        [ERR_EXISTS] = "exists",
        [ERR_CONFLICT] = "conflict",
        [ERR_MISMATCH] = "mismatch",
        [ERR_TIMEOUT] = "timeout",
        [ERR_UNAVAILABLE] = "unavailable",
        [ERR_IO] = "io",
        [ERR_UNSUPPORTED] = "unsupported",
};

const char *err_name(enum err err)
{
        check((unsigned)err < ERR_KINDS);
        return err_names[err];
}
