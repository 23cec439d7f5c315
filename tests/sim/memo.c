/* tests/sim/memo.c -- remembers what two pure functions answered: event_parse and event_format. The
 * same record comes by at every node of a run, and JSON would be half of the simulation's time.
 * Linked in their place (-Wl,--wrap); an answer is given again only for an argument equal to the
 * last byte. */
#include <stdlib.h>
#include <string.h>

#include "fanout/event.h"

#define PLACES     4096 /* a power of two; the last argument of each hash stays */
#define RECORD_MAX 4096

enum err __real_event_parse(const char *json, size_t len, struct event *ret_event);
enum err __wrap_event_parse(const char *json, size_t len, struct event *ret_event);
char *__real_event_format(const struct event *event);
char *__wrap_event_format(const struct event *event);

struct parsed {
        char *text;
        size_t len;
        enum err err;
        struct event event;
};
struct formatted {
        char *text;
        struct event event;
};

static struct parsed *parsed;       /* PLACES each, made when first needed: */
static struct formatted *formatted; /* one thread per process */

static size_t place_of(const void *bytes, size_t len)
{
        const unsigned char *at = bytes;
        uint64_t hash = len, word;

        for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
                memcpy(&word, at, sizeof(word));
                hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
                hash ^= hash >> 29;
        }
        for (; len > 0; at++, len--)
                hash = (hash ^ *at) * UINT64_C(0x9e3779b97f4a7c15);
        return (size_t)(hash >> 40) % PLACES;
}

enum err __wrap_event_parse(const char *json, size_t len, struct event *ret_event)
{
        if (parsed == NULL)
                parsed = calloc(PLACES, sizeof(*parsed));
        if (parsed == NULL || len > RECORD_MAX)
                return __real_event_parse(json, len, ret_event);

        struct parsed *place = &parsed[place_of(json, len)];

        if (place->text == NULL || place->len != len || memcmp(place->text, json, len) != 0) {
                char *text = malloc(len + 1);

                if (text == NULL)
                        return __real_event_parse(json, len, ret_event);
                free(place->text);
                memcpy(text, json, len);
                place->text = text;
                place->len = len;
                place->err = __real_event_parse(json, len, &place->event);
        }
        if (place->err == OK)
                *ret_event = place->event;
        return place->err;
}

char *__wrap_event_format(const struct event *event)
{
        if (formatted == NULL)
                formatted = calloc(PLACES, sizeof(*formatted));
        if (formatted == NULL)
                return __real_event_format(event);

        struct formatted *place = &formatted[place_of(event, sizeof(*event))];

        if (place->text == NULL || memcmp(&place->event, event, sizeof(*event)) != 0) {
                free(place->text);
                place->event = *event;
                place->text = __real_event_format(event);
        }
        return place->text != NULL ? strdup(place->text) : NULL;
}
