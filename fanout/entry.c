/* fanout/entry.c -- the signal's two forms: `body` text in Redis, frames in memory. Whatever comes
 * from Redis is checked as if a stranger had written it; what it means is decided elsewhere. */
#include "fanout/entry.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define HEX_LEN 16 /* of an epoch or a tag, see proto/token.h */

static struct blob *make_frame(const struct signal *signal, bool skip, enum wire wire)
{
        struct buf payload = BUF_INIT;
        struct blob *frame;

        if (skip)
                message_encode_skip(&signal->token, wire_encoding(wire), &payload);
        else
                message_encode_signal(signal, wire_encoding(wire), &payload);
        frame = frame_create(wire, &payload, &signal->token);
        buf_fini(&payload);
        return frame;
}

/* False = no memory. */
static bool make_frames(struct entry *entry)
{
        for (unsigned i = 0; i < ENCODINGS; i++) {
                entry->frames[i] = make_frame(&entry->signal, false, (enum wire)i);
                if (entry->frames[i] == NULL)
                        return false;
                if (entry->to == NULL)
                        continue;
                entry->skips[i] = make_frame(&entry->signal, true, (enum wire)i);
                if (entry->skips[i] == NULL)
                        return false;
        }
        return true;
}

struct entry *entry_create(const struct signal *signal, uint64_t prev_tag, const char *record)
{
        return entry_create_for(signal, NULL, prev_tag, record);
}

struct entry *entry_create_for(const struct signal *signal, const struct target *to,
                               uint64_t prev_tag, const char *record)
{
        struct entry *entry = calloc(1, sizeof(*entry));

        if (entry == NULL)
                return NULL;
        atomic_init(&entry->refs, 1);
        entry->signal = *signal;
        entry->prev_tag = prev_tag;
        if ((record != NULL && (entry->record = strdup(record)) == NULL) ||
            (to != NULL && (entry->to = target_copy(to)) == NULL) || !make_frames(entry)) {
                entry_unref(entry);
                return NULL;
        }
        return entry;
}

struct entry *entry_ref(struct entry *entry)
{
        uint32_t before = atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);

        check(before > 0 && before < UINT32_MAX);
        return entry;
}

void entry_unref(struct entry *entry)
{
        if (entry == NULL)
                return;

        uint32_t before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);

        check(before > 0);
        if (before > 1)
                return;
        for (unsigned i = 0; i < ENCODINGS; i++) {
                blob_unref(entry->frames[i]);
                blob_unref(entry->skips[i]);
        }
        blob_unref(atomic_load(&entry->streams[0]));
        blob_unref(atomic_load(&entry->streams[1]));
        target_destroy(entry->to);
        free(entry->record);
        free(entry);
}

static struct blob *stream_frame(struct entry *entry, bool skip)
{
        _Atomic(struct blob *) *place = &entry->streams[skip];
        struct blob *there = atomic_load_explicit(place, memory_order_acquire), *made;

        if (there != NULL)
                return there;
        made = make_frame(&entry->signal, skip, WIRE_STREAM);
        if (made == NULL || atomic_compare_exchange_strong(place, &there, made))
                return made;
        blob_unref(made); /* another thread was faster, with the same bytes */
        return there;
}

struct blob *entry_signal_frame(struct entry *entry, enum wire wire)
{
        return wire == WIRE_STREAM ? stream_frame(entry, false) : entry->frames[wire];
}

struct blob *entry_skip_frame(struct entry *entry, enum wire wire)
{
        check(entry->to != NULL);
        return wire == WIRE_STREAM ? stream_frame(entry, true) : entry->skips[wire];
}

void entry_drop_record(struct entry *entry)
{
        free(entry->record);
        entry->record = NULL;
}

char *entry_format_body(const struct signal *signal, const struct target *to)
{
        const struct event_state *state = &signal->state;
        struct buf body = BUF_INIT;

        /* Ids and stages are ASCII without quotes (proto/names.h), so nothing needs escaping. */
        buf_printf(&body, "{\"kind\":\"%s\",\"event\":\"%s\",\"stage\":\"%s\"",
                   signal_kind_name[signal->kind], state->event, state->stage);
        buf_str(&body, ",\"at\":");
        buf_i64(&body, state->at);
        buf_str(&body, ",\"starts_at\":");
        buf_i64(&body, state->starts_at);
        buf_str(&body, ",\"version\":");
        buf_u64(&body, state->version);
        buf_str(&body, ",\"bundle\":");
        buf_u64(&body, state->bundle);
        buf_str(&body, ",\"sent\":");
        buf_i64(&body, signal->sent);
        if (signal->window_ms > 0) {
                buf_str(&body, ",\"window_ms\":");
                buf_i64(&body, signal->window_ms);
        }
        if (to != NULL) {
                buf_str(&body, ",\"to\":");
                target_format(to, &body);
        }
        buf_char(&body, '}');
        return buf_take(&body);
}

static bool take_name(const json_t *body, const char *member, char *out, size_t max)
{
        const json_t *value = json_object_get(body, member);

        if (!json_is_string(value) ||
            !name_is_valid(json_string_value(value), json_string_length(value), max))
                return false;
        memcpy(out, json_string_value(value), json_string_length(value) + 1);
        return true;
}

static bool take_number(const json_t *body, const char *member, int64_t *out)
{
        const json_t *value = json_object_get(body, member);

        if (!json_is_integer(value) || json_integer_value(value) < 0)
                return false;
        *out = json_integer_value(value);
        return true;
}

static bool take_kind(const json_t *body, enum signal_kind *out)
{
        const char *name = json_string_value(json_object_get(body, "kind"));

        for (unsigned kind = 0; name != NULL && kind < SIGNAL_KINDS; kind++) {
                if (strcmp(name, signal_kind_name[kind]) == 0) {
                        *out = (enum signal_kind)kind;
                        return true;
                }
        }
        return false;
}

static enum err parse_body(const char *text, size_t len, struct signal *signal,
                           struct target **ret_to)
{
        json_t *body = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        const json_t *to = json_object_get(body, "to");
        enum err err = OK;
        struct event_state *state = &signal->state;
        int64_t version = 0, bundle = 0;
        bool good = take_kind(body, &signal->kind) &&
                    take_name(body, "event", state->event, EVENT_ID_MAX) &&
                    take_name(body, "stage", state->stage, STAGE_MAX) &&
                    take_number(body, "at", &state->at) &&
                    take_number(body, "starts_at", &state->starts_at) &&
                    take_number(body, "version", &version) && version > 0 &&
                    take_number(body, "bundle", &bundle) &&
                    take_number(body, "sent", &signal->sent) &&
                    (json_object_get(body, "window_ms") == NULL ||
                     take_number(body, "window_ms", &signal->window_ms));

        state->version = (uint64_t)version;
        state->bundle = (uint64_t)bundle;
        if (!good)
                err = ERR_INVALID;
        else if (to != NULL)
                err = target_parse_object(to, ret_to);
        json_decref(body);
        return err;
}

static enum err make(const struct token *token, uint64_t prev_tag, const char *body,
                     size_t body_len, const char *record, struct entry **ret_entry)
{
        struct signal signal = { .token = *token };
        struct target *to = NULL;
        struct entry *entry;
        enum err err;

        if (token->epoch == 0 || token->seq == 0 || token->seq > SEQNO_MAX)
                return ERR_INVALID;
        err = parse_body(body, body_len, &signal, &to);
        if (err != OK)
                return err;
        entry = entry_create_for(&signal, to, prev_tag, record);
        target_destroy(to);
        if (entry == NULL)
                return ERR_NOMEM;
        *ret_entry = entry;
        return OK;
}

enum err entry_parse_message(const char *bytes, size_t len, struct entry **ret_entry)
{
        const char *space = memchr(bytes, ' ', len);
        struct token token;
        uint64_t prev_tag;

        if (space == NULL || token_parse(bytes, (size_t)(space - bytes), &token) != OK)
                return ERR_INVALID;

        const char *prev = space + 1;
        size_t left = len - (size_t)(prev - bytes);

        if (left <= HEX_LEN || prev[HEX_LEN] != ' ' ||
            token_parse_hex(prev, HEX_LEN, &prev_tag) != OK)
                return ERR_INVALID;

        const char *body = prev + HEX_LEN + 1;
        size_t rest = left - HEX_LEN - 1;
        const char *line_end = memchr(body, '\n', rest); /* a body has none inside */
        size_t body_len = line_end != NULL ? (size_t)(line_end - body) : rest;
        bool has_record = body_len + 1 < rest;
        char *record = has_record ? strndup(line_end + 1, rest - body_len - 1) : NULL;
        enum err err = ERR_NOMEM;

        if (!has_record || record != NULL)
                err = make(&token, prev_tag, body, body_len, record, ret_entry);
        free(record);
        return err;
}

enum err entry_parse_fields(uint64_t epoch, seqno seq, const char *tag, const char *prev,
                            const char *body, size_t body_len, const char *record,
                            struct entry **ret_entry)
{
        struct token token = { .epoch = epoch, .seq = seq };
        uint64_t prev_tag;

        if (token_parse_hex(tag, strlen(tag), &token.tag) != OK ||
            token_parse_hex(prev, strlen(prev), &prev_tag) != OK)
                return ERR_INVALID;
        return make(&token, prev_tag, body, body_len, record, ret_entry);
}
