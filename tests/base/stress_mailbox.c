/* Senders post into one loop as fast as they can: nothing is lost or doubled, each sender's letters
 * come in its order, and the loop is woken for the last of them too (it would hang otherwise). Then
 * two loops throw the same letters to and fro. */
#include <event2/event.h>
#include <stdlib.h>

#include "base/mailbox.h"
#include "stress.h"

#define LETTERS 30000 /* of each sender */
#define BALLS   50
#define THROWS  20000

struct note {
        struct letter letter;
        unsigned sender, number;
};

static struct event_base *base;
static struct mailbox *mailbox;
static unsigned next_of[STRESS_THREADS];
static unsigned received;

static void receive(struct letter *letter, void *owner)
{
        struct note *note = (struct note *)letter;

        check(owner == &received);
        check(note->number == next_of[note->sender]++);
        free(note);
        if (++received == (STRESS_THREADS - 1) * LETTERS)
                event_base_loopbreak(base);
}

static void send_or_receive(unsigned index)
{
        if (index == 0) {
                check(event_base_dispatch(base) == 0);
                return;
        }
        for (unsigned i = 0; i < LETTERS; i++) {
                struct note *note = malloc(sizeof(*note));

                check(note != NULL);
                *note = (struct note){ .letter.run = receive, .sender = index, .number = i };
                mailbox_post(mailbox, &note->letter);
        }
}

static struct event_base *bases[2];
static struct mailbox *courts[2];
static struct letter balls[BALLS];
static unsigned throws[2]; /* each written by its own loop */

static void throw_back(struct letter *ball, void *owner)
{
        unsigned *mine = owner;
        unsigned side = mine == &throws[1];

        if (++*mine >= THROWS) {
                event_base_loopbreak(bases[side]);
                if (*mine > THROWS)
                        return; /* this side is done: the ball stays here */
        }
        mailbox_post(courts[!side], ball);
}

static void play(unsigned index)
{
        if (index < 2)
                check(event_base_dispatch(bases[index]) == 0);
        else if (index == 2)
                for (unsigned i = 0; i < BALLS; i++) {
                        balls[i].run = throw_back;
                        mailbox_post(courts[i % 2], &balls[i]);
                }
}

int main(void)
{
        base = event_base_new();
        check(base != NULL && mailbox_create(base, &received, &mailbox) == OK);
        stress_run(send_or_receive);
        check(received == (STRESS_THREADS - 1) * LETTERS);
        mailbox_destroy(mailbox);
        event_base_free(base);

        for (int i = 0; i < 2; i++) {
                bases[i] = event_base_new();
                check(bases[i] != NULL && mailbox_create(bases[i], &throws[i], &courts[i]) == OK);
        }
        stress_run(play);
        for (int i = 0; i < 2; i++) {
                check(throws[i] >= THROWS);
                mailbox_destroy(courts[i]); /* late balls run here, and stay */
                event_base_free(bases[i]);
        }
        return 0;
}
