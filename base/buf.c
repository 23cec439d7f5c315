/* base/buf.c -- growing by doubling, one place that allocates. Every append ends with a NUL that is
 * not counted, so that the bytes can be handed to whatever wants a C string. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_CAPACITY 128

void buf_init(struct buf *buf)
{
        *buf = (struct buf)BUF_INIT;
}

void buf_init_fixed(struct buf *buf, void *array, size_t capacity)
{
        *buf = (struct buf){ .data = array, .capacity = capacity, .fixed = true };
        if (capacity > 0)
                buf->data[0] = '\0';
}

void buf_clear(struct buf *buf)
{
        buf->len = 0;
        buf->failed = false;
        if (buf->capacity > 0)
                buf->data[0] = '\0';
}

void buf_fini(struct buf *buf)
{
        if (buf->fixed) {
                buf_clear(buf);
                return;
        }
        free(buf->data);
        buf_init(buf);
}

/* Makes room for `more` bytes and the NUL after them. */
static bool reserve(struct buf *buf, size_t more)
{
        if (buf->failed)
                return false;
        if (more < buf->capacity - buf->len) /* capacity is never less than len */
                return true;
        if (buf->fixed || more > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4) {
                buf->failed = true;
                return false;
        }

        size_t capacity = buf->capacity > 0 ? buf->capacity : BUF_FIRST_CAPACITY;

        while (capacity <= buf->len + more)
                capacity *= 2;

        char *data = realloc(buf->data, capacity);

        if (data == NULL) {
                buf->failed = true;
                return false;
        }
        buf->data = data;
        buf->capacity = capacity;
        return true;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
        if (!reserve(buf, len))
                return;
        if (len > 0)
                memcpy(buf->data + buf->len, bytes, len);
        buf->len += len;
        buf->data[buf->len] = '\0';
}

void buf_str(struct buf *buf, const char *text)
{
        buf_add(buf, text, strlen(text));
}

void buf_char(struct buf *buf, char c)
{
        if (!reserve(buf, 1))
                return;
        buf->data[buf->len++] = c;
        buf->data[buf->len] = '\0';
}

void buf_u64(struct buf *buf, uint64_t value)
{
        char digits[20]; /* 2^64-1 has 20 */
        char *at = digits + sizeof(digits);

        do {
                *--at = (char)('0' + value % 10);
                value /= 10;
        } while (value > 0);
        buf_add(buf, at, (size_t)(digits + sizeof(digits) - at));
}

void buf_i64(struct buf *buf, int64_t value)
{
        if (value >= 0) {
                buf_u64(buf, (uint64_t)value);
                return;
        }
        buf_char(buf, '-');
        buf_u64(buf,
                -(uint64_t)value); /* in unsigned numbers, for INT64_MIN has no positive twin */
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
        va_list args, again;

        if (!reserve(buf, 1))
                return;
        va_start(args, fmt);
        va_copy(again, args);

        size_t room = buf->capacity - buf->len;
        int len = vsnprintf(buf->data + buf->len, room, fmt, args);

        if (len < 0) {
                buf->failed = true;
        } else if ((size_t)len >= room) {
                buf->data[buf->len] = '\0'; /* the cut attempt goes, also if growing fails */
                if (reserve(buf, (size_t)len))
                        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
        }
        if (!buf->failed)
                buf->len += (size_t)len;
        va_end(again);
        va_end(args);
}

char *buf_take(struct buf *buf)
{
        check(!buf->fixed);
        buf_add(buf, "", 0); /* an empty buffer gives "", not NULL: NULL is for failure alone */
        if (buf->failed) {
                buf_fini(buf);
                return NULL;
        }

        char *data = buf->data;

        buf_init(buf);
        return data;
}
