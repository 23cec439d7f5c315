/* fanout/book.c -- one note per event, sorted by id. At most as many as the log lets there be
 * (1,024), so a sorted array will do. */
#include "fanout/book.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fanout/event.h"
#include "proto/token.h"

struct note {
        char event[EVENT_ID_MAX + 1];
        unsigned generation;
        uint64_t version;
        char *record;
        bool waits; /* to start by itself, at: */
        int64_t starts_at;
        bool is_later; /* scratch of book_later_than */
};

struct book {
        struct note *notes; /* sorted by event */
        size_t n, capacity;
};

enum err book_create(struct book **ret_book)
{
        struct book *book = calloc(1, sizeof(*book));

        if (book == NULL)
                return ERR_NOMEM;
        *ret_book = book;
        return OK;
}

void book_clear(struct book *book)
{
        while (book->n > 0)
                free(book->notes[--book->n].record);
}

void book_destroy(struct book *book)
{
        if (book == NULL)
                return;
        book_clear(book);
        free(book->notes);
        free(book);
}

size_t book_count(const struct book *book)
{
        return book->n;
}

/* Where the event's note is, or would have to be. */
static bool find(const struct book *book, const char *event, size_t *ret_at)
{
        size_t low = 0, high = book->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(event, book->notes[middle].event);

                if (order == 0) {
                        *ret_at = middle;
                        return true;
                }
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        *ret_at = low;
        return false;
}

static bool make_room(struct book *book)
{
        if (book->n < book->capacity)
                return true;

        size_t capacity = book->capacity > 0 ? 2 * book->capacity : 16;
        struct note *notes = realloc(book->notes, capacity * sizeof(*notes));

        if (notes == NULL)
                return false;
        book->notes = notes;
        book->capacity = capacity;
        return true;
}

static bool is_later(const struct note *ours, const struct event *theirs)
{
        unsigned generation = token_generation(theirs->epoch);

        return ours->generation > generation ||
               (ours->generation == generation && ours->version > theirs->state.version);
}

enum err book_put(struct book *book, const char *record, size_t len)
{
        struct event event;
        size_t at;

        if (event_parse(record, len, &event) != OK)
                return ERR_INVALID;

        bool known = find(book, event.state.event, &at);

        if (known && is_later(&book->notes[at], &event))
                return OK;

        char *copy = known || make_room(book) ? strndup(record, len) : NULL;

        if (copy == NULL)
                return ERR_NOMEM;
        if (known) {
                free(book->notes[at].record);
        } else {
                memmove(&book->notes[at + 1], &book->notes[at],
                        (book->n - at) * sizeof(book->notes[0]));
                book->n++;
        }

        struct note *note = &book->notes[at];

        memcpy(note->event, event.state.event, sizeof(note->event));
        note->generation = token_generation(event.epoch);
        note->version = event.state.version;
        note->record = copy;
        note->waits = event.auto_start && event.phase == PHASE_SCHEDULED;
        note->starts_at = event.state.starts_at;
        return OK;
}

/* --- what starts by itself ------------------------------------------------------------------ */

size_t book_starts(const struct book *book, int64_t after, int64_t until,
                   struct book_start *ret_starts, size_t max)
{
        size_t n = 0;

        for (size_t i = 0; i < book->n && n < max; i++) {
                const struct note *note = &book->notes[i];

                if (!note->waits || note->starts_at <= after || note->starts_at > until)
                        continue;
                memcpy(ret_starts[n].event, note->event, sizeof(note->event));
                ret_starts[n].version = note->version;
                ret_starts[n++].starts_at = note->starts_at;
        }
        return n;
}

bool book_waits(const struct book *book, const char *event, uint64_t version)
{
        size_t at;

        return find(book, event, &at) && book->notes[at].waits &&
               book->notes[at].version == version;
}

int64_t book_next_start(const struct book *book, int64_t after)
{
        int64_t next = INT64_MAX;

        for (size_t i = 0; i < book->n; i++) {
                const struct note *note = &book->notes[i];

                if (note->waits && note->starts_at > after && note->starts_at < next)
                        next = note->starts_at;
        }
        return next;
}

bool book_holds(const struct book *book, const char *record, size_t len)
{
        struct event event;
        size_t at;

        if (event_parse(record, len, &event) != OK || !find(book, event.state.event, &at))
                return false;

        const struct note *note = &book->notes[at];

        return is_later(note, &event) || (note->generation == token_generation(event.epoch) &&
                                          note->version == event.state.version);
}

enum err book_merge(struct book *book, const struct book *from)
{
        for (size_t i = 0; i < from->n; i++) {
                const char *record = from->notes[i].record;
                enum err err = book_put(book, record, strlen(record));

                check(err != ERR_INVALID); /* it was read before */
                if (err != OK)
                        return err;
        }
        return OK;
}

/* --- comparing ------------------------------------------------------------------------------ */

/* Which event a record is of that cannot be read otherwise: of a newer version, perhaps. */
static bool id_of(const struct book_text *text, char out[EVENT_ID_MAX + 1])
{
        json_t *record = json_loadb(text->text, text->len, 0, NULL);
        const char *id = json_string_value(json_object_get(record, "id"));
        size_t len = id != NULL ? strlen(id) : 0;
        bool has = len > 0 && len <= EVENT_ID_MAX;

        if (has)
                memcpy(out, id, len + 1);
        json_decref(record);
        return has;
}

/* Strikes out what they have as late as we do, or later. */
static void compare(const struct book *book, const struct book_text *theirs)
{
        struct event event;
        bool readable = event_parse(theirs->text, theirs->len, &event) == OK;
        size_t at;

        if (!readable && !id_of(theirs, event.state.event))
                return;
        if (find(book, event.state.event, &at) && !(readable && is_later(&book->notes[at], &event)))
                book->notes[at].is_later = false;
}

size_t book_later_than(const struct book *book, const struct book_text *theirs, size_t n_theirs,
                       struct book_record *ret_ours, size_t max)
{
        size_t n = 0;

        for (size_t i = 0; i < book->n; i++)
                book->notes[i].is_later = true;
        for (size_t i = 0; i < n_theirs; i++)
                compare(book, &theirs[i]);
        for (size_t i = 0; i < book->n; i++) {
                if (!book->notes[i].is_later)
                        continue;
                if (n < max)
                        ret_ours[n] =
                            (struct book_record){ book->notes[i].event, book->notes[i].record };
                n++;
        }
        return n;
}
