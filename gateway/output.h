/* gateway/output.h -- how bytes get into a socket. What fits goes straight from where it lies,
 * shared frame or stack; only what has begun and does not fit is remembered, as references to
 * shared bytes with an offset. Bounds: PENDING_MAX references per connection, and of bytes that are
 * its own at most WORKER_COMPOSE_SIZE. The one place that writes to a device socket, but for
 * the batches of sender.h, whose results are judged here: TLS would go in here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/blob.h"
#include "gateway/conn.h"

#define PENDING_MAX   8
#define OUTPUT_PIECES 16 /* per call */

struct piece {
        const void *at;    /* borrowed until the return */
        uint32_t len;      /* bytes, > 0 */
        struct blob *blob; /* that `at` lies in; NULL: private bytes, copied if they do not fit */
};

enum output {
        OUTPUT_SENT,    /* all of it is in the socket */
        OUTPUT_BLOCKED, /* the socket is full; it will be told when there is room */
        OUTPUT_FULL,    /* KEEP_ALL only: PENDING_MAX is reached, nothing was taken */
        OUTPUT_LOST     /* the connection has been closed: touch it no more */
};

enum output_keep {
        KEEP_ALL,  /* what does not fit is pending */
        KEEP_BEGUN /* only the piece that has begun is; *ret_begun tells how many have */
};

enum output output_send(struct worker *worker, struct conn *conn, const struct piece *pieces,
                        unsigned n, enum output_keep keep, unsigned *ret_begun);
/* The same where somebody else has asked the kernel to send `pieces`: `result` is the number of
 * bytes it took, or -errno. Nothing was pending. What a result means is decided here, whoever made
 * the call. */
enum output output_judge(struct worker *worker, struct conn *conn, const struct piece *pieces,
                         unsigned n, enum output_keep keep, ssize_t result, unsigned *ret_begun);
/* There is room again. SENT: nothing is pending any more (EPOLLOUT is still on). */
enum output output_flush(struct worker *worker, struct conn *conn);
void output_drop(struct conn *conn); /* forget what is pending */

/* What is pending now ends the frames of the newest `entries` signals: noted until all of it is
 * out. */
void output_note(struct conn *conn, unsigned entries);
unsigned output_noted(const struct conn *conn);   /* 0 when nothing is pending */
unsigned output_waiting(const struct conn *conn); /* frames, whole or in part, that wait for room */
