/* producer/input.c -- reads strictly, refuses with a sentence that says what to send instead. Knows
 * no routes: which members a body may have is its caller's. */
#include "producer/input.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "fanout/starter.h"
#include "prefetch/bundle.h"

#define HASHED_PREFIX "sha256:"

void fault_set(struct fault *fault, int status, const char *slug, const char *title,
               const char *fmt, ...)
{
        va_list args;

        fault->status = status;
        fault->slug = slug;
        fault->title = title;
        va_start(args, fmt);
        vsnprintf(fault->detail, sizeof(fault->detail), fmt, args);
        va_end(args);
}

/* --- bodies -------------------------------------------------------------------------------- */

static bool is_json_type(const char *type)
{
        static const char json[] = "application/json";
        size_t len = sizeof(json) - 1;

        if (type == NULL || strncasecmp(type, json, len) != 0)
                return false;
        return type[len] == '\0' || type[len] == ';' || type[len] == ' ';
}

bool input_parse(const char *body, size_t len, const char *content_type, json_t **ret_object,
                 struct fault *fault)
{
        json_error_t error;
        json_t *object;

        if (len > INPUT_JSON_MAX) {
                fault_set(fault, 413, "body-too-large", "Body too large",
                          "A JSON body has at most %u bytes.", INPUT_JSON_MAX);
                return false;
        }
        if (len > 0 && !is_json_type(content_type)) {
                fault_set(fault, 415, "unsupported-media-type", "Unsupported media type",
                          "Send the body with Content-Type: application/json.");
                return false;
        }
        object = len > 0 ? json_loadb(body, len, JSON_REJECT_DUPLICATES, &error) : json_object();
        if (object == NULL && len > 0)
                fault_set(fault, 400, "malformed-body", "Malformed body",
                          "The body is not JSON: %s (line %d, column %d).", error.text, error.line,
                          error.column);
        else if (object == NULL)
                fault_set(fault, 503, "out-of-memory", "Out of memory", "Try again.");
        else if (!json_is_object(object))
                fault_set(fault, 400, "malformed-body", "Malformed body",
                          "The body must be one JSON object.");
        if (!json_is_object(object)) {
                json_decref(object);
                return false;
        }
        *ret_object = object;
        return true;
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(name, names[i]) == 0)
                        return true;
        }
        return false;
}

/* A name from outside, shortened and without anything that would not print. */
static const char *shown(const char *text, char out[65])
{
        size_t i = 0;

        for (; text[i] != '\0' && i < 64; i++)
                out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
        out[i] = '\0';
        return out;
}

static void refuse_member(const char *name, const char *const *names, size_t n, struct fault *fault)
{
        char list[160] = "", safe[65];
        struct buf known;

        buf_init_fixed(&known, list, sizeof(list));
        for (size_t i = 0; i < n; i++)
                buf_printf(&known, "%s%s", i > 0 ? ", " : "", names[i]);
        check(!known.failed);
        if (strcmp(name, "dry_run") == 0)
                fault_set(fault, 400, "unknown-member", "Unknown member",
                          "`dry_run` is no member of the body: add ?dry_run=1 to the path. Nothing "
                          "was done.");
        else
                fault_set(fault, 400, "unknown-member", "Unknown member",
                          "There is no member `%s` here. Known: %s.", shown(name, safe),
                          n > 0 ? list : "none");
}

bool input_known(const json_t *object, const char *const *names, size_t n, struct fault *fault)
{
        /* jansson's iterator takes no const, and changes nothing. */
        json_t *iterated = (json_t *)(uintptr_t)object;

        for (void *at = json_object_iter(iterated); at != NULL;
             at = json_object_iter_next(iterated, at)) {
                const char *name = json_object_iter_key(at);

                if (is_one_of(name, names, n))
                        continue;
                refuse_member(name, names, n, fault);
                return false;
        }
        return true;
}

static bool refuse_field(struct fault *fault, const char *name, const char *what)
{
        fault_set(fault, 400, "invalid-field", "Invalid field", "`%s` %s.", name, what);
        return false;
}

bool input_text(const json_t *object, const char *name, bool is_required, size_t max,
                const char **ret_text, struct fault *fault)
{
        const json_t *value = json_object_get(object, name);
        char what[64];

        if (value == NULL && !is_required)
                return true;
        if (value == NULL)
                return refuse_field(fault, name, "is required");
        if (!json_is_string(value))
                return refuse_field(fault, name, "must be a string");
        if (json_string_length(value) > max) {
                snprintf(what, sizeof(what), "has at most %zu bytes", max);
                return refuse_field(fault, name, what);
        }
        *ret_text = json_string_value(value);
        return true;
}

bool input_time(const json_t *object, const char *name, bool *ret_has, int64_t *ret_ms,
                struct fault *fault)
{
        const json_t *value = json_object_get(object, name);

        if (value == NULL)
                return true;
        if (!json_is_string(value) || clock_parse_rfc3339(json_string_value(value), ret_ms) != 0)
                return refuse_field(fault, name,
                                    "must be an RFC 3339 time, such as \"2026-11-23T20:00:00Z\"");
        *ret_has = true;
        return true;
}

bool input_duration(const json_t *object, const char *name, bool *ret_has, int64_t *ret_ms,
                    struct fault *fault)
{
        const json_t *value = json_object_get(object, name);

        if (value == NULL)
                return true;
        if (!json_is_string(value) || clock_parse_duration(json_string_value(value), ret_ms) != 0)
                return refuse_field(fault, name,
                                    "must be a duration, such as \"250ms\", \"2s\", \"15m\" or "
                                    "\"1h30m\"");
        *ret_has = true;
        return true;
}

bool input_bool(const json_t *object, const char *name, bool *ret_value, struct fault *fault)
{
        const json_t *value = json_object_get(object, name);

        if (value == NULL)
                return true;
        if (!json_is_boolean(value))
                return refuse_field(fault, name, "must be true or false");
        *ret_value = json_is_true(value);
        return true;
}

bool input_target(const json_t *object, struct target **ret_target, struct fault *fault)
{
        const char *why = "";

        switch (target_parse(json_object_get(object, "cohorts"),
                             json_object_get(object, "attributes"), ret_target, &why)) {
        case OK:
        case ERR_NOT_FOUND: /* for everyone */
                return true;
        case ERR_NOMEM:
                fault_set(fault, 503, "out-of-memory", "Out of memory",
                          "Nothing was done. Try again.");
                return false;
        default:
                fault_set(fault, 400, "invalid-field", "Invalid field",
                          "%s. Leave `cohorts` and `attributes` out to tell every device. Nothing "
                          "was done.",
                          why);
                fault->detail[0] = (char)toupper((unsigned char)fault->detail[0]);
                return false;
        }
}

/* --- headers ------------------------------------------------------------------------------- */

static bool is_printable(const char *text)
{
        while (*text > ' ' && *text <= '~')
                text++;
        return *text == '\0';
}

static bool begins_with(const char *text, const char *prefix)
{
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool input_key(const char *header, char key[REQUEST_KEY_MAX + 1], struct fault *fault)
{
        size_t len = header != NULL ? strlen(header) : 0;

        if (header == NULL) {
                fault_set(fault, 400, "idempotency-key-missing", "Idempotency-Key missing",
                          "Send a header Idempotency-Key with a new random value for each change "
                          "(a UUID, say), and the same value again when you repeat a request whose "
                          "outcome you do not know. It is then carried out once.");
                return false;
        }
        if (len == 0 || len > REQUEST_KEY_MAX || !is_printable(header)) {
                fault_set(fault, 400, "idempotency-key-invalid", "Idempotency-Key invalid",
                          "An Idempotency-Key is 1 to %d printable ASCII characters without "
                          "spaces.",
                          REQUEST_KEY_MAX);
                return false;
        }
        if (name_is_valid(header, len, REQUEST_KEY_MAX) && !begins_with(header, HASHED_PREFIX) &&
            !begins_with(header, STARTER_KEY_PREFIX)) {
                memcpy(key, header, len + 1);
        } else {
                strcpy(key, HASHED_PREFIX);
                bundle_sha256(header, len, key + strlen(HASHED_PREFIX));
        }
        return true;
}

/* Decimal, no sign, no leading zeros, up to 2^53. */
static bool parse_u64(const char *text, size_t len, uint64_t *ret)
{
        uint64_t value = 0;

        if (len == 0 || len > 16 || (text[0] == '0' && len > 1))
                return false;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return false;
                value = value * 10 + (uint64_t)(text[i] - '0');
        }
        if (value > SEQNO_MAX)
                return false;
        *ret = value;
        return true;
}

bool input_if_match(const char *header, struct if_match *ret, struct fault *fault)
{
        struct if_match made = { .is_given = header != NULL };
        size_t len = header != NULL ? strlen(header) : 0;

        if (header != NULL && strcmp(header, "*") == 0) {
                made.is_any = true;
        } else if (header != NULL) {
                if (len >= 2 && header[0] == '"' && header[len - 1] == '"') {
                        header++;
                        len -= 2;
                }
                if (!parse_u64(header, len, &made.version)) {
                        fault_set(fault, 400, "if-match-invalid", "If-Match invalid",
                                  "If-Match takes one event version, as in If-Match: \"3\".");
                        return false;
                }
        }
        *ret = made;
        return true;
}

bool input_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t fallback,
                  uint64_t *ret, struct fault *fault)
{
        uint64_t value = fallback;

        if (text != NULL &&
            (!parse_u64(text, strlen(text), &value) || value < min || value > max)) {
                fault_set(fault, 400, "invalid-parameter", "Invalid parameter",
                          "`%s` must be a whole number from %" PRIu64 " to %" PRIu64 ".", name, min,
                          max);
                return false;
        }
        *ret = value;
        return true;
}

enum err input_fingerprint(const char *method, const char *path, const json_t *object,
                           const struct if_match *if_match, char hex[WRITER_FINGERPRINT + 1])
{
        char *canonical = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT);
        struct buf text = BUF_INIT;
        enum err err = ERR_NOMEM;

        if (canonical == NULL)
                return ERR_NOMEM;
        /* No part can run into the next: method and path have no line feed, JSON escapes it. */
        buf_printf(&text, "%s\n%s\n%s\n", method, path, canonical);
        if (if_match->is_any)
                buf_char(&text, '*');
        else if (if_match->is_given)
                buf_u64(&text, if_match->version);
        if (!text.failed) {
                bundle_sha256(text.data, text.len, hex);
                err = OK;
        }
        buf_fini(&text);
        free(canonical);
        return err;
}

bool input_host_is_local(const char *host)
{
        struct in6_addr address;
        char name[64];
        size_t len;

        if (host == NULL)
                return false;
        if (host[0] == '[') { /* [::1]:9090 */
                host++;
                len = strcspn(host, "]");
        } else {
                len = strcspn(host, ":");
        }
        if (len == 0 || len >= sizeof(name))
                return false;
        memcpy(name, host, len);
        name[len] = '\0';
        return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1 ||
               inet_pton(AF_INET6, name, &address) == 1;
}
