/* base/mailbox.c -- letters wait on a stack that senders push to with one compare-and-swap. The
 * loop takes the whole stack at once and turns it over, which gives them back in the order posted;
 * since nobody pops a single letter, there is no ABA problem. Only the letter that finds the stack
 * empty rings the bell (eventfd), so a thousand letters cost one system call.
 *
 * Knows nothing of what is in a letter; who sends, allocates, and who runs, frees. */
#include "base/mailbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

struct mailbox {
        _Atomic(struct letter *) newest; /* written by every sender */
        int bell;
        struct event *on_bell;
        void *owner;
};

static void run_waiting(struct mailbox *mailbox)
{
        struct letter *letter =
            atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
        struct letter *oldest = NULL;

        while (letter != NULL) {
                struct letter *older = letter->next;

                letter->next = oldest;
                oldest = letter;
                letter = older;
        }
        while (oldest != NULL) {
                letter = oldest;
                oldest = letter->next; /* now, for the letter may free itself */
                letter->run(letter, mailbox->owner);
        }
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
        uint64_t rings;

        (void)what;
        /* Silence the bell before looking: a letter posted after the look rings it again. */
        if (read(fd, &rings, sizeof(rings)) < 0)
                check(errno == EAGAIN || errno == EINTR);
        run_waiting(arg);
}

enum err mailbox_create(struct event_base *base, void *owner, struct mailbox **ret_mailbox)
{
        enum err err = ERR_NOMEM;
        struct mailbox *mailbox = calloc(1, sizeof(*mailbox));

        if (mailbox == NULL)
                return ERR_NOMEM;
        atomic_init(&mailbox->newest, NULL);
        mailbox->owner = owner;
        mailbox->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (mailbox->bell < 0) {
                err = errno == ENOMEM ? ERR_NOMEM : ERR_IO; /* ERR_IO: out of descriptors */
                goto fail_mailbox;
        }
        mailbox->on_bell = event_new(base, mailbox->bell, EV_READ | EV_PERSIST, on_bell, mailbox);
        if (mailbox->on_bell == NULL)
                goto fail_bell;
        if (event_add(mailbox->on_bell, NULL) != 0)
                goto fail_event;
        *ret_mailbox = mailbox;
        return OK;

fail_event:
        event_free(mailbox->on_bell);
fail_bell:
        close(mailbox->bell);
fail_mailbox:
        free(mailbox);
        return err;
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
        static const uint64_t one = 1;
        struct letter *before = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);

        do {
                letter->next = before;
        } while (!atomic_compare_exchange_weak_explicit(
            &mailbox->newest, &before, letter, memory_order_release, memory_order_relaxed));
        if (before == NULL && write(mailbox->bell, &one, sizeof(one)) < 0)
                check(errno == EAGAIN); /* the counter is full: then it is ringing already */
}

void mailbox_destroy(struct mailbox *mailbox)
{
        if (mailbox == NULL)
                return;
        while (atomic_load_explicit(&mailbox->newest, memory_order_relaxed) != NULL)
                run_waiting(mailbox); /* again, since a letter may post another */
        event_free(mailbox->on_bell);
        close(mailbox->bell);
        free(mailbox);
}
