/* One thread, step by step. Several threads: stress_mailbox.c. */
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <event2/event.h>

#include "base/mailbox.h"

struct note {
        struct letter letter;
        int number;
        int repeats; /* posts itself again so often */
};

struct owner {
        struct mailbox *mailbox;
        int got[64];
        unsigned n;
};

static void write_down(struct letter *letter, void *arg)
{
        struct owner *owner = arg;
        struct note *note = (struct note *)letter;

        owner->got[owner->n++] = note->number;
        if (note->repeats > 0) {
                note->repeats--;
                mailbox_post(owner->mailbox, letter);
        }
}

static void write_down_and_free(struct letter *letter, void *arg)
{
        write_down(letter, arg);
        free(letter);
}

static struct event_base *base;
static struct owner owner;

static void open_mailbox(void)
{
        base = event_base_new();
        owner = (struct owner){ 0 };
        cr_assert(eq(int, mailbox_create(base, &owner, &owner.mailbox), OK));
}

static void close_mailbox(void)
{
        mailbox_destroy(owner.mailbox);
        event_base_free(base);
}

TestSuite(mailbox, .init = open_mailbox, .fini = close_mailbox);

Test(mailbox, letters_run_on_the_loop_in_the_order_posted)
{
        struct note notes[10];

        for (int i = 0; i < 10; i++) {
                notes[i] = (struct note){ .letter.run = write_down, .number = i };
                mailbox_post(owner.mailbox, &notes[i].letter);
        }
        cr_assert(eq(uint, owner.n, 0), "posting runs nothing");
        event_base_loop(base, EVLOOP_NONBLOCK);
        cr_assert(eq(uint, owner.n, 10));
        for (int i = 0; i < 10; i++)
                cr_assert(eq(int, owner.got[i], i));
}

Test(mailbox, works_again_after_it_was_empty)
{
        struct note note = { .letter.run = write_down };

        for (int i = 0; i < 10; i++) {
                note.number = i;
                mailbox_post(owner.mailbox, &note.letter);
                event_base_loop(base, EVLOOP_NONBLOCK);
                cr_assert(eq(uint, owner.n, (unsigned)i + 1));
                event_base_loop(base, EVLOOP_NONBLOCK);
                cr_assert(eq(uint, owner.n, (unsigned)i + 1), "nothing runs twice");
        }
}

Test(mailbox, a_letter_may_free_itself)
{
        for (int i = 0; i < 5; i++) {
                struct note *note = calloc(1, sizeof(*note));

                note->letter.run = write_down_and_free;
                mailbox_post(owner.mailbox, &note->letter);
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
        cr_assert(eq(uint, owner.n, 5));
}

Test(mailbox, a_letter_that_posts_itself_lets_the_loop_go_on)
{
        struct note note = { .letter.run = write_down, .repeats = 20 };

        mailbox_post(owner.mailbox, &note.letter);
        for (unsigned turn = 1; turn <= 21; turn++) {
                event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
                cr_assert(eq(uint, owner.n, turn), "one run in each turn of the loop");
        }
}

Test(mailbox, destroying_runs_what_still_waits)
{
        struct owner other = { 0 };
        struct note first = { .letter.run = write_down, .number = 1, .repeats = 2 };
        struct note second = { .letter.run = write_down, .number = 2 };

        cr_assert(eq(int, mailbox_create(base, &other, &other.mailbox), OK));
        mailbox_post(other.mailbox, &first.letter);
        mailbox_post(other.mailbox, &second.letter);
        mailbox_destroy(other.mailbox);
        cr_assert(eq(uint, other.n, 4));
        cr_assert(eq(int, other.got[0], 1));
        cr_assert(eq(int, other.got[1], 2));
        mailbox_destroy(NULL);
}

Test(mailbox, leaves_no_descriptor_behind)
{
        struct owner other;
        int before = dup(0), after;

        close(before);
        for (int i = 0; i < 10; i++) {
                cr_assert(eq(int, mailbox_create(base, &other, &other.mailbox), OK));
                mailbox_destroy(other.mailbox);
        }
        after = dup(0);
        close(after);
        cr_assert(eq(int, after, before));
}
