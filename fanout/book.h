/* fanout/book.h -- what this node remembers of every event: the whole records, so that a Redis that lost
 * some can be given them back (fanout/EPOCHS.md). Also decides which of two records is later. Pure but for
 * memory; control thread only, follower.c alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/names.h"

struct book;

must_check enum err book_create(struct book **ret_book);
void book_destroy(struct book *book); /* NULL is fine */

/* Remember this record of an event (text, as event_format writes it; copied), unless the one held is later.
 * ERR_INVALID: it is no record; ERR_NOMEM. */
must_check enum err book_put(struct book *book, const char *record, size_t len);
/* Is this record, or a later one of the same event, held? False, too, if it is no record. */
bool book_holds(const struct book *book, const char *record, size_t len);
/* Every record of `from` too, unless the one held is later. ERR_NOMEM: some are missing. */
must_check enum err book_merge(struct book *book, const struct book *from);
/* Forget all. */
void book_clear(struct book *book);
size_t book_count(const struct book *book);

struct book_start { /* of an event that waits for its planned start, and is to start by itself */
        char event[EVENT_ID_MAX + 1];
        uint64_t version;
        int64_t starts_at; /* Unix ms */
};
/* Those planned after `after` and up to `until`; writes up to `max`, returns how many it wrote. */
size_t book_starts(const struct book *book, int64_t after, int64_t until,
                   struct book_start *ret_starts, size_t max);
/* Does this version of the event still wait to start by itself? */
bool book_waits(const struct book *book, const char *event, uint64_t version);
/* The first planned after `after`; INT64_MAX: none. */
int64_t book_next_start(const struct book *book, int64_t after);

struct book_record { /* borrowed from the book until its next change */
        const char *event; /* id */
        const char *record;
};

/* Which of ours are later than `theirs` by (generation, version), or missing there? `theirs` are texts of
 * records; what cannot be read counts as later than ours. Writes up to `max` into ret_ours, returns how many
 * there are. */
struct book_text {
        const char *text;
        size_t len;
};
size_t book_later_than(const struct book *book, const struct book_text *theirs, size_t n_theirs,
                       struct book_record *ret_ours, size_t max);
