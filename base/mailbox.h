/* base/mailbox.h -- how threads hand each other work: a queue into one libevent loop. Any thread
 * posts; the loop's own thread runs. Letters of one sender arrive in the order posted. One wake-up
 * (eventfd) however many letters wait. */
#pragma once

#include "base/check.h"
#include "base/err.h"

struct event_base;
struct mailbox;
struct letter;

/* Runs on the loop's thread; the letter is its own again and may be freed or posted anew. */
typedef void letter_run_fn(struct letter *letter, void *owner);

struct letter { /* embed it as the first member of what you send; the sender allocates it */
        struct letter *next;
        letter_run_fn *run;
};

must_check enum err mailbox_create(struct event_base *base, void *owner, struct mailbox **ret_mailbox);
void mailbox_post(struct mailbox *mailbox, struct letter *letter); /* any thread; never fails */
/* On the loop's thread after the loop ended and nobody posts any more; runs what still waits. */
void mailbox_destroy(struct mailbox *mailbox);
