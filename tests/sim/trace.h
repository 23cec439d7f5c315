/* tests/sim/trace.h -- the last happenings, kept as numbers and made into text only when somebody
 * wants to read them: virtual time, who, what. Also one hash over all of them, which shows that a
 * seed repeats itself exactly. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/token.h"

#define TRACE_KEPT 60

enum who { WHO_REDIS, WHO_NODE, WHO_DEVICE, WHO_PRODUCER, WHO_NEMESIS };

struct happening {
        uint64_t at_ms, step;
        enum who who;
        unsigned index;
        const char *what; /* %u a number, %t a tag's last four digits, %s a constant text */
        uint64_t numbers[4];
};

struct trace {
        struct happening kept[TRACE_KEPT];
        uint64_t n, hash;
        bool aloud; /* print each at once */
};

/* `what` must live for ever; texts for %s are passed as trace_text(). */
void trace_add(struct trace *trace, const struct happening *happening);
void trace_print(const struct trace *trace);

static inline uint64_t trace_text(const char *constant)
{
        return (uint64_t)(uintptr_t)constant;
}
