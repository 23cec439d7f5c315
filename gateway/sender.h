/* gateway/sender.h -- many small sends in one system call: what a slice of a broadcast owes is collected,
 * then handed to the kernel at once (io_uring). Knows descriptors, bytes and results; refuses to know whose
 * they are and what a result means (output.h judges it).
 *
 * Nothing outlives sender_run(): each send carries MSG_DONTWAIT, so the kernel finishes or refuses it while
 * it is submitted (io_uring_enter(2): it is not armed for poll, nor given to a worker thread), and
 * sender_run() has taken every result before it returns. So bytes and descriptors are borrowed for one slice
 * only, in which nobody can be closed or freed: no reference is taken, nothing has to be cancelled.
 *
 * One per worker. Created on the control thread, used on the worker's between sender_begin() and
 * sender_end(). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

/* As many as a slice of a broadcast sends. Fewer gain less: against one send() each, on the machine of
 * loadtest/RESULTS.md, batches of 32, 64, 128, 256 and 512 took 0.88, 0.86, 0.84, 0.76 and 0.76 of the CPU. */
#define SENDER_BATCH 256

enum sender_io { /* --io */
        SENDER_AUTO,  /* io_uring if the kernel lets us, else send() */
        SENDER_URING, /* io_uring or nothing */
        SENDER_SEND
};

struct sender;

struct sender_item {
        void *ptr; /* the caller's */
        uint32_t len;
        int32_t result; /* bytes sent, or -errno; -EAGAIN also where the kernel did not get to it */
};

/* *ret_sender is NULL where send() is to be used: because SENDER_SEND asks for it, or because SENDER_AUTO
 * finds no io_uring; *ret_why then says why, in a sentence of a few words. ERR_IO: SENDER_URING, and the
 * kernel refuses; *ret_why likewise. */
must_check enum err sender_create(enum sender_io io, struct sender **ret_sender,
                                  const char **ret_why);
/* NULL is fine. The kernel winds a ring up later, by a task of the thread that created it: a system call in
 * which that thread sleeps then may return EINTR, once, though no signal came. */
void sender_destroy(struct sender *sender);

/* The worker's thread takes over; gives up. NULL is fine. */
void sender_begin(struct sender *sender);
void sender_end(struct sender *sender);

/* False: NULL, not begun, or given up after the kernel failed us: use send(). */
bool sender_is_open(const struct sender *sender);
unsigned sender_waiting(const struct sender *sender); /* added since the last run; NULL: 0 */
/* To be sent by the next sender_run(), at most SENDER_BATCH. `bytes` are borrowed until then. */
void sender_add(struct sender *sender, int fd, const void *bytes, uint32_t len, void *ptr);
/* Sends what waits. *ret_items is valid until the next sender_add(): as many as returned, in the order they
 * were added, each with its result. */
unsigned sender_run(struct sender *sender, const struct sender_item **ret_items);
