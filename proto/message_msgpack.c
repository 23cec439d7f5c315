/* proto/message_msgpack.c -- messages as MessagePack. Writing is msgpack-c's packer. Reading is not
 * msgpack-c's unpacker: it believes the count of a list before it has seen the elements, so that
 * five bytes make it ask for 100 GB, and it copies into a zone. Ours is a cursor over the bytes
 * themselves: a first walk proves the whole message well-formed (every length and count covered by
 * bytes that are there, depth, UTF-8), a second reads the fields; nothing is allocated but the
 * events of a `reset`. */
#include <msgpack.h>
#include <string.h>

#include "proto/message_field.h"
#include "proto/utf8.h"

static int on_packed(void *data, const char *bytes, size_t len)
{
        buf_add(data, bytes, len);
        return 0; /* a failed buf remembers that itself */
}

static void write_text(msgpack_packer *packer, const char *text, size_t len)
{
        msgpack_pack_str(packer, len);
        msgpack_pack_str_body(packer, text, len);
}

static void write_fields(msgpack_packer *packer, struct field_list list, const void *object,
                         const char *type_name);

static void write_events(msgpack_packer *packer, const struct reset *reset)
{
        msgpack_pack_array(packer, reset->n);
        for (size_t i = 0; i < reset->n; i++)
                write_fields(packer, message_event_fields, &reset->events[i], NULL);
}

static void write_value(msgpack_packer *packer, const struct field *field, const void *object)
{
        const char *at = (const char *)object + field->offset;
        char token[TOKEN_TEXT_MAX + 1];
        const char *word;

        switch ((enum field_type)field->type) {
        case FIELD_TEXT:
                write_text(packer, at, strlen(at));
                break;
        case FIELD_TOKEN:
                write_text(packer, token, token_format((const struct token *)at, token));
                break;
        case FIELD_SEQ:
        case FIELD_INT:
        case FIELD_U64:
        case FIELD_U32:
                msgpack_pack_int64(packer, message_field_number(field, object));
                break;
        case FIELD_BOOL:
                if (*(const bool *)at)
                        msgpack_pack_true(packer);
                else
                        msgpack_pack_false(packer);
                break;
        case FIELD_WORD:
                word = message_field_word(field, object);
                write_text(packer, word, strlen(word));
                break;
        case FIELD_EVENTS:
                write_events(packer, (const struct reset *)at);
                break;
        }
}

static void write_fields(msgpack_packer *packer, struct field_list list, const void *object,
                         const char *type_name)
{
        size_t n = type_name != NULL;

        for (size_t i = 0; i < list.n; i++)
                n += message_field_is_present(&list.at[i], object);
        msgpack_pack_map(packer, n);
        if (type_name != NULL) {
                write_text(packer, "t", 1);
                write_text(packer, type_name, strlen(type_name));
        }
        for (size_t i = 0; i < list.n; i++) {
                const struct field *field = &list.at[i];

                if (!message_field_is_present(field, object))
                        continue;
                write_text(packer, field->name, field->name_len);
                write_value(packer, field, object);
        }
}

void message_msgpack_write(enum message_type type, const void *body, struct buf *out)
{
        msgpack_packer packer;

        msgpack_packer_init(&packer, out, on_packed);
        write_fields(&packer, message_fields[type], body, message_type_name[type]);
}

struct cursor {
        const uint8_t *at, *end;
};

enum item_kind { ITEM_TEXT, ITEM_NUMBER, ITEM_BOOL, ITEM_LIST, ITEM_MAP, ITEM_OTHER };

struct item {
        enum item_kind kind;
        struct value value; /* of a text, number or bool; VALUE_OTHER else */
        size_t count;       /* list: elements; map: pairs */
};

static size_t left(const struct cursor *cursor)
{
        return (size_t)(cursor->end - cursor->at);
}

/* The next `n` bytes, or NULL if there are not so many. */
static const uint8_t *take(struct cursor *cursor, size_t n)
{
        const uint8_t *at = cursor->at;

        if (n > left(cursor))
                return NULL;
        cursor->at += n;
        return at;
}

static bool take_uint(struct cursor *cursor, size_t size, uint64_t *ret_value)
{
        const uint8_t *at = take(cursor, size);
        uint64_t value = 0;

        if (at == NULL)
                return false;
        for (size_t i = 0; i < size; i++)
                value = value << 8 | at[i];
        *ret_value = value;
        return true;
}

static bool read_number(struct cursor *cursor, size_t size, bool is_signed, struct item *item)
{
        uint64_t raw;

        if (!take_uint(cursor, size, &raw))
                return false;
        if (is_signed && size < 8 && raw >> (8 * size - 1) != 0)
                raw |= UINT64_MAX << (8 * size);
        if (!is_signed && raw > INT64_MAX)
                return true; /* well-formed, but no number of ours: stays VALUE_OTHER */
        item->kind = ITEM_NUMBER;
        item->value = (struct value){ .kind = VALUE_NUMBER, .number = (int64_t)raw };
        return true;
}

static bool read_text(struct cursor *cursor, uint64_t len, struct item *item)
{
        const uint8_t *at = take(cursor, len);

        if (at == NULL || !utf8_is_valid(at, len))
                return false;
        item->kind = ITEM_TEXT;
        item->value = (struct value){ .kind = VALUE_TEXT, .text = (const char *)at, .len = len };
        return true;
}

/* The elements themselves are still to be read; each takes at least one byte. */
static bool read_container(struct cursor *cursor, enum item_kind kind, uint64_t count,
                           struct item *item)
{
        if (count > left(cursor) / (kind == ITEM_MAP ? 2 : 1))
                return false;
        item->kind = kind;
        item->count = count;
        return true;
}

/* The formats C0 to DF, by the specification's table; sizes are those of the length or number. */
static bool read_wide_item(struct cursor *cursor, uint8_t format, struct item *item)
{
        uint64_t n = 0;

        switch (format) {
        case 0xC0: /* nil */
                return true;
        case 0xC2:
        case 0xC3:
                item->kind = ITEM_BOOL;
                item->value = (struct value){ .kind = VALUE_BOOL, .yes = format == 0xC3 };
                return true;
        case 0xC4: /* bin 8, 16, 32 */
        case 0xC5:
        case 0xC6:
                return take_uint(cursor, (size_t)1 << (format - 0xC4), &n) && take(cursor, n);
        case 0xC7: /* ext 8, 16, 32: a length, then a type byte, then the data */
        case 0xC8:
        case 0xC9:
                return take_uint(cursor, (size_t)1 << (format - 0xC7), &n) && take(cursor, n + 1);
        case 0xCA: /* float 32, 64 */
        case 0xCB:
                return take(cursor, (size_t)4 << (format - 0xCA)) != NULL;
        case 0xCC: /* uint 8 to 64 */
        case 0xCD:
        case 0xCE:
        case 0xCF:
                return read_number(cursor, (size_t)1 << (format - 0xCC), false, item);
        case 0xD0: /* int 8 to 64 */
        case 0xD1:
        case 0xD2:
        case 0xD3:
                return read_number(cursor, (size_t)1 << (format - 0xD0), true, item);
        case 0xD4: /* fixext 1 to 16: a type byte, then the data */
        case 0xD5:
        case 0xD6:
        case 0xD7:
        case 0xD8:
                return take(cursor, 1 + ((size_t)1 << (format - 0xD4))) != NULL;
        case 0xD9: /* str 8, 16, 32 */
        case 0xDA:
        case 0xDB:
                return take_uint(cursor, (size_t)1 << (format - 0xD9), &n) &&
                       read_text(cursor, n, item);
        case 0xDC: /* array 16, 32 */
        case 0xDD:
                return take_uint(cursor, (size_t)2 << (format - 0xDC), &n) &&
                       read_container(cursor, ITEM_LIST, n, item);
        case 0xDE: /* map 16, 32 */
        case 0xDF:
                return take_uint(cursor, (size_t)2 << (format - 0xDE), &n) &&
                       read_container(cursor, ITEM_MAP, n, item);
        default: /* C1 is never used */
                return false;
        }
}

/* One item: a whole value, or the head of a list or map. False: not MessagePack, or cut off. */
static bool read_item(struct cursor *cursor, struct item *item)
{
        const uint8_t *format = take(cursor, 1);

        if (format == NULL)
                return false;
        *item = (struct item){ .kind = ITEM_OTHER, .value = { .kind = VALUE_OTHER } };
        if (*format >= 0xC0 && *format < 0xE0)
                return read_wide_item(cursor, *format, item);
        if (*format >= 0xA0 && *format < 0xC0)
                return read_text(cursor, *format & 0x1F, item);
        if (*format >= 0x90 && *format < 0xA0)
                return read_container(cursor, ITEM_LIST, *format & 0x0F, item);
        if (*format >= 0x80 && *format < 0x90)
                return read_container(cursor, ITEM_MAP, *format & 0x0F, item);
        item->kind = ITEM_NUMBER; /* positive or negative fixint */
        item->value = (struct value){ .kind = VALUE_NUMBER, .number = (int8_t)*format };
        return true;
}

/* Walks over one value with all that is in it. `containers` counts lists and maps of the message.
 */
static bool skip(struct cursor *cursor, unsigned depth, size_t *containers)
{
        struct item item;
        size_t values;

        if (!read_item(cursor, &item))
                return false;
        if (item.kind != ITEM_LIST && item.kind != ITEM_MAP)
                return true;
        if (depth == MESSAGE_DEPTH_MAX || ++*containers > MESSAGE_CONTAINERS_MAX)
                return false;
        values = item.kind == ITEM_MAP ? 2 * item.count : item.count;
        for (size_t i = 0; i < values; i++) {
                if (!skip(cursor, depth + 1, containers))
                        return false;
        }
        return true;
}

/* Over a value that the first walk has found good. */
static void skip_good(struct cursor *cursor)
{
        size_t containers = 0;

        check(skip(cursor, 0, &containers));
}

static enum err read_object(struct cursor *cursor, struct field_list list, void *object);

static enum err read_events(struct cursor *cursor, size_t count, struct reset *reset)
{
        enum err err = message_field_make_events(reset, count, left(cursor));

        for (size_t i = 0; err == OK && i < reset->n; i++)
                err = read_object(cursor, message_event_fields, &reset->events[i]);
        return err;
}

/* The value of one field that is ours. */
static enum err read_field(struct cursor *cursor, const struct field *field, void *object,
                           struct field_state *state)
{
        struct item item;

        if (!read_item(cursor, &item))
                return ERR_INVALID;
        if (field->type == FIELD_EVENTS && item.kind == ITEM_LIST)
                return read_events(cursor, item.count, object);
        return message_field_store(field, &item.value, object, state);
}

static enum err read_object(struct cursor *cursor, struct field_list list, void *object)
{
        struct field_state state = { 0 };
        struct item map, name;

        if (!read_item(cursor, &map) || map.kind != ITEM_MAP)
                return ERR_INVALID;
        for (size_t i = 0; i < map.count; i++) {
                const struct field *field;
                enum err err;

                if (!read_item(cursor, &name) || name.kind != ITEM_TEXT)
                        return ERR_INVALID;
                field = message_field_find(list, name.value.text, name.value.len);
                if (field == NULL) {
                        skip_good(cursor);
                        continue;
                }
                err = message_field_meet(list, field, &state);
                if (err == OK)
                        err = read_field(cursor, field, object, &state);
                if (err != OK)
                        return err;
        }
        return message_field_finish(list, &state, object);
}

/* The value of `t`, which may stand anywhere in the map. */
static enum err find_type(struct cursor cursor, enum message_type *ret_type)
{
        struct item map, name, value = { .kind = ITEM_OTHER };
        bool found = false;

        if (!read_item(&cursor, &map) || map.kind != ITEM_MAP)
                return ERR_INVALID;
        for (size_t i = 0; i < map.count; i++) {
                if (!read_item(&cursor, &name) || name.kind != ITEM_TEXT)
                        return ERR_INVALID;
                if (name.value.len != 1 || name.value.text[0] != 't') {
                        skip_good(&cursor);
                        continue;
                }
                if (found || !read_item(&cursor, &value) || value.kind != ITEM_TEXT)
                        return ERR_INVALID;
                found = true;
        }
        return found ? message_field_type(&value.value, ret_type) : ERR_INVALID;
}

enum err message_msgpack_read(const uint8_t *bytes, size_t len, struct message *ret_message)
{
        struct cursor whole = { bytes, bytes + len }, cursor = whole;
        size_t containers = 0;
        enum err err;

        memset(ret_message, 0, sizeof(*ret_message));
        if (!skip(&cursor, 0, &containers) || cursor.at != cursor.end)
                return ERR_INVALID;
        err = find_type(whole, &ret_message->type);
        if (err == OK)
                err = read_object(&whole, message_fields[ret_message->type], &ret_message->hello);
        return err;
}
