/* device/c/device_sse.h -- cuts an event stream into events, by the rules of the HTML standard
 * (section 9.2.6), of which a Kickoff device needs `data` and comments: the place is in the
 * message. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum device_sse_status {
        DEVICE_SSE_MORE,    /* all bytes are used up */
        DEVICE_SSE_EVENT,   /* `data` is one event's, until the next call */
        DEVICE_SSE_COMMENT, /* a ping */
        DEVICE_SSE_BROKEN   /* too large, or no memory */
};

struct device_sse {
        struct buf line, data;
        bool has_data, was_cr, told; /* told: `data` has been given out */
};

void device_sse_init(struct device_sse *sse);
void device_sse_fini(struct device_sse *sse);
/* Takes bytes up to the first thing worth telling; *ret_used of them are done with. Call it again
 * with the rest until MORE. `max`: bytes of an event's data. */
enum device_sse_status device_sse_read(struct device_sse *sse, const char *bytes, size_t len,
                                       size_t max, size_t *ret_used);
