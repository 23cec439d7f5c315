/* tests/sim/trace.c */
#include "tests/sim/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const who_name[] = { [WHO_REDIS] = "redis",
                                        [WHO_NODE] = "node",
                                        [WHO_DEVICE] = "device",
                                        [WHO_PRODUCER] = "producer",
                                        [WHO_NEMESIS] = "nemesis" };

static void print(const struct happening *happening)
{
        unsigned number = 0;

        printf("%7" PRIu64 ".%03" PRIu64 " #%-6" PRIu64 " %-8s", happening->at_ms / 1000,
               happening->at_ms % 1000, happening->step, who_name[happening->who]);
        if (happening->who == WHO_NEMESIS)
                printf("   ");
        else
                printf(" %u ", happening->index);
        for (const char *at = happening->what; *at != '\0'; at++) {
                if (*at != '%') {
                        putchar(*at);
                        continue;
                }
                uint64_t value = happening->numbers[number++];

                switch (*++at) {
                case 'u':
                        printf("%" PRIu64, value);
                        break;
                case 't':
                        printf("%04x", (unsigned)(value & 0xffff));
                        break;
                default:
                        fputs((const char *)(uintptr_t)value, stdout);
                }
        }
        putchar('\n');
}

/* Addresses of texts differ from run to run, so %s is left out. */
static void hash_in(struct trace *trace, const struct happening *happening)
{
        uint64_t hash = trace->hash ^ happening->at_ms ^ (uint64_t)happening->who << 32 ^
                        (uint64_t)happening->index << 40;
        unsigned number = 0;

        for (const char *at = happening->what; *at != '\0'; at++) {
                hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
                if (*at != '%')
                        continue;
                if (*++at != 's')
                        hash = (hash ^ happening->numbers[number]) * UINT64_C(0x100000001b3);
                number++;
        }
        trace->hash = hash;
}

void trace_add(struct trace *trace, const struct happening *happening)
{
        trace->kept[trace->n++ % TRACE_KEPT] = *happening;
        hash_in(trace, happening);
        if (trace->aloud)
                print(happening);
}

void trace_print(const struct trace *trace)
{
        uint64_t first = trace->n > TRACE_KEPT ? trace->n - TRACE_KEPT : 0;

        for (uint64_t i = first; i < trace->n; i++)
                print(&trace->kept[i % TRACE_KEPT]);
}
