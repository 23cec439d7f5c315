/* proto/message_field.h -- private to message*.c: the tables that say what a message is made of.
 * One row per field; both encodings, in both directions, walk these rows and know nothing of single
 * messages. The order of the rows is the order on the wire. */
#pragma once

#include "proto/message.h"

/* The largest integer that every JSON reader keeps exactly (RFC 8259 section 6). */
#define MESSAGE_NUMBER_MAX (((int64_t)1 << 53) - 1)

enum field_type {
        FIELD_TEXT,  /* char[max + 1] */
        FIELD_TOKEN, /* struct token, as its text */
        FIELD_SEQ,   /* struct token again: its seq alone, as a number; must agree with the text */
        FIELD_INT,   /* int64_t, |value| <= MESSAGE_NUMBER_MAX */
        FIELD_U64,   /* uint64_t, value <= MESSAGE_NUMBER_MAX */
        FIELD_U32,   /* uint32_t */
        FIELD_BOOL,  /* bool */
        FIELD_WORD,  /* an enum, as one of `words` */
        FIELD_EVENTS /* the whole struct reset: its list of event states */
};

enum field_presence {
        FIELD_ALWAYS,     /* required when read */
        FIELD_IF_FLAG,    /* there is a bool at `flag` that says so */
        FIELD_IF_POSITIVE /* absent when 0; FIELD_INT only */
};

struct field {
        const char *name;
        const char *json_key; /* ,"name": -- ready to be written */
        uint8_t name_len, json_key_len;
        uint8_t type, presence; /* enum field_type, enum field_presence */
        uint16_t offset, flag;  /* bytes into the struct */
        uint16_t max;           /* FIELD_TEXT: bytes; FIELD_WORD: how many words */
        const char *const *words;
};

struct field_list {
        const struct field *at;
        size_t n;
};

extern const struct field_list message_fields[MESSAGE_TYPES];
extern const struct field_list message_event_fields; /* of one struct event_state */

/* The part of a union message that holds its fields: all members begin at the same place. */
static inline const void *message_body(const struct message *message)
{
        return &message->hello;
}

bool message_field_is_present(const struct field *field, const void *object);
/* The value of a field of one of the number types; of a FIELD_WORD. */
int64_t message_field_number(const struct field *field, const void *object);
const char *message_field_word(const struct field *field, const void *object);

/* A value as a decoder met it. */
enum value_kind { VALUE_TEXT, VALUE_NUMBER, VALUE_BOOL, VALUE_OTHER };

struct value {
        enum value_kind kind;
        bool yes;   /* VALUE_BOOL */
        size_t len; /* VALUE_TEXT: bytes at `text`, checked to be UTF-8 */
        const char *text;
        int64_t number; /* VALUE_NUMBER */
};

/* What must be remembered while one object is read. Start from zeros. */
struct field_state {
        uint32_t seen; /* one bit per row */
        seqno seq;     /* FIELD_SEQ, to be compared with the token */
};

/* The row of that name, or NULL: a field this version does not know, to be skipped. */
const struct field *message_field_find(struct field_list list, const char *name, size_t len);
/* Marks the field as met. ERR_INVALID if it was met before. */
must_check enum err message_field_meet(struct field_list list, const struct field *field,
                                       struct field_state *state);
/* Puts a value into the struct (not for FIELD_EVENTS). ERR_INVALID: wrong type, range, word or
 * size. */
must_check enum err message_field_store(const struct field *field, const struct value *value,
                                        void *object, struct field_state *state);
/* After the last field. ERR_INVALID: a required one is missing, or seq and token disagree. */
must_check enum err message_field_finish(struct field_list list, const struct field_state *state,
                                         const void *object);
/* Room for `n` event states, of which each took at least MESSAGE_EVENT_MIN of `len` bytes. */
#define MESSAGE_EVENT_MIN 40
must_check enum err message_field_make_events(struct reset *reset, size_t n, size_t len);
/* ERR_NOT_FOUND: a type of a later version. */
must_check enum err message_field_type(const struct value *name, enum message_type *ret_type);

/* The two encodings; message.h says what they do. `*ret_message` is zeroed when reading begins. */
void message_json_write(enum message_type type, const void *body, struct buf *out);
void message_msgpack_write(enum message_type type, const void *body, struct buf *out);
must_check enum err message_json_read(const char *bytes, size_t len, struct message *ret_message);
must_check enum err message_msgpack_read(const uint8_t *bytes, size_t len,
                                         struct message *ret_message);
