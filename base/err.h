/* base/err.h -- what can go wrong without being our bug. One small set for the whole project, so
 * that a caller can decide by kind; the words for people are made where the decision is made. */
#pragma once

enum err {
        OK = 0,
        ERR_NOMEM,       /* allocation failed */
        ERR_INVALID,     /* malformed input: a peer's or a user's fault */
        ERR_TOO_LARGE,   /* a named limit was passed */
        ERR_NOT_FOUND,   /* no such thing */
        ERR_EXISTS,      /* there is one already */
        ERR_CONFLICT,    /* the thing changed meanwhile, or is in a state that forbids this */
        ERR_MISMATCH,    /* the same request key with another body */
        ERR_TIMEOUT,     /* no answer in time: the outcome is unknown */
        ERR_UNAVAILABLE, /* not connected: nothing was sent, so nothing happened */
        ERR_IO,          /* the system or a peer broke it off */
        ERR_UNSUPPORTED, /* this build or this library version cannot do that */
        ERR_KINDS
};

/* "ok", "no-memory", "invalid", ...: stable words for logs. */
const char *err_name(enum err err);
