/* fanout/record.c -- an event as the text that Redis holds: one flat JSON object, times in Unix ms,
 * so that a person with redis-cli can read it and kickoff.lua can find `version` in it. Reading is
 * strict in what it needs and skips members it does not know, so that N and N-1 live together. */
#include "fanout/event.h"

#include <string.h>

#include <jansson.h>

char *event_format(const struct event *event)
{
        const struct event_state *state = &event->state;
        json_t *stages = json_array();
        char *text = NULL;

        for (unsigned i = 0; i < event->n_stages; i++) {
                if (json_array_append_new(stages, json_string(event->stages[i])) != 0)
                        goto out;
        }

        json_t *record = json_pack(
            "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:O}", "id", state->event, "title",
            event->title, "phase", event_phase_name[event->phase], "stage", state->stage, "at",
            (json_int_t)state->at, "starts_at", (json_int_t)state->starts_at, "version",
            (json_int_t)state->version, "bundle", (json_int_t)state->bundle, "auto_start",
            (int)event->auto_start, "stages", stages);

        if (record != NULL && event->epoch != 0) {
                char epoch[17];

                token_hex(event->epoch, epoch);
                json_object_set_new(record, "epoch", json_string(epoch));
        }
        if (record != NULL)
                text = json_dumps(record, JSON_COMPACT);
        json_decref(record);
out:
        json_decref(stages);
        return text;
}

/* Texts with a NUL inside were not written by us: a shorter name must not pass for a longer one. */
static bool take_text(const json_t *value, char *out, size_t size)
{
        if (!json_is_string(value))
                return false;

        size_t len = json_string_length(value);

        if (len >= size || strlen(json_string_value(value)) != len)
                return false;
        memcpy(out, json_string_value(value), len + 1);
        return true;
}

static bool take_count(const json_t *record, const char *member, uint64_t *out)
{
        const json_t *value = json_object_get(record, member);

        if (!json_is_integer(value) || json_integer_value(value) < 0)
                return false;
        *out = (uint64_t)json_integer_value(value);
        return true;
}

static bool take_time(const json_t *record, const char *member, int64_t *out)
{
        uint64_t value;

        if (!take_count(record, member, &value))
                return false;
        *out = (int64_t)value;
        return true;
}

static bool take_phase(const json_t *record, enum event_phase *out)
{
        const char *name = json_string_value(json_object_get(record, "phase"));

        for (unsigned phase = 0; name != NULL && phase < PHASES; phase++) {
                if (strcmp(name, event_phase_name[phase]) == 0) {
                        *out = (enum event_phase)phase;
                        return true;
                }
        }
        return false;
}

/* None: written before records had one. */
static bool take_epoch(const json_t *record, uint64_t *out)
{
        const json_t *value = json_object_get(record, "epoch");

        return value == NULL ||
               (json_is_string(value) &&
                token_parse_hex(json_string_value(value), json_string_length(value), out) == OK &&
                *out != 0);
}

static bool take_stages(const json_t *record, struct event *event)
{
        const json_t *stages = json_object_get(record, "stages");

        if (!json_is_array(stages) || json_array_size(stages) > STAGES_MAX)
                return false;
        event->n_stages = (unsigned)json_array_size(stages);
        for (unsigned i = 0; i < event->n_stages; i++) {
                if (!take_text(json_array_get(stages, i), event->stages[i],
                               sizeof(event->stages[i])))
                        return false;
        }
        return true;
}

enum err event_parse(const char *json, size_t len, struct event *ret_event)
{
        json_t *record = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
        struct event event = { 0 };
        struct event_state *state = &event.state;
        const json_t *auto_start = json_object_get(record, "auto_start");
        bool good =
            take_text(json_object_get(record, "id"), state->event, sizeof(state->event)) &&
            take_text(json_object_get(record, "title"), event.title, sizeof(event.title)) &&
            take_text(json_object_get(record, "stage"), state->stage, sizeof(state->stage)) &&
            take_phase(record, &event.phase) && take_time(record, "at", &state->at) &&
            take_time(record, "starts_at", &state->starts_at) &&
            take_count(record, "version", &state->version) &&
            take_count(record, "bundle", &state->bundle) && json_is_boolean(auto_start) &&
            take_stages(record, &event) && take_epoch(record, &event.epoch) &&
            event_is_sound(&event);

        event.auto_start = json_is_true(auto_start);
        json_decref(record);
        if (!good)
                return ERR_INVALID;
        *ret_event = event;
        return OK;
}
