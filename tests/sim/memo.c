/* tests/sim/memo.c -- stands in the place of five pure functions (-Wl,--wrap). An event's text is
 * "@N": the N-th event of the run, byte by byte; equal events have equal texts, as in truth. No
 * frame is made, and all are the same blob. */
#include "tests/sim/memo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/check.h"
#include "fanout/event.h"
#include "fanout/frame.h"

#define EVENTS 16384 /* that a run may have; a power of two */

enum err __real_event_parse(const char *json, size_t len, struct event *ret_event);
enum err __wrap_event_parse(const char *json, size_t len, struct event *ret_event);
char *__real_event_format(const struct event *event);
char *__wrap_event_format(const struct event *event);
void __real_message_encode_signal(const struct signal *signal, enum encoding encoding,
                                  struct buf *out);
void __wrap_message_encode_signal(const struct signal *signal, enum encoding encoding,
                                  struct buf *out);
void __real_message_encode_skip(const struct token *token, enum encoding encoding, struct buf *out);
void __wrap_message_encode_skip(const struct token *token, enum encoding encoding, struct buf *out);
struct blob *__real_frame_create(enum wire wire, const struct buf *payload,
                                 const struct token *place);
struct blob *__wrap_frame_create(enum wire wire, const struct buf *payload,
                                 const struct token *place);

static bool is_real = true; /* one thread per process */
static struct event *events;
static unsigned n_events;
static struct { /* by hash, then the next free place */
        uint64_t run;
        unsigned event;
} places[2 * EVENTS];
static uint64_t run;
static struct blob *no_frame;

void memo_begin(bool real)
{
        is_real = real;
        run++;
        n_events = 0;
        if (events == NULL)
                events = malloc(EVENTS * sizeof(*events));
        if (no_frame == NULL)
                no_frame = blob_create("", 0);
        check(events != NULL && no_frame != NULL);
}

static size_t hash(const struct event *event)
{
        const unsigned char *at = (const unsigned char *)event;
        size_t len = sizeof(*event);
        uint64_t value = len, word;

        for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
                memcpy(&word, at, sizeof(word));
                value = (value ^ word) * UINT64_C(0x9e3779b97f4a7c15);
                value ^= value >> 29;
        }
        return (size_t)(value >> 32);
}

char *__wrap_event_format(const struct event *event)
{
        size_t place;
        char text[16];

        if (is_real)
                return __real_event_format(event);
        for (place = hash(event) % countof(places); places[place].run == run;
             place = (place + 1) % countof(places)) {
                if (memcmp(&events[places[place].event], event, sizeof(*event)) == 0)
                        break;
        }
        if (places[place].run != run) {
                check(n_events < EVENTS);
                places[place].run = run;
                places[place].event = n_events;
                events[n_events++] = *event;
        }
        snprintf(text, sizeof(text), "@%u", places[place].event);
        return strdup(text);
}

enum err __wrap_event_parse(const char *json, size_t len, struct event *ret_event)
{
        size_t event;

        if (is_real || len == 0 || json[0] != '@')
                return __real_event_parse(json, len, ret_event);
        event = strtoul(json + 1, NULL, 10);
        check(event < n_events);
        *ret_event = events[event];
        return OK;
}

void __wrap_message_encode_signal(const struct signal *signal, enum encoding encoding,
                                  struct buf *out)
{
        if (is_real)
                __real_message_encode_signal(signal, encoding, out);
}

void __wrap_message_encode_skip(const struct token *token, enum encoding encoding, struct buf *out)
{
        if (is_real)
                __real_message_encode_skip(token, encoding, out);
}

struct blob *__wrap_frame_create(enum wire wire, const struct buf *payload,
                                 const struct token *place)
{
        return is_real ? __real_frame_create(wire, payload, place) : blob_ref(no_frame);
}
