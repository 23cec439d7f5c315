/* The book: what a node remembers, and which of it a Redis that lost something has not. */
#include "fanout/book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* A record of the event, changed in an epoch of that generation (0: it names none). */
static char *record_of(const char *event, unsigned generation, unsigned version)
{
        char *text, epoch[64] = "";

        if (generation > 0)
                snprintf(epoch, sizeof(epoch), ",\"epoch\":\"%04x00000000000a\"", generation);
        cr_assert(
            ge(int,
               asprintf(&text,
                        "{\"id\":\"%s\",\"title\":\"t\",\"phase\":\"live\",\"stage\":\"live\","
                        "\"at\":1,\"starts_at\":2,\"version\":%u,\"bundle\":0,"
                        "\"auto_start\":false,\"stages\":[]%s}",
                        event, version, epoch),
               0));
        return text;
}

static void put(struct book *book, const char *event, unsigned generation, unsigned version)
{
        char *text = record_of(event, generation, version);

        cr_assert(eq(int, book_put(book, text, strlen(text)), OK));
        free(text);
}

static struct book *make(void)
{
        struct book *book = NULL;

        cr_assert(eq(int, book_create(&book), OK));
        return book;
}

Test(book, knows_the_latest_record_of_each_event)
{
        struct book *book = make();
        struct book_record all[3];

        put(book, "b", 1, 1);
        put(book, "a", 1, 2);
        put(book, "c", 1, 1);
        put(book, "a", 1, 9);
        put(book, "a", 1, 3); /* earlier: a change that came after a later one was vouched for */
        cr_assert(eq(sz, book_count(book), 3));
        cr_assert(eq(sz, book_later_than(book, NULL, 0, all, 3), 3));
        for (size_t i = 0; i < 3; i++) {
                char *wanted = record_of(i == 0 ? "a" : i == 1 ? "b" : "c", 1, i == 0 ? 9 : 1);

                cr_assert(eq(str, (char *)all[i].record, wanted));
                cr_assert(eq(int, all[i].event[0], 'a' + (int)i));
                free(wanted);
        }
        book_clear(book);
        cr_assert(eq(sz, book_count(book), 0));
        cr_assert(eq(sz, book_later_than(book, NULL, 0, all, 3), 0));
        book_destroy(book);
        book_destroy(NULL);
}

Test(book, takes_nothing_that_is_no_record)
{
        static const char *const bad[] = { "", "{}", "[]", "{\"id\":\"a\",\"version\":1}" };
        struct book *book = make();

        for (size_t i = 0; i < countof(bad); i++)
                cr_assert(eq(int, book_put(book, bad[i], strlen(bad[i])), ERR_INVALID), "row %zu",
                          i);
        cr_assert(eq(sz, book_count(book), 0));
        book_destroy(book);
}

Test(book, holds_as_many_events_as_there_may_be_and_more)
{
        struct book *book = make();
        char id[16];

        for (unsigned i = 0; i < 3000; i++) {
                snprintf(id, sizeof(id), "e%u", (i * 7919) % 3000);
                put(book, id, 1, i + 1);
        }
        cr_assert(eq(sz, book_count(book), 3000));
        book_destroy(book);
}

Test(book, the_later_record_is_of_the_later_generation_then_of_the_later_version)
{
        static const struct {
                unsigned generation, version;             /* ours */
                unsigned their_generation, their_version; /* version 0 = they have none */
                bool later;
        } table[] = {
                { 1, 1, 0, 0, true },  { 1, 2, 1, 1, true },  { 1, 1, 1, 1, false },
                { 1, 1, 1, 2, false }, { 2, 1, 1, 9, true },  { 1, 9, 2, 1, false },
                { 2, 2, 2, 3, false }, { 1, 1, 0, 9, true },  { 0, 9, 1, 1, false },
                { 0, 2, 0, 1, true },  { 0, 1, 0, 1, false },
        };

        for (size_t i = 0; i < countof(table); i++) {
                struct book *book = make();
                char *theirs = record_of("a", table[i].their_generation, table[i].their_version);
                char *other = record_of("x", 9, 9);
                struct book_text texts[] = { { other, strlen(other) }, { theirs, strlen(theirs) } };
                struct book_record later[1];

                put(book, "a", table[i].generation, table[i].version);
                cr_assert(
                    eq(sz,
                       book_later_than(book, texts, table[i].their_version > 0 ? 2 : 1, later, 1),
                       table[i].later ? 1 : 0),
                    "row %zu", i);
                if (table[i].later)
                        cr_assert(eq(str, (char *)later[0].event, "a"));
                free(theirs);
                free(other);
                book_destroy(book);
        }
}

Test(book, names_each_that_is_later_and_counts_beyond_the_room_given)
{
        struct book *book = make();
        char *a = record_of("a", 1, 5), *c = record_of("c", 1, 5);
        struct book_text theirs[] = { { c, strlen(c) }, { a, strlen(a) } };
        struct book_record later[2] = { 0 };

        put(book, "a", 1, 6);
        put(book, "b", 1, 1);
        put(book, "c", 1, 5);
        put(book, "d", 1, 1);
        cr_assert(eq(sz, book_later_than(book, theirs, 2, later, 2), 3));
        cr_assert(eq(str, (char *)later[0].event, "a"));
        cr_assert(eq(str, (char *)later[1].event, "b"));
        /* ... and again: nothing of the first answer is left */
        cr_assert(eq(sz, book_later_than(book, NULL, 0, later, 2), 4));
        cr_assert(eq(sz, book_later_than(book, theirs, 2, later, 0), 3));
        free(a);
        free(c);
        book_destroy(book);
}

Test(book, what_this_version_cannot_read_counts_as_later_than_ours)
{
        static const char *const strange[] = {
                "{\"id\":\"a\",\"version\":1,\"phase\":\"paused\"}",
                "{\"id\":\"a\"}",
        };
        static const char *const nobodys[] = { "", "[]", "{\"version\":1}", "{\"id\":7}" };
        struct book *book = make();
        struct book_record later[1];

        put(book, "a", 5, 9);
        for (size_t i = 0; i < countof(strange); i++) {
                struct book_text text = { strange[i], strlen(strange[i]) };

                cr_assert(eq(sz, book_later_than(book, &text, 1, later, 1), 0), "row %zu", i);
        }
        for (size_t i = 0; i < countof(nobodys); i++) { /* of no event at all */
                struct book_text text = { nobodys[i], strlen(nobodys[i]) };

                cr_assert(eq(sz, book_later_than(book, &text, 1, later, 1), 1), "row %zu", i);
        }
        book_destroy(book);
}

/* What a producer was told of while the state was read is not in that state. */
Test(book, merges_what_the_other_knows_later_or_alone)
{
        struct book *book = make(), *from = make();
        struct book_record all[4];
        static const unsigned wanted[] = { 3, 5, 1, 7 }; /* of a, b, c, d */

        put(book, "a", 1, 3);
        put(book, "b", 1, 4);
        put(book, "c", 2, 1);
        put(from, "a", 1, 2);
        put(from, "b", 1, 5);
        put(from, "c", 1, 9); /* of an earlier generation */
        put(from, "d", 1, 7);
        for (unsigned version = 1; version <= 5; version++) {
                char *text = record_of("b", 1, version);

                cr_assert(eq(int, book_holds(book, text, strlen(text)), version <= 4));
                free(text);
        }
        cr_assert(not(book_holds(book, "{}", 2)));
        cr_assert(eq(int, book_merge(book, from), OK));
        cr_assert(eq(sz, book_later_than(book, NULL, 0, all, 4), 4));
        for (unsigned i = 0; i < 4; i++) {
                char *text =
                    record_of((char[]){ (char)('a' + (int)i), '\0' }, i == 2 ? 2 : 1, wanted[i]);

                cr_assert(eq(str, (char *)all[i].record, text));
                free(text);
        }
        book_destroy(book);
        book_destroy(from);
}
