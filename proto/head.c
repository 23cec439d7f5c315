/* proto/head.c -- reads a request head in two steps: finds its end (incrementally, looking only at
 * line ends), then takes it apart in one pass. What the request is for, and whether it may have it,
 * is the gateway's to say. */
#include "proto/head.h"

#include <string.h>

#define STATUS_BAD         400
#define STATUS_TOO_LARGE   431 /* RFC 6585 section 5 */
#define STATUS_UNKNOWN_TE  501 /* RFC 9112 6.1 */
#define STATUS_BAD_VERSION 505
#define CONTENT_LENGTH_MAX 18 /* digits: more cannot be counted in 64 bits */

/* What a byte may be part of: bits of char_class[]. */
enum { TOKEN_CHAR = 1, TARGET_CHAR = 2, VALUE_CHAR = 4, HOST_CHAR = 8 };

/* clang-format off */
#define T TOKEN_CHAR | TARGET_CHAR | VALUE_CHAR             /* tchar, RFC 9110 5.6.2 */
#define H TOKEN_CHAR | TARGET_CHAR | VALUE_CHAR | HOST_CHAR
#define D TARGET_CHAR | VALUE_CHAR | HOST_CHAR              /* visible, but no tchar */
#define V TARGET_CHAR | VALUE_CHAR
#define S VALUE_CHAR
static const uint8_t char_class[256] = {
        ['\t'] = S, [' '] = S, ['#'] = TOKEN_CHAR | VALUE_CHAR, /* no fragments in a target */
        ['!'] = H, ['"'] = V, ['$'] = H, ['%'] = H, ['&'] = H, ['\''] = H, ['('] = D, [')'] = D,
        ['*'] = H, ['+'] = H, [','] = D, ['-'] = H, ['.'] = H, ['/'] = V, ['0' ... '9'] = H,
        [':'] = D, [';'] = D, ['<'] = V, ['='] = D, ['>'] = V, ['?'] = V, ['@'] = V,
        ['A' ... 'Z'] = H, ['['] = D, ['\\'] = V, [']'] = D, ['^'] = T, ['_'] = H, ['`'] = T,
        ['a' ... 'z'] = H, ['{'] = V, ['|'] = T, ['}'] = V, ['~'] = H,
        [0x80 ... 0xFF] = S, /* obs-text */
};
#undef T
#undef H
#undef D
#undef V
#undef S
/* clang-format on */

/* `class` is one of the bits. Without a branch per byte: nearly every head is good to its end. */
static bool all_are(struct slice slice, unsigned class)
{
        for (size_t i = 0; i < slice.len; i++)
                class &= char_class[(unsigned char)slice.at[i]];
        return class != 0;
}

#define ALL_BYTES(byte) (0x0101010101010101u * (byte))

/* As all_are(VALUE_CHAR), eight bytes at a time: values are most of a head. A word is good if no
 * byte is below 0x20 or is 0x7F; the tab is looked up. */
static bool is_value(struct slice slice)
{
        struct slice rest = slice;

        for (uint64_t word; rest.len >= sizeof(word); rest.at += sizeof(word)) {
                uint64_t low, delete;

                memcpy(&word, rest.at, sizeof(word));
                delete = word ^ ALL_BYTES(0x7F);
                low = (word - ALL_BYTES(0x20)) & ~word;
                delete = (delete - ALL_BYTES(0x01)) & ~delete;
                if (((low | delete) & ALL_BYTES(0x80)) != 0)
                        break;
                rest.len -= sizeof(word);
        }
        return all_are(rest, VALUE_CHAR);
}

static char fold(char c)
{
        return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool slice_is(struct slice slice, const char *text)
{
        size_t len = strlen(text);

        return slice.at != NULL && slice.len == len && memcmp(slice.at, text, len) == 0;
}

static bool same_folded(const char *a, const char *b, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                if (a[i] != b[i] && fold(a[i]) != fold(b[i]))
                        return false;
        }
        return true;
}

bool slice_is_nocase(struct slice slice, const char *text)
{
        return slice.at != NULL && slice.len == strlen(text) &&
               same_folded(slice.at, text, slice.len);
}

/* Without the optional white space around it (RFC 9110 5.6.3). */
static struct slice trimmed(const char *at, const char *end)
{
        while (at < end && (*at == ' ' || *at == '\t'))
                at++;
        while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
                end--;
        return (struct slice){ at, (size_t)(end - at) };
}

/* The next element of `list` up to `separator`, which is taken too; false when there is none left.
 */
static bool next_element(struct slice *list, char separator, struct slice *ret_element)
{
        const char *found;

        if (list->at == NULL)
                return false;
        found = memchr(list->at, separator, list->len);
        if (found == NULL) {
                *ret_element = *list;
                *list = (struct slice){ NULL, 0 };
        } else {
                *ret_element = (struct slice){ list->at, (size_t)(found - list->at) };
                list->len -= ret_element->len + 1;
                list->at = found + 1;
        }
        return true;
}

bool slice_next(struct slice *list, struct slice *ret_element)
{
        struct slice raw;

        if (!next_element(list, ',', &raw))
                return false;
        *ret_element = trimmed(raw.at, raw.at + raw.len);
        return true;
}

bool slice_has_token(struct slice list, const char *token)
{
        struct slice element;

        while (slice_next(&list, &element)) {
                if (slice_is_nocase(element, token))
                        return true;
        }
        return false;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c = fold(c);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of `text` at *at, decoded, and *at moved on; -1 for a broken escape or %00. */
static int decode_char(struct slice text, size_t *at)
{
        int high, low;

        if (text.at[*at] != '%')
                return (unsigned char)text.at[(*at)++];
        if (text.len - *at < 3)
                return -1;
        high = hex_value(text.at[*at + 1]);
        low = hex_value(text.at[*at + 2]);
        *at += 3;
        return high < 0 || low < 0 || (high | low) == 0 ? -1 : high << 4 | low;
}

/* Names are compared decoded too, or `device` and `devic%65` would be two parameters to us and one
 * to somebody else. */
static bool is_named(struct slice raw, const char *name)
{
        size_t at = 0;

        for (; *name != '\0' && at < raw.len; name++) {
                if (decode_char(raw, &at) != (unsigned char)*name)
                        return false;
        }
        return *name == '\0' && at == raw.len;
}

enum err slice_decode(struct slice raw, char *out, size_t size)
{
        size_t n = 0, needed = 0;

        for (size_t at = 0; at < raw.len; needed++) {
                if (decode_char(raw, &at) < 0)
                        return ERR_INVALID;
        }
        if (needed >= size)
                return ERR_TOO_LARGE;
        for (size_t at = 0; at < raw.len;)
                out[n++] = (char)decode_char(raw, &at);
        out[n] = '\0';
        return OK;
}

enum err head_param(const struct head *head, const char *name, char *out, size_t size)
{
        struct slice rest = head->query, piece, found = { NULL, 0 };

        while (next_element(&rest, '&', &piece)) {
                const char *equals = memchr(piece.at, '=', piece.len);
                const char *end = piece.at + piece.len;
                struct slice key = piece;

                if (equals != NULL)
                        key.len = (size_t)(equals - piece.at);
                if (!is_named(key, name))
                        continue;
                if (found.at != NULL)
                        return ERR_INVALID;
                found.at = equals == NULL ? end : equals + 1;
                found.len = (size_t)(end - found.at);
        }
        if (found.at == NULL)
                return ERR_NOT_FOUND;
        return slice_decode(found, out, size);
}

/* What is known of the head only while it is being read. */
struct reading {
        struct head head;
        bool close, stay; /* Connection says so */
        bool has_length, has_coding;
};

static unsigned read_target(struct slice target, struct head *head)
{
        const char *mark;
        size_t params = 1;

        if (target.len == 0 || target.at[0] != '/' || !all_are(target, TARGET_CHAR))
                return STATUS_BAD;
        if (memmem(target.at, target.len, "%00", 3) != NULL)
                return STATUS_BAD;
        head->path = target;
        mark = memchr(target.at, '?', target.len);
        if (mark == NULL)
                return 0;
        head->path.len = (size_t)(mark - target.at);
        head->query = (struct slice){ mark + 1, target.len - head->path.len - 1 };
        for (size_t i = 0; i < head->query.len; i++)
                params += head->query.at[i] == '&';
        return params > HEAD_PARAMS_MAX ? STATUS_BAD : 0;
}

/* RFC 9112 2.3: HTTP/DIGIT.DIGIT, in capitals. */
static unsigned read_version(struct slice version, struct head *head)
{
        if (slice_is(version, "HTTP/1.1")) {
                head->minor = 1;
                return 0;
        }
        if (slice_is(version, "HTTP/1.0"))
                return 0; /* minor is 0 already */
        if (version.len == 8 && memcmp(version.at, "HTTP/", 5) == 0 && version.at[5] >= '0' &&
            version.at[5] <= '9' && version.at[6] == '.' && version.at[7] >= '0' &&
            version.at[7] <= '9')
                return STATUS_BAD_VERSION;
        return STATUS_BAD;
}

static unsigned read_request_line(struct slice line, struct head *head)
{
        struct slice rest = line, target;
        unsigned status;

        if (!next_element(&rest, ' ', &head->method) || head->method.len == 0 ||
            !all_are(head->method, TOKEN_CHAR))
                return STATUS_BAD;
        if (!next_element(&rest, ' ', &target) || rest.at == NULL)
                return STATUS_BAD;
        status = read_target(target, head);
        return status != 0 ? status : read_version(rest, head);
}

static unsigned read_content_length(struct slice value, struct reading *reading)
{
        if (reading->has_length || value.len == 0 || value.len > CONTENT_LENGTH_MAX)
                return STATUS_BAD;
        reading->has_length = true;
        for (size_t i = 0; i < value.len; i++) {
                if (value.at[i] < '0' || value.at[i] > '9')
                        return STATUS_BAD;
                if (value.at[i] != '0')
                        reading->head.has_body = true;
        }
        return 0;
}

static unsigned read_transfer_encoding(struct slice value, struct reading *reading)
{
        if (reading->has_coding)
                return STATUS_BAD;
        reading->has_coding = true;
        reading->head.has_body = true;
        return slice_is_nocase(value, "chunked") ? 0 : STATUS_UNKNOWN_TE;
}

static unsigned read_connection(struct slice value, struct reading *reading)
{
        reading->close |= slice_has_token(value, "close");
        reading->stay |= slice_has_token(value, "keep-alive");
        reading->head.connection_upgrade |= slice_has_token(value, "upgrade");
        return 0;
}

static unsigned read_upgrade(struct slice value, struct reading *reading)
{
        reading->head.upgrade_websocket |= slice_has_token(value, "websocket");
        return 0;
}

static unsigned read_ws_protocol(struct slice value, struct reading *reading)
{
        struct head *head = &reading->head;

        if (head->n_ws_protocols == HEAD_OFFERS_MAX)
                return STATUS_BAD;
        head->ws_protocols[head->n_ws_protocols++] = value;
        return 0;
}

static unsigned read_host(struct slice value, struct reading *reading)
{
        if (reading->head.host.at != NULL || value.len == 0 || !all_are(value, HOST_CHAR))
                return STATUS_BAD;
        reading->head.host = value;
        return 0;
}

/* The fields we look at: some are read at once, the others kept as they are. */
struct known_field {
        const char *name;
        size_t len;
        unsigned (*read)(struct slice value, struct reading *reading);
        size_t offset;
        bool is_list; /* may come on several lines, of which we keep the first */
};
/* clang-format off */
#define READ(name, function) { name, sizeof(name) - 1, function, 0, false }
#define KEEP(name, member)   { name, sizeof(name) - 1, NULL, offsetof(struct head, member), false }
#define LIST(name, member)   { name, sizeof(name) - 1, NULL, offsetof(struct head, member), true }
static const struct known_field known_fields[] = {
        READ("host", read_host),
        READ("connection", read_connection),
        READ("content-length", read_content_length),
        READ("transfer-encoding", read_transfer_encoding),
        READ("upgrade", read_upgrade),
        KEEP("origin", origin),
        KEEP("authorization", authorization),
        LIST("if-none-match", if_none_match),
        LIST("accept", accept),
        LIST("accept-encoding", accept_encoding),
        KEEP("last-event-id", last_event_id),
        KEEP("sec-websocket-key", ws_key),
        KEEP("sec-websocket-version", ws_version),
        READ("sec-websocket-protocol", read_ws_protocol),
        KEEP("user-agent", user_agent),
};
/* clang-format on */

static const struct known_field *find_field(struct slice name)
{
        for (size_t i = 0; i < countof(known_fields); i++) {
                const struct known_field *known = &known_fields[i];

                /* Two cheap looks first: this runs for each line of each handshake. */
                if (known->len == name.len && known->name[0] == fold(name.at[0]) &&
                    same_folded(name.at, known->name, name.len))
                        return known;
        }
        return NULL;
}

static unsigned read_field(struct slice line, struct reading *reading)
{
        const char *colon = memchr(line.at, ':', line.len);
        const struct known_field *field;
        struct slice name, value, *kept;

        /* A line that begins with white space is an obs-fold, and ends here: no name. */
        if (colon == NULL || colon == line.at)
                return STATUS_BAD;
        name = (struct slice){ line.at, (size_t)(colon - line.at) };
        value = trimmed(colon + 1, line.at + line.len);
        if (!all_are(name, TOKEN_CHAR) || !is_value(value))
                return STATUS_BAD;
        field = find_field(name);
        if (field == NULL)
                return 0;
        if (field->read != NULL)
                return field->read(value, reading);
        kept = (struct slice *)((char *)&reading->head + field->offset);
        if (kept->at == NULL)
                *kept = value;
        else if (!field->is_list)
                return STATUS_BAD;
        return 0;
}

/* Rules that bind several fields together. */
static unsigned finish(struct reading *reading)
{
        struct head *head = &reading->head;

        if (head->minor == 1 && head->host.at == NULL) /* RFC 9112 3.2 */
                return STATUS_BAD;
        if (reading->has_coding && (reading->has_length || head->minor == 0)) /* RFC 9112 6.1 */
                return STATUS_BAD;
        head->keep_alive = !reading->close && (head->minor == 1 || reading->stay);
        return 0;
}

/* Takes a whole head apart; `len` counts the empty line too. 0, or a status. */
static unsigned read_head(const char *bytes, size_t len, struct reading *reading)
{
        const char *at = bytes, *end = bytes + len - 2; /* the empty line */
        unsigned status = 0, worst = 0;
        size_t fields = 0;

        for (bool first = true; at < end; first = false) {
                const char *lf = memchr(at, '\n', (size_t)(end - at));
                struct slice line = { at, (size_t)(lf - at) - 1 };

                at = lf + 1;
                if (first) {
                        status = read_request_line(line, &reading->head);
                } else if (++fields > HEAD_FIELDS_MAX) {
                        return STATUS_TOO_LARGE;
                } else {
                        status = read_field(line, reading);
                }
                if (status == STATUS_BAD)
                        return status;
                /* 501 and 505 are for heads that are sound otherwise. */
                if (status != 0 && worst == 0)
                        worst = status;
        }
        status = finish(reading);
        return status != 0 ? status : worst;
}

/* The length of the head when its end is among the `len` bytes, 0 when not yet; SIZE_MAX when a
 * line end is not CRLF or the first line is empty. */
static size_t find_end(const char *bytes, size_t len, size_t *scanned)
{
        const char *at = bytes + *scanned, *end = bytes + len;

        while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
                size_t n = (size_t)(at - bytes);

                if (n < 2 || at[-1] != '\r')
                        return SIZE_MAX;
                at++;
                if (at[-3] == '\n')
                        return n + 1;
        }
        *scanned = len;
        return 0;
}

enum head_status head_parse(const char *bytes, size_t len, size_t *scanned, struct head *ret_head,
                            size_t *ret_used, unsigned *ret_http_status)
{
        struct reading reading = { 0 };
        size_t within = len < HEAD_MAX ? len : HEAD_MAX, used;
        unsigned status = 0;

        check(*scanned <= within);
        if (len == 0)
                return HEAD_MORE;
        /* A TLS hello on the plain port should not have to wait for a line end that never comes. */
        if ((char_class[(unsigned char)bytes[0]] & TOKEN_CHAR) == 0)
                status = STATUS_BAD;
        used = status == 0 ? find_end(bytes, within, scanned) : SIZE_MAX;
        if (used == SIZE_MAX)
                status = STATUS_BAD;
        else if (used != 0)
                status = read_head(bytes, used, &reading);
        else if (len >= HEAD_MAX)
                status = STATUS_TOO_LARGE;
        else
                return HEAD_MORE;
        if (status != 0) {
                *ret_http_status = status;
                return HEAD_BAD;
        }
        *ret_head = reading.head;
        *ret_used = used;
        *scanned = 0;
        return HEAD_DONE;
}
