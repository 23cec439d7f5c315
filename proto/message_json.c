/* proto/message_json.c -- messages as JSON (RFC 8259). Writing is our own, straight into the
 * buffer, since `hello` is on the handshake path. Reading is jansson's, behind a look at the
 * brackets: jansson would nest 2,048 deep, and makes some 250 bytes of each pair of brackets. */
#include <jansson.h>
#include <string.h>

#include "proto/message_field.h"

static bool needs_escape(unsigned char c)
{
        return c < 0x20 || c == '"' || c == '\\';
}

/* RFC 8259 section 7: the short form where there is one. */
static void write_escape(struct buf *out, unsigned char c)
{
        static const char digits[] = "0123456789abcdef";
        static const char letters[] = "\bb\tt\nn\ff\rr\"\"\\\\";
        char escape[6] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };

        for (const char *at = letters; *at != '\0'; at += 2) {
                if ((unsigned char)*at == c) {
                        escape[1] = at[1];
                        buf_add(out, escape, 2);
                        return;
                }
        }
        buf_add(out, escape, sizeof(escape));
}

static void write_text(struct buf *out, const char *text)
{
        buf_char(out, '"');
        for (;;) {
                size_t plain = 0;
                unsigned char c;

                while (!needs_escape((unsigned char)text[plain]))
                        plain++;
                buf_add(out, text, plain);
                c = (unsigned char)text[plain];
                if (c == '\0')
                        break;
                write_escape(out, c);
                text += plain + 1;
        }
        buf_char(out, '"');
}

/* Names from our own tables and tokens need no escaping. */
static void write_plain(struct buf *out, const char *text, size_t len)
{
        buf_char(out, '"');
        buf_add(out, text, len);
        buf_char(out, '"');
}

static void write_fields(struct buf *out, struct field_list list, const void *object, bool first);

static void write_events(struct buf *out, const struct reset *reset)
{
        buf_char(out, '[');
        for (size_t i = 0; i < reset->n; i++) {
                if (i > 0)
                        buf_char(out, ',');
                buf_char(out, '{');
                write_fields(out, message_event_fields, &reset->events[i], true);
                buf_char(out, '}');
        }
        buf_char(out, ']');
}

static void write_value(struct buf *out, const struct field *field, const void *object)
{
        const char *at = (const char *)object + field->offset;
        char token[TOKEN_TEXT_MAX + 1];
        const char *word;

        switch ((enum field_type)field->type) {
        case FIELD_TEXT:
                write_text(out, at);
                break;
        case FIELD_TOKEN:
                write_plain(out, token, token_format((const struct token *)at, token));
                break;
        case FIELD_SEQ:
        case FIELD_INT:
        case FIELD_U64:
        case FIELD_U32:
                buf_i64(out, message_field_number(field, object));
                break;
        case FIELD_BOOL:
                buf_str(out, *(const bool *)at ? "true" : "false");
                break;
        case FIELD_WORD:
                word = message_field_word(field, object);
                write_plain(out, word, strlen(word));
                break;
        case FIELD_EVENTS:
                write_events(out, (const struct reset *)at);
                break;
        }
}

/* `first`: no comma before the first field. */
static void write_fields(struct buf *out, struct field_list list, const void *object, bool first)
{
        for (size_t i = 0; i < list.n; i++) {
                const struct field *field = &list.at[i];

                if (!message_field_is_present(field, object))
                        continue;
                buf_add(out, field->json_key + first, (size_t)field->json_key_len - first);
                write_value(out, field, object);
                first = false;
        }
}

void message_json_write(enum message_type type, const void *body, struct buf *out)
{
        buf_add(out, "{\"t\":\"", 6);
        buf_str(out, message_type_name[type]);
        buf_char(out, '"');
        write_fields(out, message_fields[type], body, false);
        buf_char(out, '}');
}

/* Counts brackets outside of texts. Whether they match is jansson's to say. */
static bool is_shallow(const char *bytes, size_t len)
{
        size_t containers = 0, depth = 0;
        bool in_text = false;

        for (size_t i = 0; i < len; i++) {
                char c = bytes[i];

                if (in_text) {
                        if (c == '\\')
                                i++;
                        else if (c == '"')
                                in_text = false;
                } else if (c == '"') {
                        in_text = true;
                } else if (c == '{' || c == '[') {
                        if (++depth > MESSAGE_DEPTH_MAX || ++containers > MESSAGE_CONTAINERS_MAX)
                                return false;
                } else if (c == '}' || c == ']') {
                        if (depth-- == 0)
                                return false;
                }
        }
        return true;
}

static struct value to_value(const json_t *json)
{
        switch (json_typeof(json)) {
        case JSON_STRING:
                return (struct value){ .kind = VALUE_TEXT,
                                       .text = json_string_value(json),
                                       .len = json_string_length(json) };
        case JSON_INTEGER:
                return (struct value){ .kind = VALUE_NUMBER, .number = json_integer_value(json) };
        case JSON_TRUE:
        case JSON_FALSE:
                return (struct value){ .kind = VALUE_BOOL, .yes = json_is_true(json) };
        default:
                return (struct value){ .kind = VALUE_OTHER };
        }
}

static enum err read_object(json_t *json, struct field_list list, void *object, size_t len);

static enum err read_events(const json_t *json, struct reset *reset, size_t len)
{
        enum err err = message_field_make_events(reset, json_array_size(json), len);

        for (size_t i = 0; err == OK && i < reset->n; i++)
                err = read_object(json_array_get(json, i), message_event_fields, &reset->events[i],
                                  len);
        return err;
}

/* `len`: bytes of the whole message, for message_field_make_events. */
static enum err read_object(json_t *json, struct field_list list, void *object, size_t len)
{
        struct field_state state = { 0 };
        const char *name;
        json_t *member;

        if (!json_is_object(json))
                return ERR_INVALID;
        json_object_foreach(json, name, member)
        {
                const struct field *field = message_field_find(list, name, strlen(name));
                struct value value;
                enum err err;

                if (field == NULL)
                        continue;
                err = message_field_meet(list, field, &state);
                value = to_value(member);
                if (err == OK && field->type == FIELD_EVENTS && json_is_array(member))
                        err = read_events(member, object, len);
                else if (err == OK)
                        err = message_field_store(field, &value, object, &state);
                if (err != OK)
                        return err;
        }
        return message_field_finish(list, &state, object);
}

enum err message_json_read(const char *bytes, size_t len, struct message *ret_message)
{
        json_error_t error;
        struct value name;
        json_t *root;
        enum err err;

        memset(ret_message, 0, sizeof(*ret_message));
        if (!is_shallow(bytes, len))
                return ERR_INVALID;
        root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &error);
        if (root == NULL)
                return json_error_code(&error) == json_error_out_of_memory ? ERR_NOMEM
                                                                           : ERR_INVALID;
        err = json_is_object(root) && json_object_get(root, "t") != NULL ? OK : ERR_INVALID;
        if (err == OK) {
                name = to_value(json_object_get(root, "t"));
                err = message_field_type(&name, &ret_message->type);
        }
        if (err == OK)
                err =
                    read_object(root, message_fields[ret_message->type], &ret_message->hello, len);
        json_decref(root);
        return err;
}
