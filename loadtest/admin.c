/* loadtest/admin.c -- see admin.h. */
#include "loadtest/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/rng.h"

#define TRIES_MAX 5
#define STARTS_IN_MS                                                                 \
        3600000 /* planned start of an event made here: it is started by hand anyway \
                 */

static enum err complain(struct admin *admin, enum err err, const char *what, const char *detail)
{
        snprintf(admin->why, sizeof(admin->why), "%s: %s", what, detail);
        return err;
}

/* What a refusal says of itself (RFC 9457), or all of it. */
static void quote_answer(struct admin *admin, const char *path, const struct http_answer *answer,
                         const json_t *json)
{
        const char *title = json_string_value(json_object_get(json, "title"));
        const char *detail = json_string_value(json_object_get(json, "detail"));
        size_t len;

        if (title == NULL)
                snprintf(admin->why, sizeof(admin->why), "%s%s answered %d: %.100s", admin->url,
                         path, answer->status, log_quote(answer->body));
        else
                snprintf(admin->why, sizeof(admin->why), "%s%s answered %d: %s%s%s", admin->url,
                         path, answer->status, title, detail != NULL ? ": " : "",
                         detail != NULL ? detail : "");
        while ((len = strlen(admin->why)) > 0 && admin->why[len - 1] == '.')
                admin->why[len - 1] = '\0'; /* whoever shows it ends the sentence */
}

/* *ret_json is NULL when there was none. Any status is OK. */
static enum err ask(struct admin *admin, const char *method, const char *path,
                    const struct http_header *extra, const char *type, const void *body,
                    size_t body_len, int *ret_status, json_t **ret_json)
{
        struct http_ask ask = { .method = method, .body = body, .body_len = body_len };
        struct http_answer answer;
        char url[512];
        unsigned n = 0;
        enum err err;

        snprintf(url, sizeof(url), "%s%s", admin->url, path);
        ask.url = url;
        if (admin->bearer != NULL)
                ask.headers[n++] = (struct http_header){ "Authorization", admin->bearer };
        if (type != NULL)
                ask.headers[n++] = (struct http_header){ "Content-Type", type };
        for (; extra != NULL && extra->name != NULL; extra++)
                ask.headers[n++] = *extra;
        err = http_client_ask(&ask, &answer);
        if (err != OK)
                return complain(admin, err, admin->url,
                                err == ERR_UNAVAILABLE ? "nobody answers there" : err_name(err));
        *ret_status = answer.status;
        *ret_json = json_loadb(answer.body, answer.body_len, 0, NULL);
        if (answer.status == 401 || answer.status == 403)
                complain(admin, ERR_INVALID, admin->url,
                         "it wants a token: give it with --admin-token-file");
        else
                quote_answer(admin, path, &answer, *ret_json);
        http_answer_fini(&answer);
        return OK;
}

static enum err post(struct admin *admin, const char *path, const struct http_header *extra,
                     json_t *body, int *ret_status, json_t **ret_json)
{
        char *text = json_dumps(body, JSON_COMPACT);
        enum err err = ERR_NOMEM;

        if (text != NULL)
                err = ask(admin, "POST", path, extra, "application/json", text, strlen(text),
                          ret_status, ret_json);
        free(text);
        return err;
}

static bool read_event(const json_t *root, struct admin_event *ret_event)
{
        const json_t *inner = json_object_get(root, "event");
        const json_t *event = json_is_object(inner) ? inner : root;
        const char *stage = json_string_value(json_object_get(event, "stage"));
        const json_t *version = json_object_get(event, "version");

        if (stage == NULL || strlen(stage) > STAGE_MAX || !json_is_integer(version))
                return false;
        *ret_event = (struct admin_event){
                .exists = true,
                .version = (uint64_t)json_integer_value(version),
                .bundle = (uint64_t)json_integer_value(json_object_get(event, "bundle")),
        };
        snprintf(ret_event->stage, sizeof(ret_event->stage), "%s", stage);
        return true;
}

enum err admin_find(struct admin *admin, const char *event, struct admin_event *ret_event)
{
        char path[160];
        json_t *json = NULL;
        int status;
        enum err err;

        snprintf(path, sizeof(path), "/v1/events/%s", event);
        err = ask(admin, "GET", path, NULL, NULL, NULL, 0, &status, &json);
        if (err != OK)
                return err;
        if (status == 404)
                *ret_event = (struct admin_event){ .exists = false };
        else if (status != 200 || !read_event(json, ret_event))
                err = ERR_INVALID; /* `why` holds the answer */
        json_decref(json);
        return err;
}

static void new_key(char key[40])
{
        snprintf(key, 40, "herd-%016llx", (unsigned long long)rng_secure_u64());
}

/* A change whose answer must be 2xx; the body's reference is taken. */
static enum err change_once(struct admin *admin, const char *path, json_t *body)
{
        char key[40];
        struct http_header headers[2] = { { "Idempotency-Key", key } };
        json_t *json = NULL;
        int status = 0;
        enum err err;

        new_key(key);
        err = post(admin, path, headers, body, &status, &json);
        json_decref(body);
        json_decref(json);
        return err == OK && (status < 200 || status > 299) ? ERR_INVALID : err;
}

/* What a device shows in each stage, padded to the wanted size. */
static void write_bundle(struct buf *out, const char *event, uint32_t bytes)
{
        buf_printf(out,
                   "{\"event\":\"%s\",\"stages\":{\"scheduled\":[\"trailer\"],\"live\":[\"watch\"],"
                   "\"ended\":[\"highlights\"]},\"padding\":\"",
                   event);
        while (out->len + 2 < bytes && !out->failed)
                buf_char(out, 'k');
        buf_str(out, "\"}");
}

static enum err load_bundle(struct admin *admin, const char *event, uint32_t bytes)
{
        struct buf body = BUF_INIT;
        json_t *json = NULL;
        char path[192];
        int status = 0;
        enum err err;

        write_bundle(&body, event, bytes);
        snprintf(path, sizeof(path), "/v1/events/%s/bundles/%s", event, COHORT_DEFAULT);
        err = body.failed ? ERR_NOMEM
                          : ask(admin, "PUT", path, NULL, "application/json", body.data, body.len,
                                &status, &json);
        json_decref(json);
        buf_fini(&body);
        if (err != OK || status < 200 || status > 299)
                return err != OK ? err : ERR_INVALID;
        snprintf(path, sizeof(path), "/v1/events/%s/bundles", event);
        return change_once(admin, path, json_object());
}

enum err admin_make(struct admin *admin, const char *event, uint32_t bundle_bytes,
                    struct admin_event *ret_event)
{
        char starts_at[CLOCK_RFC3339_SIZE];
        enum err err;

        clock_format_rfc3339(clock_wall_ms() + STARTS_IN_MS, starts_at);
        err = change_once(admin, "/v1/events",
                          json_pack("{s:s, s:s, s:s}", "id", event, "title",
                                    "Rehearsal with a herd", "starts_at", starts_at));
        if (err == OK)
                err = load_bundle(admin, event, bundle_bytes);
        return err == OK ? admin_find(admin, event, ret_event) : err;
}

static bool read_change(const json_t *json, struct token *ret_token, uint64_t *ret_version)
{
        const char *token = json_string_value(json_object_get(json, "token"));
        struct admin_event event;

        if (token == NULL || token_parse(token, strlen(token), ret_token) != OK ||
            !read_event(json, &event))
                return false;
        *ret_version = event.version;
        return true;
}

enum err admin_change(struct admin *admin, const char *event, const char *stage, int64_t lead_ms,
                      uint64_t version, struct token *ret_token, uint64_t *ret_version)
{
        char key[40], match[32], path[160], lead[32];
        const struct http_header headers[3] = { { "Idempotency-Key", key }, { "If-Match", match } };
        json_t *body;
        enum err err = ERR_NOMEM;

        snprintf(lead, sizeof(lead), "%lldms", (long long)lead_ms);
        body = stage != NULL   ? json_pack("{s:s}", "stage", stage)
               : lead_ms > 0 ? json_pack("{s:s}", "lead", lead)
                             : json_object();
        new_key(key);
        snprintf(match, sizeof(match), "\"%llu\"", (unsigned long long)version);
        snprintf(path, sizeof(path), "/v1/events/%s/%s", event, stage == NULL ? "start" : "stage");
        for (unsigned try = 0; try < TRIES_MAX; try++) {
                const struct timespec pause = { .tv_nsec = 500000000 };
                json_t *json = NULL;
                int status = 0;

                if (try > 0)
                        nanosleep(&pause, NULL);
                err = post(admin, path, headers, body, &status, &json);
                if (err == OK &&
                    (status < 200 || status > 299 || !read_change(json, ret_token, ret_version)))
                        err = status >= 500 ? ERR_TIMEOUT : ERR_INVALID;
                json_decref(json);
                if (err == OK || err == ERR_INVALID || err == ERR_UNAVAILABLE)
                        break;
        }
        json_decref(body);
        return err;
}

/* One page; *ret_last is the newest number in it, or untouched when it is empty. */
static enum err read_page(struct admin *admin, seqno after, struct witness *log, seqno *ret_last)
{
        json_t *json = NULL, *list, *item;
        struct token token;
        char path[80];
        int status;
        size_t i;
        enum err err;

        snprintf(path, sizeof(path), "/v1/signals?after=%llu", (unsigned long long)after);
        err = ask(admin, "GET", path, NULL, NULL, NULL, 0, &status, &json);
        if (err != OK)
                return err;
        list = json_is_array(json) ? json : json_object_get(json, "signals");
        if (status != 200 || !json_is_array(list))
                err = ERR_INVALID;
        json_array_foreach(list, i, item)
        {
                const char *text = json_string_value(json_object_get(item, "token"));

                if (text == NULL || token_parse(text, strlen(text), &token) != OK) {
                        err = ERR_INVALID;
                        break;
                }
                witness_saw(log, &token);
                *ret_last = token.seq;
        }
        json_decref(json);
        return err != OK ? err : log->failed ? ERR_NOMEM : OK;
}

enum err admin_drain(struct admin *admin, const char *node, unsigned within_ms)
{
        json_t *body, *json = NULL;
        char path[160], within[24];
        int status = 0;
        enum err err;

        snprintf(path, sizeof(path), "/v1/nodes/%s/drain", node);
        snprintf(within, sizeof(within), "%ums", within_ms);
        body = json_pack("{s:s}", "within", within);
        if (body == NULL)
                return ERR_NOMEM;
        err = post(admin, path, NULL, body, &status, &json);
        json_decref(body);
        json_decref(json);
        if (err != OK)
                return err;
        return status == 202 ? OK : ERR_INVALID; /* quote_answer has said why */
}

enum err admin_read_log(struct admin *admin, seqno after, struct witness *log)
{
        for (;;) {
                seqno last = after;
                enum err err = read_page(admin, after, log, &last);

                if (err != OK || last <= after)
                        return err;
                after = last;
        }
}
