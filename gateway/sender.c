/* gateway/sender.c -- io_uring by liburing, the one file that knows either. Happy path: add fills a
 * submission, run enters the kernel once and finds as many completions as it submitted.
 *
 * Failure modes: io_uring forbidden (seccomp, sysctl kernel.io_uring_disabled), unknown to the
 * kernel, or no memory for its rings -> not created, send() it is. The kernel stops in the middle
 * of a batch -> what it did not take is told as -EAGAIN, which makes the caller wait for a socket
 * that is writable: it goes on by send() in the next turn. The ring is not used again, since what
 * is left in it would be sent twice. */
#include "gateway/sender.h"

#include <stdlib.h>

#ifdef KICKOFF_URING
#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#define TRIES 3 /* at entering the kernel when it takes nothing */

struct sender {
        struct io_uring ring;
        bool has_begun, is_broken;
        unsigned n;
        struct sender_item items[SENDER_BATCH];
};

static const char *refusal(int error)
{
        switch (error) {
        case EPERM:
        case EACCES:
                return "io_uring is forbidden here (seccomp, or sysctl kernel.io_uring_disabled)";
        case ENOSYS:
                return "this kernel has no io_uring";
        case ENOMEM:
                return "no memory for io_uring (before Linux 5.12 it counts towards RLIMIT_MEMLOCK)";
        default:
                return strerror(error);
        }
}

static bool knows_send(struct io_uring *ring)
{
        struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
        bool knows = probe != NULL && io_uring_opcode_supported(probe, IORING_OP_SEND);

        io_uring_free_probe(probe);
        return knows;
}

/* One thread submits, and completions run only when it asks for them (Linux 6.1): no interrupt of
 * ours, no task work between two devices. Older kernels do without. Disabled at first, so that the
 * thread that enables it, and not the one that creates it, becomes the one issuer. */
static int open_ring(struct io_uring *ring)
{
        static const unsigned flags[] = { IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN,
                                          IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_COOP_TASKRUN,
                                          IORING_SETUP_R_DISABLED };
        int error = EINVAL;

        for (unsigned i = 0; i < countof(flags) && error == EINVAL; i++) {
                struct io_uring_params params = { .flags = flags[i] };

                error = -io_uring_queue_init_params(SENDER_BATCH, ring, &params);
        }
        return error;
}

enum err sender_create(enum sender_io io, struct sender **ret_sender, const char **ret_why)
{
        struct sender *sender;
        const char *why;
        int error;

        if (io == SENDER_SEND) {
                *ret_why = "asked for";
                *ret_sender = NULL;
                return OK;
        }
        sender = calloc(1, sizeof(*sender));
        if (sender == NULL) {
                *ret_why = "out of memory";
                return ERR_NOMEM;
        }
        error = open_ring(&sender->ring);
        if (error != 0) {
                why = refusal(error);
        } else if (knows_send(&sender->ring)) {
                *ret_sender = sender;
                return OK;
        } else {
                io_uring_queue_exit(&sender->ring);
                why = "this kernel's io_uring cannot send";
        }
        free(sender);
        *ret_why = why;
        if (io == SENDER_URING)
                return ERR_IO;
        *ret_sender = NULL;
        return OK;
}

void sender_destroy(struct sender *sender)
{
        if (sender == NULL)
                return;
        check(sender->n == 0 && !sender->has_begun);
        if (!sender->is_broken)
                io_uring_queue_exit(&sender->ring);
        free(sender);
}

static void give_up(struct sender *sender, int error)
{
        log_warn("URING-GIVEN-UP", "why=%s", log_quote(strerror(error)));
        io_uring_queue_exit(&sender->ring);
        sender->is_broken = true;
}

/* io_uring_enable_rings(), which liburing's library exports only from 2.4 on. */
static int enable(const struct io_uring *ring)
{
        return syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
                       0) < 0
                   ? errno
                   : 0;
}

void sender_begin(struct sender *sender)
{
        int error;

        if (sender == NULL)
                return;
        check(!sender->has_begun);
        sender->has_begun = true;
        error = enable(&sender->ring);
        if (error != 0) {
                give_up(sender, error);
                return;
        }
        /* Saves finding the ring by its descriptor each time. Where that is not possible, it works
         * without. */
        (void)io_uring_register_ring_fd(&sender->ring);
}

void sender_end(struct sender *sender)
{
        if (sender == NULL)
                return;
        check(sender->has_begun && sender->n == 0);
        if (!sender->is_broken) /* registered for this thread: only it can take that back */
                (void)io_uring_unregister_ring_fd(&sender->ring);
        sender->has_begun = false;
}

bool sender_is_open(const struct sender *sender)
{
        return sender != NULL && sender->has_begun && !sender->is_broken;
}

unsigned sender_waiting(const struct sender *sender)
{
        return sender != NULL ? sender->n : 0;
}

void sender_add(struct sender *sender, int fd, const void *bytes, uint32_t len, void *ptr)
{
        struct io_uring_sqe *sqe = io_uring_get_sqe(&sender->ring);

        check(sqe != NULL && sender->n < SENDER_BATCH);
        io_uring_prep_send(sqe, fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        io_uring_sqe_set_data64(sqe, sender->n);
        sender->items[sender->n++] = (struct sender_item){ ptr, len, -EAGAIN };
}

/* How many of the batch the kernel has taken; fewer than all only if it fails us. */
static unsigned submit(struct sender *sender, int *ret_error)
{
        unsigned taken = 0;

        for (int tries = 0; taken < sender->n && tries < TRIES; tries++) {
                /* It waits for none of them, in truth: a send that must not wait is over when it
                 * has been submitted. */
                int n = io_uring_submit_and_wait(&sender->ring, sender->n - taken);

                if (n > 0) {
                        taken += (unsigned)n;
                        tries = -1;
                } else {
                        *ret_error = n < 0 ? -n : EIO;
                }
        }
        check(taken <= sender->n);
        return taken;
}

static void take_results(struct sender *sender, unsigned n)
{
        unsigned got = 0;

        while (got < n) {
                struct io_uring_cqe *cqe;
                unsigned head, seen = 0;

                io_uring_for_each_cqe(&sender->ring, head, cqe)
                {
                        check(cqe->user_data < sender->n);
                        sender->items[cqe->user_data].result = cqe->res;
                        seen++;
                }
                io_uring_cq_advance(&sender->ring, seen);
                got += seen;
                if (got < n) {
                        int error = -io_uring_wait_cqe(&sender->ring, &cqe);

                        /* Without the results we do not know who was sent what, and whatever we
                         * did then would be wrong for somebody. */
                        check(error == 0 || error == EINTR || error == EAGAIN);
                }
        }
        check(got == n);
}

unsigned sender_run(struct sender *sender, const struct sender_item **ret_items)
{
        unsigned n = sender->n, taken;
        int error = 0;

        *ret_items = sender->items;
        if (n == 0)
                return 0;
        taken = submit(sender, &error);
        take_results(sender, taken);
        if (taken < n)
                give_up(sender, error);
        sender->n = 0;
        return n;
}

#else /* built without liburing */

enum err sender_create(enum sender_io io, struct sender **ret_sender, const char **ret_why)
{
        *ret_why = io == SENDER_SEND ? "asked for" : "built without liburing";
        if (io == SENDER_URING)
                return ERR_IO;
        *ret_sender = NULL;
        return OK;
}

void sender_destroy(struct sender *sender)
{
        check(sender == NULL);
}

void sender_begin(struct sender *sender)
{
        check(sender == NULL);
}

void sender_end(struct sender *sender)
{
        check(sender == NULL);
}

bool sender_is_open(const struct sender *sender)
{
        return sender != NULL;
}

unsigned sender_waiting(const struct sender *sender)
{
        return sender != NULL;
}

void sender_add(struct sender *sender, int fd, const void *bytes, uint32_t len, void *ptr)
{
        (void)sender, (void)fd, (void)bytes, (void)len, (void)ptr;
        check(false);
}

unsigned sender_run(struct sender *sender, const struct sender_item **ret_items)
{
        (void)sender, (void)ret_items;
        check(false);
        return 0;
}

#endif
