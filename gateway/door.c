/* gateway/door.c -- what a request is, decided from its head alone. Paths are compared as sent:
 * nothing is normalised, so no two readings of one path can differ. Refuses to know sockets, load
 * and tokens' worth; whether there is room is asked later, by whoever holds the rooms. */
#include "gateway/door.h"

#include <string.h>

#include "base/check.h"
#include "proto/ws.h"

static void refuse(struct door_verdict *verdict, unsigned status, const char *title,
                   const char *detail)
{
        verdict->kind = DOOR_REFUSE;
        verdict->status = status;
        verdict->title = title;
        verdict->detail = detail;
}

/* --- small readers --------------------------------------------------------------------------- */

/* The first subprotocol of the client's list that we speak: the order is its preference (RFC
 * 6455 1.9). */
static bool choose_encoding(const struct head *head, enum encoding *ret_encoding)
{
        for (unsigned i = 0; i < head->n_ws_protocols; i++) {
                struct slice list = head->ws_protocols[i], offer;

                while (slice_next(&list, &offer)) {
                        for (int e = 0; e < ENCODINGS; e++) {
                                if (slice_is(offer, encoding_subprotocol[e])) {
                                        *ret_encoding = (enum encoding)e;
                                        return true;
                                }
                        }
                }
        }
        return false;
}

/* Named, whatever its parameters: a range that merely includes it is anybody's. */
static bool accepts_stream(const struct head *head)
{
        struct slice list = head->accept, range;

        while (list.at != NULL && slice_next(&list, &range)) {
                const char *end = memchr(range.at, ';', range.len);

                if (end != NULL)
                        range.len = (size_t)(end - range.at);
                while (range.len > 0 &&
                       (range.at[range.len - 1] == ' ' || range.at[range.len - 1] == '\t'))
                        range.len--;
                if (slice_is_nocase(range, "text/event-stream"))
                        return true;
        }
        return false;
}

/* A query parameter that must be a name if it is there. Refuses and returns false if it is not. */
static bool read_name(const struct head *head, const char *param, char *out, size_t max,
                      struct door_verdict *verdict, const char *title, bool *ret_found)
{
        enum err err = head_param(head, param, out, max + 1);

        *ret_found = err == OK;
        if (err == ERR_NOT_FOUND)
                return true;
        if (err != OK || !name_is_valid(out, strlen(out), max)) {
                refuse(
                    verdict, 400, title,
                    "Use 1 to 128 (device) or 64 (others) of the characters A-Z a-z 0-9 . _ : ~ -, "
                    "once.");
                return false;
        }
        return true;
}

/* --- the rooms ------------------------------------------------------------------------------- */

static bool read_cohort(const struct head *head, struct door_verdict *verdict)
{
        bool found;

        if (!read_name(head, "cohort", verdict->cohort, COHORT_MAX, verdict, "cohort is not valid",
                       &found))
                return false;
        if (!found)
                memcpy(verdict->cohort, COHORT_DEFAULT, sizeof(COHORT_DEFAULT));
        return true;
}

/* What signals may tell devices apart by. */
static bool read_attributes(const struct head *head, struct door_verdict *verdict)
{
        bool found;

        return read_name(head, "platform", verdict->platform, ATTRIBUTE_MAX, verdict,
                         "platform is not valid", &found) &&
               read_name(head, "region", verdict->region, ATTRIBUTE_MAX, verdict,
                         "region is not valid", &found) &&
               read_name(head, "app", verdict->app, ATTRIBUTE_MAX, verdict, "app is not valid",
                         &found);
}

static bool read_since(const struct head *head, struct door_verdict *verdict)
{
        char text[TOKEN_TEXT_MAX + 1];

        switch (head_param(head, "since", text, sizeof(text))) {
        case ERR_NOT_FOUND:
                return true;
        case OK:
                if (token_parse(text, strlen(text), &verdict->since) == OK)
                        verdict->has_since = true;
                else
                        verdict->since_malformed = true;
                return true;
        case ERR_TOO_LARGE:
                verdict->since_malformed =
                    true; /* a reset helps this device, a refusal would not */
                return true;
        default:
                refuse(verdict, 400, "since is not valid",
                       "Give the resume token once, as the node sent it.");
                return false;
        }
}

/* What a browser remembers of an event stream (WHATWG HTML 9.2.3). It is newer than the `since` of
 * an address that never changes. */
static void read_last_event_id(const struct head *head, struct door_verdict *verdict)
{
        const struct slice id = head->last_event_id;

        if (id.len == 0)
                return;
        verdict->has_since = token_parse(id.at, id.len, &verdict->since) == OK;
        verdict->since_malformed = !verdict->has_since;
}

static bool read_ack(const struct head *head, struct door_verdict *verdict)
{
        char text[2];
        enum err err = head_param(head, "ack", text, sizeof(text));

        verdict->wants_ack = true;
        if (err == ERR_NOT_FOUND)
                return true;
        if (err == OK && (strcmp(text, "0") == 0 || strcmp(text, "1") == 0)) {
                verdict->wants_ack = text[0] == '1';
                return true;
        }
        refuse(verdict, 400, "ack is not valid", "Use ack=0 or ack=1, once.");
        return false;
}

static bool origin_is_allowed(const struct head *head, const struct door_rules *rules)
{
        if (rules->n_origins == 0 || head->origin.at == NULL)
                return true; /* native apps send none; only browsers must be held to the list */
        for (unsigned i = 0; i < rules->n_origins; i++)
                if (slice_is(head->origin, rules->origins[i]))
                        return true;
        return false;
}

static bool check_origin(const struct head *head, const struct door_rules *rules,
                         struct door_verdict *verdict)
{
        if (origin_is_allowed(head, rules))
                return true;
        refuse(verdict, 403, "origin is not allowed",
               "Ask the operator to add this origin to --origin.");
        return false;
}

/* RFC 6455 4.2.1, in the order in which an answer helps most. */
static bool check_upgrade(const struct head *head, const struct door_rules *rules,
                          struct door_verdict *verdict)
{
        if (head->minor < 1 || !head->connection_upgrade || !head->upgrade_websocket) {
                refuse(
                    verdict, 426, "this is a WebSocket endpoint",
                    "Connect with a WebSocket client; without one, use /v1/stream, or poll /v1/events.");
                return false;
        }
        if (!slice_is(head->ws_version, "13")) {
                refuse(verdict, 426, "WebSocket version is not 13",
                       "Send Sec-WebSocket-Version: 13.");
                return false;
        }
        if (!ws_key_is_valid(head->ws_key.at, head->ws_key.len)) {
                refuse(verdict, 400, "Sec-WebSocket-Key is not valid",
                       "Send 16 random bytes in base64.");
                return false;
        }
        return check_origin(head, rules, verdict);
}

/* Who comes, whichever way: the parameters of both. */
static bool read_device(const struct head *head, struct door_verdict *verdict)
{
        bool found;

        if (!read_name(head, "device", verdict->device, DEVICE_ID_MAX, verdict,
                       "device is not valid", &found))
                return false;
        if (!found) {
                refuse(verdict, 400, "device is missing",
                       "Add ?device=ID, an id that stays the same for this device.");
                return false;
        }
        return read_cohort(head, verdict) && read_attributes(head, verdict) &&
               read_since(head, verdict) && read_ack(head, verdict);
}

static void decide_connect(const struct head *head, const struct door_rules *rules,
                           struct door_verdict *verdict)
{
        if (!check_upgrade(head, rules, verdict) || !read_device(head, verdict))
                return;
        if (head->n_ws_protocols > 0) {
                /* A browser fails a connection whose offer was not taken up: say why instead. */
                if (!choose_encoding(head, &verdict->encoding)) {
                        refuse(verdict, 400, "subprotocol is not known",
                               "Offer kickoff.v1.json or kickoff.v1.msgpack.");
                        return;
                }
                verdict->subprotocol_named = true;
        }
        memcpy(verdict->ws_key, head->ws_key.at, sizeof(verdict->ws_key));
        verdict->kind = DOOR_CONNECT;
}

static void decide_stream(const struct head *head, const struct door_rules *rules,
                          struct door_verdict *verdict)
{
        if (head->minor < 1) {
                refuse(verdict, 505, "a stream needs HTTP/1.1",
                       "A proxy on the way may have to be told (nginx: proxy_http_version 1.1).");
                return;
        }
        if (!check_origin(head, rules, verdict) || !read_device(head, verdict))
                return;
        read_last_event_id(head, verdict);
        verdict->wants_ack = false; /* there is no way back */
        verdict->encoding = ENCODING_JSON;
        verdict->from_event_source = accepts_stream(head);
        verdict->kind = DOOR_STREAM;
}

static void decide_prefetch(const struct head *head, struct slice segment,
                            struct door_verdict *verdict)
{
        if (memchr(segment.at, '/', segment.len) != NULL) {
                refuse(verdict, 404, "no such page", "Bundles are at /v1/prefetch/EVENT.");
                return;
        }
        /* Decoded, since clients escape the ':' that our ids may hold. */
        if (slice_decode(segment, verdict->event, sizeof(verdict->event)) != OK ||
            !name_is_valid(verdict->event, strlen(verdict->event), EVENT_ID_MAX)) {
                refuse(verdict, 400, "event id is not valid",
                       "Use 1 to 64 of the characters A-Z a-z 0-9 . _ : ~ -.");
                return;
        }
        if (read_cohort(head, verdict))
                verdict->kind = DOOR_PREFETCH;
}

/* --- the door -------------------------------------------------------------------------------- */

void door_decide(const struct head *head, const struct door_rules *rules,
                 struct door_verdict *ret_verdict)
{
        static const char prefetch[] = "/v1/prefetch/";
        const size_t prefetch_len = sizeof(prefetch) - 1;
        struct door_verdict *verdict = ret_verdict;
        enum { NO_PAGE, CONNECT, STREAM, EVENTS, HEALTH, PREFETCH } page = NO_PAGE;

        memset(verdict, 0, sizeof(*verdict));
        if (slice_is(head->path, "/v1/connect"))
                page = CONNECT;
        else if (slice_is(head->path, "/v1/stream"))
                page = STREAM;
        else if (slice_is(head->path, "/v1/events"))
                page = EVENTS;
        else if (slice_is(head->path, "/healthz"))
                page = HEALTH;
        else if (head->path.len > prefetch_len &&
                 memcmp(head->path.at, prefetch, prefetch_len) == 0)
                page = PREFETCH;

        verdict->head_only = slice_is(head->method, "HEAD");
        verdict->from_browser = head->origin.at != NULL;
        if (head->has_body) {
                refuse(verdict, 400, "a request to this port has no body",
                       "Producers use the admin port.");
        } else if (page == NO_PAGE) {
                refuse(verdict, 404, "no such page",
                       "Devices use /v1/connect, /v1/stream, /v1/prefetch/EVENT and /v1/events.");
        } else if (!slice_is(head->method, "GET") &&
                   (!verdict->head_only || page == CONNECT || page == STREAM)) {
                refuse(verdict, 405, "method is not allowed", "Use GET.");
        } else if (page == CONNECT) {
                decide_connect(head, rules, verdict);
        } else if (page == STREAM) {
                decide_stream(head, rules, verdict);
        } else if (page == PREFETCH) {
                decide_prefetch(
                    head,
                    (struct slice){ head->path.at + prefetch_len, head->path.len - prefetch_len },
                    verdict);
        } else {
                verdict->kind = page == EVENTS ? DOOR_EVENTS : DOOR_HEALTH;
        }
}
