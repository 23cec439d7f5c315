/* producer/input.h -- what a producer sent, taken apart strictly: bodies field by field, the
 * idempotency key, If-Match, and the fingerprint by which a repeated request is recognised. A
 * typing error must not be ignored silently at kick-off, so an unknown member is refused by name.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "fanout/writer.h"
#include "proto/names.h"

#define INPUT_JSON_MAX   (64u * 1024u) /* bytes of a JSON body; one more is 413 */
#define INPUT_REASON_MAX 200           /* bytes of `reason` */

struct fault { /* why a request is refused, as a problem (RFC 9457) */
        int status;
        const char *slug, *title;
        char detail[384];
};
void fault_set(struct fault *fault, int status, const char *slug, const char *title,
               const char *fmt, ...) printf_like(5, 6);

/* --- bodies: each says false and fills `fault` -------------------------------------------------
 */

/* An absent or empty body is an empty object. The reference is the caller's. */
bool input_parse(const char *body, size_t len, const char *content_type, json_t **ret_object,
                 struct fault *fault);
/* Only these members may be there. */
bool input_known(const json_t *object, const char *const *names, size_t n, struct fault *fault);
/* *ret_text stays NULL if an optional one is absent; borrowed from `object`. */
bool input_text(const json_t *object, const char *name, bool is_required, size_t max,
                const char **ret_text, struct fault *fault);
bool input_time(const json_t *object, const char *name, bool *ret_has, int64_t *ret_ms,
                struct fault *fault);
bool input_duration(const json_t *object, const char *name, bool *ret_has, int64_t *ret_ms,
                    struct fault *fault);
bool input_bool(const json_t *object, const char *name, bool *ret_value, struct fault *fault);

/* `cohorts` and `attributes`; *ret_target stays NULL if it is for everyone, else it is the caller's. */
bool input_target(const json_t *object, struct target **ret_target, struct fault *fault);

/* --- headers -----------------------------------------------------------------------------------
 */

/* The key as it goes into Redis: as it is if it is a name (proto/names.h), else as "sha256:" and
 * the hash, so that any printable key works and none can reach another's, nor the starter's
 * (fanout/starter.h). */
bool input_key(const char *header, char key[REQUEST_KEY_MAX + 1], struct fault *fault);

struct if_match {
        bool is_given; /* false: the header was not there */
        bool is_any;   /* `*` */
        uint64_t version;
};
bool input_if_match(const char *header, struct if_match *ret, struct fault *fault);

/* A decimal query parameter within min..max; `fallback` when `text` is NULL. */
bool input_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t fallback,
                  uint64_t *ret, struct fault *fault);

/* SHA-256 of what was asked: members in any order, and white space, make no difference. ERR_NOMEM.
 */
must_check enum err input_fingerprint(const char *method, const char *path, const json_t *object,
                                      const struct if_match *if_match,
                                      char hex[WRITER_FINGERPRINT + 1]);

/* "localhost" or an address, with or without a port: a name that DNS cannot point elsewhere. */
bool input_host_is_local(const char *host);
