/* proto/head.h -- an HTTP/1.1 request head (RFC 9112) as devices send it: strict, because a lenient
 * reading is how requests are smuggled. Refused: bare CR or LF, NUL and other control bytes, obs-fold,
 * space before the colon, an empty line before the request, %00, TE with CL, TE in HTTP/1.0, a second
 * Content-Length, a doubled Host (or none in HTTP/1.1), a second line of any field that may stand only
 * once, absolute-form targets, versions but 1.0 and 1.1. Connection, Upgrade and Sec-WebSocket-Protocol
 * are read on all their lines; of If-None-Match, Accept and Accept-Encoding the first counts, which costs a
 * client that splits them no more than a longer answer.
 * The bytes stay the caller's; slices point into them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

/* A head's bytes up to and with the empty line: one more is 431. With what a connection needs besides
 * it stays within 8 KiB (contract line 11). */
#define HEAD_MAX         7936
#define HEAD_FIELDS_MAX  64   /* header lines: one more is 431 */
#define HEAD_PARAMS_MAX  16   /* query parameters: one more is 400 */
#define HEAD_OFFERS_MAX  4    /* Sec-WebSocket-Protocol lines: one more is 400 */

struct slice {
        const char *at; /* NULL = absent */
        size_t len;
};

struct head {
        struct slice method;
        struct slice path;  /* as sent, without the query; begins with '/' */
        struct slice query; /* without '?'; absent if there is none */
        unsigned minor;     /* HTTP/1.minor */
        bool keep_alive;    /* Connection and version taken together */
        bool connection_upgrade; /* Connection holds the token "upgrade" */
        bool upgrade_websocket;  /* Upgrade holds the token "websocket" */
        bool has_body;      /* Content-Length > 0 or Transfer-Encoding: a device never sends one */
        struct slice host, origin, authorization, if_none_match, accept, accept_encoding, last_event_id;
        struct slice ws_key, ws_version, user_agent;
        /* Sec-WebSocket-Protocol, line by line: together they are one list (RFC 6455 11.3.4). */
        struct slice ws_protocols[HEAD_OFFERS_MAX];
        unsigned n_ws_protocols;
};

enum head_status {
        HEAD_MORE, /* not complete yet */
        HEAD_DONE, /* *ret_head is filled, *ret_used bytes belong to it */
        HEAD_BAD   /* *ret_http_status is 400, 431, 501 or 505 */
};

/* `len` bytes have arrived so far, of which `scanned` were looked at by the call before (0 at first;
 * updated, and 0 again at HEAD_DONE): a head that comes byte by byte costs no more than one that comes
 * whole. The bytes may move between two calls. */
enum head_status head_parse(const char *bytes, size_t len, size_t *scanned, struct head *ret_head,
                            size_t *ret_used, unsigned *ret_http_status);

/* The value of a query parameter, percent-decoded ('+' stays '+'), NUL-terminated. ERR_NOT_FOUND;
 * ERR_INVALID for a broken escape, %00 or a parameter that is there twice; ERR_TOO_LARGE if it needs
 * more than size-1 bytes. */
must_check enum err head_param(const struct head *head, const char *name, char *out, size_t size);

bool slice_is(struct slice slice, const char *text);      /* same bytes */
bool slice_is_nocase(struct slice slice, const char *text); /* ASCII case folded */
/* The next element of a comma-separated list (RFC 9110 5.6.1), without the white space around it, and
 * `list` is what comes after; false when there is none left. Empty elements are told too. */
bool slice_next(struct slice *list, struct slice *ret_element);
/* Percent-decoded once, NUL-terminated. ERR_INVALID for a broken escape or %00, ERR_TOO_LARGE if it
 * needs more than size-1 bytes. */
must_check enum err slice_decode(struct slice slice, char *out, size_t size);
/* Does a comma-separated list hold this token, case folded? */
bool slice_has_token(struct slice list, const char *token);
