/* loadtest/reply.c -- status line and six header fields (RFC 9112 section 4, RFC 9110). */
#include "loadtest/reply.h"

#include <string.h>
#include <strings.h>

static bool read_number(const char *text, size_t len, uint64_t *ret_value)
{
        uint64_t value = 0;

        if (len == 0 || len > 18)
                return false;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return false;
                value = value * 10 + (uint64_t)(text[i] - '0');
        }
        *ret_value = value;
        return true;
}

static bool copy_text(char *out, size_t size, const char *text, size_t len)
{
        if (len >= size)
                return false;
        memcpy(out, text, len);
        out[len] = '\0';
        return true;
}

static bool take_field(struct reply *reply, const char *name, size_t name_len, const char *value,
                       size_t len)
{
        uint64_t number;

#define FIELD_IS(text) (name_len == sizeof(text) - 1 && strncasecmp(name, text, name_len) == 0)
        if (FIELD_IS("content-length")) {
                reply->has_length = true;
                return read_number(value, len, &reply->length);
        }
        if (FIELD_IS("retry-after")) {
                if (!read_number(value, len, &number) || number > 86400)
                        return false;
                reply->retry_after = (uint32_t)number;
                return true;
        }
        if (FIELD_IS("kickoff-bundle")) {
                reply->has_bundle = true;
                return read_number(value, len, &reply->bundle);
        }
        if (FIELD_IS("etag"))
                return copy_text(reply->etag, sizeof(reply->etag), value, len);
        if (FIELD_IS("sec-websocket-accept"))
                return copy_text(reply->accept, sizeof(reply->accept), value, len);
        if (FIELD_IS("sec-websocket-protocol"))
                return copy_text(reply->protocol, sizeof(reply->protocol), value, len);
#undef FIELD_IS
        return true;
}

static bool take_line(struct reply *reply, const char *line, size_t len)
{
        const char *colon = memchr(line, ':', len), *end = line + len, *value;

        if (colon == NULL)
                return false;
        value = colon + 1;
        while (value < end && (*value == ' ' || *value == '\t'))
                value++;
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                end--;
        return take_field(reply, line, (size_t)(colon - line), value, (size_t)(end - value));
}

enum reply_status reply_parse(const char *bytes, size_t len, struct reply *ret_reply,
                              size_t *ret_used)
{
        size_t look = len < REPLY_HEAD_MAX ? len : REPLY_HEAD_MAX;
        const char *stop = memmem(bytes, look, "\r\n\r\n", 4), *line, *next;
        struct reply reply = { 0 };
        uint64_t status;

        if (stop == NULL)
                return len >= REPLY_HEAD_MAX ? REPLY_BROKEN : REPLY_MORE;
        if (stop - bytes < 12 || memcmp(bytes, "HTTP/1.1 ", 9) != 0 ||
            !read_number(bytes + 9, 3, &status))
                return REPLY_BROKEN;
        reply.status = (unsigned)status;
        line = (const char *)memmem(bytes, look, "\r\n", 2) + 2;
        for (; line < stop + 2; line = next + 2) {
                next = memmem(line, (size_t)(stop + 2 - line), "\r\n", 2);
                if (!take_line(&reply, line, (size_t)(next - line)))
                        return REPLY_BROKEN;
        }
        *ret_reply = reply;
        *ret_used = (size_t)(stop - bytes) + 4;
        return REPLY_DONE;
}
