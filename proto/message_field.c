/* proto/message_field.c -- the tables of fields, and what every decoder does with a field once it
 * has the value in its hands: types, ranges, sizes, presence. Knows no encoding. PROTOCOL.md is the
 * counterpart for people; a test holds the two against each other. */
#include "proto/message_field.h"

#include <stdlib.h>
#include <string.h>

const char *const encoding_subprotocol[ENCODINGS] = {
        [ENCODING_JSON] = "kickoff.v1.json",
        [ENCODING_MSGPACK] = "kickoff.v1.msgpack",
};

const char *const message_type_name[MESSAGE_TYPES] = {
        [MESSAGE_HELLO] = "hello",   [MESSAGE_SIGNAL] = "signal", [MESSAGE_RESET] = "reset",
        [MESSAGE_GOAWAY] = "goaway", [MESSAGE_TIME] = "time",     [MESSAGE_MESSAGE] = "message",
        [MESSAGE_SKIP] = "skip",     [MESSAGE_ACK] = "ack",
};

const char *const signal_kind_name[SIGNAL_KINDS] = {
        [SIGNAL_START] = "start",   [SIGNAL_DELAY] = "delay", [SIGNAL_END] = "end",
        [SIGNAL_CANCEL] = "cancel", [SIGNAL_STAGE] = "stage", [SIGNAL_REFRESH] = "refresh",
        [SIGNAL_CREATE] = "create",
};

const char *const reset_reason_name[RESET_REASONS] = {
        [RESET_NEW] = "new",
        [RESET_TRIMMED] = "trimmed",
        [RESET_FORKED] = "forked",
        [RESET_UNKNOWN] = "unknown",
};

const char *const goaway_reason_name[GOAWAY_REASONS] = {
        [GOAWAY_RECYCLE] = "recycle",
        [GOAWAY_DRAIN] = "drain",
        [GOAWAY_OVERLOAD] = "overload",
        [GOAWAY_REPLACED] = "replaced",
};

/* Enums are read and written as `unsigned`; a compiler that made them smaller would break that. */
_Static_assert(sizeof(enum signal_kind) == sizeof(unsigned), "enum is not an unsigned");
_Static_assert(sizeof(enum reset_reason) == sizeof(unsigned), "enum is not an unsigned");
_Static_assert(sizeof(enum goaway_reason) == sizeof(unsigned), "enum is not an unsigned");

/* clang-format off */
#define ROW(name_, type_, where, ...)                                                              \
        { .name = name_, .name_len = sizeof(name_) - 1, .json_key = ",\"" name_ "\":",             \
          .json_key_len = sizeof(",\"" name_ "\":") - 1, .type = type_, .offset = where, __VA_ARGS__ }
#define AT(s, member)      offsetof(struct s, member)
#define TEXT(max_)         .max = max_
#define WORDS(list, count) .words = list, .max = count
#define IF_FLAG(s, member) .presence = FIELD_IF_FLAG, .flag = AT(s, member)
#define ALWAYS             .presence = FIELD_ALWAYS

/* The fields of an event's state: alone in `reset`.events, and inside `signal` in the same order. */
#define EVENT_ROWS(base)                                                                           \
        ROW("at",        FIELD_INT, (base) + AT(event_state, at),        ALWAYS),                  \
        ROW("starts_at", FIELD_INT, (base) + AT(event_state, starts_at), ALWAYS),                  \
        ROW("version",   FIELD_U64, (base) + AT(event_state, version),   ALWAYS),                  \
        ROW("bundle",    FIELD_U64, (base) + AT(event_state, bundle),    ALWAYS)

static const struct field event_rows[] = {
        ROW("event", FIELD_TEXT, AT(event_state, event), TEXT(EVENT_ID_MAX)),
        ROW("stage", FIELD_TEXT, AT(event_state, stage), TEXT(STAGE_MAX)),
        EVENT_ROWS(0),
};

static const struct field hello_rows[] = {
        ROW("node",          FIELD_TEXT,  AT(hello, node),          TEXT(NODE_NAME_MAX)),
        ROW("session",       FIELD_TEXT,  AT(hello, session),       TEXT(sizeof((struct hello *)0)->session - 1)),
        ROW("token",         FIELD_TOKEN, AT(hello, token),         ALWAYS),
        ROW("now",           FIELD_INT,   AT(hello, now),           ALWAYS),
        ROW("ping_s",        FIELD_U32,   AT(hello, ping_s),        ALWAYS),
        ROW("lifetime_s",    FIELD_U32,   AT(hello, lifetime_s),    ALWAYS),
        ROW("ack_spread_ms", FIELD_U32,   AT(hello, ack_spread_ms), ALWAYS),
        ROW("recovered",     FIELD_BOOL,  AT(hello, recovered),     ALWAYS),
        ROW("reason",        FIELD_WORD,  AT(hello, reason),        WORDS(reset_reason_name, RESET_REASONS),
            IF_FLAG(hello, has_reason)),
        ROW("prefetch_ms",   FIELD_U32,   AT(hello, prefetch_ms),   IF_FLAG(hello, has_prefetch_ms)),
};

static const struct field signal_rows[] = {
        ROW("seq",       FIELD_SEQ,   AT(signal, token),       ALWAYS),
        ROW("token",     FIELD_TOKEN, AT(signal, token),       ALWAYS),
        ROW("event",     FIELD_TEXT,  AT(signal, state.event), TEXT(EVENT_ID_MAX)),
        ROW("kind",      FIELD_WORD,  AT(signal, kind),        WORDS(signal_kind_name, SIGNAL_KINDS)),
        ROW("stage",     FIELD_TEXT,  AT(signal, state.stage), TEXT(STAGE_MAX)),
        EVENT_ROWS(AT(signal, state)),
        ROW("sent",      FIELD_INT,   AT(signal, sent),        ALWAYS),
        ROW("window_ms", FIELD_INT,   AT(signal, window_ms),   .presence = FIELD_IF_POSITIVE),
};

static const struct field reset_rows[] = {
        ROW("reason", FIELD_WORD,   AT(reset, reason), WORDS(reset_reason_name, RESET_REASONS)),
        ROW("token",  FIELD_TOKEN,  AT(reset, token),  ALWAYS),
        ROW("events", FIELD_EVENTS, 0,                 ALWAYS),
};

static const struct field goaway_rows[] = {
        ROW("reason", FIELD_WORD, AT(goaway, reason), WORDS(goaway_reason_name, GOAWAY_REASONS)),
        ROW("min_ms", FIELD_U32,  AT(goaway, min_ms), ALWAYS),
        ROW("max_ms", FIELD_U32,  AT(goaway, max_ms), ALWAYS),
};

static const struct field time_rows[] = {
        ROW("t0", FIELD_INT, AT(time_sync, t0), ALWAYS),
        ROW("t1", FIELD_INT, AT(time_sync, t1), IF_FLAG(time_sync, has_t1)),
};

static const struct field message_rows[] = {
        ROW("id",   FIELD_TEXT, AT(device_message, id),   TEXT(sizeof((struct device_message *)0)->id - 1)),
        ROW("body", FIELD_TEXT, AT(device_message, body), TEXT(MESSAGE_BODY_MAX)),
};

static const struct field skip_rows[] = {
        ROW("token", FIELD_TOKEN, AT(skip, token), ALWAYS),
};

static const struct field ack_rows[] = {
        ROW("seq",          FIELD_U64, AT(ack, seq),          ALWAYS),
        ROW("activated_at", FIELD_INT, AT(ack, activated_at), IF_FLAG(ack, has_activated_at)),
};
/* clang-format on */

#define LIST(rows)                  \
        {                           \
                rows, countof(rows) \
        }

const struct field_list message_event_fields = LIST(event_rows);
const struct field_list message_fields[MESSAGE_TYPES] = {
        [MESSAGE_HELLO] = LIST(hello_rows), [MESSAGE_SIGNAL] = LIST(signal_rows),
        [MESSAGE_RESET] = LIST(reset_rows), [MESSAGE_GOAWAY] = LIST(goaway_rows),
        [MESSAGE_TIME] = LIST(time_rows),   [MESSAGE_MESSAGE] = LIST(message_rows),
        [MESSAGE_SKIP] = LIST(skip_rows),   [MESSAGE_ACK] = LIST(ack_rows),
};

bool message_field_is_present(const struct field *field, const void *object)
{
        const char *at = object;

        switch ((enum field_presence)field->presence) {
        case FIELD_ALWAYS:
                return true;
        case FIELD_IF_FLAG:
                return *(const bool *)(at + field->flag);
        case FIELD_IF_POSITIVE:
                return *(const int64_t *)(at + field->offset) > 0;
        }
        check_failed(__FILE__, __LINE__, "a field has one of the presences");
}

int64_t message_field_number(const struct field *field, const void *object)
{
        const char *at = (const char *)object + field->offset;
        int64_t number;

        switch ((enum field_type)field->type) {
        case FIELD_SEQ:
                number = (int64_t)((const struct token *)at)->seq;
                break;
        case FIELD_U32:
                number = *(const uint32_t *)at;
                break;
        default:
                number = *(const int64_t *)at;
        }
        check(number <= MESSAGE_NUMBER_MAX && number >= -MESSAGE_NUMBER_MAX);
        return number;
}

const char *message_field_word(const struct field *field, const void *object)
{
        unsigned word = *(const unsigned *)((const char *)object + field->offset);

        check(word < field->max);
        return field->words[word];
}

const struct field *message_field_find(struct field_list list, const char *name, size_t len)
{
        for (size_t i = 0; i < list.n; i++) {
                if (list.at[i].name_len == len && memcmp(list.at[i].name, name, len) == 0)
                        return &list.at[i];
        }
        return NULL;
}

enum err message_field_meet(struct field_list list, const struct field *field,
                            struct field_state *state)
{
        uint32_t bit = (uint32_t)1 << (field - list.at);

        if ((state->seen & bit) != 0)
                return ERR_INVALID;
        state->seen |= bit;
        return OK;
}

static enum err store_text(const struct field *field, const struct value *value, char *to)
{
        if (value->kind != VALUE_TEXT || value->len > field->max)
                return ERR_INVALID;
        if (memchr(value->text, '\0', value->len) != NULL) /* C strings could not tell */
                return ERR_INVALID;
        memcpy(to, value->text, value->len);
        to[value->len] = '\0';
        return OK;
}

/* Which of `words` it is. */
static enum err find_word(const struct value *value, const char *const *words, size_t n,
                          unsigned *ret_index)
{
        if (value->kind != VALUE_TEXT)
                return ERR_INVALID;
        for (size_t i = 0; i < n; i++) {
                if (strlen(words[i]) == value->len &&
                    memcmp(words[i], value->text, value->len) == 0) {
                        *ret_index = (unsigned)i;
                        return OK;
                }
        }
        return ERR_NOT_FOUND;
}

static enum err store_number(const struct field *field, const struct value *value, char *to,
                             struct field_state *state)
{
        int64_t number = value->number, least = 0;

        if (value->kind != VALUE_NUMBER || number > MESSAGE_NUMBER_MAX)
                return ERR_INVALID;
        if (field->type == FIELD_INT && field->presence != FIELD_IF_POSITIVE)
                least = -MESSAGE_NUMBER_MAX;
        if (number < least)
                return ERR_INVALID;
        switch ((enum field_type)field->type) {
        case FIELD_SEQ:
                state->seq = (seqno)number;
                return OK;
        case FIELD_U32:
                if (number > UINT32_MAX)
                        return ERR_INVALID;
                *(uint32_t *)to = (uint32_t)number;
                return OK;
        default:
                *(int64_t *)to = number;
                return OK;
        }
}

enum err message_field_store(const struct field *field, const struct value *value, void *object,
                             struct field_state *state)
{
        char *to = (char *)object + field->offset;
        enum err err;

        switch ((enum field_type)field->type) {
        case FIELD_TEXT:
                err = store_text(field, value, to);
                break;
        case FIELD_TOKEN:
                err = value->kind != VALUE_TEXT
                          ? ERR_INVALID
                          : token_parse(value->text, value->len, (struct token *)to);
                break;
        case FIELD_BOOL:
                err = value->kind == VALUE_BOOL ? OK : ERR_INVALID;
                if (err == OK)
                        *(bool *)to = value->yes;
                break;
        case FIELD_WORD: /* the lists are closed within one protocol version */
                err = find_word(value, field->words, field->max, (unsigned *)to) == OK
                          ? OK
                          : ERR_INVALID;
                break;
        case FIELD_EVENTS:
                return ERR_INVALID; /* a list: anything else is of the wrong type */
        default:
                err = store_number(field, value, to, state);
        }
        if (err == OK && field->presence == FIELD_IF_FLAG)
                *(bool *)((char *)object + field->flag) = true;
        return err;
}

enum err message_field_finish(struct field_list list, const struct field_state *state,
                              const void *object)
{
        for (size_t i = 0; i < list.n; i++) {
                const struct field *field = &list.at[i];
                bool seen = (state->seen >> i & 1) != 0;

                if (!seen && field->presence == FIELD_ALWAYS)
                        return ERR_INVALID;
                if (field->type == FIELD_SEQ) {
                        const char *at = object;

                        if (((const struct token *)(at + field->offset))->seq != state->seq)
                                return ERR_INVALID;
                }
        }
        return OK;
}

enum err message_field_make_events(struct reset *reset, size_t n, size_t len)
{
        /* Believing a count before seeing the bytes is how five bytes ask for gigabytes. */
        if (n > EVENTS_MAX || n > len / MESSAGE_EVENT_MIN)
                return ERR_INVALID;
        if (n == 0)
                return OK;
        reset->events = calloc(n, sizeof(*reset->events));
        if (reset->events == NULL)
                return ERR_NOMEM;
        reset->n = n;
        return OK;
}

enum err message_field_type(const struct value *name, enum message_type *ret_type)
{
        unsigned type;
        enum err err = find_word(name, message_type_name, MESSAGE_TYPES, &type);

        if (err == OK)
                *ret_type = (enum message_type)type;
        return err;
}
