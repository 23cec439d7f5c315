/* device/c/device_sse.c -- see device_sse.h. */
#include "device/c/device_sse.h"

#include <string.h>

#define FIELD_BYTES 6 /* "data: ", which is part of the line, but not of the event */

void device_sse_init(struct device_sse *sse)
{
        *sse = (struct device_sse){ .has_data = false };
        buf_init(&sse->line);
        buf_init(&sse->data);
}

void device_sse_fini(struct device_sse *sse)
{
        buf_fini(&sse->line);
        buf_fini(&sse->data);
}

static void take_data(struct device_sse *sse, const char *value, size_t len)
{
        if (sse->has_data)
                buf_char(&sse->data, '\n');
        buf_add(&sse->data, value, len);
        sse->has_data = true;
}

static enum device_sse_status take_line(struct device_sse *sse)
{
        const char *line = sse->line.data;
        size_t len = sse->line.len, name_len, at;

        if (len == 0) {
                sse->told = sse->has_data;
                return sse->has_data ? DEVICE_SSE_EVENT : DEVICE_SSE_MORE;
        }
        if (line[0] == ':')
                return DEVICE_SSE_COMMENT;

        const char *colon = memchr(line, ':', len);

        name_len = colon != NULL ? (size_t)(colon - line) : len;
        at = name_len + (colon != NULL);
        if (at < len && line[at] == ' ')
                at++;
        if (name_len == 4 && memcmp(line, "data", 4) == 0)
                take_data(sse, line + at, len - at);
        return DEVICE_SSE_MORE;
}

enum device_sse_status device_sse_read(struct device_sse *sse, const char *bytes, size_t len,
                                       size_t max, size_t *ret_used)
{
        enum device_sse_status status = DEVICE_SSE_MORE;
        size_t i = 0;

        if (sse->told) {
                sse->told = sse->has_data = false;
                buf_clear(&sse->data);
        }
        while (i < len && status == DEVICE_SSE_MORE) {
                char c = bytes[i++];
                bool ends = c == '\r' || (c == '\n' && !sse->was_cr);

                if (ends) {
                        status = take_line(sse);
                        buf_clear(&sse->line);
                } else if (c != '\n') {
                        buf_char(&sse->line, c);
                }
                sse->was_cr = c == '\r';
                if (sse->line.failed || sse->data.failed || sse->line.len > max + FIELD_BYTES ||
                    sse->data.len > max)
                        status = DEVICE_SSE_BROKEN;
        }
        *ret_used = i;
        return status;
}
