/* fanout/device.c -- see the header. */
#include "fanout/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "proto/token.h"

static const char *const question_name[DEVICE_QUESTIONS] = { [DEVICE_LOOK] = "look",
                                                             [DEVICE_MESSAGE] = "message",
                                                             [DEVICE_CLAIMED] = "claimed",
                                                             [DEVICE_REPLACED] = "replaced" };
static const char *const outcome_name[DEVICE_OUTCOMES] = {
        [DEVICE_ABSENT] = "absent",   [DEVICE_UNKNOWN] = "unknown", [DEVICE_SILENT] = "silent",
        [DEVICE_JOINING] = "joining", [DEVICE_FULL] = "full",       [DEVICE_LIMITED] = "limited",
        [DEVICE_HERE] = "here"
};

/* Taken over; a buf that has failed stays so, and one that lacks memory for the text fails. */
static void add_json(struct buf *out, json_t *made)
{
        char *text = made != NULL ? json_dumps(made, JSON_COMPACT) : NULL;

        if (text != NULL)
                buf_str(out, text);
        else
                out->failed = true;
        free(text);
        json_decref(made);
}

static void hex_of(uint64_t value, char out[17])
{
        snprintf(out, 17, "%016" PRIx64, value);
}

void device_query_format(const struct device_query *query, uint64_t errand, const char *from,
                         struct buf *out)
{
        char number[17], session[17];
        json_t *made;

        hex_of(errand, number);
        hex_of(query->session, session);
        made = json_pack("{s:s, s:s, s:s, s:s, s:s}", "k", question_name[query->what], "errand",
                         number, "from", from, "device", query->device, "session", session);
        if (made != NULL && query->what == DEVICE_MESSAGE) {
                (void)json_object_set_new(made, "id", json_string(query->message.id));
                (void)json_object_set_new(made, "body", json_string(query->message.body));
        }
        add_json(out, made);
}

void device_answer_format(const struct device_answer *answer, uint64_t errand, struct buf *out)
{
        char number[17], session[17];

        hex_of(errand, number);
        hex_of(answer->session, session);
        add_json(out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:I}", "k", "answer",
                                "errand", number, "outcome", outcome_name[answer->outcome], "from",
                                answer->node, "session", session, "since",
                                (json_int_t)answer->connected_since, "age",
                                (json_int_t)answer->age_ms, "cohort", answer->cohort, "transport",
                                answer->transport, "retry_ms", (json_int_t)answer->retry_after_ms));
}

/* --- reading --------------------------------------------------------------------------------- */

/* A text of at most `size` - 1 bytes; absent is empty. False: something else. */
static bool text_of(const json_t *object, const char *name, char *out, size_t size)
{
        const json_t *value = json_object_get(object, name);
        size_t len = json_string_length(value);

        if (value != NULL && (!json_is_string(value) || len >= size))
                return false;
        memcpy(out, len > 0 ? json_string_value(value) : "", len);
        out[len] = '\0';
        return true;
}

static bool hex_in(const json_t *object, const char *name, uint64_t *ret)
{
        char text[17];
        int used = 0;

        if (!text_of(object, name, text, sizeof(text)))
                return false;
        *ret = 0;
        return text[0] == '\0' ||
               (sscanf(text, "%16" SCNx64 "%n", ret, &used) == 1 && (size_t)used == strlen(text));
}

static bool name_in(const json_t *object, const char *name, char *out, size_t max)
{
        return text_of(object, name, out, max + 1) && name_is_valid(out, strlen(out), max);
}

static bool word_in(const json_t *object, const char *name, const char *const *words, unsigned n,
                    unsigned *ret)
{
        const char *word = json_string_value(json_object_get(object, name));

        for (unsigned i = 0; word != NULL && i < n; i++) {
                if (strcmp(word, words[i]) != 0)
                        continue;
                *ret = i;
                return true;
        }
        return false;
}

static bool read_query(const json_t *object, struct device_heard *heard)
{
        struct device_query *query = &heard->query;
        unsigned what;

        if (!word_in(object, "k", question_name, DEVICE_QUESTIONS, &what) ||
            !name_in(object, "device", query->device, DEVICE_ID_MAX) ||
            !hex_in(object, "session", &query->session))
                return false;
        query->what = (enum device_question)what;
        if (what == DEVICE_REPLACED)
                return query->session != 0;
        if (what == DEVICE_CLAIMED)
                return query->session != 0 && hex_in(object, "rival", &query->rival);
        if (heard->errand == 0 || !name_in(object, "from", heard->from, NODE_NAME_MAX))
                return false;
        return what != DEVICE_MESSAGE ||
               (text_of(object, "id", query->message.id, sizeof(query->message.id)) &&
                text_of(object, "body", query->message.body, sizeof(query->message.body)));
}

static bool read_answer(const json_t *object, struct device_heard *heard)
{
        struct device_answer *answer = &heard->answer;
        json_int_t retry_ms = json_integer_value(json_object_get(object, "retry_ms"));
        unsigned outcome;

        if (heard->errand == 0 ||
            !word_in(object, "outcome", outcome_name, DEVICE_OUTCOMES, &outcome) ||
            !name_in(object, "from", answer->node, NODE_NAME_MAX) ||
            !hex_in(object, "session", &answer->session) ||
            !text_of(object, "cohort", answer->cohort, sizeof(answer->cohort)) ||
            !text_of(object, "transport", answer->transport, sizeof(answer->transport)))
                return false;
        answer->outcome = (enum device_outcome)outcome;
        answer->age_ms = (uint64_t)json_integer_value(json_object_get(object, "age"));
        answer->connected_since = json_integer_value(json_object_get(object, "since"));
        answer->retry_after_ms = retry_ms > 0 && retry_ms <= 60000 ? (uint32_t)retry_ms : 0;
        return true;
}

enum device_letter device_heard_parse(const char *bytes, size_t len, struct device_heard *ret_heard)
{
        json_t *object = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);
        const char *k = json_string_value(json_object_get(object, "k"));
        enum device_letter letter = DEVICE_LETTER_NONE;
        struct device_heard heard = { 0 };

        if (k != NULL && hex_in(object, "errand", &heard.errand)) {
                if (strcmp(k, "answer") != 0)
                        letter = read_query(object, &heard) ? DEVICE_LETTER_QUERY : letter;
                else if (read_answer(object, &heard))
                        letter = DEVICE_LETTER_ANSWER;
        }
        json_decref(object);
        if (letter != DEVICE_LETTER_NONE)
                *ret_heard = heard;
        return letter;
}
